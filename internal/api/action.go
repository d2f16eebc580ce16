package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Explanation is why an event went where it went, by the rules in force.
type Explanation struct {
	EventID     string        `json:"event_id"`
	Position    string        `json:"position"`
	Bus         string        `json:"bus"`
	Generation  string        `json:"generation" doc:"The configuration that answers."`
	MatchedBy   string        `json:"matched_by" doc:"The configuration that matched the event."`
	Changed     bool          `json:"changed" doc:"The configuration has changed since, so the answer may differ from what happened."`
	DuplicateOf string        `json:"duplicate_of,omitempty" doc:"The event repeats this one; repetitions are matched only if their source says so."`
	Summary     string        `json:"summary" doc:"The answer in a sentence."`
	Rules       []RuleVerdict `json:"rules"`
}

// RuleVerdict is what one rule says to an event.
type RuleVerdict struct {
	Rule     string `json:"rule,omitempty"`
	Bus      string `json:"bus,omitempty"`
	Matched  bool   `json:"matched"`
	OtherBus bool   `json:"other_bus,omitempty" doc:"The rule was not asked: it watches another bus."`
	Misses   []Miss `json:"misses" doc:"The fields that did not fit; empty if it matched."`
	Text     string `json:"text" doc:"The verdict in words."`
}

// Miss is a field that did not fit.
type Miss struct {
	Field  string `json:"field" doc:"The path in the event, as detail.action."`
	Wanted string `json:"wanted" doc:"What the pattern accepts there."`
	Found  string `json:"found" doc:"What the event has there."`
	Text   string `json:"text,omitempty" doc:"The same in words."`
}

// ReplayRequest asks to dispatch an event again.
type ReplayRequest struct {
	Rules []string `json:"rules,omitempty" maxItems:"100" doc:"Only these rules; all that match if left out."`
	Run   string   `json:"run,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9._-]+$" doc:"Names the replay: the same name makes no second delivery. Made up if left out."`
}

// Replayed are the deliveries that a replay made.
type Replayed struct {
	EventID    string   `json:"event_id"`
	Position   string   `json:"position"`
	Run        string   `json:"run"`
	Deliveries []string `json:"deliveries" doc:"Their ids."`
}

// NewEvent is an event to publish.
type NewEvent struct {
	Source     string          `json:"source" minLength:"1" maxLength:"256" doc:"Who says it, as com.example.shop."`
	DetailType string          `json:"detail_type" minLength:"1" maxLength:"128" doc:"What happened."`
	Detail     json.RawMessage `json:"detail" doc:"A JSON object."`
	Bus        string          `json:"bus,omitempty" maxLength:"256" doc:"default unless given."`
	Resources  []string        `json:"resources,omitempty" maxItems:"100" doc:"What it is about: ARNs or other names."`
	Time       *Time           `json:"time,omitempty" doc:"When it happened; now unless given."`
	DedupeKey  string          `json:"dedupe_key,omitempty" maxLength:"256" doc:"A second event of the source with the same key within 24 h is not stored."`
}

// Published is what became of a NewEvent.
type Published struct {
	ID         string   `json:"id"`
	Position   string   `json:"position"`
	Bus        string   `json:"bus"`
	Duplicate  bool     `json:"duplicate" doc:"The dedupe key was known: id and position are those of the first event."`
	Deliveries []string `json:"deliveries" doc:"The ids of the deliveries that it caused."`
}

// PatternTest is a pattern and an event to try it with.
type PatternTest struct {
	Pattern json.RawMessage `json:"pattern" doc:"An event pattern."`
	Event   json.RawMessage `json:"event" doc:"An event: the whole envelope."`
}

type replayInput struct {
	ID   string        `path:"id" maxLength:"64" doc:"An event id, or a position."`
	Body ReplayRequest `required:"false"`
}

type publishInput struct{ Body NewEvent }

type publishOutput struct {
	Status int
	Body   Published
}

type patternInput struct{ Body PatternTest }

func (s *server) explain(ctx context.Context, in *eventInput) (*output[Explanation], error) {
	all, i, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ev := all[i]
	verdicts, generation, err := s.config.Matcher.Explain(ctx, ev)
	if err != nil {
		return nil, fmt.Errorf("explaining event %s: %w", ev.Envelope.ID, err)
	}
	out := Explanation{
		EventID: string(ev.Envelope.ID), Position: ev.At.String(), Bus: ev.Bus, Generation: generation,
		MatchedBy: ev.Generation, Changed: ev.Generation != generation,
		DuplicateOf: positionText(ev.DuplicateOf), Rules: make([]RuleVerdict, 0, len(verdicts)),
	}
	for _, v := range verdicts {
		out.Rules = append(out.Rules, worded(v))
	}
	out.Summary = summarize(&out)
	return &output[Explanation]{Body: out}, nil
}

// worded fills in the words of a verdict that has none.
func worded(v RuleVerdict) RuleVerdict {
	v.Misses = append([]Miss{}, v.Misses...)
	texts := make([]string, 0, len(v.Misses))
	for i := range v.Misses {
		m := &v.Misses[i]
		m.Text = cmp.Or(m.Text, fmt.Sprintf("%s: wanted %s, found %s", m.Field, m.Wanted, cmp.Or(m.Found, "nothing")))
		texts = append(texts, m.Text)
	}
	switch {
	case v.Text != "":
	case v.OtherBus:
		v.Text = "watches bus " + v.Bus
	case v.Matched:
		v.Text = "matches"
	case len(texts) > 0:
		v.Text = "does not match: " + strings.Join(texts, "; ")
	default:
		v.Text = "does not match"
	}
	return v
}

func summarize(e *Explanation) string {
	var matched, asked []string
	for _, v := range e.Rules {
		if !v.OtherBus {
			asked = append(asked, v.Rule)
		}
		if v.Matched {
			matched = append(matched, v.Rule)
		}
	}
	var text string
	switch {
	case len(asked) == 0:
		text = fmt.Sprintf("Bus %s has no rules.", e.Bus)
	case len(matched) == 0:
		text = fmt.Sprintf("None of the %d rules of bus %s matches.", len(asked), e.Bus)
	default:
		text = fmt.Sprintf("%d of the %d rules of bus %s match: %s.", len(matched), len(asked), e.Bus, strings.Join(matched, ", "))
	}
	if e.DuplicateOf != "" {
		text += " The event repeats an earlier one; a repetition is matched only if its source has duplicates: deliver."
	}
	if e.Changed {
		text += " The configuration has changed since the event was matched."
	}
	return text
}

func (s *server) replay(ctx context.Context, in *replayInput) (*output[Replayed], error) {
	all, i, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	ev := all[i]
	run := cmp.Or(in.Body.Run, newRun(s.config.Now()))
	ids, err := s.config.Matcher.Replay(ctx, ev, run, in.Body.Rules)
	if err != nil {
		return nil, fmt.Errorf("replaying event %s: %w", ev.Envelope.ID, err)
	}
	out := Replayed{
		EventID: string(ev.Envelope.ID), Position: ev.At.String(), Run: run, Deliveries: make([]string, 0, len(ids)),
	}
	for _, id := range ids {
		out.Deliveries = append(out.Deliveries, id.String())
	}
	return &output[Replayed]{Body: out}, nil
}

// publish commits one event. It answers 201, or 200 with the first event when
// the dedupe key is known: whoever repeats a request whose answer was lost sees
// what the first one did.
func (s *server) publish(ctx context.Context, in *publishInput) (*publishOutput, error) {
	ev, err := s.newEvent(&in.Body)
	if err != nil {
		return nil, err
	}
	err = s.config.Publisher.Publish(ctx, &store.Batch{Events: []*store.Event{ev}})
	if first, ok := errors.AsType[*store.DuplicateError](err); ok {
		return &publishOutput{Status: http.StatusOK, Body: Published{
			ID: string(first.ID), Position: first.First.String(), Bus: ev.Bus, Duplicate: true, Deliveries: []string{},
		}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("publishing event: %w", err)
	}
	out := Published{
		ID: string(ev.Envelope.ID), Position: ev.At.String(), Bus: ev.Bus,
		Deliveries: make([]string, 0, len(ev.Deliveries)),
	}
	for _, d := range ev.Deliveries {
		out.Deliveries = append(out.Deliveries, d.ID.String())
	}
	return &publishOutput{Status: http.StatusCreated, Body: out}, nil
}

func (s *server) newEvent(in *NewEvent) (*store.Event, error) {
	if !event.IsObject(in.Detail) {
		return nil, fault.New(fault.Invalid, codeMalformedDetail, "detail is not a JSON object")
	}
	if strings.HasPrefix(in.Source, "aws.") {
		return nil, fault.New(fault.Invalid, codeReservedSource, "source %q begins with aws., which is reserved", in.Source).
			WithHint("name the source after who says it, as com.example.shop")
	}
	now := s.config.Now()
	info := s.config.Instance.Info()
	ev := &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(now), Source: in.Source, DetailType: in.DetailType, Account: info.Account,
			Region: info.Region, Time: now.UTC().Truncate(time.Second), Resources: nonNil(in.Resources), Detail: in.Detail,
		},
		Received: now, Bus: cmp.Or(in.Bus, "default"),
	}
	if in.Time != nil {
		ev.Envelope.Time = in.Time.UTC()
	}
	if in.DedupeKey != "" {
		ev.DedupeKey = "api\x00" + in.Source + "\x00" + in.DedupeKey
	}
	if size := event.Size(&ev.Envelope); size > event.MaxSize {
		return nil, fault.New(fault.TooLarge, codeEventTooLarge, "the event has %d bytes, the limit is %d", size, event.MaxSize).
			WithHint("put the data elsewhere and send a reference")
	}
	return ev, nil
}

func (s *server) testPattern(_ context.Context, in *patternInput) (*output[RuleVerdict], error) {
	verdict, err := s.config.Matcher.TestPattern(in.Body.Pattern, in.Body.Event)
	if err != nil {
		return nil, fmt.Errorf("testing pattern: %w", err)
	}
	return &output[RuleVerdict]{Body: worded(verdict)}, nil
}
