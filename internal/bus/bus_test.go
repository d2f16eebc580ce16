package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/bus"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what a bus sees: it records in the order in which things happen.
type world struct {
	mu      sync.Mutex
	log     []string
	batches []*store.Batch
	broken  error
}

func (w *world) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

func (w *world) Append(_ context.Context, batch *store.Batch) error {
	if w.broken != nil {
		return w.broken
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, "commit")
	w.batches = append(w.batches, batch)
	for _, ev := range batch.Events {
		ev.At = store.Position(len(w.batches))
		for _, d := range ev.Deliveries {
			d.ID = store.NewDeliveryID(ev.At, ev.Envelope.ID, d.Rule, d.Target, d.Run)
		}
	}
	for _, dispatch := range batch.Dispatches {
		for _, d := range dispatch.Deliveries {
			d.ID = store.NewDeliveryID(dispatch.Event, "", d.Rule, d.Target, d.Run)
		}
	}
	return nil
}

func (w *world) Submit(batch *store.Batch, done func(error)) {
	done(w.Append(context.Background(), batch))
}

func (w *world) Deliver(_ *store.Event, ds []*store.Delivery) {
	for _, d := range ds {
		w.note("deliver " + d.Rule + "/" + d.Target)
	}
}

func (w *world) Matched(rule string)  { w.note("matched " + rule) }
func (w *world) Unmatched(bus string) { w.note("unmatched " + bus) }

var testNow = time.Unix(1_790_000_000, 0)

func newBus(t *testing.T, rules ...bus.Rule) (*bus.Bus, *world) {
	t.Helper()
	w := &world{}
	b := bus.New(bus.Config{
		Journal: w, Deliverer: w, Metrics: w, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return testNow },
	})
	b.Configure(bus.NewSnapshot("g1", []string{"default", "security"}, rules))
	return b, w
}

func rule(t *testing.T, name, busName, text string, targets ...bus.Target) bus.Rule {
	t.Helper()
	p, err := pattern.Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return bus.Rule{Name: name, Bus: busName, Pattern: p, Targets: targets}
}

func to(id string) bus.Target { return bus.Target{ID: id, Destination: id, MaxAge: time.Hour} }

func push(detail string) *store.Event {
	return &store.Event{
		Bus: "default",
		Envelope: event.Envelope{
			ID: event.NewID(testNow), Source: "github.com", DetailType: "push", Time: testNow, Detail: []byte(detail),
		},
	}
}

func TestEventAndDeliveriesAreCommittedTogetherBeforeTheyAreHandedOn(t *testing.T) {
	t.Parallel()
	b, w := newBus(t,
		rule(t, "a", "default", `{"source":["github.com"]}`, to("x"), to("y")),
		rule(t, "b", "default", `{"detail":{"ref":["main"]}}`, to("x")),
		rule(t, "c", "default", `{"detail":{"ref":["other"]}}`, to("x")),
		rule(t, "d", "security", `{"source":["github.com"]}`, to("x")),
	)
	ev := push(`{"ref":"main"}`)
	batch := &store.Batch{Events: []*store.Event{ev}}
	if err := b.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	want := []string{"matched a", "matched b", "commit", "deliver a/x", "deliver a/y", "deliver b/x"}
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !batch.Claimed || ev.Generation != "g1" {
		t.Errorf("claimed %v, generation %q", batch.Claimed, ev.Generation)
	}
	d := ev.Deliveries[0]
	if d.Mode != store.Async || d.Origin != store.OriginMatch || !d.Deadline.Equal(testNow.Add(time.Hour)) {
		t.Errorf("delivery %+v", d)
	}
}

func TestNothingIsHandedOnWhenTheCommitFails(t *testing.T) {
	t.Parallel()
	b, w := newBus(t, rule(t, "a", "default", `{"source":["github.com"]}`, to("x")))
	w.broken = errors.New("disk")
	if err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{push(`{}`)}}); !errors.Is(err, w.broken) {
		t.Errorf("Publish() = %v", err)
	}
	var got error
	b.Submit(&store.Batch{Events: []*store.Event{push(`{}`)}}, func(err error) { got = err })
	if !errors.Is(got, w.broken) {
		t.Errorf("Submit gave %v", got)
	}
	if slices.ContainsFunc(w.log, func(s string) bool { return strings.HasPrefix(s, "deliver") }) {
		t.Errorf("handed on what is not committed: %v", w.log)
	}
}

func TestUnknownBusesAndUnreadableEventsAreRefused(t *testing.T) {
	t.Parallel()
	b, w := newBus(t, rule(t, "a", "default", `{"source":["github.com"]}`, to("x")))
	ev := push(`{}`)
	ev.Bus = "nowhere"
	err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{ev}})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "unknown_bus" || f.Hint == "" {
		t.Errorf("unknown bus: %v", err)
	}
	for _, detail := range []string{`{"a":`, `x`, strings.Repeat(`{"a":`, 3000) + `1` + strings.Repeat(`}`, 3000)} {
		err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{push(detail)}})
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "malformed_event" {
			t.Errorf("detail %.20s: %v", detail, err)
		}
	}
	if len(w.batches) != 0 {
		t.Errorf("%d batches were committed", len(w.batches))
	}
}

func TestRepetitionsAreKeptWithoutDeliveriesUnlessWanted(t *testing.T) {
	t.Parallel()
	b, w := newBus(t, rule(t, "a", "default", `{"source":["github.com"]}`, to("x")))
	again := push(`{}`)
	again.DuplicateOf = 7
	wanted := push(`{}`)
	wanted.DuplicateOf, wanted.Redeliver = 7, true
	if err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{again, wanted}}); err != nil {
		t.Fatal(err)
	}
	if len(again.Deliveries) != 0 || len(wanted.Deliveries) != 1 {
		t.Errorf("deliveries: %d and %d, want 0 and 1", len(again.Deliveries), len(wanted.Deliveries))
	}
	if diff := cmp.Diff([]string{"matched a", "commit", "deliver a/x"}, w.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutcomesPassAndWhatTheyCauseIsMatched(t *testing.T) {
	t.Parallel()
	b, w := newBus(t, rule(t, "dead", "default", `{"source":["grapnel"]}`, to("pager")))
	var err error
	b.Submit(&store.Batch{Outcomes: []*store.Outcome{{State: store.Delivered}}, Lazy: true}, func(e error) { err = e })
	if err != nil || !w.batches[0].Lazy || w.batches[0].Claimed {
		t.Errorf("outcome batch: %v, %+v", err, w.batches[0])
	}
	notice := push(`{}`)
	notice.Envelope.Source = "grapnel"
	batch := &store.Batch{
		Events: []*store.Event{notice}, Outcomes: []*store.Outcome{{State: store.Dead}},
		Dispatches: []*store.Dispatch{{Event: 3, Deliveries: []*store.Delivery{{Rule: "r"}}}},
	}
	b.Submit(batch, nil)
	// With a dispatch in the batch the queue hands the deliveries out.
	if len(notice.Deliveries) != 1 || batch.Claimed {
		t.Errorf("deliveries %d, claimed %v", len(notice.Deliveries), batch.Claimed)
	}
	if slices.Contains(w.log, "deliver dead/pager") {
		t.Error("an unclaimed delivery was handed on")
	}
}

func TestReplayDispatchesByTodaysRules(t *testing.T) {
	t.Parallel()
	b, w := newBus(t,
		rule(t, "a", "default", `{"source":["github.com"]}`, to("x")),
		rule(t, "b", "default", `{"source":["github.com"]}`, to("y")),
		rule(t, "live", "default", `{"replay-name":[{"exists":false}],"source":["github.com"]}`, to("z")),
	)
	ev := push(`{}`)
	ev.At = 9
	ids, err := b.Replay(t.Context(), ev, "again", nil)
	if err != nil || len(ids) != 2 {
		t.Fatalf("Replay() = %v, %v", ids, err)
	}
	dispatch := w.batches[0].Dispatches[0]
	if d := dispatch.Deliveries[0]; dispatch.Event != 9 || d.Origin != store.OriginReplay || d.Run != "again" {
		t.Errorf("dispatch %+v, delivery %+v", dispatch, d)
	}
	if ids, err := b.Replay(t.Context(), ev, "again", []string{"b"}); err != nil || len(ids) != 1 {
		t.Errorf("Replay of rule b = %v, %v", ids, err)
	}
	if _, err := b.Replay(t.Context(), ev, "again", []string{"nope"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("Replay of an unknown rule: %v", err)
	}
	other := push(`{}`)
	other.Envelope.Source = "stripe.com"
	if _, err := b.Replay(t.Context(), other, "again", nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("Replay of what matches nothing: %v", err)
	}
	if ev.Envelope.ReplayName != "" {
		t.Error("Replay changed the event")
	}
}

func TestExplainAsksEveryRule(t *testing.T) {
	t.Parallel()
	b, _ := newBus(t,
		rule(t, "hit", "default", `{"source":["github.com"]}`, to("x")),
		rule(t, "miss", "default", `{"detail":{"ref":["main"]}}`, to("x")),
		rule(t, "elsewhere", "security", `{"source":["github.com"]}`, to("x")),
	)
	ev := push(`{"ref":"Main"}`)
	ev.Generation = "g0"
	got, err := b.Explain(ev)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Changed || got.Generation != "g1" || len(got.Verdicts) != 3 {
		t.Fatalf("Explain() = %+v", got)
	}
	byRule := map[string]bus.Verdict{}
	for _, v := range got.Verdicts {
		byRule[v.Rule] = v
	}
	if !byRule["hit"].Matched || byRule["miss"].Matched || !byRule["elsewhere"].OtherBus {
		t.Errorf("verdicts %+v", byRule)
	}
	if text := byRule["miss"].Explanation.String(); !strings.Contains(text, "ref") || !strings.Contains(text, "Main") {
		t.Errorf("the explanation does not name field and value: %s", text)
	}
}

func TestARuleThatHoldsStartsItsDeliveriesHeld(t *testing.T) {
	t.Parallel()
	target := to("x")
	target.Hold = func() string { return "destination_disabled" }
	b, _ := newBus(t, rule(t, "a", "default", `{"source":["github.com"]}`, target))
	ev := push(`{}`)
	if err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
		t.Fatal(err)
	}
	if ev.Deliveries[0].Hold != "destination_disabled" {
		t.Errorf("delivery %+v", ev.Deliveries[0])
	}
}

func BenchmarkPublish(b *testing.B) {
	var rules []bus.Rule
	for i := range 100 {
		p, err := pattern.Compile([]byte(`{"source":["github.com"],"detail-type":["push"],"detail":{"repo":["r` + string(rune('a'+i%26)) + `"]}}`))
		if err != nil {
			b.Fatal(err)
		}
		rules = append(rules, bus.Rule{Name: "r" + string(rune('a'+i)), Bus: "default", Pattern: p, Targets: []bus.Target{to("x")}})
	}
	x := bus.New(bus.Config{Journal: null{}, Deliverer: null{}, Metrics: null{}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	x.Configure(bus.NewSnapshot("g", []string{"default"}, rules))
	detail := `{"repo":"rb","pad":"` + strings.Repeat("x", 1000) + `"}`
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Publish(b.Context(), &store.Batch{Events: []*store.Event{push(detail)}}); err != nil {
			b.Fatal(err)
		}
	}
}

type null struct{}

func (null) Append(context.Context, *store.Batch) error { return nil }
func (null) Submit(_ *store.Batch, done func(error))    { done(nil) }
func (null) Deliver(*store.Event, []*store.Delivery)    {}
func (null) Matched(string)                             {}
func (null) Unmatched(string)                           {}

// Whoever publishes relies on it: with no rule at all, every byte is still read.
func TestEventsAreReadEvenWithoutRules(t *testing.T) {
	t.Parallel()
	b, w := newBus(t)
	for _, detail := range []string{`{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":"` + "\x01" + `"}`, `{"a":tru}`, `{"a":01}`, `{"a":1}}`, `{"a":{"b":[1,2}]}`} {
		err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{push(detail)}})
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "malformed_event" {
			t.Errorf("detail %s: %v", detail, err)
		}
	}
	if len(w.batches) != 0 {
		t.Errorf("%d batches were committed", len(w.batches))
	}
	if err := b.Publish(t.Context(), &store.Batch{Events: []*store.Event{push(` {"a":[1,{"b":null}]} `)}}); err != nil {
		t.Error(err)
	}
}
