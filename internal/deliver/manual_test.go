package deliver_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestRetryGoesOnWithTheSameDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.FunctionFailed, Message: "no"}))
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Retry = deliver.Policy{Attempts: 2, MaxAge: time.Hour}
		w := begin(t, s)
		id := w.publish(to("crm"))[0]
		time.Sleep(time.Minute)
		w.wantState(t, id, store.Dead, destination.FunctionFailed)
		for range 2 {
			if err := w.engine.Retry(t.Context(), id, "cli"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if r := w.record(t, id); r.State != store.Pending || !r.Deadline.Equal(time.Now().Add(time.Hour)) {
				t.Errorf("%s, deadline in %v, want pending, the policy's 1 h", r.State, time.Until(r.Deadline))
			}
			time.Sleep(time.Minute)
		}
		r := w.wantState(t, id, store.Dead, destination.FunctionFailed)
		want := "1 pending function_failed 0\n2 dead function_failed 0\n" +
			"0 pending  0\n3 pending function_failed 0\n4 dead function_failed 0\n" +
			"0 pending  0\n5 pending function_failed 0\n6 dead function_failed 0\n"
		if diff := cmp.Diff(want, describe(r.Outcomes)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if o := r.Outcomes[2]; !o.Reset || o.By != "cli" || o.Generation != "g1" {
			t.Errorf("decision = %+v", o)
		}
		if n := len(w.notices(deliver.NoticeDead)); n != 3 {
			t.Errorf("%d notices, want one for each end", n)
		}
		f.set(nil)
		if err := w.engine.Retry(t.Context(), id, "cli"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
		for _, c := range f.calls() {
			if c.ID != id.String() {
				t.Errorf("a request carries id %s, want %s", c.ID, id)
			}
		}
	})
}

func TestRetryOfOneThatWaitsInMemoryStartsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(takes(10 * time.Second))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 1}))
		first := w.publish(to("crm"))[0]
		second := w.publish(to("crm"))[0]
		synctest.Wait()
		if err := w.engine.Retry(t.Context(), first, "api"); !fault.Is(err, fault.Conflict) {
			t.Errorf("Retry of one in flight = %v, want Conflict", err)
		}
		if err := w.engine.Retry(t.Context(), second, "api"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.wantState(t, first, store.Delivered, "")
		w.wantState(t, second, store.Delivered, "")
		if n := len(f.calls()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

func TestRetryThatWouldBeHeldSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot())
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		if err := w.engine.Retry(t.Context(), id, "api"); !fault.Is(err, fault.Conflict) {
			t.Errorf("Retry = %v, want Conflict", err)
		}
		if err := w.engine.Retry(t.Context(), store.DeliveryID{Event: 99}, "api"); !fault.Is(err, fault.NotFound) {
			t.Errorf("Retry of an unknown one = %v, want NotFound", err)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good, bad := &fake{}, &fake{}
		good.set(takes(10 * time.Second))
		bad.set(func(ctx context.Context, _ *destination.Request) (*destination.Response, error) {
			time.Sleep(10 * time.Second)
			return nil, &destination.Error{Class: destination.ServerError, Status: 500}
		})
		s := snapshot(
			&deliver.Destination{Name: "good", Handle: good, MaxInFlight: 1}, &deliver.Destination{Name: "bad", Handle: bad},
		)
		w := begin(t, s)
		succeeding, waiting, failing := w.publish(to("good"))[0], w.publish(to("good"))[0], w.publish(to("bad"))[0]
		later := to("good")
		later.NotBefore = time.Now().Add(time.Hour)
		queued := w.store(sample(), false, later)[0]
		w.set(func(w *world) { w.deliveries[queued].NextAt = later.NotBefore })
		synctest.Wait()
		for _, id := range []store.DeliveryID{succeeding, waiting, failing, queued} {
			if err := w.engine.Cancel(t.Context(), id, "api"); err != nil {
				t.Fatalf("Cancel: %v", err)
			}
		}
		time.Sleep(2 * time.Hour)
		w.wantState(t, succeeding, store.Delivered, "") // the attempt was under way and won
		w.wantState(t, waiting, store.Canceled, "")
		w.wantState(t, queued, store.Canceled, "")
		r := w.wantState(t, failing, store.Canceled, "")
		if got, want := describe(r.Outcomes), "0 canceled  0\n1 canceled server_error 500\n"; got != want {
			t.Errorf("outcomes of the failing one:\n%swant:\n%s", got, want)
		}
		if len(good.calls()) != 1 || len(bad.calls()) != 1 || leases(w) != 0 {
			t.Errorf("%d and %d requests, %d leases, want 1, 1, 0", len(good.calls()), len(bad.calls()), leases(w))
		}
		if err := w.engine.Cancel(t.Context(), waiting, "api"); !fault.Is(err, fault.Conflict) {
			t.Errorf("Cancel again = %v, want Conflict", err)
		}
		if err := w.engine.Cancel(t.Context(), store.DeliveryID{Event: 99}, "api"); !fault.Is(err, fault.NotFound) {
			t.Errorf("Cancel of an unknown one = %v, want NotFound", err)
		}
		if err := w.engine.Retry(t.Context(), waiting, "api"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.wantState(t, waiting, store.Delivered, "")
	})
}

func TestACancelThatCannotBeCommittedChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(func(context.Context, *destination.Request) (*destination.Response, error) {
			time.Sleep(time.Second)
			return nil, &destination.Error{Class: destination.ServerError, Status: 500}
		})
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, MaxInFlight: 1}))
		flying, waiting := w.publish(to("crm"))[0], w.publish(to("crm"))[0]
		synctest.Wait()
		w.set(func(w *world) {
			w.refuse = func(b *store.Batch) error { return fault.New(fault.Transient, "store_unavailable", "not now") }
		})
		for _, id := range []store.DeliveryID{flying, waiting} {
			if err := w.engine.Cancel(t.Context(), id, "api"); !fault.Is(err, fault.Transient) {
				t.Errorf("Cancel = %v, want Transient", err)
			}
		}
		w.set(func(w *world) { w.refuse = nil })
		time.Sleep(10 * time.Second)
		if a, b := w.record(t, flying), w.record(t, waiting); a.State != store.Pending || a.Attempts == 0 || b.Attempts == 0 {
			t.Errorf("%s after %d, %s after %d attempts, want both tried on", a.State, a.Attempts, b.State, b.Attempts)
		}
		f.set(nil)
	})
}

func TestTestConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(func(_ context.Context, r *destination.Request) (*destination.Response, error) {
			time.Sleep(30 * time.Millisecond)
			return &destination.Response{Status: 201, Body: []byte("thanks"), Truncated: true}, nil
		})
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		if err := w.engine.Disable(t.Context(), "crm", "", "api"); err != nil {
			t.Fatal(err)
		}
		got, err := w.engine.Test(t.Context(), "crm", nil)
		if err != nil || !got.OK || got.Status != 201 || string(got.Body) != "thanks" || !got.Truncated || got.Duration != 30*time.Millisecond {
			t.Errorf("Test = %+v, %v", got, err)
		}
		sent := f.calls()[0]
		if !sent.Test || sent.Event != nil || sent.ID != got.ID || !bytes.Contains(sent.Body, []byte(`"detail-type":"grapnel.test"`)) {
			t.Errorf("request = %+v", sent)
		}
		if _, err := w.engine.Test(t.Context(), "crm", &deliver.Sample{Body: []byte("own"), ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
		if sent := f.calls()[1]; string(sent.Body) != "own" || sent.ContentType != "text/plain" {
			t.Errorf("request = %+v", sent)
		}
		f.set(fails(destination.Error{Class: destination.Unauthorized, Status: 401, Message: "who are you", Excerpt: []byte("denied")}))
		got, err = w.engine.Test(t.Context(), "crm", nil)
		want := &deliver.Trial{
			Status: 401, Body: []byte("denied"), Class: destination.Unauthorized, Message: "who are you",
			Next: destination.Unauthorized.Info().Next,
		}
		got.ID = ""
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Test (-want +got), %v:\n%s", err, diff)
		}
		for name, do := range map[string]doFunc{
			"internal": func(context.Context, *destination.Request) (*destination.Response, error) { panic("bug") },
			"timeout":  hangs,
		} {
			f.set(do)
			if got, err = w.engine.Test(t.Context(), "crm", nil); err != nil || string(got.Class) != name {
				t.Errorf("Test = %+v, %v, want class %s", got, err, name)
			}
		}
		if w.recorded() != 0 || w.engine.Health()["crm"].Failures != 0 {
			t.Error("a test left traces")
		}
	})
}

func TestConditionsHaveNames(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(deliver.Closed, deliver.HalfOpen, deliver.Open, deliver.Disabled, deliver.Removed, deliver.Condition(0))
	if want := "ok half_open open disabled removed unknown"; got != want {
		t.Errorf("conditions = %s, want %s", got, want)
	}
	if text, err := deliver.Open.MarshalText(); err != nil || string(text) != "open" {
		t.Errorf("MarshalText = %s, %v", text, err)
	}
}
