// Package storetest is the conformance suite of stores: every sentence of the
// contracts in package store, as tests that any implementation of store.Store
// must pass, and a model against which random histories are checked.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Options say which store a test wants.
type Options struct {
	// Dir names the data; opening the same again finds what was stored.
	Dir string
	// Now is the clock.
	Now func() time.Time
	// SegmentBytes is about how much goes into what Retain drops at once.
	SegmentBytes int64
	// DedupeWindow and DedupeCount bound the memory of dedupe keys.
	DedupeWindow time.Duration
	DedupeCount  int
	// Collide makes all dedupe keys look the same until they are compared in
	// full. A store that always compares them in full ignores it.
	Collide bool
}

// Open opens a store.
type Open func(ctx context.Context, o Options) (store.Store, error)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, group := range [...]struct {
		name  string
		tests []test
	}{
		{"append", appendTests()},
		{"dedupe", dedupeTests()},
		{"read", readTests()},
		{"list", listTests()},
		{"scan", scanTests()},
		{"queue", queueTests()},
		{"outcomes", outcomeTests()},
		{"state", stateTests()},
		{"retain", retainTests()},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) {
					t.Parallel()
					tt.run(newFixture(t, open, tt.options))
				})
			}
		})
	}
}

type test struct {
	name    string
	options Options
	run     func(f *fixture)
}

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// began is when tests begin.
var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is an open store and what tests need around it.
type fixture struct {
	*testing.T
	store.Store
	clock   *clock
	open    Open
	options Options
	made    int
}

func newFixture(t *testing.T, open Open, o Options) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: &clock{now: began}, open: open, options: o}
	f.options.Dir, f.options.Now = t.TempDir(), f.clock.Now
	f.start()
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

func (f *fixture) start() {
	f.Helper()
	s, err := f.open(f.Context(), f.options)
	if err != nil {
		f.Fatalf("opening: %v", err)
	}
	f.Store = s
}

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	if err := f.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.start()
}

// event makes an event that is unlike all others, with the deliveries.
func (f *fixture) event(deliveries ...*store.Delivery) *store.Event {
	f.made++
	now := f.clock.Now()
	body := fmt.Sprintf(`{"n": %d}`, f.made)
	return &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(now), DetailType: "push", Source: "github", Account: "000000000000", Region: "us-east-1",
			Time: now.Truncate(time.Second), Detail: []byte(body), Resources: []string{"arn:aws:s3:::x"},
		},
		Received: now, Bus: "default", Endpoint: "in", Generation: "g1", ProviderID: fmt.Sprintf("p-%d", f.made),
		Raw: &store.Raw{
			Method: "POST", Path: "/in/github", Query: "a=b", Proto: "HTTP/1.1", Host: "h", RemoteAddr: "127.0.0.1:1",
			Header: []store.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Token", Value: "***"}},
			Body:   []byte(body), Masked: []string{"X-Token"},
		},
		DetailIsBody: true,
		VerifiedBy:   &store.Verified{Profile: "github", KeyIndex: 1, Timestamp: now.Truncate(time.Second)},
		Deliveries:   deliveries,
	}
}

// to makes a delivery for the destination.
func (f *fixture) to(destination string) *store.Delivery {
	return &store.Delivery{
		Rule: "rule-" + destination, Target: "t1", Destination: destination, Origin: store.OriginMatch,
		Mode: store.Async, Deadline: f.clock.Now().Add(24 * time.Hour),
	}
}

func (f *fixture) append(batch *store.Batch) {
	f.Helper()
	if err := f.Append(f.Context(), batch); err != nil {
		f.Fatalf("Append: %v", err)
	}
}

// put appends one event and returns it.
func (f *fixture) put(e *store.Event) *store.Event {
	f.Helper()
	f.append(&store.Batch{Events: []*store.Event{e}})
	return e
}

// outcome makes the outcome of an attempt.
func (f *fixture) outcome(id store.DeliveryID, attempt int, state store.DeliveryState) *store.Outcome {
	o := &store.Outcome{
		Delivery: id, Time: f.clock.Now(), State: state, Attempt: attempt, Counted: true, Duration: time.Millisecond,
		Status: 200, Generation: "g1", Excerpt: []byte("ok"),
	}
	if state != store.Delivered {
		o.Status, o.Class, o.Reason = 500, "server_error", "the destination answered 500"
	}
	if state == store.Pending {
		o.NextAt = f.clock.Now().Add(time.Minute)
	}
	return o
}

// decision makes an outcome without an attempt.
func (f *fixture) decision(id store.DeliveryID, state store.DeliveryState) *store.Outcome {
	return &store.Outcome{Delivery: id, Time: f.clock.Now(), State: state, Reason: "decided"}
}

func (f *fixture) commit(outcomes ...*store.Outcome) {
	f.Helper()
	f.append(&store.Batch{Outcomes: outcomes, Reserve: true})
}

func (f *fixture) delivery(id store.DeliveryID) *store.DeliveryRecord {
	f.Helper()
	rec, err := f.Delivery(f.Context(), id)
	if err != nil {
		f.Fatalf("Delivery(%s): %v", id, err)
	}
	return rec
}

func (f *fixture) wantState(id store.DeliveryID, want store.DeliveryState) {
	f.Helper()
	if rec := f.delivery(id); rec.State != want {
		f.Errorf("delivery is %s, want %s", rec.State, want)
	}
}

// claim asks for up to count deliveries of each destination.
func (f *fixture) claim(count int, destinations ...string) []*store.Claimed {
	f.Helper()
	got, _ := f.claimNext(count, destinations...)
	return got
}

func (f *fixture) claimNext(count int, destinations ...string) ([]*store.Claimed, time.Time) {
	f.Helper()
	req := store.ClaimRequest{Now: f.clock.Now()}
	for _, d := range destinations {
		req.Rooms = append(req.Rooms, store.Room{Destination: d, Count: count, Bytes: 1 << 20})
	}
	got, next, err := f.Claim(f.Context(), req)
	if err != nil {
		f.Fatalf("Claim: %v", err)
	}
	return got, next
}

func (f *fixture) wantClaims(got []*store.Claimed, want ...store.DeliveryID) {
	f.Helper()
	have := make([]store.DeliveryID, 0, len(got))
	for _, c := range got {
		have = append(have, c.Delivery.ID)
	}
	if diff := cmp.Diff(want, have, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("claimed (-want +got):\n%s", diff)
	}
}

func (f *fixture) wantKind(what string, err error, want fault.Kind) {
	f.Helper()
	if !fault.Is(err, want) {
		f.Errorf("%s = %v, want a fault of kind %s", what, err, want)
	}
}

func (f *fixture) wantPending(pending, held int64) {
	f.Helper()
	if st := f.Stats(); st.Pending != pending || st.Held != held {
		f.Errorf("Stats: pending %d, held %d, want %d, %d", st.Pending, st.Held, pending, held)
	}
}

// asRead is the event as it must be read back.
func asRead(e *store.Event) *store.Event {
	c := *e
	c.Deliveries = nil
	return &c
}

func isDuplicate(err error) (*store.DuplicateError, bool) {
	return errors.AsType[*store.DuplicateError](err)
}
