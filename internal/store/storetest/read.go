package storetest

import (
	"context"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func readTests() []test {
	return []test{
		{"what is not there is NotFound", Options{}, readNotFound},
		{"events share ids and are found by them, oldest first", Options{SegmentBytes: 6 << 10}, readByID},
		{"a delivery is read with its attempts", Options{SegmentBytes: 8192}, readDelivery},
	}
}

func readNotFound(f *fixture) {
	e := f.put(f.event(f.to("x")))
	for _, at := range []store.Position{0, 1, e.At + 1, e.At - 1, f.Horizon(), f.Horizon() + 1, 1 << 50} {
		_, err := f.Event(f.Context(), at)
		f.wantKind("Event("+at.String()+")", err, fault.NotFound)
	}
	id := e.Deliveries[0].ID
	for _, bad := range []store.DeliveryID{{}, {Event: id.Event, Key: id.Key + 1}, {Event: id.Event + 1, Key: id.Key}, {Event: 1 << 50, Key: 1}} {
		_, err := f.Delivery(f.Context(), bad)
		f.wantKind("Delivery("+bad.String()+")", err, fault.NotFound)
	}
	// The position of an outcome is not that of an event.
	o := f.outcome(id, 1, store.Delivered)
	f.commit(o)
	_, err := f.Event(f.Context(), o.At)
	f.wantKind("Event of an outcome's position", err, fault.NotFound)
	if got, err := f.EventsByID(f.Context(), "nothing"); err != nil || len(got) != 0 {
		f.Errorf("EventsByID of an unknown id = %v, %v, want nothing", got, err)
	}
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	// A context that has ended may or may not matter to a read, but it must not hang.
	_, _ = f.Events(ctx, store.EventQuery{})
}

func readByID(f *fixture) {
	odd := event.ID("not a uuid")
	short := event.ID("sixteen chars 16")
	var want []store.Position
	shared := f.event().Envelope.ID
	for i := range 31 {
		e := f.event()
		switch {
		case i%10 == 0:
			e.Envelope.ID = shared
		case i == 5:
			e.Envelope.ID = odd
		case i == 6:
			e.Envelope.ID = short
		}
		f.put(e)
		if i%10 == 0 {
			want = append(want, e.At)
		}
	}
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
		}
		got, err := f.EventsByID(f.Context(), string(shared))
		if err != nil {
			f.Fatal(err)
		}
		var at []store.Position
		for _, e := range got {
			at = append(at, e.At)
			if e.Envelope.ID != shared {
				f.Errorf("event %s has id %s", e.At, e.Envelope.ID)
			}
		}
		if diff := cmp.Diff(want, at); diff != "" {
			f.Errorf("events with the id (-want +got):\n%s", diff)
		}
		for _, id := range []event.ID{odd, short} {
			if got, err := f.EventsByID(f.Context(), string(id)); err != nil || len(got) != 1 || got[0].Envelope.ID != id {
				f.Errorf("EventsByID(%q) = %v, %v, want one", id, got, err)
			}
		}
	}
}

func readDelivery(f *fixture) {
	d := f.to("x")
	d.Run, d.NotBefore = "r", f.clock.Now().Add(time.Second)
	e := f.put(f.event(d))
	want := &store.DeliveryRecord{
		Delivery: *d, EventID: e.Envelope.ID, State: store.Pending, NextAt: d.NotBefore, Updated: e.Received,
	}
	check := func() {
		f.Helper()
		if diff := cmp.Diff(want, f.delivery(d.ID), cmpopts.EquateEmpty()); diff != "" {
			f.Errorf("delivery (-want +got):\n%s", diff)
		}
	}
	check()
	for i, state := range []store.DeliveryState{store.Pending, store.Pending, store.Held, store.Pending, store.Delivered} {
		f.clock.advance(time.Minute)
		o := f.outcome(d.ID, i+1, state)
		o.Counted = i != 1
		f.commit(o)
		for range 5 {
			f.put(f.event()) // the outcomes of one delivery stand in several segments
		}
		want.State, want.Attempts, want.Updated = state, i+1, o.Time
		if o.Counted {
			want.Counted++
		}
		want.NextAt, want.Status, want.Class, want.Reason = o.NextAt, o.Status, o.Class, o.Reason
		want.Outcomes = append(want.Outcomes, o)
		check()
	}
	f.reopen()
	check()
	page, err := f.Deliveries(f.Context(), store.DeliveryQuery{Event: e.At})
	if err != nil || len(page.Deliveries) != 1 {
		f.Fatalf("%d deliveries (%v), want 1", len(page.Deliveries), err)
	}
	want.Outcomes = nil
	if diff := cmp.Diff(want, page.Deliveries[0], cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("delivery in a list (-want +got):\n%s", diff)
	}
}
