package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/grapnel/grapnel/internal/store"
)

// blockEvents is how many events share one row of blocks.
const blockEvents = 1024

// block is a run of events and the times between which they were received.
type block struct {
	first, last    store.Position
	events         int
	oldest, newest int64
}

// indexedDelivery is a delivery's row; earlier are outcomes before the last one
// that are not in the file yet.
type indexedDelivery struct {
	deliveryRow
	standing
	earlier []store.Position
}

func (d *indexedDelivery) take(o *outcomeRow) {
	if o.at > d.last && d.last != 0 {
		d.earlier = append(d.earlier, d.last)
	}
	d.standing.take(o)
}

// segmentBatch is what a run of the journal means to one index file.
type segmentBatch struct {
	events     []*eventRow
	matched    map[store.Position]bool // events that have deliveries
	deliveries []*indexedDelivery
	byID       map[store.DeliveryID]*indexedDelivery
	outcomes   []*outcomeRow // of deliveries that are in the file
}

func newSegmentBatch() *segmentBatch {
	return &segmentBatch{matched: map[store.Position]bool{}, byID: map[store.DeliveryID]*indexedDelivery{}}
}

func (b *segmentBatch) addDelivery(d *deliveryRow) {
	if b.byID[d.id] != nil {
		return
	}
	row := &indexedDelivery{deliveryRow: *d, standing: d.begin()}
	b.byID[d.id] = row
	b.deliveries = append(b.deliveries, row)
	b.matched[d.id.Event] = true
}

func (b *segmentBatch) addOutcome(o *outcomeRow) {
	if d := b.byID[o.id]; d != nil {
		d.take(o)
		return
	}
	b.outcomes = append(b.outcomes, o)
}

// apply writes the batch, and that the file contains all below upTo, in one
// transaction. After an error nothing of it is there.
func (s *segmentIndex) apply(ctx context.Context, b *segmentBatch, fingerprint func(string) uint64, upTo store.Position) error {
	if err := s.prepare(ctx); err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	err := inTx(ctx, s.write, func(tx *sql.Tx) error {
		w := segmentWriter{segmentIndex: s, tx: tx, stmts: s.in(ctx, tx), fingerprint: fingerprint}
		if err := w.events(ctx, b); err != nil {
			return err
		}
		if err := w.deliveries(ctx, b); err != nil {
			return err
		}
		for _, o := range b.outcomes {
			if err := w.outcome(ctx, o); err != nil {
				return err
			}
		}
		return w.meta(ctx, b, upTo)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", s.path, err), s.load(ctx))
	}
	s.applied = upTo
	return nil
}

type segmentWriter struct {
	*segmentIndex
	tx          *sql.Tx
	stmts       statements
	fingerprint func(string) uint64
}

// insert runs the statement for many rows at once while there are enough, then
// the one for single rows.
func (w *segmentWriter) insert(ctx context.Context, stmts [2]*sql.Stmt, n int, row func(i int, args []any) ([]any, error)) error {
	var args []any
	var err error
	for i := 0; i < n; {
		at, count := 0, 1
		if n-i >= rowsAtOnce {
			at, count = 1, rowsAtOnce
		}
		args = args[:0]
		for range count {
			if args, err = row(i, args); err != nil {
				return err
			}
			i++
		}
		if _, err := stmts[at].ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (w *segmentWriter) events(ctx context.Context, b *segmentBatch) error {
	err := w.insert(ctx, w.stmts.insertEvents, len(b.events), func(i int, args []any) ([]any, error) {
		e := b.events[i]
		k, err := w.kindID(ctx, kind{e.bus, e.source, e.kind, e.endpoint})
		var finger any
		if e.dedupeKey != "" {
			finger = int64(w.fingerprint(e.dedupeKey))
		}
		flags := 0
		if e.duplicate {
			flags |= flagDuplicate
		}
		if !b.matched[e.at] {
			flags |= flagUnmatched
		}
		return append(args, posInt(e.at), idBytes(e.id), e.received, k, finger, e.size, flags), err
	})
	if err != nil {
		return err
	}
	return w.blocks(ctx, b.events)
}

// blocks enters the events in the last block, and in new ones when it is full.
func (w *segmentWriter) blocks(ctx context.Context, events []*eventRow) error {
	save := func() error {
		if w.block.events == 0 {
			return nil
		}
		_, err := w.tx.ExecContext(ctx, "INSERT OR REPLACE INTO blocks VALUES(?, ?, ?, ?, ?)",
			posInt(w.block.first), posInt(w.block.last), w.block.events, w.block.oldest, w.block.newest)
		return err
	}
	for _, e := range events {
		if w.block.events >= blockEvents {
			if err := save(); err != nil {
				return err
			}
			w.block = block{}
		}
		if w.block.events == 0 {
			w.block = block{first: e.at, oldest: e.received, newest: e.received}
		}
		w.block.last = e.at
		w.block.events++
		w.block.oldest, w.block.newest = min(w.block.oldest, e.received), max(w.block.newest, e.received)
	}
	if len(events) == 0 {
		return nil
	}
	return save()
}

func (s *segmentIndex) loadBlock(ctx context.Context) error {
	var first, last int64
	s.block = block{}
	b := &s.block
	err := s.read.QueryRowContext(ctx, "SELECT first, last, events, oldest, newest FROM blocks ORDER BY first DESC LIMIT 1").
		Scan(&first, &last, &b.events, &b.oldest, &b.newest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	b.first, b.last = intPos(first), intPos(last)
	return err
}

func (w *segmentWriter) deliveries(ctx context.Context, b *segmentBatch) error {
	err := w.insert(ctx, w.stmts.insertDeliveries, len(b.deliveries), func(i int, args []any) ([]any, error) {
		d := b.deliveries[i]
		a, err := w.aimID(ctx, aim{d.rule, d.target, d.destination})
		return append(args, posInt(d.id.Event), int64(d.id.Key), posInt(d.created), a, orNull(d.run), orNull(d.hold),
			int(d.origin), int(d.mode), d.notBefore, int(d.state), d.attempts, d.counted, d.next, d.updated,
			d.standing.deadline, d.status, orNull(d.class), orNull(d.reason), posInt(d.last)), err
	})
	if err != nil {
		return err
	}
	for _, d := range b.deliveries {
		if err := w.earlier(ctx, d); err != nil {
			return err
		}
		if d.created != d.id.Event {
			if _, err := w.stmts.matched.ExecContext(ctx, posInt(d.id.Event)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *segmentWriter) earlier(ctx context.Context, d *indexedDelivery) error {
	for _, pos := range d.earlier {
		if _, err := w.stmts.insertOutcome.
			ExecContext(ctx, posInt(d.id.Event), int64(d.id.Key), posInt(pos)); err != nil {
			return err
		}
	}
	return nil
}

// outcome applies an outcome to a delivery that is in the file. One of a delivery
// that is not there says nothing: its event was dropped or damaged.
func (w *segmentWriter) outcome(ctx context.Context, o *outcomeRow) error {
	at, k := posInt(o.id.Event), int64(o.id.Key)
	d, err := w.scanDelivery(w.stmts.selectDelivery.QueryRowContext(ctx, at, k).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.at <= d.last {
		return nil
	}
	d.take(o)
	if err := w.earlier(ctx, d); err != nil {
		return err
	}
	_, err = w.stmts.updateDelivery.ExecContext(ctx, int(d.state), d.attempts, d.counted, d.next, d.updated,
		d.standing.deadline, d.status, orNull(d.class), orNull(d.reason), posInt(d.last), at, k)
	return err
}

func (w *segmentWriter) meta(ctx context.Context, b *segmentBatch, upTo store.Position) error {
	if !w.marked && len(b.events) > 0 {
		first := b.events[0]
		if _, err := w.tx.ExecContext(ctx, "UPDATE meta SET mark_at = ?, mark_id = ?", posInt(first.at), string(first.id)); err != nil {
			return err
		}
		w.marked = true
	}
	_, err := w.tx.ExecContext(ctx, "UPDATE meta SET applied = ?", posInt(upTo))
	return err
}

func (w *segmentWriter) kindID(ctx context.Context, k kind) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := w.kinds[k]; id != 0 {
		return id, nil
	}
	id := int64(len(w.kinds) + 1)
	_, err := w.tx.ExecContext(ctx, "INSERT INTO kinds VALUES(?, ?, ?, ?, ?)", id, k.bus, k.source, k.kind, k.endpoint)
	w.kinds[k], w.kind[id] = id, k
	return id, err
}

func (w *segmentWriter) aimID(ctx context.Context, a aim) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := w.aims[a]; id != 0 {
		return id, nil
	}
	id := int64(len(w.aims) + 1)
	_, err := w.tx.ExecContext(ctx, "INSERT INTO aims VALUES(?, ?, ?, ?)", id, a.rule, a.target, a.destination)
	w.aims[a], w.aim[id] = id, a
	return id, err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// idRange returns the smallest and the largest event id in the file, packed.
func (s *segmentIndex) idRange(ctx context.Context) (low, high []byte, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)").Scan(&low, &high)
	return low, high, err
}
