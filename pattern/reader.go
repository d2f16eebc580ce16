package pattern

import (
	"encoding/binary"
	"math/bits"
)

// reader walks the bytes of an event once. It checks all of them against RFC
// 8259, also where no pattern looks, and collects the leaves of the paths in a
// tree.
type reader struct {
	data  []byte
	pos   int
	depth int
	open  [maxNesting/64 + 1]uint64 // while skipping: which levels are objects
	err   *EventError
}

func (r *reader) fail(reason string) bool {
	if r.err == nil {
		if r.pos >= len(r.data) {
			reason = "unexpected end"
		}
		r.err = &EventError{Reason: reason, Offset: min(r.pos, len(r.data))}
	}
	return false
}

func (r *reader) space() {
	for r.pos < len(r.data) && isSpace(r.data[r.pos]) {
		r.pos++
	}
}

// peek returns the next byte after blanks, or 0 at the end.
func (r *reader) peek() byte {
	r.space()
	if r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

// enter steps into an object or array.
func (r *reader) enter() bool {
	if r.depth == maxNesting {
		return r.fail("nested deeper than 1000 levels")
	}
	r.depth++
	r.pos++
	return true
}

// str reads the string whose opening quote comes next, and returns what stands
// between its quotes.
func (r *reader) str() (content []byte, escaped, ok bool) {
	start := r.pos + 1
	i := plainEnd(r.data, start)
	if i < len(r.data) && r.data[i] == '"' {
		r.pos = i + 1
		return r.data[start:i], false, true
	}
	for {
		end, esc, ok := stringPart(r.data, i)
		if ok {
			r.pos = end + 1
			return r.data[start:end], true, true
		}
		if !esc {
			r.pos = end
			return nil, false, r.fail("invalid character in a string")
		}
		i = plainEnd(r.data, end)
	}
}

// stringPart reads the one special byte at i of a string: its closing quote
// (ok), or an escape (more, with the index after it), or an error (neither).
func stringPart(data []byte, i int) (end int, more, ok bool) {
	if i >= len(data) || data[i] < 0x20 {
		return i, false, false
	}
	if data[i] == '"' {
		return i, false, true
	}
	end = escapeEnd(data, i)
	return end, end > i, false
}

// plainEnd returns the index of the first byte at or after i that ends the
// plain part of a string: a quote, a backslash or a control character. It
// looks at eight bytes at a time.
func plainEnd(data []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for ; i+8 <= len(data); i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// A byte below n sets its high bit in (w - n*ones) &^ w; a byte equal
		// to n is one below 1 after the exclusive or.
		hit := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & highs
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(data) && data[i] >= 0x20 && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// scalar reads a number or literal and returns its kind, 0 if it is neither.
func (r *reader) scalar() kind {
	rest := r.data[r.pos:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		r.pos += 4
		return kindTrue
	case len(rest) >= 4 && string(rest[:4]) == "null":
		r.pos += 4
		return kindNull
	case len(rest) >= 5 && string(rest[:5]) == "false":
		r.pos += 5
		return kindFalse
	}
	end := scanNumber(r.data, r.pos)
	if end == r.pos {
		r.fail("expected a value")
		return 0
	}
	r.pos = end
	return kindNumber
}

// key reads a member name and its colon.
func (r *reader) key() (name []byte, escaped, ok bool) {
	if r.peek() != '"' {
		return nil, false, r.fail("expected a field name")
	}
	if name, escaped, ok = r.str(); !ok {
		return nil, false, false
	}
	if r.peek() != ':' {
		return nil, false, r.fail("expected a colon")
	}
	r.pos++
	return name, escaped, true
}

// more reads what stands between two members of an object or array, or the
// bracket that ends it. It reports whether a member follows.
func (r *reader) more(closing byte) (next, ok bool) {
	switch r.peek() {
	case ',':
		r.pos++
		return true, true
	case closing:
		r.pos++
		r.depth--
		return false, true
	default:
		return false, r.fail("expected a comma or the end of the list")
	}
}

// empty reads the bracket of an object or array that has no members.
func (r *reader) empty(closing byte) bool {
	if r.peek() != closing {
		return false
	}
	r.pos++
	r.depth--
	return true
}

// skip reads a value that nobody asks for, without recursion.
func (r *reader) skip() bool {
	base := r.depth
	for {
		opened, ok := r.skipStart()
		if !ok {
			return false
		}
		for !opened {
			if r.depth == base {
				return true
			}
			object := r.inObject()
			next, ok := r.more(closingOf(object))
			if !ok {
				return false
			}
			if !next {
				continue
			}
			if object {
				if _, _, ok := r.key(); !ok {
					return false
				}
			}
			opened = true
		}
	}
}

// skipStart reads a scalar or an empty object or array, or steps into one that
// has members up to its first value; opened tells the latter.
func (r *reader) skipStart() (opened, ok bool) {
	switch c := r.peek(); c {
	case '"':
		_, _, ok = r.str()
		return false, ok
	case '{', '[':
		object := c == '{'
		if !r.enter() {
			return false, false
		}
		if r.empty(closingOf(object)) {
			return false, true
		}
		if !object {
			r.open[r.depth/64] &^= 1 << (r.depth % 64)
			return true, true
		}
		r.open[r.depth/64] |= 1 << (r.depth % 64)
		_, _, ok = r.key()
		return true, ok
	default:
		return false, r.scalar() != 0
	}
}

func (r *reader) inObject() bool { return r.open[r.depth/64]>>(r.depth%64)&1 == 1 }

func closingOf(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}
