package embedded

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

func eventNotFound(at store.Position) error {
	return fault.New(fault.NotFound, "event_not_found", "there is no event at %s", at).
		WithHint("it may have been dropped by retention")
}

func deliveryNotFound(id store.DeliveryID) error {
	return fault.New(fault.NotFound, "delivery_not_found", "there is no delivery %s", id).
		WithHint("its event may have been dropped by retention")
}

// below reports whether retention has dropped the position, or is about to.
func (s *Store) below(at store.Position) bool { return at < store.Position(s.floor.Load()) }

// withoutDeliveries is an event as it is read: its deliveries have lives of their
// own, which Reader.Deliveries tells.
func withoutDeliveries(e *store.Event) *store.Event {
	e.Deliveries = nil
	return e
}

// Event implements store.Reader.
func (s *Store) Event(_ context.Context, at store.Position) (*store.Event, error) {
	if s.below(at) {
		return nil, eventNotFound(at)
	}
	rec, err := s.journal.Read(at)
	if fault.Is(err, fault.NotFound) || err == nil && rec.Event == nil {
		return nil, eventNotFound(at)
	}
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", at, err)
	}
	return withoutDeliveries(rec.Event), nil
}

// head reads an event without its body.
func (s *Store) head(at store.Position) (store.Record, error) {
	if s.below(at) {
		return store.Record{}, eventNotFound(at)
	}
	rec, _, err := s.journal.ReadHead(at)
	if fault.Is(err, fault.NotFound) || err == nil && rec.Event == nil {
		return store.Record{}, eventNotFound(at)
	}
	if err != nil {
		return store.Record{}, fmt.Errorf("reading event %s: %w", at, err)
	}
	return rec, nil
}

// EventsByID implements store.Reader.
func (s *Store) EventsByID(ctx context.Context, id string) ([]*store.Event, error) {
	if err := s.index.reach(ctx); err != nil {
		return nil, err
	}
	packed := idBytes(event.ID(id))
	var out []*store.Event
	for _, seg := range s.journal.Segments() {
		if low, high, ok := s.index.ids(seg.Number); ok && (bytes.Compare(packed, low) < 0 || bytes.Compare(packed, high) > 0) {
			continue
		}
		var found []store.Position
		err := s.withIndex(ctx, seg.Number, func(file *segmentIndex) error {
			found = found[:0]
			if seg.Sealed {
				if err := s.index.learnIDs(ctx, file, seg.Start()+store.Position(seg.Bytes)); err != nil {
					return err
				}
			}
			return rows(ctx, file.read, "SELECT at FROM events WHERE id = ? ORDER BY at", []any{packed}, scanPositions(&found))
		})
		if err != nil {
			return nil, fmt.Errorf("looking up event id %q: %w", id, err)
		}
		for _, at := range found {
			e, err := s.Event(ctx, at)
			switch {
			case err == nil:
				out = append(out, e)
			case !fault.Is(err, fault.NotFound):
				return nil, err
			}
		}
	}
	return out, nil
}

func scanPositions(out *[]store.Position) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var at int64
		err := r.Scan(&at)
		*out = append(*out, intPos(at))
		return err
	}
}

// errDropped says that a segment is not there any more.
var errDropped = errors.New("the segment was dropped")

// withIndex calls fn with the index file of a segment. If the file turns out to be
// damaged it is made anew and fn called again. A segment that was dropped calls
// nothing.
func (s *Store) withIndex(ctx context.Context, number uint32, fn func(*segmentIndex) error) error {
	for again := false; ; again = true {
		err := s.useIndex(ctx, number, fn)
		if errors.Is(err, errDropped) {
			return nil
		}
		if err == nil || again || !damaged(err) {
			return err
		}
		if err := s.index.repair(ctx, number, err); err != nil {
			return err
		}
		if err := s.index.reach(ctx); err != nil {
			return err
		}
	}
}

func (s *Store) useIndex(ctx context.Context, number uint32, fn func(*segmentIndex) error) error {
	if s.below(journal.Segment{Number: number}.Start()) || number > segmentOf(s.journal.Horizon()) {
		return errDropped
	}
	file, err := s.index.pool.get(ctx, number)
	if err != nil {
		return err
	}
	defer s.index.pool.put(file)
	return fn(file)
}

// exists reports whether the index has the delivery.
func (s *Store) exists(ctx context.Context, id store.DeliveryID) (found bool, err error) {
	err = s.withIndex(ctx, segmentOf(id.Event), func(file *segmentIndex) error {
		var n int
		err := file.read.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE at = ? AND key = ?",
			posInt(id.Event), int64(id.Key)).Scan(&n)
		found = n > 0
		return err
	})
	return found, err
}

// life is what the index knows of one delivery.
type life struct {
	row      *indexedDelivery
	eventID  event.ID
	outcomes []store.Position // all of them, oldest first
}

// lifeOf looks a delivery up; nil if there is none.
func (s *Store) lifeOf(ctx context.Context, id store.DeliveryID) (found *life, err error) {
	if err := s.index.reach(ctx); err != nil {
		return nil, err
	}
	err = s.withIndex(ctx, segmentOf(id.Event), func(file *segmentIndex) error {
		found = nil
		l := &life{}
		var packed []byte
		row := file.read.QueryRowContext(ctx, "SELECT "+deliveryColumns+", (SELECT id FROM events e WHERE e.at = d.at)"+
			" FROM deliveries d WHERE at = ? AND key = ?", posInt(id.Event), int64(id.Key))
		var err error
		if l.row, err = file.scanDelivery(row.Scan, &packed); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		}
		l.eventID = idText(packed)
		err = rows(ctx, file.read, "SELECT pos FROM outcomes WHERE at = ? AND key = ? ORDER BY pos",
			[]any{posInt(id.Event), int64(id.Key)}, scanPositions(&l.outcomes))
		if l.row.last != 0 {
			l.outcomes = append(l.outcomes, l.row.last)
		}
		slices.Sort(l.outcomes)
		l.outcomes = slices.Compact(l.outcomes)
		found = l
		return err
	})
	return found, err
}

// history implements historian. Deliveries must go on when the index cannot be
// written, and not wait for one that is being made anew: the journal alone tells
// the same, more slowly.
func (s *Store) history(
	ctx context.Context, id store.DeliveryID, before store.Position,
) (d deliveryRow, stand standing, ok bool, err error) {
	if s.index.reached.Load() != 0 {
		d, stand, ok, err = s.indexedHistory(ctx, id, before)
		if err == nil || ctx.Err() != nil {
			return d, stand, ok, err
		}
	}
	return s.scannedHistory(ctx, id, before)
}

// scannedHistory reads the journal from the delivery's event on.
func (s *Store) scannedHistory(
	ctx context.Context, id store.DeliveryID, before store.Position,
) (d deliveryRow, stand standing, ok bool, err error) {
	var of *eventRow
	_, err = s.journal.Scan(ctx, id.Event, func(r store.Record) error {
		if r.At >= before || of == nil && r.At > id.Event {
			return errChunk
		}
		if o := r.Outcome; o != nil {
			if ok && o.Delivery == id {
				stand.take(outcomeChange(o).outcome)
			}
			return nil
		}
		c := changeOf(r)
		if of == nil {
			of = c.event
		}
		for _, row := range c.deliveries {
			if row.id == id && of != nil && !ok {
				row.received, row.size = of.received, of.size
				d, stand, ok = row, row.begin(), true
			}
		}
		return nil
	})
	if errors.Is(err, errChunk) {
		err = nil
	}
	return d, stand, ok, err
}

// indexedHistory looks the outcomes up. The delivery comes from the journal, so
// that it is exactly what was dispatched.
func (s *Store) indexedHistory(
	ctx context.Context, id store.DeliveryID, before store.Position,
) (d deliveryRow, stand standing, ok bool, err error) {
	l, err := s.lifeOf(ctx, id)
	if err != nil || l == nil || l.row.created >= before {
		return d, stand, false, err
	}
	rec, _, err := s.journal.ReadHead(l.row.created)
	if err != nil {
		return d, stand, false, goneIsNotFound(err)
	}
	of := rec.Event
	if rec.Dispatch != nil {
		ev, err := s.head(id.Event)
		if err != nil {
			return d, stand, false, goneIsNotFound(err)
		}
		of = ev.Event
		of.Deliveries = rec.Dispatch.Deliveries
	}
	if of == nil {
		return d, stand, false, nil
	}
	_, size, err := s.journal.ReadHead(id.Event)
	if err != nil {
		return d, stand, false, goneIsNotFound(err)
	}
	for _, row := range deliveriesOf(of.Deliveries, l.row.created, nanos(of.Received), size) {
		if row.id == id {
			d, ok = row, true
		}
	}
	stand = d.begin()
	for _, at := range l.outcomes {
		if at >= before {
			break
		}
		if o := s.outcomeAt(at); o != nil {
			stand.take(outcomeChange(o).outcome)
		}
	}
	return d, stand, ok, nil
}

func goneIsNotFound(err error) error {
	if k := fault.KindOf(err); k == fault.NotFound || k == fault.Internal {
		return nil
	}
	return err
}

// Delivery implements store.Reader.
func (s *Store) Delivery(ctx context.Context, id store.DeliveryID) (*store.DeliveryRecord, error) {
	if s.below(id.Event) {
		return nil, deliveryNotFound(id)
	}
	l, err := s.lifeOf(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading delivery %s: %w", id, err)
	}
	if l == nil {
		return nil, deliveryNotFound(id)
	}
	rec := l.row.record(l.eventID)
	for _, at := range l.outcomes {
		if o := s.outcomeAt(at); o != nil {
			rec.Outcomes = append(rec.Outcomes, o)
		}
	}
	return rec, nil
}

// outcomeAt reads an outcome; nil if its bytes are damaged, which Stats tells.
func (s *Store) outcomeAt(at store.Position) *store.Outcome {
	rec, err := s.journal.Read(at)
	if err != nil {
		return nil
	}
	return rec.Outcome
}

// record returns the row as callers see it.
func (d *indexedDelivery) record(id event.ID) *store.DeliveryRecord {
	return &store.DeliveryRecord{
		Delivery: d.delivery(d.standing.deadline), EventID: id, State: d.state, Attempts: d.attempts, Counted: d.counted,
		NextAt: fromNanos(d.next), Updated: fromNanos(d.updated), Status: d.status, Class: d.class, Reason: d.reason,
	}
}

// Scan implements store.Reader.
func (s *Store) Scan(ctx context.Context, from store.Position, fn func(store.Record) error) (store.Position, error) {
	return s.journal.Scan(ctx, max(from, store.Position(s.floor.Load())), func(r store.Record) error {
		if r.Event != nil {
			r.Event.Deliveries = nil
		}
		return fn(r)
	})
}

// Horizon implements store.Reader.
func (s *Store) Horizon() store.Position { return s.journal.Horizon() }

// Changed implements store.Reader.
func (s *Store) Changed() <-chan struct{} { return s.journal.Changed() }

func sortGroups(groups []store.HeldGroup) {
	slices.SortFunc(groups, func(a, b store.HeldGroup) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Target, b.Target),
			cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Reason, b.Reason))
	})
}
