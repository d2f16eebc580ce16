package transform

import (
	"fmt"
	"strings"
)

// position is where a placeholder stands, which decides how its value is written.
type position int

const (
	inValue  position = iota + 1 // in a JSON template, outside quotes
	inQuotes                     // in a JSON template, inside quotes
	inText                       // in a text template
)

// piece is a stretch of a template: literal text, or one placeholder.
type piece struct {
	literal string
	name    string // empty for literal text
	offset  int    // in the template
	pos     position
	source  source
	slot    int // of a path
}

// source says where the value of a placeholder comes from.
type source int

const (
	fromPath source = iota + 1
	fromRuleARN
	fromRuleName
	fromIngestionTime
	fromSummary // the event without detail
	fromEvent
)

// predefined is the source of a name that needs no path, or 0.
func predefined(name string) source {
	switch name {
	case "aws.events.rule-arn":
		return fromRuleARN
	case "aws.events.rule-name":
		return fromRuleName
	case "aws.events.event.ingestion-time":
		return fromIngestionTime
	case "aws.events.event":
		return fromSummary
	case "aws.events.event.json":
		return fromEvent
	default:
		return 0
	}
}

// splitter cuts a template into pieces.
type splitter struct {
	text   string
	json   bool
	pieces []piece
	errs   Errors

	start  int  // of the literal text that is being read
	quoted bool // inside a string of a JSON template
	opened int  // number of pieces when that string began
}

func (s *splitter) split() {
	for i := 0; i < len(s.text); {
		switch c := s.text[i]; {
		case c == '<':
			i += s.placeholder(i)
		case c == '"' && s.json:
			i++
			s.quote(i)
		case c == '\\' && s.quoted && i+1 < len(s.text) &&
			(s.text[i+1] == '"' || s.text[i+1] == '\\'):
			i += 2 // Not any other character: < cannot be escaped.
		default:
			i++
		}
	}
	s.literal(len(s.text))
}

func (s *splitter) literal(end int) {
	if end > s.start {
		s.pieces = append(s.pieces, piece{literal: s.text[s.start:end], offset: s.start})
	}
}

// placeholder takes the < at i and returns how many bytes it took.
func (s *splitter) placeholder(i int) int {
	name, ok := placeholderName(s.text[i:])
	if !ok {
		return 1
	}
	s.literal(i)
	p := piece{name: name, offset: i, pos: inText}
	end := i + len(name) + 2
	if s.json {
		p.pos = inValue
		if s.quoted {
			p.pos = inQuotes
		} else if colonFollows(s.text[end:]) {
			s.refuseKey(p)
		}
	}
	s.pieces = append(s.pieces, p)
	s.start = end
	return end - i
}

// quote handles the quote before position after. A string before a colon is a key.
func (s *splitter) quote(after int) {
	s.quoted = !s.quoted
	if s.quoted {
		s.opened = len(s.pieces)
		return
	}
	if colonFollows(s.text[after:]) {
		for _, p := range s.pieces[s.opened:] {
			if p.name != "" {
				s.refuseKey(p)
			}
		}
	}
}

func (s *splitter) refuseKey(p piece) {
	s.errs = append(s.errs, &Error{
		Code: CodePlaceholderKey, Field: FieldTemplate, Name: p.name, Offset: p.offset,
		Problem: "a placeholder cannot be a key, or part of one",
		Hint:    "use it as a value",
	})
}

func colonFollows(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), ":")
}

// placeholderName reads <name> at the start of text. A path in angle brackets, as EventBridge
// Pipes has it, counts too, so that it is refused and not sent as text.
func placeholderName(text string) (string, bool) {
	end := strings.IndexByte(text, '>')
	if end < 2 {
		return "", false
	}
	name := text[1:end]
	if strings.HasPrefix(name, "$.") {
		return name, !strings.ContainsAny(name, " \t\r\n\"<")
	}
	for i := range len(name) {
		if !isNameByte(name[i]) && name[i] != '.' {
			return "", false
		}
	}
	return name, true
}

func isNameByte(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// isText tells the two kinds of template apart.
func isText(template string) bool {
	return strings.HasPrefix(strings.TrimLeft(template, " \t\r\n"), `"`)
}

// checkJSON tells whether a JSON template is a valid document whatever its placeholders stand
// for, and if not, why: it scans the template with "" for each value.
func checkJSON(text string, pieces []piece) *Error {
	probe := make([]byte, 0, len(text))
	for _, p := range pieces {
		switch {
		case p.name == "":
			probe = append(probe, p.literal...)
		case p.pos == inValue:
			probe = append(probe, `""`...)
		}
	}
	sc := scanner{data: probe}
	if sc.document() {
		return nil
	}
	offset := templateOffset(pieces, sc.bad)
	line, column := lineColumn(text, offset)
	return &Error{
		Code: CodeInvalidTemplate, Field: FieldTemplate, Offset: offset,
		Problem: fmt.Sprintf("not valid JSON at line %d, column %d: %s", line, column, sc.why),
		Hint:    "correct the JSON, or put the whole template in double quotes to send text",
	}
}

// templateOffset converts an offset in the probe of checkJSON to one in the template.
func templateOffset(pieces []piece, at int) int {
	end := 0
	for _, p := range pieces {
		size := len(p.literal)
		if p.pos == inValue {
			size = len(`""`)
		}
		if at < size {
			if p.name != "" {
				at = 0
			}
			return p.offset + at
		}
		at -= size
		end = p.offset + len(p.literal)
		if p.name != "" {
			end = p.offset + len(p.name) + 2
		}
	}
	return end
}
