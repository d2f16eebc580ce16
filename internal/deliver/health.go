package deliver

import (
	"time"

	"github.com/grapnel/grapnel/internal/destination"
)

// Health is the state of one destination.
type Health struct {
	Destination string
	Condition   Condition
	InFlight    int
	// Waiting counts the deliveries in memory; those in the store's queue are
	// found by listing pending deliveries.
	Waiting      int
	WaitingBytes int64
	LastSuccess  time.Time
	LastFailure  time.Time
	// Failures counts failed attempts in a row; Class and Reason are of the
	// last one.
	Failures int
	Class    destination.Class
	Reason   string
	// NextProbe is when an open breaker lets an attempt through.
	NextProbe time.Time
	// Disabled says why, when it is.
	Disabled *Flag
}

// Health returns the state of every destination that is configured, by name.
// It holds what was seen since the start of the process.
func (e *Engine) Health() map[string]Health {
	out := map[string]Health{}
	for name, l := range *e.lanes.Load() {
		if h := l.health(); h.Condition != Removed {
			out[name] = h
		}
	}
	return out
}

func (l *lane) health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := Health{
		Destination: l.name, Condition: l.condition(), InFlight: l.flying, Waiting: l.waiting.len, WaitingBytes: l.bytes,
		LastSuccess: l.seen.success, LastFailure: l.seen.failure, Failures: l.seen.failures,
		Class: l.seen.class, Reason: l.seen.reason, Disabled: l.disabled,
	}
	if h.Disabled == nil && h.Condition == Disabled {
		h.Disabled = &Flag{Reason: "disabled in the configuration", By: "configuration"}
	}
	if h.Condition == Open {
		h.NextProbe = l.breaker.until
	}
	return h
}
