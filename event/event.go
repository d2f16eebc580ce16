// Package event holds the Amazon EventBridge envelope in which every message
// travels: its fields, its ids, its JSON text, the size rule of PutEvents, and
// its view as a CloudEvent.
//
// The package does no I/O and asks no clock; whoever makes an event says when.
package event

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Version is the value of the envelope's "version" member; it is always "0".
const Version = "0"

// MaxSize is the size in bytes, as Size counts it, above which AWS refuses the
// entries of one PutEvents request (1 MiB since January 2026).
const MaxSize = 1 << 20

// Envelope is one event as EventBridge delivers it. Detail holds the text of a
// JSON object; its key order and the spelling of its numbers are kept.
type Envelope struct {
	ID         ID
	DetailType string
	Source     string
	Account    string
	Time       time.Time
	Region     string
	ReplayName string // only on replayed events
	Resources  []string
	Detail     []byte
}

// AppendHead appends the envelope as a JSON object without its detail: what a
// matcher needs beside the bytes of the detail.
func (e *Envelope) AppendHead(dst []byte) []byte {
	return append(e.appendFields(dst), '}')
}

// AppendJSON appends the envelope as compact JSON, with the keys in the order
// in which EventBridge delivers them. An empty Detail is written as {}.
func (e *Envelope) AppendJSON(dst []byte) []byte {
	dst = e.appendFields(dst)
	dst = append(dst, `,"detail":`...)
	dst = AppendCompact(dst, e.Detail)
	return append(dst, '}')
}

// MarshalJSON returns the envelope as AppendJSON writes it.
func (e *Envelope) MarshalJSON() ([]byte, error) {
	return e.AppendJSON(make([]byte, 0, 256+len(e.Detail))), nil
}

func (e *Envelope) appendFields(dst []byte) []byte {
	dst = append(dst, `{"version":"0","id":`...)
	dst = AppendString(dst, string(e.ID))
	dst = append(dst, `,"detail-type":`...)
	dst = AppendString(dst, e.DetailType)
	dst = append(dst, `,"source":`...)
	dst = AppendString(dst, e.Source)
	dst = append(dst, `,"account":`...)
	dst = AppendString(dst, e.Account)
	dst = append(dst, `,"time":"`...)
	dst = AppendTime(dst, e.Time)
	dst = append(dst, `","region":`...)
	dst = AppendString(dst, e.Region)
	if e.ReplayName != "" {
		dst = append(dst, `,"replay-name":`...)
		dst = AppendString(dst, e.ReplayName)
	}
	dst = append(dst, `,"resources":[`...)
	for i, r := range e.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, r)
	}
	return append(dst, ']')
}

// Size returns the size of the entry in bytes as PutEvents counts it: 14 if
// it names a time, and the UTF-8 lengths of source, detail type, detail and
// each resource (EventBridge user guide, "Calculating event entry size").
func Size(e *Envelope) int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if !e.Time.IsZero() {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// AppendTime appends t in UTC with whole seconds, as the envelope spells it.
func AppendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
}

// AppendCompact appends the JSON text without the blanks between its tokens;
// nothing else changes. Text that is empty is appended as {}.
func AppendCompact(dst, text []byte) []byte {
	if len(text) == 0 {
		return append(dst, '{', '}')
	}
	start := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			i = endOfString(text, i+1)
		case c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			dst = append(dst, text[start:i]...)
			i++
			start = i
		default:
			i++
		}
	}
	return append(dst, text[start:]...)
}

// endOfString returns the index behind the quote that ends the string whose
// content begins at i.
func endOfString(text []byte, i int) int {
	begin := i
	for {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return len(text)
		}
		i += n
		backslashes := 0
		for j := i - 1; j >= begin && text[j] == '\\'; j-- {
			backslashes++
		}
		i++
		if backslashes%2 == 0 {
			return i
		}
	}
}

// AppendString appends s as a JSON string. Only what JSON demands is escaped:
// quotes, backslashes and control characters; bytes that are not UTF-8 become
// U+FFFD.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// IsObject reports whether text is one valid JSON object and nothing else.
func IsObject(text []byte) bool {
	t := bytes.TrimLeft(text, " \t\r\n")
	return len(t) > 0 && t[0] == '{' && json.Valid(text)
}
