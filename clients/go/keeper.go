package jeton

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// tokenFile keeps the latest refresh token across restarts.
type tokenFile struct{ path string }

// read returns the token; zero if the file does not exist, or is empty.
func (f tokenFile) read() (Secret, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Secret{}, nil
	}
	// Windows has no such bits.
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		message := "The file " + f.path + " can be read by others, so its refresh token is not used. Set its mode to 0600."
		return Secret{}, newCredentialInvalid(f.path, message, nil)
	}
	text, err := readFile(f.path)
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(strings.TrimSpace(string(text))), nil
}

// write replaces the file as a whole, so that a crash leaves the old token or the new one.
func (f tokenFile) write(token Secret) (err error) {
	directory := filepath.Dir(f.path)
	// Its mode is 0600 from the beginning.
	made, err := os.CreateTemp(directory, ".jeton-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(made.Name())
		}
	}()
	_, err = made.WriteString(token.Reveal())
	err = errors.Join(err, made.Sync(), made.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(made.Name(), f.path); err != nil {
		return err
	}
	// The new name is durable once the directory is. Not every system can sync one.
	if opened, failed := os.Open(directory); failed == nil {
		_ = opened.Sync()
		_ = opened.Close()
	}
	return nil
}

func (f tokenFile) remove() error {
	err := os.Remove(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
