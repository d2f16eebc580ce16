// Package apitest is a small world behind the API: engines in memory with one
// source, one destination and one rule, for tests of the API and of what asks
// it. Nothing here is exact about what engines decide; it is exact about what
// the API's interfaces promise.
package apitest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
)

const (
	// Token is the admin token of a World.
	Token = "test-admin-token-0123456789abcdef"
	// Generation is the configuration in force.
	Generation = "g2"
	// Host is the one name by which a World may be asked for.
	Host = "grapnel.internal"
	day  = 24 * time.Hour
)

// Now is what the clock of a World shows.
var Now = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)

// World is what stands behind the API.
type World struct {
	*History

	mu       sync.Mutex // guards everything below
	disabled string     // why crm is disabled
	by       []string
	panics   int
	refused  []*api.Refusal
	notReady []string
}

// New returns a world with three events: a webhook of GitHub whose delivery
// failed and waits, one on the bus security that matched nothing, and a
// repetition of the first.
func New() *World {
	w := &World{History: NewHistory()}
	w.fill()
	return w
}

// Config returns a configuration of the API for this world.
func (w *World) Config(log *slog.Logger) api.Config {
	return api.Config{
		Log: log, Now: func() time.Time { return Now }, Token: secret.New(Token),
		Hosts:   func() []string { return []string{Host} },
		History: w.History, Publisher: w.History, Matcher: w, Redelivery: w, Destinations: w,
		Components: w, Refusals: w, Instance: w, Metrics: w,
		Advise: func(class string) api.Advice {
			return api.Advice{What: "What " + class + " means.", Next: "What to do about " + class + "."}
		},
		Figures: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte("grapnel_build_info 1\n")) // a test that reads it notices
		}),
	}
}

// Secret is what no answer may hold: it stands where engines keep secrets.
const Secret = "s3cr3t-value"

func (w *World) fill() {
	id := event.ID("018f0000-0000-7000-8000-000000000001")
	body := []byte(`{"action":"opened","number":7}`)
	first := &store.Event{
		Envelope: event.Envelope{
			ID: id, DetailType: "pull_request", Source: "github.com", Account: "000000000000",
			Region: "us-east-1", Time: Now.Add(-time.Hour).Truncate(time.Second), Detail: body,
		},
		Received: Now.Add(-time.Hour), Bus: "default", Endpoint: "github", ProviderID: "72d3162e",
		DetailIsBody: true, Generation: "g1", VerifiedBy: &store.Verified{Profile: "github", KeyIndex: 1},
		Raw: &store.Raw{
			Method: "POST", Path: "/in/github", Query: "token=[secret]", Proto: "HTTP/1.1", Host: "hooks.example.com",
			RemoteAddr: "192.0.2.7:4711", Body: body, Masked: []string{"?token", "Authorization"},
			Header: []store.Field{
				{Name: "Authorization", Value: "[secret]"},
				{Name: "Content-Type", Value: "application/json"},
				{Name: "X-Github-Event", Value: "pull_request"},
			},
		},
	}
	alone := &store.Event{
		Envelope: event.Envelope{
			ID: "018f0000-0000-7000-8000-000000000002", DetailType: "login", Source: "com.example", Time: Now, Detail: []byte(`{}`),
		},
		Received: Now.Add(-time.Minute), Bus: "security",
	}
	again := *first
	again.Received, again.Deliveries = Now, nil
	w.must(w.Publish(context.Background(), &store.Batch{Events: []*store.Event{first, alone}}))
	again.DuplicateOf = first.At
	w.must(w.Publish(context.Background(), &store.Batch{Events: []*store.Event{&again}}))
	w.Outcome(&store.Outcome{
		Delivery: first.Deliveries[0].ID, Time: Now.Add(-time.Hour + time.Second), State: store.Pending, Attempt: 1, Counted: true,
		NextAt: Now.Add(time.Minute), Duration: 1500 * time.Millisecond, Status: 500, Class: "server_error",
		Reason: "the receiver answered 500", Generation: "g1", Excerpt: []byte("boom"),
	})
	w.refused = []*api.Refusal{
		refusal("ref_1", "github", "bad_signature", Now.Add(-2*time.Hour)),
		refusal("ref_2", "github", "missing_signature", Now.Add(-time.Minute)),
		refusal("ref_3", "", "unknown_path", Now),
	}
}

func refusal(id, source, reason string, at time.Time) *api.Refusal {
	return &api.Refusal{
		ID: id, Time: at, Source: source, Reason: reason, Status: 401, Detail: "no secret produces the signature",
		Hint: "compare the secret", BodySize: 5, Raw: store.Raw{
			Method: "POST", Path: "/in/" + source, Proto: "HTTP/1.1", Host: "hooks.example.com", RemoteAddr: "192.0.2.9:1",
			Body: []byte{0xff, 0xfe, 0, 1}, Header: []store.Field{{Name: "X-Hub-Signature-256", Value: "[secret]"}},
			Masked: []string{"X-Hub-Signature-256"},
		},
	}
}

func (w *World) must(err error) {
	if err != nil {
		panic(err) // the world of a test cannot be made
	}
}

// By returns who decided, in order.
func (w *World) By() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.by...)
}

// Panics returns how many panics were counted.
func (w *World) Panics() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.panics
}

// SetNotReady sets the reasons for which the process is not ready.
func (w *World) SetNotReady(reasons ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notReady = reasons
}

// Panicked implements api.Metrics.
func (w *World) Panicked(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.panics++
}

// Explain implements api.Matcher.
func (w *World) Explain(context.Context, *store.Event) ([]api.RuleVerdict, string, error) {
	return []api.RuleVerdict{
		{Rule: "all", Bus: "default", Matched: true},
		{Rule: "closed", Bus: "default", Misses: []api.Miss{{Field: "detail.action", Wanted: `"closed"`, Found: `"opened"`}}},
		{Rule: "watch", Bus: "security", OtherBus: true},
	}, Generation, nil
}

// Replay implements api.Matcher.
func (w *World) Replay(_ context.Context, ev *store.Event, run string, only []string) ([]store.DeliveryID, error) {
	for _, name := range only {
		if name != "all" {
			return nil, fault.New(fault.NotFound, "rule_not_found", "rule %q does not exist", name)
		}
	}
	return []store.DeliveryID{store.NewDeliveryID(ev.At, ev.Envelope.ID, "all", "crm", run)}, nil
}

// TestPattern implements api.Matcher: the pattern {} matches everything, any
// other nothing.
func (w *World) TestPattern(pattern, _ json.RawMessage) (api.RuleVerdict, error) {
	switch string(pattern) {
	case `"panic"`:
		panic("a bug with " + Secret)
	case `[]`:
		return api.RuleVerdict{}, fault.New(fault.Invalid, "malformed_pattern", "the pattern is not an object")
	}
	return api.RuleVerdict{Matched: string(pattern) == "{}"}, nil
}

// Retry implements api.Redelivery.
func (w *World) Retry(ctx context.Context, id store.DeliveryID, by string) error {
	d, err := w.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if d.Reason == "stubborn" {
		return fault.New(fault.Conflict, "attempt_in_progress", "delivery %s is being attempted now", id)
	}
	w.note(by)
	w.Outcome(&store.Outcome{Delivery: id, Time: Now, State: store.Pending, Reset: true, NextAt: Now, By: by})
	return nil
}

// Cancel implements api.Redelivery.
func (w *World) Cancel(ctx context.Context, id store.DeliveryID, by string) error {
	d, err := w.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if d.State.Final() {
		return fault.New(fault.Conflict, "already_final", "delivery %s has ended", id)
	}
	w.note(by)
	w.Outcome(&store.Outcome{Delivery: id, Time: Now, State: store.Canceled, By: by})
	return nil
}

func (w *World) note(by string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by = append(w.by, by)
}

// Destinations implements api.Destinations.
func (w *World) Destinations() []api.Destination {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := api.Destination{
		Name: "crm", Kind: "webhook", Address: "https://crm.example.com/hooks", State: api.DestinationOK,
		InFlight: 1, MaxInFlight: 16, Waiting: 2, ConsecutiveFailures: 1,
		LastFailure: &api.Time{Time: Now}, LastClass: "server_error", LastReason: "the receiver answered 500",
	}
	if w.disabled != "" {
		d.State, d.DisabledReason = api.DestinationDisabled, w.disabled
	}
	return []api.Destination{d}
}

// Test implements api.Destinations: a body with "refuse" is refused.
func (w *World) Test(_ context.Context, name string, r api.TestRequest) (api.TestResult, error) {
	if name != "crm" {
		return api.TestResult{}, fault.New(fault.NotFound, "", "no destination %q", name)
	}
	result := api.TestResult{OK: true, Status: 200, Duration: api.Duration(12 * time.Millisecond), Body: api.NewContent("text/plain", []byte("ok"), 0, 100)}
	if contains(string(r.Body), "refuse") {
		result.OK, result.Status, result.Class, result.Reason = false, 403, "forbidden", "the receiver answered 403"
	}
	return result, nil
}

// Disable implements api.Destinations.
func (w *World) Disable(_ context.Context, name, reason, by string) error {
	return w.flag(name, reason, by)
}

// Enable implements api.Destinations.
func (w *World) Enable(_ context.Context, name, by string) error { return w.flag(name, "", by) }

func (w *World) flag(name, reason, by string) error {
	if name != "crm" {
		return fault.New(fault.NotFound, "", "no destination %q", name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disabled = reason
	w.by = append(w.by, by)
	return nil
}

// Sources implements api.Components.
func (w *World) Sources() []api.Source {
	return []api.Source{{
		Name: "github", Provider: "github", Title: "GitHub", Bus: "default", Path: "/in/github",
		URL: "https://hooks.example.com/in/github", Steps: []string{"Open the settings."}, Signed: "the body",
		Accepted: 2, Duplicates: 1,
	}}
}

// Rules implements api.Components.
func (w *World) Rules() []api.Rule {
	return []api.Rule{{
		Name: "all", Bus: "default", Pattern: json.RawMessage(`{"source":["github.com"]}`),
		Targets: []api.Target{{ID: "crm", To: "crm", Attempts: 185, MaxAge: api.Duration(day)}},
	}}
}

// Refused implements api.Refusals.
func (w *World) Refused(source string) []*api.Refusal {
	var out []*api.Refusal
	for _, r := range w.refused {
		if source == "" || r.Source == source {
			out = append(out, r)
		}
	}
	return out
}

// RefusedCounts implements api.Refusals.
func (w *World) RefusedCounts() map[string]map[string]int64 {
	return map[string]map[string]int64{"github": {"bad_signature": 9, "missing_signature": 1}, "": {"unknown_path": 1}}
}

// Info implements api.Instance.
func (w *World) Info() api.Info {
	w.mu.Lock()
	defer w.mu.Unlock()
	return api.Info{
		Version: "v1.2.3", Generation: Generation, ConfigPath: "grapnel.yaml", Started: Now.Add(-90 * time.Second),
		DataDir: "data", Public: "127.0.0.1:8080", Admin: "127.0.0.1:8081", PublicURL: "https://hooks.example.com",
		LoadedAt: Now.Add(-time.Minute), LastReload: api.Reload{Time: api.Time{Time: Now}, Problems: []string{"grapnel.yaml:3:1: unknown key"}},
		NotReady: w.notReady, Account: "000000000000", Region: "us-east-1",
	}
}
