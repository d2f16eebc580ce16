package transform

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of an event, as encoding/json does, so that hostile input cannot
// exhaust the stack. EventBridge promises 1,000.
const maxDepth = 10_000

// scanner checks JSON text (RFC 8259) and finds where values end. Its methods take the position
// of a value and return the position after it, or -1 with the reason in bad and why.
type scanner struct {
	data   []byte
	blanks int // runs of insignificant blanks seen: unchanged over a value means it is compact
	bad    int
	why    string
}

func (s *scanner) fail(at int, why string) int {
	s.bad, s.why = at, why
	return -1
}

// document scans one value with nothing but blanks around it.
func (s *scanner) document() bool {
	return s.end(s.value(s.space(0), 0))
}

// end checks that a scan came to the position p and that only blanks follow.
func (s *scanner) end(p int) bool {
	if p < 0 {
		return false
	}
	if p = s.space(p); p < len(s.data) {
		s.fail(p, "more text after the end of the document")
		return false
	}
	return true
}

func (s *scanner) space(p int) int {
	if p >= len(s.data) || s.data[p] > ' ' {
		return p
	}
	from := p
	for p < len(s.data) && isBlank(s.data[p]) {
		p++
	}
	if p > from {
		s.blanks++
	}
	return p
}

func (s *scanner) value(p, depth int) int {
	if p >= len(s.data) {
		return s.fail(p, "the document ends where a value is expected")
	}
	switch c := s.data[p]; {
	case c == '"':
		return s.str(p)
	case c == '{':
		return s.object(p, depth+1)
	case c == '[':
		return s.array(p, depth+1)
	case c == '-' || isDigit(c):
		return s.number(p)
	case c == 't':
		return s.literal(p, "true")
	case c == 'f':
		return s.literal(p, "false")
	case c == 'n':
		return s.literal(p, "null")
	default:
		return s.fail(p, "a value is expected here")
	}
}

func (s *scanner) object(p, depth int) int {
	if depth > maxDepth {
		return s.fail(p, "nested too deeply")
	}
	for p = s.first(p, '}'); p >= 0; {
		if s.data[p] == '}' {
			return p + 1
		}
		if p = s.key(p); p < 0 {
			break
		}
		if p = s.value(p, depth); p < 0 {
			break
		}
		p = s.next(p, '}')
	}
	return -1
}

func (s *scanner) array(p, depth int) int {
	if depth > maxDepth {
		return s.fail(p, "nested too deeply")
	}
	for p = s.first(p, ']'); p >= 0; {
		if s.data[p] == ']' {
			return p + 1
		}
		if p = s.value(p, depth); p < 0 {
			break
		}
		p = s.next(p, ']')
	}
	return -1
}

// first goes from an opening bracket to the first member or to the closing bracket.
func (s *scanner) first(p int, closing byte) int {
	if p = s.space(p + 1); p >= len(s.data) {
		return s.fail(p, "the document ends before "+strconv.QuoteRune(rune(closing)))
	}
	return p
}

// next goes from the end of a member to the next one or to the closing bracket.
func (s *scanner) next(p int, closing byte) int {
	if p = s.space(p); p >= len(s.data) {
		return s.fail(p, "the document ends before "+strconv.QuoteRune(rune(closing)))
	}
	switch s.data[p] {
	case closing:
		return p
	case ',':
		p = s.space(p + 1)
		if p >= len(s.data) || s.data[p] == closing {
			return s.fail(p, "a comma with nothing after it")
		}
		return p
	default:
		return s.fail(p, "a comma or "+strconv.QuoteRune(rune(closing))+" is expected here")
	}
}

// key goes from the opening quote of a key to the value of that member.
func (s *scanner) key(p int) int {
	if s.data[p] != '"' {
		return s.fail(p, "a key in double quotes is expected here")
	}
	if p = s.str(p); p < 0 {
		return p
	}
	if p = s.space(p); p >= len(s.data) || s.data[p] != ':' {
		return s.fail(p, "a colon is expected here")
	}
	return s.space(p + 1)
}

func (s *scanner) str(p int) int {
	from := p
	for p++; p < len(s.data); {
		p += plainPrefix(s.data[p:])
		if p >= len(s.data) {
			break
		}
		switch s.data[p] {
		case '"':
			return p + 1
		case '\\':
			n := escapeLen(s.data[p:])
			if n == 0 {
				return s.fail(p, "a backslash that starts no valid escape")
			}
			p += n
		default:
			return s.fail(p, "a control character inside a string")
		}
	}
	return s.fail(from, "a string without its closing quote")
}

func (s *scanner) number(p int) int {
	d := s.data
	if d[p] == '-' {
		p++
	}
	switch {
	case p < len(d) && d[p] == '0':
		p++
	case p < len(d) && isDigit(d[p]):
		p = digits(d, p)
	default:
		return s.fail(p, "a digit is expected here")
	}
	if p < len(d) && d[p] == '.' {
		if p++; p >= len(d) || !isDigit(d[p]) {
			return s.fail(p, "a digit is expected here")
		}
		p = digits(d, p)
	}
	if p < len(d) && (d[p] == 'e' || d[p] == 'E') {
		if p++; p < len(d) && (d[p] == '+' || d[p] == '-') {
			p++
		}
		if p >= len(d) || !isDigit(d[p]) {
			return s.fail(p, "a digit is expected here")
		}
		p = digits(d, p)
	}
	return p
}

func (s *scanner) literal(p int, word string) int {
	if len(s.data)-p < len(word) || string(s.data[p:p+len(word)]) != word {
		return s.fail(p, "a value is expected here")
	}
	return p + len(word)
}

func digits(d []byte, p int) int {
	for p < len(d) && isDigit(d[p]) {
		p++
	}
	return p
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// plainPrefix counts the bytes at the start of b that mean themselves inside a JSON string: no
// quote, no backslash, no control character. It tests eight bytes at a time, because most of an
// event is the inside of strings.
func plainPrefix(b []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// A byte is below k when subtracting k borrows and its own high bit is clear. A borrow
		// can also mark the byte after a true hit, never one before it: the lowest mark is exact.
		hit := ((w - ones*' ') | (quote - ones)) & ^w
		hit |= (slash - ones) & ^slash
		if hit &= highs; hit != 0 {
			return n + bits.TrailingZeros64(hit)/8
		}
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' {
		n++
	}
	return n
}

// escapeLen is the length of the escape sequence at the start of b, or 0 if it is not valid.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(b[2:]) >= 0 {
			return 6
		}
	}
	return 0
}

// hex4 is the value of the four hexadecimal digits at the start of b, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendCompact appends valid JSON without its insignificant blanks.
func appendCompact(dst, src []byte) []byte {
	start := 0
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '"':
			i = closingQuote(src, i) + 1
		case isBlank(c):
			dst = append(dst, src[start:i]...)
			for i++; i < len(src) && isBlank(src[i]); {
				i++
			}
			start = i
		default:
			i++
		}
	}
	return append(dst, src[start:]...)
}

// closingQuote finds the end of the string that opens at p in valid JSON.
func closingQuote(src []byte, p int) int {
	for p++; ; p++ {
		p += bytes.IndexByte(src[p:], '"')
		slashes := 0
		for src[p-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return p
		}
	}
}

// appendUnquoted appends the characters of a valid JSON string token. Half a surrogate pair
// becomes U+FFFD, as in encoding/json.
func appendUnquoted(dst, token []byte) []byte {
	b := token[1 : len(token)-1]
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		b = b[i:]
		n := 2
		switch b[1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			var r rune
			r, n = unicodeEscape(b)
			dst = utf8.AppendRune(dst, r)
		default: // a quote, a backslash, a slash
			dst = append(dst, b[1])
		}
		b = b[n:]
	}
}

// unicodeEscape decodes \uXXXX, or two of them that form a surrogate pair.
func unicodeEscape(b []byte) (r rune, n int) {
	r = hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(b[8:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

// appendEscaped appends text so that it can stand inside a JSON string.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for {
		n := plainPrefix(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return dst
		}
		switch c := text[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[n+1:]
	}
}

// checkContent says why text cannot stand inside a JSON string as it is, and where; why is empty
// if it can.
func checkContent(text []byte) (at int, why string) {
	for {
		at += plainPrefix(text[at:])
		if at == len(text) {
			return at, ""
		}
		switch c := text[at]; c {
		case '"':
			return at, "a double quote"
		case '\\':
			n := escapeLen(text[at:])
			if n == 0 {
				return at, "a backslash that starts no JSON escape"
			}
			at += n
		case '\n', '\r':
			return at, "a line break"
		default:
			return at, "a control character"
		}
	}
}
