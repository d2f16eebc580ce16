package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// receiver accounts for everything that is delivered to it.
type receiver struct {
	*httptest.Server
	flaky bool // answers some requests with 503
	rng   *rand.Rand

	mu    sync.Mutex
	got   map[string]*arrival // by the id in the body
	wrong []string
	total int
}

type arrival struct {
	sum       [32]byte
	webhookID string
	times     int
}

func newReceiver(tb testing.TB, seed uint64, flaky bool) *receiver {
	tb.Helper()
	r := &receiver{got: map[string]*arrival{}, flaky: flaky, rng: rand.New(rand.NewPCG(seed, 7))}
	r.Server = httptest.NewServer(r)
	tb.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed in the middle
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(string(body), `{"id":"`), `"`)
	webhookID := req.Header.Get("Webhook-Id")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	if r.flaky && r.rng.IntN(3) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	a, known := r.got[id]
	switch {
	case !known:
		r.got[id] = &arrival{sha256.Sum256(body), webhookID, 1}
	case a.webhookID != webhookID:
		r.wrong = append(r.wrong, fmt.Sprintf("event %s came as %s and as %s", id, a.webhookID, webhookID))
	default:
		a.times++
	}
}

func (r *receiver) has(id string) (*arrival, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.got[id]
	return a, ok
}

// account is what senders remember.
type account struct {
	mu    sync.Mutex
	acked map[string][32]byte
	sent  int
}

// load sends signed webhooks from several connections until ctx ends.
func (a *account) load(ctx context.Context, base string, round, senders int, seed uint64) {
	var wg sync.WaitGroup
	for n := range senders {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			rng := rand.New(rand.NewPCG(seed, uint64(round*1000+n)))
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("r%d-s%d-%d", round, n, i)
				body := []byte(`{"id":"` + id + `","pad":"` + strings.Repeat("x", rng.IntN(3000)) + `"}`)
				status, _, err := sendGitHub(context.WithoutCancel(ctx), client, base, "/in/github", "push", id, body)
				a.mu.Lock()
				a.sent++
				if err == nil && status == http.StatusOK {
					a.acked[id] = sha256.Sum256(body)
				}
				a.mu.Unlock()
				if err != nil {
					return // killed
				}
			}
		})
	}
	wg.Wait()
}

func setting(tb testing.TB, name string, fallback uint64) uint64 {
	tb.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestCrashLosesNothingThatWasAcknowledged kills the binary at random moments
// under load and accounts for every event afterwards: what was answered 200 is
// stored byte for byte and reaches both destinations, always under the same
// webhook-id. GRAPNEL_CRASH_ROUNDS and GRAPNEL_CRASH_SEED repeat a run.
func TestCrashLosesNothingThatWasAcknowledged(t *testing.T) {
	rounds := int(setting(t, "GRAPNEL_CRASH_ROUNDS", 12))
	seed := setting(t, "GRAPNEL_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("GRAPNEL_CRASH_SEED=%d GRAPNEL_CRASH_ROUNDS=%d", seed, rounds)
	rng := rand.New(rand.NewPCG(seed, 1))
	healthy, flaky := newReceiver(t, seed, false), newReceiver(t, seed, true)
	dir := writeConfig(t, fmt.Sprintf(`
network: {allow: [127.0.0.0/8]}
sources: {github: {provider: github, secrets: [%q]}}
destinations:
  healthy: {kind: webhook, url: %q}
  flaky: {kind: webhook, url: %q}
rules:
  all:
    pattern: {source: [github.com]}
    targets:
      - {to: healthy, input: {body: raw}}
      - {to: flaky, input: {body: raw}, retry: {base: 10ms, cap: 100ms}}
`, githubSecret, healthy.URL, flaky.URL))
	a := &account{acked: map[string][32]byte{}}
	var recovery time.Duration
	var s *server
	for round := range rounds {
		started := time.Now()
		s = serve(t, dir)
		recovery = max(recovery, time.Since(started))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var killed atomic.Bool
		delay := time.Duration(20+rng.IntN(300)) * time.Millisecond
		timer := time.AfterFunc(delay, func() { killed.Store(true); _ = s.cmd.Process.Kill(); cancel() })
		a.load(ctx, s.public, round, 8, seed)
		timer.Stop()
		cancel()
		if !killed.Load() {
			t.Fatalf("round %d: the senders stopped before the kill\n%s", round, s.log)
		}
		<-s.ended
	}
	s = serve(t, dir)
	arrived := func(r *receiver) int {
		n := 0
		for id := range a.acked {
			if _, ok := r.has(id); ok {
				n++
			}
		}
		return n
	}
	s.eventually("everything that was acknowledged is delivered", 2*time.Minute, func() bool {
		return arrived(healthy) == len(a.acked) && arrived(flaky) == len(a.acked)
	})
	duplicates := 0
	for _, r := range []*receiver{healthy, flaky} {
		for _, w := range r.wrong {
			t.Error(w)
		}
		for id, sum := range a.acked {
			got, _ := r.has(id)
			if got.sum != sum {
				t.Errorf("event %s was delivered with another body", id)
			}
			duplicates += got.times - 1
		}
	}
	stored := map[string]listed{}
	for _, e := range s.events("") {
		stored[e.ProviderID] = e
	}
	checked, lost := 0, 0
	for id, sum := range a.acked {
		e, ok := stored[id]
		if !ok {
			lost++
			t.Errorf("event %s was acknowledged and is not listed", id)
			continue
		}
		if checked++; checked > 300 {
			continue
		}
		var body []byte
		s.get("/api/v1/events/"+e.Position+"/body", &body)
		if sha256.Sum256(body) != sum {
			t.Errorf("event %s is stored with another body", id)
		}
	}
	if len(a.acked) < rounds {
		t.Errorf("only %d events were acknowledged in %d rounds: the test proves nothing", len(a.acked), rounds)
	}
	t.Logf("rounds %d, sent %d, acknowledged %d, lost %d, delivered twice %d, slowest start %v",
		rounds, a.sent, len(a.acked), lost, duplicates, recovery.Round(time.Millisecond))
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, s.log)
	}
}
