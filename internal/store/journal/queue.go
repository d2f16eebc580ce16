package journal

import (
	"context"
	"hash/crc32"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// entry is a batch on its way through the writer, encoded but for what its place
// decides.
type entry struct {
	batch  *store.Batch
	pieces []piece
	heads  []byte   // the memory of all heads
	keys   []uint64 // of the delivery ids, in order
	size   int64    // of the frame
	oldest time.Time
	newest time.Time

	done   func(error)
	result chan error // instead of done, for Append

	offset  int64      // of the frame
	records []Location // of its pieces
}

// keepHeads is the largest buffer that an entry takes back to the pool.
const keepHeads = 64 << 10

func (j *Journal) newEntry(b *store.Batch) (*entry, error) {
	e, _ := j.entries.Get().(*entry)
	if e == nil {
		e = &entry{result: make(chan error, 1)}
	}
	if err := j.encode(e, b); err != nil {
		j.recycle(e)
		return nil, err
	}
	return e, nil
}

// recycle gives the entry back. Nothing refers to it or to its heads any more.
func (j *Journal) recycle(e *entry) {
	clear(e.pieces)
	heads := e.heads[:0]
	if cap(heads) > keepHeads {
		heads = nil
	}
	*e = entry{pieces: e.pieces[:0], heads: heads, keys: e.keys[:0], result: e.result}
	j.entries.Put(e)
}

// encode fills in the entry. It runs on the submitter's goroutine, so that the
// writer only copies.
func (j *Journal) encode(e *entry, b *store.Batch) error {
	e.batch = b
	e.size = frameSize
	for _, v := range b.Events {
		start, first := len(e.heads), len(e.keys)
		e.keys = appendKeys(e.keys, v)
		e.heads = appendEvent(e.heads, v, e.keys[first:])
		body, detail := EventTail(v)
		if err := e.add(kindEvent, start, body, detail); err != nil {
			return err
		}
		e.saw(v.Received)
	}
	for _, v := range b.Dispatches {
		if err := j.nameDeliveries(v); err != nil {
			return err
		}
		start := len(e.heads)
		e.heads = AppendDispatch(e.heads, v)
		if err := e.add(kindDispatch, start, nil, nil); err != nil {
			return err
		}
	}
	for _, v := range b.Outcomes {
		start := len(e.heads)
		e.heads = AppendOutcome(e.heads, v)
		if err := e.add(kindOutcome, start, nil, nil); err != nil {
			return err
		}
		e.saw(v.Time)
	}
	e.fixHeads()
	if e.size > j.cfg.MaxFrame {
		return fault.New(fault.TooLarge, "batch_too_large", "a batch of %d bytes is over the limit of %d", e.size, j.cfg.MaxFrame)
	}
	return nil
}

// nameDeliveries gives the deliveries of a dispatch their ids, for which the id
// of the stored event is needed.
func (j *Journal) nameDeliveries(d *store.Dispatch) error {
	var id *store.Event
	for _, v := range d.Deliveries {
		v.Event = d.Event
		if !v.ID.IsZero() {
			continue
		}
		if id == nil {
			rec, _, err := j.ReadHead(d.Event)
			if err != nil {
				return err
			}
			if rec.Event == nil {
				return errNotFound(d.Event)
			}
			id = rec.Event
		}
		v.ID = store.NewDeliveryID(d.Event, id.Envelope.ID, v.Rule, v.Target, v.Run)
	}
	return nil
}

// add appends a piece whose head is e.heads[start:]. The heads move while the
// buffer grows; fixHeads sets them right.
func (e *entry) add(kind recordKind, start int, body, detail []byte) error {
	head := e.heads[start:]
	if len(head) > maxHeadSize {
		return fault.New(fault.TooLarge, "batch_too_large", "the fields of a record take %d bytes, the limit is %d",
			len(head), maxHeadSize)
	}
	p := piece{kind: kind, head: head, tail: [2][]byte{body, detail}}
	p.tailCRC = crc32.Update(crc32.Checksum(body, castagnoli), castagnoli, detail)
	e.pieces = append(e.pieces, p)
	e.size += p.size()
	return nil
}

func (e *entry) fixHeads() {
	at := 0
	for i := range e.pieces {
		n := len(e.pieces[i].head)
		e.pieces[i].head = e.heads[at : at+n]
		at += n
	}
}

func (e *entry) saw(t time.Time) { widen(&e.oldest, &e.newest, t) }

// widen makes the range from oldest to newest hold t; zero times do not count.
func widen(oldest, newest *time.Time, t time.Time) {
	if t.IsZero() {
		return
	}
	if oldest.IsZero() || t.Before(*oldest) {
		*oldest = t
	}
	if newest.IsZero() || t.After(*newest) {
		*newest = t
	}
}

// queue holds what waits for the writer. It is bounded by the bytes of all that
// is not done yet, what is being written included.
type queue struct {
	limit int64
	wake  chan struct{} // size 1: a signal that stays

	mu     sync.Mutex // guards what follows
	list   []*entry
	bytes  int64
	urgent int           // entries that are not lazy
	idle   bool          // the writer waits for a signal
	room   chan struct{} // closed when bytes shrink; nil unless someone waits
	closed bool
}

// push queues the entry, waiting for room. Returns the cause of ctx, or
// store_unavailable once the journal is closing.
func (q *queue) push(ctx context.Context, e *entry) error {
	q.mu.Lock()
	for q.bytes > 0 && q.bytes+e.size > q.limit && !q.closed {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		q.mu.Lock()
	}
	if q.closed {
		q.mu.Unlock()
		return errClosed()
	}
	first := len(q.list) == 0
	q.list = append(q.list, e)
	q.bytes += e.size
	if !e.batch.Lazy {
		q.urgent++
	}
	// A lazy entry wakes the writer only to start the clock.
	signal := q.idle && (first || q.urgent > 0)
	if signal {
		q.idle = false
	}
	q.mu.Unlock()
	if signal {
		q.signal()
	}
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // one is pending
	}
}

// take moves what waits to the end of into. It takes nothing while only lazy
// entries wait, unless lazy is set; waiting says that there are some. If it takes
// nothing the next push that matters signals.
func (q *queue) take(into []*entry, lazy bool) (list []*entry, waiting, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.urgent == 0 && !lazy && !q.closed {
		q.idle = true
		return into, len(q.list) > 0, false
	}
	into = append(into, q.list...)
	clear(q.list)
	q.list = q.list[:0]
	q.urgent = 0
	q.idle = len(into) == 0
	return into, false, q.closed
}

// release makes room.
func (q *queue) release(bytes int64) {
	q.mu.Lock()
	q.bytes -= bytes
	room := q.room
	q.room = nil
	q.mu.Unlock()
	if room != nil {
		close(room)
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	room := q.room
	q.room = nil
	q.mu.Unlock()
	if room != nil {
		close(room)
	}
	q.signal()
}

func (q *queue) waiting() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
