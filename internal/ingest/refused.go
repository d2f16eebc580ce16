package ingest

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/store"
)

// Bounds of what is kept of refused requests, for each source.
const (
	RefusedEntries = 1000
	RefusedBytes   = 16 << 20
)

// Refusal is a request that was not accepted, as it is kept for people. The
// values of credential headers and parameters are masked.
type Refusal struct {
	ID       string // opaque, unique in this process and its successors
	Time     time.Time
	Source   string // "" when the path belongs to no source
	Reason   string // reason code, see docs/errors.md
	Status   int    // of the answer
	Detail   string // what exactly was wrong; no secret, no expected signature
	Hint     string // what to do
	Raw      store.Raw
	BodySize int64 // bytes received; Raw.Body may hold fewer
}

func (r *Refusal) bytes() int {
	n := 256 + len(r.Raw.Body) + len(r.Raw.Path) + len(r.Raw.Query) + len(r.Detail)
	for _, f := range r.Raw.Header {
		n += len(f.Name) + len(f.Value) + 32
	}
	return n
}

// ring keeps the newest refused requests of one source, within RefusedEntries
// and RefusedBytes. When it is full, the reason with the most entries gives up
// its oldest: a flood of forged signatures does not push out the one request
// that was refused for another reason.
type ring struct {
	mu       sync.Mutex // guards everything below
	byReason map[string][]*Refusal
	counts   map[string]int64 // exact, for ever
	entries  int
	bytes    int
}

func newRing() *ring {
	return &ring{byReason: map[string][]*Refusal{}, counts: map[string]int64{}}
}

func (r *ring) add(refusal *Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[refusal.Reason]++
	r.byReason[refusal.Reason] = append(r.byReason[refusal.Reason], refusal)
	r.entries++
	r.bytes += refusal.bytes()
	for r.entries > 1 && (r.entries > RefusedEntries || r.bytes > RefusedBytes) {
		r.evict()
	}
}

// evict removes the oldest entry of the reason that holds the most.
func (r *ring) evict() {
	var fullest string
	for reason, list := range r.byReason {
		if n := len(r.byReason[fullest]); len(list) > n || len(list) == n && reason < fullest {
			fullest = reason
		}
	}
	list := r.byReason[fullest]
	r.entries--
	r.bytes -= list[0].bytes()
	list[0] = nil // the slice behind must not keep the body alive
	if len(list) == 1 {
		delete(r.byReason, fullest)
		return
	}
	r.byReason[fullest] = list[1:]
}

func (r *ring) list() []*Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Refusal, 0, r.entries)
	for _, list := range r.byReason {
		out = append(out, list...)
	}
	return out
}

func (r *ring) counted() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

// refusalID makes ids that sort by time and differ within a process.
func refusalID(now time.Time, n uint64) string {
	return fmt.Sprintf("ref_%013x%06x", now.UnixMilli(), n&0xffffff)
}
