package signature

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of what a locator returns: longer values are not believed to be ids or names.
const (
	maxID   = 256
	maxType = 128
)

var errLocator = errors.New("not a locator")

// Locator says where in a request a value stands: a template with {header:N}, {json:/p}, {form:N}
// and {first-name:N}, which is the name of the first member of the body that is not N. Text between
// them is taken as it is. It finds a value only if all its parts are there.
type Locator struct {
	text  string
	parts template
	ptrs  []pointer
}

// ParseLocator reads a locator from its text.
func ParseLocator(text string) (Locator, error) {
	l := Locator{text: text}
	parts, err := parseTemplate(text, &l.ptrs)
	if err != nil {
		return Locator{}, fmt.Errorf("reading a locator: %w", err)
	}
	for _, p := range parts {
		switch p.kind {
		case kindText, kindHeader, kindJSON, kindForm, kindFirstName:
		default:
			return Locator{}, fmt.Errorf("reading locator %q: %w", text, errLocator)
		}
	}
	l.parts = parts
	return l, nil
}

// locators parses texts of the built-in tables.
func locators(texts ...string) []Locator {
	list := make([]Locator, 0, len(texts))
	for _, text := range texts {
		l, err := ParseLocator(text)
		if err != nil {
			panic(err) // a table that a test of this package reads completely
		}
		list = append(list, l)
	}
	return list
}

// String returns the text of the locator.
func (l Locator) String() string { return l.text }

// MarshalText returns the text of the locator.
func (l Locator) MarshalText() ([]byte, error) { return []byte(l.text), nil }

// UnmarshalText reads a locator from its text.
func (l *Locator) UnmarshalText(text []byte) error {
	parsed, err := ParseLocator(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}

// Find returns the value in the request; ok is false if a part of it is missing or cannot be read.
func (l Locator) Find(req *Request) (value string, ok bool) {
	if len(l.parts) == 1 && l.parts[0].kind == kindHeader {
		value, reason := req.one(l.parts[0].name)
		return value, reason == "" && value != ""
	}
	at := make([]found, len(l.ptrs))
	if len(at) > 0 && find(req.Body, l.ptrs, at) != nil {
		return "", false
	}
	var out []byte
	for _, p := range l.parts {
		before := len(out)
		out, ok = l.part(out, req, p, at)
		if !ok || len(out) == before {
			return "", false
		}
	}
	return string(out), len(out) > 0
}

// part appends the text of one part.
func (l Locator) part(out []byte, req *Request, p piece, at []found) ([]byte, bool) {
	switch p.kind {
	case kindHeader:
		value, reason := req.one(p.name)
		return append(out, value...), reason == ""
	case kindJSON:
		return at[p.index].text(out, req.Body)
	case kindForm:
		if !req.isForm() {
			return out, false
		}
		pairs, _, ok := parseForm(nil, nil, req.Body)
		for i := 0; ok && i < len(pairs); i++ {
			if string(pairs[i].name) == p.name {
				return append(out, pairs[i].value...), true
			}
		}
		return out, false
	case kindFirstName:
		name, ok := firstName(req.Body, p.name)
		return append(out, name...), ok
	default:
		return append(out, p.name...), true
	}
}

// locate returns the first value that one of the locators finds and that is a plausible identifier:
// printable, and no longer than limit.
func locate(req *Request, list []Locator, limit int) string {
	for _, l := range list {
		value, ok := l.Find(req)
		if ok && len(value) <= limit && !strings.ContainsFunc(value, isControl) {
			return value
		}
	}
	return ""
}

// isControl reports whether r is a control character or no character.
func isControl(r rune) bool { return r < ' ' || (r >= 0x7f && r < 0xa0) || r == '\ufffd' }
