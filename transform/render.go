package transform

import (
	"bytes"
	"fmt"
	"time"
)

// renderer makes one output.
type renderer struct {
	picker
	t        *Transform
	event    Event
	vars     Vars
	envelope found
	detail   found
}

// pick reads of the event what the transform needs and no more.
func (r *renderer) pick() error {
	t := r.t
	if t.slots == 0 && !t.whole {
		return nil
	}
	var err error
	if r.envelope, err = r.read(t.root, r.event.Envelope, "envelope"); err != nil {
		return err
	}
	if r.envelope.raw[0] != '{' {
		return invalidEvent("envelope", 0, "an object is expected")
	}
	if r.event.Detail == nil || t.detail == nil && !t.whole {
		return nil
	}
	at := t.detail
	if at == nil {
		at = &node{} // Nothing of it is wanted but the whole.
	}
	r.forget(at, 0)
	r.detail, err = r.read(at, r.event.Detail, "detail")
	return err
}

// read walks one document.
func (r *renderer) read(n *node, data []byte, part string) (found, error) {
	r.scanner = scanner{data: data}
	start := r.space(0)
	blanks := r.blanks
	end := r.visit(n, start)
	spaced := r.blanks != blanks
	if !r.end(end) {
		return found{}, invalidEvent(part, r.bad, r.why)
	}
	return found{raw: data[start:end:end], spaced: spaced}, nil
}

func invalidEvent(part string, at int, why string) *Error {
	return &Error{
		Code: CodeInvalidEvent, Field: FieldEvent, Offset: at,
		Problem: "the " + part + " of the event is not valid: " + why,
		Hint:    "send the event without a transform, or correct its sender",
	}
}

// value is the output without a template: the value of the only piece.
func (r *renderer) value() ([]byte, error) {
	p := &r.t.pieces[0]
	if p.source == fromPath && !r.exists(p.slot) {
		return nil, &Error{
			Code: CodeNotFound, Field: FieldPath, Path: r.t.path, Offset: -1,
			Problem: r.t.path + " selects nothing in this event",
			Hint: "narrow the pattern of the rule to events that have it, or use a template, " +
				"where a value that is not there is written as an empty string",
		}
	}
	// What is compact already is not copied.
	switch {
	case p.source == fromEvent && r.event.Detail == nil && !r.envelope.spaced:
		return r.envelope.raw, nil
	case p.source == fromPath && r.slots[p.slot].raw != nil && !r.slots[p.slot].spaced:
		return r.slots[p.slot].raw, nil
	}
	return r.appendJSON(make([]byte, 0, r.size(p)), p), nil
}

// document is the output of a template.
func (r *renderer) document() ([]byte, error) {
	size := 0
	for i := range r.t.pieces {
		size += r.size(&r.t.pieces[i])
	}
	dst := make([]byte, 0, size)
	for i := range r.t.pieces {
		p := &r.t.pieces[i]
		switch {
		case p.name == "":
			dst = append(dst, p.literal...)
		case p.pos == inValue:
			dst = r.appendJSON(dst, p)
		default:
			mark := len(dst)
			dst = r.appendPlain(dst, p)
			var err error
			if dst, err = r.fit(dst, mark, p); err != nil {
				return nil, err
			}
		}
	}
	if r.t.unsure != nil {
		return r.confirm(dst)
	}
	return dst, nil
}

// fit makes what was inserted for p, from mark on, suit its position.
func (r *renderer) fit(dst []byte, mark int, p *piece) ([]byte, error) {
	inserted := dst[mark:]
	switch {
	case r.t.escape:
		if !hasEscape(inserted) {
			return dst, nil
		}
		return appendEscaped(dst[:mark], bytes.Clone(inserted)), nil
	case p.pos == inQuotes:
		if at, why := checkContent(inserted); why != "" {
			return nil, r.breaks(p, at, why)
		}
		return dst, nil
	case r.composite(p):
		return dst[:mark+removeQuotes(inserted)], nil
	default:
		return dst, nil
	}
}

// removeQuotes removes every double quote in place and returns the new length.
func removeQuotes(b []byte) int {
	n := 0
	for _, c := range b {
		if c != '"' {
			b[n] = c
			n++
		}
	}
	return n
}

func (r *renderer) breaks(p *piece, at int, why string) *Error {
	what := r.kind(p)
	e := &Error{
		Code: CodeBreaksString, Field: FieldTemplate, Name: p.name, Path: r.t.paths[p.name],
		Offset: p.offset,
		Hint: "leave out the quotes, so that the value is written as JSON, or let the " +
			"transformer escape values",
	}
	if e.Path != "" {
		what += " at " + e.Path
	}
	e.Problem = fmt.Sprintf("the %s has %s at byte %d and does not fit inside quotes: "+
		"the document would not be valid JSON", what, why, at)
	return e
}

// confirm checks a document whose template alone does not promise JSON.
func (r *renderer) confirm(doc []byte) ([]byte, error) {
	sc := scanner{data: doc}
	if sc.document() {
		return doc, nil
	}
	e := *r.t.unsure
	e.Code = CodeInvalidOutput
	e.Problem = fmt.Sprintf("the finished document is not valid JSON (%s, at byte %d of it); "+
		"the template is %s", sc.why, sc.bad, r.t.unsure.Problem)
	for _, p := range r.t.pieces {
		if p.name != "" && p.offset <= e.Offset {
			e.Name = p.name // The last placeholder before the defect.
		}
	}
	return nil, &e
}

// exists reports whether the path of slot selects anything; an empty list counts.
func (r *renderer) exists(slot int) bool {
	return slot >= 0 && (r.slots[slot].raw != nil || r.slots[slot].isList)
}

// composite reports whether p stands for an object or an array.
func (r *renderer) composite(p *piece) bool {
	switch p.source {
	case fromEvent, fromSummary:
		return true
	case fromPath:
		if p.slot < 0 {
			return false
		}
		raw := r.slots[p.slot].raw
		return r.slots[p.slot].isList || raw != nil && (raw[0] == '{' || raw[0] == '[')
	case fromRuleARN, fromRuleName, fromIngestionTime:
	}
	return false
}

// kind names what p stands for.
func (r *renderer) kind(p *piece) string {
	switch {
	case p.source == fromEvent || p.source == fromSummary:
		return "event"
	case p.source != fromPath:
		return "text"
	case r.slots[p.slot].isList:
		return "list of values"
	}
	switch r.slots[p.slot].raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	default:
		return "value"
	}
}

// text is the value of p if it does not come from the event.
func (r *renderer) text(p *piece) string {
	if p.source == fromRuleARN {
		return r.vars.RuleARN
	}
	return r.vars.RuleName
}

// size is the most that p takes in the output, quotes and escapes of plain text aside.
func (r *renderer) size(p *piece) int {
	const quotes = 2
	switch p.source {
	case fromEvent:
		return len(r.envelope.raw) + len(r.detail.raw) + len(`,"detail":`)
	case fromSummary:
		return len(r.envelope.raw) + quotes
	case fromRuleARN, fromRuleName:
		return len(r.text(p)) + quotes
	case fromIngestionTime:
		return len(time.RFC3339) + quotes
	case fromPath:
		n := quotes
		if p.slot < 0 {
			return n
		}
		for _, f := range r.slots[p.slot].list {
			n += len(f.raw) + len(",")
		}
		return n + len(r.slots[p.slot].raw)
	}
	return len(p.literal)
}

// appendJSON appends the value of p as JSON, "" if there is none.
func (r *renderer) appendJSON(dst []byte, p *piece) []byte {
	switch {
	case p.source == fromRuleARN || p.source == fromRuleName:
		dst = append(dst, '"')
		dst = appendEscaped(dst, []byte(r.text(p)))
		return append(dst, '"')
	case p.source == fromIngestionTime:
		dst = append(dst, '"')
		dst = r.appendTime(dst)
		return append(dst, '"')
	case p.source == fromEvent:
		return r.appendEvent(dst)
	case p.source == fromSummary:
		return r.appendSummary(dst)
	case !r.exists(p.slot):
		return append(dst, `""`...)
	case r.slots[p.slot].isList:
		return appendList(dst, r.slots[p.slot].list)
	default:
		return appendFound(dst, r.slots[p.slot].found)
	}
}

// appendPlain appends the value of p for a place inside quotes: strings without their own quotes,
// nothing if there is no value, anything else as JSON.
func (r *renderer) appendPlain(dst []byte, p *piece) []byte {
	switch {
	case p.source == fromRuleARN || p.source == fromRuleName:
		return append(dst, r.text(p)...)
	case p.source == fromIngestionTime:
		return r.appendTime(dst)
	case p.source == fromPath && !r.exists(p.slot):
		return dst
	case p.source == fromPath && !r.slots[p.slot].isList && r.slots[p.slot].raw[0] == '"':
		return appendUnquoted(dst, r.slots[p.slot].raw)
	default:
		return r.appendJSON(dst, p)
	}
}

func (r *renderer) appendTime(dst []byte) []byte {
	if r.vars.IngestionTime.IsZero() {
		return dst
	}
	return r.vars.IngestionTime.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
}

func (r *renderer) appendEvent(dst []byte) []byte {
	dst = appendFound(dst, r.envelope)
	if r.event.Detail == nil {
		return dst
	}
	dst = dst[:len(dst)-1] // the closing brace
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, `"detail":`...)
	dst = appendFound(dst, r.detail)
	return append(dst, '}')
}

func (r *renderer) appendSummary(dst []byte) []byte {
	dst = append(dst, '{')
	for _, f := range r.t.summary {
		if r.slots[f.slot].raw == nil {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, f.key...)
		dst = appendFound(dst, r.slots[f.slot].found)
	}
	return append(dst, '}')
}

func appendList(dst []byte, list []found) []byte {
	dst = append(dst, '[')
	for i, f := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFound(dst, f)
	}
	return append(dst, ']')
}

func appendFound(dst []byte, f found) []byte {
	if f.spaced {
		return appendCompact(dst, f.raw)
	}
	return append(dst, f.raw...)
}
