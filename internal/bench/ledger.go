package bench

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// ledger counts what arrived somewhere, message by message. Its methods are safe
// for concurrent use.
type ledger struct {
	message  *message
	seen     []atomic.Uint32
	first    []atomic.Int64 // when each arrived first, nanoseconds since 1970
	distinct atomic.Int64
	changed  atomic.Int64
	last     atomic.Int64 // when something arrived for the first time last
}

// newLedger returns a ledger for messages 0 to capacity-1.
func newLedger(m *message, capacity int) *ledger {
	return &ledger{message: m, seen: make([]atomic.Uint32, capacity), first: make([]atomic.Int64, capacity)}
}

// note counts a body that arrived now.
func (l *ledger) note(body []byte, now time.Time) {
	n, ok := l.message.number(body)
	if !ok || n >= len(l.seen) {
		l.changed.Add(1)
		return
	}
	if l.seen[n].Add(1) > 1 {
		return
	}
	at := now.UnixNano()
	l.first[n].Store(at)
	l.distinct.Add(1)
	for {
		last := l.last.Load()
		if at <= last || l.last.CompareAndSwap(last, at) {
			return
		}
	}
}

// arrivals is a ledger as it goes from one process to another.
type arrivals struct {
	// Seen is how often each message arrived; 255 stands for that or more.
	Seen []byte `json:"seen"`
	// First is when each arrived first, in nanoseconds since 1970; left out
	// unless asked for.
	First []int64 `json:"first,omitempty"`
	// Changed is how many bodies arrived that nobody sent.
	Changed int64 `json:"changed"`
	// Last is when a message arrived for the first time last.
	Last int64 `json:"last"`
}

func (l *ledger) arrivals(times bool) *arrivals {
	end := len(l.seen)
	for end > 0 && l.seen[end-1].Load() == 0 {
		end--
	}
	a := &arrivals{Seen: make([]byte, end), Changed: l.changed.Load(), Last: l.last.Load()}
	for i := range a.Seen {
		a.Seen[i] = byte(min(l.seen[i].Load(), 255))
	}
	if times {
		a.First = make([]int64, end)
		for i := range a.First {
			a.First[i] = l.first[i].Load()
		}
	}
	return a
}

// fate is what became of a message at the sender.
type fate uint8

// The fates of a message. What is unknown may have been stored or not: the
// connection broke before the answer.
const (
	unsent fate = iota
	unknown
	accepted
	refused
)

// audit is what the comparison of what was sent and what arrived found.
type audit struct {
	Accepted   int `json:"accepted"`
	Missing    int `json:"missing"`    // accepted and never seen again
	Changed    int `json:"changed"`    // bodies that nobody sent
	Foreign    int `json:"foreign"`    // messages that arrived and were refused or not sent at all
	Duplicates int `json:"duplicates"` // arrivals after the first: allowed, and counted
}

// check compares what was sent with what arrived.
func check(fates []fate, a *arrivals) audit {
	out := audit{Changed: int(a.Changed)}
	for n := range max(len(fates), len(a.Seen)) {
		f, seen := unsent, 0
		if n < len(fates) {
			f = fates[n]
		}
		if n < len(a.Seen) {
			seen = int(a.Seen[n])
		}
		if f == accepted {
			out.Accepted++
			if seen == 0 {
				out.Missing++
			}
		}
		if seen > 0 && (f == unsent || f == refused) {
			out.Foreign++
		}
		out.Duplicates += max(0, seen-1)
	}
	return out
}

// problem says why the result is void, or "" if it holds. where is the place that
// was looked at.
func (a *audit) problem(where string) string {
	var found []string
	add := func(n int, what string) {
		if n > 0 {
			found = append(found, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(a.Missing, "accepted and missing")
	add(a.Changed, "with other bytes than were sent")
	add(a.Foreign, "that were not accepted")
	if a.Accepted == 0 {
		found = append(found, "nothing was accepted")
	}
	if len(found) == 0 {
		return ""
	}
	return where + ": " + strings.Join(found, ", ")
}
