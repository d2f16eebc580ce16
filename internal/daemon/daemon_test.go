package daemon_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/internal/daemon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "It's a Secret to Everybody"

type running struct {
	*daemon.Daemon

	path string
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs a daemon with the configuration in a directory of its own.
func start(t *testing.T, text string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{path: filepath.Join(dir, "grapnel.yaml")}
	write(t, r.path, expand(dir, text))
	d, err := daemon.New(t.Context(), daemon.Options{
		ConfigPath: r.path, Version: "test", Log: slog.New(slog.DiscardHandler), WatchEvery: -1, DrainTime: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Daemon = d
	return r
}

func expand(dir, text string) string {
	return "listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\ndata: " + filepath.Join(dir, "data") + "\n" + text
}

func (r *running) reload(t *testing.T, text string) error {
	t.Helper()
	write(t, r.path, expand(filepath.Dir(r.path), text))
	return r.Reload(t.Context())
}

func (r *running) send(t *testing.T, path, id, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.PublicAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(body))
	request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(h.Sum(nil)))
	request.Header.Set("X-Github-Event", "push")
	request.Header.Set("X-Github-Delivery", id)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("never: %s", what)
		}
	}
}

const base = `
network: {allow: [127.0.0.0/8]}
sources: {github: {provider: github, secrets: ["` + secret + `"]}}
`

func app(url string) string {
	return base + fmt.Sprintf(`
destinations: {app: {kind: webhook, url: %q}}
rules: {all: {pattern: {source: [github.com]}, targets: [{to: app, retry: {base: 5ms, cap: 20ms}}]}}
`, url)
}

func TestAnAcceptedWebhookIsDelivered(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	ids := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("Webhook-Id")
		if tries.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer target.Close()
	d := start(t, app(target.URL))
	if status, answer := d.send(t, "/in/github", "d-1", `{"ref":"main"}`); status != http.StatusOK {
		t.Fatalf("answered %d %s", status, answer)
	}
	first, second := <-ids, <-ids
	if first == "" || first != second {
		t.Errorf("webhook-id %q, then %q", first, second)
	}
	if status, _ := d.send(t, "/in/nowhere", "d-1", `{}`); status != http.StatusNotFound {
		t.Errorf("an unknown path was answered %d", status)
	}
}

func TestABadConfigurationLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer target.Close()
	d := start(t, app(target.URL))
	err := d.reload(t, app(target.URL)+"\nnonsense: true\n")
	bad, ok := errors.AsType[*daemon.ConfigError](err)
	if !ok || len(bad.Problems) == 0 || bad.Problems[0].Line == 0 {
		t.Fatalf("Reload() = %v, want a problem with its place", err)
	}
	if err := d.reload(t, strings.Replace(app(target.URL), "sources", "listen2: x\nsources", 1)); err == nil {
		t.Error("an unknown key was taken")
	}
	if status, _ := d.send(t, "/in/github", "d-1", `{}`); status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	wait(t, "a delivery by the old configuration", func() bool { return hits.Load() == 1 })
}

func TestDeliveriesWaitForADestinationThatIsRemovedAndComesBack(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	var hits atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		hits.Add(1)
	}))
	defer target.Close()
	d := start(t, app(target.URL))
	d.send(t, "/in/github", "d-1", `{}`)
	if err := d.reload(t, base); err != nil {
		t.Fatal(err)
	}
	if status, _ := d.send(t, "/in/github", "d-2", `{}`); status != http.StatusOK {
		t.Errorf("answered %d while no rule is there", status)
	}
	up.Store(true)
	if err := d.reload(t, app(target.URL)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the held delivery goes on", func() bool { return hits.Load() == 1 })
}

func TestTwoProcessesOnOneDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	d := start(t, base)
	_, err := daemon.New(t.Context(), daemon.Options{ConfigPath: d.path, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "data") {
		t.Errorf("a second daemon: %v", err)
	}
}

func TestTheTokenIsMadeOnceAndOnlyForTheOwner(t *testing.T) {
	t.Parallel()
	d := start(t, base)
	path := filepath.Join(filepath.Dir(d.path), "data", daemon.TokenFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("token file: %v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(text)) != d.Token().Reveal() {
		t.Errorf("the token in the file is another one: %v", err)
	}
}

// Each figure that a dashboard asks for moves when a webhook passes.
func TestMetricsMoveWithAWebhook(t *testing.T) {
	t.Parallel()
	delivered := make(chan struct{}, 1)
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { delivered <- struct{}{} }))
	defer target.Close()
	d := start(t, app(target.URL))
	d.send(t, "/in/github", "d-1", `{"ref":"main"}`)
	<-delivered
	var body string
	wait(t, "the delivery is counted", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.AdminAddr()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+d.Token().Reveal())
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
		return strings.Contains(body, `grapnel_deliveries_total{destination="app",state="delivered"} 1`)
	})
	for _, want := range []string{
		`grapnel_events_accepted_total{source="github"} 1`, `grapnel_events_matched_total{rule="all"} 1`,
		`grapnel_attempts_total{destination="app",result="ok"} 1`, "grapnel_commit_seconds_count 1",
		`grapnel_accept_to_delivered_seconds_count{destination="app"} 1`, `grapnel_ingest_seconds_count{source="github"} 1`,
		"grapnel_store_available 1", `grapnel_breaker_state{destination="app"} 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(body, "grapnel_commit_batches_count 0") || strings.Contains(body, "grapnel_journal_bytes 0") {
		t.Error("commits or bytes are not counted")
	}
}
