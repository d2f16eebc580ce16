// Package bus is the one door through which events enter the history: it
// matches each event with the rules of its bus, commits event and deliveries in
// one append, and hands the committed deliveries on. It keeps nothing itself.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/pattern"
)

// Journal is what the bus needs of the store.
type Journal interface {
	Append(ctx context.Context, batch *store.Batch) error
	Submit(batch *store.Batch, done func(error))
}

// Deliverer takes committed deliveries in hand. It must not block; what it has
// no room for it gives back to the store.
type Deliverer interface {
	Deliver(ev *store.Event, deliveries []*store.Delivery)
}

// Metrics counts what rules do. All methods may be called concurrently.
type Metrics interface {
	Matched(rule string)
	Unmatched(bus string)
}

// Config is what a Bus is made of. Every member is required.
type Config struct {
	Journal   Journal
	Deliverer Deliverer
	Metrics   Metrics
	Log       *slog.Logger
	Now       func() time.Time
}

// Bus publishes events. It is safe for concurrent use.
type Bus struct {
	config    Config
	snapshot  atomic.Pointer[Snapshot]
	scratches sync.Pool // of *scratch
}

// New returns a bus without rules; Configure gives it some.
func New(config Config) *Bus {
	b := &Bus{config: config}
	b.snapshot.Store(&Snapshot{})
	return b
}

// Configure puts a new set of rules in force. An event is matched by the set
// with which its Publish began.
func (b *Bus) Configure(s *Snapshot) { b.snapshot.Store(s) }

// Publish matches the batch's events, commits the batch and hands its
// deliveries on. It returns when the batch is synced; the errors are those of
// store.Journal.Append, and Invalid if an event names a bus that does not exist.
func (b *Bus) Publish(ctx context.Context, batch *store.Batch) error {
	if err := b.match(batch); err != nil {
		return err
	}
	if err := b.config.Journal.Append(ctx, batch); err != nil {
		return err
	}
	b.handOn(batch)
	return nil
}

// Submit is Publish without waiting: done, if not nil, is called once. A batch
// whose events cannot be matched is refused at once, through done as well.
func (b *Bus) Submit(batch *store.Batch, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if err := b.match(batch); err != nil {
		done(err)
		return
	}
	if len(batch.Events) == 0 {
		b.config.Journal.Submit(batch, done)
		return
	}
	b.config.Journal.Submit(batch, func(err error) {
		if err == nil {
			b.handOn(batch)
		}
		done(err)
	})
}

// Match gives events their deliveries by the rules in force, for a batch that
// somebody else appends and leaves to the queue. Errors are those of Publish.
func (b *Bus) Match(events ...*store.Event) error { return b.match(&store.Batch{Events: events}) }

// match gives each event of the batch its deliveries.
func (b *Bus) match(batch *store.Batch) error {
	if len(batch.Events) == 0 {
		return nil
	}
	snap := b.snapshot.Load()
	for _, ev := range batch.Events {
		ev.Generation = snap.generation
		if err := b.matchOne(snap, ev); err != nil {
			return err
		}
	}
	// A dispatch belongs to an event that is not in memory here: the queue
	// hands its deliveries out, and with them the others of the batch.
	batch.Claimed = len(batch.Dispatches) == 0
	return nil
}

func (b *Bus) matchOne(snap *Snapshot, ev *store.Event) error {
	rules, ok := snap.buses[ev.Bus]
	if !ok {
		return fault.New(fault.Invalid, "unknown_bus", "bus %q does not exist", ev.Bus).
			WithHint("add it under buses in the configuration")
	}
	if ev.DuplicateOf != 0 && !ev.Redeliver {
		return nil
	}
	s, ok := b.scratches.Get().(*scratch)
	if !ok {
		s = &scratch{head: make([]byte, 0, 1024)}
	}
	defer b.scratches.Put(s)
	s.head = ev.Envelope.AppendHead(s.head[:0])
	matched, err := rules.set.MatchEvent(pattern.Event{Envelope: s.head, Detail: detailOf(&ev.Envelope)}, s.matched[:0])
	s.matched = matched
	switch {
	case errors.Is(err, pattern.ErrTooComplex):
		// An event made to be hard to match. What could be decided counts.
		b.config.Log.Warn("event too complex for some rules", slog.String("event", string(ev.Envelope.ID)))
	case err != nil:
		return fault.Wrap(fault.Invalid, err, "malformed_event", "the event cannot be matched: %v", err)
	}
	if len(matched) == 0 {
		b.config.Metrics.Unmatched(ev.Bus)
		return nil
	}
	now := b.config.Now()
	for _, i := range matched {
		rule := rules.rules[i]
		b.config.Metrics.Matched(rule.Name)
		for t := range rule.Targets {
			ev.Deliveries = append(ev.Deliveries, rule.delivery(&rule.Targets[t], now))
		}
	}
	return nil
}

// scratch is the memory of one match; nothing of it is kept.
type scratch struct {
	head    []byte
	matched []int
}

func detailOf(e *event.Envelope) []byte {
	if len(e.Detail) == 0 {
		return []byte("{}")
	}
	return e.Detail
}

func (b *Bus) handOn(batch *store.Batch) {
	if !batch.Claimed {
		return
	}
	for _, ev := range batch.Events {
		if len(ev.Deliveries) > 0 {
			b.config.Deliverer.Deliver(ev, ev.Deliveries)
		}
	}
}

// Replay dispatches a stored event again, by today's rules: to all that match
// it, or only to those named. Run names the replay: with the same name the
// same deliveries result. It returns the ids of the new deliveries.
//
// Returns NotFound if a rule that is named does not exist, and Conflict with
// code nothing_matches if no rule matches the event now.
func (b *Bus) Replay(ctx context.Context, ev *store.Event, run string, only []string) ([]store.DeliveryID, error) {
	snap := b.snapshot.Load()
	for _, name := range only {
		if _, ok := snap.rules[name]; !ok {
			return nil, fault.New(fault.NotFound, "rule_not_found", "rule %q does not exist", name)
		}
	}
	again := *ev
	again.Deliveries, again.DuplicateOf = nil, 0
	again.Envelope.ReplayName = run
	if err := b.matchOne(snap, &again); err != nil {
		return nil, err
	}
	dispatch := &store.Dispatch{Event: ev.At}
	for _, d := range again.Deliveries {
		if len(only) > 0 && !slices.Contains(only, d.Rule) {
			continue
		}
		d.Origin, d.Run = store.OriginReplay, run
		dispatch.Deliveries = append(dispatch.Deliveries, d)
	}
	if len(dispatch.Deliveries) == 0 {
		return nil, fault.New(fault.Conflict, "nothing_matches", "no rule matches event %s now", ev.Envelope.ID).
			WithHint("ask: grapnel events explain %s", ev.Envelope.ID)
	}
	if err := b.config.Journal.Append(ctx, &store.Batch{Dispatches: []*store.Dispatch{dispatch}}); err != nil {
		return nil, fmt.Errorf("dispatching event %s: %w", ev.Envelope.ID, err)
	}
	ids := make([]store.DeliveryID, 0, len(dispatch.Deliveries))
	for _, d := range dispatch.Deliveries {
		ids = append(ids, d.ID)
	}
	return ids, nil
}
