// Package store defines what Grapnel keeps and the interface through which it is
// kept: history as an append-only journal of events, dispatches and outcomes;
// views of that history that can be listed; and small versioned state. It holds
// words and contracts only. internal/store/embedded implements them on one
// machine; internal/store/storetest is the suite that every store passes.
//
// An append is all or nothing and durable when it is reported done. Views see a
// record only after its sync.
package store

import (
	"context"
	"time"

	"github.com/grapnel/grapnel/event"
)

// Store is one opened store.
type Store interface {
	Journal
	Reader
	Queue
	State

	// Retain drops whole segments, oldest first, that policy no longer keeps. It
	// commits expired outcomes for their pending deliveries before anything is
	// removed and returns what was dropped. Ages are measured against the newest
	// committed record, so that a clock that jumps drops nothing.
	Retain(ctx context.Context, policy Retention) (Dropped, error)

	// Stats returns the figures that metrics and health show.
	Stats() Stats

	// Close waits for what was submitted, syncs and releases the directory.
	Close() error
}

// Journal is the way in.
type Journal interface {
	// Append commits the batch and returns when it is synced. Positions of the
	// batch's events, and the ids of their deliveries, are filled in.
	//
	// Returns *DuplicateError if an event's DedupeKey is committed already (then
	// nothing of the batch is stored; a key that is being committed is waited
	// for), a fault of kind Transient with code store_unavailable if the store
	// cannot take records now (nothing is stored), and the cause of ctx if it
	// ended before the batch was queued. Once queued the batch is committed
	// whatever becomes of ctx.
	Append(ctx context.Context, batch *Batch) error

	// Submit is Append without waiting: done, if not nil, is called once, from
	// another goroutine, when the batch is synced or has failed. It must be
	// short and must not block. Submit itself blocks only while the bounded
	// queue is full. A batch with Lazy set does not cause a sync by itself: it
	// rides with the next one, at the latest LazyLinger later.
	Submit(batch *Batch, done func(error))
}

// LazyLinger is how long an outcome may wait for a commit to ride with.
const LazyLinger = 10 * time.Millisecond

// Batch is committed in one frame. In one batch an outcome may stand beside the
// event it causes.
type Batch struct {
	Events []*Event // each with the deliveries it causes in Deliveries
	// Dispatches are deliveries of events that are stored already (NotFound if
	// not). A delivery that exists is left out of them, so that a replay can
	// go on where a crash has left it; one without NotBefore is given the
	// present time.
	Dispatches []*Dispatch
	Outcomes   []*Outcome
	Lazy       bool // may wait for LazyLinger; only for outcomes
	// Claimed says that the appender takes the new deliveries in hand itself:
	// they stay leased to it until an outcome or a Release. Otherwise the
	// queue hands them out.
	Claimed bool
	// Reserve lets the batch use the reserve that is kept for outcomes on a
	// full disk; set for outcomes and what they cause, never for new events.
	Reserve bool
}

// Reader is the way out. Every method sees what was synced when it was called.
type Reader interface {
	// Event returns the event at the position. Returns NotFound if it was never
	// there or has been dropped.
	Event(ctx context.Context, at Position) (*Event, error)
	// EventsByID returns all events with the id, oldest first: replays and bus
	// hops keep the id of the original.
	EventsByID(ctx context.Context, id string) ([]*Event, error)
	// Events lists events, newest first unless the query says otherwise.
	Events(ctx context.Context, query EventQuery) (EventPage, error)
	// Deliveries lists deliveries, newest event first.
	Deliveries(ctx context.Context, query DeliveryQuery) (DeliveryPage, error)
	// Delivery returns one delivery with its attempts. Returns NotFound if it
	// was never there or has been dropped.
	Delivery(ctx context.Context, id DeliveryID) (*DeliveryRecord, error)
	// Scan calls fn with every record from the position on, in order, up to the
	// horizon, and returns the position to go on from. It ends early when fn
	// returns an error, which it returns. A record is valid only during the call.
	Scan(ctx context.Context, from Position, fn func(Record) error) (next Position, err error)
	// Horizon is the position below which nothing new can appear.
	Horizon() Position
	// Changed returns a channel that is closed when the horizon moves next.
	Changed() <-chan struct{}
}

// Record is what Scan meets; exactly one member is set.
type Record struct {
	At       Position
	Event    *Event
	Dispatch *Dispatch
	Outcome  *Outcome
}

// Queue hands out due deliveries. A delivery that is handed out is leased to
// the caller until an outcome for it is committed or it is released; leases do
// not outlive the process, what was leased is due again after a restart. An
// outcome that a person decided (By is set) does not end a lease unless it is
// final: whoever holds it goes on and reports for itself.
type Queue interface {
	// Claim leases due deliveries and returns them with their events, and the
	// time at which the next one falls due for a destination that was asked
	// for (zero: none is known).
	Claim(ctx context.Context, request ClaimRequest) (claimed []*Claimed, next time.Time, err error)
	// Release gives leases back without an outcome; what was due is due again.
	Release(ids ...DeliveryID)
	// Wake returns a channel that receives when something may have fallen due
	// or become claimable sooner than Claim's next said.
	Wake() <-chan struct{}
	// Held lists the different (rule, target, destination) that hold
	// deliveries, with their number.
	Held(ctx context.Context) ([]HeldGroup, error)
}

// ClaimRequest asks for due work.
type ClaimRequest struct {
	Now time.Time
	// Rooms says how much each destination can take; destinations that are not
	// named get nothing.
	Rooms []Room
	// Overdue is how many deliveries whose deadline has passed may be returned
	// in addition, whatever their destination; held ones included.
	Overdue int
}

// Room is what one destination can take now.
type Room struct {
	Destination string
	Count       int
	Bytes       int64 // of bodies in memory; the first delivery is given even if it is larger
}

// Claimed is a delivery in the hands of the caller.
type Claimed struct {
	Delivery Delivery
	Event    *Event
	Attempts int       // attempts recorded so far that count against the policy
	Made     int       // attempts recorded so far over the delivery's life
	DueAt    time.Time // when it fell due
	Last     *Outcome  // the last outcome, if any
	Held     bool      // it was held and its deadline has passed
}

// HeldGroup counts the held deliveries of one aim.
type HeldGroup struct {
	Rule, Target, Destination string
	// Reason is the Hold of the deliveries or the Class of the outcomes that
	// held them: target_removed, destination_removed, destination_disabled.
	Reason string
	Count  int64
}

// State is small durable records that outlive every segment: disabled flags,
// cursors, keys. A value of 0 as version stands for "does not exist".
type State interface {
	// Get returns the record. Returns NotFound if there is none.
	Get(ctx context.Context, key string) (StateRecord, error)
	// List returns the records whose key starts with prefix, in order of keys.
	List(ctx context.Context, prefix string) ([]StateRecord, error)
	// CompareAndSwap stores value under key if the present version is the one
	// given, and returns the new version. A nil value deletes. Returns Conflict
	// if the version differs.
	CompareAndSwap(ctx context.Context, key string, version int64, value []byte) (int64, error)
}

// StateRecord is one record of the state.
type StateRecord struct {
	Key     string
	Version int64
	Value   []byte
	Updated time.Time
}

// Retention says what is kept. A zero member sets no limit.
type Retention struct {
	Age   time.Duration
	Bytes int64
	// Expired, if set, is told of deliveries that are about to expire, some
	// hundred at a time, and returns the events that say so, with the deliveries
	// these cause. They are committed in the batch of the outcomes.
	Expired func([]ExpiredDelivery) []*Event
}

// Dropped is what Retain removed.
type Dropped struct {
	Segments int
	Bytes    int64
	Expired  int64    // deliveries that were still pending
	Before   Position // everything below is gone
	// Deliveries are the first MaxExpired of those that expired.
	Deliveries []ExpiredDelivery
}

// MaxExpired is how many expired deliveries Retain names.
const MaxExpired = 1000

// ExpiredDelivery is a delivery whose retention ended while it was not final.
type ExpiredDelivery struct {
	ID                        DeliveryID
	EventID                   event.ID
	Rule, Target, Destination string
}

// Stats are figures of the store for metrics and health.
type Stats struct {
	Segments     int
	JournalBytes int64
	IndexBytes   int64
	IndexLag     int64 // bytes that are synced but not yet in the index
	Pending      int64 // deliveries that are not final, held ones included
	// Waiting is the same by destination; destinations without any are left out.
	Waiting       map[string]int64
	Held          int64
	OldestPending time.Time // when the oldest event with such a delivery was received; zero if there is none
	Quarantined   []Damage
	Unavailable   string // why records cannot be taken now; empty when they can
	FreeBytes     int64  // of the file system, -1 if unknown
	Rebuilt       int64  // views that had to be made anew since the start
}

// Damage names bytes of the journal that could not be read and were skipped.
type Damage struct {
	Segment uint32
	Offset  int64
	Length  int64
	Reason  string
}
