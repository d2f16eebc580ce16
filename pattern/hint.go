package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// shownBytes is how much of a long value an explanation shows.
const shownBytes = 120

// json renders a leaf as JSON, cut when it is long.
func (l *leaf) json() string {
	if l.kind != kindString {
		return cut(string(l.text))
	}
	return quote(cut(string(l.text)))
}

func cut(s string) string {
	if len(s) <= shownBytes {
		return s
	}
	n := shownBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// quote writes a JSON string without the escapes for HTML.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `"` + s + `"` // not reached: any string can be encoded
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// near looks for a value that a condition almost accepts.
func near(cond *condition, found []leaf) (Reason, string) {
	for i := range found {
		l := &found[i]
		if hint := otherType(cond, l); hint != "" {
			return ReasonOtherType, hint
		}
		if l.kind != kindString {
			continue
		}
		trimmed := leaf{kind: kindString, text: bytes.TrimSpace(l.text)}
		if len(trimmed.text) != len(l.text) && cond.match(&trimmed) {
			return ReasonOtherBlanks, "it differs only by blanks at its ends, which count"
		}
		if wanted, ok := otherBlanks(cond, l); ok {
			return ReasonOtherBlanks, "it differs only by the blanks of " + quote(wanted) + " in the pattern, which count"
		}
		if use := otherCase(cond, l); use != "" {
			return ReasonOtherCase, "it differs only by case; did you mean " + use + "?"
		}
	}
	return ReasonOtherValue, ""
}

// otherType tells when a value is right but for its JSON type.
func otherType(cond *condition, l *leaf) string {
	if l.kind != kindString {
		if cond.exact.has(l.text) {
			return fmt.Sprintf("the event has the %s %s, the pattern the string %s", l.kind, l.text, quote(string(l.text)))
		}
		return ""
	}
	end := scanNumber(l.text, 0)
	number := leaf{kind: kindNumber, text: l.text}
	if end == len(l.text) && end > 0 && !numberInsideNot(cond) && cond.match(&number) {
		return fmt.Sprintf("the event has a string, the pattern wants a number: %s without quotes", l.text)
	}
	for k, word := range map[kind]string{kindTrue: "true", kindFalse: "false", kindNull: "null"} {
		if string(l.text) == word && cond.literals&k != 0 {
			return "the event has a string, the pattern wants the literal " + word
		}
	}
	return ""
}

// numberInsideNot tells whether a condition accepts any number because of
// anything-but, so that a number would be nothing it asks for.
func numberInsideNot(cond *condition) bool {
	return slices.ContainsFunc(cond.tests, func(t test) bool {
		_, isRange := t.(rangeTest)
		return !isRange && t.pass(&leaf{kind: kindNumber, text: []byte("0")})
	})
}

// String names a type for people.
func (k kind) String() string {
	switch k {
	case kindString:
		return "string"
	case kindNumber:
		return "number"
	case kindTrue, kindFalse, kindNull:
	}
	return "literal"
}

func otherBlanks(cond *condition, l *leaf) (string, bool) {
	for _, wanted := range cond.exact.list {
		if strings.TrimSpace(wanted) == string(bytes.TrimSpace(l.text)) {
			return wanted, true
		}
	}
	return "", false
}

// otherCase returns an alternative that would accept a value, in which case
// does not matter.
func otherCase(cond *condition, l *leaf) string {
	for _, wanted := range cond.exact.list {
		if fold(wanted).equal(l.text) {
			return `{"equals-ignore-case": ` + quote(wanted) + `}`
		}
	}
	for _, t := range cond.tests {
		switch t := t.(type) {
		case prefixTest:
			if _, ok := fold(string(t)).prefix(l.text); ok {
				return `{"prefix": {"equals-ignore-case": ` + quote(string(t)) + `}}`
			}
		case suffixTest:
			if fold(string(t)).suffix(l.text) {
				return `{"suffix": {"equals-ignore-case": ` + quote(string(t)) + `}}`
			}
		}
	}
	return ""
}

// hint looks into the event for what stands where a field is missing.
func (x *explainer) hint(f *Failure) {
	if f.Reason != ReasonMissing {
		return
	}
	if x.tree == nil {
		x.tree = x.event.decode()
	}
	s := survey{names: strings.Split(f.Path, ".")}
	s.look(x.tree, 0)
	f.Hint = s.hint
	if s.reached {
		f.Reason = ReasonNoScalar
	}
}

// decode returns the event as Go values. It was read before, so it is valid.
func (e Event) decode() any {
	var whole map[string]any
	if err := json.Unmarshal(e.Envelope, &whole); err != nil {
		return nil
	}
	if e.Detail != nil {
		var detail any
		if err := json.Unmarshal(e.Detail, &detail); err == nil {
			whole["detail"] = detail
		}
	}
	return whole
}

// survey follows a path into an event as far as it goes.
type survey struct {
	names   []string
	deepest int
	hint    string
	reached bool // something stands at the whole path
}

func (s *survey) look(v any, n int) {
	switch v := v.(type) {
	case []any:
		if n == len(s.names) {
			s.note(n+1, "it is a list without values")
			s.reached = true
		}
		for _, element := range v {
			s.look(element, n)
		}
	case map[string]any:
		if n == len(s.names) {
			s.note(n+2, "it is an object; name the fields inside it")
			s.reached = true
			return
		}
		s.object(v, n)
	default:
		if n < len(s.names) && n > 0 {
			s.scalar(v, n)
		}
	}
}

func (s *survey) object(v map[string]any, n int) {
	if inner, ok := v[s.names[n]]; ok {
		s.look(inner, n+1)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(v)) {
		inner := v[key]
		if parts := strings.Split(key, "."); len(parts) > 1 && len(parts) <= len(s.names)-n &&
			slices.Equal(parts, s.names[n:n+len(parts)]) {
			s.look(inner, n+len(parts))
		}
		if strings.EqualFold(strings.TrimSpace(key), s.names[n]) {
			s.note(n+1, "the event has "+s.path(n, key)+", and names are compared exactly")
		}
	}
	if n > 0 {
		s.note(n, s.path(n-1, s.names[n-1])+" has no field "+quote(s.names[n]))
	}
}

func (s *survey) scalar(v any, n int) {
	at := s.path(n-1, s.names[n-1])
	text, ok := v.(string)
	if !ok {
		s.note(n, at+" is no object")
		return
	}
	if t := strings.TrimSpace(text); strings.HasPrefix(t, "{") && json.Valid([]byte(t)) {
		s.note(n, at+" is a string that holds JSON, which patterns do not look into")
		return
	}
	s.note(n, at+" is a string, no object")
}

func (s *survey) path(n int, last string) string {
	return strings.Join(append(slices.Clone(s.names[:n]), last), ".")
}

// note keeps the hint of the place that is deepest in the path.
func (s *survey) note(depth int, hint string) {
	if depth > s.deepest {
		s.deepest, s.hint = depth, hint
	}
}
