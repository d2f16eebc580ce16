package pattern

import (
	"bytes"
	"slices"
	"unicode"
)

// folded is a text to be compared ignoring case. For each of its characters
// two forms are accepted, its lower and its upper case mapping; the mappings
// are those of the pattern's characters, so the relation is not symmetric:
// "ß" accepts "SS" but "SS" does not accept "ß".
type folded struct {
	ascii []byte // lower case; set when every character is ASCII
	forms []casePair
}

type casePair struct{ lower, upper []byte }

func fold(s string) folded {
	ascii := make([]byte, 0, len(s))
	forms := make([]casePair, 0, len(s))
	for _, r := range s {
		if r < 0x80 {
			ascii = append(ascii, lowerASCII(byte(r)))
		}
		forms = append(forms, casePair{lower: lowerForm(r), upper: upperForm(r)})
	}
	if len(ascii) == len(s) {
		return folded{ascii: ascii}
	}
	return folded{forms: forms}
}

// lowerForm knows the only character with a longer lower case form.
func lowerForm(r rune) []byte {
	if r == 'İ' {
		return []byte("i\u0307")
	}
	return []byte(string(unicode.ToLower(r)))
}

func upperForm(r rune) []byte {
	if full, ok := fullUpper[r]; ok {
		return []byte(full)
	}
	return []byte(string(unicode.ToUpper(r)))
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

func (f folded) equal(v []byte) bool {
	n, ok := f.prefix(v)
	return ok && n == len(v)
}

// prefix reports whether v starts with the text, and how long that start is.
// No form of a character is the start of its other form, so there is nothing
// to try twice.
func (f folded) prefix(v []byte) (int, bool) {
	if f.forms == nil {
		return len(f.ascii), len(v) >= len(f.ascii) && equalASCII(f.ascii, v[:len(f.ascii)])
	}
	n := 0
	for _, p := range f.forms {
		switch {
		case bytes.HasPrefix(v[n:], p.lower):
			n += len(p.lower)
		case bytes.HasPrefix(v[n:], p.upper):
			n += len(p.upper)
		default:
			return 0, false
		}
	}
	return n, true
}

// suffix reports whether v ends with the text.
func (f folded) suffix(v []byte) bool {
	if f.forms == nil {
		return len(v) >= len(f.ascii) && equalASCII(f.ascii, v[len(v)-len(f.ascii):])
	}
	for _, p := range slices.Backward(f.forms) {
		switch {
		case bytes.HasSuffix(v, p.lower):
			v = v[:len(v)-len(p.lower)]
		case bytes.HasSuffix(v, p.upper):
			v = v[:len(v)-len(p.upper)]
		default:
			return false
		}
	}
	return true
}

func equalASCII(lower, v []byte) bool {
	for i, c := range lower {
		if lowerASCII(v[i]) != c {
			return false
		}
	}
	return true
}
