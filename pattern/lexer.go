package pattern

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is how many objects and arrays may enclose each other, in a
// pattern and in an event.
const maxNesting = 1000

// The kinds of tokens.
const (
	tokenEOF       = '$'
	tokenObject    = '{'
	tokenEndObject = '}'
	tokenArray     = '['
	tokenEndArray  = ']'
	tokenKey       = ':'
	tokenString    = '"'
	tokenNumber    = '0'
	tokenTrue      = 't'
	tokenFalse     = 'f'
	tokenNull      = 'n'
)

// token is one step of a JSON text.
type token struct {
	kind       byte
	start, end int
	text       string // decoded key or string, otherwise the literal
}

// level is an object or array that the lexer stands in.
type level struct {
	object bool
	filled bool // has a member already, so that a comma is due
	keyed  bool // a key was read, its value is due
}

// lexer splits a pattern into tokens. It keeps number literals and duplicate
// keys, which a decoder into Go values would lose.
type lexer struct {
	src   string
	pos   int
	stack []level
	last  token
}

func (l *lexer) next() (token, error) {
	t, err := l.scan()
	if err == nil {
		l.last = t
	}
	return t, err
}

func (l *lexer) scan() (token, error) {
	l.space()
	if len(l.stack) == 0 {
		if l.last.kind != 0 || l.pos == len(l.src) {
			return l.end()
		}
		return l.value()
	}
	top := &l.stack[len(l.stack)-1]
	if top.keyed {
		top.keyed = false
		return l.value()
	}
	if closing := closingOf(top.object); l.at(closing) {
		l.stack = l.stack[:len(l.stack)-1]
		l.pos++
		return l.token(closing, l.pos-1), nil
	}
	if top.filled {
		if !l.at(',') {
			return token{}, l.unexpected("a comma")
		}
		l.pos++
		l.space()
	}
	top.filled = true
	if !top.object {
		return l.value()
	}
	top.keyed = true
	return l.key()
}

// end accepts the end of the text only: what follows the closing brace is an
// error, though the service's library would not look at it.
func (l *lexer) end() (token, error) {
	if l.pos < len(l.src) {
		return token{}, l.unexpected("the end of the pattern")
	}
	return token{kind: tokenEOF, start: l.pos, end: l.pos}, nil
}

func (l *lexer) key() (token, error) {
	if !l.at('"') {
		return token{}, l.unexpected("a field name in double quotes")
	}
	t, err := l.str(tokenKey)
	if err != nil {
		return token{}, err
	}
	l.space()
	if !l.at(':') {
		return token{}, l.unexpected("a colon after the field name")
	}
	l.pos++
	return t, nil
}

func (l *lexer) value() (token, error) {
	if l.pos == len(l.src) {
		return token{}, l.unexpected("a value")
	}
	start := l.pos
	switch c := l.src[l.pos]; c {
	case '{', '[':
		if len(l.stack) == maxNesting {
			return token{}, l.fail(fmt.Sprintf("Document nesting depth (%d) exceeds the maximum allowed (%d)",
				maxNesting+1, maxNesting))
		}
		l.stack = append(l.stack, level{object: c == '{'})
		l.pos++
		return l.token(c, start), nil
	case '"':
		return l.str(tokenString)
	case 't':
		return l.literal(tokenTrue, "true")
	case 'f':
		return l.literal(tokenFalse, "false")
	case 'n':
		return l.literal(tokenNull, "null")
	}
	end := scanNumber(l.src, l.pos)
	if end <= start {
		return token{}, l.unexpected("a value")
	}
	l.pos = end
	return l.token(tokenNumber, start), nil
}

func (l *lexer) literal(kind byte, word string) (token, error) {
	start := l.pos
	if len(l.src)-start < len(word) || l.src[start:start+len(word)] != word {
		return token{}, l.unexpected("a value")
	}
	l.pos += len(word)
	return l.token(kind, start), nil
}

func (l *lexer) str(kind byte) (token, error) {
	start := l.pos
	end, escaped, ok := scanString(l.src, start+1)
	if !ok {
		l.pos = end
		return token{}, l.unexpected("a character allowed in a string or its closing quote")
	}
	l.pos = end + 1
	t := l.token(kind, start)
	t.text = l.src[start+1 : end]
	if escaped {
		t.text = string(unescape(nil, t.text))
	}
	return t, nil
}

func (l *lexer) token(kind byte, start int) token {
	return token{kind: kind, start: start, end: l.pos, text: l.src[start:l.pos]}
}

func (l *lexer) at(c byte) bool { return l.pos < len(l.src) && l.src[l.pos] == c }

func (l *lexer) space() {
	for l.pos < len(l.src) && isSpace(l.src[l.pos]) {
		l.pos++
	}
}

func (l *lexer) unexpected(wanted string) error {
	if l.pos >= len(l.src) {
		return l.fail("Unexpected end-of-input: expected " + wanted)
	}
	r, _ := utf8.DecodeRuneInString(l.src[l.pos:])
	return l.fail(fmt.Sprintf("Unexpected character (%q (code %d)): expected %s", r, r, wanted))
}

func (l *lexer) fail(reason string) error {
	return l.errorAt(reason, token{start: l.pos, end: min(l.pos+1, len(l.src))})
}

func (l *lexer) errorAt(reason string, t token) *Error {
	e := &Error{Reason: reason, Exception: invalidPattern, Offset: t.start, source: l.src}
	e.Line, e.Column = locate(l.src, t.start)
	e.endLine, e.endColumn = locate(l.src, t.end)
	return e
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// text is what the two JSON readers of this package read: a pattern is a
// string, an event is a slice.
type text interface{ ~string | ~[]byte }

// scanNumber returns the end of the number literal at i, or i when there is
// none in the grammar of RFC 8259.
func scanNumber[T text](s T, i int) int {
	start := i
	if i < len(s) && s[i] == '-' {
		i++
	}
	first := i
	i = digits(s, i)
	if i == first || (s[first] == '0' && i > first+1) {
		return start
	}
	if i < len(s) && s[i] == '.' {
		frac := i + 1
		if i = digits(s, frac); i == frac {
			return start
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		exp := i
		if i = digits(s, exp); i == exp {
			return start
		}
	}
	return i
}

func digits[T text](s T, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
}

// scanString returns the index of the quote that ends the string whose content
// starts at i, and whether it holds escapes. When the string is not valid, ok
// is false and end is where it stops being so.
func scanString[T text](s T, i int) (end int, escaped, ok bool) {
	for i < len(s) {
		switch c := s[i]; {
		case c == '"':
			return i, escaped, true
		case c == '\\':
			next := escapeEnd(s, i)
			if next == i {
				return i, true, false
			}
			escaped, i = true, next
		case c < 0x20:
			return i, escaped, false
		default:
			i++
		}
	}
	return i, escaped, false
}

// escapeEnd returns the end of the escape sequence whose backslash is at i,
// or i when it is not one.
func escapeEnd[T text](s T, i int) int {
	if i+1 >= len(s) {
		return i
	}
	switch s[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if _, ok := hex4(s, i+2); ok {
			return i + 6
		}
	}
	return i
}

func hex4[T text](s T, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unescape appends the text that a valid JSON string stands for. A lone
// surrogate becomes U+FFFD, as in encoding/json.
func unescape[T text](dst []byte, s T) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		if s[i+1] != 'u' {
			dst = append(dst, unescaped(s[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(s, i+2)
		i += 6
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if i+1 < len(s) && s[i] == '\\' && s[i+1] == 'u' {
				low, _ := hex4(s, i+2)
				pair = utf16.DecodeRune(r, low)
			}
			if r = pair; r != utf8.RuneError {
				i += 6
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}
