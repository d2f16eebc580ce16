package storetest

import (
	"errors"
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/store"
)

func scanTests() []test {
	return []test{
		{"a scan meets every record once, in order", Options{SegmentBytes: 8192}, scanAll},
		{"a scan ends where fn fails, and goes on from there", Options{SegmentBytes: 4096}, scanStops},
		{"changed is closed when the horizon moves", Options{}, changedCloses},
	}
}

func scanAll(f *fixture) {
	var want []string
	from := f.Horizon()
	for range 30 {
		e := f.put(f.event(f.to("x")))
		replay := f.to("x")
		replay.Run = "r"
		d := f.dispatch(e.At, replay)
		o := f.outcome(e.Deliveries[0].ID, 1, store.Delivered)
		f.commit(o)
		want = append(want, fmt.Sprint("event ", e.At, e.Envelope.ID), fmt.Sprint("dispatch ", d.At, replay.ID), fmt.Sprint("outcome ", o.At, o.Delivery))
	}
	check := func() {
		f.Helper()
		var got []string
		next, err := f.Scan(f.Context(), from, func(r store.Record) error {
			got = append(got, describe(r))
			return nil
		})
		if err != nil || next != f.Horizon() {
			f.Errorf("Scan ends at %s, %v, want %s", next, err, f.Horizon())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("records (-want +got):\n%s", diff)
		}
		again, err := f.Scan(f.Context(), next, func(store.Record) error { return errors.New("there is more") })
		if err != nil || again < next {
			f.Errorf("Scan from the end = %s, %v, want %s", again, err, next)
		}
	}
	check()
	f.reopen()
	check()
}

func describe(r store.Record) string {
	switch {
	case r.Event != nil && r.Dispatch == nil && r.Outcome == nil:
		return fmt.Sprint("event ", r.At, r.Event.Envelope.ID)
	case r.Dispatch != nil && r.Outcome == nil && r.Event == nil:
		return fmt.Sprint("dispatch ", r.At, r.Dispatch.Deliveries[0].ID)
	case r.Outcome != nil && r.Event == nil:
		return fmt.Sprint("outcome ", r.At, r.Outcome.Delivery)
	}
	return fmt.Sprintf("not exactly one member: %+v", r)
}

func scanStops(f *fixture) {
	for range 30 {
		f.put(f.event())
	}
	stop := errors.New("stop")
	var at []store.Position
	from, last := store.Position(0), store.Position(0)
	for {
		n := 0
		next, err := f.Scan(f.Context(), from, func(r store.Record) error {
			if n++; n > 7 {
				return stop
			}
			at = append(at, r.At)
			last = r.At
			return nil
		})
		if next <= last {
			f.Fatalf("Scan goes on from %s, at or before the last record %s", next, last)
		}
		from = next
		if err == nil {
			break
		}
		if !errors.Is(err, stop) {
			f.Fatal(err)
		}
	}
	if len(at) != 30 {
		f.Errorf("met %d records, want 30", len(at))
	}
}

func changedCloses(f *fixture) {
	for range 10 {
		changed := f.Changed()
		before := f.Horizon()
		select {
		case <-changed:
			f.Fatal("closed though nothing happened")
		default:
		}
		f.put(f.event())
		<-changed
		if f.Horizon() <= before {
			f.Errorf("the horizon stands at %s", before)
		}
	}
}
