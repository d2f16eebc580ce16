package storetest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/internal/store"
)

func listTests() []test {
	small := Options{SegmentBytes: 24 << 10}
	return []test{
		{"every filter of events, both directions, page by page", small, listEventFilters},
		{"every filter of deliveries, page by page", small, listDeliveryFilters},
		{"headers leave out bodies and details, sizes stay", Options{}, listHeaders},
		{"limits have a default and a maximum", Options{}, listLimits},
		{"a cursor stays right while events come and deliveries move", small, listStableCursor},
		{"events whose clock went back are found by their time", small, listTimes},
		{"a list shows what was synced an instant before", Options{}, listFresh},
	}
}

// history is a mixed bag of events in several segments.
func (f *fixture) history(n int) []*store.Event {
	f.Helper()
	states := []store.DeliveryState{store.Pending, store.Held, store.Delivered, store.Dead, store.Canceled, store.Expired, store.Interrupted}
	var all []*store.Event
	for i := range n {
		f.clock.advance(time.Second)
		e := f.event()
		e.Bus = []string{"default", "other"}[i%2]
		e.Envelope.Source = []string{"github", "stripe", "twilio"}[i%3]
		e.Envelope.DetailType = fmt.Sprintf("type-%d", i%5)
		e.Endpoint = []string{"in-a", "in-b", ""}[i/2%3]
		if i%7 == 3 {
			e.DuplicateOf = all[0].At
		}
		for j := range i % 3 {
			d := f.to([]string{"x", "y", "z"}[(i+j)%3])
			d.Run = strconv.Itoa(j)
			e.Deliveries = append(e.Deliveries, d)
		}
		all = append(all, f.put(e))
		for j, d := range e.Deliveries {
			if state := states[(i+j)%len(states)]; state != store.Pending {
				o := f.outcome(d.ID, 1, state)
				if state != store.Delivered {
					o.Class = []string{"timeout", "refused"}[i%2]
				}
				f.commit(o)
			}
		}
	}
	return all
}

// stateOf asks the store for the present states of an event's deliveries.
func (f *fixture) statesOf(e *store.Event) map[store.DeliveryState]int {
	states := map[store.DeliveryState]int{}
	for _, d := range e.Deliveries {
		states[f.delivery(d.ID).State]++
	}
	return states
}

func listEventFilters(f *fixture) {
	all := f.history(90)
	states := map[store.Position]map[store.DeliveryState]int{}
	for _, e := range all {
		states[e.At] = f.statesOf(e)
	}
	mid, late := all[30].Received, all[70].Received
	queries := []store.EventQuery{
		{},
		{Bus: "other"},
		{Source: "stripe"},
		{Type: "type-3"},
		{Endpoint: "in-b"},
		{Bus: "other", Source: "github"},
		{Source: "stripe", Type: "type-1", Endpoint: "in-a", Bus: "default"},
		{Source: "nobody"},
		{Since: mid},
		{Until: mid},
		{Since: mid, Until: late},
		{Since: late.Add(time.Hour)},
		{Until: all[0].Received},
		{Unmatched: true},
		{Duplicates: true},
		{Unmatched: true, Source: "github"},
		{Duplicates: true, Bus: "default", Since: mid},
		{State: store.Dead, Source: "github"},
		{State: store.Dead, Since: mid, Until: late},
		{State: store.Delivered, Source: "stripe"},
		{State: store.Delivered, Until: late},
		{Unmatched: true, Duplicates: true},
	}
	for s := store.Pending; s <= store.Interrupted; s++ {
		queries = append(queries, store.EventQuery{State: s})
	}
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
			queries = queries[len(queries)-int(store.Interrupted):]
		}
		for _, q := range queries {
			for _, q.Ascending = range []bool{false, true} {
				var want []store.Position
				for _, e := range all {
					if eventMatches(e, &q, states[e.At]) {
						want = append(want, e.At)
					}
				}
				if !q.Ascending {
					slices.Reverse(want)
				}
				f.wantEvents(q, want, states)
			}
		}
	}
}

func eventMatches(e *store.Event, q *store.EventQuery, states map[store.DeliveryState]int) bool {
	return (q.Bus == "" || q.Bus == e.Bus) && (q.Source == "" || q.Source == e.Envelope.Source) &&
		(q.Type == "" || q.Type == e.Envelope.DetailType) && (q.Endpoint == "" || q.Endpoint == e.Endpoint) &&
		(q.Since.IsZero() || !e.Received.Before(q.Since)) && (q.Until.IsZero() || e.Received.Before(q.Until)) &&
		(q.State == 0 || states[q.State] > 0) && (!q.Unmatched || len(states) == 0) && (!q.Duplicates || e.DuplicateOf != 0)
}

// wantEvents pages through the list and compares.
func (f *fixture) wantEvents(q store.EventQuery, want []store.Position, states map[store.Position]map[store.DeliveryState]int) {
	f.Helper()
	var got []store.Position
	q.Limit = 7
	for pages := 0; ; pages++ {
		page, err := f.Events(f.Context(), q)
		if err != nil {
			f.Fatalf("Events(%+v): %v", q, err)
		}
		for _, e := range page.Events {
			got = append(got, e.At)
			if diff := cmp.Diff(states[e.At], e.Deliveries, cmpopts.EquateEmpty()); diff != "" {
				f.Errorf("states of event %s (-want +got):\n%s", e.At, diff)
			}
		}
		if q.After = page.Next; q.After == 0 || pages > 100 {
			break
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("Events(%+v) (-want +got):\n%s", q, diff)
	}
}

func listDeliveryFilters(f *fixture) {
	all := f.history(90)
	records := map[store.DeliveryID]*store.DeliveryRecord{}
	for _, e := range all {
		for _, d := range e.Deliveries {
			records[d.ID] = f.delivery(d.ID)
		}
	}
	mid, late := all[30].Received, all[70].Received
	queries := []store.DeliveryQuery{
		{},
		{Rule: "rule-x"},
		{Target: "t1"},
		{Destination: "y"},
		{Rule: "rule-x", Destination: "x", Target: "t1"},
		{Rule: "rule-x", Destination: "y"},
		{Class: "timeout"},
		{Class: "refused", Destination: "z"},
		{Class: "nothing"},
		{Since: mid},
		{Until: mid},
		{Since: mid, Until: late},
		{Since: mid, State: store.Dead},
		{Until: late, Destination: "x"},
		{Destination: "x", State: store.Dead},
		{Destination: "x", State: store.Delivered},
		{State: store.Held, Class: "timeout"},
		{Event: all[5].At},
		{Event: all[5].At, State: store.Dead},
		{Event: all[5].At, Destination: "x"},
		{Event: 1 << 40},
	}
	for s := store.Pending; s <= store.Interrupted; s++ {
		queries = append(queries, store.DeliveryQuery{State: s})
	}
	for _, q := range queries {
		want := map[store.DeliveryID]bool{}
		for _, e := range all {
			for _, d := range e.Deliveries {
				if deliveryMatches(e, records[d.ID], &q) {
					want[d.ID] = true
				}
			}
		}
		f.wantDeliveries(q, want, records)
	}
}

func deliveryMatches(e *store.Event, d *store.DeliveryRecord, q *store.DeliveryQuery) bool {
	return (q.Event == 0 || q.Event == d.Event) && (q.Rule == "" || q.Rule == d.Rule) && (q.Target == "" || q.Target == d.Target) &&
		(q.Destination == "" || q.Destination == d.Destination) && (q.State == 0 || q.State == d.State) &&
		(q.Class == "" || q.Class == d.Class) &&
		(q.Since.IsZero() || !e.Received.Before(q.Since)) && (q.Until.IsZero() || e.Received.Before(q.Until))
}

func (f *fixture) wantDeliveries(q store.DeliveryQuery, want map[store.DeliveryID]bool, records map[store.DeliveryID]*store.DeliveryRecord) {
	f.Helper()
	got := map[store.DeliveryID]bool{}
	last := store.Position(1 << 62)
	q.Limit = 5
	for pages := 0; ; pages++ {
		page, err := f.Deliveries(f.Context(), q)
		if err != nil {
			f.Fatalf("Deliveries(%+v): %v", q, err)
		}
		for _, d := range page.Deliveries {
			if got[d.ID] {
				f.Errorf("Deliveries(%+v) lists %s twice", q, d.ID)
			}
			if d.Event > last {
				f.Errorf("Deliveries(%+v) lists event %s behind %s", q, d.Event, last)
			}
			got[d.ID], last = true, d.Event
			if diff := cmp.Diff(records[d.ID], d, cmpopts.IgnoreFields(store.DeliveryRecord{}, "Outcomes")); diff != "" {
				f.Errorf("delivery in a list and by itself (-itself +list):\n%s", diff)
			}
		}
		if q.After = page.Next; q.After.IsZero() || pages > 100 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("Deliveries(%+v) (-want +got):\n%s", q, diff)
	}
}

func listHeaders(f *fixture) {
	e := f.put(f.event(f.to("x")))
	bare := f.event()
	bare.Raw, bare.DetailIsBody = nil, false
	f.put(bare)
	page, err := f.Events(f.Context(), store.EventQuery{Headers: true, Ascending: true})
	if err != nil || len(page.Events) != 2 {
		f.Fatalf("%d events (%v), want 2", len(page.Events), err)
	}
	for i, want := range []*store.Event{e, bare} {
		got := page.Events[i]
		if got.Size != len(want.Envelope.Detail) {
			f.Errorf("size %d, want %d", got.Size, len(want.Envelope.Detail))
		}
		if len(got.Envelope.Detail) > 0 || got.Raw != nil && len(got.Raw.Body) > 0 {
			f.Errorf("detail %q, raw %+v: want neither detail nor body", got.Envelope.Detail, got.Raw)
		}
		if got.Envelope.ID != want.Envelope.ID || got.Envelope.Source != want.Envelope.Source || got.Endpoint != want.Endpoint {
			f.Errorf("envelope is %+v", got.Envelope)
		}
	}
	page, err = f.Events(f.Context(), store.EventQuery{Ascending: true})
	if err != nil {
		f.Fatal(err)
	}
	if diff := cmp.Diff(asRead(e), page.Events[0].Event, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("event (-want +got):\n%s", diff)
	}
}

func listLimits(f *fixture) {
	batch := &store.Batch{}
	for range 1100 {
		batch.Events = append(batch.Events, f.event(f.to("x")))
	}
	f.append(batch)
	for _, tt := range []struct{ ask, want int }{{0, 50}, {-1, 50}, {10, 10}, {1000, 1000}, {5000, 1000}} {
		events, err := f.Events(f.Context(), store.EventQuery{Limit: tt.ask, Headers: true})
		if err != nil || len(events.Events) != tt.want || events.Next == 0 {
			f.Errorf("Events with limit %d: %d, next %s (%v), want %d and more", tt.ask, len(events.Events), events.Next, err, tt.want)
		}
		deliveries, err := f.Deliveries(f.Context(), store.DeliveryQuery{Limit: tt.ask})
		if err != nil || len(deliveries.Deliveries) != tt.want || deliveries.Next.IsZero() {
			f.Errorf("Deliveries with limit %d: %d, next %s (%v), want %d and more",
				tt.ask, len(deliveries.Deliveries), deliveries.Next, err, tt.want)
		}
	}
}

func listStableCursor(f *fixture) {
	all := f.history(60)
	page, err := f.Events(f.Context(), store.EventQuery{Limit: 20})
	if err != nil {
		f.Fatal(err)
	}
	var got []store.Position
	for page.Next != 0 {
		for _, e := range page.Events {
			got = append(got, e.At)
		}
		f.history(10)
		if page, err = f.Events(f.Context(), store.EventQuery{Limit: 20, After: page.Next}); err != nil {
			f.Fatal(err)
		}
	}
	for _, e := range page.Events {
		got = append(got, e.At)
	}
	var want []store.Position
	for _, e := range all {
		want = append(want, e.At)
	}
	slices.Reverse(want)
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("the pages (-want +got):\n%s", diff)
	}
}

func listTimes(f *fixture) {
	var all []*store.Event
	for i := range 200 {
		e := f.event()
		// Seven steps ahead, then six back, with a leap in the middle.
		e.Received = began.Add(time.Duration(i%7*10+i) * time.Minute)
		if i > 100 {
			e.Received = e.Received.Add(-48 * time.Hour)
		}
		all = append(all, f.put(e))
	}
	for _, hours := range []float64{-49, -48, -47, -1, 0, 1, 2, 3, 4} {
		since := began.Add(time.Duration(hours * float64(time.Hour)))
		q := store.EventQuery{Since: since, Until: since.Add(time.Hour)}
		var want []store.Position
		for _, e := range all {
			if eventMatches(e, &q, nil) {
				want = append(want, e.At)
			}
		}
		slices.Reverse(want)
		f.wantEvents(q, want, nil)
	}
}

func listFresh(f *fixture) {
	for i := range 50 {
		e := f.put(f.event(f.to("x")))
		page, err := f.Events(f.Context(), store.EventQuery{Limit: 1})
		if err != nil || len(page.Events) != 1 || page.Events[0].At != e.At {
			f.Fatalf("the newest event is %v (%v), want %s", page.Events, err, e.At)
		}
		f.commit(f.outcome(e.Deliveries[0].ID, 1, store.Dead))
		dead, err := f.Deliveries(f.Context(), store.DeliveryQuery{State: store.Dead, Limit: 1000})
		if err != nil || len(dead.Deliveries) != i+1 {
			f.Fatalf("%d dead deliveries (%v), want %d", len(dead.Deliveries), err, i+1)
		}
	}
}
