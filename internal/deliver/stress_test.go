package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Deliveries, manual decisions, flags and reloads meet in real time; whatever
// the order, every delivery ends, nothing stays leased, and what the store says
// was delivered was received.
func TestNothingIsLostInTheCrowd(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	received := map[string]int{}
	var requests atomic.Int64
	receive := func(_ context.Context, r *destination.Request) (*destination.Response, error) {
		if n := requests.Add(1) % 10; n == 0 {
			return nil, &destination.Error{Class: destination.FunctionFailed}
		} else if n == 5 {
			panic("now and then")
		}
		mu.Lock()
		defer mu.Unlock()
		received[r.ID]++
		return &destination.Response{Status: 200}, nil
	}
	configure := func(n int) *deliver.Snapshot {
		var ds []*deliver.Destination
		for i := range n {
			f := &fake{quiet: true}
			f.set(receive)
			ds = append(ds, &deliver.Destination{Name: fmt.Sprint("d", i), Handle: f})
		}
		s := snapshot(ds...)
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Retry = deliver.Policy{Base: time.Millisecond, Cap: 5 * time.Millisecond}
		return s
	}
	w := newWorld()
	w.begin(t, configure(4), deliver.Config{Waiting: 32, Unsynced: 64})
	var wg sync.WaitGroup
	ids := make(chan store.DeliveryID, 64)
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				for _, id := range w.publish(to(fmt.Sprint("d", i%4))) {
					select {
					case ids <- id:
					default:
					}
				}
			}
		})
	}
	done := make(chan struct{})
	var meddlers sync.WaitGroup
	meddle := func(do func(i int)) {
		meddlers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					do(i)
				}
			}
		})
	}
	ignore := func(what string, err error) {
		if err != nil && !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	meddle(func(i int) {
		select {
		case id := <-ids:
			if i%2 == 0 {
				ignore("Cancel", w.engine.Cancel(t.Context(), id, "test"))
			} else {
				ignore("Retry", w.engine.Retry(t.Context(), id, "test"))
			}
		case <-done:
		}
	})
	meddle(func(i int) { w.engine.Configure(configure(3 + i%2)) })
	meddle(func(i int) {
		if i%2 == 0 {
			ignore("Disable", w.engine.Disable(t.Context(), "d0", "", "test"))
		} else {
			ignore("Enable", w.engine.Enable(t.Context(), "d0", "test"))
		}
		w.engine.Health()
	})
	wg.Wait()
	close(done)
	meddlers.Wait()
	w.engine.Configure(configure(4))
	ignore("Enable", w.engine.Enable(t.Context(), "d0", "test"))
	for limit := time.Now().Add(time.Minute); w.count(store.Pending)+w.count(store.Held) > 0; {
		if time.Now().After(limit) {
			t.Fatalf("%d pending, %d held after a minute", w.count(store.Pending), w.count(store.Held))
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := w.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, r := range w.all(t) {
		if r.State == store.Delivered && received[r.ID.String()] == 0 {
			t.Errorf("delivery %s is delivered, but was not received", r.ID)
		}
		if r.State == store.Canceled && r.Attempts == 0 && received[r.ID.String()] > 0 {
			t.Errorf("delivery %s was canceled before an attempt, but was received", r.ID)
		}
	}
	if n := leases(w); n != 0 {
		t.Errorf("%d deliveries are still leased", n)
	}
}

// figures collects what a Meter is told.
type figures struct {
	mu   sync.Mutex
	said []string
	now  int
	peak int
}

func (f *figures) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *figures) Attempt(class string, _ time.Duration) { f.say("attempt %q", class) }
func (f *figures) Delivered(since time.Duration)         { f.say("delivered %v", since > 0) }
func (f *figures) Ended(state string)                    { f.say("ended %s", state) }
func (f *figures) Breaker(state int)                     { f.say("breaker %d", state) }
func (f *figures) InFlight(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now += n
	f.peak = max(f.peak, f.now)
}

func TestMetersAreTold(t *testing.T) {
	t.Parallel()
	all := &figures{}
	f := &fake{}
	w := newWorld()
	w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 1}), deliver.Config{
		Meter: func(string) deliver.Meter { return all },
	})
	w.publish(to("crm"))
	eventually(t, func() bool { return w.count(store.Delivered) == 1 })
	f.set(fails(destination.Error{Class: destination.BadRequest}))
	w.publish(to("crm"))
	eventually(t, func() bool { return w.count(store.Dead) == 1 })
	f.set(fails(destination.Error{Class: destination.Refused}))
	w.publish(to("crm"))
	eventually(t, func() bool { return w.engine.Health()["crm"].Condition == deliver.Open })
	f.set(nil)
	eventually(t, func() bool { return w.count(store.Delivered) == 2 })
	if err := w.engine.Disable(t.Context(), "crm", "", "test"); err != nil {
		t.Fatal(err)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	slices.Sort(all.said)
	want := []string{
		`attempt ""`, `attempt ""`, `attempt "bad_request"`, `attempt "connection_refused"`,
		"breaker 0", "breaker 0", "breaker 1", "breaker 2", "breaker 3",
		"delivered true", "delivered true", "ended dead", "ended delivered", "ended delivered",
	}
	if diff := cmp.Diff(want, all.said); diff != "" || all.now != 0 || all.peak != 1 {
		t.Errorf("in flight %d, at most %d; told (-want +got):\n%s", all.now, all.peak, diff)
	}
}

// eventually waits in real time for what other goroutines do.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(limit) {
			t.Fatal("it did not happen within a minute")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
}
