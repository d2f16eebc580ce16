package ingest_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Twilio signs with
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/ingest"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a store as ingest sees it: it remembers keys and can be broken.
type journal struct {
	mu     sync.Mutex
	events []*store.Event
	keys   map[string]*store.Event
	broken error
}

func (j *journal) Publish(_ context.Context, batch *store.Batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	for _, ev := range batch.Events {
		if !event.IsObject(ev.Envelope.Detail) {
			return fault.New(fault.Invalid, "malformed_event", "no JSON object") // as the bus does
		}
		if first, ok := j.keys[ev.DedupeKey]; ok && ev.DedupeKey != "" {
			return &store.DuplicateError{First: first.At, ID: first.Envelope.ID}
		}
		ev.At = store.Position(len(j.events) + 1)
		j.events = append(j.events, ev)
		if ev.DedupeKey != "" {
			j.keys[ev.DedupeKey] = ev
		}
	}
	return nil
}

func (j *journal) all() []*store.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]*store.Event(nil), j.events...)
}

type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[key]++
}

func (c *counts) get(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[key]
}

func (c *counts) Accepted(source string, _ time.Duration) { c.add("accepted " + source) }
func (c *counts) Duplicate(source string)                 { c.add("duplicate " + source) }
func (c *counts) Refused(source, reason string)           { c.add("refused " + source + " " + reason) }

func (c *counts) Handshake(source, name string) { c.add("handshake " + source + " " + name) }
func (c *counts) Panicked(component string)     { c.add("panic " + component) }

type bundle struct {
	*ingest.Ingest
	journal *journal
	counts  *counts
	log     *bytes.Buffer
}

var testNow = time.Unix(1_790_000_000, 0)

const testSecret = "It's a Secret to Everybody"

func newBundle(t *testing.T, sources ...ingest.Source) *bundle {
	t.Helper()
	b := &bundle{journal: &journal{keys: map[string]*store.Event{}}, counts: &counts{n: map[string]int{}}, log: &bytes.Buffer{}}
	b.Ingest = ingest.New(ingest.Config{
		Publisher: b.journal, Metrics: b.counts, Now: func() time.Time { return testNow },
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	b.Configure(sources)
	return b
}

func source(t *testing.T, name, provider string, change ...func(*ingest.Source)) ingest.Source {
	t.Helper()
	p, ok := signature.LookupProvider(provider)
	if !ok {
		t.Fatalf("provider %s is unknown", provider)
	}
	s := ingest.Source{
		Name: name, Path: "/in/" + name, Bus: "default", Account: "000000000000", Region: "us-east-1",
		EventSource: p.Source, Provider: p, Keys: signature.Secrets(testSecret),
		Credentials: p.Credentials(""), MaxBody: 1 << 20, PublicURL: "https://hooks.example.com",
	}
	for _, f := range change {
		f(&s)
	}
	v, err := signature.New(provider, s.Keys)
	if err != nil {
		t.Fatal(err)
	}
	s.Verifier = v
	return s
}

func mac(content string) string {
	h := hmac.New(sha256.New, []byte(testSecret))
	h.Write([]byte(content))
	return hex.EncodeToString(h.Sum(nil))
}

type call struct {
	method, path, body string
	header             map[string]string
}

type answer struct {
	StatusCode int
	Header     http.Header
	body       string
}

func (b *bundle) do(t *testing.T, c call) answer {
	t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func github(body, id string) call {
	return call{path: "/in/github", body: body, header: map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": id,
		"X-Hub-Signature-256": "sha256=" + mac(body),
	}}
}

func TestAVerifiedWebhookBecomesAnEventAsItWasSent(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	body := "{\"ref\": \"refs/heads/main\",\r\n \"n\": 1.50}\n"
	c := github(body, "d-1")
	c.path = "/in/github?b=2&a=1"
	c.header["Authorization"] = "Basic c2VjcmV0"
	r := b.do(t, c)
	got := r.body
	events := b.journal.all()
	if r.StatusCode != http.StatusOK || len(events) != 1 {
		t.Fatalf("answered %d %s, stored %d events", r.StatusCode, got, len(events))
	}
	ev := events[0]
	if want := fmt.Sprintf("{\"id\":%q}\n", ev.Envelope.ID); got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	want := event.Envelope{
		ID: ev.Envelope.ID, DetailType: "push", Source: "github.com", Account: "000000000000",
		Region: "us-east-1", Time: testNow, Detail: []byte(body),
	}
	if diff := cmp.Diff(want, ev.Envelope); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	if !ev.DetailIsBody || string(ev.Raw.Body) != body || ev.ProviderID != "d-1" || ev.Endpoint != "github" {
		t.Errorf("event %+v", ev)
	}
	if ev.Raw.Path != "/in/github" || ev.Raw.Query != "b=2&a=1" || ev.Raw.Method != "POST" {
		t.Errorf("raw request %+v", ev.Raw)
	}
	if got := ev.Raw.Get("Authorization"); got != "[secret]" || !cmp.Equal(ev.Raw.Masked, []string{"Authorization"}) {
		t.Errorf("Authorization is stored as %q, masked %v", got, ev.Raw.Masked)
	}
	if diff := cmp.Diff(&store.Verified{Profile: "github"}, ev.VerifiedBy); diff != "" {
		t.Errorf("verified by (-want +got):\n%s", diff)
	}
	if b.counts.get("accepted github") != 1 {
		t.Errorf("counted %v", b.counts.n)
	}
}

func TestWhatIsNotProvenIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*call)
		status int
		reason string
	}{
		"forged":        {func(c *call) { c.body = `{"ref":"evil"}` }, 401, "bad_signature"},
		"unsigned":      {func(c *call) { delete(c.header, "X-Hub-Signature-256") }, 401, "missing_signature"},
		"sha1 only":     {func(c *call) { c.header["X-Hub-Signature-256"] = "sha1=" + mac(c.body)[:40] }, 401, "malformed_signature"},
		"unknown path":  {func(c *call) { c.path = "/in/githubb" }, 404, "unknown_path"},
		"below":         {func(c *call) { c.path = "/in/github/x" }, 404, "unknown_path"},
		"dot segments":  {func(c *call) { c.path = "/in/x/../github" }, 404, "unknown_path"},
		"wrong method":  {func(c *call) { c.method = "DELETE" }, 405, "method_not_allowed"},
		"too large":     {func(c *call) { c.body = strings.Repeat("x", 1<<20+1) }, 413, "body_too_large"},
		"not even JSON": {func(c *call) { c.body = "\x00" }, 401, "bad_signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "github", "github"))
			request := github(`{"ref":"main"}`, "d-1")
			c.change(&request)
			r := b.do(t, request)
			answer := r.body
			if r.StatusCode != c.status {
				t.Errorf("answered %d %s, want %d", r.StatusCode, answer, c.status)
			}
			if strings.Contains(answer, c.reason) {
				t.Errorf("the answer tells the sender which check failed: %s", answer)
			}
			kept := b.Refusals("", true)
			if len(kept) != 1 || kept[0].Reason != c.reason || kept[0].Status != c.status || kept[0].Hint == "" {
				t.Fatalf("kept %+v, want one with reason %s", kept, c.reason)
			}
			if n := len(b.journal.all()); n != 0 {
				t.Errorf("%d events were stored", n)
			}
			if n := b.Counts()[kept[0].Source].Refused[c.reason]; n != 1 {
				t.Errorf("counted %d, want 1", n)
			}
			if c.status == 405 && r.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestARepetitionIsAnsweredLikeTheFirstAndKept(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	first := b.do(t, github(`{"a":1}`, "d-1")).body
	again := b.do(t, github(`{"a":1}`, "d-1"))
	if got := again.body; again.StatusCode != 200 || got != first {
		t.Errorf("the repetition was answered %d %s, want 200 %s", again.StatusCode, got, first)
	}
	events := b.journal.all()
	if len(events) != 2 || events[1].DuplicateOf != events[0].At || events[1].Redeliver {
		t.Fatalf("stored %+v", events)
	}
	// The id is unsigned: with another body it is another event, and the body
	// under another id is too.
	b.do(t, github(`{"a":2}`, "d-1"))
	b.do(t, github(`{"a":1}`, "d-2"))
	if events := b.journal.all(); len(events) != 4 || events[2].DuplicateOf != 0 || events[3].DuplicateOf != 0 {
		t.Errorf("stored %d events, want 4 with one repetition", len(events))
	}
	for range 100 {
		b.do(t, github(`{"a":1}`, "d-1"))
	}
	if n := len(b.journal.all()); n > 24 {
		t.Errorf("a flood of repetitions stored %d events", n)
	}
	if n := b.counts.get("duplicate github"); n != 101 {
		t.Errorf("counted %d repetitions, want 101", n)
	}
}

func TestOnlyAnAcceptedEventMakesItsIDADuplicate(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.Rate, s.Burst = 1, 1 }))
	forged := github(`{"a":1}`, "d-1")
	forged.header["X-Hub-Signature-256"] = "sha256=" + mac("other")
	if r := b.do(t, forged); r.StatusCode != 401 {
		t.Fatalf("forged: %d", r.StatusCode)
	}
	b.journal.broken = fault.New(fault.Transient, "store_unavailable", "disk is full")
	if r := b.do(t, github(`{"a":1}`, "d-1")); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Fatalf("store down: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	b.journal.broken = nil
	if r := b.do(t, github(`{"a":1}`, "d-1")); r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" {
		t.Fatalf("over the rate: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	b.Configure([]ingest.Source{source(t, "github", "github")})
	if r := b.do(t, github(`{"a":1}`, "d-1")); r.StatusCode != 200 {
		t.Fatalf("at last: %d", r.StatusCode)
	}
	if events := b.journal.all(); len(events) != 1 || events[0].DuplicateOf != 0 {
		t.Errorf("stored %+v, want one first delivery", events)
	}
}

func TestForgersDoNotUseUpTheRate(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.Rate, s.Burst = 1, 2 }))
	for range 50 {
		forged := github(`{}`, "d")
		forged.header["X-Hub-Signature-256"] = "sha256=" + mac("other")
		b.do(t, forged)
	}
	if r := b.do(t, github(`{}`, "d-1")); r.StatusCode != 200 {
		t.Errorf("the sender got %d", r.StatusCode)
	}
}

func TestDuplicatesDeliverMatchesRepetitionsAgain(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.Redeliver = true }))
	for range 3 {
		b.do(t, github(`{}`, "d-1"))
	}
	for i, ev := range b.journal.all() {
		if ev.Redeliver != (i > 0) {
			t.Errorf("event %d: Redeliver = %v", i, ev.Redeliver)
		}
	}
}

func TestBodiesOfAnyKindAreKeptAsTheyAreAndWrapped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ contentType, body, want string }{
		"array":           {"application/json", `[1, {"a":2}]`, `{"body":[1, {"a":2}],"content_type":"application/json"}`},
		"string":          {"application/json", `"x"`, `{"body":"x","content_type":"application/json"}`},
		"broken":          {"application/json", `{"a":`, `{"body":"{\"a\":","content_type":"application/json"}`},
		"almost JSON":     {"application/json", `{"a":}`, `{"body":"{\"a\":}","content_type":"application/json"}`},
		"text":            {"text/plain", "hi \"there\"\n", `{"body":"hi \"there\"\n","content_type":"text/plain"}`},
		"bytes":           {"application/octet-stream", "\xff\x00", `{"body_base64":"/wA=","content_type":"application/octet-stream"}`},
		"JSON not UTF-8":  {"application/json", "{\"a\":\"\xff\"}", `{"body_base64":"eyJhIjoi/yJ9","content_type":"application/json"}`},
		"empty":           {"", "", `{"body":""}`},
		"BOM":             {"application/json", "\ufeff{}", `{"body":"` + "\ufeff" + `{}","content_type":"application/json"}`},
		"form":            {"application/x-www-form-urlencoded", "b=2&a=1&b=3&c=", `{"a":"1","b":["2","3"],"c":""}`},
		"form payload":    {"application/x-www-form-urlencoded; charset=utf-8", "payload=" + url.QueryEscape(`{"a":1}`), `{"a":1}`},
		"payload no JSON": {"application/x-www-form-urlencoded", "payload=x", `{"payload":"x"}`},
		"broken form":     {"application/x-www-form-urlencoded", "a=%zz", `{"body":"a=%zz","content_type":"application/x-www-form-urlencoded"}`},
		"object as text":  {"text/plain", ` {"a":1} `, ` {"a":1} `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.FormStyle = ingest.FormPayload }))
			request := github(c.body, "d-1")
			request.header["Content-Type"] = c.contentType
			r := b.do(t, request)
			events := b.journal.all()
			if r.StatusCode != 200 || len(events) != 1 {
				t.Fatalf("answered %d %s", r.StatusCode, r.body)
			}
			if got := string(events[0].Envelope.Detail); got != c.want {
				t.Errorf("detail %s, want %s", got, c.want)
			}
			if !json.Valid(events[0].Envelope.Detail) || string(events[0].Raw.Body) != c.body {
				t.Error("the body changed, or the detail is not JSON")
			}
		})
	}
}

func TestWhatTheMatcherCannotReadIsKeptAsText(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	deep := strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)
	picky := &pickyPublisher{journal: b.journal}
	b.Ingest = ingest.New(ingest.Config{
		Publisher: picky, Metrics: b.counts, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
	})
	b.Configure([]ingest.Source{source(t, "github", "github")})
	if r := b.do(t, github(deep, "d-1")); r.StatusCode != 200 {
		t.Fatalf("answered %d", r.StatusCode)
	}
	ev := b.journal.all()[0]
	if ev.DetailIsBody || string(ev.Raw.Body) != deep || !strings.HasPrefix(string(ev.Envelope.Detail), `{"body":"{\"a\":`) {
		t.Errorf("stored detail %.40s", ev.Envelope.Detail)
	}
}

// pickyPublisher refuses what a matcher cannot read, as the bus does.
type pickyPublisher struct{ *journal }

func (p *pickyPublisher) Publish(ctx context.Context, batch *store.Batch) error {
	if batch.Events[0].DetailIsBody {
		return fault.New(fault.Invalid, "malformed_event", "nested too deep")
	}
	return p.journal.Publish(ctx, batch)
}

func TestTwilioIsShapedAsAWSDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "twilio", "twilio", func(s *ingest.Source) { s.FormStyle = ingest.FormTwilio }))
	form := url.Values{
		"PayloadType": {"application/json"}, "Payload": {`{"error_code": 11200}`}, "Level": {"ERROR"}, "Sid": {"NO1"},
	}
	h := hmac.New(sha1.New, []byte(testSecret))
	h.Write([]byte("https://hooks.example.com/in/twilio" + "LevelERROR" + `Payload{"error_code": 11200}` +
		"PayloadTypeapplication/json" + "SidNO1"))
	r := b.do(t, call{path: "/in/twilio", body: form.Encode(), header: map[string]string{
		"Content-Type":       "application/x-www-form-urlencoded",
		"X-Twilio-Signature": base64.StdEncoding.EncodeToString(h.Sum(nil)),
	}})
	if r.StatusCode/100 != 2 {
		t.Fatalf("answered %d: %+v", r.StatusCode, b.Refusals("", true))
	}
	ev := b.journal.all()[0]
	want := `{"Level":"ERROR","Payload":{"error_code":11200},"PayloadType":"application/json","Sid":"NO1"}`
	if got := string(ev.Envelope.Detail); got != want {
		t.Errorf("detail %s, want %s", got, want)
	}
	if ev.Envelope.Source != "twilio.com" || ev.Envelope.DetailType != "twilio-webhook-lambda" {
		t.Errorf("source %q, detail-type %q", ev.Envelope.Source, ev.Envelope.DetailType)
	}
}

func TestHandshakesAreAnsweredAndNeverBecomeEvents(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "slack", "slack"))
	body := `{"type":"url_verification","challenge":"abc123","token":"x"}`
	ts := strconv.FormatInt(testNow.Unix(), 10)
	request := call{path: "/in/slack", body: body, header: map[string]string{
		"Content-Type": "application/json", "X-Slack-Request-Timestamp": ts,
		"X-Slack-Signature": "v0=" + mac("v0:"+ts+":"+body),
	}}
	r := b.do(t, request)
	if got := r.body; r.StatusCode != 200 || got != "abc123" {
		t.Errorf("answered %d %q, want the challenge", r.StatusCode, got)
	}
	if r.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("headers %v", r.Header)
	}
	request.header["X-Slack-Signature"] = "v0=" + mac("x")
	if r := b.do(t, request); r.StatusCode != 401 || strings.Contains(r.body, "abc123") {
		t.Errorf("a forged handshake was answered %d", r.StatusCode)
	}
	if len(b.journal.all()) != 0 || b.counts.get("handshake slack slack") != 1 {
		t.Errorf("stored %d events, counted %v", len(b.journal.all()), b.counts.n)
	}
}

func TestTokensInQueriesAndPathsAreMasked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, profile, path, wantPath, wantQuery string
	}{
		{"query", "query-token", "/in/query?x=1&token=" + url.QueryEscape(testSecret), "/in/query", "x=1&token=[secret]"},
		{"path", "path-token", "/in/path/" + url.PathEscape(testSecret), "/in/path/[secret]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			profile, ok := signature.LookupProfile(c.profile)
			if !ok {
				t.Fatalf("profile %s is unknown", c.profile)
			}
			v, err := signature.NewProfile(profile, signature.Secrets(testSecret))
			if err != nil {
				t.Fatal(err)
			}
			b := newBundle(t, ingest.Source{
				Name: c.name, Path: "/in/" + c.name, Below: c.name == "path", Bus: "default", EventSource: "x",
				Verifier: v, Credentials: profile.Credentials(), MaxBody: 100,
			})
			if r := b.do(t, call{path: c.path, body: "{}"}); r.StatusCode != 200 {
				t.Fatalf("answered %d: %+v", r.StatusCode, b.Refusals("", true))
			}
			raw := b.journal.all()[0].Raw
			if raw.Path != c.wantPath || raw.Query != c.wantQuery || len(raw.Masked) != 1 {
				t.Errorf("stored path %q query %q masked %v", raw.Path, raw.Query, raw.Masked)
			}
			wrong := strings.Replace(c.path, "Secret", "secret", 1)
			if r := b.do(t, call{path: wrong, body: "{}"}); r.StatusCode != 401 {
				t.Errorf("a wrong token was answered %d", r.StatusCode)
			}
			if kept := fmt.Sprintf("%+v", b.Refusals("", true)[0]); strings.Contains(kept, "to%20Everybody") || strings.Contains(kept, "to+Everybody") {
				t.Errorf("the refused request shows the token: %s", kept)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) {
		s.Answer.Accepted = &ingest.Answer{Status: 202, ContentType: "text/plain", Body: "thanks"}
	}))
	if r := b.do(t, github(`{}`, "d-1")); r.StatusCode != 202 || r.body != "thanks" || r.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("fixed answer: %d %v", r.StatusCode, r.Header)
	}
	aws := func(style ingest.AWSStyle) func(*ingest.Source) {
		return func(s *ingest.Source) { s.Answer.AWS = &style; s.FormStyle = ingest.FormPayload }
	}
	b = newBundle(t, source(t, "github", "github", aws(ingest.AWSStyle{Form: true})))
	for _, c := range []struct {
		name, contentType, body string
		forge                   bool
		status                  int
		want                    string
	}{
		{"accepted", "application/json", `{}`, false, 202, "Message forwarded to Amazon EventBridge"},
		{"form", "application/x-www-form-urlencoded", "payload=%7B%7D", false, 202, "Message forwarded to Amazon EventBridge"},
		{"forged", "application/json", `{}`, true, 401, "Invalid Signature"},
		{"forged and broken", "application/json", `{`, true, 401, "Invalid Signature"},
		{"content type", "text/plain", `{}`, false, 400, "Unsupported content-type"},
		{"content type case", "Application/JSON", `{}`, false, 400, "Unsupported content-type"},
		{"empty", "application/json", "", false, 400, "Missing event body"},
		{"two fields", "application/x-www-form-urlencoded", "payload=%7B%7D&a=1", false, 400, "Invalid urlencoded payload"},
		{"not JSON", "application/json; charset=utf-8", "{", false, 400, "Invalid JSON payload"},
		{"array", "application/json", "[]", false, 500, "FailedEntry Error - The entry could not be succesfully forwarded to Amazon EventBridge"}, //nolint:misspell // as there
	} {
		request := github(c.body, "d "+c.name)
		request.header["Content-Type"] = c.contentType
		if c.forge {
			request.header["X-Hub-Signature-256"] = "sha256=" + mac("other")
		}
		r := b.do(t, request)
		if got := r.body; r.StatusCode != c.status || got != c.want {
			t.Errorf("%s: answered %d %q, want %d %q", c.name, r.StatusCode, got, c.status, c.want)
		}
	}
	b.journal.broken = fault.New(fault.Transient, "store_unavailable", "disk is full").WithHint("make room")
	r := b.do(t, github(`{"x":1}`, "d-9"))
	if got := r.body; r.StatusCode != 503 || !strings.HasPrefix(got, "Internal Server Error - ") || r.Header.Get("Retry-After") == "" {
		t.Errorf("store down: %d %q", r.StatusCode, got)
	}
	stale := newBundle(t, source(t, "stripe", "stripe", aws(ingest.AWSStyle{Timestamp: true})))
	old := strconv.FormatInt(testNow.Unix()-3600, 10)
	r = stale.do(t, call{path: "/in/stripe", body: `{}`, header: map[string]string{
		"Content-Type": "application/json", "Stripe-Signature": "t=" + old + ",v1=" + mac(old+".{}"),
	}})
	if got := r.body; r.StatusCode != 400 || got != "Invalid timestamp" {
		t.Errorf("stale: %d %q", r.StatusCode, got)
	}
}

func TestAPanicIsAnAnswerAndCounted(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	b.Ingest = ingest.New(ingest.Config{
		Publisher: panicking{}, Metrics: b.counts, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
	})
	b.Configure([]ingest.Source{source(t, "github", "github")})
	if r := b.do(t, github(`{}`, "d-1")); r.StatusCode != 500 || b.counts.get("panic ingest") != 1 {
		t.Errorf("answered %d, counted %v", r.StatusCode, b.counts.n)
	}
}

type panicking struct{}

func (panicking) Publish(context.Context, *store.Batch) error { panic("bug") }

func TestTheRingIsBoundedAndKeepsRareReasons(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	b.do(t, call{method: "DELETE", path: "/in/github"})
	forged := github(strings.Repeat("x", 30_000), "d")
	forged.header["X-Hub-Signature-256"] = "sha256=" + mac("other")
	for range 2000 {
		b.do(t, forged)
	}
	kept := b.Refusals("github", false)
	size := 0
	rare := 0
	for _, k := range kept {
		size += len(k.Raw.Body)
		if k.Reason == "method_not_allowed" {
			rare++
		}
	}
	if len(kept) > ingest.RefusedEntries || size > ingest.RefusedBytes {
		t.Errorf("kept %d entries with %d bytes", len(kept), size)
	}
	if rare != 1 {
		t.Error("the flood pushed out the request that was refused for another reason")
	}
	if n := b.Counts()["github"].Refused["bad_signature"]; n != 2000 {
		t.Errorf("counted %d, want exactly 2000", n)
	}
}

func TestSlowAndShortBodiesOnARealSocket(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github"))
	server := httptest.NewUnstartedServer(b)
	server.Config.ReadTimeout = 200 * time.Millisecond
	server.Start()
	defer server.Close()
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/in/github", pr)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = 1000
	go func() { _, _ = pw.Write([]byte("{")) }()
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a slow body was answered %d", response.StatusCode)
	}
	if kept := b.Refusals("github", false); len(kept) != 1 || kept[0].Reason != ingest.ReasonSlow {
		t.Errorf("kept %+v", kept)
	}
	server.Client().CloseIdleConnections()
}

func FuzzServeHTTP(f *testing.F) {
	f.Add("POST", "/in/github?x=%zz", "application/json", "sha256=00", []byte("{}"))
	f.Add("GET", "/in/slack?challenge=x", "", "", []byte(""))
	f.Add("POST", "/in/twilio", "application/x-www-form-urlencoded", "AA==", []byte("a=1&b=%"))
	f.Fuzz(func(t *testing.T, method, path, contentType, sig string, body []byte) {
		target, err := url.ParseRequestURI(path)
		if err != nil || method == "" || strings.ContainsAny(method, " \r\n\x00") {
			return
		}
		b := newBundle(t, source(t, "github", "github"), source(t, "slack", "slack"), source(t, "twilio", "twilio"))
		r := &http.Request{
			Method: method, URL: target, RequestURI: path, Host: "h", Proto: "HTTP/1.1",
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
			Header: http.Header{"Content-Type": {contentType}, "X-Hub-Signature-256": {sig}, "X-Twilio-Signature": {sig}},
		}
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code/100 == 2 && len(b.journal.all()) > 0 {
			if got := "sha256=" + mac(string(body)); got != sig {
				t.Errorf("accepted without a signature: %s %s", method, path)
			}
		}
		if b.counts.get("panic ingest") > 0 {
			t.Error("panic")
		}
	})
}

func BenchmarkGitHub1KiB(b *testing.B) {
	body := `{"ref":"refs/heads/main","pad":"` + strings.Repeat("x", 990) + `"}`
	provider, _ := signature.LookupProvider("github")
	v, err := signature.New("github", signature.Secrets(testSecret))
	if err != nil {
		b.Fatal(err)
	}
	in := ingest.New(ingest.Config{
		Publisher: nothing{}, Metrics: &counts{n: map[string]int{}}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	in.Configure([]ingest.Source{{
		Name: "github", Path: "/in/github", Bus: "default", EventSource: "github.com", Provider: provider,
		Verifier: v, Credentials: provider.Credentials(""), MaxBody: 1 << 20,
	}})
	header := http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Github-Delivery": {"d"},
		"X-Hub-Signature-256": {"sha256=" + mac(body)}, "User-Agent": {"GitHub-Hookshot/1"},
	}
	reader := strings.NewReader(body)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/in/github", nil)
	r.Header, r.ContentLength = header, int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		w := discard{http.Header{}}
		in.ServeHTTP(w, r)
	}
}

type nothing struct{}

func (nothing) Publish(context.Context, *store.Batch) error { return nil }

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
