package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
)

// Config says where the journal is and how it works. Only Dir is required.
type Config struct {
	// Dir is the data directory. Open makes it, locks it (file LOCK), checks
	// its format (file VERSION) and keeps the segments in its folder "journal".
	Dir string
	// Disk is the file system; nil means disk.OS().
	Disk disk.FS
	// SegmentBytes is the size at which a segment is sealed and the next one
	// begun, SegmentAge the age. Default 512 MiB and 24 h.
	SegmentBytes int64
	SegmentAge   time.Duration
	// QueueBytes bounds what waits to be written; whoever comes then waits.
	// Default 64 MiB.
	QueueBytes int64
	// MaxFrame is the size of the largest batch, in bytes. Default 64 MiB.
	MaxFrame int64
	// Reserve is the disk space kept for batches with Reserve set. Default
	// 64 MiB; negative: none.
	Reserve int64
	// ProbeEvery is how often a journal that cannot take records tries again.
	// Default 1 s.
	ProbeEvery time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes changes of state; nil means nowhere.
	Log *slog.Logger
	// Committed is called from the writer after each sync, in the order of the
	// journal, before anyone is told that the batch is done. Positions and
	// delivery ids are filled in and readable. It must be quick and must not
	// wait for the journal; it may keep the commits. The batches belong to whoever submitted them once their done
	// function has been called.
	Committed func([]*Commit)
}

// Commit is a batch that is durable.
type Commit struct {
	Batch *store.Batch
	Frame Location
	// Records has the place of each record: the batch's events, then its
	// dispatches, then its outcomes.
	Records []Location
	// Next is the position behind the batch: where a scan goes on.
	Next store.Position
}

// Location is a run of bytes in the journal.
type Location struct {
	At     store.Position
	Length int64
}

// Segment describes one file of the journal. First and Last are the oldest and
// the newest time of its records (an event's Received, an outcome's Time), zero
// if it has none.
type Segment struct {
	Number      uint32
	Bytes       int64 // synced, header included
	First, Last time.Time
	Sealed      bool
}

// Start returns the position below all records of the segment.
func (s Segment) Start() store.Position { return store.Position(s.Number) << 32 }

// Recovery says what Open found.
type Recovery struct {
	Segments int
	Horizon  store.Position
	// Torn are bytes at the end of the journal that a crash cut short. Nothing
	// of them was reported done.
	Torn []store.Damage
	// Damaged are quarantined bytes in front of valid ones.
	Damaged []store.Damage
	Took    time.Duration
}

// Stats are figures for metrics and health.
type Stats struct {
	Segments    int
	Bytes       int64 // of all segments
	QueuedBytes int64
	Commits     uint64 // batches
	Syncs       uint64 // frames written together count once
	Quarantined []store.Damage
	// Unavailable is why no records can be taken; empty when they can.
	Unavailable string
	// Full says that the reserve is in use: only batches with Reserve set are
	// taken.
	Full      bool
	FreeBytes int64 // of the file system, -1 if unknown
}

// The defaults of Config.
const (
	defaultSegmentBytes = 512 << 20
	defaultSegmentAge   = 24 * time.Hour
	defaultQueueBytes   = 64 << 20
	defaultMaxFrame     = 64 << 20
	defaultReserve      = 64 << 20
	defaultProbeEvery   = time.Second
)

// format is the number in the VERSION file of a data directory.
const format = 1

func (c *Config) fill() error {
	if c.Dir == "" {
		return fault.New(fault.Invalid, "data_dir_unusable", "no data directory is given")
	}
	setDefault(&c.SegmentBytes, defaultSegmentBytes)
	setDefault(&c.SegmentAge, defaultSegmentAge)
	setDefault(&c.QueueBytes, defaultQueueBytes)
	setDefault(&c.MaxFrame, defaultMaxFrame)
	setDefault(&c.Reserve, defaultReserve)
	setDefault(&c.ProbeEvery, defaultProbeEvery)
	// A segment ends at most one group and one frame behind SegmentBytes, and
	// all of it must have a position.
	c.SegmentBytes = min(c.SegmentBytes, maxOffset/4)
	c.MaxFrame = min(c.MaxFrame, maxOffset/4)
	if c.Disk == nil {
		c.Disk = disk.OS()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setDefault[T ~int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct {
	cfg     Config
	fs      disk.FS
	log     *slog.Logger
	claim   io.Closer
	files   *files
	queue   *queue
	entries sync.Pool
	scratch sync.Pool
	calls   chan func(*writer) // run by the writer between commits
	nudge   chan struct{}      // size 1: the writer shall probe now
	stopped chan struct{}      // closed when the writer has ended
	close   func() error       // once
	horizon atomic.Uint64

	counters struct{ commits, syncs atomic.Uint64 }

	mu       sync.RWMutex // guards what follows, and the fields of segments
	segments []*segment   // oldest first
	damaged  []store.Damage
	changed  chan struct{} // closed when the horizon moves; nil unless someone waits
	cause    error         // why nothing can be taken
	full     bool
}

// Append commits the batch; the contract is that of store.Journal, without
// dedupe keys. A batch that failed is not stored, with one exception: if the disk
// failed in the middle of it and the program dies before it works again, the
// batch may be found whole at the next start.
//
// Returns Transient with code store_unavailable if the disk does not take
// writes or the journal is closing, with code store_full if there is no space
// for such a batch, and TooLarge with code batch_too_large.
func (j *Journal) Append(ctx context.Context, batch *store.Batch) error {
	if empty(batch) {
		return nil
	}
	e, err := j.newEntry(batch)
	if err != nil {
		return err
	}
	if err := j.queue.push(ctx, e); err != nil {
		j.recycle(e)
		return err
	}
	err = <-e.result
	j.recycle(e)
	return err
}

// Submit is Append without waiting; see store.Journal. The batch must not be
// changed before done is called, which happens on the writer's goroutine: it must
// not wait for the journal.
func (j *Journal) Submit(batch *store.Batch, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if empty(batch) {
		go done(nil)
		return
	}
	e, err := j.newEntry(batch)
	if err == nil {
		e.done = done
		if err = j.queue.push(context.Background(), e); err == nil {
			return
		}
		j.recycle(e)
	}
	go done(err)
}

func empty(b *store.Batch) bool {
	return len(b.Events) == 0 && len(b.Dispatches) == 0 && len(b.Outcomes) == 0
}

// finish tells the one who waits for the entry.
func (j *Journal) finish(e *entry, err error) {
	if e.done == nil {
		e.result <- err // Append recycles
		return
	}
	done := e.done
	j.recycle(e)
	done(err)
}

// Horizon is the end of what is synced: nothing new appears below it.
func (j *Journal) Horizon() store.Position { return store.Position(j.horizon.Load()) }

// Changed returns a channel that is closed when the horizon moves next.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}

// Segments lists the segments, oldest first; the last one is being written,
// unless a failing disk has sealed it.
func (j *Journal) Segments() []Segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	list := make([]Segment, len(j.segments))
	for i, s := range j.segments {
		list[i] = Segment{Number: s.id.number, Bytes: s.end, First: s.oldest, Last: s.newest, Sealed: s.sealed}
	}
	return list
}

// Drop removes the oldest segment. Scans that are reading it finish. Returns
// Conflict unless number is that of the oldest segment, it is sealed and it is
// not the last.
//
// The unlink is made durable before Drop returns, so that segments vanish in
// order whatever happens.
func (j *Journal) Drop(number uint32) error {
	j.mu.Lock()
	if len(j.segments) < 2 || j.segments[0].id.number != number || !j.segments[0].sealed {
		j.mu.Unlock()
		return fault.New(fault.Conflict, "segment_in_use", "segment %d is not the oldest of several", number)
	}
	j.segments = slices.Clone(j.segments[1:])
	j.damaged = slices.DeleteFunc(j.damaged, func(d store.Damage) bool { return d.Segment <= number })
	j.mu.Unlock()

	j.files.drop(number)
	name := j.segmentName(number)
	err := j.fs.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = j.fs.SyncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("dropping segment %d: %w", number, err)
	}
	select {
	case j.nudge <- struct{}{}: // there may be space again
	default: // it looks already
	}
	return nil
}

// Roll seals the segment that is being written and begins the next one; it does
// nothing if the segment has no records.
func (j *Journal) Roll(ctx context.Context) error {
	return j.call(ctx, func(w *writer) error {
		if w.seg != nil && w.end == dataStart {
			return nil
		}
		return w.roll()
	})
}

// call runs fn on the writer's goroutine and returns its error.
func (j *Journal) call(ctx context.Context, fn func(*writer) error) error {
	result := make(chan error, 1)
	select {
	case j.calls <- func(w *writer) { result <- fn(w) }:
		return <-result
	case <-j.stopped:
		return errClosed()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stats returns the figures of now.
func (j *Journal) Stats() Stats {
	s := Stats{
		QueuedBytes: j.queue.waiting(),
		Commits:     j.counters.commits.Load(),
		Syncs:       j.counters.syncs.Load(),
		FreeBytes:   j.fs.Free(j.cfg.Dir),
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	s.Segments = len(j.segments)
	for _, seg := range j.segments {
		s.Bytes += seg.end
	}
	s.Quarantined = slices.Clone(j.damaged)
	s.Full = j.full
	if j.cause != nil {
		s.Unavailable = j.cause.Error()
	}
	return s
}

// Close commits what was submitted, gives the directory back and waits for the
// writer to end. Append and Submit return store_unavailable from then on.
func (j *Journal) Close() error { return j.close() }

// addSegment makes a new, empty segment known.
func (j *Journal) addSegment(s *segment) {
	j.mu.Lock()
	j.segments = append(slices.Clone(j.segments), s)
	j.mu.Unlock()
}

func (j *Journal) seal(s *segment) {
	j.mu.Lock()
	s.sealed = true
	j.mu.Unlock()
}

// grow makes the group visible to readers.
func (j *Journal) grow(s *segment, end int64, group []*entry) {
	j.mu.Lock()
	s.end = end
	for _, e := range group {
		widen(&s.oldest, &s.newest, e.oldest)
		widen(&s.oldest, &s.newest, e.newest)
		s.mark(e.offset)
	}
	j.horizon.Store(uint64(s.at(end)))
	changed := j.changed
	j.changed = nil
	j.mu.Unlock()
	if changed != nil {
		close(changed)
	}
}

func (j *Journal) setState(cause error, full bool) {
	j.mu.Lock()
	j.cause, j.full = cause, full
	j.mu.Unlock()
}

// quarantine notes damage once.
func (j *Journal) quarantine(d store.Damage) {
	j.mu.Lock()
	known := slices.ContainsFunc(j.damaged, func(k store.Damage) bool {
		return k.Segment == d.Segment && k.Offset == d.Offset
	})
	if !known {
		j.damaged = append(j.damaged, d)
	}
	j.mu.Unlock()
	if !known {
		j.log.Error("a part of the journal cannot be read and is skipped",
			slog.Any("segment", d.Segment), slog.Int64("offset", d.Offset), slog.Int64("length", d.Length),
			slog.String("reason", d.Reason))
	}
}
