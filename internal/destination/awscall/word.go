package awscall

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/transform"
)

// Word is a text that is the same for every message, or, if it begins with $.,
// a path to the text in the event.
type Word struct {
	text string
	path *transform.Transform
}

// ParseWord reads a Word.
func ParseWord(text string) (Word, error) {
	if !strings.HasPrefix(text, "$.") {
		return Word{text: text}, nil
	}
	if err := transform.ValidatePath(text); err != nil {
		return Word{}, fault.New(fault.Invalid, "invalid_config", "is not a path such as $.detail.id: %v", err)
	}
	path, err := transform.Compile(transform.Spec{Path: text})
	if err != nil {
		return Word{}, fmt.Errorf("reading the path: %w", err)
	}
	return Word{text: text, path: path}, nil
}

// Of returns the text for a message: that of a scalar as it is written, and the
// delivery's id for a message that has no event. Its error is an
// *destination.Error of class input_failed.
func (w Word) Of(r *destination.Request) (string, error) {
	switch {
	case w.path == nil:
		return w.text, nil
	case r.Event == nil:
		return r.ID, nil
	}
	found, err := w.path.Apply(transform.Event{Envelope: r.Event.AppendHead(nil), Detail: detail(r.Event)}, transform.Vars{})
	if err != nil {
		return "", Unfit(w.text + " selects nothing in this event")
	}
	var text string
	if len(found) > 0 && found[0] == '"' && json.Unmarshal(found, &text) == nil {
		return text, nil
	}
	return string(found), nil
}

func detail(e *event.Envelope) []byte {
	if len(e.Detail) == 0 {
		return []byte("{}")
	}
	return e.Detail
}

// Unfit returns the error for a message that the service cannot take whatever
// the number of attempts.
func Unfit(message string) *destination.Error {
	return &destination.Error{Class: destination.InputFailed, Message: message}
}

// TooLarge returns the error for a message over the limit of the service.
func TooLarge(what string, size, limit int) *destination.Error {
	return &destination.Error{Class: destination.TooLarge, Message: fmt.Sprintf(
		"%s has %d bytes, AWS takes at most %d", what, size, limit)}
}

// CheckText returns an error unless the body is text that can be put into a
// message: not empty, UTF-8, and no control characters but tab and line ends
// (SQS SendMessage; XML 1.0 2.2).
func CheckText(body []byte, limit int) error {
	switch {
	case len(body) == 0:
		return Unfit("the message is empty")
	case len(body) > limit:
		return TooLarge("the message", len(body), limit)
	case !utf8.Valid(body):
		return Unfit("the message is not text in UTF-8")
	}
	for _, r := range string(body) {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return Unfit(fmt.Sprintf("the message holds the character U+%04X, which cannot be sent", r))
		}
	}
	return nil
}
