package deliver

import "time"

// Meter records the figures of one destination. Its methods are called
// concurrently and must not block.
type Meter interface {
	// Attempt records the end of an attempt; class is "" on success.
	Attempt(class string, took time.Duration)
	// Delivered records the time from the acceptance of an event to its delivery.
	Delivered(sinceAccepted time.Duration)
	// Ended counts a delivery that reached the final state of the name.
	Ended(state string)
	// InFlight adds n to the attempts under way.
	InFlight(n int)
	// Breaker records 0 closed, 1 half-open, 2 open, 3 disabled or removed.
	Breaker(state int)
}

// nothing is the Meter of an engine that has none.
type nothing struct{}

func (nothing) Attempt(string, time.Duration) {}
func (nothing) Delivered(time.Duration)       {}
func (nothing) Ended(string)                  {}
func (nothing) InFlight(int)                  {}
func (nothing) Breaker(int)                   {}
