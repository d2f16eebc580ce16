package deliver_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// One destination hangs with a backlog of 10,000; another one beside it must not
// notice, and memory holds its share of the backlog and no more.
func TestAHangingDestinationSlowsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dead, healthy := &fake{quiet: true}, &fake{}
		dead.set(hangs)
		w := newWorld()
		w.begin(t, snapshot(
			&deliver.Destination{Name: "dead", Handle: dead},
			&deliver.Destination{Name: "healthy", Handle: healthy},
		), deliver.Config{Waiting: 200})
		for range 100 {
			var all []*store.Delivery
			for i := range 100 {
				d := to("dead")
				d.Run = strconv.Itoa(i)
				all = append(all, d)
			}
			w.publish(all...)
		}
		synctest.Wait()
		h := w.engine.Health()["dead"]
		if h.InFlight != deliver.DefaultMaxInFlight || h.Waiting > 300 {
			t.Errorf("%d in flight and %d in memory, want 16 and at most 300", h.InFlight, h.Waiting)
		}
		start := time.Now()
		for range 1000 {
			w.publish(to("healthy"))
		}
		synctest.Wait()
		if n := w.count(store.Delivered); n != 1000 || time.Since(start) != 0 {
			t.Errorf("%d delivered after %v, want 1000 at once", n, time.Since(start))
		}
		if _, most := w.leased(); most > 16+300+1000 {
			t.Errorf("%d deliveries were leased at once", most)
		}
		dead.set(nil)
		time.Sleep(time.Hour)
		if n := w.count(store.Delivered); n != 11_000 {
			t.Errorf("%d delivered in the end, want all 11,000", n)
		}
	})
}

func TestMemoryIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{quiet: true}
		f.set(takes(time.Second))
		w := newWorld()
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 1}), deliver.Config{Memory: 1 << 20})
		for range 40 {
			ev := sample()
			ev.Envelope.Detail = []byte(`{"x":"` + strings.Repeat("y", 100<<10) + `"}`)
			w.publishEvent(ev, to("crm"))
		}
		huge := sample()
		huge.Envelope.Detail = []byte(`{"x":"` + strings.Repeat("y", 3<<20) + `"}`)
		w.publishEvent(huge, to("crm"))
		synctest.Wait()
		if h := w.engine.Health()["crm"]; h.WaitingBytes > 3<<19 || h.Waiting < 5 {
			t.Errorf("%d deliveries with %d bytes in memory, want at most 1 MiB and a half", h.Waiting, h.WaitingBytes)
		}
		time.Sleep(2 * time.Minute)
		if n := w.count(store.Delivered); n != 41 {
			t.Errorf("%d delivered, want all 41, the one larger than the share too", n)
		}
	})
}

func TestAnEventLargerThanTheShareGoesStraightThroughAnEmptyLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}), deliver.Config{Memory: 1 << 20})
		huge := sample()
		huge.Envelope.Detail = []byte(`{"x":"` + strings.Repeat("y", 3<<20) + `"}`)
		id := w.publishEvent(huge, to("crm"))[0]
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
		if n := w.givenBack(); n != 0 {
			t.Errorf("%d deliveries were given back", n)
		}
	})
}

func TestAttemptsInFlightAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 3}))
		start := time.Now()
		for range 10 {
			w.publish(to("crm"))
		}
		for w.count(store.Delivered) < 10 {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(start).Round(time.Second); f.peak() != 3 || took != 4*time.Second {
			t.Errorf("at most %d at once, %v for 10 of 1 s each, want 3 and 4 s", f.peak(), took)
		}
	})
}

func TestAttemptsKeepToTheRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate  float64
		count int
		want  time.Duration // until the last one begins
		burst int
	}{
		{10, 30, 2900 * time.Millisecond, 1},
		{10.0 / 60, 3, 12 * time.Second, 1},
		{1000, 500, 490 * time.Millisecond, 10},
	} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, Rate: c.rate}))
				start := time.Now()
				for range c.count {
					w.publish(to("crm"))
				}
				synctest.Wait()
				if n := len(f.calls()); n != c.burst {
					t.Errorf("%d requests at once, want %d", n, c.burst)
				}
				time.Sleep(time.Minute)
				calls := f.calls()
				if len(calls) != c.count {
					t.Fatalf("%d requests, want %d", len(calls), c.count)
				}
				last := calls[len(calls)-1].Time.Sub(start)
				if last < c.want-time.Microsecond || last > c.want+c.want/100 {
					t.Errorf("the last of %d began after %v, want %v", c.count, last, c.want)
				}
			})
		})
	}
}

func TestBreakerOpensProbesAndRamps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		refused := fails(destination.Error{Class: destination.Refused, Message: "connection refused"})
		f.set(refused)
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 8}))
		for range 9 {
			w.publish(to("crm"))
			synctest.Wait()
		}
		if c := w.engine.Health()["crm"].Condition; c != deliver.Closed {
			t.Fatalf("after 9 failures: %s", c)
		}
		w.publish(to("crm"))
		synctest.Wait()
		h := w.engine.Health()["crm"]
		if wait := time.Until(h.NextProbe); h.Condition != deliver.Open || wait < time.Second/2 || wait > time.Second {
			t.Fatalf("after 10 failures: %s, next probe in %v", h.Condition, wait)
		}
		// While it is open nothing is attempted and nothing is recorded.
		for range 100 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		if h := w.engine.Health()["crm"]; len(f.calls()) != 10 || w.recorded() != 10 || h.Waiting != 0 {
			t.Errorf("%d requests, %d outcomes, %d in memory while open", len(f.calls()), w.recorded(), h.Waiting)
		}
		// Vain probes come one by one, ever later, up to a minute.
		time.Sleep(10 * time.Minute)
		probes := f.calls()[10:]
		if len(probes) < 10 || len(probes) > 30 {
			t.Errorf("%d probes in 10 minutes", len(probes))
		}
		for i := 7; i < len(probes); i++ {
			if gap := probes[i].Time.Sub(probes[i-1].Time); gap < 30*time.Second || gap > 61*time.Second {
				t.Errorf("probe %d came %v after the one before", i, gap)
			}
		}
		// Once a probe is answered the number in flight doubles.
		var most []int
		f.set(takes(time.Second))
		for w.engine.Health()["crm"].LastSuccess.IsZero() {
			time.Sleep(100 * time.Millisecond)
		}
		for range 6 {
			most = append(most, f.inFlight())
			time.Sleep(time.Second)
		}
		if got, want := fmt.Sprint(most), "[1 2 4 8 8 8]"; got != want {
			t.Errorf("in flight, second by second: %s, want %s", got, want)
		}
		time.Sleep(20 * time.Minute)
		if n := w.count(store.Delivered); n != 110 {
			t.Errorf("%d delivered, want all 110", n)
		}
	})
}

// Attempts that fail together open the breaker once: the delay before the probe
// is the first one, not the sixteenth.
func TestFailuresOfAttemptsThatBeganBeforeDoNotCountTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(func(context.Context, *destination.Request) (*destination.Response, error) {
			time.Sleep(time.Second)
			return nil, &destination.Error{Class: destination.Refused}
		})
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 1}))
		for range 100 {
			w.publish(to("crm"))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		h := w.engine.Health()["crm"]
		if wait := time.Until(h.NextProbe); h.Condition != deliver.Open || h.Failures != 16 || wait > time.Second {
			t.Errorf("%s after %d failures, next probe in %v", h.Condition, h.Failures, wait)
		}
		if h.Waiting != 0 || leases(w) != 0 {
			t.Errorf("%d deliveries wait in memory, %d are leased, want none", h.Waiting, leases(w))
		}
		f.set(nil)
	})
}

func TestAFailureWhileRecoveringOpensTheBreakerAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Unavailable, Status: 503}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		for range 50 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		var answered atomic.Int32
		f.set(func(context.Context, *destination.Request) (*destination.Response, error) {
			if answered.Add(1) == 1 {
				return &destination.Response{Status: 200}, nil
			}
			return nil, &destination.Error{Class: destination.Unavailable, Status: 503}
		})
		for f.inFlight() > 0 || answered.Load() < 2 {
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if c := w.engine.Health()["crm"].Condition; c != deliver.Open || answered.Load() != 2 {
			t.Errorf("%s after one success and %d failures", c, answered.Load()-1)
		}
		f.set(nil)
	})
}

func TestRetryAfterPostponesTheProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Throttled, Status: 429, RetryAfter: 5 * time.Minute}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 3}))
		for range 3 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		if wait := time.Until(w.engine.Health()["crm"].NextProbe); wait != 5*time.Minute {
			t.Errorf("next probe in %v, want the 5 minutes that were asked for", wait)
		}
		f.set(fails(destination.Error{Class: destination.Throttled, Status: 429, RetryAfter: 48 * time.Hour}))
		time.Sleep(6 * time.Minute)
		if wait := time.Until(w.engine.Health()["crm"].NextProbe); wait > 10*time.Minute {
			t.Errorf("next probe in %v, want 10 minutes at most", wait)
		}
	})
}

func TestAnswersThatRefuseAMessageDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.BadRequest, Status: 400}))
		w := begin(t, snapshot(
			&deliver.Destination{Name: "crm", Handle: f},
			&deliver.Destination{Name: "never", Handle: f, BreakAfter: -1},
		))
		for range 50 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		f.set(fails(destination.Error{Class: destination.Refused}))
		for range 50 {
			w.publish(to("never"))
		}
		synctest.Wait()
		for name, h := range w.engine.Health() {
			if h.Condition != deliver.Closed || h.Failures != 50 {
				t.Errorf("%s is %s after %d failures", name, h.Condition, h.Failures)
			}
		}
		f.set(nil)
	})
}

// A probe must get through although attempts that began before the breaker
// opened still hang.
func TestHungAttemptsDoNotKeepTheProbeAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(200 * time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 2, Timeout: 300 * time.Second}))
		for range 5 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		f.set(fails(destination.Error{Class: destination.Reset}))
		for range 2 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		if h := w.engine.Health()["crm"]; h.Condition != deliver.Open || h.InFlight != 5 {
			t.Fatalf("%s with %d in flight", h.Condition, h.InFlight)
		}
		f.set(nil)
		time.Sleep(10 * time.Second)
		if n := w.count(store.Delivered); n != 2 {
			t.Errorf("%d delivered beside the hung ones, want 2", n)
		}
	})
}

func TestDeadlinesPassWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Refused, Message: "connection refused", RetryAfter: 10 * time.Minute}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 1}))
		tried, untried := to("crm"), to("crm")
		tried.Deadline = time.Now().Add(time.Minute)
		untried.Deadline = tried.Deadline
		first := w.publish(tried)[0]
		synctest.Wait()
		second := w.publish(untried)[0]
		time.Sleep(70 * time.Second)
		r := w.wantState(t, first, store.Dead, destination.DeadlinePassed)
		if r.Reason != "connection_refused: connection refused (the deadline has passed)" {
			t.Errorf("reason = %q", r.Reason)
		}
		r = w.wantState(t, second, store.Dead, destination.DeadlinePassed)
		if r.Attempts != 0 || r.Reason != "the deadline passed before an attempt could be made" {
			t.Errorf("%d attempts, reason = %q", r.Attempts, r.Reason)
		}
	})
}

func TestADeadlineThatPassesInMemoryEndsTheDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(20 * time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 1}))
		w.publish(to("crm"))
		d := to("crm")
		d.Deadline = time.Now().Add(10 * time.Second)
		id := w.publish(d)[0]
		time.Sleep(21 * time.Second)
		w.wantState(t, id, store.Dead, destination.DeadlinePassed)
		if len(f.calls()) != 1 {
			t.Errorf("%d requests, want 1", len(f.calls()))
		}
	})
}

func TestWorkOfTheQueueIsClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := newWorld()
		for range 3000 { // more than a share
			w.store(sample(), false, to("crm"))
		}
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}), deliver.Config{Waiting: 64, Unsynced: 32})
		synctest.Wait()
		if n := w.count(store.Delivered); n != 3000 {
			t.Errorf("%d delivered, want all 3000", n)
		}
		if _, most := w.leased(); most > 64+32 {
			t.Errorf("%d leased at once, want no more than wait, fly or are being committed", most)
		}
	})
}
