package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/api/apitest"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
)

var update = flag.Bool("update", false, "rewrite golden files and generated pages")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logs is what the API logs, safe to read while it does.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type bundle struct {
	world *apitest.World
	api   *api.API
	log   *logs
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{world: apitest.New(), log: &logs{}}
	config := b.world.Config(slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	surface, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	b.api = surface
	return b
}

// do sends a request with the token, and with the header that every POST needs.
func (b *bundle) do(t *testing.T, method, target, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8081"
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

func problem(t *testing.T, w *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("Content-Type of status %d = %q, want a problem; body %s", w.Code, got, w.Body)
	}
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("problem %s: %v", w.Body, err)
	}
	if p.Status != w.Code {
		t.Errorf("problem says status %d, answer has %d", p.Status, w.Code)
	}
	if p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("problem has request_id %q, answer X-Request-Id %q", p.RequestID, w.Header().Get("X-Request-Id"))
	}
	return p
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", name, diff)
	}
}

// route is one method and path of the document.
type route struct {
	method, path string
	open         bool // the document says that it needs no token
}

func routes(t *testing.T) []route {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Security *[]map[string][]string `json:"security"`
		}
	}
	if err := json.Unmarshal(api.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	var all []route
	for path, methods := range doc.Paths {
		for method, op := range methods {
			all = append(all, route{strings.ToUpper(method), path, op.Security != nil && len(*op.Security) == 0})
		}
	}
	if len(all) < 20 {
		t.Fatalf("the document has only %d routes", len(all))
	}
	return all
}

var pathParameter = regexp.MustCompile(`\{[a-z]+\}`)

func TestEveryRouteButHealthNeedsTheToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := routes(t)
	for _, path := range []string{
		"/metrics", "/openapi.json", "/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/cmdline", "/", "/nothing",
		"/api/v1/nothing", "/healthz/x", "//healthz", "/healthz/", "/api/v1/../../healthz", "/HEALTHZ",
	} {
		all = append(all, route{method: http.MethodGet, path: path})
	}
	tokens := map[string]func(*http.Request){
		"none":     func(r *http.Request) { r.Header.Del("Authorization") },
		"empty":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"wrong":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apitest.Token+"x") },
		"prefix":   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apitest.Token[:10]) },
		"basic":    func(r *http.Request) { r.SetBasicAuth("admin", apitest.Token) },
		"scheme":   func(r *http.Request) { r.Header.Set("Authorization", apitest.Token) },
		"twice":    func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+apitest.Token) },
		"in query": func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=" + apitest.Token },
		"in cookie": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Cookie", "token="+apitest.Token)
		},
	}
	open := map[string]bool{}
	for _, rt := range all {
		path := pathParameter.ReplaceAllString(rt.path, "x")
		if rt.open {
			open[rt.path] = true
			continue
		}
		for name, token := range tokens {
			w := b.do(t, rt.method, path, "", token)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s %s with token %s = %d, want 401", rt.method, rt.path, name, w.Code)
				continue
			}
			p := problem(t, w)
			challenge := w.Header().Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, `Bearer realm="grapnel"`) {
				t.Errorf("WWW-Authenticate of %s %s = %q", rt.method, rt.path, challenge)
			}
			if p.Code != "token_missing" && !strings.Contains(challenge, `error="invalid_token"`) {
				t.Errorf("%s: code %s with WWW-Authenticate %q", name, p.Code, challenge)
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{"/healthz": true, "/readyz": true}, open); diff != "" {
		t.Errorf("routes without a token (-want +got):\n%s", diff)
	}
	for path := range open {
		if w := b.do(t, http.MethodGet, path, "", tokens["none"]); w.Code != http.StatusOK {
			t.Errorf("GET %s without a token = %d", path, w.Code)
		}
	}
}

func TestNewRefusesAnEmptyToken(t *testing.T) {
	t.Parallel()
	config := apitest.New().Config(slog.New(slog.DiscardHandler))
	config.Token = secret.New("")
	if _, err := api.New(config); err == nil {
		t.Error("New with an empty token succeeded: every request would be let in")
	}
}

func TestHostsThatAreNotKnownAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for host, want := range map[string]int{
		"127.0.0.1:8081": 200, "[::1]:8081": 200, "::1": 200, "10.1.2.3": 200, "localhost": 200, "LOCALHOST:8081": 200,
		"localhost.:8081": 200, apitest.Host: 200, "Grapnel.Internal:443": 200,
		"evil.example.com": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example:8081": 403, "": 403, "x:y:z": 403,
	} {
		w := b.do(t, http.MethodGet, "/api/v1/status", "", func(r *http.Request) { r.Host = host })
		if w.Code != want {
			t.Errorf("status with Host %q = %d, want %d", host, w.Code, want)
		}
		if want == 403 && problem(t, w).Code != "host_refused" {
			t.Errorf("code with Host %q = %s", host, problem(t, w).Code)
		}
	}
	if w := b.do(t, http.MethodGet, "/healthz", "", func(r *http.Request) { r.Host = "some-pod" }); w.Code != 200 {
		t.Errorf("health with an unknown host = %d, want 200: probes use any name", w.Code)
	}
}

func TestPostWantsJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, rt := range routes(t) {
		if rt.method != http.MethodPost {
			continue
		}
		for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"} {
			w := b.do(t, rt.method, pathParameter.ReplaceAllString(rt.path, "x"), `{}`, func(r *http.Request) {
				r.Header.Set("Content-Type", media)
			})
			if w.Code != http.StatusUnsupportedMediaType || problem(t, w).Code != "unsupported_media_type" {
				t.Errorf("%s with Content-Type %q = %d %s", rt.path, media, w.Code, w.Body)
			}
		}
	}
	w := b.do(t, http.MethodPost, "/api/v1/destinations/crm/enable", "", func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
	})
	if w.Code != http.StatusOK {
		t.Errorf("enable with a charset = %d %s", w.Code, w.Body)
	}
}

func TestNothingIsSharedWithOtherOrigins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.do(t, http.MethodGet, "/api/v1/status", "", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
	for name := range w.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("answer has %s", name)
		}
	}
	if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options = %q", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
}

func TestEveryRequestHasAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := map[string]bool{}
	for range 50 {
		id := b.do(t, http.MethodGet, "/healthz", "", func(r *http.Request) { r.Header.Set("X-Request-Id", "chosen") }).Header().Get("X-Request-Id")
		if len(id) != 16 || seen[id] || id == "chosen" {
			t.Fatalf("request id %q is not new", id)
		}
		seen[id] = true
	}
}

func TestOnlyFaultsAreShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.Fail(fmt.Errorf("opening /var/lib/grapnel: %w", errors.New(apitest.Secret)))
	w := b.do(t, http.MethodGet, "/api/v1/events", "")
	p := problem(t, w)
	if w.Code != 500 || p.Detail != "internal error" || p.Code != "internal" || strings.Contains(w.Body.String(), apitest.Secret) {
		t.Errorf("a stray error shows as %d %s", w.Code, w.Body)
	}
	if !strings.Contains(b.log.String(), p.RequestID) || !strings.Contains(b.log.String(), "opening /var/lib/grapnel") {
		t.Errorf("the log does not have the cause under %s: %s", p.RequestID, b.log)
	}

	f := fault.Wrap(fault.Transient, errors.New(apitest.Secret), "store_unavailable", "the disk is full").WithHint("free some")
	f.RetryAfter = 1500e6
	b.world.Fail(fmt.Errorf("appending: %w", f))
	w = b.do(t, http.MethodGet, "/api/v1/events", "")
	p = problem(t, w)
	want := api.Problem{
		Title: "Service Unavailable", Status: 503, Detail: "the disk is full", Code: "store_unavailable", Kind: "transient",
		Hint: "free some", RetryAfter: 1500e6, RequestID: p.RequestID,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After = %q, want 1.5 s rounded up", got)
	}
}

func TestPanicsAreRecoveredAndCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.do(t, http.MethodPost, "/api/v1/pattern/test", `{"pattern":"panic","event":{}}`)
	p := problem(t, w)
	if w.Code != 500 || p.Detail != "internal error" || strings.Contains(w.Body.String(), "bug") {
		t.Errorf("a panic shows as %d %s", w.Code, w.Body)
	}
	if b.world.Panics() != 1 {
		t.Errorf("counted %d panics, want 1", b.world.Panics())
	}
	if !strings.Contains(b.log.String(), p.RequestID) {
		t.Error("the log does not have the panic under its request id")
	}
}

func TestRequestsThatDoNotFitAreExplained(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name, method, target, body string
	}{
		{"unknown_parameters", "GET", "/api/v1/events?sorce=github.com&bus=default&unmached=true", ""},
		{"every_parameter_that_is_wrong", "GET", "/api/v1/events?state=broken&since=yesterday&limit=5000&unmatched=maybe", ""},
		{"repeated_parameter", "GET", "/api/v1/events?bus=a&bus=b", ""},
		{"tampered_cursor", "GET", "/api/v1/events?cursor=ZAAAAAAAAAAQAAAAAA", ""},
		{"cursor_of_another_list", "GET", "/api/v1/events?cursor=" + api.DeliveryCursor(store.DeliveryID{Event: 1, Key: 2}), ""},
		{"tail_cursor", "GET", "/api/v1/events/tail?from=" + api.EventCursor(16), ""},
		{"malformed_event_id", "GET", "/api/v1/events/42", ""},
		{"unknown_event", "GET", "/api/v1/events/018f0000-0000-7000-8000-00000000ffff", ""},
		{"unknown_position", "GET", "/api/v1/events/00000000000000ff", ""},
		{"no_body", "GET", "/api/v1/events/018f0000-0000-7000-8000-000000000002/body", ""},
		{"malformed_delivery_id", "GET", "/api/v1/deliveries/dlv_1", ""},
		{"unknown_delivery", "GET", "/api/v1/deliveries/" + (store.DeliveryID{Event: 1, Key: 2}).String(), ""},
		{"unknown_destination", "GET", "/api/v1/destinations/nope", ""},
		{"unknown_source", "GET", "/api/v1/sources/nope", ""},
		{"unknown_refused", "GET", "/api/v1/refused/ref_9", ""},
		{"unknown_route", "GET", "/api/v2/events", ""},
		{"wrong_method", "DELETE", "/api/v1/events", ""},
		{"malformed_json", "POST", "/api/v1/events", `{"source": "` + apitest.Secret},
		{"missing_body", "POST", "/api/v1/events", ""},
		{"every_member_that_is_wrong", "POST", "/api/v1/events", `{"source":"","detail-type":"x","detail":{},"resources":"` + apitest.Secret + `"}`},
		{"detail_is_no_object", "POST", "/api/v1/events", `{"source":"x","detail_type":"y","detail":[1]}`},
		{"reserved_source", "POST", "/api/v1/events", `{"source":"aws.ec2","detail_type":"y","detail":{}}`},
		{"unknown_bus", "POST", "/api/v1/events", `{"source":"x","detail_type":"y","detail":{},"bus":"nope"}`},
		{"event_too_large", "POST", "/api/v1/events", `{"source":"x","detail_type":"y","detail":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`},
		{"body_too_large", "POST", "/api/v1/deliveries/retry", `{"filter":{"rule":"` + strings.Repeat("x", 1<<17) + `"}}`},
		{"malformed_pattern", "POST", "/api/v1/pattern/test", `{"pattern":[],"event":{}}`},
		{"bulk_filter", "POST", "/api/v1/deliveries/retry", `{"filter":{"state":"sad","since":"soon","destnation":"crm"},"rate":-1}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			w := b.do(t, row.method, row.target, row.body, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
			p := problem(t, w)
			if w.Code < 400 || strings.Contains(w.Body.String(), apitest.Secret) {
				t.Errorf("%s %s = %d %s", row.method, row.target, w.Code, w.Body)
			}
			p.RequestID = "0011223344556677"
			text, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "problem_"+row.name+".json", append(text, '\n'))
		})
	}
}

func TestUnroutedPathsSayWhichMethodsAreTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.do(t, http.MethodPut, "/api/v1/deliveries/retry", "", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	if allow := w.Header().Get("Allow"); w.Code != 405 || !strings.Contains(allow, "POST") {
		t.Errorf("PUT = %d with Allow %q", w.Code, allow)
	}
}

func TestNoAnswerHoldsTheToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, rt := range routes(t) {
		if rt.path == "/api/v1/events/tail" {
			continue // TestTail… reads streams
		}
		for _, id := range []string{"crm", "github", "ref_1", "018f0000-0000-7000-8000-000000000001"} {
			w := b.do(t, rt.method, pathParameter.ReplaceAllString(rt.path, id), `{}`)
			for _, secret := range []string{apitest.Token, apitest.Secret} {
				if strings.Contains(w.Body.String(), secret) || strings.Contains(fmt.Sprint(w.Header()), secret) {
					t.Errorf("%s %s shows a secret: %s", rt.method, rt.path, w.Body)
				}
			}
		}
	}
	if strings.Contains(b.log.String(), apitest.Token) {
		t.Errorf("the log holds the token: %s", b.log)
	}
}

func TestAnswersHaveTheShapeOfTheReference(t *testing.T) {
	t.Parallel()
	const first = "018f0000-0000-7000-8000-000000000001"
	delivery := store.NewDeliveryID(16, first, "all", "crm", "").String()
	for name, target := range map[string]string{
		"status": "/api/v1/status", "events": "/api/v1/events", "event": "/api/v1/events/" + first,
		"explain": "/api/v1/events/" + first + "/explain", "refused": "/api/v1/refused", "refused_one": "/api/v1/refused/ref_1",
		"deliveries": "/api/v1/deliveries", "delivery": "/api/v1/deliveries/" + delivery,
		"destinations": "/api/v1/destinations", "sources": "/api/v1/sources", "rules": "/api/v1/rules",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t).do(t, http.MethodGet, target, "")
			if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("GET %s = %d %s", target, w.Code, w.Body)
			}
			var out bytes.Buffer
			if err := json.Indent(&out, w.Body.Bytes(), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, "answer_"+name+".json", out.Bytes())
		})
	}
}

func TestReadyNamesTheReasons(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.SetStats(store.Stats{Unavailable: "the disk is full"})
	b.world.SetNotReady("stopping")
	w := b.do(t, http.MethodGet, "/readyz", "")
	var got api.Ready
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := api.Ready{Reasons: []string{"stopping", "the store cannot take records: the disk is full"}}
	if diff := cmp.Diff(want, got); w.Code != http.StatusServiceUnavailable || diff != "" {
		t.Errorf("readyz = %d (-want +got):\n%s", w.Code, diff)
	}
}

func TestEventsWhoseDetailIsDamagedAreShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	publish(t, b.world, 1, "order", `{"cut": "sho`)
	w := b.do(t, http.MethodGet, "/api/v1/events/0000000000000040", "")
	var got struct{ Envelope struct{ Detail string } }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Envelope.Detail != `{"cut": "sho` {
		t.Errorf("event = %d %s, %v", w.Code, w.Body, err)
	}
}

func TestBodiesAreSentAsAttachments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.do(t, http.MethodGet, "/api/v1/events/0000000000000010/body", "")
	if got := w.Body.String(); got != `{"action":"opened","number":7}` {
		t.Errorf("body = %s", got)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
		"Content-Disposition":     "attachment; filename=018f0000-0000-7000-8000-000000000001.body",
		"Content-Security-Policy": "sandbox; default-src 'none'",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestMetricsAndProfilesAreServed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for target, want := range map[string]string{
		"/metrics": "grapnel_build_info", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile",
		"/openapi.json": `"openapi": "3.1.0"`,
	} {
		if w := b.do(t, http.MethodGet, target, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s = %d, does not have %q", target, w.Code, want)
		}
	}
}

func TestSlowEnginesAreGivenUpOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.world.Fail(context.Canceled)
	w := b.do(t, http.MethodGet, "/api/v1/events", "", func(r *http.Request) { *r = *r.WithContext(ctx) })
	if p := problem(t, w); w.Code != 499 || p.Kind != "canceled" {
		t.Errorf("a request whose client went away = %d %s", w.Code, w.Body)
	}
	if strings.Contains(b.log.String(), "ERROR") {
		t.Errorf("a client that went away is logged as an error: %s", b.log)
	}
}

func TestAnswersThatHaveBegunAreCutOff(t *testing.T) {
	t.Parallel()
	world := apitest.New()
	config := world.Config(slog.New(slog.DiscardHandler))
	config.Figures = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of it")
		panic("bug")
	})
	surface, err := api.New(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(surface)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	response, err := server.Client().Do(r)
	if err == nil {
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	if err == nil {
		t.Error("half an answer was taken for whole")
	}
	if world.Panics() != 1 {
		t.Errorf("counted %d panics, want 1", world.Panics())
	}
}
