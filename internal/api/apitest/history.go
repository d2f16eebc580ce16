package apitest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// History is a store in memory: what the API reads, and Publish to write it.
// Positions are sparse, as those of a journal are.
type History struct {
	mu         sync.Mutex // guards everything below
	events     []*store.Event
	deliveries []*store.DeliveryRecord
	dedupe     map[string]*store.Event
	changed    chan struct{}
	stats      store.Stats
	scans      int
	fail       error
	failScan   error
}

// NewHistory returns an empty history that takes records.
func NewHistory() *History {
	return &History{dedupe: map[string]*store.Event{}, changed: make(chan struct{}), stats: store.Stats{FreeBytes: -1}}
}

// step is the distance between two positions.
const step = 16

// Publish commits the batch: every event of bus "default" gets a delivery for
// the target crm of the rule all.
func (h *History) Publish(_ context.Context, batch *store.Batch) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	for _, ev := range batch.Events {
		if first, ok := h.dedupe[ev.DedupeKey]; ok && ev.DedupeKey != "" {
			return &store.DuplicateError{First: first.At, ID: first.Envelope.ID}
		}
		if ev.Bus != "default" && ev.Bus != "security" {
			return fault.New(fault.Invalid, "unknown_bus", "bus %q does not exist", ev.Bus).
				WithHint("add it under buses in the configuration")
		}
		ev.At = store.Position(len(h.events)+1) * step
		if ev.Generation == "" {
			ev.Generation = Generation
		}
		h.dedupe[ev.DedupeKey] = ev
		h.events = append(h.events, ev)
		if ev.Bus == "default" && ev.DuplicateOf == 0 {
			d := &store.Delivery{
				Event: ev.At, Rule: "all", Target: "crm", Destination: "crm",
				Origin: store.OriginMatch, Mode: store.Async, Deadline: Now.Add(day),
			}
			d.ID = store.NewDeliveryID(ev.At, ev.Envelope.ID, d.Rule, d.Target, "")
			ev.Deliveries = append(ev.Deliveries, d)
			h.deliveries = append(h.deliveries, &store.DeliveryRecord{
				Delivery: *d, EventID: ev.Envelope.ID, State: store.Pending, NextAt: Now,
			})
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return nil
}

// Outcome adds what became of a delivery.
func (h *History) Outcome(o *store.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.delivery(o.Delivery)
	d.State, d.NextAt, d.Updated = o.State, o.NextAt, o.Time
	d.Status, d.Class, d.Reason = o.Status, o.Class, o.Reason
	d.Attempts = max(d.Attempts, o.Attempt)
	d.Outcomes = append(d.Outcomes, o)
}

// SetStats replaces the figures.
func (h *History) SetStats(s store.Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stats = s
}

// Fail makes every call that can fail return err; nil makes them work again.
func (h *History) Fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

// FailScan makes Scan alone return err.
func (h *History) FailScan(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failScan = err
}

// Scans returns how often the journal was scanned.
func (h *History) Scans() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scans
}

// Event implements api.Events.
func (h *History) Event(_ context.Context, at store.Position) (*store.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	for _, ev := range h.events {
		if ev.At == at {
			return ev, nil
		}
	}
	return nil, fault.New(fault.NotFound, "", "no event at %s", at)
}

// EventsByID implements api.Events.
func (h *History) EventsByID(_ context.Context, id string) ([]*store.Event, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	var out []*store.Event
	for _, ev := range h.events {
		if string(ev.Envelope.ID) == id {
			out = append(out, ev)
		}
	}
	return out, nil
}

// Events implements api.Events.
func (h *History) Events(_ context.Context, q store.EventQuery) (store.EventPage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return store.EventPage{}, h.fail
	}
	all := slices.Clone(h.events)
	if !q.Ascending {
		slices.Reverse(all)
	}
	var page store.EventPage
	for _, ev := range all {
		behind := ev.At < q.After
		if q.Ascending {
			behind = ev.At > q.After
		}
		states := h.states(ev.At)
		if q.After != 0 && !behind || !fits(ev, &q) || q.State != 0 && states[q.State] == 0 || q.Unmatched && len(states) > 0 {
			continue
		}
		if len(page.Events) == q.Limit {
			page.Next = page.Events[q.Limit-1].At
			break
		}
		page.Events = append(page.Events, store.EventSummary{Event: ev, Size: len(ev.Envelope.Detail), Deliveries: states})
	}
	return page, nil
}

func fits(ev *store.Event, q *store.EventQuery) bool {
	return (q.Bus == "" || q.Bus == ev.Bus) && (q.Source == "" || q.Source == ev.Envelope.Source) &&
		(q.Type == "" || q.Type == ev.Envelope.DetailType) && (q.Endpoint == "" || q.Endpoint == ev.Endpoint) &&
		(q.Since.IsZero() || !ev.Received.Before(q.Since)) && (q.Until.IsZero() || ev.Received.Before(q.Until)) &&
		(!q.Duplicates || ev.DuplicateOf != 0)
}

func (h *History) states(at store.Position) map[store.DeliveryState]int {
	out := map[store.DeliveryState]int{}
	for _, d := range h.deliveries {
		if d.Event == at {
			out[d.State]++
		}
	}
	return out
}

// Deliveries implements api.Deliveries.
func (h *History) Deliveries(_ context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return store.DeliveryPage{}, h.fail
	}
	all := slices.Clone(h.deliveries)
	slices.SortFunc(all, func(a, b *store.DeliveryRecord) int { return compareIDs(b.ID, a.ID) })
	var page store.DeliveryPage
	for _, d := range all {
		if !q.After.IsZero() && compareIDs(d.ID, q.After) >= 0 || q.Event != 0 && q.Event != d.Event ||
			q.Rule != "" && q.Rule != d.Rule || q.Target != "" && q.Target != d.Target ||
			q.Destination != "" && q.Destination != d.Destination ||
			q.State != 0 && q.State != d.State || q.Class != "" && q.Class != d.Class {
			continue
		}
		if len(page.Deliveries) == q.Limit {
			page.Next = page.Deliveries[q.Limit-1].ID
			break
		}
		row := *d
		row.Outcomes = nil
		page.Deliveries = append(page.Deliveries, &row)
	}
	return page, nil
}

func compareIDs(a, b store.DeliveryID) int {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Key, b.Key))
}

// Delivery implements api.Deliveries.
func (h *History) Delivery(_ context.Context, id store.DeliveryID) (*store.DeliveryRecord, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	if d := h.delivery(id); d != nil {
		row := *d
		return &row, nil
	}
	return nil, fault.New(fault.NotFound, "", "no delivery %s", id)
}

func (h *History) delivery(id store.DeliveryID) *store.DeliveryRecord {
	for _, d := range h.deliveries {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// Scan implements api.Feed. As in a journal, there are records of other kinds
// between the events.
func (h *History) Scan(ctx context.Context, from store.Position, fn func(store.Record) error) (store.Position, error) {
	h.mu.Lock()
	all, fail := slices.Clone(h.events), cmp.Or(h.fail, h.failScan)
	h.scans++
	h.mu.Unlock()
	if fail != nil {
		return 0, fail
	}
	for _, ev := range all {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		records := [...]store.Record{
			{At: ev.At, Event: ev},
			{At: ev.At + 1, Outcome: &store.Outcome{}},
		}
		for _, r := range records {
			if r.At < from {
				continue
			}
			if err := fn(r); err != nil {
				return 0, err
			}
		}
	}
	return horizon(all), nil
}

// Horizon implements api.Feed.
func (h *History) Horizon() store.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return horizon(h.events)
}

func horizon(events []*store.Event) store.Position { return store.Position(len(events)+1) * step }

// Changed implements api.Feed.
func (h *History) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// Stats returns the figures.
func (h *History) Stats() store.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// contains is for destinations that fail on purpose.
func contains(name, part string) bool { return strings.Contains(name, part) }
