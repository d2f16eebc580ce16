package ingest

import (
	"sync"

	"github.com/grapnel/grapnel/internal/store"
)

// Bounds of what is stored of repetitions: a captured request that is sent a
// million times must not fill the journal. Metrics count all of them.
const (
	repeatsPerEvent = 16
	repeatsTracked  = 4096
)

// repeats counts the repetitions of events that were repeated lately.
type repeats struct {
	mu     sync.Mutex // guards both
	counts map[store.Position]int
	order  []store.Position // oldest first
}

// keep reports whether one more repetition of the event is worth storing.
func (r *repeats) keep(first store.Position) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = make(map[store.Position]int)
	}
	n, known := r.counts[first]
	if !known {
		if len(r.order) == repeatsTracked {
			delete(r.counts, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, first)
	}
	r.counts[first] = n + 1
	return n < repeatsPerEvent
}
