package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/api/apitest"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const first = "018f0000-0000-7000-8000-000000000001"

type bundle struct {
	*client.Client

	world  *apitest.World
	server *httptest.Server
	api    *api.API
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{world: apitest.New()}
	surface, err := api.New(b.world.Config(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	b.api = surface
	b.server = httptest.NewServer(surface)
	t.Cleanup(func() {
		surface.Close()
		b.server.Close()
	})
	b.Client = connect(t, b.server.URL, apitest.Token)
	return b
}

func connect(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{
		URL: url, Token: secret.New(token), Agent: api.AgentCLI + "test",
		HTTP: &http.Client{Transport: &http.Transport{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// orders publishes n events and returns their ids, oldest first.
func (b *bundle) orders(t *testing.T, n int) []string {
	t.Helper()
	ids := make([]string, 0, n)
	for range n {
		p, err := b.Publish(t.Context(), api.NewEvent{Source: "com.example", DetailType: "order", Detail: json.RawMessage(`{"n":1}`)})
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, p.ID)
	}
	return ids
}

// TestEveryRouteAnswersItsMethod asks each route once and compares what the
// client decoded with the bytes that the server sent, member by member.
func TestEveryRouteAnswersItsMethod(t *testing.T) {
	t.Parallel()
	delivery := store.NewDeliveryID(16, first, "all", "crm", "").String()
	asked := map[string]bool{}
	rows := []struct {
		route string
		ask   func(context.Context, *bundle) (any, error)
	}{
		{"GET /api/v1/status", func(ctx context.Context, b *bundle) (any, error) { return b.Status(ctx) }},
		{"GET /healthz", func(ctx context.Context, b *bundle) (any, error) { return api.Health{Status: "ok"}, b.Healthy(ctx) }},
		{"GET /readyz", func(ctx context.Context, b *bundle) (any, error) { return b.Ready(ctx) }},
		{"GET /api/v1/events", func(ctx context.Context, b *bundle) (any, error) {
			return b.EventsPage(ctx, api.EventFilter{
				Bus: "default", Source: "github.com", Type: "pull_request", Endpoint: "github", State: "pending",
				Since: api.WhenAgo(3 * time.Hour), Until: api.WhenAt(apitest.Now), Ascending: true, Limit: 3,
			})
		}},
		{"POST /api/v1/events", func(ctx context.Context, b *bundle) (any, error) {
			return b.Publish(ctx, api.NewEvent{
				Source: "com.example", DetailType: "order", Detail: json.RawMessage(`{"n":1}`), Resources: []string{"arn:x"},
				Time: &api.Time{Time: apitest.Now}, DedupeKey: "k", Bus: "default",
			})
		}},
		{"GET /api/v1/events/{id}", func(ctx context.Context, b *bundle) (any, error) { return b.Event(ctx, first) }},
		{"GET /api/v1/events/{id}/explain", func(ctx context.Context, b *bundle) (any, error) { return b.Explain(ctx, first) }},
		{"POST /api/v1/events/{id}/replay", func(ctx context.Context, b *bundle) (any, error) {
			return b.Replay(ctx, first, api.ReplayRequest{Rules: []string{"all"}, Run: "again"})
		}},
		{"GET /api/v1/refused", func(ctx context.Context, b *bundle) (any, error) {
			return b.Refused(ctx, api.RefusedFilter{Source: "github", Reason: "bad_signature", Since: api.WhenAgo(24 * time.Hour), Limit: 1})
		}},
		{"GET /api/v1/refused/{id}", func(ctx context.Context, b *bundle) (any, error) { return b.RefusedRequest(ctx, "ref_2") }},
		{"GET /api/v1/deliveries", func(ctx context.Context, b *bundle) (any, error) {
			return b.DeliveriesPage(ctx, api.DeliveryList{DeliveryFilter: api.DeliveryFilter{
				Event: first, Rule: "all", Target: "crm", Destination: "crm", State: "pending", Class: "server_error",
			}, Limit: 2})
		}},
		{"GET /api/v1/deliveries/{id}", func(ctx context.Context, b *bundle) (any, error) { return b.Delivery(ctx, delivery) }},
		{"POST /api/v1/deliveries/{id}/retry", func(ctx context.Context, b *bundle) (any, error) { return b.RetryDelivery(ctx, delivery) }},
		{"POST /api/v1/deliveries/{id}/cancel", func(ctx context.Context, b *bundle) (any, error) { return b.CancelDelivery(ctx, delivery) }},
		{"POST /api/v1/deliveries/retry", func(ctx context.Context, b *bundle) (any, error) {
			return b.RetryDeliveries(ctx, api.BulkRetry{
				Filter: api.DeliveryFilter{Event: first, State: "pending", Since: api.WhenAgo(time.Hour)}, Rate: 1000, Limit: 5,
			})
		}},
		{"GET /api/v1/destinations", func(ctx context.Context, b *bundle) (any, error) {
			list, err := b.Destinations(ctx)
			return api.DestinationPage{Destinations: list}, err
		}},
		{"GET /api/v1/destinations/{name}", func(ctx context.Context, b *bundle) (any, error) { return b.Destination(ctx, "crm") }},
		{"POST /api/v1/destinations/{name}/test", func(ctx context.Context, b *bundle) (any, error) {
			return b.TestDestination(ctx, "crm", api.TestRequest{Body: json.RawMessage(`"refuse"`)})
		}},
		{"POST /api/v1/destinations/{name}/disable", func(ctx context.Context, b *bundle) (any, error) {
			return b.DisableDestination(ctx, "crm", "maintenance")
		}},
		{"POST /api/v1/destinations/{name}/enable", func(ctx context.Context, b *bundle) (any, error) { return b.EnableDestination(ctx, "crm") }},
		{"GET /api/v1/sources", func(ctx context.Context, b *bundle) (any, error) {
			list, err := b.Sources(ctx)
			return api.SourcePage{Sources: list}, err
		}},
		{"GET /api/v1/sources/{name}", func(ctx context.Context, b *bundle) (any, error) { return b.Source(ctx, "github") }},
		{"GET /api/v1/rules", func(ctx context.Context, b *bundle) (any, error) {
			list, err := b.Rules(ctx)
			return api.RulePage{Rules: list}, err
		}},
		{"POST /api/v1/pattern/test", func(ctx context.Context, b *bundle) (any, error) {
			return b.TestPattern(ctx, api.PatternTest{Pattern: json.RawMessage(`{}`), Event: json.RawMessage(`{}`)})
		}},
	}
	for _, row := range rows {
		asked[row.route] = true
		t.Run(row.route, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tap := &tap{next: http.DefaultTransport}
			c, err := client.New(client.Config{URL: b.server.URL, Token: secret.New(apitest.Token), HTTP: &http.Client{Transport: tap}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
			b.Client = c
			decoded, err := row.ask(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			method, path, _ := strings.Cut(row.route, " ")
			if tap.method != method || !matches(path, tap.path) {
				t.Errorf("asked %s %s, want %s", tap.method, tap.path, row.route)
			}
			again, err := json.Marshal(decoded)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(generic(t, tap.answer.Bytes()), generic(t, again)); diff != "" {
				t.Errorf("decoding lost something (-sent +decoded):\n%s", diff)
			}
			if reflect.ValueOf(decoded).IsZero() {
				t.Error("the answer is empty")
			}
		})
	}
	elsewhere := map[string]bool{"GET /api/v1/events/tail": true, "GET /api/v1/events/{id}/body": true} // TestTail…, TestEventBody…
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(api.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if route := strings.ToUpper(method) + " " + path; !asked[route] && !elsewhere[route] {
				t.Errorf("no method of the client asks %s", route)
			}
		}
	}
}

// tap keeps what went over the wire.
type tap struct {
	next         http.RoundTripper
	method, path string
	answer       bytes.Buffer
}

func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.method, t.path = r.Method, r.URL.Path
	response, err := t.next.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(response.Body, &t.answer), response.Body}
	}
	return response, err
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}

func generic(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestListsFollowTheirCursors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := b.orders(t, 23)
	var events, deliveries []string
	for e, err := range b.Events(t.Context(), api.EventFilter{Type: "order", Ascending: true, Limit: 5}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e.ID)
	}
	if diff := cmp.Diff(ids, events); diff != "" {
		t.Errorf("events page by page (-want +got):\n%s", diff)
	}
	for d, err := range b.Deliveries(t.Context(), api.DeliveryList{Limit: 4}) {
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, d.EventID)
	}
	want := []string{}
	for i := range ids {
		want = append(want, ids[len(ids)-1-i])
	}
	if diff := cmp.Diff(append(want, first), deliveries); diff != "" {
		t.Errorf("deliveries page by page (-want +got):\n%s", diff)
	}
	n := 0
	for _, err := range b.Events(t.Context(), api.EventFilter{Limit: 5}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 7 {
			break
		}
	}
	if n != 7 {
		t.Errorf("a list that is left after 7 events showed %d", n)
	}
}

func TestListsEndWithTheError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.Fail(errors.New("broken"))
	n := 0
	for _, err := range b.Events(t.Context(), api.EventFilter{}) {
		n++
		if !fault.Is(err, fault.Internal) {
			t.Errorf("error = %v, want Internal", err)
		}
	}
	if n != 1 {
		t.Errorf("a list that fails has %d entries, want the error", n)
	}
}

func TestPublishingTwiceWithOneKeyIsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ev := api.NewEvent{Source: "com.example", DetailType: "order", Detail: json.RawMessage(`{"n": 1.50}`), DedupeKey: "o-1"}
	one, err := b.Publish(t.Context(), ev)
	if err != nil || one.Duplicate || len(one.Deliveries) != 1 {
		t.Fatalf("first = %+v, %v", one, err)
	}
	two, err := b.Publish(t.Context(), ev)
	if err != nil || !two.Duplicate || two.ID != one.ID || two.Position != one.Position {
		t.Errorf("second = %+v, %v, want the first, %+v", two, err, one)
	}
	shown, err := b.Event(t.Context(), one.ID)
	if err != nil || !bytes.Contains(shown.Envelope, []byte(`"detail":{"n":1.50}`)) {
		t.Errorf("envelope = %s, %v: the detail is not as it was sent", shown.Envelope, err)
	}
	if _, err := event.ParseID(one.ID); err != nil {
		t.Error(err)
	}
}

func TestEventBodyIsByteForByte(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body, contentType, err := b.EventBody(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(body)
	if err != nil || string(text) != `{"action":"opened","number":7}` || contentType != "application/json" {
		t.Errorf("body = %q of %s, %v", text, contentType, err)
	}
}

func TestDocumentAndMetricsAreText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if text, err := b.OpenAPI(t.Context()); err != nil || !bytes.Equal(text, api.Document()) {
		t.Errorf("document of %d bytes, %v", len(text), err)
	}
	if text, err := b.Metrics(t.Context()); err != nil || !strings.Contains(string(text), "grapnel_build_info") {
		t.Errorf("metrics = %s, %v", text, err)
	}
}

func TestDecisionsNameTheCommandLine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.DisableDestination(t.Context(), "crm", "maintenance"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"cli"}, b.world.By()); diff != "" {
		t.Errorf("decided by (-want +got):\n%s", diff)
	}
}

// dead makes n deliveries that are dead; the first so many of them refuse a retry.
func (b *bundle) dead(t *testing.T, n, stubborn int) {
	t.Helper()
	for i := range n {
		p, err := b.Publish(t.Context(), api.NewEvent{Source: "x", DetailType: "order", Detail: json.RawMessage(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		id, err := store.ParseDeliveryID(p.Deliveries[0])
		if err != nil {
			t.Fatal(err)
		}
		reason := "gone"
		if i < stubborn {
			reason = "stubborn"
		}
		b.world.Outcome(&store.Outcome{Delivery: id, Time: apitest.Now, State: store.Dead, Class: "gone", Reason: reason})
	}
}

func TestRetryingByFilter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.dead(t, 12, 3)
	count, err := b.RetryDeliveries(t.Context(), api.BulkRetry{DryRun: true, Limit: 5})
	if err != nil || count.Matched != 5 || count.Retried != 0 || count.Next == "" || len(b.world.By()) != 0 {
		t.Errorf("dry run = %+v, %v with decisions %v", count, err, b.world.By())
	}
	var total api.BulkRetried
	requests := 0
	for done, err := range b.RetryAll(t.Context(), api.BulkRetry{Limit: 5, Rate: 10000}) {
		if err != nil {
			t.Fatal(err)
		}
		requests++
		total.Matched += done.Matched
		total.Retried += done.Retried
		total.Failed += done.Failed
		total.Errors = append(total.Errors, done.Errors...)
	}
	if requests != 3 || total.Matched != 12 || total.Retried != 9 || total.Failed != 3 || len(total.Errors) != 3 {
		t.Errorf("%d requests did %+v, want 12 in 3 requests, 9 retried, 3 failed", requests, total)
	}
	for _, e := range total.Errors {
		if e.Code != "attempt_in_progress" || !strings.HasPrefix(e.ID, "dlv_") {
			t.Errorf("error = %+v", e)
		}
	}
}

func TestRetryingKeepsToTheRate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.dead(t, 6, 0)
	began := time.Now()
	done, err := b.RetryDeliveries(t.Context(), api.BulkRetry{Rate: 50})
	// Six at 50 a second: the first at once, the last after 100 ms.
	if took := time.Since(began); err != nil || done.Retried != 6 || took < 95*time.Millisecond {
		t.Errorf("retried %d in %v, %v, want 6 in at least 100ms", done.Retried, took, err)
	}
}

func TestProblemsComeBackAsTheFaultsTheyWere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for kind := fault.Invalid; kind <= fault.Permanent; kind++ {
		want := &fault.Error{Kind: kind, Code: "some_code", Message: "what happened", Hint: "what to do", RetryAfter: 1500 * time.Millisecond}
		b.world.Fail(fmt.Errorf("doing: %w", want))
		_, err := b.EventsPage(t.Context(), api.EventFilter{})
		got, ok := errors.AsType[*fault.Error](err)
		if !ok {
			t.Fatalf("%s: error %v is no fault", kind, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestEverythingThatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.EventsPage(t.Context(), api.EventFilter{State: "broken", Limit: 5000})
	for _, want := range []string{"query.state", "query.limit"} {
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, does not name %s", err, want)
		}
	}
}

func TestTheTokenIsSentToNobodyElse(t *testing.T) {
	t.Parallel()
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	_, err := connect(t, server.URL, apitest.Token).Status(t.Context())
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "not_grapnel" || len(elsewhere) != 0 {
		t.Errorf("a redirect = %v, sent on: %v", err, elsewhere)
	}
}

func TestKindsThatANewerServerHasAreReadByTheirStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Kind{409: fault.Conflict, 418: fault.Invalid, 429: fault.Throttled, 500: fault.Internal, 507: fault.Internal} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"kind":"puzzled","code":"new_code","detail":"something new"}`)
		}))
		_, err := connect(t, server.URL, apitest.Token).Status(t.Context())
		server.Close()
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != want || f.Code != "new_code" || f.RetryAfter != 3*time.Second {
			t.Errorf("status %d = %+v, want kind %s", status, f, want)
		}
	}
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	listener := listen(t, "127.0.0.1:0")
	nobody := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>hello</html>")
	}))
	defer page.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	for _, row := range []struct {
		name, url, token, code string
		kind                   fault.Kind
	}{
		{"nobody listens", nobody, apitest.Token, "not_running", fault.Transient},
		{"wrong token", b.server.URL, "nope", "token_wrong", fault.Unauthorized},
		{"another server", page.URL, apitest.Token, "not_grapnel", fault.Permanent},
		{"https without TLS", "https" + strings.TrimPrefix(b.server.URL, "http"), apitest.Token, "not_grapnel", fault.Permanent},
		{"http to TLS", "http" + strings.TrimPrefix(secure.URL, "https"), apitest.Token, "not_grapnel", fault.Permanent},
	} {
		_, err := connect(t, row.url, row.token).Status(t.Context())
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != row.code || f.Kind != row.kind || f.Hint == "" {
			t.Errorf("%s: error %v (%+v), want %s with a hint", row.name, err, f, row.code)
			continue
		}
		if strings.Contains(fmt.Sprintf("%+v %+v", err, f), apitest.Token) {
			t.Errorf("%s: the error shows the token", row.name)
		}
	}
}

func TestNewRefusesOtherURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "127.0.0.1:8081", "ftp://x", "http://", "http://user:pass@x", "unix:///x", "http://a b"} {
		if _, err := client.New(client.Config{URL: url}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "pass") {
			t.Errorf("New(%q) = %v, want an Invalid fault", url, err)
		}
	}
}

func TestServersThatDoNotAnswerAreGivenUpOn(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	c, err := client.New(client.Config{URL: server.URL, Timeout: 20 * time.Millisecond, HTTP: &http.Client{Transport: &http.Transport{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Status(t.Context())
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != "no_answer" {
		t.Errorf("error = %v, want no_answer", err)
	}
}

func TestReadyIsAnAnswerAlsoWhenNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.SetNotReady("stopping")
	got, err := b.Ready(t.Context())
	if err != nil || got.Ready || len(got.Reasons) != 1 {
		t.Errorf("ready = %+v, %v", got, err)
	}
}
