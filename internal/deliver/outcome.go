package deliver

import (
	"fmt"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// deliveredRecord records a success and, for a bus destination, the copy of the
// event on the other bus: one commit, so neither is without the other.
func (e *Engine) deliveredRecord(s *Snapshot, j *job, res *result, l *lane) *record {
	r := e.newRecord(j.delivery.ID, res.ended, s.Generation)
	o := &r.outcome
	o.State, o.Attempt, o.Counted = store.Delivered, res.attempt, true
	o.Duration, o.Status = res.ended.Sub(res.began), res.response.Status
	o.Excerpt = excerpt(res.response.Body)
	if bus := res.response.Forward; bus != "" {
		r.batch.Events = []*store.Event{forwarded(j, bus)}
	}
	l.meter.Ended(store.Delivered.String())
	if j.delivery.Origin == store.OriginMatch && !j.event.Received.IsZero() {
		l.meter.Delivered(res.ended.Sub(j.event.Received))
	}
	return r
}

// forwarded returns the copy of a job's event for another bus. Its key is the
// delivery: an attempt that is repeated because its outcome was lost in a crash
// does not forward twice.
func forwarded(j *job, bus string) *store.Event {
	from := j.event
	return &store.Event{
		Envelope: from.Envelope, Received: from.Received, Bus: bus,
		Raw: from.Raw, DetailIsBody: from.DetailIsBody, VerifiedBy: from.VerifiedBy,
		DedupeKey: "hop/" + j.delivery.ID.String(), Hops: from.Hops + 1, Parent: from.At,
	}
}

// failedRecord records an attempt that did not succeed, and decides what
// becomes of the delivery.
func (e *Engine) failedRecord(s *Snapshot, plan *Plan, j *job, res *result, l *lane, canceled bool) *record {
	err := res.err
	retry := err.Class.Retry()
	r := e.newRecord(j.delivery.ID, res.ended, s.Generation)
	o := &r.outcome
	o.Attempt, o.Counted = res.attempt, retry != destination.RetryThrottled
	o.Duration, o.Status, o.Excerpt = res.ended.Sub(res.began), err.Status, excerpt(err.Excerpt)
	o.Class, o.Reason = string(err.Class), err.Message
	if o.Reason == "" {
		o.Reason = err.Class.Info().What
	}
	counted := j.counted
	if o.Counted {
		counted++
	}
	switch {
	case canceled:
		o.State = store.Canceled
	case err.NoRetry && retry != destination.RetryNever:
		o.Class, o.Reason = string(destination.Rejected), reasonOf(err.Class, err.Message)
		e.end(s, r, plan, j)
	case retry == destination.RetryNever:
		e.end(s, r, plan, j)
	case o.Counted && counted >= plan.Retry.Attempts:
		o.Reason = fmt.Sprintf("%s (attempt %d of %d)", o.Reason, counted, plan.Retry.Attempts)
		e.end(s, r, plan, j)
	default:
		o.State = store.Pending
		o.NextAt = nextAttempt(plan.Retry, j, res, counted)
	}
	if o.State.Final() {
		l.meter.Ended(o.State.String())
	}
	return r
}

// stoppedRecord records an attempt that was cut because the process ends. The
// receiver may have got it, so it is told; it does not count, and the next
// start makes another one.
func (e *Engine) stoppedRecord(s *Snapshot, j *job, res *result) *record {
	r := e.newRecord(j.delivery.ID, res.ended, s.Generation)
	o := &r.outcome
	o.State, o.Attempt, o.NextAt, o.Duration = store.Pending, res.attempt, res.ended, res.ended.Sub(res.began)
	o.Class, o.Reason = string(destination.StoppedInBetween), destination.StoppedInBetween.Info().What
	return r
}

// nextAttempt returns when to try again. What the receiver stated is the lower
// bound, the deadline the upper one: the delivery ends there. Throttled attempts
// do not count, but they do make the delay grow.
func nextAttempt(p Policy, j *job, res *result, counted int) time.Time {
	failures := counted
	if res.err.Class.Retry() == destination.RetryThrottled {
		failures = max(counted, res.attempt)
	}
	delay := max(p.Delay(failures, jitter()), res.err.RetryAfter)
	next := res.ended.Add(delay)
	if d := j.delivery.Deadline; !d.IsZero() && next.After(d) {
		return d
	}
	return next
}

// end makes the record's outcome Dead, with what follows from that: the
// dispatch to the dead letter destination, and a notice.
func (e *Engine) end(s *Snapshot, r *record, plan *Plan, j *job) {
	r.outcome.State = store.Dead
	if plan.DeadLetter != "" && j.event != nil {
		r.batch.Dispatches = []*store.Dispatch{deadLetter(j, plan.DeadLetter, &r.outcome)}
		e.lane(plan.DeadLetter) // from now on there is something to claim for it
	}
	e.addNotice(s, r, j, NoticeDead)
}

// heldRecord records that a delivery waits for its target or destination.
func (e *Engine) heldRecord(s *Snapshot, j *job, hold string, now time.Time) *record {
	r := e.newRecord(j.delivery.ID, now, s.Generation)
	r.outcome.State, r.outcome.Class = store.Held, hold
	r.outcome.Reason = holdText(hold, j.delivery.Destination)
	r.delivery = j.delivery
	e.addNotice(s, r, j, NoticeHeld)
	return r
}

// deadlineRecord records that the time of a delivery is over. The reason begins
// with the class of the last attempt, if there was one.
func (e *Engine) deadlineRecord(s *Snapshot, j *job, held bool, now time.Time) *record {
	r := e.newRecord(j.delivery.ID, now, s.Generation)
	o := &r.outcome
	plan, hold := s.Resolve(j.delivery)
	switch {
	case held || hold != "":
		if hold == "" {
			hold = HoldDestinationDisabled
		}
		o.Class, o.Reason = string(destination.TargetRemoved), holdText(hold, j.delivery.Destination)+"; the deadline has passed"
	case j.last != nil && j.last.Attempt > 0 && j.last.Class != "":
		o.Class = string(destination.DeadlinePassed)
		o.Reason = reasonOf(destination.Class(j.last.Class), j.last.Reason) + " (the deadline has passed)"
	default:
		o.Class, o.Reason = string(destination.DeadlinePassed), "the deadline passed before an attempt could be made"
	}
	if j.last != nil {
		o.Status = j.last.Status
	}
	e.end(s, r, &plan, j)
	e.lane(j.delivery.Destination).meter.Ended(store.Dead.String())
	return r
}

// expire settles a delivery that the store handed out because its deadline has
// passed, whatever its destination is doing.
func (e *Engine) expire(j *job, held bool, now time.Time) {
	e.unsynced.Add(1) // claims of these are small, the bound may be exceeded by them
	e.submit(e.deadlineRecord(e.snapshot.Load(), j, held, now))
}

// interrupt ends a delivery for whose answer somebody waited in an earlier
// process: nobody knows how it went, and nobody waits any more.
func (e *Engine) interrupt(j *job, now time.Time) {
	e.unsynced.Add(1)
	r := e.newRecord(j.delivery.ID, now, e.snapshot.Load().Generation)
	r.outcome.State, r.outcome.Class = store.Interrupted, string(destination.StoppedInBetween)
	r.outcome.Reason = destination.StoppedInBetween.Info().What
	e.submit(r)
}
