package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/grapnel/grapnel/internal/fault"
)

// The states of a destination.
const (
	DestinationOK       = "ok"
	DestinationOpen     = "open"      // its breaker is open: nothing is tried
	DestinationHalfOpen = "half_open" // one probe decides
	DestinationDisabled = "disabled"
)

// DestinationPage lists all destinations.
type DestinationPage struct {
	Destinations []Destination `json:"destinations"`
}

// Destination is where deliveries go, and how it fares.
type Destination struct {
	Name                string `json:"name"`
	Kind                string `json:"kind"`
	Description         string `json:"description,omitempty"`
	Address             string `json:"address,omitempty" doc:"Without user-info and query values."`
	State               string `json:"state" enum:"ok,open,half_open,disabled" doc:"open: it fails, nothing is tried for now; half_open: one probe decides."`
	DisabledReason      string `json:"disabled_reason,omitempty"`
	DisabledBy          string `json:"disabled_by,omitempty"`
	OpenUntil           *Time  `json:"open_until,omitempty" doc:"When the next probe is made."`
	InFlight            int    `json:"in_flight" doc:"Attempts under way."`
	MaxInFlight         int    `json:"max_in_flight"`
	Waiting             int64  `json:"waiting" doc:"Deliveries that are not final, those in flight and held included."`
	ConsecutiveFailures int    `json:"consecutive_failures"`
	LastSuccess         *Time  `json:"last_success,omitempty"`
	LastFailure         *Time  `json:"last_failure,omitempty"`
	LastClass           string `json:"last_class,omitempty" doc:"The class of the last failure."`
	LastReason          string `json:"last_reason,omitempty"`
	NextStep            string `json:"next_step,omitempty" doc:"What to do about the class."`
}

// TestRequest is the message of a Test Connection.
type TestRequest struct {
	Body json.RawMessage `json:"body,omitempty" doc:"The JSON to send; a sample event unless given."`
}

// TestResult is what came back.
type TestResult struct {
	Destination string   `json:"destination"`
	ID          string   `json:"id,omitempty" doc:"The webhook-id that was sent."`
	OK          bool     `json:"ok"`
	Status      int      `json:"status,omitempty" doc:"The status of the answer, if there was one."`
	Duration    Duration `json:"duration"`
	Headers     []Header `json:"headers" doc:"Of the answer."`
	Body        *Content `json:"body,omitempty" doc:"The beginning of the answer."`
	Class       string   `json:"class,omitempty" doc:"Why it failed."`
	Reason      string   `json:"reason,omitempty"`
	What        string   `json:"what,omitempty" doc:"What the class means."`
	NextStep    string   `json:"next_step,omitempty" doc:"What to do about it."`
}

// DisableRequest says why a destination is disabled.
type DisableRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

// SourcePage lists all sources.
type SourcePage struct {
	Sources []Source `json:"sources"`
}

// Source is an inbound webhook endpoint.
type Source struct {
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Provider    string           `json:"provider"`
	Title       string           `json:"title" doc:"What people call the provider."`
	Bus         string           `json:"bus"`
	Path        string           `json:"path"`
	URL         string           `json:"url" doc:"What to paste at the provider."`
	Steps       []string         `json:"steps" doc:"How to set the webhook up at the provider."`
	Signed      string           `json:"signed,omitempty" doc:"What the signature covers."`
	Unsigned    string           `json:"unsigned,omitempty" doc:"What it does not cover."`
	Expects     string           `json:"expects,omitempty" doc:"What answer the provider waits for."`
	Retries     string           `json:"retries,omitempty" doc:"What the provider does when a request fails."`
	Handshakes  []string         `json:"handshakes" doc:"Requests by which the provider verifies the endpoint; they are answered."`
	Example     string           `json:"example,omitempty" doc:"A command that sends a signed request; the secret is a variable of the shell."`
	Accepted    int64            `json:"accepted" doc:"Events since the start of the process."`
	Duplicates  int64            `json:"duplicates"`
	Refused     map[string]int64 `json:"refused" doc:"Refused requests since the start of the process, by reason."`
}

// RulePage lists all rules.
type RulePage struct {
	Rules []Rule `json:"rules"`
}

// Rule is an event pattern on a bus, with targets.
type Rule struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Bus         string          `json:"bus"`
	Pattern     json.RawMessage `json:"pattern,omitempty" doc:"The event pattern."`
	Targets     []Target        `json:"targets"`
}

// Target is a rule's reference to a destination.
type Target struct {
	ID         string   `json:"id"`
	To         string   `json:"to" doc:"The destination."`
	Input      string   `json:"input,omitempty" doc:"What is sent instead of the envelope, in words."`
	Attempts   int      `json:"attempts" doc:"At most so many."`
	MaxAge     Duration `json:"max_age" doc:"How long it is tried."`
	DeadLetter string   `json:"dead_letter,omitempty" doc:"The destination of what ends badly."`
}

type nameInput struct {
	Name  string `path:"name" maxLength:"256"`
	Agent string `header:"User-Agent" hidden:"true"`
}

type testInput struct {
	Name string      `path:"name" maxLength:"256"`
	Body TestRequest `required:"false"`
}

type disableInput struct {
	Name  string         `path:"name" maxLength:"256"`
	Agent string         `header:"User-Agent" hidden:"true"`
	Body  DisableRequest `required:"false"`
}

func (s *server) listDestinations(context.Context, *struct{}) (*output[DestinationPage], error) {
	all := append([]Destination{}, s.config.Destinations.Destinations()...)
	for i := range all {
		s.advise(&all[i])
	}
	return &output[DestinationPage]{Body: DestinationPage{Destinations: all}}, nil
}

func (s *server) advise(d *Destination) {
	if d.NextStep == "" {
		d.NextStep = s.nextStep(d.LastClass)
	}
}

func (s *server) showDestination(_ context.Context, in *nameInput) (*output[Destination], error) {
	return s.readDestination(in.Name)
}

func (s *server) readDestination(name string) (*output[Destination], error) {
	for _, d := range s.config.Destinations.Destinations() {
		if d.Name == name {
			s.advise(&d)
			return &output[Destination]{Body: d}, nil
		}
	}
	return nil, destinationUnknown(nil, name)
}

func (s *server) testDestination(ctx context.Context, in *testInput) (*output[TestResult], error) {
	result, err := s.config.Destinations.Test(ctx, in.Name, in.Body)
	if err != nil {
		return nil, destinationError("testing", in.Name, err)
	}
	result.Destination, result.Headers = in.Name, nonNil(result.Headers)
	if result.Class != "" {
		advice := s.config.Advise(result.Class)
		result.What, result.NextStep = advice.What, advice.Next
	}
	return &output[TestResult]{Body: result}, nil
}

func (s *server) disableDestination(ctx context.Context, in *disableInput) (*output[Destination], error) {
	if err := s.config.Destinations.Disable(ctx, in.Name, in.Body.Reason, by(in.Agent)); err != nil {
		return nil, destinationError("disabling", in.Name, err)
	}
	return s.readDestination(in.Name)
}

func (s *server) enableDestination(ctx context.Context, in *nameInput) (*output[Destination], error) {
	if err := s.config.Destinations.Enable(ctx, in.Name, by(in.Agent)); err != nil {
		return nil, destinationError("enabling", in.Name, err)
	}
	return s.readDestination(in.Name)
}

func destinationError(doing, name string, err error) error {
	if fault.Is(err, fault.NotFound) {
		return destinationUnknown(err, name)
	}
	return fmt.Errorf("%s destination %s: %w", doing, name, err)
}

func destinationUnknown(err error, name string) error {
	return fault.Wrap(fault.NotFound, err, codeDestUnknown, "no destination has the name %q", name).
		WithHint("look with: grapnel destinations list")
}

func (s *server) sources() []Source {
	counts := s.config.Refusals.RefusedCounts()
	all := append([]Source{}, s.config.Components.Sources()...)
	for i := range all {
		src := &all[i]
		src.Steps, src.Handshakes = nonNil(src.Steps), nonNil(src.Handshakes)
		src.Refused = map[string]int64{}
		maps.Copy(src.Refused, counts[src.Name])
	}
	return all
}

func (s *server) listSources(context.Context, *struct{}) (*output[SourcePage], error) {
	return &output[SourcePage]{Body: SourcePage{Sources: s.sources()}}, nil
}

func (s *server) showSource(_ context.Context, in *nameInput) (*output[Source], error) {
	for _, src := range s.sources() {
		if src.Name == in.Name {
			return &output[Source]{Body: src}, nil
		}
	}
	return nil, fault.New(fault.NotFound, codeSourceUnknown, "no source has the name %q", in.Name).
		WithHint("look with: grapnel sources list")
}

func (s *server) listRules(context.Context, *struct{}) (*output[RulePage], error) {
	all := append([]Rule{}, s.config.Components.Rules()...)
	for i := range all {
		all[i].Targets = nonNil(all[i].Targets)
	}
	return &output[RulePage]{Body: RulePage{Rules: all}}, nil
}
