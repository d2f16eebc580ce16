package embedded

import (
	"context"
	"fmt"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Append implements store.Journal.
func (s *Store) Append(ctx context.Context, batch *store.Batch) error {
	s.stamp(batch)
	keys, err := reservations(batch)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return s.journal.Append(ctx, batch)
	}
	if err := s.admit(ctx, batch, keys); err != nil {
		return err
	}
	err = s.journal.Append(ctx, batch)
	s.settle(batch, keys, err)
	return err
}

// Submit implements store.Journal.
func (s *Store) Submit(batch *store.Batch, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	s.stamp(batch)
	keys, err := reservations(batch)
	switch {
	case err != nil:
		go done(err)
	case s.ctx.Err() != nil:
		go done(closedFault())
	case len(keys) == 0:
		s.journal.Submit(batch, done)
	case len(batch.Dispatches) > 0:
		// What is dispatched is looked up first.
		s.group.Go(func() { s.submitLater(batch, keys, done) })
	default:
		wait, err := s.dedupe.reserve(keys)
		if err != nil || wait != nil {
			s.group.Go(func() { s.submitLater(batch, keys, done) })
			return
		}
		s.submit(batch, keys, done)
	}
}

func (s *Store) submitLater(batch *store.Batch, keys []string, done func(error)) {
	if err := s.admit(s.ctx, batch, keys); err != nil {
		done(err)
		return
	}
	s.submit(batch, keys, done)
}

func (s *Store) submit(batch *store.Batch, keys []string, done func(error)) {
	s.journal.Submit(batch, func(err error) {
		s.settle(batch, keys, err)
		done(err)
	})
}

// settle ends the reservation of a batch that is committed or has failed.
func (s *Store) settle(batch *store.Batch, keys []string, err error) {
	var committed []*store.Event
	if err == nil {
		committed = batch.Events
	}
	s.dedupe.release(keys, committed)
}

// stamp gives events without a time of arrival the present one: retention and the
// window of dedupe keys are measured by it. The deliveries of a dispatch are due
// from now on, not since their event arrived.
func (s *Store) stamp(batch *store.Batch) {
	for _, e := range batch.Events {
		if e.Received.IsZero() {
			e.Received = s.now()
		}
	}
	for _, d := range batch.Dispatches {
		for _, v := range d.Deliveries {
			if v.NotBefore.IsZero() {
				v.NotBefore = s.now()
			}
		}
	}
}

// reservations lists what no other batch may commit at the same time: the dedupe
// keys of events and the deliveries of dispatches.
func reservations(batch *store.Batch) ([]string, error) {
	var keys []string
	for _, e := range batch.Events {
		if e.DedupeKey != "" {
			keys = append(keys, eventKey(e))
		}
	}
	for _, d := range batch.Dispatches {
		for _, v := range d.Deliveries {
			keys = append(keys, string(dispatchKey)+d.Event.String()+fmt.Sprintf("%q", [...]string{v.Rule, v.Target, v.Run}))
		}
	}
	if len(keys) < 2 {
		return keys, nil
	}
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if seen[k] {
			return nil, fault.New(fault.Invalid, "batch_ambiguous",
				"a batch has two events with one dedupe key, or one delivery twice")
		}
		seen[k] = true
	}
	return keys, nil
}

// admit waits until the batch may be committed and reserves its keys. Returns
// *DuplicateError if a dedupe key is taken, NotFound if the event of a dispatch
// is not there.
func (s *Store) admit(ctx context.Context, batch *store.Batch, keys []string) error {
	for {
		wait, err := s.dedupe.reserve(keys)
		if err != nil {
			return err
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
			return closedFault()
		}
	}
	if len(batch.Dispatches) == 0 {
		return nil
	}
	if err := s.prepareDispatches(ctx, batch); err != nil {
		s.dedupe.release(keys, nil)
		return err
	}
	return nil
}

func closedFault() error {
	return fault.Wrap(fault.Transient, errClosed, "store_unavailable", "the store is closing")
}

// prepareDispatches gives the deliveries their ids and leaves out those that exist
// already: a replay that goes on after a crash may meet its own.
func (s *Store) prepareDispatches(ctx context.Context, batch *store.Batch) error {
	if err := s.index.reach(ctx); err != nil {
		return err
	}
	for _, d := range batch.Dispatches {
		rec, err := s.head(d.Event)
		if err != nil {
			return err
		}
		fresh := d.Deliveries[:0:0]
		for _, v := range d.Deliveries {
			v.Event = d.Event
			v.ID = store.NewDeliveryID(d.Event, rec.Event.Envelope.ID, v.Rule, v.Target, v.Run)
			exists, err := s.exists(ctx, v.ID)
			if err != nil {
				return err
			}
			if !exists {
				fresh = append(fresh, v)
			}
		}
		d.Deliveries = fresh
	}
	kept := batch.Dispatches[:0:0]
	for _, d := range batch.Dispatches {
		if len(d.Deliveries) > 0 {
			kept = append(kept, d)
		}
	}
	batch.Dispatches = kept
	return nil
}
