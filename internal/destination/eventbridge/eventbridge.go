// Package eventbridge is the kind of destination that puts each message on an
// event bus in AWS, one entry a request. An entry that the service refuses in an
// answer 200 is a failed attempt of the class of its error code.
package eventbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/awscall"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
)

// maxEntry is the size of the entries of a request in bytes. It was 256 KB
// before 2026.
const maxEntry = 1 << 20

// timeSize is what a stated Time counts (PutEvents, "calculating the size").
const timeSize = 14

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "eventbridge", Summary: "Puts each message on an Amazon EventBridge bus.",
		New: func() destination.Config { return &Config{} },
	}
}

// Config is the configuration of an eventbridge destination.
type Config struct {
	Bus        string
	Source     string
	DetailType string
	Endpoint   string
	Access     awscall.Access
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return append([]spec.Field{
		spec.String("bus", &c.Bus).Required().Check(c.checkBus).
			Example("arn:aws:events:us-east-1:123456789012:event-bus/audit").
			Doc("The bus: its name or ARN. PutEvents succeeds for a bus that does not exist, and the event vanishes."),
		c.Access.RegionField("The region of the bus. Required unless `bus` is an ARN."),
		spec.String("source", &c.Source).Check(c.checkSource).Example("com.example.hooks").DefaultDoc("that of the event").
			Doc("The source that the event gets. It cannot begin with `aws.`."),
		spec.String("detail_type", &c.DetailType).DefaultDoc("that of the event").
			Doc("The detail-type that the event gets."),
		awscall.EndpointField(&c.Endpoint),
	}, c.Access.KeyFields()...)
}

// Check checks what concerns several fields.
func (c *Config) Check(at *spec.Place) {
	c.Access.Check(at)
	c.Access.CheckRegion(at, "bus", c.arn().Region)
}

func (c *Config) arn() awscall.ARN {
	arn, err := awscall.ParseARN(c.Bus, "events")
	if err != nil {
		return awscall.ARN{}
	}
	return arn
}

func (c *Config) checkBus() error {
	name := c.Bus
	if awscall.IsARN(name) {
		arn, err := awscall.ParseARN(c.Bus, "events")
		if err != nil {
			return err //nolint:wrapcheck // It says what is wrong with the value.
		}
		var ok bool
		if name, ok = strings.CutPrefix(arn.Resource, "event-bus/"); !ok {
			return fault.New(fault.Invalid, "invalid_resource", "is not the ARN of a bus")
		}
	}
	odd := func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_/", r)
	}
	if name == "" || len(name) > 256 || strings.ContainsFunc(name, odd) {
		return fault.New(fault.Invalid, "invalid_resource", "is not the name or ARN of a bus")
	}
	return nil
}

func (c *Config) checkSource() error {
	if strings.HasPrefix(c.Source, "aws.") {
		return fault.New(fault.Invalid, "invalid_config", "cannot begin with aws., which is for AWS itself")
	}
	return nil
}

func (c *Config) region() string {
	if c.Access.Region != "" {
		return c.Access.Region
	}
	return c.arn().Region
}

func (c *Config) resource() string {
	if c.arn() != (awscall.ARN{}) {
		return c.Bus
	}
	return "events:" + c.region() + ":event-bus/" + c.Bus
}

// Address returns the ARN, or as much of one as is known.
func (c *Config) Address() string { return awscall.Shown(c.resource(), c.Endpoint) }

// putter is a destination.
type putter struct {
	*awscall.Client

	bus, source, detailType string
}

// Build makes the destination.
func (c *Config) Build(d destination.Deps) (destination.Destination, error) {
	client, err := c.Access.Client(d, awscall.Target{
		Service: "events", Region: c.region(), Action: "events:PutEvents", Resource: c.resource(), Endpoint: c.Endpoint,
		Code: class,
	})
	if err != nil {
		return nil, fmt.Errorf("building an eventbridge destination: %w", err)
	}
	return &putter{Client: client, bus: c.Bus, source: c.Source, detailType: c.DetailType}, nil
}

// class knows the codes of entries, which have no status of their own.
func class(code string) destination.Class {
	switch code {
	case "InvalidArgument", "MalformedDetail", "InvalidAccountIdException", "NotAuthorizedForDetailTypeException":
		return destination.BadRequest
	}
	return ""
}

// entry is a PutEventsRequestEntry.
type entry struct {
	Time         int64 `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	Source       string
	Resources    []string `json:",omitempty"` //nolint:tagliatelle // AWS spells it so.
	DetailType   string
	Detail       string
	EventBusName string
}

// size is what an entry counts, in bytes.
func (e *entry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != 0 {
		n += timeSize
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// entry makes the entry of a message. The event itself keeps source, type, time
// and resources; what a target's input made of it becomes the detail.
func (p *putter) entry(r *destination.Request) (*entry, error) {
	e := &entry{Source: "grapnel", DetailType: "test", EventBusName: p.bus, Detail: string(r.Body)}
	at := r.Time
	if ev := r.Event; ev != nil {
		e.Source, e.DetailType, e.Resources, at = ev.Source, ev.DetailType, ev.Resources, ev.Time
		if bytes.Equal(r.Body, ev.AppendJSON(make([]byte, 0, len(r.Body)))) {
			e.Detail = string(ev.Detail)
		}
	}
	if at.After(time.Unix(0, 0)) {
		e.Time = at.Unix()
	}
	if p.source != "" {
		e.Source = p.source
	}
	if p.detailType != "" {
		e.DetailType = p.detailType
	}
	detail := strings.TrimSpace(e.Detail)
	if detail == "" && r.Event == nil {
		e.Detail, detail = "{}", "{}"
	}
	switch {
	case !strings.HasPrefix(detail, "{") || !utf8.ValidString(detail) || !json.Valid([]byte(detail)):
		return nil, awscall.Unfit("the message is not a JSON object, which the detail of an event must be")
	case e.Source == "" || e.DetailType == "":
		return nil, awscall.Unfit("the event has no source or no detail-type")
	case strings.HasPrefix(e.Source, "aws."):
		return nil, awscall.Unfit("the source begins with aws., which AWS takes from nobody; set source on the destination")
	case e.size() > maxEntry:
		return nil, awscall.TooLarge("the entry", e.size(), maxEntry)
	}
	return e, nil
}

// answerBytes is more than the answer to one entry.
const answerBytes = 16 << 10

// Do puts the message.
func (p *putter) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	e, err := p.entry(r)
	if err != nil {
		return nil, err
	}
	input := struct{ Entries []*entry }{[]*entry{e}}
	answer, err := p.JSON(ctx, "1.1", "AWSEvents.PutEvents", input, r.WantBody, answerBytes)
	if err != nil {
		return nil, sized(err, e.size())
	}
	return p.look(ctx, answer)
}

// sized puts the size of the entry into an error that is about it.
func sized(err error, size int) error {
	//nolint:errorlint // It is what Send returned, never wrapped.
	if failure, ok := err.(*destination.Error); ok && strings.Contains(failure.Message, "size of the entries") {
		failure.Class = destination.TooLarge
		failure.Message += fmt.Sprintf(" (the entry has %d bytes)", size)
	}
	return err
}

// look finds the entry's own verdict, without which an answer 200 says nothing.
func (p *putter) look(ctx context.Context, answer *awscall.Answer) (*destination.Response, error) {
	var out struct {
		FailedEntryCount int
		Entries          []struct{ EventID, ErrorCode, ErrorMessage string }
	}
	if len(answer.Whole) == 0 && !answer.Truncated {
		return answer.Response(), nil // of an emulator: nothing failed
	}
	if err := json.Unmarshal(answer.Whole, &out); err != nil {
		if ctx.Err() != nil {
			return nil, destination.Unanswered(ctx, context.Cause(ctx), nil)
		}
		return nil, &destination.Error{
			Class: destination.Protocol, Status: answer.Status, Message: "the answer does not say whether the entry was taken",
		}
	}
	for _, e := range out.Entries {
		if e.ErrorCode != "" {
			return nil, p.Rejected(awscall.Failed{Code: e.ErrorCode, Message: e.ErrorMessage}, answer.Status, answer.Body)
		}
	}
	if out.FailedEntryCount > 0 {
		return nil, p.Rejected(awscall.Failed{Code: "InternalFailure", Message: "the entry failed"}, answer.Status, answer.Body)
	}
	return answer.Response(), nil
}
