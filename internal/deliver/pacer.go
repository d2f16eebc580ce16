package deliver

import (
	"math"
	"time"
)

// pacer is a token bucket kept as the one time at which it will be full again
// (GCRA): no tokens to count, nothing to refill. The zero pacer sets no limit.
type pacer struct {
	interval time.Duration // between two attempts; 0: no limit
	slack    time.Duration // how far attempts may run ahead of the interval
	full     time.Time
}

// newPacer returns a pacer for so many attempts in a second. It lets through at
// once what 10 ms of the rate amount to, and at least one: timers are no finer.
func newPacer(rate float64) pacer {
	if rate <= 0 {
		return pacer{}
	}
	interval := time.Duration(float64(time.Second) / rate)
	burst := math.Max(1, math.Ceil(rate/100))
	return pacer{interval: interval, slack: time.Duration(burst-1) * interval}
}

// take lets one attempt begin and returns 0, or returns how long to wait.
func (p *pacer) take(now time.Time) time.Duration {
	if p.interval == 0 {
		return 0
	}
	if ahead := p.full.Sub(now); ahead > p.slack {
		return ahead - p.slack
	}
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.interval)
	return 0
}
