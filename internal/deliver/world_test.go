package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a naive store in memory, with the contracts of package store: the
// oracle of these tests. It also is the recorder, as the bus is.
type world struct {
	mu         sync.Mutex
	engine     *deliver.Engine
	at         store.Position
	deliveries map[store.DeliveryID]*known
	order      []store.DeliveryID
	outcomes   []*store.Outcome
	produced   []*store.Event
	keys       map[string]bool
	flags      map[string]store.StateRecord
	wake       chan struct{}
	released   int
	leasedMost int
	// refuse, when set, decides that a batch fails.
	refuse func(*store.Batch) error
	// syncTime is how long a commit takes.
	syncTime time.Duration
	// match is the rules of the recorder for events that the engine makes.
	match func(*store.Event) []*store.Delivery
}

type known struct {
	store.DeliveryRecord
	event  *store.Event
	leased bool
	last   *store.Outcome
}

func newWorld() *world {
	return &world{
		deliveries: map[store.DeliveryID]*known{}, keys: map[string]bool{},
		flags: map[string]store.StateRecord{}, wake: make(chan struct{}, 1),
	}
}

func (w *world) Submit(batch *store.Batch, done func(error)) {
	w.mu.Lock()
	delay := w.syncTime
	for _, ev := range batch.Events {
		if w.match != nil {
			ev.Deliveries = append(ev.Deliveries, w.match(ev)...)
		}
	}
	w.mu.Unlock()
	go func() {
		if delay > 0 {
			time.Sleep(delay)
		}
		done(w.commit(batch))
	}()
}

func (w *world) commit(batch *store.Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if batch.Lazy && len(batch.Events)+len(batch.Dispatches) > 0 {
		return fault.New(fault.Internal, "", "a lazy batch with more than outcomes")
	}
	if w.refuse != nil {
		if err := w.refuse(batch); err != nil {
			return err
		}
	}
	for _, ev := range batch.Events {
		if w.keys[ev.DedupeKey] {
			return &store.DuplicateError{ID: ev.Envelope.ID}
		}
	}
	for _, ev := range batch.Events {
		w.keys[ev.DedupeKey] = true
		w.at++
		ev.At = w.at
		w.produced = append(w.produced, ev)
		for _, d := range ev.Deliveries {
			w.add(ev, d, false)
		}
	}
	for _, d := range batch.Dispatches {
		for _, one := range d.Deliveries {
			ev := w.eventAt(d.Event)
			one.ID = store.NewDeliveryID(ev.At, ev.Envelope.ID, one.Rule, one.Target, one.Run)
			if w.deliveries[one.ID] == nil { // one that exists is left out
				w.add(ev, one, false)
			}
		}
	}
	for _, o := range batch.Outcomes {
		w.at++
		o.At = w.at
		w.outcomes = append(w.outcomes, o)
		if k := w.deliveries[o.Delivery]; k != nil {
			k.take(o)
		}
	}
	w.ring()
	return nil
}

func (w *world) eventAt(at store.Position) *store.Event {
	for _, k := range w.deliveries {
		if k.Event == at {
			return k.event
		}
	}
	return nil
}

// take is the rule of store.Outcome.
func (k *known) take(o *store.Outcome) {
	k.last = o
	k.Outcomes = append(k.Outcomes, o)
	if o.By == "" || o.State.Final() { // other decisions of people leave the lease to its holder
		k.leased = false
	}
	if o.Reset {
		k.Counted = 0
	}
	if o.Attempt > 0 {
		k.Attempts = max(k.Attempts, o.Attempt)
		if o.Counted {
			k.Counted++
		}
	}
	if k.State == store.Delivered && !o.Reset || k.State == store.Canceled && o.Attempt > 0 && o.State != store.Delivered {
		return
	}
	k.State, k.NextAt, k.Status, k.Class, k.Reason, k.Updated = o.State, o.NextAt, o.Status, o.Class, o.Reason, o.Time
	if !o.Deadline.IsZero() {
		k.Deadline = o.Deadline
	}
}

func (w *world) add(ev *store.Event, d *store.Delivery, claimed bool) {
	d.Event = ev.At
	d.ID = store.NewDeliveryID(ev.At, ev.Envelope.ID, d.Rule, d.Target, d.Run)
	k := &known{event: ev, leased: claimed}
	k.Delivery, k.EventID, k.State, k.NextAt = *d, ev.Envelope.ID, store.Pending, time.Now()
	if d.Hold != "" {
		k.State, k.Class = store.Held, d.Hold
	}
	w.deliveries[d.ID] = k
	w.order = append(w.order, d.ID)
}

func (w *world) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *world) Claim(_ context.Context, req store.ClaimRequest) (out []*store.Claimed, next time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hand := func(k *known) {
		k.leased = true
		out = append(out, &store.Claimed{
			Delivery: k.Delivery, Event: k.event, Attempts: k.Counted, Made: k.Attempts, DueAt: k.NextAt, Last: k.last, Held: k.State == store.Held,
		})
	}
	free := w.free()
	for _, k := range free {
		if len(out) < req.Overdue && !k.Deadline.IsZero() && !k.Deadline.After(req.Now) {
			hand(k)
		}
	}
	for _, room := range req.Rooms {
		taken, bytes := 0, int64(0)
		for _, k := range free {
			if k.leased || k.State != store.Pending || k.Destination != room.Destination {
				continue
			}
			size := int64(len(k.event.Envelope.Detail))
			if taken >= room.Count || k.NextAt.After(req.Now) || taken > 0 && bytes+size > room.Bytes {
				if next.IsZero() || k.NextAt.Before(next) {
					next = k.NextAt
				}
				continue
			}
			hand(k)
			taken, bytes = taken+1, bytes+size
		}
	}
	w.countLeases()
	return out, next, nil
}

func (w *world) free() []*known {
	var free []*known
	for _, id := range w.order {
		if k := w.deliveries[id]; !k.leased && !k.State.Final() {
			free = append(free, k)
		}
	}
	return free
}

func (w *world) countLeases() {
	n := 0
	for _, k := range w.deliveries {
		if k.leased {
			n++
		}
	}
	w.leasedMost = max(w.leasedMost, n)
}

func (w *world) Release(ids ...store.DeliveryID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.deliveries[id].leased = false
	}
	w.released += len(ids)
	w.ring()
}

func (w *world) Wake() <-chan struct{} { return w.wake }

func (w *world) Held(context.Context) ([]store.HeldGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var groups []store.HeldGroup
	for _, id := range w.order {
		k := w.deliveries[id]
		g := store.HeldGroup{Rule: k.Rule, Target: k.Target, Destination: k.Destination, Reason: k.Class, Count: 1}
		if k.State == store.Held && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

func (w *world) Delivery(_ context.Context, id store.DeliveryID) (*store.DeliveryRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.deliveries[id]
	if k == nil {
		return nil, fault.New(fault.NotFound, "delivery_not_found", "delivery %s is not stored", id)
	}
	r := k.DeliveryRecord
	r.Outcomes = slices.Clone(k.Outcomes)
	return &r, nil
}

func (w *world) Deliveries(_ context.Context, q store.DeliveryQuery) (page store.DeliveryPage, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	behind := q.After.IsZero()
	for _, id := range w.order {
		k := w.deliveries[id]
		switch {
		case !behind:
			behind = id == q.After
		case k.State != q.State, q.Destination != "" && q.Destination != k.Destination,
			q.Rule != "" && q.Rule != k.Rule, q.Target != "" && q.Target != k.Target:
		case len(page.Deliveries) == q.Limit:
			page.Next = page.Deliveries[q.Limit-1].ID
			return page, nil
		default:
			r := k.DeliveryRecord
			page.Deliveries = append(page.Deliveries, &r)
		}
	}
	return page, nil
}

func (w *world) Get(_ context.Context, key string) (store.StateRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.flags[key]
	if !ok {
		return r, fault.New(fault.NotFound, "", "no record %s", key)
	}
	return r, nil
}

func (w *world) List(_ context.Context, prefix string) (out []store.StateRecord, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, r := range w.flags {
		if strings.HasPrefix(key, prefix) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (w *world) CompareAndSwap(_ context.Context, key string, version int64, value []byte) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flags[key].Version != version {
		return 0, fault.New(fault.Conflict, "", "version differs")
	}
	if value == nil {
		delete(w.flags, key)
		return 0, nil
	}
	w.flags[key] = store.StateRecord{Key: key, Version: version + 1, Value: value}
	return version + 1, nil
}

// restart forgets the leases, as a new process does.
func (w *world) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.deliveries {
		k.leased = false
	}
}

// publish commits an event with deliveries and hands them to the engine.
func (w *world) publish(ds ...*store.Delivery) []store.DeliveryID {
	return w.publishEvent(sample(), ds...)
}

func sample() *store.Event {
	now := time.Now()
	return &store.Event{
		Bus: "default", Received: now,
		Envelope: event.Envelope{
			ID: event.NewID(now), Source: "github.com", DetailType: "push", Account: "000000000000",
			Region: "us-east-1", Time: now, Detail: []byte(`{"n":1}`),
		},
	}
}

func (w *world) publishEvent(ev *store.Event, ds ...*store.Delivery) []store.DeliveryID {
	ids := w.store(ev, true, ds...)
	w.engine.Deliver(ev, ds)
	return ids
}

// store commits without handing on: the queue has the deliveries.
func (w *world) store(ev *store.Event, claimed bool, ds ...*store.Delivery) (ids []store.DeliveryID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at++
	ev.At = w.at
	for _, d := range ds {
		w.add(ev, d, claimed)
		ids = append(ids, d.ID)
	}
	if !claimed {
		w.ring()
	}
	return ids
}

func (w *world) record(t *testing.T, id store.DeliveryID) *store.DeliveryRecord {
	t.Helper()
	r, err := w.Delivery(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) wantState(t *testing.T, id store.DeliveryID, state store.DeliveryState, class destination.Class) *store.DeliveryRecord {
	t.Helper()
	r := w.record(t, id)
	if r.State != state || r.Class != string(class) {
		t.Errorf("delivery is %s with class %q (%s), want %s with class %q", r.State, r.Class, r.Reason, state, class)
	}
	return r
}

func (w *world) count(state store.DeliveryState) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.deliveries {
		if k.State == state {
			n++
		}
	}
	return n
}

func (w *world) notices(kind string) (out []*store.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ev := range w.produced {
		if ev.Envelope.DetailType == kind {
			out = append(out, ev)
		}
	}
	return out
}

// leased returns how many deliveries are leased, and how many were at most.
func (w *world) leased() (now, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countLeases()
	for _, k := range w.deliveries {
		if k.leased {
			now++
		}
	}
	return now, w.leasedMost
}

// made returns the events that the engine has caused.
func (w *world) made() []*store.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.produced)
}

func (w *world) givenBack() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.released
}

func (w *world) recorded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.outcomes)
}

// all returns every delivery, in the order in which they were made.
func (w *world) all(t *testing.T) (out []*store.DeliveryRecord) {
	t.Helper()
	w.mu.Lock()
	order := slices.Clone(w.order)
	w.mu.Unlock()
	for _, id := range order {
		out = append(out, w.record(t, id))
	}
	return out
}

func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// to returns a delivery for the target "to" of rule "r".
func to(name string) *store.Delivery {
	return &store.Delivery{
		Rule: "r", Target: "to", Destination: name, Origin: store.OriginMatch, Mode: store.Async,
		Deadline: time.Now().Add(24 * time.Hour),
	}
}

// fake is a destination under control of the test. It counts.
type fake struct {
	mu       sync.Mutex
	do       func(ctx context.Context, r *destination.Request) (*destination.Response, error)
	requests []destination.Request
	flying   int
	most     int
	closed   int
	quiet    bool // does not keep requests
}

func (f *fake) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	f.mu.Lock()
	if !f.quiet {
		f.requests = append(f.requests, *r)
	}
	f.flying++
	f.most = max(f.most, f.flying)
	do := f.do
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.flying--
		f.mu.Unlock()
	}()
	if do == nil {
		return &destination.Response{Status: 200, Body: []byte("ok")}, nil
	}
	return do(ctx, r)
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	if f.flying > 0 {
		return errors.New("closed with requests in flight")
	}
	return nil
}

func (f *fake) set(do func(ctx context.Context, r *destination.Request) (*destination.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

func (f *fake) calls() []destination.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *fake) closes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *fake) peak() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *fake) inFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying
}

type doFunc = func(ctx context.Context, r *destination.Request) (*destination.Response, error)

func fails(err destination.Error) doFunc {
	return func(context.Context, *destination.Request) (*destination.Response, error) {
		e := err
		return nil, &e
	}
}

func hangs(ctx context.Context, _ *destination.Request) (*destination.Response, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func takes(d time.Duration) doFunc {
	return func(ctx context.Context, _ *destination.Request) (*destination.Response, error) {
		select {
		case <-time.After(d):
			return &destination.Response{Status: 200}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// snapshot returns a configuration with the destinations, each of which target
// "to" of rule "r" may aim at.
func snapshot(ds ...*deliver.Destination) *deliver.Snapshot {
	s := &deliver.Snapshot{
		Generation: "g1", Account: "000000000000", Region: "us-east-1",
		Destinations: map[string]*deliver.Destination{},
		Targets:      map[deliver.TargetKey]*deliver.Target{{Rule: "r", Target: "to"}: {}},
	}
	for _, d := range ds {
		s.Destinations[d.Name] = d
	}
	return s
}

// begin starts an engine on a new world; it is stopped at the end of the test.
func begin(t *testing.T, s *deliver.Snapshot) *world {
	t.Helper()
	w := newWorld()
	w.begin(t, s, deliver.Config{})
	return w
}

func (w *world) begin(t *testing.T, s *deliver.Snapshot, c deliver.Config) {
	t.Helper()
	c.Queue, c.Recorder, c.Records, c.Flags = w, w, w, w
	c.Log = slog.New(slog.DiscardHandler)
	e := deliver.New(c)
	w.set(func(w *world) { w.engine = e })
	e.Configure(s)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
}

func describe(records []*store.Outcome) string {
	var b strings.Builder
	for _, o := range records {
		fmt.Fprintf(&b, "%d %s %s %d\n", o.Attempt, o.State, o.Class, o.Status)
	}
	return b.String()
}
