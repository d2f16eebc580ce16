package embedded

import (
	"strings"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// change is what one record of the journal means to the views, without bodies,
// excerpts and whatever else only the journal keeps. It is immutable.
type change struct {
	at         store.Position
	event      *eventRow     // of an event
	deliveries []deliveryRow // of an event or a dispatch
	outcome    *outcomeRow
	claimed    bool // the appender took the deliveries in hand
}

// eventRow is an event as the views know it. Times are nanoseconds since 1970,
// 0 for none.
type eventRow struct {
	at                          store.Position
	id                          event.ID
	received                    int64
	bus, source, kind, endpoint string
	dedupeKey                   string
	size                        int64
	duplicate                   bool
}

// deliveryRow is what never changes of a delivery.
type deliveryRow struct {
	id                             store.DeliveryID
	created                        store.Position // of the record that made it
	rule, target, destination, run string
	hold                           string
	origin                         store.Origin
	mode                           store.Mode
	deadline, notBefore            int64
	received, size                 int64 // of the event; 0 until filled in for a dispatch
}

// outcomeRow is what an outcome means to the standing of its delivery.
type outcomeRow struct {
	at                   store.Position
	id                   store.DeliveryID
	time, next, deadline int64
	state                store.DeliveryState
	attempt, status      int
	counted, reset       bool
	class, reason, by    string
}

// standing is where a delivery stands: the fold of its outcomes.
type standing struct {
	state                   store.DeliveryState
	attempts, counted       int
	next, updated, deadline int64
	status                  int
	class, reason           string
	last                    store.Position // of the newest outcome that was taken
}

// begin returns the standing of a delivery that has no outcome yet.
func (d *deliveryRow) begin() standing {
	s := standing{state: store.Pending, deadline: d.deadline, updated: d.received, next: d.notBefore}
	if d.created != d.id.Event {
		// A dispatch has no time of its own; Append has given its deliveries one.
		s.updated = d.notBefore
	}
	if s.next == 0 {
		s.next = d.received
	}
	if d.hold != "" {
		s.state, s.class, s.next = store.Held, d.hold, 0
	}
	return s
}

// endsLease reports whether the outcome comes from whoever holds the lease. A
// decision of a person does not: the holder goes on and reports for itself.
func (o *outcomeRow) endsLease() bool { return o.by == "" }

// take applies an outcome. One that was taken before changes nothing, so that a
// part of the journal can be applied twice.
//
// The rule is that of store.Outcome: the last one decides, but after Canceled an
// attempt counts only if it delivered, and after Delivered only a manual retry.
func (s *standing) take(o *outcomeRow) {
	if o.at <= s.last {
		return
	}
	s.last = o.at
	if o.reset {
		s.counted = 0
	}
	if o.attempt > 0 {
		s.attempts = max(s.attempts, o.attempt)
		if o.counted {
			s.counted++
		}
	}
	if !s.decides(o) {
		return
	}
	s.state, s.updated, s.next = o.state, o.time, 0
	s.status, s.class, s.reason = o.status, o.class, o.reason
	if o.deadline != 0 {
		s.deadline = o.deadline
	}
	if o.state == store.Pending {
		s.next = o.next
		if s.next == 0 {
			s.next = o.time
		}
	}
}

func (s *standing) decides(o *outcomeRow) bool {
	if s.state == store.Delivered {
		return o.reset && o.attempt == 0
	}
	if s.state == store.Canceled {
		return o.attempt == 0 || o.state == store.Delivered
	}
	return true
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// sizeOf returns the bytes of the raw body, or of the detail without one.
func sizeOf(e *store.Event) int64 {
	if e.Raw != nil && len(e.Raw.Body) > 0 {
		return int64(len(e.Raw.Body))
	}
	return int64(len(e.Envelope.Detail))
}

// changesOf appends what a committed batch means to the views. Strings are
// shared with the batch, nothing else is.
func changesOf(dst []change, c *journal.Commit) []change {
	b := c.Batch
	for _, e := range b.Events {
		dst = append(dst, eventChange(e, b.Claimed))
	}
	for _, d := range b.Dispatches {
		dst = append(dst, dispatchChange(d, b.Claimed))
	}
	for _, o := range b.Outcomes {
		dst = append(dst, outcomeChange(o))
	}
	return dst
}

// changeOf returns what a scanned record means to the views. A record is valid
// only during the call of the scan, so the strings are copied.
func changeOf(r store.Record) change {
	var c change
	switch {
	case r.Event != nil:
		c = eventChange(r.Event, false)
		cloneAll(&c.event.bus, &c.event.source, &c.event.kind, &c.event.endpoint, &c.event.dedupeKey)
		c.event.id = event.ID(strings.Clone(string(c.event.id)))
	case r.Dispatch != nil:
		c = dispatchChange(r.Dispatch, false)
	case r.Outcome != nil:
		c = outcomeChange(r.Outcome)
		cloneAll(&c.outcome.class, &c.outcome.reason, &c.outcome.by)
	}
	c.at = r.At
	for i := range c.deliveries {
		d := &c.deliveries[i]
		cloneAll(&d.rule, &d.target, &d.destination, &d.run, &d.hold)
	}
	return c
}

func cloneAll(all ...*string) {
	for _, s := range all {
		*s = strings.Clone(*s)
	}
}

func eventChange(e *store.Event, claimed bool) change {
	row := &eventRow{
		at: e.At, id: e.Envelope.ID, received: nanos(e.Received), bus: e.Bus,
		source: e.Envelope.Source, kind: e.Envelope.DetailType, endpoint: e.Endpoint,
		dedupeKey: e.DedupeKey, size: sizeOf(e), duplicate: e.DuplicateOf != 0,
	}
	c := change{at: e.At, event: row, claimed: claimed}
	c.deliveries = deliveriesOf(e.Deliveries, e.At, row.received, row.size)
	return c
}

func dispatchChange(d *store.Dispatch, claimed bool) change {
	return change{at: d.At, deliveries: deliveriesOf(d.Deliveries, d.At, 0, 0), claimed: claimed}
}

func deliveriesOf(all []*store.Delivery, created store.Position, received, size int64) []deliveryRow {
	if len(all) == 0 {
		return nil
	}
	out := make([]deliveryRow, len(all))
	for i, d := range all {
		out[i] = deliveryRow{
			id: d.ID, created: created, rule: d.Rule, target: d.Target, destination: d.Destination,
			run: d.Run, hold: d.Hold, origin: d.Origin, mode: d.Mode, deadline: nanos(d.Deadline),
			notBefore: nanos(d.NotBefore), received: received, size: size,
		}
	}
	return out
}

func outcomeChange(o *store.Outcome) change {
	return change{at: o.At, outcome: &outcomeRow{
		at: o.At, id: o.Delivery, time: nanos(o.Time), next: nanos(o.NextAt), deadline: nanos(o.Deadline),
		state: o.State, attempt: o.Attempt, status: o.Status, counted: o.Counted, reset: o.Reset,
		class: o.Class, reason: o.Reason, by: o.By,
	}}
}

// delivery returns the row as callers see it.
func (d *deliveryRow) delivery(deadline int64) store.Delivery {
	return store.Delivery{
		ID: d.id, Event: d.id.Event, Rule: d.rule, Target: d.target, Destination: d.destination,
		Run: d.run, Origin: d.origin, Mode: d.mode, Deadline: fromNanos(deadline),
		NotBefore: fromNanos(d.notBefore), Hold: d.hold,
	}
}
