package jeton

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const lookEvery = time.Second

var apiKeyForm = regexp.MustCompile(`^jtk_[A-Za-z0-9]{1,64}_[A-Za-z0-9_-]{20,128}$`)

// loaded is what was read of the credentials of a client.
type loaded struct {
	authorization Secret
	tls           *tls.Config
	// version grows when the contents for TLS change.
	version int
}

// watchedFiles are the credentials of a client, which follow their files.
type watchedFiles struct {
	config  *Config
	log     *slog.Logger
	current atomic.Pointer[loaded]

	zero     time.Time
	nextLook atomic.Int64 // nanoseconds since zero
	lock     sync.Mutex
	seen     []fs.FileInfo
}

func newCredentials(config *Config, log *slog.Logger) (*watchedFiles, error) {
	made := &watchedFiles{config: config, log: log, zero: time.Now()}
	made.seen = made.look()
	first, err := made.read()
	if err != nil {
		return nil, err
	}
	made.current.Store(first)
	made.nextLook.Store(int64(lookEvery))
	return made, nil
}

func (c *watchedFiles) paths() []string {
	var found []string
	for _, path := range []string{c.config.APIKeyFile, c.config.CAFile, c.config.CertFile, c.config.KeyFile} {
		if path != "" {
			found = append(found, path)
		}
	}
	return found
}

func (c *watchedFiles) look() []fs.FileInfo {
	var found []fs.FileInfo
	for _, path := range c.paths() {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		found = append(found, info)
	}
	return found
}

// latest looks at the files, at most once a second. What does not fit together leaves the old contents in use.
func (c *watchedFiles) latest() *loaded {
	if len(c.seen) == 0 || int64(time.Since(c.zero)) < c.nextLook.Load() || !c.lock.TryLock() {
		return c.current.Load()
	}
	defer c.lock.Unlock()
	c.nextLook.Store(int64(time.Since(c.zero) + lookEvery))
	now := c.look()
	if same(now, c.seen) {
		return c.current.Load()
	}
	copy(c.seen, now)
	changed, err := c.read()
	if err != nil {
		c.log.Warn("changed credentials cannot be used, the old ones stay in use", "error", err.Error())
		return c.current.Load()
	}
	changed.version = c.current.Load().version + 1
	c.current.Store(changed)
	return changed
}

func same(one, other []fs.FileInfo) bool {
	for i := range one {
		if one[i] == nil || other[i] == nil {
			if one[i] != other[i] {
				return false
			}
			continue
		}
		if !os.SameFile(one[i], other[i]) || one[i].Size() != other[i].Size() || !one[i].ModTime().Equal(other[i].ModTime()) {
			return false
		}
	}
	return true
}

func (c *watchedFiles) read() (*loaded, error) {
	config := c.config
	found := &loaded{tls: &tls.Config{MinVersion: tls.VersionTLS12}}
	key, where := config.APIKey, "The text"
	if config.APIKeyFile != "" {
		text, err := readFile(config.APIKeyFile)
		if err != nil {
			return nil, err
		}
		key, where = NewSecret(strings.TrimSpace(string(text))), "The file "+config.APIKeyFile
	}
	if !key.IsZero() || config.APIKeyFile != "" {
		if !apiKeyForm.MatchString(key.Reveal()) {
			return nil, newCredentialInvalid(config.APIKeyFile, where+" holds no API key. Give one as jeton printed it: jtk_…", nil)
		}
		found.authorization = NewSecret("Bearer " + key.Reveal())
	}
	if config.CAFile != "" {
		text, err := readFile(config.CAFile)
		if err != nil {
			return nil, err
		}
		found.tls.RootCAs = x509.NewCertPool()
		if !found.tls.RootCAs.AppendCertsFromPEM(text) {
			return nil, newCredentialInvalid(config.CAFile, "The file "+config.CAFile+" holds no certificate in PEM.", nil)
		}
	}
	if (config.CertFile == "") != (config.KeyFile == "") {
		return nil, newCredentialInvalid("", "A client certificate needs both, CertFile and KeyFile.", nil)
	}
	if config.CertFile == "" {
		return found, nil
	}
	certificate, err := readFile(config.CertFile)
	if err != nil {
		return nil, err
	}
	private, err := readFile(config.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, private)
	if err != nil {
		message := "The certificate " + config.CertFile + " and the key " + config.KeyFile +
			" cannot be used together. Give both in PEM."
		return nil, newCredentialInvalid(config.CertFile, message, err)
	}
	found.tls.Certificates = []tls.Certificate{pair}
	return found, nil
}

func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		why := err
		var told *fs.PathError
		if errors.As(err, &told) {
			why = told.Err
		}
		return nil, newCredentialInvalid(path, "The file "+path+" cannot be read: "+why.Error()+".", err)
	}
	return text, nil
}
