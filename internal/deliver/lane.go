package deliver

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// sweepers is how many workers settle the deliveries of a destination that is
// disabled or removed: they are held, not attempted.
const sweepers = 2

// lane is everything about one destination: what waits, what is in flight, its
// limits. It outlives configurations; only its handle changes.
type lane struct {
	engine *Engine
	name   string
	meter  Meter

	mu sync.Mutex // guards all below; nothing is called out while it is held
	// snapshot and handle are of one configuration; handle is nil when the
	// destination is not in it.
	snapshot *Snapshot
	handle   *handle
	disabled *Flag
	stopping bool

	waiting  ring
	maxCount int   // share of waiting jobs
	maxBytes int64 // share of memory
	bytes    int64 // of events waiting and in flight
	// more says that the store may have due work which was not asked for: the
	// claimer is woken when there is room.
	more bool

	workers []*worker
	flying  int // attempts under way, outcome not handed over yet
	fresh   int // of these, how many began in the breaker's present epoch
	breaker breaker
	pacer   pacer
	wake    time.Time // when the engine's clock must look again; zero: need not
	gone    int       // answers 410 in a row
	seen    seen
	shown   Condition // what metrics show
}

// seen is what health tells about the attempts of a lane.
type seen struct {
	success, failure time.Time
	failures         int // in a row
	class            destination.Class
	reason           string
}

// handle is a destination in use. It is closed when a reload has replaced it
// and no request is in flight.
type handle struct {
	destination *Destination
	users       int
	retired     bool
}

// worker is one goroutine of a lane with the job in its hands.
type worker struct {
	job      job
	snapshot *Snapshot
	handle   *handle // nil: the job is to be held
	hold     string  // why
	epoch    uint32
	canceled bool // a person canceled the delivery during the attempt
}

func (l *lane) condition() Condition {
	switch {
	case l.handle == nil:
		return Removed
	case l.off():
		return Disabled
	default:
		return l.breaker.condition
	}
}

// attempting reports whether jobs are attempted; otherwise they are held.
func (l *lane) attempting() bool { return l.handle != nil && !l.off() }

// off reports whether the destination, if there is one, is disabled: by a
// decision, or by the configuration.
func (l *lane) off() bool {
	return l.disabled != nil || l.handle != nil && l.handle.destination.Disabled
}

// slots returns how many more attempts may begin now, pace aside.
func (l *lane) slots(now time.Time) int {
	if !l.attempting() {
		return sweepers - l.flying
	}
	allowed := l.breaker.allows(now)
	if l.breaker.condition == Open {
		l.wakeAt(l.breaker.until)
	}
	return min(l.handle.destination.maxInFlight()-l.flying, allowed-l.fresh)
}

// offer takes a job in hand, or reports that it must go back to the store.
func (l *lane) offer(j job, claimed bool) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.accepts(&j, claimed, now) {
		l.more = true
		return false
	}
	l.waiting.push(j)
	l.bytes += j.size
	l.start(now)
	return true
}

// accepts decides whether a job may wait here. What was claimed was given room
// before; half of the share is kept from claims, so both together exceed it by
// half at most.
func (l *lane) accepts(j *job, claimed bool, now time.Time) bool {
	if l.stopping {
		return false
	}
	if l.attempting() {
		if c := l.breaker.poll(now); c == Open {
			l.wakeAt(l.breaker.until)
			return false
		} else if c == HalfOpen {
			return l.waiting.len == 0 && l.fresh == 0
		}
	}
	if claimed || l.bytes == 0 { // an event larger than the share passes alone
		return true
	}
	return l.waiting.len < l.maxCount && l.bytes+j.size <= l.maxBytes
}

// start gives waiting jobs to new workers, as far as the limits allow.
func (l *lane) start(now time.Time) {
	for l.waiting.len > 0 && l.slots(now) > 0 {
		w := &worker{}
		if !l.take(w, now) {
			return
		}
		l.workers = append(l.workers, w)
		// Stop marks every lane, under the lock that is held here, before it
		// waits for the group.
		l.engine.workers.Go(func() { l.work(l.engine.base, w) })
	}
}

// take puts the next job into the worker's hands; false: there is none, or a
// limit is reached. Limits that pass with time set the wake-up.
func (l *lane) take(w *worker, now time.Time) bool {
	if l.stopping || l.waiting.len == 0 || l.slots(now) <= 0 || !l.engine.credit() {
		return false
	}
	*w = worker{snapshot: l.snapshot, epoch: l.breaker.epoch}
	switch {
	case l.handle == nil:
		w.hold = HoldDestinationRemoved
	case l.off():
		w.hold = HoldDestinationDisabled
	default:
		if wait := l.pacer.take(now); wait > 0 {
			l.engine.uncredit()
			l.wakeAt(now.Add(wait))
			return false
		}
		w.handle = l.handle
		w.handle.users++
	}
	l.fresh++
	l.flying++
	w.job = l.waiting.pop()
	return true
}

// work attempts jobs until none may be taken.
func (l *lane) work(ctx context.Context, w *worker) {
	for {
		l.engine.attempt(ctx, l, w)
		if !l.next(w) {
			return
		}
	}
}

// next ends the worker's job and gives it another one; false ends the worker.
func (l *lane) next(w *worker) bool {
	now := time.Now()
	l.mu.Lock()
	l.flying--
	if w.epoch == l.breaker.epoch {
		l.fresh--
	}
	l.bytes -= w.job.size
	closing := l.leave(w.handle)
	w.job, w.handle = job{}, nil
	more := l.take(w, now)
	if more {
		l.start(now) // the breaker may allow one more than before
	} else {
		l.workers = slices.DeleteFunc(l.workers, func(x *worker) bool { return x == w })
	}
	claim := l.wantsClaim(now)
	l.mu.Unlock()
	l.engine.close(closing)
	if claim {
		signal(l.engine.poke)
	}
	return more
}

func (l *lane) isCanceled(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.canceled
}

// leave counts a user of the handle out and returns it if it must be closed.
func (l *lane) leave(h *handle) *handle {
	if h == nil {
		return nil
	}
	if h.users--; h.users == 0 && h.retired {
		return h
	}
	return nil
}

// wantsClaim reports whether there is room again for work that the store kept.
func (l *lane) wantsClaim(now time.Time) bool {
	if !l.more || l.waiting.len > l.maxCount/4 || l.room(now).Count == 0 {
		return false
	}
	l.more = false
	return true
}

// room returns what may be claimed: up to half of the share.
func (l *lane) room(now time.Time) store.Room {
	r := store.Room{Destination: l.name}
	if l.stopping {
		return r
	}
	if l.attempting() {
		if c := l.breaker.poll(now); c == Open {
			l.wakeAt(l.breaker.until)
			return r
		} else if c == HalfOpen {
			if l.waiting.len == 0 && l.slots(now) > 0 {
				r.Count, r.Bytes = 1, l.maxBytes
			}
			return r
		}
	}
	r.Count = max(0, l.maxCount/2-l.waiting.len)
	r.Bytes = l.maxBytes/2 - l.bytes
	if r.Bytes <= 0 {
		if l.bytes > 0 {
			r.Count = 0
		}
		r.Bytes = 1
	}
	return r
}

// claimed notes what a claim brought for the room that was given.
func (l *lane) claimed(gave store.Room, count int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more = gave.Count == 0 || count >= gave.Count || bytes >= gave.Bytes
}

// verdict is what the end of an attempt asks the engine to do.
type verdict struct {
	back     []store.DeliveryID // to be released: the breaker has opened
	shift    Condition          // the new condition, if it changed
	disable  bool               // enough answers 410
	canceled bool               // a person canceled the delivery meanwhile
}

// report notes how an attempt ended, for breaker and health.
func (l *lane) report(w *worker, res *result, now time.Time) (v verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v.canceled = w.canceled
	before := l.breaker.condition
	if res.err == nil {
		l.seen.success, l.seen.failures, l.gone = now, 0, 0
		l.seen.class, l.seen.reason = "", ""
		l.breaker.answered(w.epoch, w.handle.destination.maxInFlight())
	} else if effectOf(res.err.Class) != neutral {
		l.seen.failure, l.seen.class, l.seen.reason = now, res.err.Class, res.err.Message
		l.seen.failures++
		v.disable = l.reportFailure(w, res.err, now)
	}
	if l.breaker.condition == Open && before != Open {
		l.fresh = 0
		l.wakeAt(l.breaker.until)
		v.back = l.giveBack()
	}
	v.shift = l.shifted()
	return v
}

// shifted returns the condition if it is another one than was last returned.
func (l *lane) shifted() Condition {
	c := l.condition()
	if c == l.shown {
		return 0
	}
	l.shown = c
	return c
}

func (l *lane) reportFailure(w *worker, err *destination.Error, now time.Time) (gone bool) {
	if effectOf(err.Class) == down {
		l.breaker.failed(w.epoch, now, err.RetryAfter, jitter())
		return false
	}
	l.breaker.answered(w.epoch, w.handle.destination.maxInFlight())
	if err.Class != destination.Gone {
		l.gone = 0
		return false
	}
	l.gone++
	limit := w.handle.destination.disableAfterGone()
	return limit > 0 && l.gone >= limit && l.disabled == nil && w.handle == l.handle
}

// giveBack empties the waiting jobs and returns their ids for a release.
func (l *lane) giveBack() []store.DeliveryID {
	if l.waiting.len == 0 {
		return nil
	}
	ids := make([]store.DeliveryID, 0, l.waiting.len)
	for l.waiting.len > 0 {
		j := l.waiting.pop()
		l.bytes -= j.size
		ids = append(ids, j.delivery.ID)
	}
	l.more = true
	return ids
}

// wakeAt asks for a look at the lane at the given time.
func (l *lane) wakeAt(at time.Time) {
	if l.wake.IsZero() || at.Before(l.wake) {
		l.wake = at
		signal(l.engine.retime)
	}
}

// tick starts what time allows now, and returns when to look again, whether to
// claim, and the new condition if it changed.
func (l *lane) tick(now time.Time) (again time.Time, claim bool, shift Condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.wake.IsZero() && !l.wake.After(now) {
		l.wake = time.Time{}
		l.breaker.poll(now)
		l.start(now)
		claim = l.wantsClaim(now)
		shift = l.shifted()
	}
	return l.wake, claim, shift
}

// kick starts what the engine's limits allow again.
func (l *lane) kick() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start(now)
	l.more = true
}
