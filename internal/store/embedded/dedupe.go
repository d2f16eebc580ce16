package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// dedupe remembers which dedupe keys are taken: 64 bits of each, the position of
// its event and when that was received. A hit is checked against the stored event,
// so that two keys that share their 64 bits never cost an event.
type dedupe struct {
	cfg     *Config
	journal *journal.Journal
	loaded  chan struct{} // closed when what was stored before the start is known

	mu    sync.Mutex // guards what follows
	taken map[uint64]first
	order []uint64 // fingerprints in order of their events, from head on
	head  int
	// flights are the keys that are being committed. The channel is closed when
	// that is decided.
	flights map[string]chan struct{}
}

// first is the event that took a key.
type first struct {
	at       store.Position
	received int64
}

func newDedupe(cfg *Config, j *journal.Journal) *dedupe {
	return &dedupe{
		cfg: cfg, journal: j, loaded: make(chan struct{}),
		taken: map[uint64]first{}, flights: map[string]chan struct{}{},
	}
}

// reserve takes the keys for a batch that is about to be committed. It returns a
// channel to wait for before trying again if one of them is being committed by
// another batch, and a *DuplicateError if one is taken.
func (d *dedupe) reserve(keys []string) (wait <-chan struct{}, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	select {
	case <-d.loaded:
	default:
		return d.loaded, nil
	}
	passed := make([]store.Position, len(keys)) // holders of a fingerprint that are not duplicates
	for {
		i, f, wait := d.tryReserve(keys, passed)
		if wait != nil || i < 0 {
			return wait, nil
		}
		if dup := d.holder(keys[i], f); dup != nil {
			return nil, dup
		}
		passed[i] = f.at
	}
}

// tryReserve takes all keys or none. It returns the number of a key whose
// fingerprint is taken and by whom, or a channel to wait for, or -1.
func (d *dedupe) tryReserve(keys []string, passed []store.Position) (int, first, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	for i, k := range keys {
		if flight := d.flights[k]; flight != nil {
			return -1, first{}, flight
		}
		if k[0] == dispatchKey {
			continue
		}
		f, ok := d.taken[d.cfg.fingerprint(k[1:])]
		if ok && f.at != passed[i] && now.Sub(fromNanos(f.received)) < d.cfg.DedupeWindow {
			return i, f, nil
		}
	}
	flight := make(chan struct{})
	for _, k := range keys {
		d.flights[k] = flight
	}
	return -1, first{}, nil
}

// holder says whether the event at f really has the key. One that was dropped does
// not hold it any more; of one that cannot be read nothing is known, and taking an
// event twice is better than not at all.
func (d *dedupe) holder(k string, f first) *store.DuplicateError {
	rec, _, err := d.journal.ReadHead(f.at)
	if err != nil || rec.Event == nil || rec.Event.DedupeKey != k[1:] {
		return nil //nolint:nilerr // see above
	}
	return &store.DuplicateError{First: f.at, ID: rec.Event.Envelope.ID}
}

// release ends the reservation of keys; committed are the events that took theirs.
func (d *dedupe) release(keys []string, committed []*store.Event) {
	if len(keys) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range committed {
		if e.DedupeKey != "" {
			d.add(d.cfg.fingerprint(e.DedupeKey), first{e.At, nanos(e.Received)})
		}
	}
	flight := d.flights[keys[0]]
	for _, k := range keys {
		delete(d.flights, k)
	}
	close(flight)
}

// Keys of reservations start with a byte that tells what they are.
const (
	dedupeKey   = 'e'
	dispatchKey = 'd'
)

func eventKey(e *store.Event) string { return string(dedupeKey) + e.DedupeKey }

// add enters an event that is newer than all others, and forgets what is too old
// or too much.
func (d *dedupe) add(finger uint64, f first) {
	d.taken[finger] = f
	d.order = append(d.order, finger)
	oldest := d.cfg.Now().Add(-d.cfg.DedupeWindow).UnixNano()
	for d.head < len(d.order) {
		old := d.order[d.head]
		if f, ok := d.taken[old]; ok && f.received > oldest && len(d.order)-d.head <= d.cfg.DedupeCount {
			break
		}
		delete(d.taken, old)
		d.head++
	}
	if d.head > len(d.order)/2 {
		d.order = append(d.order[:0:0], d.order[d.head:]...)
		d.head = 0
	}
}

// loadDedupe reads the keys of the window from the indexes, newest segment first,
// and from the journal what the indexes do not have yet.
func (s *Store) loadDedupe(ctx context.Context) error {
	d := s.dedupe
	oldest := s.now().Add(-d.cfg.DedupeWindow)
	segments := s.journal.Segments()
	var parts [][]dedupeEntry
	count := 0
	for i := len(segments) - 1; i >= 0 && count < d.cfg.DedupeCount; i-- {
		seg := segments[i]
		if !seg.Last.IsZero() && seg.Last.Before(oldest) {
			break
		}
		part, err := s.dedupeOf(ctx, seg, oldest.UnixNano())
		if err != nil {
			return fmt.Errorf("reading dedupe keys of segment %d: %w", seg.Number, err)
		}
		parts = append(parts, part)
		count += len(part)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, part := range slices.Backward(parts) {
		for _, e := range part {
			d.add(e.finger, e.first)
		}
	}
	close(d.loaded)
	return nil
}

type dedupeEntry struct {
	finger uint64
	first  first
}

// dedupeOf returns the keys of one segment's events, oldest first.
func (s *Store) dedupeOf(ctx context.Context, seg journal.Segment, oldest int64) ([]dedupeEntry, error) {
	out, applied, err := s.dedupeFromIndex(ctx, seg.Number, oldest)
	if err != nil {
		return nil, err
	}
	end := seg.Start() + store.Position(seg.Bytes)
	if applied >= end {
		return out, nil
	}
	_, err = s.journal.Scan(ctx, max(applied, seg.Start()), func(r store.Record) error {
		if r.At >= end {
			return errChunk
		}
		if e := r.Event; e != nil && e.DedupeKey != "" && nanos(e.Received) > oldest {
			out = append(out, dedupeEntry{s.cfg.fingerprint(e.DedupeKey), first{e.At, nanos(e.Received)}})
		}
		return nil
	})
	if errors.Is(err, errChunk) {
		err = nil
	}
	return out, err
}

func (s *Store) dedupeFromIndex(ctx context.Context, number uint32, oldest int64) (out []dedupeEntry, applied store.Position, err error) {
	err = s.withIndex(ctx, number, func(file *segmentIndex) error {
		out = out[:0]
		// One snapshot for the rows and the position up to which they are complete.
		tx, err := file.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // nothing was written
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT applied FROM meta").Scan(&n); err != nil {
			return err
		}
		applied = intPos(n)
		return rows(ctx, tx, "SELECT at, fingerprint, received FROM events WHERE fingerprint IS NOT NULL AND received > ? ORDER BY at",
			[]any{oldest}, func(r *sql.Rows) error {
				var at, finger, received int64
				err := r.Scan(&at, &finger, &received)
				out = append(out, dedupeEntry{uint64(finger), first{intPos(at), received}})
				return err
			})
	})
	return out, applied, err
}
