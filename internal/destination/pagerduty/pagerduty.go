// Package pagerduty is the kind of destination that sends events to PagerDuty's
// Events API v2: it triggers, acknowledges and resolves alerts. Every try of a
// delivery has the same dedup_key, so that a repeated one is the same alert.
package pagerduty

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/transform"
)

// Limits of the Events API v2, in characters; fewer bytes are fewer characters.
const (
	maxDedupKey = 255
	maxSummary  = 1024
)

// words are usual words for a severity, in lower case.
var words = map[string]string{
	"critical": critical, "crit": critical, "fatal": critical, "emergency": critical, "alert": critical, "p1": critical,
	"sev1": critical, "error": severe, "err": severe, "high": severe, "major": severe, "p2": severe, "sev2": severe,
	"warning": warning, "warn": warning, "medium": warning, "moderate": warning, "minor": warning, "p3": warning,
	"sev3": warning, "info": info, "informational": info, "notice": info, "low": info, "debug": info, "p4": info,
	"p5": info, "sev4": info, "sev5": info, "ok": info,
}

// pagerduty is a destination. A path that is nil was not configured.
type pagerduty struct {
	*destination.Poster
	key              secret.String
	action, severity string
	shown            string
	choices          []choice
	words            map[string]string

	dedup, summary, source, severityAt *transform.Transform
}

// choice is an action for messages with one of the values.
type choice struct {
	action string
	at     *transform.Transform
	is     []string // in lower case
}

var _ destination.Closer = (*pagerduty)(nil)

// Format prints the address, whatever the verb: the fields hold secrets.
func (p *pagerduty) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pagerduty "+p.shown) }

// alert is an event of the Events API v2.
type alert struct {
	RoutingKey string  `json:"routing_key"`
	Action     string  `json:"event_action"`
	DedupKey   string  `json:"dedup_key"`
	Client     string  `json:"client"`
	Payload    payload `json:"payload"`
}

type payload struct {
	Summary   string          `json:"summary"`
	Source    string          `json:"source"`
	Severity  string          `json:"severity"`
	Timestamp string          `json:"timestamp,omitempty"`
	Class     string          `json:"class,omitempty"`
	Details   json.RawMessage `json:"custom_details"`
}

// Do sends an event.
func (p *pagerduty) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(p.alert(r)); err != nil {
		return nil, &destination.Error{
			Class: destination.InternalError, Message: "the event cannot be written as JSON", Err: err,
		}
	}
	return p.Post(ctx, r, body.Bytes(), r.WantBody)
}

// alert makes the event.
func (p *pagerduty) alert(r *destination.Request) *alert {
	a := &alert{
		RoutingKey: p.key.Reveal(), Action: p.action, DedupKey: pick(p.dedup, r.Body), Client: "Grapnel",
		Payload: payload{
			Summary: pick(p.summary, r.Body), Source: pick(p.source, r.Body), Severity: p.severity, Details: details(r.Body),
		},
	}
	for _, c := range p.choices {
		if slices.Contains(c.is, strings.ToLower(pick(c.at, r.Body))) {
			a.Action = c.action
			break
		}
	}
	if meaning, ok := p.words[strings.ToLower(pick(p.severityAt, r.Body))]; ok {
		a.Payload.Severity = meaning
	}
	if a.DedupKey == "" {
		a.DedupKey = r.ID
	}
	if len(a.DedupKey) > maxDedupKey { // the end may be what tells two apart
		sum := sha256.Sum256([]byte(a.DedupKey))
		a.DedupKey = hex.EncodeToString(sum[:])
	}
	title, from := "Test of a Grapnel destination", "grapnel"
	if r.Event != nil {
		title, from = r.Event.DetailType+" from "+r.Event.Source, r.Event.Source
		a.Payload.Timestamp, a.Payload.Class = r.Event.Time.UTC().Format(time.RFC3339Nano), r.Event.DetailType
	}
	if a.Payload.Summary == "" {
		a.Payload.Summary = title
	}
	if a.Payload.Source == "" {
		a.Payload.Source = from
	}
	if r.Test {
		// Somebody may be on call: a test is no error, and no message resolves it.
		a.Payload.Severity, a.Action = info, trigger
	}
	a.Payload.Summary = cut(a.Payload.Summary)
	return a
}

// pick returns the value at the path as text: a text itself, anything else but
// null as JSON. It is "" where there is none, and for a body that is no object.
func pick(at *transform.Transform, body []byte) string {
	if at == nil {
		return ""
	}
	value, err := at.Apply(transform.Event{Envelope: body}, transform.Vars{})
	if err != nil || string(value) == "null" {
		return ""
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// details returns the body as an object, which custom_details has to be.
func details(body []byte) json.RawMessage {
	trimmed := bytes.TrimSpace(body)
	switch {
	case !json.Valid(trimmed):
		text, err := json.Marshal(map[string]string{"body": string(body)})
		if err != nil {
			return json.RawMessage("{}")
		}
		return text
	case trimmed[0] == '{':
		return trimmed
	default:
		return slices.Concat([]byte(`{"body":`), trimmed, []byte("}"))
	}
}

func cut(text string) string {
	const more = "…"
	if len(text) <= maxSummary {
		return text
	}
	at := maxSummary - len(more)
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + more
}
