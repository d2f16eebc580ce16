package deliver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestASuccessIsNotForgottenWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, other := &fake{}, &fake{}
		f.set(takes(time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "other", Handle: other}))
		id := w.publish(to("crm"))[0]
		w.set(func(w *world) {
			w.refuse = func(*store.Batch) error { return fault.New(fault.Transient, "store_unavailable", "disk full") }
		})
		time.Sleep(2 * time.Second)
		// While an outcome is stuck nothing is attempted, nowhere.
		waiting := w.publish(to("other"))[0]
		time.Sleep(time.Minute)
		w.wantState(t, id, store.Pending, "")
		w.wantState(t, waiting, store.Pending, "")
		if n, m := len(f.calls()), len(other.calls()); n != 1 || m != 0 {
			t.Errorf("%d and %d requests, want 1 and 0", n, m)
		}
		w.set(func(w *world) { w.refuse = nil })
		time.Sleep(6 * time.Second)
		w.wantState(t, id, store.Delivered, "")
		w.wantState(t, waiting, store.Delivered, "")
		if n := len(f.calls()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestAnOutcomeThatTheStoreRefusesForGoodIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		refused := 0
		w.set(func(w *world) {
			w.refuse = func(*store.Batch) error {
				if refused++; refused == 1 {
					return fault.New(fault.NotFound, "event_not_found", "dropped by retention")
				}
				return nil
			}
		})
		first := w.publish(to("crm"))[0]
		synctest.Wait()
		next := w.publish(to("crm"))[0]
		synctest.Wait()
		w.wantState(t, next, store.Delivered, "")
		w.wantState(t, first, store.Delivered, "") // it was given back, so it was tried again
	})
}

func TestWhatAnOutcomeCausesIsCommittedOnceWhenItIsSubmittedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, pager := &fake{}, &fake{}
		f.set(fails(destination.Error{Class: destination.BadRequest, Status: 400}))
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "pager", Handle: pager})
		s.Targets[deliver.TargetKey{Rule: "alarm", Target: "pager"}] = &deliver.Target{}
		w := begin(t, s)
		w.set(func(w *world) {
			w.match = func(*store.Event) []*store.Delivery {
				d := to("pager")
				d.Rule, d.Target = "alarm", "pager"
				return []*store.Delivery{d}
			}
			w.refuse = func(*store.Batch) error { return errors.New("not now") }
		})
		id := w.publish(to("crm"))[0]
		time.Sleep(time.Second)
		w.set(func(w *world) { w.refuse = nil })
		time.Sleep(10 * time.Second)
		w.wantState(t, id, store.Dead, destination.BadRequest)
		if made := w.made(); len(made) != 1 || len(made[0].Deliveries) != 1 || len(pager.calls()) != 1 {
			t.Errorf("%d events, %d requests", len(made), len(pager.calls()))
		}
	})
}

func TestTheNumberOfOutcomesOnTheirWayIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := newWorld()
		w.syncTime = time.Second
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}), deliver.Config{Unsynced: 10})
		for range 100 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		if n := len(f.calls()); n != 10 {
			t.Errorf("%d attempts before the first sync, want 10", n)
		}
		time.Sleep(12 * time.Second)
		if n := w.count(store.Delivered); n != 100 {
			t.Errorf("%d delivered, want all 100", n)
		}
	})
}

func TestStopLetsAttemptsFinishAndGivesTheRestBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(5 * time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 2}))
		for range 10 {
			w.publish(to("crm"))
		}
		synctest.Wait()
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if done, leased := w.count(store.Delivered), leases(w); done != 2 || leased != 0 || len(f.calls()) != 2 {
			t.Errorf("%d delivered, %d still leased, %d requests; want 2, 0, 2", done, leased, len(f.calls()))
		}
		if n := f.closes(); n != 1 {
			t.Errorf("closed %d times, want 1", n)
		}
		late := w.publish(to("crm"))[0]
		if leases(w) != 0 {
			t.Errorf("delivery %s is kept after Stop", late)
		}
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
		if err := w.engine.Start(t.Context()); err == nil {
			t.Error("a stopped engine starts again")
		}
	})
}

func leases(w *world) int {
	n, _ := w.leased()
	return n
}

func TestAnAttemptCutByStopIsRecordedAndNotCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, answered, finished := &fake{}, &fake{}, &fake{}
		f.set(hangs)
		answered.set(func(ctx context.Context, _ *destination.Request) (*destination.Response, error) {
			<-ctx.Done()
			return nil, &destination.Error{Class: destination.BadRequest, Status: 400}
		})
		finished.set(func(ctx context.Context, _ *destination.Request) (*destination.Response, error) {
			<-ctx.Done()
			return &destination.Response{Status: 200}, nil
		})
		w := newWorld()
		w.begin(t, snapshot(
			&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "answered", Handle: answered},
			&deliver.Destination{Name: "finished", Handle: finished},
		), deliver.Config{DrainTime: 3 * time.Second})
		id := w.publish(to("crm"))[0]
		got := w.publish(to("answered"))[0]
		done := w.publish(to("finished"))[0]
		start := time.Now()
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Stop took %v, want the drain time", took)
		}
		r := w.wantState(t, id, store.Pending, destination.StoppedInBetween)
		if len(r.Outcomes) != 1 || r.Attempts != 1 || r.Counted != 0 || leases(w) != 0 {
			t.Errorf("%d outcomes, %d attempts, %d counted, %d leases; want 1, 1, 0, 0", len(r.Outcomes), r.Attempts, r.Counted, leases(w))
		}
		w.wantState(t, got, store.Dead, destination.BadRequest)
		w.wantState(t, done, store.Delivered, "")
	})
}

func TestStopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(20 * time.Second))
		w := newWorld()
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}), deliver.Config{DrainTime: time.Hour})
		w.publish(to("crm"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.engine.Stop(ctx); err != nil || time.Since(start) != 1600*time.Millisecond {
			t.Errorf("Stop = %v after %v, want nil after 1.6 s: the rest is for the outcomes", err, time.Since(start))
		}
	})
	t.Run("when outcomes cannot be committed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}))
			w.set(func(w *world) { w.refuse = func(*store.Batch) error { return errors.New("disk on fire") } })
			w.publish(to("crm"))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := w.engine.Stop(ctx); !fault.Is(err, fault.Transient) {
				t.Errorf("Stop = %v, want stop_timeout", err)
			}
		})
	})
}

func TestStopBeforeStartIsLegal(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := deliver.New(deliver.Config{Queue: w, Recorder: w, Records: w, Flags: w})
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestFlagsThatCannotBeReadKeepTheEngineFromStarting(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.flags["destination/crm/disabled"] = store.StateRecord{Key: "destination/crm/disabled", Value: []byte("{")}
	e := deliver.New(deliver.Config{Queue: w, Recorder: w, Records: w, Flags: w})
	if err := e.Start(t.Context()); err == nil {
		t.Error("the engine starts without knowing what is disabled")
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}
