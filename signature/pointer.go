package signature

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// This file looks values up in a JSON text by JSON pointer (RFC 6901) in one pass over the bytes,
// without building anything. It accepts exactly the texts that encoding/json accepts. Of a name that
// occurs twice in an object the last one counts, as in encoding/json, JavaScript and Python: whatever
// reads the body after us must see the value that we checked. That is why the pass never ends early.

var errJSON = errors.New("not a JSON text")

// maxDepth is the nesting that encoding/json accepts.
const maxDepth = 10000

// maxPointers is how many pointers one pass can follow: one bit each.
const maxPointers = 64

// pointer is a parsed JSON pointer: the unescaped reference tokens.
type pointer []string

// parsePointer parses a JSON pointer; it is false if the text is not one.
func parsePointer(text string) (pointer, bool) {
	if text == "" {
		return nil, true
	}
	if text[0] != '/' {
		return nil, false
	}
	tokens := strings.Split(text[1:], "/")
	for i, token := range tokens {
		for at := strings.IndexByte(token, '~'); at >= 0; {
			if at+1 == len(token) || (token[at+1] != '0' && token[at+1] != '1') {
				return nil, false
			}
			next := strings.IndexByte(token[at+2:], '~')
			if next < 0 {
				break
			}
			at += 2 + next
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens, true
}

// found is where a pointer led: the span of a value in the text. The zero value means nowhere.
type found struct{ start, end int }

// find fills out[i] with the span of the value at ptrs[i]. It returns errJSON if data is not one
// valid JSON text.
func find(data []byte, ptrs []pointer, out []found) error {
	s := finder{data: data, ptrs: ptrs, out: out}
	clear(out)
	s.space()
	if !s.value(0, ^uint64(0)>>(maxPointers-len(ptrs))) {
		return errJSON
	}
	s.space()
	if s.pos != len(data) {
		return errJSON
	}
	return nil
}

// text appends the text of the value: a string without quotes and escapes, a number or boolean as
// written. It is false for nothing, null, objects and arrays.
func (f found) text(dst, data []byte) ([]byte, bool) {
	raw := data[f.start:f.end]
	if len(raw) == 0 {
		return dst, false
	}
	switch raw[0] {
	case '"':
		return appendUnquoted(dst, raw[1:len(raw)-1]), true
	case '{', '[', 'n':
		return dst, false
	default:
		return append(dst, raw...), true
	}
}

// finder is the state of one pass.
type finder struct {
	data []byte
	pos  int
	ptrs []pointer
	out  []found
}

// value reads one value. Bit i of active is set if the first depth tokens of ptrs[i] led here.
func (s *finder) value(depth int, active uint64) bool {
	if s.pos >= len(s.data) {
		return false
	}
	var ok bool
	start := s.pos
	switch c := s.data[s.pos]; c {
	case '{':
		ok = depth < maxDepth && s.object(depth, active)
	case '[':
		ok = depth < maxDepth && s.array(depth, active)
	case '"':
		_, ok = s.str()
	case 't':
		ok = s.literal("true")
	case 'f':
		ok = s.literal("false")
	case 'n':
		ok = s.literal("null")
	default:
		ok = s.number()
	}
	if ok && active != 0 {
		for i := range s.ptrs {
			if active&(1<<i) != 0 && len(s.ptrs[i]) == depth {
				s.out[i] = found{start, s.pos}
			}
		}
	}
	return ok
}

// object reads an object.
func (s *finder) object(depth int, active uint64) bool {
	s.pos++
	s.space()
	if s.at('}') {
		return true
	}
	for {
		start := s.pos
		if s.pos >= len(s.data) || s.data[s.pos] != '"' {
			return false
		}
		simple, ok := s.str()
		if !ok {
			return false
		}
		name := s.data[start+1 : s.pos-1]
		s.space()
		if !s.at(':') {
			return false
		}
		s.space()
		if !s.value(depth+1, s.named(name, simple, depth, active)) {
			return false
		}
		s.space()
		if s.at('}') {
			return true
		}
		if !s.at(',') {
			return false
		}
		s.space()
	}
}

// named returns those of the active pointers whose next token is the name, and forgets what they had
// found under an earlier member of the same name.
func (s *finder) named(name []byte, simple bool, depth int, active uint64) uint64 {
	if active == 0 {
		return 0
	}
	if !simple {
		name = appendUnquoted(nil, name)
	}
	var next uint64
	for i, p := range s.ptrs {
		if active&(1<<i) != 0 && len(p) > depth && p[depth] == string(name) {
			next |= 1 << i
			s.out[i] = found{}
		}
	}
	return next
}

// array reads an array.
func (s *finder) array(depth int, active uint64) bool {
	s.pos++
	s.space()
	if s.at(']') {
		return true
	}
	for index := 0; ; index++ {
		if !s.value(depth+1, s.indexed(index, depth, active)) {
			return false
		}
		s.space()
		if s.at(']') {
			return true
		}
		if !s.at(',') {
			return false
		}
		s.space()
	}
}

// indexed returns those of the active pointers whose next token is the index.
func (s *finder) indexed(index, depth int, active uint64) uint64 {
	if active == 0 {
		return 0
	}
	var next uint64
	for i, p := range s.ptrs {
		if active&(1<<i) != 0 && len(p) > depth && isIndex(p[depth], index) {
			next |= 1 << i
		}
	}
	return next
}

// isIndex reports whether the token is the index in decimal, without leading zeros.
func isIndex(token string, index int) bool {
	if len(token) == 1 {
		return int(token[0])-'0' == index
	}
	return token == strconv.Itoa(index)
}

// space skips white space.
func (s *finder) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// at skips c and reports true if it is next.
func (s *finder) at(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// literal skips the word.
func (s *finder) literal(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// number skips a number (RFC 8259 6).
func (s *finder) number() bool {
	s.at('-')
	if !s.at('0') && !s.digits() {
		return false
	}
	if s.at('.') && !s.digits() {
		return false
	}
	if s.at('e') || s.at('E') {
		if !s.at('+') {
			s.at('-')
		}
		return s.digits()
	}
	return true
}

// digits skips digits and reports whether there was one.
func (s *finder) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// str skips a string. It is simple if its text is its bytes: ASCII without escapes.
func (s *finder) str() (simple, ok bool) {
	simple = true
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return simple, true
		case c < ' ':
			return false, false
		case c == '\\':
			simple = false
			s.pos++
			if !s.escape() {
				return false, false
			}
		case c >= utf8.RuneSelf:
			simple = false
		}
	}
	return false, false
}

// escape checks the escape whose backslash has been read and stops at its last byte.
func (s *finder) escape() bool {
	if s.pos >= len(s.data) {
		return false
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if len(s.data)-s.pos < 5 {
			return false
		}
		for _, c := range s.data[s.pos+1 : s.pos+5] {
			if unhex(c) > 15 {
				return false
			}
		}
		s.pos += 4
		return true
	default:
		return false
	}
}

// appendUnquoted appends the text of a valid JSON string without its quotes. Invalid UTF-8 and lone
// surrogates become U+FFFD, as in encoding/json.
func appendUnquoted(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '\\' && raw[i+1] == 'u':
			r := hex4(raw[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(raw)-i >= 6 && raw[i] == '\\' && raw[i+1] == 'u' {
					low = hex4(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		case c == '\\':
			dst = append(dst, unescaped(raw[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

// hex4 returns the number in the first four bytes, which are hexadecimal digits.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		r = r<<4 | rune(unhex(c))
	}
	return r
}

// unescaped returns what a one-letter escape stands for.
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

// firstName returns the first member name of a JSON object that is not skip, for senders whose event
// type is the name of a member.
func firstName(data []byte, skip string) (string, bool) {
	s := finder{data: data}
	s.space()
	if !s.at('{') {
		return "", false
	}
	for {
		s.space()
		start := s.pos
		if s.pos >= len(data) || data[s.pos] != '"' {
			return "", false
		}
		if _, ok := s.str(); !ok {
			return "", false
		}
		if name := string(appendUnquoted(nil, data[start+1:s.pos-1])); name != skip {
			return name, true
		}
		s.space()
		if !s.at(':') {
			return "", false
		}
		s.space()
		if !s.value(1, 0) {
			return "", false
		}
		s.space()
		if !s.at(',') {
			return "", false
		}
	}
}
