package deliver

import "time"

// Policy says how long and how often a delivery is tried. A zero member stands
// for its default.
type Policy struct {
	// Attempts is how many attempts are made, the first one included; throttled
	// ones (429) are not counted. Default 185.
	Attempts int
	// MaxAge is how long a delivery is tried, from its dispatch. Default 24 h.
	MaxAge time.Duration
	// Base bounds the delay after the first failure; each further failure
	// doubles the bound. Default 1 s.
	Base time.Duration
	// Cap is what the bound never exceeds. Default 16 min, with which 185
	// attempts last about 24 h.
	Cap time.Duration
}

// DefaultPolicy returns the policy of a target that has none: the limits are
// those of EventBridge (185 attempts, 24 h).
func DefaultPolicy() Policy {
	return Policy{Attempts: 185, MaxAge: 24 * time.Hour, Base: time.Second, Cap: 16 * time.Minute}
}

// WithDefaults returns p with the defaults in place of zero members.
func (p Policy) WithDefaults() Policy {
	d := DefaultPolicy()
	if p.Attempts <= 0 {
		p.Attempts = d.Attempts
	}
	if p.MaxAge <= 0 {
		p.MaxAge = d.MaxAge
	}
	if p.Base <= 0 {
		p.Base = d.Base
	}
	if p.Cap <= 0 {
		p.Cap = d.Cap
	}
	return p
}

// Delay returns how long to wait after the given number of failures: full
// jitter, so anything from 0 up to the bound, as random (in [0, 1)) decides.
// Deliveries that failed together do not come back together.
func (p Policy) Delay(failures int, random float64) time.Duration {
	return time.Duration(random * float64(p.bound(failures)))
}

func (p Policy) bound(failures int) time.Duration {
	b := min(p.Base, p.Cap)
	for range failures - 1 {
		if b >= p.Cap/2 {
			return p.Cap
		}
		b *= 2
	}
	return b
}
