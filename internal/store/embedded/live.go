package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// historian returns the delivery and its standing from its outcomes below before.
// ok is false if there is no such delivery.
type historian func(ctx context.Context, id store.DeliveryID, before store.Position) (d deliveryRow, s standing, ok bool, err error)

// live is the view of the deliveries that are not final: the entries in memory
// over the rows of live.db. An entry is in memory while it is leased, while it
// differs from its row, or while it is near the front of a queue; memory is
// therefore bounded by what callers hold and by the limits, not by the number of
// pending deliveries.
type live struct {
	dir     string
	journal *journal.Journal
	feed    *feed
	history historian
	limits  limits
	log     *slog.Logger
	wakeup  chan struct{} // capacity 1; what Store.Wake returns
	// indexSaved returns how far the index files are, to be saved with the rows.
	indexSaved func() (store.Position, map[uint32]store.Position)
	rebuilt    func(view string, why error)

	mu        sync.Mutex // guards all that follows; held while live.db is used
	db        *liveDB
	pos       store.Position                // every record below is in entries and rows
	backlog   []change                      // taken from the feed, not processed yet
	released  map[store.DeliveryID]struct{} // given back before they were processed
	behind    chan struct{}                 // closed when the view has caught up; nil while it keeps up
	floor     store.Position                // final deliveries of events below are not brought back
	entries   map[store.DeliveryID]*entry
	dirty     []*entry
	dests     map[string]*queue
	deadlines *queue
	pending   map[string]int64 // by destination
	held      map[store.HeldGroup]int64
	markAt    store.Position
	markID    string
	told      int64              // when Claim last said that the next delivery falls due
	syncBelow store.Position     // sync deliveries created below are to be interrupted; 0 when they are known
	orphans   []store.DeliveryID // those
	failing   bool               // live.db could not be written the last time
	lost      bool               // live.db is closed: it could not be made anew
}

// open opens live.db, or a new one if it cannot be used, and stands where it
// stands. The view is behind until catchUp is done.
func (l *live) open(ctx context.Context) error {
	db, err := openLiveDB(ctx, l.dir, l.journal)
	if err != nil && damaged(err) {
		l.rebuilt("live.db", err)
		if err := removeDB(l.dir + "/" + liveFile); err != nil {
			return fmt.Errorf("removing live.db: %w", err)
		}
		db, err = openLiveDB(ctx, l.dir, l.journal)
	}
	if err != nil {
		return fmt.Errorf("opening live.db: %w", err)
	}
	l.lost = false
	l.told = math.MaxInt64
	l.db, l.pos, l.pending, l.held = db, db.applied, db.pending, db.held
	l.entries, l.dests = map[store.DeliveryID]*entry{}, map[string]*queue{}
	l.deadlines = newQueue(byDeadline, l.limits.liveQueue)
	l.dirty, l.backlog, l.released = nil, nil, map[store.DeliveryID]struct{}{}
	if l.behind == nil {
		l.behind = make(chan struct{})
	}
	return nil
}

// run follows the feed until ctx ends, and writes live.db every interval while
// there is something to write.
func (l *live) run(ctx context.Context, every time.Duration) {
	timer := time.NewTimer(every)
	defer timer.Stop()
	armed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.feed.notify:
			l.follow(ctx)
			if !armed {
				armed = true
				timer.Reset(every)
			}
		case <-timer.C:
			if armed = l.tick(ctx); armed {
				timer.Reset(every)
			}
		}
	}
}

func (l *live) follow(ctx context.Context) {
	l.mu.Lock()
	err := l.drain(ctx, l.history)
	if err == nil && l.behind == nil && len(l.dirty) >= l.limits.liveFlush {
		err = l.flush(ctx)
	}
	behind := l.behind != nil
	l.mu.Unlock()
	l.report(ctx, err)
	if behind {
		l.report(ctx, l.catchUp(ctx))
	}
}

// tick writes what is to be written and reports whether it must be called again.
func (l *live) tick(ctx context.Context) (again bool) {
	l.mu.Lock()
	behind := l.behind != nil
	l.mu.Unlock()
	if behind {
		l.report(ctx, l.catchUp(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.drain(ctx, l.history)
	if err == nil && l.behind == nil {
		err = l.flush(ctx)
	}
	l.reportLocked(ctx, err)
	return err != nil || l.behind != nil
}

func (l *live) report(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reportLocked(ctx, err)
}

// reportLocked logs the first failure of a row and the end of it, and throws a
// damaged file away.
func (l *live) reportLocked(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && damaged(err):
		if err := l.rebuild(ctx, err); err != nil {
			l.log.ErrorContext(ctx, "live.db cannot be made anew", slog.Any("error", err))
		}
	case err != nil && !l.failing:
		l.failing = true
		l.log.ErrorContext(ctx, "live.db cannot be written, deliveries wait in memory and in the journal", slog.Any("error", err))
	case err == nil && l.failing:
		l.failing = false
		l.log.InfoContext(ctx, "live.db can be written again")
	}
}

// rebuild replaces live.db by an empty one and reads the whole journal. What is
// leased stays leased.
func (l *live) rebuild(ctx context.Context, why error) error {
	l.feed.abandon(l.entries, l.backlog)
	err := l.db.close()
	l.rebuilt("live.db", why)
	if l.behind == nil {
		l.behind = make(chan struct{})
	}
	l.lost = true
	if err := errors.Join(err, removeDB(l.db.path), l.open(ctx)); err != nil {
		return err
	}
	l.feed.wake()
	return nil
}

// drain takes in what the feed has. It stops in front of an outcome that needs the
// delivery's history if history is nil. After an error nothing may be flushed:
// pos says less than what was processed.
func (l *live) drain(ctx context.Context, history historian) error {
	if l.behind != nil || l.stuck() {
		return nil
	}
	changes, end, overflow := l.feed.take()
	l.backlog = append(l.backlog, changes...)
	for len(l.backlog) > 0 {
		if err := l.process(ctx, &l.backlog[0], history); err != nil {
			return err
		}
		l.backlog = l.backlog[1:]
	}
	l.backlog = nil
	clear(l.released)
	if overflow {
		l.behind = make(chan struct{})
		l.feed.wake()
		return nil
	}
	l.pos = max(l.pos, end)
	return nil
}

var errStuck = errors.New("live.db cannot be written, so what is pending is not known")

// stuck reports whether the view takes nothing in until live.db can be written.
func (l *live) stuck() bool { return l.failing && len(l.dirty) >= l.limits.liveDirty }

var errChunk = errors.New("chunk is full")

// readChunk reads up to n records from the journal.
func readChunk(ctx context.Context, j *journal.Journal, from store.Position, n int) ([]change, store.Position, error) {
	var out []change
	next, err := j.Scan(ctx, from, func(r store.Record) error {
		if len(out) >= n {
			return errChunk
		}
		out = append(out, changeOf(r))
		return nil
	})
	if errors.Is(err, errChunk) {
		err = nil
	}
	return out, next, err
}

// catchUp reads the journal until the view has reached the feed.
func (l *live) catchUp(ctx context.Context) error {
	for {
		l.mu.Lock()
		from := l.pos
		l.mu.Unlock()
		changes, next, err := readChunk(ctx, l.journal, from, l.limits.chunk)
		if err != nil {
			return fmt.Errorf("reading the journal for live.db: %w", err)
		}
		// What the journal shows before the feed had it would come again, and say
		// only then that its appender took it in hand.
		if err := l.feed.await(ctx, next); err != nil {
			return err
		}
		if done, err := l.advance(ctx, changes, next); done || err != nil {
			return err
		}
	}
}

func (l *live) advance(ctx context.Context, changes []change, next store.Position) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return false, l.open(ctx)
	}
	for i := range changes {
		if err := l.process(ctx, &changes[i], l.history); err != nil {
			return false, err
		}
	}
	l.pos = max(l.pos, next)
	if len(l.dirty) >= l.limits.liveFlush {
		if err := l.flush(ctx); err != nil {
			return false, err
		}
	}
	if len(changes) > 0 {
		return false, nil
	}
	leases, ok := l.feed.resume(l.pos)
	if !ok {
		return false, nil
	}
	for _, id := range leases {
		if err := l.lease(ctx, id); err != nil {
			return false, err
		}
	}
	if l.syncBelow != 0 {
		if err := l.holdInterrupted(ctx); err != nil {
			return false, err
		}
	}
	close(l.behind)
	l.behind = nil
	l.wake(0)
	return true, nil
}

// recover catches up for the first time. Sync deliveries that were made below
// horizon have nobody who waits for them any more; they are kept from Claim, for
// the store to end them.
func (l *live) recover(ctx context.Context, horizon store.Position) error {
	l.mu.Lock()
	l.syncBelow = horizon
	l.mu.Unlock()
	err := l.catchUp(ctx)
	if err != nil && damaged(err) {
		l.report(ctx, err) // the next try begins with a new file
	}
	return err
}

func (l *live) holdInterrupted(ctx context.Context) error {
	found, err := l.db.list(ctx, "SELECT "+liveColumns+" FROM live WHERE mode = 2")
	if err != nil {
		return fmt.Errorf("reading sync deliveries from live.db: %w", err)
	}
	for _, e := range found {
		if l.entries[e.id] == nil {
			l.entries[e.id] = e
		}
	}
	for id, e := range l.entries {
		if e.mode == store.Sync && e.created < l.syncBelow && !e.state.Final() {
			e.leased = true
			l.unqueue(e)
			l.orphans = append(l.orphans, id)
		}
	}
	l.syncBelow = 0
	return nil
}

// lease marks a delivery that its appender took in hand while the view was behind.
func (l *live) lease(ctx context.Context, id store.DeliveryID) error {
	e, err := l.find(ctx, id)
	if err != nil || e == nil || e.state.Final() {
		return err
	}
	e.leased = true
	l.unqueue(e)
	return nil
}

// process takes one change in.
func (l *live) process(ctx context.Context, c *change, history historian) error {
	if c.event != nil {
		l.markAt, l.markID = c.at, string(c.event.id)
	}
	for i := range c.deliveries {
		if err := l.create(ctx, c, &c.deliveries[i]); err != nil {
			return err
		}
	}
	if c.outcome != nil {
		return l.outcome(ctx, c.outcome, history)
	}
	return nil
}

func (l *live) create(ctx context.Context, c *change, d *deliveryRow) error {
	if l.entries[d.id] != nil {
		return nil
	}
	e := &entry{deliveryRow: *d}
	if c.event == nil {
		// The event of a dispatch was stored before: the row takes its size from there.
		if have, err := l.db.row(ctx, d.id); err != nil || have != nil {
			return err
		}
		rec, size, err := l.journal.ReadHead(d.id.Event)
		if err != nil || rec.Event == nil {
			if fault.Is(err, fault.NotFound) || err == nil {
				return nil
			}
			return fmt.Errorf("reading event %s of a dispatch: %w", d.id.Event, err)
		}
		e.received, e.size = nanos(rec.Event.Received), size
	}
	e.standing = e.begin()
	_, released := l.released[e.id]
	e.leased = c.claimed && !released
	l.insert(e)
	return nil
}

// insert adds an entry that was not in the view.
func (l *live) insert(e *entry) {
	l.entries[e.id] = e
	l.count(e, 1)
	l.touch(e)
	l.enqueue(e)
}

// count adds n to the counter that the entry's standing belongs to.
func (l *live) count(e *entry, n int64) {
	if e.state == store.Pending {
		if l.pending[e.destination] += n; l.pending[e.destination] == 0 {
			delete(l.pending, e.destination)
		}
	}
	if e.state != store.Held {
		return
	}
	g := store.HeldGroup{Rule: e.rule, Target: e.target, Destination: e.destination, Reason: e.heldReason()}
	if l.held[g] += n; l.held[g] == 0 {
		delete(l.held, g)
	}
}

func (l *live) touch(e *entry) {
	if !e.dirty {
		e.dirty = true
		l.dirty = append(l.dirty, e)
	}
}

func (l *live) find(ctx context.Context, id store.DeliveryID) (*entry, error) {
	if e := l.entries[id]; e != nil {
		return e, nil
	}
	e, err := l.db.row(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading delivery %s from live.db: %w", id, err)
	}
	if e != nil {
		l.entries[id] = e
	}
	return e, nil
}

var errHistory = errors.New("the history of a delivery is needed")

func (l *live) outcome(ctx context.Context, o *outcomeRow, history historian) error {
	e, err := l.find(ctx, o.id)
	if err != nil {
		return err
	}
	if e == nil {
		// It is final, or was never there. Only a move back from there concerns us.
		if o.state.Final() || o.id.Event < l.floor {
			return nil
		}
		if history == nil {
			return errHistory
		}
		return l.resurrect(ctx, o, history)
	}
	l.count(e, -1)
	e.take(o)
	if o.endsLease() {
		e.leased = false
	}
	l.count(e, 1)
	l.settle(e)
	return nil
}

// settle puts an entry whose standing has changed where it belongs.
func (l *live) settle(e *entry) {
	l.unqueue(e)
	if !e.state.Final() {
		l.touch(e)
		l.enqueue(e)
		return
	}
	e.leased = false
	if e.stored {
		l.touch(e) // stays until its row is gone
		return
	}
	e.gone = true
	delete(l.entries, e.id)
}

// resurrect brings a final delivery back if the outcome decides so.
func (l *live) resurrect(ctx context.Context, o *outcomeRow, history historian) error {
	d, s, ok, err := history(ctx, o.id, o.at)
	if err != nil {
		return fmt.Errorf("reading the history of delivery %s: %w", o.id, err)
	}
	if !ok {
		return nil
	}
	e := &entry{deliveryRow: d, standing: s}
	if e.take(o); !e.state.Final() {
		l.insert(e)
	}
	return nil
}

// enqueue puts an entry in the queues that it belongs to.
func (l *live) enqueue(e *entry) {
	if e.leased || e.state.Final() {
		return
	}
	var evicted []*entry
	if e.state == store.Pending {
		evicted = l.dest(e.destination).add(e, key{e.next, e.id})
		l.wake(e.next)
	}
	if e.standing.deadline > 0 {
		evicted = append(evicted, l.deadlines.add(e, key{e.standing.deadline, e.id})...)
		l.wake(e.standing.deadline)
	}
	for _, old := range evicted {
		l.evict(old)
	}
}

func (l *live) unqueue(e *entry) {
	l.dest(e.destination).remove(e)
	l.deadlines.remove(e)
}

// evict forgets an entry that live.db has and nobody needs in memory.
func (l *live) evict(e *entry) {
	if !e.dirty && !e.leased && !e.queued() && l.entries[e.id] == e {
		delete(l.entries, e.id)
	}
}

func (l *live) dest(name string) *queue {
	q := l.dests[name]
	if q == nil {
		q = newQueue(byDue, l.limits.liveQueue)
		l.dests[name] = q
	}
	return q
}

// wake tells whoever claims that something falls due at t, unless it was told of
// an earlier time.
func (l *live) wake(t int64) {
	if t >= l.told || l.behind != nil {
		return
	}
	l.told = math.MinInt64 // once is enough until the next Claim
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// flush writes to live.db what differs from it.
func (l *live) flush(ctx context.Context) error {
	if len(l.dirty) == 0 && l.pos == l.db.applied {
		return nil
	}
	write := l.dirty[:0:len(l.dirty)]
	for _, e := range l.dirty {
		if !e.gone {
			write = append(write, e)
		}
	}
	clear(l.dirty[len(write):])
	l.dirty = write
	sp := savepoint{applied: l.pos, markAt: l.markAt, markID: l.markID}
	sp.indexed, sp.indexes = l.indexSaved()
	// A caller that goes away must not make the view seem broken.
	if err := l.db.save(context.WithoutCancel(ctx), l.dirty, sp); err != nil {
		return fmt.Errorf("writing live.db: %w", err)
	}
	for i, e := range l.dirty {
		e.dirty, e.stored = false, !e.state.Final()
		if e.state.Final() {
			e.gone = true
			delete(l.entries, e.id)
		} else {
			l.evict(e)
		}
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
	return nil
}

// close writes what is left; what cannot be written is in the journal.
func (l *live) close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.behind == nil && l.drain(ctx, nil) == nil {
		err = l.flush(ctx)
	}
	return errors.Join(err, l.db.close())
}
