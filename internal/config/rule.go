package config

import (
	"time"

	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/transform"
)

// Rule says which events of a bus go to which targets.
type Rule struct {
	Name        string
	Description string
	Bus         string
	Enabled     bool
	Pattern     []byte // JSON text that pattern.Compile accepts
	Targets     []Target

	raw spec.RawJSON
}

// Target is a rule's reference to a destination.
type Target struct {
	ID         string // unique in the rule
	To         string // destination
	Input      *Input // nil: the envelope
	Retry      Retry
	DeadLetter string // destination; empty: kept in the store
}

// Input says what a target receives instead of the envelope. One of Raw, Constant, Path and Template
// is set.
type Input struct {
	Raw      bool   // the stored body and its content type
	Constant []byte // JSON
	Path     string
	Paths    map[string]string
	Template string
	Escape   bool

	constant spec.RawJSON
	body     string
}

// Retry says how long and how often a delivery is tried.
type Retry struct {
	Attempts  int // in all, without throttled ones
	MaxAge    time.Duration
	Base, Cap time.Duration // of the waits between attempts
}

// Fields describes a rule.
func (r *Rule) Fields() []spec.Field {
	return []spec.Field{
		description(&r.Description),
		spec.Name("bus", &r.Bus).Default(DefaultBus).Doc("The bus whose events it looks at."),
		spec.Bool("enabled", &r.Enabled).Default("true").Doc("Whether it matches anything."),
		spec.JSONText("pattern", &r.raw).DefaultDoc("**required**").
			Example("{source: [github.com], detail-type: [pull_request]}").
			Doc("EventBridge event pattern: every field named must have one of the values. As YAML, or as JSON text."),
		spec.Objects("targets", &r.Targets).Doc("Where events go that match."),
		spec.Reserved("schedule", "schedules come with a later version"),
	}
}

// Check wants a pattern.
func (r *Rule) Check(at *spec.Place) {
	if !at.Has("pattern") && !at.Has("schedule") {
		at.Problem("pattern", "is missing: which events match")
	}
}

// Fields describes a target.
func (t *Target) Fields() []spec.Field {
	return []spec.Field{
		spec.Name("to", &t.To).Required().Doc("Name of the destination."),
		spec.Name("id", &t.ID).DefaultDoc("the destination's name").
			Doc("Name of the target, unique in the rule. Give one when a rule has two targets with one destination."),
		spec.Optional("input", &t.Input).
			Doc("What the destination receives; without it the whole event. One of `constant`, `path`, `template` " +
				"and `body`."),
		spec.Object("retry", &t.Retry).Doc("How long and how often a delivery is tried."),
		spec.Name("dead_letter", &t.DeadLetter).DefaultDoc("kept, to be retried by hand").
			Doc("Name of the destination for events that could not be delivered."),
	}
}

// Fields describes the section.
func (i *Input) Fields() []spec.Field {
	return []spec.Field{
		spec.JSON("constant", &i.constant).Example("{job: sweep}").Doc("The same for every event: any value, sent as JSON."),
		spec.String("path", &i.Path).Example("$.detail.pull_request").Check(jsonPathCheck(&i.Path)).
			Doc("One value of the event, as JSON."),
		spec.StringMap("paths", &i.Paths).Example("{title: $.detail.pull_request.title}").
			Doc("Names for values of the event, for `template`."),
		spec.String("template", &i.Template).Example(`'{"title": <title>}'`).
			Doc("Document with placeholders `<name>`, as in EventBridge: JSON, or text when it begins with a quote."),
		spec.Bool("escape", &i.Escape).Default("false").
			Doc("Escape values inside quotes of the template, so that any value fits. EventBridge does not."),
		spec.Enum("body", &i.body, "raw").Doc("`raw`: the request body byte for byte, with its content type."),
	}
}

// Check wants one kind of input.
func (i *Input) Check(at *spec.Place) {
	i.Raw, i.Constant = i.body != "", i.constant.Text
	at.One("what the destination receives", "constant", "path", "template", "body")
	if at.Has("paths") && !at.Has("template") {
		at.Problem("paths", "needs a template that uses them")
	}
	if at.Has("escape") && !at.Has("template") {
		at.Problem("escape", "goes with template only")
	}
}

// Transform returns the input in the terms of transform; the zero value for Raw.
func (i *Input) Transform() transform.Spec {
	s := transform.Spec{Constant: i.Constant, Path: i.Path}
	if i.Template != "" {
		s.Transformer = &transform.Transformer{Paths: i.Paths, Template: i.Template, Escape: i.Escape}
	}
	return s
}

// Fields describes the section.
func (r *Retry) Fields() []spec.Field {
	return []spec.Field{
		spec.Int("attempts", &r.Attempts).Default("185").Min("1").Max("10000").
			Doc("Attempts in all. Those that the receiver throttled (429) do not count."),
		spec.Duration("max_age", &r.MaxAge).Default("24h").Min("1s").Max("30d").
			Doc("How long it is tried, from the event on."),
		spec.Duration("base", &r.Base).Default("1s").Min("1ms").Max("1h").
			Doc("First wait; it doubles each time, and a random part of it is waited."),
		spec.Duration("cap", &r.Cap).Default("16m").Min("1ms").Max("24h").Doc("Longest wait."),
	}
}

// Check wants the waits in order.
func (r *Retry) Check(at *spec.Place) {
	if at.OK("base", "cap") && r.Base > r.Cap {
		at.Problem("cap", "must not be less than base, "+spec.FormatDuration(r.Base))
	}
}
