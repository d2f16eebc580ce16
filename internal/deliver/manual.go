package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Retry makes a delivery pending again, at once and with all its attempts: the
// same delivery goes on, with the same id. It returns when that is committed.
//
// Returns NotFound if the delivery is not known, and Conflict if it is being
// attempted now (attempt_in_progress) or would be held (target_removed,
// destination_removed, destination_disabled).
func (e *Engine) Retry(ctx context.Context, id store.DeliveryID, by string) error {
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	known, err := e.config.Records.Delivery(ctx, id)
	if err != nil {
		return err
	}
	o, withdrawn, err := e.retryOutcome(known, by)
	if err != nil {
		return err
	}
	err = e.decide(ctx, o)
	if withdrawn {
		e.config.Queue.Release(id)
	}
	if err != nil {
		return fmt.Errorf("retrying delivery %s: %w", id, err)
	}
	return nil
}

// retryOutcome decides for a retry by hand. If the delivery waits in memory it
// is withdrawn: the store hands it out anew, with its attempts reset, once it
// is released.
func (e *Engine) retryOutcome(known *store.DeliveryRecord, by string) (o *store.Outcome, withdrawn bool, err error) {
	plan, hold := e.resolve(&known.Delivery)
	if hold != "" {
		return nil, false, fault.New(fault.Conflict, hold, "delivery %s would be held: %s", known.ID, holdText(hold, known.Destination)).
			WithHint("bring it back or enable it; held deliveries then go on by themselves")
	}
	withdrawn, flying := e.withdraw(known, false)
	if flying {
		return nil, false, fault.New(fault.Conflict, "attempt_in_progress", "delivery %s is being attempted now", known.ID)
	}
	now := time.Now()
	return &store.Outcome{
		Delivery: known.ID, Time: now, State: store.Pending, Reset: true, NextAt: now,
		Deadline: now.Add(plan.Retry.MaxAge), Reason: "retried by hand",
		Generation: e.snapshot.Load().Generation, By: by,
	}, withdrawn, nil
}

// Cancel ends a delivery. An attempt that is under way is not interrupted: if
// it succeeds the delivery is delivered, otherwise it stays canceled. It
// returns when that is committed.
//
// Returns NotFound if the delivery is not known, and Conflict with code
// already_final if it has ended.
func (e *Engine) Cancel(ctx context.Context, id store.DeliveryID, by string) error {
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	known, err := e.config.Records.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if known.State.Final() {
		return fault.New(fault.Conflict, "already_final", "delivery %s has ended: it is %s", id, known.State)
	}
	withdrawn, _ := e.withdraw(known, true)
	err = e.decide(ctx, &store.Outcome{
		Delivery: id, Time: time.Now(), State: store.Canceled, Reason: "canceled by hand",
		Generation: e.snapshot.Load().Generation, By: by,
	})
	if withdrawn {
		e.config.Queue.Release(id)
	}
	if err != nil {
		e.unmark(known)
		return fmt.Errorf("canceling delivery %s: %w", id, err)
	}
	e.lane(known.Destination).meter.Ended(store.Canceled.String())
	return nil
}

// withdraw takes a delivery out of the waiting jobs of its lane; the caller
// releases it when the decision is committed, so that the store does not hand it
// out before. An attempt that is under way is only marked, if cancel says so.
func (e *Engine) withdraw(known *store.DeliveryRecord, cancel bool) (withdrawn, flying bool) {
	l := (*e.lanes.Load())[known.Destination]
	if l == nil {
		return false, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.workers {
		if w.job.delivery != nil && w.job.delivery.ID == known.ID {
			w.canceled = w.canceled || cancel
			return false, true
		}
	}
	j, ok := l.waiting.remove(known.ID)
	if ok {
		l.bytes -= j.size
	}
	return ok, false
}

// unmark takes back the mark of a cancel that was not committed.
func (e *Engine) unmark(known *store.DeliveryRecord) {
	l := e.lane(known.Destination)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.workers {
		if w.job.delivery != nil && w.job.delivery.ID == known.ID {
			w.canceled = false
		}
	}
}

// takeTurn waits until nobody else decides about deliveries.
func (e *Engine) takeTurn(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Engine) endTurn() { <-e.turn }

// Progress says how far a retry of many deliveries has come.
type Progress struct {
	Retried int `json:"retried"`
	// Skipped would be held, or were being attempted.
	Skipped int `json:"skipped"`
}

// retryPage is how many deliveries are retried in one commit at most.
const retryPage = 200

// RetryMatching retries every delivery that the query finds (by default, the
// dead ones), so many in a second at most (0: as fast as they are committed).
// progress, if not nil, is called after each commit. It stops when ctx ends
// and returns what was done until then.
func (e *Engine) RetryMatching(ctx context.Context, query store.DeliveryQuery, perSecond float64, by string, progress func(Progress)) (Progress, error) {
	if query.State == 0 {
		query.State = store.Dead
	}
	query.Limit = retryPage
	if perSecond > 0 {
		query.Limit = int(min(retryPage, max(1, perSecond/10))) // ten commits a second, or fewer
	}
	var total Progress
	due := time.Now()
	for {
		done, next, err := e.retryOnePage(ctx, query, by)
		total.Retried += done.Retried
		total.Skipped += done.Skipped
		if err != nil {
			return total, err
		}
		if progress != nil {
			progress(total)
		}
		if next.IsZero() {
			return total, nil
		}
		query.After = next
		if perSecond <= 0 {
			continue
		}
		due = due.Add(time.Duration(float64(done.Retried) / perSecond * float64(time.Second)))
		if wait := time.Until(due); wait > 0 && !pause(ctx, wait) {
			return total, context.Cause(ctx)
		}
	}
}

func (e *Engine) retryOnePage(ctx context.Context, query store.DeliveryQuery, by string) (done Progress, next store.DeliveryID, err error) {
	if err := e.takeTurn(ctx); err != nil {
		return done, next, err
	}
	defer e.endTurn()
	page, err := e.config.Records.Deliveries(ctx, query)
	if err != nil {
		return done, next, fmt.Errorf("listing deliveries to retry: %w", err)
	}
	var outcomes []*store.Outcome
	var withdrawn []store.DeliveryID
	for _, known := range page.Deliveries {
		o, taken, err := e.retryOutcome(known, by)
		if err != nil {
			done.Skipped++
			continue
		}
		if taken {
			withdrawn = append(withdrawn, known.ID)
		}
		outcomes = append(outcomes, o)
	}
	if len(outcomes) > 0 {
		err = e.decide(ctx, outcomes...)
	}
	if len(withdrawn) > 0 {
		e.config.Queue.Release(withdrawn...)
	}
	if err != nil {
		return done, next, fmt.Errorf("retrying deliveries: %w", err)
	}
	done.Retried = len(outcomes)
	return done, page.Next, nil
}
