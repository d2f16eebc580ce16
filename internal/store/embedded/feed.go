package embedded

import (
	"context"
	"sync"

	"github.com/grapnel/grapnel/internal/store"
)

// feed carries changes from the journal's writer to one view. It is bounded: when
// it is full it drops what it has, and the view reads the journal until it has
// caught up. The writer never waits.
type feed struct {
	limit  int
	notify chan struct{} // capacity 1: something came

	mu       sync.Mutex // guards what follows
	changes  []change
	end      store.Position // behind the newest change that was pushed
	moved    chan struct{}  // closed when end moves; nil unless someone waits
	overflow bool           // changes are dropped; the journal has them
	// leases are the deliveries in dropped changes that their appender took in
	// hand; nil in a feed that does not ask for them. An outcome ends a lease.
	leases map[store.DeliveryID]struct{}
}

// newFeed returns a feed that starts out as overflown, so that its view begins
// with the journal.
func newFeed(limit int, leases bool) *feed {
	f := &feed{limit: limit, notify: make(chan struct{}, 1), overflow: true}
	if leases {
		f.leases = map[store.DeliveryID]struct{}{}
	}
	return f
}

// push adds changes; end is the position behind them.
func (f *feed) push(changes []change, end store.Position) {
	f.mu.Lock()
	f.end = end
	switch {
	case f.overflow:
		f.drop(changes)
	case len(f.changes)+len(changes) > f.limit:
		f.overflow = true
		f.drop(f.changes)
		f.drop(changes)
		f.changes = nil
	default:
		f.changes = append(f.changes, changes...)
	}
	moved := f.moved
	f.moved = nil
	f.mu.Unlock()
	if moved != nil {
		close(moved)
	}
	f.wake()
}

// await waits until everything below at was pushed. The journal moves its horizon
// an instant before it hands a batch on.
func (f *feed) await(ctx context.Context, at store.Position) error {
	for {
		f.mu.Lock()
		if f.end >= at {
			f.mu.Unlock()
			return nil
		}
		if f.moved == nil {
			f.moved = make(chan struct{})
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *feed) wake() {
	select {
	case f.notify <- struct{}{}:
	default:
	}
}

func (f *feed) drop(changes []change) {
	if f.leases == nil {
		return
	}
	for i := range changes {
		c := &changes[i]
		if c.claimed {
			for j := range c.deliveries {
				f.leases[c.deliveries[j].id] = struct{}{}
			}
		}
		if c.outcome != nil && c.outcome.endsLease() {
			delete(f.leases, c.outcome.id)
		}
	}
}

// take returns what has come, and the position behind it. overflow says that the
// view must read the journal instead.
func (f *feed) take() (changes []change, end store.Position, overflow bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, f.changes = f.changes, nil
	return changes, f.end, f.overflow
}

// abandon makes the view read the journal from its beginning, as one that has
// nothing but the leases of entries; backlog is what it has taken and not
// processed.
func (f *feed) abandon(entries map[store.DeliveryID]*entry, backlog []change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, e := range entries {
		if e.leased {
			f.leases[id] = struct{}{}
		}
	}
	f.drop(backlog)
	f.drop(f.changes)
	f.changes, f.overflow = nil, true
}

// resume ends the overflow if the view has read all that was pushed, and returns
// the leases of the changes that were dropped.
func (f *feed) resume(reached store.Position) (leases []store.DeliveryID, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end > reached {
		return nil, false
	}
	f.overflow = false
	for id := range f.leases {
		leases = append(leases, id)
	}
	clear(f.leases)
	return leases, true
}

// waiting returns how many changes wait.
func (f *feed) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes)
}

// lost reports whether changes were dropped.
func (f *feed) lost() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overflow
}

// unlease forgets leases of dropped changes.
func (f *feed) unlease(ids []store.DeliveryID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.leases, id)
	}
}
