package obs

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Accepted counts a committed event and the time its request took.
func (m *Metrics) Accepted(source string, took time.Duration) {
	m.accepted.WithLabelValues(source).Inc()
	m.ingest.WithLabelValues(source).Observe(took.Seconds())
}

// Duplicate counts a repeated event.
func (m *Metrics) Duplicate(source string) { m.duplicates.WithLabelValues(source).Inc() }

// Refused counts a refused request.
func (m *Metrics) Refused(source, reason string) { m.refused.WithLabelValues(source, reason).Inc() }

// Handshake counts an answered handshake.
func (m *Metrics) Handshake(source, handshake string) {
	m.handshakes.WithLabelValues(source, handshake).Inc()
}

// Matched counts an event for a rule that it matched.
func (m *Metrics) Matched(rule string) { m.matched.WithLabelValues(rule).Inc() }

// Unmatched counts an event that matched no rule of its bus.
func (m *Metrics) Unmatched(bus string) { m.unmatched.WithLabelValues(bus).Inc() }

// Committed records how long an event waited until it was synced.
func (m *Metrics) Committed(wait time.Duration) { m.commit.Observe(wait.Seconds()) }

// Synced records how many batches shared one sync.
func (m *Metrics) Synced(batches int) { m.batch.Observe(float64(batches)) }

// Panicked counts a recovered panic.
func (m *Metrics) Panicked(component string) { m.panics.WithLabelValues(component).Inc() }

// Reloaded counts a reload of the configuration; ok says whether it took force.
func (m *Metrics) Reloaded(ok bool, now time.Time) {
	if !ok {
		m.reloads.WithLabelValues("refused").Inc()
		return
	}
	m.reloads.WithLabelValues("ok").Inc()
	m.reloadTime.Set(float64(now.Unix()))
}

// Destination returns the recorder of one destination: its label is looked up
// once, not on every attempt.
func (m *Metrics) Destination(name string) *DestinationMetrics {
	return &DestinationMetrics{
		m: m, name: name,
		seconds:  m.attemptSec.WithLabelValues(name),
		endToEnd: m.endToEnd.WithLabelValues(name),
		inFlight: m.inFlight.WithLabelValues(name),
		breaker:  m.breaker.WithLabelValues(name),
		ok:       m.attempts.WithLabelValues(name, "ok"),
	}
}

// DestinationMetrics records what one destination does.
type DestinationMetrics struct {
	m        *Metrics
	name     string
	seconds  prometheus.Observer
	endToEnd prometheus.Observer
	inFlight prometheus.Gauge
	breaker  prometheus.Gauge
	ok       prometheus.Counter
	states   sync.Map // of state name to prometheus.Counter
}

// Attempt records the end of an attempt; class is "" on success.
func (d *DestinationMetrics) Attempt(class string, took time.Duration) {
	if class == "" {
		d.ok.Inc()
	} else {
		d.m.attempts.WithLabelValues(d.name, class).Inc()
	}
	d.seconds.Observe(took.Seconds())
}

// Delivered records the time from acceptance to delivery.
func (d *DestinationMetrics) Delivered(sinceAccepted time.Duration) {
	d.endToEnd.Observe(sinceAccepted.Seconds())
}

// Ended counts a delivery that reached a final state.
func (d *DestinationMetrics) Ended(state string) {
	c, ok := d.states.Load(state)
	if !ok {
		c, _ = d.states.LoadOrStore(state, d.m.deliveries.WithLabelValues(d.name, state))
	}
	c.(prometheus.Counter).Inc()
}

// InFlight adds n to the attempts under way.
func (d *DestinationMetrics) InFlight(n int) { d.inFlight.Add(float64(n)) }

// Breaker records the state: 0 closed, 1 half-open, 2 open, 3 disabled.
func (d *DestinationMetrics) Breaker(state int) { d.breaker.Set(float64(state)) }
