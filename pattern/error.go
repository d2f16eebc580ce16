package pattern

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrTooComplex is returned when finding the array elements that satisfy a
// pattern together would take more looks at the event than its size allows, so
// that no event can keep a bus busy. It takes an event made for it: with many
// arrays directly in arrays, keys that repeat, or keys with dots beside nested
// ones, below conditions that almost hold.
var ErrTooComplex = errors.New("event arrays cannot be matched in bounded time")

// An Error says why a pattern is not valid. Its text is the message of the
// service's InvalidEventPatternException.
type Error struct {
	// Reason is the first line of the cause, as the service words it.
	Reason string
	// Path leads from the top of the pattern to the place of the error: object
	// keys, and for places inside lists the index in decimal digits. It is
	// empty when the error concerns the whole text or is not valid JSON there.
	Path []string
	// Offset is where the offending token starts, in bytes from the start of
	// the text; Line and Column say the same in lines and characters, from 1.
	Offset, Line, Column int
	// Exception is the name of the service's error: InvalidEventPatternException,
	// or ValidationException for a text that is too long.
	Exception string

	source    string // text of the pattern; empty when the message has no location
	endLine   int    // where the service's parser stood: after the token
	endColumn int
	repeat    bool // lists under anything-but state the location twice
}

const (
	invalidPattern = "InvalidEventPatternException"
	invalidRequest = "ValidationException"
	// sourceShown is how much of a text the service's parser quotes.
	sourceShown = 500
)

// Error returns the message of the service, for example
//
//	Event pattern is not valid. Reason: Empty arrays are not allowed
//	 at [Source: (String)"{"source": []}"; line: 1, column: 14]
func (e *Error) Error() string {
	if e.Exception == invalidRequest {
		return "1 validation error detected: Value at 'eventPattern' failed to satisfy constraint: " + e.Reason
	}
	var b strings.Builder
	b.WriteString("Event pattern is not valid. Reason: ")
	b.WriteString(e.Reason)
	if e.source == "" {
		return b.String()
	}
	location := e.location()
	b.WriteString(location)
	if e.repeat {
		b.WriteString(location)
	}
	return b.String()
}

func (e *Error) location() string {
	shown, cut := e.source, ""
	if units := utf16Len(shown); units > sourceShown {
		shown = firstUnits(shown, sourceShown)
		cut = fmt.Sprintf("[truncated %d chars]", units-sourceShown)
	}
	return fmt.Sprintf("\n at [Source: (String)\"%s\"%s; line: %d, column: %d]", shown, cut, e.endLine, e.endColumn)
}

// An EventError says why a text could not be matched: it is not JSON, its top
// level is not an object, or it is nested too deep.
type EventError struct {
	// Reason is a short clause in lower case.
	Reason string
	// Offset is the byte at which the text stops being acceptable.
	Offset int
	// Detail tells that Offset counts within the Detail of an Event rather
	// than within its Envelope.
	Detail bool
}

// Error returns the reason with its position.
func (e *EventError) Error() string {
	part := "event"
	if e.Detail {
		part = "event detail"
	}
	return fmt.Sprintf("%s is not valid: %s at byte %d", part, e.Reason, e.Offset)
}

// locate returns the line and the column of an offset, both from 1, counting
// characters as the service's parser does: in UTF-16 units.
func locate(text string, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	line = 1 + strings.Count(before, "\n")
	before = before[strings.LastIndexByte(before, '\n')+1:]
	return line, 1 + utf16Len(before)
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}

// firstUnits cuts s after at most n UTF-16 units, never inside a character.
func firstUnits(s string, n int) string {
	for i, r := range s {
		n -= max(1, utf16.RuneLen(r))
		if n < 0 {
			return s[:i]
		}
	}
	return s
}

// compareUnits orders texts by their UTF-16 units, the order in which the
// service visits the fields of a pattern. It differs from the order of bytes
// only where a character beyond U+FFFF meets one from U+E000 on.
func compareUnits(a, b string) int {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb {
			return cmp.Compare(unitOf(ra), unitOf(rb))
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

// unitOf maps a character to a number that sorts like its UTF-16 units.
func unitOf(r rune) int64 {
	switch {
	case r > 0xFFFF:
		return 0xD800<<16 + int64(r)
	case r >= 0xD800:
		return int64(r) << 17
	default:
		return int64(r) << 16
	}
}
