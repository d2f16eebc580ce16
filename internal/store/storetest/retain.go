package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func retainTests() []test {
	small := Options{SegmentBytes: 4096}
	return []test{
		{"nothing is dropped without a limit, nor what a limit keeps", small, retainKeeps},
		{"bytes drop the oldest first", small, retainBytes},
		{"age is measured against the newest record", small, retainAge},
		{"pending deliveries expire and are named", small, retainExpires},
		{"what was dropped is gone everywhere", small, retainGone},
		{"leased deliveries expire too, a late outcome changes nothing", small, retainLeased},
	}
}

func (f *fixture) fill(n int, deliveries ...string) []*store.Event {
	f.Helper()
	var all []*store.Event
	for range n {
		e := f.event()
		for _, d := range deliveries {
			e.Deliveries = append(e.Deliveries, f.to(d))
		}
		all = append(all, f.put(e))
	}
	return all
}

func (f *fixture) retain(policy store.Retention) store.Dropped {
	f.Helper()
	d, err := f.Retain(f.Context(), policy)
	if err != nil {
		f.Fatalf("Retain: %v", err)
	}
	return d
}

func retainKeeps(f *fixture) {
	f.fill(20)
	for _, p := range []store.Retention{{}, {Bytes: 1 << 40}, {Age: time.Hour}} {
		if d := f.retain(p); d.Segments != 0 || d.Bytes != 0 {
			f.Errorf("Retain(%+v) dropped %+v", p, d)
		}
	}
}

func retainBytes(f *fixture) {
	all := f.fill(40)
	d := f.retain(store.Retention{Bytes: 1})
	if d.Segments == 0 || d.Bytes == 0 || d.Before <= all[0].At {
		f.Fatalf("dropped %+v", d)
	}
	// Oldest first: what is left is a suffix.
	for _, e := range all {
		_, err := f.Event(f.Context(), e.At)
		if gone := fault.Is(err, fault.NotFound); gone != (e.At < d.Before) {
			f.Errorf("event %s: %v; everything below %s must be gone and nothing else", e.At, err, d.Before)
		}
	}
	f.put(f.event())
	f.reopen()
	for _, e := range all {
		_, err := f.Event(f.Context(), e.At)
		if gone := fault.Is(err, fault.NotFound); gone != (e.At < d.Before) {
			f.Errorf("after a reopen event %s: %v", e.At, err)
		}
	}
}

func retainAge(f *fixture) {
	old := f.fill(12)
	f.clock.advance(time.Hour)
	mid := f.fill(12)
	f.clock.advance(1000 * time.Hour)
	if d := f.retain(store.Retention{Age: 2 * time.Hour}); d.Segments != 0 {
		f.Errorf("the clock leapt and Retain dropped %+v", d)
	}
	f.clock.advance(-999*time.Hour - 30*time.Minute)
	f.fill(12)
	d := f.retain(store.Retention{Age: time.Hour})
	if d.Segments == 0 {
		f.Fatal("nothing was dropped")
	}
	if _, err := f.Event(f.Context(), old[0].At); !fault.Is(err, fault.NotFound) {
		f.Errorf("the oldest event: %v, want NotFound", err)
	}
	if _, err := f.Event(f.Context(), mid[len(mid)-1].At); err != nil {
		f.Errorf("an event younger than the limit: %v", err)
	}
}

func retainExpires(f *fixture) {
	all := f.fill(30, "x", "y")
	f.commit(f.outcome(all[0].Deliveries[0].ID, 1, store.Delivered))
	f.commit(f.decision(all[1].Deliveries[0].ID, store.Held))
	// Half of it goes, so that the outcomes of what expires are kept.
	st := f.Stats()
	d := f.retain(store.Retention{Bytes: (st.JournalBytes + st.IndexBytes) / 2})
	want := map[store.DeliveryID]store.ExpiredDelivery{}
	for _, e := range all {
		for _, v := range e.Deliveries {
			if e.At < d.Before && v.ID != all[0].Deliveries[0].ID {
				want[v.ID] = store.ExpiredDelivery{ID: v.ID, EventID: e.Envelope.ID, Rule: v.Rule, Target: v.Target, Destination: v.Destination}
			}
		}
	}
	got := map[store.DeliveryID]store.ExpiredDelivery{}
	for _, v := range d.Deliveries {
		got[v.ID] = v
	}
	if diff := cmp.Diff(want, got); diff != "" || d.Expired != int64(len(want)) {
		f.Errorf("%d expired, want %d (-want +got):\n%s", d.Expired, len(want), diff)
	}
	left := int64(60 - 1 - len(want))
	f.wantPending(left, 0)
	// The outcomes are in the journal, unless they were dropped in their turn.
	expired := 0
	if _, err := f.Scan(f.Context(), 0, func(r store.Record) error {
		if r.Outcome != nil && r.Outcome.State == store.Expired && r.Outcome.Reason != "" {
			expired++
		}
		return nil
	}); err != nil || expired == 0 || expired > len(want) {
		f.Errorf("the journal has %d expired outcomes (%v), want up to %d", expired, err, len(want))
	}
	f.reopen()
	f.wantPending(left, 0)
}

func retainGone(f *fixture) {
	keyed := f.put(f.keyed("k"))
	all := f.fill(30, "x")
	d := f.retain(store.Retention{Bytes: 1})
	f.put(f.keyed("k"))
	check := func() {
		f.Helper()
		if got, err := f.EventsByID(f.Context(), string(keyed.Envelope.ID)); err != nil || len(got) != 0 {
			f.Errorf("EventsByID = %v, %v, want nothing", got, err)
		}
		_, err := f.Delivery(f.Context(), all[0].Deliveries[0].ID)
		f.wantKind("Delivery of a dropped event", err, fault.NotFound)
		err = f.Append(f.Context(), &store.Batch{Dispatches: []*store.Dispatch{{Event: all[0].At, Deliveries: []*store.Delivery{f.to("y")}}}})
		f.wantKind("Append of a dispatch of a dropped event", err, fault.NotFound)
		page, err := f.Events(f.Context(), store.EventQuery{Limit: 1000})
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range page.Events {
			if e.At < d.Before {
				f.Errorf("event %s is listed, everything below %s is gone", e.At, d.Before)
			}
		}
		deliveries, err := f.Deliveries(f.Context(), store.DeliveryQuery{Limit: 1000})
		if err != nil {
			f.Fatal(err)
		}
		for _, v := range deliveries.Deliveries {
			if v.Event < d.Before {
				f.Errorf("delivery %s is listed, everything below %s is gone", v.ID, d.Before)
			}
		}
		first := store.Position(0)
		_, err = f.Scan(f.Context(), 0, func(r store.Record) error {
			if first == 0 {
				first = r.At
			}
			return nil
		})
		if err != nil || first < d.Before {
			f.Errorf("a scan begins at %s (%v), everything below %s is gone", first, err, d.Before)
		}
	}
	check()
	f.reopen()
	check()
	for _, c := range f.claim(1000, "x") {
		if c.Event.At < d.Before {
			f.Errorf("delivery %s of a dropped event is claimed", c.Delivery.ID)
		}
	}
}

func retainLeased(f *fixture) {
	all := f.fill(30, "x")
	claimed := f.claim(1000, "x")
	if len(claimed) != len(all) {
		f.Fatalf("claimed %d, want %d", len(claimed), len(all))
	}
	d := f.retain(store.Retention{Bytes: 1})
	left := int64(0)
	for _, e := range all {
		if e.At >= d.Before {
			left++
		}
	}
	f.wantPending(left, 0)
	f.commit(f.outcome(all[0].Deliveries[0].ID, 1, store.Pending), f.outcome(all[1].Deliveries[0].ID, 1, store.Delivered))
	f.wantPending(left, 0)
	f.reopen()
	f.wantPending(left, 0)
	f.clock.advance(time.Hour)
	if got := f.claim(1000, "x"); int64(len(got)) != left {
		f.Errorf("claimed %d, want %d", len(got), left)
	}
}
