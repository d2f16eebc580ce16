package deliver_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestADestinationThatIsRemovedHoldsItsDeliveriesUntilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(time.Second))
		crm := &deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 1}
		w := begin(t, snapshot(crm))
		for range 500 {
			w.publish(to("crm"))
		}
		queued := w.store(sample(), false, to("crm"))[0]
		synctest.Wait()

		w.engine.Configure(snapshot())
		time.Sleep(2 * time.Second)
		if held, done := w.count(store.Held), w.count(store.Delivered); held != 500 || done != 1 {
			t.Fatalf("%d held and %d delivered, want 500, and the one in flight", held, done)
		}
		w.wantState(t, queued, store.Held, deliver.HoldDestinationRemoved)
		if n := len(w.notices(deliver.NoticeHeld)); n != 500 {
			t.Errorf("%d notices, want one for each", n)
		}
		if n := f.closes(); n != 1 {
			t.Errorf("closed %d times, want once when the last attempt had ended", n)
		}
		if h := w.engine.Health(); len(h) != 0 {
			t.Errorf("health shows %v", h)
		}
		late := w.publish(to("crm"))[0]
		synctest.Wait()
		w.wantState(t, late, store.Held, deliver.HoldDestinationRemoved)

		again := &fake{}
		w.engine.Configure(snapshot(&deliver.Destination{Name: "crm", Handle: again}))
		synctest.Wait()
		if n := w.count(store.Delivered); n != 502 || len(again.calls()) != 501 {
			t.Errorf("%d delivered, %d by the new one, want 502 and 501", n, len(again.calls()))
		}
	})
}

func TestATargetThatIsRemovedHoldsItsDeliveriesUntilItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		crm := &deliver.Destination{Name: "crm", Handle: f}
		with, without := snapshot(crm), snapshot(crm)
		without.Targets = nil
		w := begin(t, without)
		id := w.publish(to("crm"))[0]
		direct := to("crm")
		direct.Rule, direct.Target, direct.Origin = "", "", store.OriginDirect
		other := w.publish(direct)[0]
		synctest.Wait()
		w.wantState(t, id, store.Held, deliver.HoldTargetRemoved)
		w.wantState(t, other, store.Delivered, "")
		w.engine.Configure(with)
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
		if f.closes() != 0 {
			t.Error("an unchanged destination was closed")
		}
	})
}

func TestAHeldDeliveryEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot())
		d := to("crm")
		d.Deadline = time.Now().Add(time.Hour)
		id := w.publish(d)[0]
		time.Sleep(59 * time.Minute)
		w.wantState(t, id, store.Held, deliver.HoldDestinationRemoved)
		time.Sleep(2 * time.Minute)
		w.wantState(t, id, store.Dead, destination.TargetRemoved)
	})
}

// The outcome "held" may become visible only after the configuration that would
// have restored it was put in force.
func TestAHoldThatIsCommittedAfterTheReloadIsRestored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot())
		w.set(func(w *world) { w.syncTime = time.Minute })
		id := w.publish(to("crm"))[0]
		time.Sleep(time.Second)
		w.engine.Configure(snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}))
		time.Sleep(10 * time.Minute)
		w.wantState(t, id, store.Delivered, "")
	})
}

func TestUnchangedDestinationsKeepTheirStateOverAReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, g := &fake{}, &fake{}
		f.set(fails(destination.Error{Class: destination.Refused, RetryAfter: 5 * time.Minute}))
		g.set(fails(destination.Error{Class: destination.Refused, RetryAfter: 5 * time.Minute}))
		same := &deliver.Destination{Name: "same", Handle: f, BreakAfter: 1}
		w := begin(t, snapshot(same, &deliver.Destination{Name: "other", Handle: g, BreakAfter: 1}))
		kept, fresh := w.publish(to("same"))[0], w.publish(to("other"))[0]
		synctest.Wait()
		repaired := &fake{}
		w.engine.Configure(snapshot(same, &deliver.Destination{Name: "other", Handle: repaired, BreakAfter: 1}))
		synctest.Wait()
		if c := w.engine.Health()["same"].Condition; c != deliver.Open {
			t.Errorf("the unchanged destination is %s, want open", c)
		}
		if c := w.engine.Health()["other"].Condition; c != deliver.Closed {
			t.Errorf("the changed destination is %s, want ok", c)
		}
		if f.closes() != 0 || g.closes() != 1 {
			t.Errorf("closed %d and %d times, want 0 and 1", f.closes(), g.closes())
		}
		time.Sleep(6 * time.Minute)
		w.wantState(t, fresh, store.Delivered, "")
		w.wantState(t, kept, store.Pending, destination.Refused)
	})
}

func TestAnAttemptEndsWithTheConfigurationItBeganWith(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(time.Minute))
		crm := &deliver.Destination{Name: "crm", Handle: f, Timeout: 2 * time.Minute}
		w := begin(t, snapshot(crm))
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		next := snapshot(crm)
		next.Generation = "g2"
		w.engine.Configure(next)
		f.set(nil)
		second := w.publish(to("crm"))[0]
		time.Sleep(2 * time.Minute)
		if a, b := w.record(t, id).Outcomes[0].Generation, w.record(t, second).Outcomes[0].Generation; a != "g1" || b != "g2" {
			t.Errorf("generations %s and %s, want g1 and g2", a, b)
		}
	})
}

func TestGoneDisablesTheDestination(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Gone, Status: 410}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, DisableAfterGone: 2, MaxInFlight: 1}))
		var ids []store.DeliveryID
		for range 5 {
			ids = append(ids, w.publish(to("crm"))...)
		}
		synctest.Wait()
		if dead, held := w.count(store.Dead), w.count(store.Held); dead != 2 || held != 3 {
			t.Fatalf("%d dead and %d held, want 2 and 3", dead, held)
		}
		w.wantState(t, ids[0], store.Dead, destination.Gone)
		w.wantState(t, ids[4], store.Held, deliver.HoldDestinationDisabled)
		if h := w.engine.Health()["crm"]; h.Condition != deliver.Disabled || h.Disabled == nil || h.Disabled.By != "grapnel" {
			t.Errorf("health = %+v", h)
		}
		if why := w.engine.Hold("crm"); why != deliver.HoldDestinationDisabled {
			t.Errorf("Hold = %q", why)
		}
		got := w.notices(deliver.NoticeDisabled)
		if len(got) != 1 || got[0].Bus != "default" || got[0].DedupeKey == "" {
			t.Fatalf("notices = %v", got)
		}
		var detail map[string]string
		if err := json.Unmarshal(got[0].Envelope.Detail, &detail); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"destination": "crm", "reason": "the receiver answered 410 Gone", "by": "grapnel"}
		if diff := cmp.Diff(want, detail); diff != "" {
			t.Errorf("detail (-want +got):\n%s", diff)
		}

		f.set(nil)
		if err := w.engine.Enable(t.Context(), "crm", "cli"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if flags, err := w.List(t.Context(), "destination/"); err != nil || len(flags) != 0 {
			t.Errorf("flags that are left: %v, %v", flags, err)
		}
		if n := w.count(store.Delivered); n != 3 {
			t.Errorf("%d delivered after it was enabled, want 3", n)
		}
	})
}

func TestOtherAnswersInBetweenMeanThatTheReceiverIsNotGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, DisableAfterGone: 2}))
		for _, class := range []destination.Class{destination.Gone, destination.BadRequest, destination.Gone, destination.Refused} {
			f.set(fails(destination.Error{Class: class}))
			w.publish(to("crm"))
			synctest.Wait()
		}
		f.set(nil)
		if got := w.engine.Health()["crm"].Condition; got != deliver.Closed {
			t.Errorf("%s, want ok", got)
		}
		f.set(fails(destination.Error{Class: destination.Gone}))
		w.publish(to("crm"))
		synctest.Wait()
		if got := w.engine.Health()["crm"].Condition; got != deliver.Disabled {
			t.Errorf("%s, want disabled: no answer came between two answers 410", got)
		}
	})
}

// What the old address answers says nothing about the one that replaced it.
func TestGoneFromAReplacedDestinationDisablesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := &fake{}
		var mu sync.Mutex
		slow := time.Second
		old.set(func(context.Context, *destination.Request) (*destination.Response, error) {
			mu.Lock()
			wait := slow
			slow *= 3
			mu.Unlock()
			time.Sleep(wait)
			return nil, &destination.Error{Class: destination.Gone, Status: 410}
		})
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: old}))
		w.publish(to("crm"))
		w.publish(to("crm"))
		synctest.Wait()
		w.engine.Configure(snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}))
		time.Sleep(2 * time.Second)
		if n := old.closes(); n != 0 {
			t.Errorf("closed with a request in flight")
		}
		time.Sleep(2 * time.Second)
		if n := old.closes(); n != 1 {
			t.Errorf("closed %d times, want once", n)
		}
		if got := w.engine.Health()["crm"].Condition; got != deliver.Closed || w.count(store.Dead) != 2 {
			t.Errorf("%s with %d dead, want ok and 2", got, w.count(store.Dead))
		}
	})
}

func TestTheConfigurationHoldsWhatItDisables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, Disabled: true}))
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		w.wantState(t, id, store.Held, deliver.HoldDestinationDisabled)
		if h := w.engine.Health()["crm"]; h.Condition != deliver.Disabled || h.Disabled == nil || h.Disabled.By != "configuration" {
			t.Errorf("health = %+v", h)
		}
		if err := w.engine.Enable(t.Context(), "crm", "cli"); !fault.Is(err, fault.Conflict) {
			t.Errorf("Enable = %v, want a conflict", err)
		}
		w.engine.Configure(snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
	})
}

func TestEnableGivesAFreshStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Refused, RetryAfter: 10 * time.Minute}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: 1}))
		w.publish(to("crm"))
		synctest.Wait()
		if got := w.engine.Health()["crm"].Condition; got != deliver.Open {
			t.Fatalf("%s, want open", got)
		}
		f.set(nil)
		if err := w.engine.Disable(t.Context(), "crm", "repair", "cli"); err != nil {
			t.Fatal(err)
		}
		id := w.publish(to("crm"))[0]
		if err := w.engine.Enable(t.Context(), "crm", "cli"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
	})
}

func TestOneAnswerGoneIsEnoughByDefaultAndNeverWhenNegative(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after int
		want  deliver.Condition
	}{"default": {0, deliver.Disabled}, "never": {-1, deliver.Closed}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.set(fails(destination.Error{Class: destination.Gone, Status: 410}))
				w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, DisableAfterGone: c.after}))
				for range 5 {
					w.publish(to("crm"))
					synctest.Wait()
				}
				if got := w.engine.Health()["crm"].Condition; got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

func TestDisabledOutlivesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		w := begin(t, s)
		if err := w.engine.Disable(t.Context(), "crm", "moving house", "api"); err != nil {
			t.Fatal(err)
		}
		if err := w.engine.Disable(t.Context(), "crm", "still moving", "api"); err != nil {
			t.Fatal(err)
		}
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		w.wantState(t, id, store.Held, deliver.HoldDestinationDisabled)
		if n := len(w.notices(deliver.NoticeDisabled)); n != 1 {
			t.Errorf("%d notices, want 1", n)
		}
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.restart()
		w.begin(t, s, deliver.Config{})
		synctest.Wait()
		h := w.engine.Health()["crm"]
		if h.Condition != deliver.Disabled || h.Disabled.Reason != "still moving" || h.Disabled.By != "api" || len(f.calls()) != 0 {
			t.Errorf("health after a restart = %+v, %d requests", h, len(f.calls()))
		}
		if err := w.engine.Enable(t.Context(), "crm", "api"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
	})
}

func TestADestinationRemovedWhileTheProcessWasDownHoldsItsDeliveries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}))
		synctest.Wait()
		if err := w.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := w.store(sample(), false, to("crm"))[0]
		w.begin(t, snapshot(), deliver.Config{})
		synctest.Wait()
		w.wantState(t, id, store.Held, deliver.HoldDestinationRemoved)
	})
}

func TestUnknownDestinationsAreNotFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot())
		_, tested := w.engine.Test(t.Context(), "nope", nil)
		for name, err := range map[string]error{
			"Disable": w.engine.Disable(t.Context(), "nope", "", "api"),
			"Enable":  w.engine.Enable(t.Context(), "nope", "api"),
			"Test":    tested,
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s = %v, want NotFound", name, err)
			}
		}
		if why := w.engine.Hold("nope"); why != deliver.HoldDestinationRemoved {
			t.Errorf("Hold = %q", why)
		}
	})
}
