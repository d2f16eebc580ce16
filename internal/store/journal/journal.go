package journal

import (
	"context"
	"errors"
	"log/slog"
	"time"

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
	// delivery ids are filled in and readable. It must be quick; it may keep
	// the commits. The batches belong to whoever submitted them once their done
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

// Journal is an open journal. Its methods are safe for concurrent use.
type Journal struct{ cfg Config }

var errTODO = errors.New("not written yet")

// Open opens the journal in cfg.Dir and repairs what a crash left behind.
//
// Returns a Conflict with code data_dir_locked if another process has it, and
// Invalid with code data_dir_newer if a newer Grapnel has written it.
func Open(_ context.Context, cfg Config) (*Journal, Recovery, error) {
	return &Journal{cfg: cfg}, Recovery{}, errTODO
}

// Append commits the batch; the contract is that of store.Journal, without
// dedupe keys.
func (j *Journal) Append(context.Context, *store.Batch) error { return errTODO }

// Submit is Append without waiting; see store.Journal. done is called from the
// writer's goroutine.
func (j *Journal) Submit(_ *store.Batch, done func(error)) { go done(errTODO) }

// Read returns the record at the position, with its body; events carry their
// deliveries. Its byte slices are the caller's own. Returns NotFound if no record
// starts there, it was dropped or it is not synced, and Internal with code
// record_damaged if its bytes are not those that were written.
func (j *Journal) Read(store.Position) (store.Record, error) { return store.Record{}, errTODO }

// ReadHead is Read without the body and the detail of an event; size is that of
// the body, or of the detail if there is no body.
func (j *Journal) ReadHead(store.Position) (rec store.Record, size int64, err error) {
	return store.Record{}, 0, errTODO
}

// Scan calls fn with every record from the position on, in order, up to the
// horizon at the time of the call. It returns the position to go on from: behind
// the last record, or, if fn returned an error, that of the record it was called
// with. A record is valid only during the call.
func (j *Journal) Scan(ctx context.Context, from store.Position, fn func(store.Record) error) (store.Position, error) {
	return j.Walk(ctx, from, func(_ Location, r store.Record) error { return fn(r) })
}

// Walk is Scan with the place of each record.
func (j *Journal) Walk(context.Context, store.Position, func(Location, store.Record) error) (store.Position, error) {
	return 0, errTODO
}

// Horizon is the end of what is synced: nothing new appears below it.
func (j *Journal) Horizon() store.Position { return 0 }

// Changed returns a channel that is closed when the horizon moves next.
func (j *Journal) Changed() <-chan struct{} { return nil }

// Segments lists the segments, oldest first; the last one is being written.
func (j *Journal) Segments() []Segment { return nil }

// Drop removes the oldest segment. Scans that are reading it finish. Returns
// Conflict unless number is that of the oldest segment and it is sealed.
func (j *Journal) Drop(_ uint32) error { return errTODO }

// Roll seals the segment that is being written and begins the next one; it does
// nothing if the segment has no records.
func (j *Journal) Roll(context.Context) error { return errTODO }

// Stats returns the figures of now.
func (j *Journal) Stats() Stats { return Stats{} }

// Close commits what was submitted, gives the directory back and waits for the
// writer to end. Append and Submit return store_unavailable from then on.
func (j *Journal) Close() error { return nil }
