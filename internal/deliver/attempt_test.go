package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func TestDeliveryCarriesTheEnvelopeAndIsRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(func(context.Context, *destination.Request) (*destination.Response, error) {
			time.Sleep(40 * time.Millisecond)
			return &destination.Response{Status: 202, Body: bytes.Repeat([]byte("x"), 5000)}, nil
		})
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		ev := sample()
		id := w.publishEvent(ev, to("crm"))[0]
		time.Sleep(time.Second)

		r := w.wantState(t, id, store.Delivered, "")
		want := &store.Outcome{
			At: 2, Delivery: id, Time: ev.Received.Add(40 * time.Millisecond), State: store.Delivered, Attempt: 1, Counted: true,
			Duration: 40 * time.Millisecond, Status: 202, Generation: "g1", Excerpt: bytes.Repeat([]byte("x"), deliver.ExcerptSize),
		}
		if diff := cmp.Diff([]*store.Outcome{want}, r.Outcomes); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		calls := f.calls()
		if len(calls) != 1 {
			t.Fatalf("%d requests, want 1", len(calls))
		}
		got := calls[0]
		if got.ID != id.String() || got.Attempt != 1 || got.Bus != "default" || got.Rule != "r" || got.Target != "to" ||
			got.ContentType != "application/json" || got.Event != &ev.Envelope || got.Attributes != nil || got.Test {
			t.Errorf("request = %+v", got)
		}
		if want := string(ev.Envelope.AppendJSON(nil)); string(got.Body) != want {
			t.Errorf("body = %s, want %s", got.Body, want)
		}
	})
}

func TestTheWebhookItselfGoesWithTheDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		ev := sample()
		ev.Raw = &store.Raw{Body: []byte(`{ "n": 1.50 }`), Header: []store.Field{
			{Name: "X-Pusher-Key", Value: "k"}, {Name: "X-Two", Value: "1"}, {Name: "X-Two", Value: "2"},
		}}
		w.publishEvent(ev, to("crm"))
		made := sample()
		made.Raw = nil
		w.publishEvent(made, to("crm"))
		time.Sleep(time.Second)

		calls := f.calls()
		if len(calls) != 2 {
			t.Fatalf("%d requests, want 2", len(calls))
		}
		if calls[0].Raw == nil { // no order is promised
			calls[0], calls[1] = calls[1], calls[0]
		}
		if calls[0].Raw == nil || calls[1].Raw != nil {
			t.Fatalf("requests %+v and %+v, want the webhook with the first only", calls[0].Raw, calls[1].Raw)
		}
		var got []store.Field
		for name, value := range calls[0].Raw.Header {
			got = append(got, store.Field{Name: name, Value: value})
		}
		if diff := cmp.Diff(ev.Raw.Header, got); diff != "" || string(calls[0].Raw.Body()) != `{ "n": 1.50 }` {
			t.Errorf("body %s, headers (-want +got):\n%s", calls[0].Raw.Body(), diff)
		}
		for range calls[0].Raw.Header {
			break // whoever wants one line only may stop
		}
	})
}

func TestReplayCarriesItsName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "own"}] = &deliver.Target{
			Input: func(ev *store.Event) ([]byte, string, error) {
				return []byte(ev.Envelope.ReplayName), "text/plain", nil
			},
		}
		w := begin(t, s)
		replay, own := to("crm"), to("crm")
		replay.Origin, replay.Run = store.OriginReplay, "monday"
		own.Origin, own.Run, own.Target = store.OriginReplay, "monday", "own"
		ev := sample()
		w.publishEvent(ev, replay)
		synctest.Wait()
		w.publishEvent(ev, own)
		synctest.Wait()
		calls := f.calls()
		if len(calls) != 2 || !strings.Contains(string(calls[0].Body), `"replay-name":"monday"`) || string(calls[1].Body) != "monday" {
			t.Errorf("bodies of a replay: %+v", calls)
		}
		if ev.Envelope.ReplayName != "" {
			t.Error("the stored event was changed")
		}
	})
}

// consequence is what a class means for a delivery after its first attempt.
type consequence struct {
	state   store.DeliveryState
	counted bool
}

func TestEveryClassHasItsConsequence(t *testing.T) {
	t.Parallel()
	again, throttled, dead := consequence{store.Pending, true}, consequence{store.Pending, false}, consequence{store.Dead, true}
	wants := map[destination.Class]consequence{
		destination.Refused: again, destination.Reset: again, destination.DNS: again, destination.DNSNotFound: again,
		destination.Timeout: again, destination.TLS: again, destination.Protocol: again, destination.Unauthorized: again,
		destination.RequestTimeout: again, destination.Conflict: again, destination.ServerError: again,
		destination.Unavailable: again, destination.FunctionFailed: again, destination.FunctionPending: again,
		destination.Credentials: again, destination.InternalError: again, destination.StoppedInBetween: again,
		destination.Throttled:      throttled,
		destination.BlockedAddress: dead, destination.Redirect: dead, destination.BadRequest: dead, destination.Forbidden: dead,
		destination.NotFound: dead, destination.Gone: dead, destination.TooLarge: dead, destination.Rejected: dead,
		destination.InputFailed: dead, destination.TooManyHops: dead, destination.TargetRemoved: dead,
		destination.DeadlinePassed: dead, destination.EventGone: dead,
	}
	for _, row := range destination.Classes() {
		t.Run(string(row.Class), func(t *testing.T) {
			t.Parallel()
			want, ok := wants[row.Class]
			if !ok {
				t.Fatal("the class has no row in this table")
			}
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.set(fails(destination.Error{Class: row.Class, Status: 499, Message: "said no", Excerpt: make([]byte, 5000)}))
				w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
				start := time.Now()
				id := w.publish(to("crm"))[0]
				synctest.Wait()
				r := w.wantState(t, id, want.state, row.Class)
				o := r.Outcomes[0]
				if o.Counted != want.counted || o.Attempt != 1 || o.Status != 499 || o.Reason != "said no" || len(o.Excerpt) != deliver.ExcerptSize {
					t.Errorf("outcome = %+v", o)
				}
				if want.state == store.Pending && (o.NextAt.Before(start) || o.NextAt.After(start.Add(time.Second))) {
					t.Errorf("next attempt after %v, want within 1 s", o.NextAt.Sub(start))
				}
				if n := len(w.notices(deliver.NoticeDead)); (n == 1) != (want.state == store.Dead) {
					t.Errorf("%d notices of a dead delivery", n)
				}
			})
		})
	}
}

func TestAReceiverMayAskNotToBeTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.ServerError, Status: 500, NoRetry: true, Message: "no more"}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		r := w.wantState(t, id, store.Dead, destination.Rejected)
		if r.Reason != "server_error: no more" {
			t.Errorf("reason = %q", r.Reason)
		}
	})
}

func TestInputThatFailsEndsTheDeliveryWithoutARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Input = func(*store.Event) ([]byte, string, error) {
			return nil, "", errors.New("$.detail.id is an object")
		}
		w := begin(t, s)
		id := w.publish(to("crm"))[0]
		synctest.Wait()
		r := w.wantState(t, id, store.Dead, destination.InputFailed)
		if r.Reason != "$.detail.id is an object" || len(f.calls()) != 0 {
			t.Errorf("reason = %q after %d requests", r.Reason, len(f.calls()))
		}
		if h := w.engine.Health()["crm"]; h.Failures != 0 {
			t.Errorf("health counts %d failures of a destination that was not asked", h.Failures)
		}
	})
}

func TestAPanicCostsOneAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		var panics atomic.Int32
		f.set(func(_ context.Context, r *destination.Request) (*destination.Response, error) {
			if r.Attempt == 1 {
				panic("bug")
			}
			return &destination.Response{Status: 200}, nil
		})
		w := newWorld()
		w.begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}), deliver.Config{Panicked: func() { panics.Add(1) }})
		id := w.publish(to("crm"))[0]
		time.Sleep(2 * time.Second)
		r := w.wantState(t, id, store.Delivered, "")
		if got, want := describe(r.Outcomes), "1 pending internal 0\n2 delivered  200\n"; got != want || panics.Load() != 1 {
			t.Errorf("%d panics, outcomes:\n%swant:\n%s", panics.Load(), got, want)
		}
	})
}

func TestAnAttemptEndsAtTheTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ timeout, want time.Duration }{
		"default":   {0, 30 * time.Second},
		"own":       {2 * time.Second, 2 * time.Second},
		"too large": {time.Hour, 300 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.set(hangs)
				w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, Timeout: c.timeout}))
				id := w.publish(to("crm"))[0]
				time.Sleep(c.want)
				synctest.Wait()
				o := w.record(t, id).Outcomes[0]
				if o.Class != string(destination.Timeout) || o.Duration != c.want {
					t.Errorf("after %v: class %q, duration %v", c.want, o.Class, o.Duration)
				}
				f.set(nil)
			})
		})
	}
}

func TestErrorsOutsideTheContractAreInternal(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]doFunc{
		"plain error": func(context.Context, *destination.Request) (*destination.Response, error) {
			return nil, errors.New("secret text")
		},
		"nothing": func(context.Context, *destination.Request) (*destination.Response, error) { return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.set(do)
				w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
				id := w.publish(to("crm"))[0]
				synctest.Wait()
				o := w.record(t, id).Outcomes[0]
				if o.Class != string(destination.InternalError) || strings.Contains(o.Reason, "secret") {
					t.Errorf("class %q, reason %q", o.Class, o.Reason)
				}
			})
		})
	}
}

func TestPolicyEndsAfterItsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.FunctionFailed, Status: 200, Message: "it raised KeyError"}))
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Retry = deliver.Policy{Attempts: 3}
		w := begin(t, s)
		id := w.publish(to("crm"))[0]
		time.Sleep(time.Minute)
		r := w.wantState(t, id, store.Dead, destination.FunctionFailed)
		if r.Reason != "it raised KeyError (attempt 3 of 3)" || r.Attempts != 3 || len(f.calls()) != 3 {
			t.Errorf("reason %q after %d attempts and %d requests", r.Reason, r.Attempts, len(f.calls()))
		}
		for i, c := range f.calls() {
			if c.ID != id.String() || c.Attempt != i+1 {
				t.Errorf("request %d has id %s, attempt %d", i, c.ID, c.Attempt)
			}
		}
	})
}

func TestDefaultPolicyEndsByAttemptsOrAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.FunctionFailed, Message: "no"}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		var ids []store.DeliveryID
		for range 20 {
			ids = append(ids, w.publish(to("crm"))...)
		}
		time.Sleep(25 * time.Hour)
		for _, id := range ids {
			r := w.record(t, id)
			switch {
			case r.State != store.Dead, r.Attempts > 185, r.Attempts < 150:
				t.Errorf("%s after %d attempts", r.State, r.Attempts)
			case r.Attempts == 185 && r.Class != string(destination.FunctionFailed),
				r.Attempts < 185 && r.Class != string(destination.DeadlinePassed):
				t.Errorf("class %s after %d attempts", r.Class, r.Attempts)
			}
		}
	})
}

func TestThrottledAttemptsCountAgainstTheAgeOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(func(_ context.Context, r *destination.Request) (*destination.Response, error) {
			if r.Attempt <= 6 {
				return nil, &destination.Error{Class: destination.Throttled, Status: 429}
			}
			return &destination.Response{Status: 200}, nil
		})
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].Retry = deliver.Policy{Attempts: 2}
		w := begin(t, s)
		id := w.publish(to("crm"))[0]
		time.Sleep(time.Hour)
		if r := w.wantState(t, id, store.Delivered, ""); r.Attempts != 7 || r.Counted != 1 {
			t.Errorf("%d attempts, %d counted, want 7 and 1", r.Attempts, r.Counted)
		}
	})
}

func TestThrottledAttemptsComeEverMoreSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Throttled, Status: 429}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f, BreakAfter: -1}))
		w.publish(to("crm"))
		time.Sleep(12 * time.Hour)
		// Twelve hours of delays with a mean of 8 minutes; of half a second it would be 86,400.
		if n := len(f.calls()); n < 50 || n > 200 {
			t.Errorf("%d attempts in 12 h", n)
		}
	})
}

func TestRetryAfterIsALowerBoundUpToTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.Conflict, Status: 409, RetryAfter: time.Hour}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		start := time.Now()
		d := to("crm")
		d.Deadline = start.Add(90 * time.Minute)
		id := w.publish(d)[0]
		synctest.Wait()
		if next := w.record(t, id).NextAt; !next.Equal(start.Add(time.Hour)) {
			t.Errorf("next attempt after %v, want 1 h", next.Sub(start))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if next := w.record(t, id).NextAt; !next.Equal(d.Deadline) {
			t.Errorf("next attempt after %v, want the deadline", next.Sub(start))
		}
		time.Sleep(time.Hour)
		r := w.wantState(t, id, store.Dead, destination.DeadlinePassed)
		if len(f.calls()) != 2 || !strings.HasPrefix(r.Reason, "conflict: ") {
			t.Errorf("%d requests, reason %q", len(f.calls()), r.Reason)
		}
	})
}

func TestDeliveriesWaitForTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		d := to("crm")
		d.NotBefore = time.Now().Add(time.Hour)
		ev := sample()
		id := w.store(ev, true, d)[0]
		w.set(func(w *world) { w.deliveries[id].NextAt = d.NotBefore })
		w.engine.Deliver(ev, []*store.Delivery{d})
		time.Sleep(59 * time.Minute)
		w.wantState(t, id, store.Pending, "")
		time.Sleep(2 * time.Minute)
		w.wantState(t, id, store.Delivered, "")
	})
}

func TestADeliveryWithoutItsEventEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		d := to("crm")
		id := w.store(sample(), true, d)[0]
		w.engine.Deliver(nil, []*store.Delivery{d})
		synctest.Wait()
		w.wantState(t, id, store.Dead, destination.EventGone)
	})
}

func TestSyncDeliveriesOfAnEarlierProcessAreInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: &fake{}}))
		d := to("crm")
		d.Mode = store.Sync
		id := w.store(sample(), false, d)[0]
		synctest.Wait()
		w.wantState(t, id, store.Interrupted, destination.StoppedInBetween)
	})
}

func TestForwardingIsOneCommitWithTheSuccess(t *testing.T) {
	t.Parallel()
	forward := func(context.Context, *destination.Request) (*destination.Response, error) {
		return &destination.Response{Status: 200, Forward: "security"}, nil
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(forward)
		w := begin(t, snapshot(&deliver.Destination{Name: "hop", Handle: f}))
		ev := sample()
		ev.Raw = &store.Raw{Method: "POST", Body: []byte(`{"n":1}`)}
		ev.DetailIsBody, ev.Hops, ev.ProviderID, ev.Endpoint = true, 3, "p1", "github"
		id := w.publishEvent(ev, to("hop"))[0]
		synctest.Wait()
		w.wantState(t, id, store.Delivered, "")
		want := []*store.Event{{
			At: 2, Envelope: ev.Envelope, Received: ev.Received, Bus: "security", Raw: ev.Raw, DetailIsBody: true,
			DedupeKey: "hop/" + id.String(), Hops: 4, Parent: ev.At,
		}}
		if diff := cmp.Diff(want, w.made()); diff != "" {
			t.Errorf("forwarded (-want +got):\n%s", diff)
		}
	})
	t.Run("again after a crash is delivered once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			f.set(forward)
			w := begin(t, snapshot(&deliver.Destination{Name: "hop", Handle: f}))
			d := to("hop")
			ev := sample()
			id := w.store(ev, true, d)[0]
			w.set(func(w *world) { w.keys["hop/"+id.String()] = true })
			w.engine.Deliver(ev, []*store.Delivery{d})
			synctest.Wait()
			w.wantState(t, id, store.Delivered, "")
			if n := len(w.made()); n != 0 {
				t.Errorf("%d events forwarded, want none", n)
			}
		})
	})
	t.Run("to a bus that is gone is a failure", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			f.set(forward)
			w := begin(t, snapshot(&deliver.Destination{Name: "hop", Handle: f}))
			w.set(func(w *world) {
				w.refuse = func(b *store.Batch) error {
					if len(b.Events) > 0 {
						return fault.New(fault.Invalid, "unknown_bus", "bus %q does not exist", "security")
					}
					return nil
				}
			})
			id := w.publish(to("hop"))[0]
			synctest.Wait()
			r := w.wantState(t, id, store.Dead, destination.NotFound)
			if !strings.Contains(r.Reason, `bus "security" does not exist`) {
				t.Errorf("reason = %q", r.Reason)
			}
		})
	})
	t.Run("over too many buses ends", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			f.set(forward)
			w := begin(t, snapshot(&deliver.Destination{Name: "hop", Handle: f}))
			ev := sample()
			ev.Hops = store.MaxHops
			id := w.publishEvent(ev, to("hop"))[0]
			synctest.Wait()
			w.wantState(t, id, store.Dead, destination.TooManyHops)
		})
	})
}
