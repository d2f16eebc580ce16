package bench_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/bench"
	"github.com/grapnel/grapnel/signature"
)

// listen starts a server and returns its address.
func listen(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestLoadSendsEachMessageOnceAndSigned(t *testing.T) {
	t.Parallel()
	m := message(t)
	verifier, err := signature.New("github", signature.Secrets(bench.WebhookSecret))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	bodies, ids := map[int]int{}, map[string]int{}
	addr := listen(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := verifier.Verify(signature.NewRequest(r, body), time.Now()); err != nil {
			t.Error(err)
		}
		n, ok := m.Number(body)
		if !ok || r.Method != http.MethodPost || r.URL.Path != "/in/github" || r.Header.Get("X-GitHub-Event") != "pull_request" {
			t.Errorf("%s %s with message %d, %v", r.Method, r.URL, n, ok)
		}
		mu.Lock()
		defer mu.Unlock()
		bodies[n]++
		ids[r.Header.Get("X-GitHub-Delivery")]++
		_, _ = io.WriteString(w, `{"id":"x"}`) // a body to skip; the test fails by its counts if it is not
	})
	got, err := bench.Load(t.Context(), addr, m, 4, 200, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got.Took = 0
	want := bench.Loaded{Sent: 200, Accepted: 200, Errors: map[string]int{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
	for n := range 200 {
		if bodies[n] != 1 {
			t.Errorf("message %d came %d times", n, bodies[n])
		}
	}
	if len(bodies) != 200 || len(ids) != 200 {
		t.Errorf("%d bodies and %d delivery ids, want 200 of each", len(bodies), len(ids))
	}
}

func TestLoadCountsWhatIsNotAccepted(t *testing.T) {
	t.Parallel()
	m := message(t)
	var requests atomic.Int64
	addr := listen(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // as a server does that answers afterwards
		switch requests.Add(1) % 5 {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusNoContent)
		case 3:
			w.Header().Set("Connection", "close") // accepted, over a new connection from here on
		case 4:
			panic(http.ErrAbortHandler) // the connection breaks without an answer
		}
	})
	got, err := bench.Load(t.Context(), addr, m, 1, 100, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got.Took = 0
	want := bench.Loaded{
		Sent: 100, Accepted: 60, Refused: 20, Unknown: 20, Errors: map[string]int{"status 503": 20, "connection": 20},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("load (-want +got):\n%s", diff)
	}
}

func TestLoadGivesUpOnADeadServer(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(s.Close)
	got, err := bench.Load(t.Context(), s.Listener.Addr().String(), message(t), 2, 0, 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got.Accepted != 0 || got.Errors["connection"] != 6 {
		t.Errorf("load = %+v, want 3 broken connections for each of 2 senders", got)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	t.Parallel()
	addr := listen(t, func(http.ResponseWriter, *http.Request) {})
	got, err := bench.Load(t.Context(), addr, message(t), 8, 0, 500, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// The last one is due at 198 ms; a server that is slow makes it longer.
	if got.Accepted != 100 || got.Took < 190*time.Millisecond {
		t.Errorf("%d accepted in %v, want 100 in 200 ms", got.Accepted, got.Took)
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		status     int
		keep       bool
		rest       string
		fails      bool
	}{
		{name: "empty", text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, keep: true},
		{name: "body", text: "HTTP/1.1 202 Accepted\r\ncontent-length:  2 \r\nX: y\r\n\r\nokHTTP", status: 202, keep: true, rest: "HTTP"},
		{name: "no reason", text: "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n", status: 503, keep: true},
		{name: "close", text: "HTTP/1.1 429 X\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", status: 429},
		{name: "no content", text: "HTTP/1.1 204 No Content\r\n\r\nH", status: 204, keep: true, rest: "H"},
		{
			name: "interim", text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
			status: 200, keep: true,
		},
		{name: "chunked", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", fails: true},
		{name: "until closed", text: "HTTP/1.1 200 OK\r\n\r\n", fails: true},
		{name: "cut in the body", text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", fails: true},
		{name: "cut in the fields", text: "HTTP/1.1 200 OK\r\nContent-", fails: true},
		{name: "negative length", text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", fails: true},
		{name: "old", text: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", fails: true},
		{name: "not a status", text: "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", fails: true},
		{name: "long line", text: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(strings.NewReader(tc.text))
			status, keep, err := bench.ReadResponse(r)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v, want one: %v", err, tc.fails)
			}
			if err != nil {
				return
			}
			rest, _ := io.ReadAll(r) // of a string
			if status != tc.status || keep != tc.keep || string(rest) != tc.rest {
				t.Errorf("status %d, keep %v, rest %q, want %d, %v, %q", status, keep, rest, tc.status, tc.keep, tc.rest)
			}
		})
	}
}

func FuzzResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		status, _, err := bench.ReadResponse(bufio.NewReader(strings.NewReader(text)))
		if err == nil && (status/100 == 1 || status > 999) {
			t.Errorf("status %d of %q", status, text)
		}
	})
}
