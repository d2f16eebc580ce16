package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func appendTests() []test {
	return []test{
		{"positions and ids are given at commit", Options{}, appendGivesPositions},
		{"what was appended is read back whole, also after a reopen", Options{}, appendIsReadBack},
		{"a batch is all or nothing", Options{}, appendIsAtomic},
		{"a queued batch is committed whatever becomes of the context", Options{}, appendOutlivesContext},
		{"submit calls done once, when the batch is synced", Options{}, submitCallsDone},
		{"a lazy batch is committed within its linger", Options{}, lazyIsCommitted},
		{"nothing is taken after close", Options{}, nothingAfterClose},
		{"a dispatch makes deliveries of a stored event", Options{}, dispatchBinds},
		{"a dispatch leaves out deliveries that exist", Options{}, dispatchIsIdempotent},
		{"a dispatch of an unknown event is NotFound", Options{}, dispatchNeedsEvent},
		{"concurrent appends are all there", Options{SegmentBytes: 64 << 10}, appendConcurrently},
	}
}

func appendGivesPositions(f *fixture) {
	before := f.Horizon()
	a, b := f.event(f.to("x"), f.to("y")), f.event()
	f.append(&store.Batch{Events: []*store.Event{a, b}})
	if a.At < before || b.At <= a.At || f.Horizon() <= b.At {
		f.Errorf("horizon %s, events at %s and %s, horizon %s: want them in order", before, a.At, b.At, f.Horizon())
	}
	for _, d := range a.Deliveries {
		if want := store.NewDeliveryID(a.At, a.Envelope.ID, d.Rule, d.Target, d.Run); d.ID != want || d.Event != a.At {
			f.Errorf("delivery %s of event %s, want %s of %s", d.ID, d.Event, want, a.At)
		}
	}
	o := f.outcome(a.Deliveries[0].ID, 1, store.Delivered)
	f.commit(o)
	if o.At <= b.At {
		f.Errorf("outcome at %s, want it behind %s", o.At, b.At)
	}
}

func appendIsReadBack(f *fixture) {
	plain := f.event()
	plain.Raw, plain.DetailIsBody, plain.VerifiedBy, plain.Endpoint = nil, false, nil, ""
	plain.Parent, plain.Hops = 0, 3
	events := []*store.Event{f.event(f.to("x")), plain, f.event()}
	events[2].DetailIsBody = false
	events[2].Raw.Body = []byte("a=b&c=\x00\xff")
	for _, e := range events {
		f.put(e)
	}
	second := f.event()
	second.Parent, second.DuplicateOf = events[0].At, events[0].At
	events = append(events, f.put(second))
	check := func() {
		f.Helper()
		for _, e := range events {
			got, err := f.Event(f.Context(), e.At)
			if err != nil {
				f.Fatalf("Event(%s): %v", e.At, err)
			}
			if diff := cmp.Diff(asRead(e), got, cmpopts.EquateEmpty()); diff != "" {
				f.Errorf("event (-want +got):\n%s", diff)
			}
		}
	}
	check()
	f.reopen()
	check()
}

func appendIsAtomic(f *fixture) {
	first := f.event()
	first.DedupeKey = "k"
	f.put(first)
	second, third := f.event(f.to("x")), f.event()
	third.DedupeKey = "k"
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{second, third}})
	if _, ok := isDuplicate(err); !ok {
		f.Fatalf("Append = %v, want a DuplicateError", err)
	}
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
		}
		page, err := f.Events(f.Context(), store.EventQuery{})
		if err != nil || len(page.Events) != 1 {
			f.Errorf("there are %d events (%v), want only the first", len(page.Events), err)
		}
		f.wantPending(0, 0)
	}
}

func appendOutlivesContext(f *fixture) {
	ctx, cancel := context.WithCancelCause(f.Context())
	why := errors.New("gone")
	cancel(why)
	e := f.event()
	err := f.Append(ctx, &store.Batch{Events: []*store.Event{e}})
	page, listErr := f.Events(f.Context(), store.EventQuery{})
	if listErr != nil {
		f.Fatal(listErr)
	}
	if stored := len(page.Events) == 1; stored != (err == nil) || err != nil && !errors.Is(err, why) {
		f.Errorf("Append = %v, stored: %v; want an error exactly if it is not stored", err, stored)
	}
}

func submitCallsDone(f *fixture) {
	const n = 100
	results := make(chan error, 2*n)
	events := make([]*store.Event, n)
	for i := range events {
		events[i] = f.event(f.to("x"))
		if i%3 == 0 {
			events[i].DedupeKey = fmt.Sprintf("k%d", i)
		}
		f.Submit(&store.Batch{Events: []*store.Event{events[i]}}, func(err error) {
			if err == nil && events[i].At >= f.Horizon() {
				err = fmt.Errorf("event %s is not below the horizon", events[i].At)
			}
			results <- err
		})
	}
	for range n {
		if err := <-results; err != nil {
			f.Errorf("done(%v)", err)
		}
	}
	f.Submit(&store.Batch{Events: []*store.Event{f.event()}}, nil)
	f.put(f.event())
	if len(results) > 0 {
		f.Error("done was called twice")
	}
	page, err := f.Events(f.Context(), store.EventQuery{Limit: 1000})
	if err != nil || len(page.Events) != n+2 {
		f.Errorf("%d events (%v), want %d", len(page.Events), err, n+2)
	}
}

func lazyIsCommitted(f *fixture) {
	e := f.put(f.event(f.to("x")))
	done := make(chan error, 1)
	f.Submit(&store.Batch{Outcomes: []*store.Outcome{f.outcome(e.Deliveries[0].ID, 1, store.Delivered)}, Lazy: true, Reserve: true},
		func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			f.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		f.Fatal("a lazy batch is not committed by itself")
	}
	f.wantState(e.Deliveries[0].ID, store.Delivered)
}

func nothingAfterClose(f *fixture) {
	done := make(chan error, 1)
	f.Submit(&store.Batch{Events: []*store.Event{f.event()}}, func(err error) { done <- err })
	if err := f.Close(); err != nil {
		f.Fatal(err)
	}
	if err := <-done; err != nil {
		f.Errorf("a batch submitted before Close: %v", err)
	}
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{f.event()}})
	f.wantKind("Append after Close", err, fault.Transient)
	keyed := f.event()
	keyed.DedupeKey = "k"
	f.Submit(&store.Batch{Events: []*store.Event{keyed}}, func(err error) { done <- err })
	f.wantKind("Submit after Close", <-done, fault.Transient)
	f.start()
	if page, err := f.Events(f.Context(), store.EventQuery{}); err != nil || len(page.Events) != 1 {
		f.Errorf("%d events (%v), want 1", len(page.Events), err)
	}
}

func (f *fixture) dispatch(at store.Position, deliveries ...*store.Delivery) *store.Dispatch {
	f.Helper()
	d := &store.Dispatch{Event: at, Deliveries: deliveries}
	f.append(&store.Batch{Dispatches: []*store.Dispatch{d}})
	return d
}

func dispatchBinds(f *fixture) {
	e := f.put(f.event())
	d := f.to("x")
	d.Run, d.Origin = "replay-1", store.OriginReplay
	rec := f.dispatch(e.At, d)
	if want := store.NewDeliveryID(e.At, e.Envelope.ID, d.Rule, d.Target, d.Run); d.ID != want || rec.At <= e.At {
		f.Errorf("dispatch at %s with delivery %s, want behind %s with %s", rec.At, d.ID, e.At, want)
	}
	f.wantPending(1, 0)
	f.reopen()
	got := f.delivery(d.ID)
	if got.State != store.Pending || got.Run != "replay-1" || got.Origin != store.OriginReplay || got.EventID != e.Envelope.ID {
		f.Errorf("delivery is %+v", got)
	}
	claims := f.claim(10, "x")
	f.wantClaims(claims, d.ID)
	if len(claims) == 1 {
		if diff := cmp.Diff(asRead(e), claims[0].Event, cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("claimed event (-want +got):\n%s", diff)
		}
	}
	page, err := f.Events(f.Context(), store.EventQuery{Unmatched: true})
	if err != nil || len(page.Events) != 0 {
		f.Errorf("%d events are unmatched (%v), want none: it was dispatched", len(page.Events), err)
	}
}

func dispatchIsIdempotent(f *fixture) {
	e := f.put(f.event(f.to("x")))
	f.commit(f.outcome(e.Deliveries[0].ID, 1, store.Delivered))
	again, other := f.to("x"), f.to("x")
	other.Run = "replay"
	d := f.dispatch(e.At, again, other)
	if len(d.Deliveries) != 1 || d.Deliveries[0] != other {
		f.Errorf("%d deliveries are left in the dispatch, want the one that is new", len(d.Deliveries))
	}
	f.wantState(e.Deliveries[0].ID, store.Delivered)
	f.wantPending(1, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d := f.to("x")
			d.Run = "at once"
			if err := f.Append(f.Context(), &store.Batch{Dispatches: []*store.Dispatch{{Event: e.At, Deliveries: []*store.Delivery{d}}}}); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	f.wantPending(2, 0)
	f.reopen()
	f.wantPending(2, 0)
	if got := f.claim(10, "x"); len(got) != 2 {
		f.Errorf("claimed %d, want 2", len(got))
	}
}

func dispatchNeedsEvent(f *fixture) {
	e := f.put(f.event())
	for _, at := range []store.Position{e.At + 1, f.Horizon() + 100, 0} {
		err := f.Append(f.Context(), &store.Batch{Dispatches: []*store.Dispatch{{Event: at, Deliveries: []*store.Delivery{f.to("x")}}}})
		f.wantKind("Append of a dispatch", err, fault.NotFound)
	}
	f.wantPending(0, 0)
}

func appendConcurrently(f *fixture) {
	const writers, each = 16, 50
	events := make([][]*store.Event, writers)
	for i := range events {
		for range each {
			events[i] = append(events[i], f.event(f.to("x")))
		}
	}
	var wg sync.WaitGroup
	for _, mine := range events {
		wg.Go(func() {
			for _, e := range mine {
				if err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{e}, Claimed: true}); err != nil {
					f.Error(err)
					return
				}
				f.Submit(&store.Batch{Outcomes: []*store.Outcome{f.outcome(e.Deliveries[0].ID, 1, store.Delivered)}, Lazy: true, Reserve: true}, nil)
			}
		})
	}
	wg.Wait()
	seen := map[store.Position]bool{}
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
		}
		clear(seen)
		var cursor store.Position
		for {
			page, err := f.Events(f.Context(), store.EventQuery{After: cursor, Limit: 100, Headers: true})
			if err != nil {
				f.Fatal(err)
			}
			for _, e := range page.Events {
				if seen[e.At] {
					f.Fatalf("event %s is listed twice", e.At)
				}
				seen[e.At] = true
			}
			if cursor = page.Next; cursor == 0 {
				break
			}
		}
		for _, mine := range events {
			for _, e := range mine {
				if !seen[e.At] {
					f.Errorf("event %s is missing", e.At)
				}
			}
		}
	}
	f.wantPending(0, 0)
}
