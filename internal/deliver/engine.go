package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Queue hands out due deliveries; see store.Queue.
type Queue interface {
	Claim(ctx context.Context, request store.ClaimRequest) (claimed []*store.Claimed, next time.Time, err error)
	Release(ids ...store.DeliveryID)
	Wake() <-chan struct{}
	Held(ctx context.Context) ([]store.HeldGroup, error)
}

// Recorder commits outcomes and what they cause in one batch. Events of a batch
// have no deliveries yet: the recorder matches them with the rules of their
// bus. It may take a batch again after it failed; see store.Journal.Submit.
type Recorder interface {
	Submit(batch *store.Batch, done func(error))
}

// Records shows what is known of deliveries; see store.Reader.
type Records interface {
	Delivery(ctx context.Context, id store.DeliveryID) (*store.DeliveryRecord, error)
	Deliveries(ctx context.Context, query store.DeliveryQuery) (store.DeliveryPage, error)
}

// A store is all that the engine needs but the recorder.
var (
	_ Queue   = store.Store(nil)
	_ Records = store.Store(nil)
	_ Flags   = store.Store(nil)
)

// Config is what an Engine is made of. Queue, Recorder, Records and Flags are
// required.
type Config struct {
	Queue    Queue
	Recorder Recorder
	Records  Records
	// Flags keeps which destinations are disabled, under keys
	// "destination/<name>/disabled", and which ones there ever were, under
	// "deliver/destinations".
	Flags Flags
	// Meter returns the recorder of a destination's figures; nil: none.
	Meter func(destination string) Meter
	// Panicked counts a recovered panic; nil: only the log tells.
	Panicked func()
	Log      *slog.Logger // nil: none

	// Memory is how many bytes of events may wait in memory, shared evenly
	// between the destinations. Default 64 MiB.
	Memory int64
	// Waiting is how many deliveries of one destination may wait in memory.
	// Default 1024.
	Waiting int
	// Unsynced is how many outcomes may be on their way to the disk; beyond it
	// no attempt begins. Default 4096.
	Unsynced int
	// DrainTime is how long Stop lets attempts finish. Default 10 s.
	DrainTime time.Duration
}

// Figures of the engine that nobody needs to set.
const (
	overdueEvery = 5 * time.Second // how often deadlines are looked at without other work
	overdueBatch = 64              // how many passed deadlines are settled at once
	claimRetry   = time.Second     // after a claim that failed
	claimFloor   = 10 * time.Millisecond
	abortTime    = 5 * time.Second // what attempts get to end once they are canceled
	minShare     = 256 << 10       // bytes of memory every destination has at least
)

var (
	errStopping = errors.New("grapnel is stopping")
	errTimedOut = errors.New("the destination's timeout passed")
)

// Engine attempts deliveries. It is safe for concurrent use.
type Engine struct {
	config   Config
	log      *slog.Logger
	snapshot atomic.Pointer[Snapshot]
	lanes    atomic.Pointer[map[string]*lane]

	mu      sync.Mutex // guards flags, phase and changes of lanes; taken before a lane's lock
	flags   map[string]*Flag
	phase   phase
	running atomic.Bool // phase == started, for the hot path

	unsynced atomic.Int64
	stalled  atomic.Int64 // outcomes that failed to commit and wait to be submitted again
	starved  atomic.Bool  // a lane went without credit
	stuckMu  sync.Mutex   // guards stuck
	stuck    []*record

	// Signals, each of size 1: several mean no more than one.
	poke, retime, resubmit, restore, thaw, synced chan struct{}

	// turn, of size 1, is held by whoever looks at deliveries or flags in order
	// to decide about them: a restore does not undo a cancel that came in between.
	turn chan struct{}

	base    context.Context //nolint:containedctx // the life of the engine: attempts begin in calls of others
	abort   context.CancelCauseFunc
	loops   sync.WaitGroup // claim, clock, keep, restore
	halt    context.CancelFunc
	workers sync.WaitGroup
}

type phase uint8

const (
	fresh phase = iota
	started
	stopped
)

// New returns an engine without destinations. Configure gives it some, Start
// sets it going.
func New(config Config) *Engine {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Memory <= 0 {
		config.Memory = 64 << 20
	}
	if config.Waiting <= 0 {
		config.Waiting = 1024
	}
	if config.Unsynced <= 0 {
		config.Unsynced = 4096
	}
	if config.DrainTime <= 0 {
		config.DrainTime = 10 * time.Second
	}
	if config.Meter == nil {
		config.Meter = func(string) Meter { return nothing{} }
	}
	if config.Panicked == nil {
		config.Panicked = func() {}
	}
	e := &Engine{
		config: config, log: config.Log, flags: map[string]*Flag{},
		poke: make(chan struct{}, 1), retime: make(chan struct{}, 1), resubmit: make(chan struct{}, 1),
		restore: make(chan struct{}, 1), thaw: make(chan struct{}, 1), synced: make(chan struct{}, 1),
		turn: make(chan struct{}, 1),
	}
	e.snapshot.Store(&Snapshot{})
	e.lanes.Store(&map[string]*lane{})
	return e
}

// Start reads the disabled flags and begins to claim. It does not wait for
// anything else. An engine is started once.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != fresh {
		return fault.New(fault.Internal, "", "a delivery engine is started once")
	}
	flags, err := loadFlags(ctx, e.config.Flags)
	if err != nil {
		return err
	}
	names, err := loadNames(ctx, e.config.Flags)
	if err != nil {
		return err
	}
	e.flags = flags
	for _, name := range names {
		e.laneLocked(name)
	}
	for name, l := range *e.lanes.Load() {
		e.show(l, l.setDisabled(flags[name]))
	}
	lasting := context.WithoutCancel(ctx)
	e.base, e.abort = context.WithCancelCause(lasting)
	halting, halt := context.WithCancel(lasting)
	e.halt = halt
	e.phase = started
	e.running.Store(true)
	for _, loop := range []func(context.Context){e.claimLoop, e.clockLoop, e.keepLoop, e.restoreLoop} {
		e.loops.Go(func() { loop(halting) })
	}
	signal(e.restore)
	return nil
}

// Stop claims no more, gives back what waits, lets attempts finish for the
// drain time or four fifths of what ctx leaves, cancels the rest (recorded as
// stopped, not counted), and waits until the outcomes are synced or ctx ends. It may be
// called before Start and more than once. Returns Transient with code
// stop_timeout if something did not end in time.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	was := e.phase
	e.phase = stopped
	e.running.Store(false)
	lanes := *e.lanes.Load()
	e.mu.Unlock()
	if was != started {
		return nil
	}
	for _, l := range lanes {
		if ids := l.stop(); len(ids) > 0 {
			e.config.Queue.Release(ids...)
		}
	}
	err := errors.Join(e.drain(ctx), e.settleAll(ctx))
	e.halt()
	e.loops.Wait()
	e.closeHandles(lanes)
	return err
}

// drain waits for the attempts under way.
func (e *Engine) drain(ctx context.Context) error {
	defer e.abort(errStopping)
	idle := make(chan struct{})
	go func() { e.workers.Wait(); close(idle) }() // ends with the last attempt
	limit := e.config.DrainTime
	if deadline, ok := ctx.Deadline(); ok {
		// What is left after the attempts belongs to their outcomes.
		limit = min(limit, time.Until(deadline)*4/5)
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
	case <-patience.C:
	}
	e.abort(errStopping)
	last := time.NewTimer(abortTime)
	defer last.Stop()
	select {
	case <-idle:
		return nil
	case <-last.C:
		return fault.New(fault.Transient, "stop_timeout", "attempts did not end when they were canceled")
	}
}

// settleAll waits for the outcomes on their way to the disk.
func (e *Engine) settleAll(ctx context.Context) error {
	for e.unsynced.Load() > 0 {
		select {
		case <-e.synced:
		case <-ctx.Done():
			n := e.unsynced.Load()
			e.log.ErrorContext(ctx, "outcomes are lost, their deliveries will be attempted again", slog.Int64("outcomes", n))
			return fault.New(fault.Transient, "stop_timeout", "%d outcomes could not be committed", n)
		}
	}
	return nil
}

// Deliver takes committed deliveries of an event in hand that are leased to the
// caller (store.Batch.Claimed). It does not block: what there is no room for
// goes back to the store, which hands it out later.
func (e *Engine) Deliver(ev *store.Event, deliveries []*store.Delivery) {
	var back []store.DeliveryID
	for _, d := range deliveries {
		if !e.take(ev, d) {
			back = append(back, d.ID)
		}
	}
	if len(back) > 0 {
		e.config.Queue.Release(back...)
	}
}

func (e *Engine) take(ev *store.Event, d *store.Delivery) bool {
	if !e.running.Load() || d.Hold != "" {
		return false
	}
	if !d.NotBefore.IsZero() && d.NotBefore.After(time.Now()) {
		return false
	}
	return e.lane(d.Destination).offer(newJob(d, ev), false)
}

// lane returns the lane of a name, also of one that no configuration has: its
// deliveries are held.
func (e *Engine) lane(name string) *lane {
	if l := (*e.lanes.Load())[name]; l != nil {
		return l
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.laneLocked(name)
}

func (e *Engine) laneLocked(name string) *lane {
	old := *e.lanes.Load()
	if l := old[name]; l != nil {
		return l
	}
	l := &lane{
		engine: e, name: name, meter: e.config.Meter(name), snapshot: e.snapshot.Load(),
		disabled: e.flags[name], breaker: newBreaker(DefaultBreakAfter),
		maxCount: e.config.Waiting, maxBytes: e.share(len(old) + 1), stopping: e.phase == stopped,
	}
	next := maps.Clone(old)
	next[name] = l
	e.lanes.Store(&next)
	return l
}

func (e *Engine) share(destinations int) int64 {
	return max(minShare, e.config.Memory/int64(max(1, destinations)))
}

// Configure puts a configuration in force. Destinations that it holds unchanged
// (the same pointer) keep their state; changed ones start with a closed breaker
// and the new limits; the deliveries of removed ones are held, and those of
// what has come back are made pending again. Attempts under way end as they
// began; then what they used is closed.
func (e *Engine) Configure(s *Snapshot) {
	var closing []*handle
	e.mu.Lock()
	e.snapshot.Store(s)
	for name := range s.Destinations {
		e.laneLocked(name)
	}
	lanes := *e.lanes.Load()
	share := e.share(len(s.Destinations))
	for name, l := range lanes {
		closed, shift := l.configure(s, s.Destinations[name], share)
		closing = append(closing, closed)
		e.show(l, shift)
	}
	e.mu.Unlock()
	for _, h := range closing {
		e.close(h)
	}
	signal(e.poke)
	signal(e.restore)
}

// configure puts the lane under a new configuration. It returns the handle that
// must be closed, and the condition if it changed.
func (l *lane) configure(s *Snapshot, d *Destination, share int64) (*handle, Condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snapshot, l.maxBytes, l.more = s, share, true
	var closing *handle
	if old := l.handle; old == nil || old.destination != d {
		l.handle = nil
		if old != nil {
			old.retired = true
			if old.users == 0 {
				closing = old
			}
		}
		if d != nil {
			l.handle = &handle{destination: d}
			l.pacer = newPacer(d.Rate)
			l.resetBreaker()
			l.maxCount = max(l.engine.config.Waiting, 2*d.maxInFlight())
		}
	}
	l.start(time.Now())
	return closing, l.shifted()
}

// resetBreaker gives the destination a fresh start.
func (l *lane) resetBreaker() {
	epoch := l.breaker.epoch + 1
	threshold := DefaultBreakAfter
	if l.handle != nil {
		threshold = l.handle.destination.breakAfter()
	}
	l.breaker = newBreaker(threshold)
	l.breaker.epoch = epoch
	l.fresh, l.gone = 0, 0
}

func (l *lane) stop() []store.DeliveryID {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping = true
	return l.giveBack()
}

// closeHandles closes what destinations hold, at shutdown.
func (e *Engine) closeHandles(lanes map[string]*lane) {
	for _, l := range lanes {
		l.mu.Lock()
		h := l.handle
		idle := h != nil && h.users == 0
		l.mu.Unlock()
		if idle {
			e.close(h)
		}
	}
}

func (e *Engine) close(h *handle) {
	if h == nil {
		return
	}
	c, ok := h.destination.Handle.(destination.Closer)
	if !ok {
		return
	}
	if err := c.Close(); err != nil {
		e.log.Warn("closing destination", slog.String("destination", h.destination.Name),
			slog.Any("error", fmt.Errorf("closing destination %s: %w", h.destination.Name, err)))
	}
}

// show tells metrics and log that a lane's condition has changed; 0: it has not.
func (e *Engine) show(l *lane, c Condition) {
	if c == 0 {
		return
	}
	l.meter.Breaker(int(min(c, Disabled)) - 1)
	e.log.Info("destination changed state", slog.String("destination", l.name), slog.String("state", c.String()))
}

// signal wakes the receiver of a channel of size 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
