package storetest

import (
	"fmt"
	"time"

	"github.com/grapnel/grapnel/internal/store"
)

func outcomeTests() []test {
	return []test{
		{"the last outcome decides, with two exceptions", Options{}, outcomeRule},
		{"a late failure does not bring a canceled delivery back", Options{}, cancelWins},
		{"a manual retry starts a final delivery anew", Options{SegmentBytes: 16 << 10}, retryRevives},
		{"outcomes of unknown deliveries change nothing", Options{}, outcomeOfNothing},
		{"an outcome may stand beside the event that it causes", Options{}, outcomeCausesEvent},
	}
}

func outcomeRule(f *fixture) {
	attempt := func(s store.DeliveryState) *store.Outcome { return &store.Outcome{State: s, Attempt: 1, Counted: true} }
	decision := func(s store.DeliveryState) *store.Outcome { return &store.Outcome{State: s} }
	retry := &store.Outcome{State: store.Pending, Reset: true, By: "api"}
	for i, tt := range []struct {
		outcomes []*store.Outcome
		want     store.DeliveryState
	}{
		{nil, store.Pending},
		{[]*store.Outcome{attempt(store.Dead), attempt(store.Delivered)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), attempt(store.Dead)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), attempt(store.Pending)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), decision(store.Canceled)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), decision(store.Expired)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), decision(store.Pending)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Delivered), retry}, store.Pending},
		{[]*store.Outcome{attempt(store.Delivered), retry, attempt(store.Dead)}, store.Dead},
		{[]*store.Outcome{decision(store.Canceled), attempt(store.Pending)}, store.Canceled},
		{[]*store.Outcome{decision(store.Canceled), attempt(store.Dead)}, store.Canceled},
		{[]*store.Outcome{decision(store.Canceled), attempt(store.Delivered)}, store.Delivered},
		{[]*store.Outcome{decision(store.Canceled), retry}, store.Pending},
		{[]*store.Outcome{decision(store.Canceled), retry, attempt(store.Dead)}, store.Dead},
		{[]*store.Outcome{attempt(store.Dead), retry, attempt(store.Delivered)}, store.Delivered},
		{[]*store.Outcome{attempt(store.Dead), attempt(store.Pending)}, store.Pending},
		{[]*store.Outcome{decision(store.Held), attempt(store.Delivered)}, store.Delivered},
		{[]*store.Outcome{decision(store.Interrupted), retry, decision(store.Canceled)}, store.Canceled},
	} {
		for _, apart := range []bool{false, true} {
			d := f.to("x")
			e := f.put(f.event(d))
			var batch []*store.Outcome
			for _, o := range tt.outcomes {
				c := *o
				c.Delivery, c.Time = d.ID, f.clock.Now()
				if apart {
					f.commit(&c)
					f.Stats()
					f.wantPendingOf(e)
					continue
				}
				batch = append(batch, &c)
			}
			if len(batch) > 0 {
				f.commit(batch...)
			}
			if rec := f.delivery(d.ID); rec.State != tt.want {
				f.Errorf("%d, apart: %v: delivery is %s, want %s", i, apart, rec.State, tt.want)
			}
			f.wantPendingOf(e)
			if rec := f.delivery(d.ID); !rec.State.Final() {
				f.commit(&store.Outcome{Delivery: d.ID, Time: f.clock.Now(), State: store.Canceled})
			}
			f.wantPending(0, 0)
		}
	}
}

// wantPendingOf checks that the event's deliveries, the only ones that may be
// pending, are counted as they are listed.
func (f *fixture) wantPendingOf(e *store.Event) {
	f.Helper()
	var pending, held int64
	for s, n := range f.statesOf(e) {
		if !s.Final() {
			pending += int64(n)
		}
		if s == store.Held {
			held += int64(n)
		}
	}
	f.wantPending(pending, held)
}

func cancelWins(f *fixture) {
	e := f.put(f.event(f.to("x")))
	id := e.Deliveries[0].ID
	f.wantClaims(f.claim(1, "x"), id)
	cancel := f.decision(id, store.Canceled)
	cancel.By = "cli"
	f.commit(cancel)
	f.wantPending(0, 0)
	f.commit(f.outcome(id, 1, store.Pending))
	f.wantState(id, store.Canceled)
	f.wantPending(0, 0)
	f.clock.advance(time.Hour)
	f.wantClaims(f.claim(1, "x"))
	f.reopen()
	f.wantClaims(f.claim(1, "x"))
	f.commit(f.outcome(id, 2, store.Delivered))
	f.wantState(id, store.Delivered)
	if rec := f.delivery(id); rec.Attempts != 2 || len(rec.Outcomes) != 3 {
		f.Errorf("%d attempts, %d outcomes, want 2 and 3", rec.Attempts, len(rec.Outcomes))
	}
}

func retryRevives(f *fixture) {
	for i, final := range []store.DeliveryState{store.Dead, store.Canceled, store.Delivered, store.Interrupted} {
		for _, again := range []bool{false, true} {
			d := f.to("x")
			d.Run = fmt.Sprint(i, again)
			f.put(f.event(d))
			f.wantClaims(f.claim(1, "x"), d.ID)
			f.commit(f.outcome(d.ID, 1, store.Pending))
			f.clock.advance(time.Hour)
			f.wantClaims(f.claim(1, "x"), d.ID)
			f.commit(f.outcome(d.ID, 2, final))
			f.fill(3)
			if again {
				f.reopen()
			}
			retry := f.decision(d.ID, store.Pending)
			retry.Reset, retry.By, retry.Deadline = true, "api", f.clock.Now().Add(48*time.Hour)
			f.commit(retry)
			rec := f.delivery(d.ID)
			f.wantPending(1, 0)
			if rec.State != store.Pending || rec.Attempts != 2 || rec.Counted != 0 || !rec.Deadline.Equal(retry.Deadline) {
				f.Errorf("after %s: %s, %d attempts, %d counted, deadline %v", final, rec.State, rec.Attempts, rec.Counted, rec.Deadline)
			}
			if again {
				f.reopen()
			}
			got := f.claim(1, "x")
			f.wantClaims(got, d.ID)
			if len(got) == 1 && (got[0].Attempts != 0 || got[0].Made != 2 || got[0].Last == nil || !got[0].Delivery.Deadline.Equal(retry.Deadline)) {
				f.Errorf("claimed %+v", got[0])
			}
			f.commit(f.outcome(d.ID, 3, store.Delivered))
			f.wantPending(0, 0)
		}
	}
}

func outcomeOfNothing(f *fixture) {
	e := f.put(f.event(f.to("x")))
	id := e.Deliveries[0].ID
	f.commit(f.outcome(store.DeliveryID{Event: id.Event, Key: id.Key + 1}, 1, store.Pending),
		f.outcome(store.DeliveryID{Event: id.Event + 1, Key: id.Key}, 1, store.Delivered),
		f.outcome(store.DeliveryID{Event: f.Horizon() + 1000, Key: 1}, 1, store.Held))
	f.wantPending(1, 0)
	f.reopen()
	f.wantPending(1, 0)
	f.wantClaims(f.claim(10, "x"), id)
	page, err := f.Deliveries(f.Context(), store.DeliveryQuery{})
	if err != nil || len(page.Deliveries) != 1 {
		f.Errorf("%d deliveries (%v), want 1", len(page.Deliveries), err)
	}
}

func outcomeCausesEvent(f *fixture) {
	e := f.put(f.event(f.to("x")))
	id := e.Deliveries[0].ID
	caused := f.event(f.to("dead-letters"))
	caused.Parent, caused.DedupeKey = e.At, "dead:"+id.String()
	o := f.outcome(id, 1, store.Dead)
	f.append(&store.Batch{Events: []*store.Event{caused}, Outcomes: []*store.Outcome{o}, Reserve: true})
	f.wantState(id, store.Dead)
	f.wantClaims(f.claim(10, "dead-letters"), caused.Deliveries[0].ID)
	// The same again is refused whole: the outcome does not count twice.
	twice := f.event()
	twice.DedupeKey = caused.DedupeKey
	late := f.outcome(id, 2, store.Pending)
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{twice}, Outcomes: []*store.Outcome{late}, Reserve: true})
	if _, ok := isDuplicate(err); !ok {
		f.Errorf("Append = %v, want a duplicate", err)
	}
	f.wantState(id, store.Dead)
}
