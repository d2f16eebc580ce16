package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// Config says where the store is and how it works. Only Dir is required.
type Config struct {
	// Dir is the data directory; it is made if need be.
	Dir string
	// Disk is the file system of the journal; nil means disk.OS(). The SQLite
	// files are always the operating system's.
	Disk disk.FS
	// SegmentBytes, SegmentAge, QueueBytes, MaxFrame and Reserve are those of
	// journal.Config.
	SegmentBytes int64
	SegmentAge   time.Duration
	QueueBytes   int64
	MaxFrame     int64
	Reserve      int64
	// DedupeWindow is how long a dedupe key stays taken, default 24 h.
	DedupeWindow time.Duration
	// DedupeCount is how many dedupe keys are remembered, default 1,000,000.
	// Each costs about 64 bytes of memory.
	DedupeCount int
	// ApplyEvery is how often the views are written while nobody asks them,
	// default 200 ms.
	ApplyEvery time.Duration
	// Synced is told, after each sync, how many batches shared it; nil: nobody
	// is. It runs on the journal's writer and must be quick.
	Synced func(batches int)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes changes of state; nil means nowhere.
	Log *slog.Logger

	fingerprint func(string) uint64
	limits      limits
}

// limits bound the memory of the views.
type limits struct {
	liveFeed  int // changes waiting for live.db; beyond that the journal keeps them
	liveFlush int // entries that differ from live.db before they are written early
	liveDirty int // such entries when live.db cannot be written; then the journal keeps them
	liveQueue int // deliveries of a destination in memory, half of what triggers a cut

	indexFeed  int // changes waiting for the indexes; beyond that the journal keeps them
	indexFlush int // changes that are applied without waiting for the interval

	chunk int // records read from the journal at a time
}

var defaultLimits = limits{
	liveFeed: 1 << 17, liveFlush: 1 << 14, liveDirty: 1 << 19, liveQueue: 512,
	indexFeed: 1 << 18, indexFlush: 1 << 14, chunk: 1 << 13,
}

const (
	defaultDedupeWindow = 24 * time.Hour
	defaultDedupeCount  = 1_000_000
	defaultApplyEvery   = 200 * time.Millisecond
)

func (c *Config) fill() {
	if c.DedupeWindow == 0 {
		c.DedupeWindow = defaultDedupeWindow
	}
	if c.DedupeCount == 0 {
		c.DedupeCount = defaultDedupeCount
	}
	if c.ApplyEvery == 0 {
		c.ApplyEvery = defaultApplyEvery
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.limits == (limits{}) {
		c.limits = defaultLimits
	}
	if c.fingerprint == nil {
		c.fingerprint = fingerprint
	}
}

// fingerprint is 64 bits of SHA-256: nobody outside can aim at a collision.
func fingerprint(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:])
}

// Store is an open store. It implements store.Store.
type Store struct {
	cfg     Config
	now     func() time.Time
	log     *slog.Logger
	journal *journal.Journal
	state   *state
	live    *live
	index   *index
	dedupe  *dedupe

	// ctx ends when the store is closed; it is for the methods of store.Store
	// that are not given one.
	ctx     context.Context //nolint:containedctx // see above
	stop    context.CancelCauseFunc
	group   sync.WaitGroup // everything that runs in the background
	views   atomic.Int64   // rebuilt since the start
	losses  losses
	floor   atomic.Uint64 // positions below are dropped, or being dropped
	retain  sync.Mutex    // one Retain at a time
	closing sync.Once
	closed  error
}

var _ store.Store = (*Store)(nil)

var errClosed = errors.New("the store is closed")

// Open opens the store in cfg.Dir. What the views lack is made up for in the
// background; whoever asks them before that is done waits. ctx is for opening
// only.
//
// Returns Conflict with code data_dir_locked if another process has the directory,
// Invalid with code data_dir_newer or state_newer if a newer Grapnel has written
// it, and Permanent with code state_unreadable if state.db is damaged.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.fill()
	s := &Store{cfg: cfg, now: cfg.Now, log: cfg.Log}
	s.live = &live{
		dir: cfg.Dir, feed: newFeed(cfg.limits.liveFeed, true), limits: cfg.limits, log: cfg.Log,
		wakeup: make(chan struct{}, 1), rebuilt: s.rebuilt,
	}
	s.index = &index{
		dir: cfg.Dir, feed: newFeed(cfg.limits.indexFeed, false), limits: cfg.limits, fingerprint: cfg.fingerprint, log: cfg.Log,
		rebuilt: s.rebuilt, turn: make(chan struct{}, 1), applied: map[uint32]store.Position{},
		behind: make(chan struct{}), touched: map[uint32]store.Position{},
		idRange: map[uint32][2][]byte{},
	}
	recovery, err := s.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := s.openViews(ctx, recovery.Horizon); err != nil {
		s.stop(errClosed)
		return nil, errors.Join(err, s.index.pool.close(), s.journal.Close())
	}
	return s, nil
}

func (s *Store) openJournal(ctx context.Context) (journal.Recovery, error) {
	cfg := s.cfg
	j, recovery, err := journal.Open(ctx, journal.Config{
		Dir: cfg.Dir, Disk: cfg.Disk, SegmentBytes: cfg.SegmentBytes, SegmentAge: cfg.SegmentAge,
		QueueBytes: cfg.QueueBytes, MaxFrame: cfg.MaxFrame, Reserve: cfg.Reserve,
		Now: cfg.Now, Log: cfg.Log, Committed: s.committed,
	})
	if err != nil {
		return recovery, err
	}
	for _, d := range recovery.Damaged {
		s.log.ErrorContext(ctx, "bytes of the journal are damaged and were skipped", slog.Any("segment", d.Segment),
			slog.Int64("offset", d.Offset), slog.Int64("length", d.Length), slog.String("reason", d.Reason))
	}
	s.journal, s.live.journal, s.index.journal = j, j, j
	s.index.pool = newPool(cfg.Dir, j)
	s.live.feed.end, s.index.feed.end = recovery.Horizon, recovery.Horizon
	s.dropBelow(j.Segments()[0].Number)
	return recovery, nil
}

// dropBelow notes that segments below number are gone.
func (s *Store) dropBelow(number uint32) {
	s.floor.Store(uint64(journal.Segment{Number: number}.Start()))
}

// openViews opens what stands beside the journal and starts what runs in the
// background. horizon is the end of what was there before.
func (s *Store) openViews(ctx context.Context, horizon store.Position) error {
	// With a file system of tests the directory exists only there.
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	var err error
	if s.state, err = openState(ctx, s.cfg.Dir, s.now); err != nil {
		return err
	}
	if err := s.loadLosses(ctx); err != nil {
		return errors.Join(err, s.state.close())
	}
	s.live.history = s.history
	s.live.indexSaved = s.index.positions
	if err := s.live.open(ctx); err != nil {
		return errors.Join(err, s.state.close())
	}
	indexed, files, err := s.live.db.indexes(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("reading live.db: %w", err), s.live.db.close(), s.state.close())
	}
	s.index.floor = s.journal.Segments()[0].Number
	s.dedupe = newDedupe(&s.cfg, s.journal)
	s.group.Go(func() { s.runLive(s.ctx, horizon) })
	s.group.Go(func() { s.runIndex(s.ctx, indexed, files) })
	return nil
}

// runLive brings live.db up to date and follows the journal until Close.
func (s *Store) runLive(ctx context.Context, horizon store.Position) {
	if s.persist(ctx, "live.db", func() error { return s.live.recover(ctx, horizon) }) {
		s.group.Go(func() { s.persist(ctx, "interrupted deliveries", func() error { return s.interrupt(ctx) }) })
		s.live.run(ctx, s.cfg.ApplyEvery)
	}
}

// runIndex brings the indexes and the dedupe keys up to date and follows the
// journal until Close.
func (s *Store) runIndex(ctx context.Context, indexed store.Position, files map[uint32]store.Position) {
	if s.persist(ctx, "index", func() error { return s.index.start(ctx, indexed, files) }) {
		s.group.Go(func() { s.persist(ctx, "dedupe keys", func() error { return s.loadDedupe(ctx) }) })
		s.index.run(ctx, s.cfg.ApplyEvery)
	}
}

// persist calls fn until it succeeds, and reports whether it did before ctx ended.
func (s *Store) persist(ctx context.Context, what string, fn func() error) bool {
	for failed := false; ; failed = true {
		err := fn()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if !failed {
			s.log.ErrorContext(ctx, "a view cannot be brought up to date, trying again", slog.String("view", what), slog.Any("error", err))
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return false
		}
	}
}

// committed hands synced batches to the views. It runs on the journal's writer.
func (s *Store) committed(commits []*journal.Commit) {
	if s.cfg.Synced != nil {
		s.cfg.Synced(len(commits))
	}
	n := 0
	for _, c := range commits {
		n += len(c.Records)
	}
	changes := make([]change, 0, n)
	for _, c := range commits {
		changes = changesOf(changes, c)
	}
	end := commits[len(commits)-1].Next
	s.live.feed.push(changes, end)
	s.index.feed.push(changes, end)
}

// rebuilt notes that a view had to be made anew.
func (s *Store) rebuilt(view string, why error) {
	s.views.Add(1)
	s.log.Warn("a view cannot be used and is made anew from the journal", slog.String("view", view), slog.Any("error", why))
	if e, ok := errors.AsType[*staleError](why); ok && e.beyond > 0 {
		s.missing(s.ctx, view, e.beyond, e.end)
	}
}

// Stats implements store.Store.
func (s *Store) Stats() store.Stats {
	js := s.journal.Stats()
	st := store.Stats{
		Segments: js.Segments, JournalBytes: js.Bytes, Quarantined: js.Quarantined,
		Unavailable: js.Unavailable, FreeBytes: js.FreeBytes, Rebuilt: s.views.Load(),
	}
	st.Quarantined = append(st.Quarantined, s.losses.since(store.Position(s.floor.Load()))...)
	if st.Unavailable == "" && js.Full {
		st.Unavailable = "the disk is full; the reserve takes outcomes only"
	}
	applied, _ := s.index.positions()
	for _, seg := range s.journal.Segments() {
		st.IndexBytes += sizeDB(s.cfg.Dir + "/" + indexName(seg.Number))
		st.IndexLag += max(0, min(seg.Bytes, int64(seg.Start())+seg.Bytes-int64(applied)))
	}
	s.live.figures(s.ctx, &st)
	return st
}

// Close implements store.Store. Whoever waits for a view returns.
func (s *Store) Close() error {
	s.closing.Do(func() {
		err := s.journal.Close()
		s.stop(errClosed)
		s.group.Wait()
		ctx := context.WithoutCancel(s.ctx)
		// The indexes come first: live.db says how far they are. What a view
		// cannot write now is in the journal and costs the next start some time.
		if views := errors.Join(s.index.close(ctx), s.live.close(ctx)); views != nil {
			s.log.WarnContext(ctx, "a view was not written to its end", slog.Any("error", views))
		}
		s.closed = errors.Join(err, s.state.close())
	})
	return s.closed
}

// Get implements store.State.
func (s *Store) Get(ctx context.Context, key string) (store.StateRecord, error) {
	return s.state.get(ctx, key)
}

// List implements store.State.
func (s *Store) List(ctx context.Context, prefix string) ([]store.StateRecord, error) {
	return s.state.list(ctx, prefix)
}

// CompareAndSwap implements store.State.
func (s *Store) CompareAndSwap(ctx context.Context, key string, version int64, value []byte) (int64, error) {
	return s.state.compareAndSwap(ctx, key, version, value)
}
