package deliver_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

func TestDeadLettersSayWhatEventBridgeSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   destination.Error
		retry deliver.Policy
		after time.Duration
		want  map[string]string
	}{
		"permanent": {
			destination.Error{Class: destination.Forbidden, Status: 403, Message: "no entry"},
			deliver.Policy{},
			time.Second,
			map[string]string{"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "no entry", "RETRY_ATTEMPTS": "0"},
		},
		"attempts used": {
			destination.Error{Class: destination.Timeout, Message: "too slow"},
			deliver.Policy{Attempts: 3},
			time.Minute,
			map[string]string{
				"ERROR_CODE": "TIMEOUT", "ERROR_MESSAGE": "too slow (attempt 3 of 3)", "RETRY_ATTEMPTS": "2",
				"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
			},
		},
		"age": {
			destination.Error{Class: destination.Conflict, Message: "busy", RetryAfter: 20 * time.Hour},
			deliver.Policy{},
			25 * time.Hour,
			map[string]string{
				"ERROR_CODE": "RESOURCE_MODIFICATION_COLLISION", "ERROR_MESSAGE": "conflict: busy (the deadline has passed)", "RETRY_ATTEMPTS": "1",
				"EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, grave := &fake{}, &fake{}
				f.set(fails(c.err))
				s := snapshot(&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "grave", Handle: grave})
				s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}] = &deliver.Target{
					Input: func(*store.Event) ([]byte, string, error) { return []byte("transformed"), "text/plain", nil },
					Retry: c.retry, DeadLetter: "grave", RuleARN: "arn:rule", TargetARN: "arn:target",
				}
				w := begin(t, s)
				ev := sample()
				w.publishEvent(ev, to("crm"))
				time.Sleep(c.after)
				synctest.Wait()
				calls := grave.calls()
				if len(calls) != 1 {
					t.Fatalf("%d dead letters, want 1", len(calls))
				}
				c.want["RULE_ARN"], c.want["TARGET_ARN"] = "arn:rule", "arn:target"
				if diff := cmp.Diff(c.want, calls[0].Attributes); diff != "" {
					t.Errorf("attributes (-want +got):\n%s", diff)
				}
				if got, want := string(calls[0].Body), string(ev.Envelope.AppendJSON(nil)); got != want {
					t.Errorf("body = %s, want the event %s", got, want)
				}
			})
		})
	}
}

func TestADeadLetterHasNoDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, grave := &fake{}, &fake{}
		f.set(fails(destination.Error{Class: destination.BadRequest, Status: 400, Message: "no"}))
		grave.set(fails(destination.Error{Class: destination.BadRequest, Status: 400, Message: "no"}))
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "grave", Handle: grave})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].DeadLetter = "grave"
		w := begin(t, s)
		replay := to("crm")
		replay.Run, replay.Origin = "monday", store.OriginReplay
		ev := sample()
		w.publishEvent(ev, to("crm"), replay)
		time.Sleep(time.Hour)
		var runs []string
		for _, r := range w.all(t) {
			runs = append(runs, r.Destination+" "+r.Origin.String()+" "+r.Run+" "+r.State.String())
		}
		slices.Sort(runs)
		want := []string{
			"crm match  dead", "crm replay monday dead",
			"grave dead_letter dead_letter dead", "grave dead_letter dead_letter:monday dead",
		}
		if diff := cmp.Diff(want, runs); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
		for _, c := range grave.calls() {
			if c.Attributes["ERROR_CODE"] != "ERROR_FROM_TARGET" {
				t.Errorf("attributes = %v", c.Attributes)
			}
		}
	})
}

func TestEveryEndIsADeadLetterOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, grave := &fake{}, &fake{}
		f.set(fails(destination.Error{Class: destination.BadRequest, Status: 400, Message: "no"}))
		s := snapshot(&deliver.Destination{Name: "crm", Handle: f}, &deliver.Destination{Name: "grave", Handle: grave})
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].DeadLetter = "grave"
		w := begin(t, s)
		replay := to("crm")
		replay.Run, replay.Origin = "monday", store.OriginReplay
		id := w.publish(replay)[0]
		synctest.Wait()
		for range 2 {
			if err := w.engine.Retry(t.Context(), id, "cli"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		ids := map[string]bool{}
		for i, c := range grave.calls() {
			ids[c.ID] = true
			if got, want := c.Attributes["RETRY_ATTEMPTS"], strconv.Itoa(i); got != want {
				t.Errorf("letter %d has RETRY_ATTEMPTS %s, want %s", i, got, want)
			}
		}
		if len(ids) != 3 {
			t.Errorf("%d letters with ids of their own, want 3", len(ids))
		}
	})
}

func TestADeadLetterDestinationThatIsMissingHoldsTheLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, grave := &fake{}, &fake{}
		f.set(fails(destination.Error{Class: destination.BadRequest, Status: 400}))
		crm := &deliver.Destination{Name: "crm", Handle: f}
		s := snapshot(crm)
		s.Targets[deliver.TargetKey{Rule: "r", Target: "to"}].DeadLetter = "grave"
		w := begin(t, s)
		w.publish(to("crm"))
		time.Sleep(time.Minute)
		if n := w.count(store.Held); n != 1 {
			t.Errorf("%d held, want the dead letter", n)
		}
		s = snapshot(crm, &deliver.Destination{Name: "grave", Handle: grave})
		w.engine.Configure(s)
		synctest.Wait()
		if len(grave.calls()) != 1 {
			t.Errorf("%d dead letters, want 1", len(grave.calls()))
		}
	})
}

func TestEveryClassHasAnErrorCode(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, code := range []string{
		"CONNECTION_FAILURE", "ERROR_FROM_TARGET", "INTERNAL_ERROR", "INVALID_PARAMETER", "NO_PERMISSIONS", "NO_RESOURCE",
		"RESOURCE_LIMIT_EXCEEDED", "RESOURCE_MODIFICATION_COLLISION", "SDK_CLIENT_ERROR", "THROTTLING", "TIMEOUT", "TRANSIENT_ASSUME_ROLE",
	} {
		known[code] = true
	}
	for _, row := range destination.Classes() {
		code := deliver.ErrorCode(row.Class)
		cause := row.Class != destination.DeadlinePassed
		if known[code] != cause {
			t.Errorf("ErrorCode(%s) = %s", row.Class, code)
		}
	}
	if got := deliver.ErrorCode("new"); got != "UNKNOWN" {
		t.Errorf("ErrorCode of an unknown class = %s", got)
	}
}

func TestWhatEndsBadlyIsAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.NotFound, Status: 404, Message: `no "such" page`}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		ev := sample()
		id := w.publishEvent(ev, to("crm"))[0]
		synctest.Wait()
		got := w.notices(deliver.NoticeDead)
		if len(got) != 1 {
			t.Fatalf("%d notices, want 1", len(got))
		}
		n := got[0]
		if n.Bus != "default" || n.Parent != ev.At || n.Envelope.Source != "grapnel" || n.Envelope.Account != "000000000000" ||
			n.Envelope.Region != "us-east-1" || n.Received.IsZero() || !deliver.IsNotice(n) || deliver.IsNotice(ev) {
			t.Errorf("notice = %+v", n)
		}
		var detail map[string]any
		if err := json.Unmarshal(n.Envelope.Detail, &detail); err != nil {
			t.Fatalf("%s: %v", n.Envelope.Detail, err)
		}
		want := map[string]any{
			"delivery": id.String(), "event": string(ev.Envelope.ID), "rule": "r", "target": "to", "destination": "crm",
			"class": "not_found", "reason": `no "such" page`, "attempts": 1.0, "last_status": 404.0,
		}
		if diff := cmp.Diff(want, detail); diff != "" {
			t.Errorf("detail (-want +got):\n%s", diff)
		}
	})
}

// A rule that sends notices to a destination that is itself broken must not
// make notices of notices for ever.
func TestNoticesDoNotCauseNotices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(fails(destination.Error{Class: destination.NotFound, Status: 404}))
		w := begin(t, snapshot(&deliver.Destination{Name: "crm", Handle: f}))
		ev := sample()
		ev.Envelope.Source, ev.Envelope.DetailType = deliver.NoticeSource, deliver.NoticeDead
		id := w.publishEvent(ev, to("crm"))[0]
		held := w.publishEvent(ev, to("nowhere"))[0]
		synctest.Wait()
		w.wantState(t, id, store.Dead, destination.NotFound)
		w.wantState(t, held, store.Held, deliver.HoldDestinationRemoved)
		if n := len(w.made()); n != 0 {
			t.Errorf("%d events were made", n)
		}
	})
}
