package deliver

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
)

// Condition is whether a destination gets attempts.
type Condition uint8

// The conditions. Metrics show them as numbers from 0 in this order.
const (
	Closed   Condition = iota + 1 // attempts are made
	HalfOpen                      // one probe decides
	Open                          // no attempt is made until the next probe
	Disabled                      // by a person, or by answers 410
	Removed                       // not in the configuration
)

var conditionNames = [...]string{
	Closed: "ok", HalfOpen: "half_open", Open: "open", Disabled: "disabled", Removed: "removed",
}

// String returns the snake_case name; "ok" for Closed.
func (c Condition) String() string {
	if c <= 0 || int(c) >= len(conditionNames) {
		return "unknown"
	}
	return conditionNames[c]
}

// MarshalText returns the name.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// The delay before a probe grows from probeBase to probeCap; a receiver that
// states a later time in Retry-After gets it, up to probeWaitMax.
const (
	probeBase    = time.Second
	probeCap     = time.Minute
	probeWaitMax = 10 * time.Minute
)

// breaker keeps attempts away from a destination that does not answer. It opens
// after a number of failures in a row; after a delay, which grows with every
// vain probe, one attempt is let through. Once that is answered the number of
// attempts in flight grows 1, 2, 4, … so that the backlog does not fall upon a
// receiver that has just come up. It knows no clock: callers say when.
type breaker struct {
	threshold int // failures in a row that open it; negative: never
	condition Condition
	failures  int       // in a row
	trips     int       // openings since it last recovered fully
	until     time.Time // when Open: of the next probe
	ramp      int       // attempts in flight while recovering; 0: no limit from here
	good      int       // answers since ramp grew
	epoch     uint32    // grows when it opens; results of older attempts are not counted
}

func newBreaker(threshold int) breaker { return breaker{threshold: threshold, condition: Closed} }

// poll makes an open breaker half-open when its delay is over.
func (b *breaker) poll(now time.Time) Condition {
	if b.condition == Open && !now.Before(b.until) {
		b.condition = HalfOpen
	}
	return b.condition
}

// allows returns how many attempts may be in flight.
func (b *breaker) allows(now time.Time) int {
	c := b.poll(now)
	switch {
	case c == HalfOpen:
		return 1
	case c == Open:
		return 0
	case b.ramp > 0:
		return b.ramp
	default:
		return math.MaxInt
	}
}

// answered notes that the receiver is alive. most is how many attempts the
// destination allows in flight: the ramp ends there.
func (b *breaker) answered(epoch uint32, most int) {
	if epoch != b.epoch {
		return
	}
	b.failures = 0
	switch {
	case b.condition == HalfOpen:
		b.condition, b.ramp, b.good = Closed, 1, 0
	case b.ramp > 0:
		if b.good++; b.good < b.ramp {
			return
		}
		b.ramp, b.good = b.ramp*2, 0
	default:
		return
	}
	if b.ramp >= most {
		b.ramp, b.trips = 0, 0
	}
}

// failed notes that the receiver did not answer usefully, and reports whether
// that opened the breaker. random is in [0, 1).
func (b *breaker) failed(epoch uint32, now time.Time, retryAfter time.Duration, random float64) bool {
	if epoch != b.epoch || b.threshold < 0 {
		return false
	}
	b.failures++
	if b.condition == Closed && b.ramp == 0 && b.failures < b.threshold {
		return false
	}
	bound := probeCap
	if b.trips < 6 { // 1 s << 6 is over the cap
		bound = min(probeCap, probeBase<<b.trips)
	}
	delay := bound/2 + time.Duration(random*float64(bound/2))
	delay = max(delay, min(retryAfter, probeWaitMax))
	b.condition, b.until, b.ramp = Open, now.Add(delay), 0
	b.trips++
	b.epoch++
	return true
}

// effect is what the end of an attempt says about its receiver.
type effect uint8

const (
	neutral effect = iota + 1 // nothing: it was never asked
	alive                     // it answered, whatever it said
	down                      // it did not, or has no strength left
)

// effects are the effects of the classes; a class that is missing is alive: an
// answer that refuses one message (4xx) proves that the receiver lives.
var effects = map[destination.Class]effect{
	destination.Refused:          down,
	destination.Reset:            down,
	destination.DNS:              down,
	destination.DNSNotFound:      down,
	destination.Timeout:          down,
	destination.TLS:              down,
	destination.Protocol:         down,
	destination.RequestTimeout:   down,
	destination.Throttled:        down,
	destination.ServerError:      down,
	destination.Unavailable:      down,
	destination.Credentials:      down,
	destination.InternalError:    down,
	destination.BlockedAddress:   neutral,
	destination.InputFailed:      neutral,
	destination.TooManyHops:      neutral,
	destination.TargetRemoved:    neutral,
	destination.DeadlinePassed:   neutral,
	destination.EventGone:        neutral,
	destination.StoppedInBetween: neutral,
}

func effectOf(class destination.Class) effect {
	if e := effects[class]; e != 0 {
		return e
	}
	return alive
}

// jitter returns a number in [0, 1) that spreads what would come back together.
func jitter() float64 {
	return rand.Float64() //nolint:gosec // G404: nothing secret depends on it
}
