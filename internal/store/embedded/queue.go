package embedded

import (
	"cmp"
	"math"
	"slices"

	"github.com/grapnel/grapnel/internal/store"
)

// key orders deliveries in a queue: by time, then by id.
type key struct {
	t  int64
	id store.DeliveryID
}

// noBound is behind every key, firstKey before every key.
var (
	noBound  = key{t: math.MaxInt64, id: store.DeliveryID{Event: math.MaxInt64, Key: math.MaxInt64}}
	firstKey = key{t: math.MinInt64}
)

// compare orders keys as live.db does, whose integers have a sign.
func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.t, o.t),
		cmp.Compare(int64(k.id.Event), int64(o.id.Event)), cmp.Compare(int64(k.id.Key), int64(o.id.Key)))
}

// entry is a delivery that the live view has in memory.
type entry struct {
	deliveryRow
	standing
	leased bool
	stored bool // live.db may have a row
	dirty  bool // and it differs from that row
	gone   bool // not in the view any more
	slots  [2]slot
}

// The queues that an entry can be in.
const (
	byDue      = 0 // of its destination, by the time of its next attempt
	byDeadline = 1 // of the store, by its deadline
)

// slot is an entry's place in a queue; index is one more than the heap's, so that
// the zero slot is in no queue.
type slot struct {
	index int
	key   key
}

func (e *entry) queued() bool { return e.slots[byDue].index > 0 || e.slots[byDeadline].index > 0 }

// queue holds, in memory, the entries with the smallest keys: all that exist up to
// and including bound. What is behind bound may be in live.db only. The queue is a
// binary heap, which knows where each entry is.
type queue struct {
	which int // byDue or byDeadline
	limit int // entries kept when it must shrink
	bound key
	heap  []*entry
}

// newQueue returns an empty queue that has loaded nothing yet.
func newQueue(which, limit int) *queue { return &queue{which: which, limit: limit, bound: firstKey} }

// add puts e in with key k unless k is behind the bound. It returns the entries
// that had to leave because the queue is full.
func (q *queue) add(e *entry, k key) (evicted []*entry) {
	if k.compare(q.bound) > 0 {
		return nil
	}
	e.slots[q.which] = slot{index: len(q.heap) + 1, key: k}
	q.heap = append(q.heap, e)
	q.up(len(q.heap) - 1)
	if len(q.heap) <= 2*q.limit {
		return nil
	}
	// A sorted array is a heap.
	slices.SortFunc(q.heap, func(a, b *entry) int { return q.key(a).compare(q.key(b)) })
	evicted = slices.Clone(q.heap[q.limit:])
	clear(q.heap[q.limit:])
	q.heap = q.heap[:q.limit]
	for i, e := range q.heap {
		e.slots[q.which].index = i + 1
	}
	for _, e := range evicted {
		e.slots[q.which].index = 0
	}
	q.bound = q.key(q.heap[q.limit-1])
	return evicted
}

// remove takes e out if it is in.
func (q *queue) remove(e *entry) {
	i := e.slots[q.which].index - 1
	if i < 0 {
		return
	}
	last := len(q.heap) - 1
	q.swap(i, last)
	q.heap[last] = nil
	q.heap = q.heap[:last]
	e.slots[q.which].index = 0
	if i < last {
		q.down(i)
		q.up(i)
	}
}

// top returns the first entry, nil if there is none in memory.
func (q *queue) top() *entry {
	if len(q.heap) == 0 {
		return nil
	}
	return q.heap[0]
}

// complete reports whether everything there is is in memory.
func (q *queue) complete() bool { return q.bound == noBound }

func (q *queue) key(e *entry) key { return e.slots[q.which].key }

func (q *queue) less(i, j int) bool { return q.key(q.heap[i]).compare(q.key(q.heap[j])) < 0 }

func (q *queue) swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.heap[i].slots[q.which].index = i + 1
	q.heap[j].slots[q.which].index = j + 1
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.less(i, parent) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			return
		}
		if child+1 < len(q.heap) && q.less(child+1, child) {
			child++
		}
		if !q.less(child, i) {
			return
		}
		q.swap(i, child)
		i = child
	}
}
