package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Model runs random histories against the store and a naive model of it in
// memory, with reopening in between. harm, if not nil, is called with the
// directory of a closed store and damages what the store must be able to make
// anew.
func Model(t *testing.T, open Open, harm func(rt *rapid.T, dir string)) {
	t.Helper()
	root := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "model") //nolint:usetesting // one for each check, removed with it
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{T: rt, open: open, harm: harm, clock: &clock{now: began}, byID: map[store.DeliveryID]*modelDelivery{}}
		m.options = Options{Dir: dir, Now: m.clock.Now, SegmentBytes: 6 << 10}
		m.start()
		defer func() {
			if err := errors.Join(m.s.Close(), os.RemoveAll(dir)); err != nil {
				rt.Error(err)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"append":   m.append,
			"dispatch": m.dispatch,
			"outcome":  m.outcome,
			"finish":   m.finish,
			"claim":    m.claim,
			"overdue":  m.overdue,
			"release":  m.release,
			"advance":  m.advance,
			"reopen":   m.reopen,
			"retain":   m.retain,
			"list":     m.list,
			"":         m.check,
		})
	})
}

// model is the naive store: slices, and a loop over all of them for each question.
type model struct {
	*rapid.T
	open    Open
	harm    func(*rapid.T, string)
	options Options
	clock   *clock
	s       store.Store
	made    int

	events     []*store.Event
	deliveries []*modelDelivery
	byID       map[store.DeliveryID]*modelDelivery
}

type modelDelivery struct {
	store.DeliveryRecord
	leased bool
}

var ctx = context.Background

var (
	modelDestinations = []string{"x", "y", "z"}
	modelFinals       = []store.DeliveryState{store.Delivered, store.Dead, store.Canceled, store.Interrupted}
)

func (m *model) start() {
	s, err := m.open(ctx(), m.options)
	if err != nil {
		m.Fatalf("opening: %v", err)
	}
	m.s = s
}

func (m *model) newDeliveries(t *rapid.T, run string, sync bool) []*store.Delivery {
	var all []*store.Delivery
	for i := range rapid.IntRange(0, 3).Draw(t, "deliveries") {
		d := &store.Delivery{
			Rule: "r", Target: strconv.Itoa(i), Run: run, Origin: store.OriginMatch, Mode: store.Async,
			Destination: rapid.SampledFrom(modelDestinations).Draw(t, "destination"),
			Deadline:    m.clock.Now().Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "deadline")) * time.Minute),
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			d.Hold = "destination_disabled"
		case 1:
			d.NotBefore = m.clock.Now().Add(5 * time.Minute)
		case 2:
			if sync {
				d.Mode = store.Sync
			}
		}
		all = append(all, d)
	}
	return all
}

func (m *model) newEvent(t *rapid.T, claimed bool) *store.Event {
	m.made++
	now := m.clock.Now()
	e := &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(now), Source: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source"), DetailType: "t",
			Time: now.Truncate(time.Second), Detail: fmt.Appendf(nil, `{"n":%d}`, m.made),
		},
		Received: now, Bus: "default",
		Deliveries: m.newDeliveries(t, "", claimed),
	}
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		e.DedupeKey = fmt.Sprint("k", rapid.IntRange(0, 30).Draw(t, "key"))
	}
	return e
}

// holder returns the event that holds a dedupe key now.
func (m *model) holder(key string) *store.Event {
	for _, e := range slices.Backward(m.events) {
		if key != "" && e.DedupeKey == key && m.clock.Now().Sub(e.Received) < 24*time.Hour {
			return e
		}
	}
	return nil
}

func (m *model) append(t *rapid.T) {
	b := &store.Batch{Claimed: rapid.Bool().Draw(t, "claimed")}
	var dup *store.Event
	keys := map[string]bool{}
	twice := false
	for range rapid.IntRange(1, 3).Draw(t, "events") {
		e := m.newEvent(t, b.Claimed)
		if dup == nil {
			dup = m.holder(e.DedupeKey)
		}
		twice = twice || e.DedupeKey != "" && keys[e.DedupeKey]
		keys[e.DedupeKey] = true
		b.Events = append(b.Events, e)
	}
	err := m.s.Append(ctx(), b)
	switch found, isDup := isDuplicate(err); {
	case twice:
		if !fault.Is(err, fault.Invalid) {
			t.Fatalf("Append of a key twice = %v", err)
		}
	case dup != nil:
		if !isDup || found.First != dup.At {
			t.Fatalf("Append = %v, want a duplicate of %s", err, dup.At)
		}
	case err != nil:
		t.Fatalf("Append: %v", err)
	default:
		for _, e := range b.Events {
			m.events = append(m.events, e)
			m.add(e, e.Deliveries, b.Claimed, false)
		}
	}
}

func (m *model) add(e *store.Event, all []*store.Delivery, claimed, dispatched bool) {
	for _, d := range all {
		rec := &modelDelivery{leased: claimed}
		rec.Delivery, rec.EventID, rec.State, rec.Updated = *d, e.Envelope.ID, store.Pending, e.Received
		if dispatched {
			rec.Updated = d.NotBefore
		}
		rec.NextAt = d.NotBefore
		if rec.NextAt.IsZero() {
			rec.NextAt = e.Received
		}
		if d.Hold != "" {
			rec.State, rec.Class, rec.NextAt = store.Held, d.Hold, time.Time{}
		}
		m.deliveries = append(m.deliveries, rec)
		m.byID[d.ID] = rec
	}
}

func (m *model) dispatch(t *rapid.T) {
	if len(m.events) == 0 {
		t.Skip("no events")
	}
	e := rapid.SampledFrom(m.events).Draw(t, "event")
	run := fmt.Sprint("run", rapid.IntRange(0, 2).Draw(t, "run"))
	d := &store.Dispatch{Event: e.At, Deliveries: m.newDeliveries(t, run, false)}
	claimed := rapid.Bool().Draw(t, "claimed")
	var fresh []*store.Delivery
	for _, v := range d.Deliveries {
		if m.byID[store.NewDeliveryID(e.At, e.Envelope.ID, v.Rule, v.Target, v.Run)] == nil {
			fresh = append(fresh, v)
		}
	}
	if err := m.s.Append(ctx(), &store.Batch{Dispatches: []*store.Dispatch{d}, Claimed: claimed}); err != nil {
		t.Fatalf("Append of a dispatch: %v", err)
	}
	if !slices.Equal(fresh, d.Deliveries) {
		t.Fatalf("%d deliveries are left in the dispatch, want %d", len(d.Deliveries), len(fresh))
	}
	m.add(e, fresh, claimed, true)
}

// apply is the rule of store.Outcome, spelled once more.
func (m *model) apply(o *store.Outcome) {
	d := m.byID[o.Delivery]
	if d == nil {
		return
	}
	d.Outcomes = append(d.Outcomes, o)
	if o.By == "" {
		d.leased = false
	}
	if o.Reset {
		d.Counted = 0
	}
	if o.Attempt > 0 {
		d.Attempts = max(d.Attempts, o.Attempt)
		if o.Counted {
			d.Counted++
		}
	}
	manualRetry := o.Attempt == 0 && o.Reset
	if d.State == store.Delivered && !manualRetry || d.State == store.Canceled && o.Attempt > 0 && o.State != store.Delivered {
		return
	}
	d.State, d.Updated, d.Status, d.Class, d.Reason = o.State, o.Time, o.Status, o.Class, o.Reason
	d.NextAt = time.Time{}
	if o.State == store.Pending {
		d.NextAt = o.NextAt
		if d.NextAt.IsZero() {
			d.NextAt = o.Time
		}
	}
	if !o.Deadline.IsZero() {
		d.Deadline = o.Deadline
	}
	if o.State.Final() {
		d.leased = false
	}
}

func (m *model) commit(t *rapid.T, outcomes ...*store.Outcome) {
	if err := m.s.Append(ctx(), &store.Batch{Outcomes: outcomes, Reserve: true}); err != nil {
		t.Fatalf("Append of outcomes: %v", err)
	}
	for _, o := range outcomes {
		m.apply(o)
	}
}

func (m *model) outcome(t *rapid.T) {
	if len(m.deliveries) == 0 {
		t.Skip("no deliveries")
	}
	var batch []*store.Outcome
	for range rapid.IntRange(1, 4).Draw(t, "outcomes") {
		d := rapid.SampledFrom(m.deliveries).Draw(t, "delivery")
		batch = append(batch, m.newOutcome(t, d))
	}
	m.commit(t, batch...)
}

func (m *model) newOutcome(t *rapid.T, d *modelDelivery) *store.Outcome {
	o := &store.Outcome{Delivery: d.ID, Time: m.clock.Now(), State: store.Pending, Generation: "g"}
	switch rapid.IntRange(0, 7).Draw(t, "outcome") {
	case 0, 1, 2:
		o.Attempt, o.Counted = d.Attempts+1, rapid.Bool().Draw(t, "counted")
		o.State = rapid.SampledFrom([]store.DeliveryState{store.Pending, store.Delivered, store.Dead}).Draw(t, "state")
		o.Status, o.Class, o.Reason = 503, "server_error", "the destination answered 503"
		if o.State == store.Pending {
			o.NextAt = m.clock.Now().Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "next")) * time.Second)
		}
	case 3:
		o.Reset, o.By, o.Deadline = true, "api", m.clock.Now().Add(time.Hour)
	case 4:
		o.State, o.By, o.Reason = store.Canceled, "api", "canceled"
	case 5:
		o.State, o.Class = store.Held, "target_removed"
	case 6:
		o.NextAt = m.clock.Now().Add(time.Minute)
	default:
		o.State = rapid.SampledFrom(modelFinals).Draw(t, "final")
	}
	return o
}

// finish ends what is leased, as an engine does.
func (m *model) finish(t *rapid.T) {
	var batch []*store.Outcome
	for _, d := range m.deliveries {
		if d.leased {
			batch = append(batch, &store.Outcome{
				Delivery: d.ID, Time: m.clock.Now(), State: store.Delivered, Attempt: d.Attempts + 1, Counted: true, Status: 200,
			})
		}
	}
	if len(batch) == 0 {
		t.Skip("nothing is leased")
	}
	m.commit(t, batch...)
}

func (m *model) claim(t *rapid.T) {
	req := store.ClaimRequest{Now: m.clock.Now()}
	for _, name := range modelDestinations {
		if rapid.Bool().Draw(t, "ask") {
			req.Rooms = append(req.Rooms, store.Room{Destination: name, Count: rapid.IntRange(1, 5).Draw(t, "count"), Bytes: 1 << 30})
		}
	}
	got, next, err := m.s.Claim(ctx(), req)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	for _, room := range req.Rooms {
		m.checkRoom(t, room, got)
	}
	for _, c := range got {
		m.byID[c.Delivery.ID].leased = true
	}
	m.checkNext(t, &req, next)
}

func (d *modelDelivery) claimable() bool { return d.State == store.Pending && !d.leased }

func (m *model) checkRoom(t *rapid.T, room store.Room, got []*store.Claimed) {
	now := m.clock.Now()
	due := 0
	taken := map[store.DeliveryID]bool{}
	var last time.Time
	for _, c := range got {
		if c.Delivery.Destination != room.Destination {
			continue
		}
		d := m.byID[c.Delivery.ID]
		m.checkClaimed(t, c, d)
		if d == nil || !d.claimable() || taken[d.ID] || d.NextAt.After(now) || !c.DueAt.Equal(d.NextAt) {
			t.Fatalf("delivery %s is handed out, the model has %+v", c.Delivery.ID, d)
		}
		if c.DueAt.Before(last) {
			t.Fatalf("delivery %s, due at %v, is handed out behind one that is due at %v", c.Delivery.ID, c.DueAt, last)
		}
		last = c.DueAt
		taken[d.ID] = true
	}
	for _, d := range m.deliveries {
		if d.Destination != room.Destination || !d.claimable() || d.NextAt.After(now) {
			continue
		}
		due++
		if !taken[d.ID] && len(taken) > 0 && d.NextAt.Before(last) {
			t.Fatalf("delivery %s, due at %v, is passed over for one that is due at %v", d.ID, d.NextAt, last)
		}
	}
	if want := min(room.Count, due); len(taken) != want {
		t.Fatalf("%d deliveries of %s are handed out, want %d", len(taken), room.Destination, want)
	}
}

func (m *model) checkClaimed(t *rapid.T, c *store.Claimed, d *modelDelivery) {
	if d == nil {
		t.Fatalf("delivery %s is unknown", c.Delivery.ID)
	}
	var last *store.Outcome
	if len(d.Outcomes) > 0 {
		last = d.Outcomes[len(d.Outcomes)-1]
	}
	want := &store.Claimed{
		Delivery: d.Delivery, Attempts: d.Counted, Made: d.Attempts, DueAt: c.DueAt, Last: last, Held: d.State == store.Held, Event: c.Event,
	}
	if diff := gocmp.Diff(want, c, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("claimed (-want +got):\n%s", diff)
	}
	if c.Event.Envelope.ID != d.EventID {
		t.Fatalf("event %s is handed out with delivery %s of %s", c.Event.Envelope.ID, d.ID, d.EventID)
	}
}

func (m *model) checkNext(t *rapid.T, req *store.ClaimRequest, next time.Time) {
	var want time.Time
	for _, d := range m.deliveries {
		asked := slices.ContainsFunc(req.Rooms, func(r store.Room) bool { return r.Destination == d.Destination })
		if !asked || !d.claimable() {
			continue
		}
		if want.IsZero() || d.NextAt.Before(want) {
			want = d.NextAt
		}
	}
	if !next.Equal(want) {
		t.Fatalf("Claim says the next is due at %v, want %v", next, want)
	}
}

func (m *model) overdue(t *rapid.T) {
	n := rapid.IntRange(1, 5).Draw(t, "overdue")
	got, _, err := m.s.Claim(ctx(), store.ClaimRequest{Now: m.clock.Now(), Overdue: n})
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	all := 0
	for _, d := range m.deliveries {
		if !d.State.Final() && !d.leased && !d.Deadline.After(m.clock.Now()) {
			all++
		}
	}
	if want := min(n, all); len(got) != want {
		t.Fatalf("%d overdue deliveries are handed out, want %d", len(got), want)
	}
	for _, c := range got {
		d := m.byID[c.Delivery.ID]
		m.checkClaimed(t, c, d)
		if d.State.Final() || d.leased || d.Deadline.After(m.clock.Now()) {
			t.Fatalf("delivery %s is handed out as overdue, the model has %+v", d.ID, d)
		}
		d.leased = true
	}
}

func (m *model) release(t *rapid.T) {
	var ids []store.DeliveryID
	for _, d := range m.deliveries {
		if rapid.Bool().Draw(t, "release") {
			d.leased = false
			ids = append(ids, d.ID)
		}
	}
	m.s.Release(ids...)
}

func (m *model) advance(t *rapid.T) {
	m.clock.advance(time.Duration(rapid.IntRange(1, 3600).Draw(t, "seconds")) * time.Second)
	if rapid.IntRange(0, 9).Draw(t, "day") == 0 {
		m.clock.advance(24 * time.Hour)
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if m.harm != nil && rapid.Bool().Draw(t, "harm") {
		m.harm(t, m.options.Dir)
	}
	m.start()
	for _, d := range m.deliveries {
		d.leased = false
		if d.Mode != store.Sync || d.State.Final() {
			continue
		}
		rec := m.interrupted(t, d)
		m.apply(rec.Outcomes[len(rec.Outcomes)-1])
	}
}

// interrupted waits until a sync delivery that was found at the start has ended.
func (m *model) interrupted(t *rapid.T, d *modelDelivery) *store.DeliveryRecord {
	for {
		changed := m.s.Changed()
		rec, err := m.s.Delivery(ctx(), d.ID)
		switch {
		case err != nil:
			t.Fatalf("Delivery: %v", err)
		case rec.State == store.Interrupted:
			return rec
		case len(rec.Outcomes) > len(d.Outcomes):
			t.Fatalf("sync delivery %s is %s after a reopen", d.ID, rec.State)
		}
		<-changed
	}
}

func (m *model) retain(t *rapid.T) {
	st := m.s.Stats()
	keep := int64(float64(st.JournalBytes+st.IndexBytes) * rapid.Float64Range(0.3, 1).Draw(t, "keep"))
	dropped, err := m.s.Retain(ctx(), store.Retention{Bytes: max(keep, 1)})
	if err != nil {
		t.Fatalf("Retain: %v", err)
	}
	expired := int64(0)
	m.events = slices.DeleteFunc(m.events, func(e *store.Event) bool { return e.At < dropped.Before })
	m.deliveries = slices.DeleteFunc(m.deliveries, func(d *modelDelivery) bool {
		if d.Event >= dropped.Before {
			return false
		}
		if !d.State.Final() {
			expired++
		}
		delete(m.byID, d.ID)
		return true
	})
	if expired != dropped.Expired {
		t.Fatalf("%d deliveries expired, want %d", dropped.Expired, expired)
	}
}

// list compares one random query of events and one of deliveries.
func (m *model) list(t *rapid.T) {
	eq := store.EventQuery{
		Source: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "source"), Limit: 1000, Headers: true,
		State: store.DeliveryState(rapid.IntRange(0, int(store.Interrupted)).Draw(t, "state")), Ascending: true,
	}
	eq.Unmatched = eq.State == 0 && rapid.Bool().Draw(t, "unmatched")
	var want, got []store.Position
	for _, e := range m.events {
		states := map[store.DeliveryState]int{}
		for _, d := range m.deliveries {
			if d.Event == e.At {
				states[d.State]++
			}
		}
		if eventMatches(e, &eq, states) {
			want = append(want, e.At)
		}
	}
	page, err := m.s.Events(ctx(), eq)
	if err != nil {
		t.Fatalf("Events: %v", err)
	}
	for _, e := range page.Events {
		got = append(got, e.At)
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("Events(%+v) (-want +got):\n%s", eq, diff)
	}
	dq := store.DeliveryQuery{
		State: eq.State, Destination: rapid.SampledFrom(append(modelDestinations, "")).Draw(t, "destination"), Limit: 1000,
	}
	m.compareDeliveries(t, dq)
}

func (m *model) compareDeliveries(t *rapid.T, q store.DeliveryQuery) {
	var want []*store.DeliveryRecord
	for _, d := range m.deliveries {
		if (q.State == 0 || d.State == q.State) && (q.Destination == "" || d.Destination == q.Destination) {
			rec := d.DeliveryRecord
			rec.Outcomes = nil
			want = append(want, &rec)
		}
	}
	page, err := m.s.Deliveries(ctx(), q)
	if err != nil {
		t.Fatalf("Deliveries: %v", err)
	}
	byID := func(a, b *store.DeliveryRecord) int {
		return cmp.Or(cmp.Compare(a.ID.Event, b.ID.Event), cmp.Compare(a.ID.Key, b.ID.Key))
	}
	slices.SortFunc(want, byID)
	slices.SortFunc(page.Deliveries, byID)
	if diff := gocmp.Diff(want, page.Deliveries, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("Deliveries(%+v) (-want +got):\n%s", q, diff)
	}
}

// check holds after every step.
func (m *model) check(t *rapid.T) {
	var pending, held int64
	groups := map[store.HeldGroup]int64{}
	for _, d := range m.deliveries {
		if !d.State.Final() {
			pending++
		}
		if d.State == store.Held {
			held++
			groups[store.HeldGroup{Rule: d.Rule, Target: d.Target, Destination: d.Destination, Reason: cmp.Or(d.Class, d.Reason)}]++
		}
	}
	got, err := m.s.Held(ctx())
	if err != nil {
		t.Fatalf("Held: %v", err)
	}
	found := map[store.HeldGroup]int64{}
	for _, g := range got {
		n := g.Count
		g.Count = 0
		found[g] = n
	}
	if diff := gocmp.Diff(groups, found); diff != "" {
		t.Fatalf("Held (-want +got):\n%s", diff)
	}
	if st := m.s.Stats(); st.Pending != pending || st.Held != held {
		t.Fatalf("Stats: pending %d, held %d, want %d, %d", st.Pending, st.Held, pending, held)
	}
	if len(m.deliveries) == 0 {
		return
	}
	d := rapid.SampledFrom(m.deliveries).Draw(t, "look")
	rec, err := m.s.Delivery(ctx(), d.ID)
	if err != nil {
		t.Fatalf("Delivery(%s): %v", d.ID, err)
	}
	want := d.DeliveryRecord
	if diff := gocmp.Diff(&want, rec, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("delivery (-want +got):\n%s", diff)
	}
}
