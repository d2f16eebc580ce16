package deliver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// The delays before outcomes that could not be committed are submitted again.
const (
	resubmitBase = 100 * time.Millisecond
	resubmitCap  = 5 * time.Second
)

// record is one batch on its way to the disk. It holds a credit until it is
// there; it is one allocation with its outcome.
type record struct {
	engine  *Engine
	batch   store.Batch
	outcome store.Outcome
	list    [1]*store.Outcome
	// delivery is set when the outcome is Held: the configuration may have
	// changed before the outcome was visible to those who restore.
	delivery *store.Delivery
	// waiting says that the record counts in Engine.stalled.
	waiting bool
	// told receives the end of a decision that somebody waits for; nil otherwise.
	told chan error
}

// newRecord returns a record with an outcome for the delivery. The caller holds
// a credit for it.
func (e *Engine) newRecord(id store.DeliveryID, now time.Time, generation string) *record {
	r := &record{engine: e}
	r.outcome = store.Outcome{Delivery: id, Time: now, Generation: generation}
	r.list[0] = &r.outcome
	r.batch.Outcomes, r.batch.Reserve = r.list[:], true
	return r
}

// credit takes the right to begin something that ends in an outcome.
func (e *Engine) credit() bool {
	if e.stalled.Load() > 0 {
		return false
	}
	if e.unsynced.Add(1) <= int64(e.config.Unsynced) {
		return true
	}
	e.starved.Store(true)
	e.uncredit() // wakes the keeper if the others ended in between
	return false
}

func (e *Engine) uncredit() {
	left := e.unsynced.Add(-1)
	if left < int64(e.config.Unsynced) && e.starved.CompareAndSwap(true, false) {
		signal(e.thaw)
	}
	if left == 0 && !e.running.Load() {
		signal(e.synced)
	}
}

// submit hands the record over. An outcome alone may wait for another commit;
// one that causes something is waited for by whoever is told.
func (e *Engine) submit(r *record) {
	r.batch.Lazy = len(r.batch.Events)+len(r.batch.Dispatches) == 0 && r.told == nil
	e.config.Recorder.Submit(&r.batch, r.done)
}

// done is called by the recorder, at times from within Submit.
func (r *record) done(err error) {
	e := r.engine
	switch {
	case err == nil:
		r.settled()
		return
	case r.told != nil:
		r.told <- err // of size 1; the one who decided sees the error
		e.uncredit()
		return
	}
	if r.shed(err) {
		return
	}
	if hopeless(err) {
		e.log.Error("an outcome was refused by the store", slog.String("delivery", r.outcome.Delivery.String()),
			slog.String("state", r.outcome.State.String()), slog.Any("error", err))
		e.config.Queue.Release(r.outcome.Delivery)
		r.settled()
		return
	}
	if !r.waiting {
		r.waiting = true
		if e.stalled.Add(1) == 1 {
			e.log.Error("outcomes cannot be committed; attempts stop until they can", slog.Any("error", err))
		}
	}
	e.keep(r)
	signal(e.resubmit)
}

// shed drops what the outcome causes when that cannot be committed, so that the
// outcome itself can be: first the events (a duplicate is there already), then
// the dispatches (their event is not).
func (r *record) shed(err error) bool {
	_, duplicate := errors.AsType[*store.DuplicateError](err)
	if !duplicate && !hopeless(err) {
		return false
	}
	switch {
	case len(r.batch.Events) > 0:
		r.batch.Events = nil
		if !duplicate && r.outcome.State == store.Delivered {
			// The copy for another bus is the delivery: without it, it failed.
			r.outcome.State, r.outcome.Class = store.Dead, string(destination.NotFound)
			r.outcome.Reason = "the event could not be forwarded: " + messageOf(err)
		}
	case len(r.batch.Dispatches) > 0:
		r.batch.Dispatches = nil
	default:
		return false
	}
	if !duplicate {
		r.engine.log.Error("what an outcome causes was refused", slog.String("delivery", r.outcome.Delivery.String()),
			slog.Any("error", err))
	}
	if len(r.batch.Outcomes) == 0 { // the event was all there was to commit
		r.settled()
		return true
	}
	r.engine.keep(r)
	signal(r.engine.resubmit)
	return true
}

// settled ends the record: it is on disk, or can never be.
func (r *record) settled() {
	e := r.engine
	if r.waiting && e.stalled.Add(-1) == 0 {
		e.log.Info("outcomes are committed again; attempts go on")
		signal(e.thaw)
	}
	if d := r.delivery; d != nil {
		if _, hold := e.resolve(d); hold == "" {
			signal(e.restore)
		}
	}
	e.uncredit()
	if r.told != nil {
		r.told <- nil
	}
}

// hopeless reports whether the store will never take what it refused.
func hopeless(err error) bool {
	return fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) ||
		fault.Is(err, fault.TooLarge) || fault.Is(err, fault.Permanent)
}

func messageOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return "internal error"
}

// keep stores a record for the keeper. The list is bounded by the credits.
func (e *Engine) keep(r *record) {
	e.stuckMu.Lock()
	defer e.stuckMu.Unlock()
	e.stuck = append(e.stuck, r)
}

// keepLoop submits again what could not be committed, with growing delays while
// that fails: a success is not forgotten as long as the process lives. It also
// starts the lanes again that went without credit.
func (e *Engine) keepLoop(ctx context.Context) {
	delay := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.thaw:
			delay = 0
			e.kickAll()
			continue
		case <-e.resubmit:
		}
		if e.stalled.Load() == 0 {
			delay = 0
		} else {
			delay = min(max(2*delay, resubmitBase), resubmitCap)
			if !pause(ctx, delay) {
				return
			}
		}
		e.stuckMu.Lock()
		again := e.stuck
		e.stuck = nil
		e.stuckMu.Unlock()
		for _, r := range again {
			for _, ev := range r.batch.Events {
				ev.Deliveries = nil // the recorder matches them anew
			}
			e.submit(r)
		}
	}
}

func (e *Engine) kickAll() {
	for _, l := range *e.lanes.Load() {
		l.kick()
	}
	signal(e.poke)
}

// decide commits decisions about deliveries and waits for it. The outcomes are
// in one batch: all or none.
func (e *Engine) decide(ctx context.Context, outcomes ...*store.Outcome) error {
	r := &record{engine: e, told: make(chan error, 1)}
	r.batch.Outcomes, r.batch.Reserve = slices.Clone(outcomes), true
	e.unsynced.Add(1) // people may exceed the bound; there are few of them
	e.submit(r)
	select {
	case err := <-r.told:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pause waits; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
