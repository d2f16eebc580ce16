package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// index is the view that lists are made from: one file per segment, into which
// goes what concerns the segment's events, wherever in the journal it stands.
//
// Each file knows the position below which it has everything, and ignores what it
// has when it meets it again. How far all of them are is saved in live.db; what
// that says of a file that has lost transactions since shows that it did.
type index struct {
	dir         string
	journal     *journal.Journal
	feed        *feed
	pool        *pool
	limits      limits
	fingerprint func(string) uint64
	log         *slog.Logger
	rebuilt     func(view string, why error)

	reached atomic.Uint64 // the position up to which everything is applied; 0 while behind

	turn chan struct{} // capacity 1: whoever holds it owns what follows
	pos  store.Position
	// applied is the position below which a file has everything that concerns it.
	applied map[uint32]store.Position
	backlog []change      // taken from the feed, not applied yet
	behind  chan struct{} // closed when the index has caught up; nil while it keeps up
	failing error

	mu      sync.Mutex                // guards what follows
	saved   store.Position            // pos, after everything below it was committed; 0 before the start
	touched map[uint32]store.Position // applied, of the files written since the start
	floor   uint32                    // segments below are dropped
	// idRange has the smallest and the largest event id of sealed segments.
	idRange map[uint32][2][]byte
}

// ids returns the smallest and the largest event id of a segment, if known.
func (x *index) ids(number uint32) (low, high []byte, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r, ok := x.idRange[number]
	return r[0], r[1], ok
}

// learnIDs keeps the ids' range of a sealed segment that ends at end, so that the
// next look-up need not open its file. It does not while the file may lack some.
func (x *index) learnIDs(ctx context.Context, file *segmentIndex, end store.Position) error {
	whole := func() bool { return store.Position(x.reached.Load()) >= end }
	if _, _, ok := x.ids(file.number); ok || !whole() {
		return nil
	}
	low, high, err := file.idRange(ctx)
	if err != nil || !whole() {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idRange[file.number] = [2][]byte{low, high}
	return nil
}

func (x *index) lock(ctx context.Context) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (x *index) unlock() { <-x.turn }

// start finds out how far the files are. indexed and files are what live.db says.
func (x *index) start(ctx context.Context, indexed store.Position, files map[uint32]store.Position) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	defer x.unlock()
	segments := x.journal.Segments()
	if err := x.sweep(segments); err != nil {
		return err
	}
	pos := max(indexed, segments[0].Start())
	for _, seg := range segments {
		applied, err := x.standing(ctx, seg.Number)
		if err != nil {
			return err
		}
		x.applied[seg.Number] = applied
		if applied < files[seg.Number] || applied == seg.Start() {
			pos = min(pos, applied)
		}
	}
	x.pos = min(pos, x.journal.Horizon())
	x.mu.Lock()
	x.saved = x.pos
	x.mu.Unlock()
	return nil
}

// standing opens the index file of a segment, a new one if that cannot be used,
// and returns how far it is.
func (x *index) standing(ctx context.Context, number uint32) (store.Position, error) {
	s, err := x.pool.get(ctx, number)
	if err != nil && damaged(err) {
		x.rebuilt(indexName(number), err)
		if err := x.pool.remove(number); err != nil {
			return 0, fmt.Errorf("removing %s: %w", indexName(number), err)
		}
		s, err = x.pool.get(ctx, number)
	}
	if err != nil {
		return 0, err
	}
	defer x.pool.put(s)
	return s.applied, nil
}

// sweep removes the index files of segments that are gone.
func (x *index) sweep(segments []journal.Segment) error {
	names, err := os.ReadDir(x.dir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", x.dir, err)
	}
	for _, entry := range names {
		var number uint32
		if _, err := fmt.Sscanf(entry.Name(), "index-%08d.db", &number); err != nil || !strings.HasSuffix(entry.Name(), ".db") {
			continue
		}
		if !slices.ContainsFunc(segments, func(s journal.Segment) bool { return s.Number == number }) {
			if err := x.pool.remove(number); err != nil {
				return fmt.Errorf("removing the index of a dropped segment: %w", err)
			}
		}
	}
	return nil
}

// run applies the feed every interval, or sooner when much is waiting, until ctx
// ends.
func (x *index) run(ctx context.Context, every time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	armed := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.feed.notify:
			switch {
			case x.feed.waiting() >= x.limits.indexFlush || x.feed.lost():
				timer.Reset(0)
			case !armed:
				timer.Reset(every)
			}
			armed = true
		case <-timer.C:
			if armed = x.tick(ctx) != nil; armed {
				timer.Reset(every)
			}
		}
	}
}

func (x *index) tick(ctx context.Context) error {
	err := x.lock(ctx)
	if err != nil {
		return err
	}
	err = x.drain(ctx)
	behind := x.behind != nil
	x.unlock()
	if err == nil && behind {
		err = x.catchUp(ctx)
	}
	return err
}

// report logs the first failure of a row and the end of it, and returns err as a
// caller sees it.
func (x *index) report(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil && x.failing == nil:
		x.log.ErrorContext(ctx, "the index cannot be written, lists have to wait", slog.Any("error", err))
	case err == nil && x.failing != nil:
		x.log.InfoContext(ctx, "the index can be written again")
	}
	x.failing = err
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Transient, err, "index_unavailable", "the index cannot be written now, so lists would not be complete").
		WithHint("see the log for the cause; a full disk is the usual one")
}

// reach applies everything that is synced, and returns when lists contain it.
func (x *index) reach(ctx context.Context) error {
	horizon := x.journal.Horizon()
	if err := x.feed.await(ctx, horizon); err != nil {
		return err
	}
	for {
		if at := store.Position(x.reached.Load()); at != 0 && at >= horizon {
			return nil
		}
		if err := x.lock(ctx); err != nil {
			return err
		}
		err := x.drain(ctx)
		behind := x.behind
		x.unlock()
		if err != nil || behind == nil {
			return err
		}
		x.feed.wake()
		select {
		case <-behind:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drain applies what the feed has.
func (x *index) drain(ctx context.Context) error {
	if x.behind != nil {
		return nil
	}
	changes, end, overflow := x.feed.take()
	x.backlog = append(x.backlog, changes...)
	if overflow || len(x.backlog) > x.limits.indexFeed {
		x.fallBehind()
		return nil
	}
	if end <= x.pos {
		return nil
	}
	if err := x.apply(ctx, x.backlog, end); err != nil {
		return err
	}
	x.backlog = nil
	return nil
}

// fallBehind makes the index go on from the journal.
func (x *index) fallBehind() {
	x.reached.Store(0)
	x.backlog = nil
	x.feed.abandon(nil, nil)
	if x.behind == nil {
		x.behind = make(chan struct{})
	}
	x.feed.wake()
}

// catchUp reads the journal until the index has reached the feed.
func (x *index) catchUp(ctx context.Context) error {
	for {
		if err := x.lock(ctx); err != nil {
			return err
		}
		from := x.pos
		x.unlock()
		changes, next, err := readChunk(ctx, x.journal, from, x.limits.chunk)
		if err != nil {
			return fmt.Errorf("reading the journal for the index: %w", err)
		}
		if done, err := x.advance(ctx, changes, from, next); done || err != nil {
			return err
		}
	}
}

func (x *index) advance(ctx context.Context, changes []change, from, next store.Position) (done bool, err error) {
	if err := x.lock(ctx); err != nil {
		return false, err
	}
	defer x.unlock()
	if x.pos != from {
		return false, nil // a file was found damaged meanwhile
	}
	if len(changes) > 0 || next > x.pos {
		if err := x.apply(ctx, changes, next); err != nil || x.pos != next {
			return false, err
		}
	}
	if len(changes) > 0 {
		return false, nil
	}
	if _, ok := x.feed.resume(x.pos); !ok {
		return false, nil
	}
	x.reached.Store(uint64(x.pos))
	close(x.behind)
	x.behind = nil
	return true, nil
}

// apply writes changes to the files that they concern, oldest first; everything
// below upTo is then applied. A file that turns out to be damaged is removed, and
// the index goes on from its segment's beginning.
//
// Once begun it goes on even if ctx ends: a reader that goes away must not undo
// what others wait for.
func (x *index) apply(ctx context.Context, changes []change, upTo store.Position) error {
	ctx = context.WithoutCancel(ctx)
	batches := x.split(changes)
	for _, number := range slices.Sorted(maps.Keys(batches)) {
		err := x.write(ctx, number, batches[number], upTo)
		if err != nil && damaged(err) {
			return x.report(ctx, x.throwAway(number, err))
		}
		if err != nil {
			return x.report(ctx, err)
		}
	}
	x.pos = upTo
	if x.behind == nil {
		x.reached.Store(uint64(upTo))
	}
	x.mu.Lock()
	x.saved = upTo
	for number := range batches {
		x.touched[number] = x.applied[number]
	}
	x.mu.Unlock()
	return x.report(ctx, nil)
}

func (x *index) split(changes []change) map[uint32]*segmentBatch {
	batches := map[uint32]*segmentBatch{}
	batch := func(event, at store.Position) *segmentBatch {
		number := segmentOf(event)
		if number < x.dropped() || at < x.applied[number] {
			return nil
		}
		b := batches[number]
		if b == nil {
			b = newSegmentBatch()
			batches[number] = b
		}
		return b
	}
	for i := range changes {
		c := &changes[i]
		if c.event != nil {
			if b := batch(c.at, c.at); b != nil {
				b.events = append(b.events, c.event)
			}
		}
		for j := range c.deliveries {
			if b := batch(c.deliveries[j].id.Event, c.at); b != nil {
				b.addDelivery(&c.deliveries[j])
			}
		}
		if c.outcome != nil {
			if b := batch(c.outcome.id.Event, c.at); b != nil {
				b.addOutcome(c.outcome)
			}
		}
	}
	return batches
}

func segmentOf(p store.Position) uint32 { return uint32(p >> 32) }

// dropped returns the number of the oldest segment that is still there.
func (x *index) dropped() uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.floor
}

func (x *index) write(ctx context.Context, number uint32, b *segmentBatch, upTo store.Position) error {
	s, err := x.pool.get(ctx, number)
	if err != nil {
		return err
	}
	defer x.pool.put(s)
	if err := s.apply(ctx, b, x.fingerprint, upTo); err != nil {
		return err
	}
	x.applied[number] = upTo
	return nil
}

// throwAway removes a damaged file; the index is behind until it is made anew.
func (x *index) throwAway(number uint32, why error) error {
	x.rebuilt(indexName(number), why)
	x.reached.Store(0) // before anyone can open an empty file
	if err := x.pool.remove(number); err != nil {
		return fmt.Errorf("removing %s: %w", indexName(number), err)
	}
	start := journal.Segment{Number: number}.Start()
	x.applied[number] = start
	x.pos = min(x.pos, start)
	x.mu.Lock()
	x.saved = min(x.saved, x.pos)
	delete(x.touched, number)
	x.mu.Unlock()
	x.fallBehind()
	return nil
}

// repair removes a file in which a reader met damage.
func (x *index) repair(ctx context.Context, number uint32, why error) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	defer x.unlock()
	return x.throwAway(number, why)
}

// drop removes the files of segments below number for good.
func (x *index) drop(ctx context.Context, number uint32) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	defer x.unlock()
	x.mu.Lock()
	from := x.floor
	x.floor = number
	maps.DeleteFunc(x.touched, func(n uint32, _ store.Position) bool { return n < number })
	maps.DeleteFunc(x.idRange, func(n uint32, _ [2][]byte) bool { return n < number })
	x.mu.Unlock()
	var errs []error
	for n := range x.applied {
		if n >= from && n < number {
			errs = append(errs, x.pool.remove(n))
			delete(x.applied, n)
		}
	}
	return errors.Join(errs...)
}

// positions returns how far the files are, for live.db to keep.
func (x *index) positions() (store.Position, map[uint32]store.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.saved, maps.Clone(x.touched)
}

// close applies what is left and closes the files.
func (x *index) close(ctx context.Context) error {
	err := x.lock(ctx)
	if err == nil && x.behind == nil {
		err = x.drain(ctx)
	}
	return errors.Join(err, x.pool.close())
}
