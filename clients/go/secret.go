package jeton

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "[secret]"

// Secret is a token or a key. It does not print, in whatever way: [Secret.Reveal] alone gives its text.
type Secret struct {
	// A closure: packages that print by reflection look into structs and through pointers, but not into this.
	text func() string
}

// NewSecret hides a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: func() string { return text }}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// IsZero tells whether there is no text.
func (s Secret) IsZero() bool { return s.text == nil }

// Format prints nothing of the text, for every verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hidden) }

// String returns nothing of the text.
func (s Secret) String() string { return hidden }

// MarshalText returns nothing of the text. It serves JSON, too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns nothing of the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
