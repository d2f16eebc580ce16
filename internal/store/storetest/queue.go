package storetest

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/internal/store"
)

func queueTests() []test {
	return []test{
		{"new deliveries are due at once and leased when handed out", Options{}, claimLeases},
		{"claimed batches are leased to their appender", Options{}, claimedBatch},
		{"a delivery waits for its first time", Options{}, claimNotBefore},
		{"an outcome reschedules, and next says when", Options{}, claimReschedules},
		{"rooms limit the number and the bytes", Options{}, claimRooms},
		{"destinations that are not named get nothing", Options{}, claimOnlyNamed},
		{"what fell due first is handed out first", Options{}, claimOrder},
		{"overdue deliveries are handed out whatever their destination", Options{}, claimOverdue},
		{"leases end with the process", Options{}, claimAfterReopen},
		{"wake tells of what can be claimed sooner", Options{}, wakeTells},
		{"held deliveries are counted by aim and reason", Options{}, heldGroups},
		{"a sync delivery is interrupted at the next start", Options{}, syncInterrupted},
		{"a long backlog is handed out completely", Options{SegmentBytes: 256 << 10}, claimBacklog},
		{"figures of what is pending are exact", Options{}, pendingFigures},
		{"a decision of a person does not end a lease", Options{}, personKeepsLease},
	}
}

func claimLeases(f *fixture) {
	e := f.put(f.event(f.to("x"), f.to("y")))
	x, y := e.Deliveries[0], e.Deliveries[1]
	got := f.claim(10, "x")
	f.wantClaims(got, x.ID)
	want := &store.Claimed{Delivery: *x, Event: asRead(e), DueAt: e.Received}
	if diff := cmp.Diff(want, got[0], cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("claimed (-want +got):\n%s", diff)
	}
	f.wantClaims(f.claim(10, "x"))
	f.Release(x.ID)
	f.wantClaims(f.claim(10, "x", "y"), x.ID, y.ID)
	o := f.outcome(x.ID, 1, store.Pending)
	f.commit(o)
	f.wantClaims(f.claim(10, "x", "y"))
	f.clock.advance(2 * time.Minute)
	got = f.claim(10, "x", "y")
	f.wantClaims(got, x.ID)
	want = &store.Claimed{Delivery: *x, Event: asRead(e), DueAt: o.NextAt, Attempts: 1, Made: 1, Last: o}
	if diff := cmp.Diff(want, got[0], cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("claimed again (-want +got):\n%s", diff)
	}
	f.commit(f.outcome(x.ID, 2, store.Delivered), f.outcome(y.ID, 1, store.Dead))
	f.clock.advance(time.Hour)
	f.wantClaims(f.claim(10, "x", "y"))
	f.Release(x.ID, y.ID, store.DeliveryID{Event: 1, Key: 1})
	f.wantClaims(f.claim(10, "x", "y"))
}

func claimedBatch(f *fixture) {
	e := f.event(f.to("x"))
	f.append(&store.Batch{Events: []*store.Event{e}, Claimed: true})
	id := e.Deliveries[0].ID
	f.wantClaims(f.claim(10, "x"))
	f.wantPending(1, 0)
	f.Release(id)
	f.wantClaims(f.claim(10, "x"), id)
	second := f.event(f.to("x"))
	f.append(&store.Batch{Events: []*store.Event{second}, Claimed: true})
	f.commit(f.outcome(second.Deliveries[0].ID, 1, store.Pending))
	f.wantClaims(f.claim(10, "x"))
	f.clock.advance(time.Hour)
	f.wantClaims(f.claim(10, "x"), second.Deliveries[0].ID)
}

func claimNotBefore(f *fixture) {
	d := f.to("x")
	d.NotBefore = f.clock.Now().Add(10 * time.Second)
	f.put(f.event(d))
	got, next := f.claimNext(10, "x")
	f.wantClaims(got)
	if !next.Equal(d.NotBefore) {
		f.Errorf("next is %v, want %v", next, d.NotBefore)
	}
	f.clock.advance(10 * time.Second)
	f.wantClaims(f.claim(10, "x"), d.ID)
	_, next = f.claimNext(10, "x")
	if !next.IsZero() {
		f.Errorf("next is %v, want none", next)
	}
}

func claimReschedules(f *fixture) {
	e := f.put(f.event(f.to("x")))
	id := e.Deliveries[0].ID
	for i := range 5 {
		f.wantClaims(f.claim(1, "x"), id)
		o := f.outcome(id, i+1, store.Pending)
		o.NextAt = f.clock.Now().Add(time.Duration(i+1) * time.Minute)
		o.Deadline = o.NextAt.Add(time.Hour)
		f.commit(o)
		got, next := f.claimNext(1, "x")
		f.wantClaims(got)
		if !next.Equal(o.NextAt) {
			f.Errorf("next is %v, want %v", next, o.NextAt)
		}
		if rec := f.delivery(id); !rec.Deadline.Equal(o.Deadline) || !rec.NextAt.Equal(o.NextAt) {
			f.Errorf("deadline %v, next %v, want %v, %v", rec.Deadline, rec.NextAt, o.Deadline, o.NextAt)
		}
		if i == 2 {
			f.reopen()
		}
		f.clock.advance(time.Duration(i+1) * time.Minute)
	}
}

func claimRooms(f *fixture) {
	big := func(n int) *store.Event {
		e := f.event(f.to("x"))
		e.DetailIsBody = false
		e.Raw.Body = bytes.Repeat([]byte("x"), n)
		return f.put(e)
	}
	var ids []store.DeliveryID
	for _, n := range []int{5000, 1000, 1000, 1000, 10} {
		ids = append(ids, big(n).Deliveries[0].ID)
		f.clock.advance(time.Second)
	}
	room := func(count int, size int64) []*store.Claimed {
		got, next, err := f.Claim(f.Context(), store.ClaimRequest{
			Now: f.clock.Now(), Rooms: []store.Room{{Destination: "x", Count: count, Bytes: size}},
		})
		if err != nil {
			f.Fatal(err)
		}
		if len(got) < len(ids) && next.IsZero() {
			f.Errorf("next is unknown though something is due")
		}
		return got
	}
	f.wantClaims(room(3, 100), ids[0])
	f.wantClaims(room(3, 2500), ids[1], ids[2])
	f.wantClaims(room(1, 2500), ids[3])
	f.Release(ids[3])
	f.wantClaims(room(0, 2500))
	got, _, err := f.Claim(f.Context(), store.ClaimRequest{
		Now: f.clock.Now(), Rooms: []store.Room{{Destination: "x", Count: 10, Bytes: 1010}, {Destination: "y", Count: 10}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.wantClaims(got, ids[3], ids[4])
}

func claimOnlyNamed(f *fixture) {
	e := f.put(f.event(f.to("x"), f.to("y")))
	f.wantClaims(f.claim(10))
	f.wantClaims(f.claim(10, "z"))
	f.wantClaims(f.claim(10, "y"), e.Deliveries[1].ID)
	got, next := f.claimNext(10, "z")
	f.wantClaims(got)
	if !next.IsZero() {
		f.Errorf("next is %v for a destination without deliveries", next)
	}
}

func claimOrder(f *fixture) {
	var ids []store.DeliveryID
	for i := range 20 {
		d := f.to("x")
		d.NotBefore = f.clock.Now().Add(time.Duration(20-i) * time.Second)
		f.put(f.event(d))
		ids = append(ids, d.ID)
	}
	slices.Reverse(ids)
	f.clock.advance(time.Minute)
	f.wantClaims(f.claim(5, "x"), ids[:5]...)
	f.reopen()
	f.wantClaims(f.claim(20, "x"), ids...)
}

func claimOverdue(f *fixture) {
	pending, held, later, leased := f.to("x"), f.to("y"), f.to("z"), f.to("w")
	pending.Deadline, held.Deadline = f.clock.Now().Add(time.Minute), f.clock.Now().Add(2*time.Minute)
	leased.Deadline = pending.Deadline
	later.Deadline = f.clock.Now().Add(time.Hour)
	held.Hold = "destination_disabled"
	f.put(f.event(pending, held, later, leased))
	f.wantClaims(f.claim(1, "w"), leased.ID)
	f.commit(f.outcome(pending.ID, 1, store.Pending)) // due again in a minute
	overdue := func(n int) ([]*store.Claimed, time.Time) {
		got, next, err := f.Claim(f.Context(), store.ClaimRequest{Now: f.clock.Now(), Overdue: n})
		if err != nil {
			f.Fatal(err)
		}
		return got, next
	}
	got, next := overdue(10)
	f.wantClaims(got)
	if !next.Equal(pending.Deadline) {
		f.Errorf("next is %v, want the first deadline %v", next, pending.Deadline)
	}
	f.clock.advance(5 * time.Minute)
	got, _ = overdue(1)
	f.wantClaims(got, pending.ID)
	f.Release(pending.ID)
	f.reopen()
	got, _ = overdue(10)
	ids := []store.DeliveryID{got[0].Delivery.ID}
	if len(got) != 3 {
		f.Fatalf("%d are overdue, want 3: the leases are gone", len(got))
	}
	for _, c := range got[1:] {
		ids = append(ids, c.Delivery.ID)
	}
	if !slices.Contains(ids, pending.ID) || !slices.Contains(ids, held.ID) || !slices.Contains(ids, leased.ID) {
		f.Errorf("overdue are %v", ids)
	}
	for _, c := range got {
		if c.Held != (c.Delivery.ID == held.ID) {
			f.Errorf("delivery %s: held is %v", c.Delivery.ID, c.Held)
		}
	}
	f.commit(f.decision(held.ID, store.Dead))
	f.wantPending(3, 0)
	got, _ = overdue(10)
	f.wantClaims(got)
}

func claimAfterReopen(f *fixture) {
	e := f.put(f.event(f.to("x"), f.to("y"), f.to("z")))
	f.claim(10, "x", "y", "z")
	f.commit(f.outcome(e.Deliveries[2].ID, 1, store.Delivered))
	f.reopen()
	f.wantClaims(f.claim(10, "x", "y", "z"), e.Deliveries[0].ID, e.Deliveries[1].ID)
}

// woken waits until Wake says something; it fails the test if it never does.
func (f *fixture) woken() {
	f.Helper()
	select {
	case <-f.Wake():
	case <-time.After(10 * time.Second):
		f.Fatal("nobody is woken")
	}
}

func wakeTells(f *fixture) {
	quiet := func() {
		f.Helper()
		f.claim(0, "x")
		for len(f.Wake()) > 0 {
			<-f.Wake()
		}
	}
	quiet()
	e := f.put(f.event(f.to("x")))
	f.woken()
	id := e.Deliveries[0].ID
	f.wantClaims(f.claim(1, "x"), id)
	quiet()
	f.Release(id)
	f.woken()
	f.wantClaims(f.claim(1, "x"), id)
	quiet()
	f.commit(f.outcome(id, 1, store.Pending))
	f.woken()
	retry := f.decision(id, store.Pending)
	retry.Reset, retry.By = true, "api"
	quiet()
	f.commit(retry)
	f.woken()
	f.wantClaims(f.claim(1, "x"), id)
}

func heldGroups(f *fixture) {
	a, b, c, d := f.to("x"), f.to("x"), f.to("y"), f.to("y")
	a.Hold, b.Hold, c.Hold = "destination_disabled", "destination_disabled", "target_removed"
	b.Run, d.Run = "r", "r"
	e := f.put(f.event(a, b, c, d))
	o := f.decision(e.Deliveries[3].ID, store.Held)
	o.Class = "destination_removed"
	f.commit(o)
	want := []store.HeldGroup{
		{Rule: "rule-x", Target: "t1", Destination: "x", Reason: "destination_disabled", Count: 2},
		{Rule: "rule-y", Target: "t1", Destination: "y", Reason: "destination_removed", Count: 1},
		{Rule: "rule-y", Target: "t1", Destination: "y", Reason: "target_removed", Count: 1},
	}
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
		}
		got, err := f.Held(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("Held (-want +got):\n%s", diff)
		}
		f.wantPending(4, 4)
		f.wantClaims(f.claim(10, "x", "y"))
	}
	release := f.decision(a.ID, store.Pending)
	f.commit(release)
	f.wantClaims(f.claim(10, "x", "y"), a.ID)
	f.wantPending(4, 3)
	rec := f.delivery(c.ID)
	if rec.State != store.Held || rec.Hold != "target_removed" || rec.Class != "target_removed" {
		f.Errorf("held delivery is %+v", rec)
	}
}

func syncInterrupted(f *fixture) {
	waiting, answered, other := f.to("x"), f.to("y"), f.to("z")
	waiting.Mode, answered.Mode = store.Sync, store.Sync
	e := f.event(waiting, answered, other)
	f.append(&store.Batch{Events: []*store.Event{e}, Claimed: true})
	f.commit(f.outcome(answered.ID, 1, store.Delivered))
	f.reopen()
	f.wantClaims(f.claim(10, "x", "y", "z"), other.ID)
	for {
		changed := f.Changed()
		state := f.delivery(waiting.ID).State
		if state == store.Interrupted {
			break
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			f.Fatalf("the sync delivery is %s, want interrupted", state)
		}
	}
	f.wantState(answered.ID, store.Delivered)
	f.wantPending(1, 0)
	again := f.event(f.to("x"))
	again.Deliveries[0].Mode = store.Sync
	f.append(&store.Batch{Events: []*store.Event{again}, Claimed: true})
	f.wantState(again.Deliveries[0].ID, store.Pending)
}

func claimBacklog(f *fixture) {
	const n = 2000 // more than any store may want to keep in memory
	batch := &store.Batch{}
	for i := range n {
		e := f.event(f.to("x"))
		if i%5 == 0 {
			e.Deliveries[0].Destination = "y"
		}
		batch.Events = append(batch.Events, e)
		if len(batch.Events) == 500 {
			f.append(batch)
			batch = &store.Batch{}
		}
	}
	seen := map[store.DeliveryID]bool{}
	for round := 0; ; round++ {
		if round == 5 {
			f.reopen()
			clear(seen)
		}
		got := f.claim(300, "x", "y")
		if len(got) == 0 {
			break
		}
		var outcomes []*store.Outcome
		for i, c := range got {
			if seen[c.Delivery.ID] {
				f.Fatalf("delivery %s is handed out twice", c.Delivery.ID)
			}
			seen[c.Delivery.ID] = true
			if round >= 5 && i%2 == 0 {
				outcomes = append(outcomes, f.outcome(c.Delivery.ID, 1, store.Delivered))
			}
		}
		if len(outcomes) > 0 {
			f.commit(outcomes...)
		}
	}
	if len(seen) != n {
		f.Errorf("%d were handed out, want %d", len(seen), n)
	}
	f.reopen()
	left := 0
	for {
		got := f.claim(1000, "x", "y")
		if len(got) == 0 {
			break
		}
		left += len(got)
	}
	st := f.Stats()
	if int64(left) != st.Pending {
		f.Errorf("%d are left to claim, %d are pending", left, st.Pending)
	}
}

func pendingFigures(f *fixture) {
	if st := f.Stats(); st.Pending != 0 || !st.OldestPending.IsZero() {
		f.Errorf("an empty store has %d pending since %v", st.Pending, st.OldestPending)
	}
	first := f.put(f.event(f.to("x")))
	f.clock.advance(time.Minute)
	second := f.put(f.event(f.to("x"), f.to("y")))
	check := func(pending int64, oldest time.Time) {
		f.Helper()
		if st := f.Stats(); st.Pending != pending || !st.OldestPending.Equal(oldest) {
			f.Errorf("pending %d since %v, want %d since %v", st.Pending, st.OldestPending, pending, oldest)
		}
	}
	check(3, first.Received)
	f.reopen()
	check(3, first.Received)
	f.claim(10, "x")
	check(3, first.Received)
	f.commit(f.outcome(first.Deliveries[0].ID, 1, store.Delivered))
	check(2, second.Received)
	f.reopen()
	check(2, second.Received)
	f.commit(f.decision(second.Deliveries[0].ID, store.Canceled), f.decision(second.Deliveries[1].ID, store.Canceled))
	check(0, time.Time{})
}

func personKeepsLease(f *fixture) {
	e := f.put(f.event(f.to("x"), f.to("y")))
	x, y := e.Deliveries[0].ID, e.Deliveries[1].ID
	f.wantClaims(f.claim(10, "x", "y"), x, y)
	retry, cancel := f.decision(x, store.Pending), f.decision(y, store.Canceled)
	retry.By, retry.Reset, cancel.By = "api", true, "api"
	f.commit(retry, cancel)
	f.wantClaims(f.claim(10, "x", "y"))
	f.commit(f.outcome(x, 1, store.Pending))
	f.clock.advance(time.Hour)
	f.wantClaims(f.claim(10, "x", "y"), x)
}
