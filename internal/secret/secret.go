// Package secret holds text that must not print. A String shows itself as
// "[secret]" to fmt, slog, JSON and YAML; only Reveal gives the text out, so
// that a search for Reveal finds every place that could leak one.
package secret

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Redacted is what stands where a secret would have been printed.
const Redacted = "[secret]"

// String is a secret text. The zero value is the empty secret, which prints as "".
type String struct{ text string }

var (
	_ fmt.Formatter          = String{}
	_ slog.LogValuer         = String{}
	_ json.Marshaler         = String{}
	_ encoding.TextMarshaler = String{}
)

// New makes a secret of text.
func New(text string) String { return String{text: text} }

// Reveal returns the text.
func (s String) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s String) Empty() bool { return s.text == "" }

// String returns Redacted, or "" when there is no text.
func (s String) String() string {
	if s.text == "" {
		return ""
	}
	return Redacted
}

// Format prints the redacted form for every verb, %#v and %x included.
func (s String) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(s.String())) // a Formatter has nowhere to report to
}

// LogValue returns the redacted form.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON returns the redacted form.
func (s String) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText returns the redacted form.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
