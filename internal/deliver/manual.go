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
