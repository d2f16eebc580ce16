package deliver_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// onDisk is an engine on the real store.
type onDisk struct {
	store  *embedded.Store
	engine *deliver.Engine
}

func openOnDisk(t *testing.T, dir string, s *deliver.Snapshot) *onDisk {
	t.Helper()
	st, err := embedded.Open(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	e := deliver.New(deliver.Config{
		Queue: st, Recorder: st, Records: st, Flags: st, Log: slog.New(slog.DiscardHandler), Waiting: 64,
	})
	e.Configure(s)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &onDisk{store: st, engine: e}
	t.Cleanup(func() { d.close(t) })
	return d
}

func (d *onDisk) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.engine.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := d.store.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// publish commits an event as the bus does.
func (d *onDisk) publish(t *testing.T, ds ...*store.Delivery) {
	t.Helper()
	ev := sample()
	ev.Deliveries = ds
	if err := d.store.Append(t.Context(), &store.Batch{Events: []*store.Event{ev}, Claimed: true}); err != nil {
		t.Fatal(err)
	}
	d.engine.Deliver(ev, ds)
}

func (d *onDisk) count(t *testing.T, name string, state store.DeliveryState) (n int) {
	t.Helper()
	q := store.DeliveryQuery{Destination: name, State: state, Limit: 1000}
	for {
		page, err := d.store.Deliveries(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Deliveries)
		if page.Next.IsZero() {
			return n
		}
		q.After = page.Next
	}
}

// retryDead retries every dead delivery of a destination by hand.
func (d *onDisk) retryDead(t *testing.T, name string) {
	t.Helper()
	page, err := d.store.Deliveries(t.Context(), store.DeliveryQuery{Destination: name, State: store.Dead, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range page.Deliveries {
		if err := d.engine.Retry(t.Context(), known.ID, "test"); err != nil {
			t.Fatal(err)
		}
	}
}

// The whole life on the real store: success, retries, dead letters, holds, a
// restart in the middle, a retry by hand.
func TestDeliveriesLiveOnTheRealStore(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	received := map[string]bool{}
	crm, broken, grave := &fake{quiet: true}, &fake{quiet: true}, &fake{}
	var calls atomic.Int64
	crm.set(func(_ context.Context, r *destination.Request) (*destination.Response, error) {
		if calls.Add(1)%7 == 0 {
			return nil, &destination.Error{Class: destination.FunctionFailed, Message: "now and then"}
		}
		mu.Lock()
		defer mu.Unlock()
		received[r.ID] = true
		return &destination.Response{Status: 200}, nil
	})
	broken.set(fails(destination.Error{Class: destination.BadRequest, Status: 400, Message: "no"}))
	crmDestination := &deliver.Destination{Name: "crm", Handle: crm}
	full := func() *deliver.Snapshot {
		s := snapshot(
			crmDestination, &deliver.Destination{Name: "broken", Handle: broken}, &deliver.Destination{Name: "grave", Handle: grave},
		)
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Retry = deliver.Policy{Base: 10 * time.Millisecond, Cap: 50 * time.Millisecond}
		s.Targets[deliver.TargetKey{Rule: "r", Target: "broken"}] = &deliver.Target{DeadLetter: "grave"}
		s.Targets[deliver.TargetKey{Rule: "r", Target: "missing"}] = &deliver.Target{}
		return s
	}
	dir := t.TempDir()
	d := openOnDisk(t, dir, full())
	const each = 300
	for i := range each {
		bad, missing := to("broken"), to(fmt.Sprint("missing", i%2))
		bad.Target, missing.Target = "broken", "missing"
		d.publish(t, to("crm"), bad, missing)
		if i == each/2 {
			d.close(t)
			d = openOnDisk(t, dir, full())
		}
	}
	eventually(t, func() bool {
		return d.count(t, "crm", store.Delivered) == each && d.count(t, "broken", store.Dead) == each &&
			d.count(t, "grave", store.Delivered) == each && d.count(t, "", store.Held) == each
	})
	for _, c := range grave.calls() {
		if c.Attributes["ERROR_CODE"] != "ERROR_FROM_TARGET" || c.Attributes["ERROR_MESSAGE"] != "no" {
			t.Fatalf("attributes of a dead letter = %v", c.Attributes)
		}
	}

	missing := &fake{quiet: true}
	s := full()
	s.Destinations["missing0"] = &deliver.Destination{Name: "missing0", Handle: missing}
	s.Destinations["missing1"] = &deliver.Destination{Name: "missing1", Handle: missing}
	d.engine.Configure(s)
	broken.set(nil)
	d.retryDead(t, "broken")
	eventually(t, func() bool {
		return d.count(t, "missing0", store.Delivered)+d.count(t, "missing1", store.Delivered) == each &&
			d.count(t, "broken", store.Delivered) == each
	})
	mu.Lock()
	defer mu.Unlock()
	if len(received) != each {
		t.Errorf("%d deliveries received, want %d", len(received), each)
	}
	if stats := d.store.Stats(); stats.Pending != 0 || stats.Held != 0 {
		t.Errorf("%d pending and %d held in the end", stats.Pending, stats.Held)
	}
}

// BenchmarkCycleOnTheRealStore is what one event costs from the append to the
// synced outcome, with 64 appenders and a destination that costs nothing.
func BenchmarkCycleOnTheRealStore(b *testing.B) {
	st, err := embedded.Open(b.Context(), embedded.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	e := deliver.New(deliver.Config{Queue: st, Recorder: st, Records: st, Flags: st, Log: slog.New(slog.DiscardHandler)})
	e.Configure(snapshot(&deliver.Destination{Name: "crm", Handle: noop{&destination.Response{Status: 200}}}))
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	detail := fmt.Appendf(nil, `{"pad":"%01000d"}`, 0)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ev := sample()
			ev.Envelope.Detail = detail
			ev.Deliveries = []*store.Delivery{to("crm")}
			if err := st.Append(b.Context(), &store.Batch{Events: []*store.Event{ev}, Claimed: true}); err != nil {
				b.Error(err)
				return
			}
			e.Deliver(ev, ev.Deliveries)
		}
	})
	for st.Stats().Pending > 0 {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	if err := e.Stop(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}
