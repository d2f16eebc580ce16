//nolint:thelper // These are the tests themselves: what fails is a line of theirs.
package destinationtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
)

// Run runs the suite for a kind that sends over HTTP. Bodies are JSON objects.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if s.Class == nil {
		s.Class = destination.OfStatus
	}
	for name, test := range map[string]func(*testing.T, Suite){
		"many at once":             manyAtOnce,
		"statuses have classes":    statuses,
		"failures have classes":    failures,
		"bad answers are bounded":  badAnswers,
		"deadlines are kept":       deadlines,
		"canceled is no failure":   canceled,
		"redirects stay":           redirects,
		"addresses are guarded":    guarded,
		"retry after is read":      retryAfter,
		"nothing leaks":            nothingLeaks,
		"close ends connections":   closes,
		"idle connections recover": recovers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func (s Suite) build(tb testing.TB, url string) destination.Destination {
	tb.Helper()
	return Build(tb, s.Kind, s.Config(url), Deps(tb))
}

func manyAtOnce(t *testing.T, s Suite) {
	const workers, each = 16, 20
	var mu sync.Mutex
	got := map[string]int{}
	url, conns := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		got[string(body)]++
		mu.Unlock()
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	d := s.build(t, url)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"worker":%d,"i":%d}`, worker, i)
				resp, err := d.Do(bounded(t), Request(body))
				if err != nil {
					t.Errorf("Do: %v", err)
					continue
				}
				if resp.Status != http.StatusOK || string(resp.Body) != `{"ok":true}` || resp.Truncated {
					t.Errorf("answer %d %q truncated %t", resp.Status, resp.Body, resp.Truncated)
				}
			}
		})
	}
	wg.Wait()
	if len(got) != workers*each {
		t.Errorf("%d different messages arrived, want %d", len(got), workers*each)
	}
	for body, n := range got {
		if n != 1 {
			t.Errorf("%s arrived %d times, want once", body, n)
		}
	}
	if n := conns.Load(); n > 3*workers {
		t.Errorf("%d connections for %d requests of %d workers", n, workers*each, workers)
	}
}

func statuses(t *testing.T, s Suite) {
	var status atomic.Int64
	url, _ := server(t, func(w http.ResponseWriter, r *http.Request) { answering(int(status.Load()))(w, r) })
	d := s.build(t, url)
	for code := 200; code < 600; code++ {
		status.Store(int64(code))
		resp, err := d.Do(bounded(t), Request(`{}`))
		if code < 300 {
			if err != nil || resp.Status != code {
				t.Errorf("status %d: %+v, %v, want success", code, resp, err)
			}
			continue
		}
		failure := Failed(t, err)
		if want := s.Class(code); failure.Class != want || failure.Status != code {
			t.Errorf("status %d: class %s status %d, want %s", code, failure.Class, failure.Status, want)
		}
	}
}

func failures(t *testing.T, s Suite) {
	secure := httptest.NewUnstartedServer(answering(http.StatusOK))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain, _ := server(t, answering(http.StatusOK))
	for name, row := range map[string]struct {
		url  string
		want destination.Class
	}{
		"nothing listens":         {unused(t), destination.Refused},
		"closed without a word":   {raw(t, saying("")), destination.Reset},
		"half closed, no word":    {raw(t, halfClosing("")), destination.Reset},
		"reset":                   {raw(t, reset("")), destination.Reset},
		"closed in the header":    {raw(t, saying("HTTP/1.1 200 OK\r\nA: b")), destination.Reset},
		"garbage":                 {raw(t, saying("220 mail.example.com ESMTP\r\n\r\n")), destination.Protocol},
		"binary garbage":          {raw(t, saying("\x00\xff\x16\x03\x01\r\n\r\n")), destination.Protocol},
		"header without end":      {raw(t, saying("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("b", 1<<20))), destination.Protocol},
		"two different lengths":   {raw(t, saying("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")), destination.Protocol},
		"certificate of nobody":   {secure.URL, destination.TLS},
		"https to an http server": {strings.Replace(plain, "http:", "https:", 1), destination.Protocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.build(t, row.url).Do(bounded(t), Request(`{}`))
			wantClass(t, err, row.want)
		})
	}
}

// badAnswers: whatever comes after the status, Do returns soon, returns no more
// than was wanted, and does not read on for ever.
func badAnswers(t *testing.T, s Suite) {
	const ok, bad = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 500 Oh\r\n"
	for name, row := range map[string]struct {
		head string
		then func(string, *atomic.Int64) func(*net.TCPConn)
	}{
		"endless":             {"\r\n", pouring},
		"endless chunk":       {"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n", pouring},
		"one gigabyte":        {"Content-Length: 1073741824\r\n\r\n", pouring},
		"reset in the body":   {"Content-Length: 100\r\n\r\n{", without(reset)},
		"closed in the body":  {"Content-Length: 100\r\n\r\n{", without(saying)},
		"bad chunk":           {"Transfer-Encoding: chunked\r\n\r\nzz\r\n", without(saying)},
		"half closed":         {"\r\n{}", without(halfClosing)},
		"says gzip, sends no": {"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", without(saying)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int64
			request := Request(`{}`)
			resp, err := s.build(t, raw(t, row.then(ok+row.head, &sent))).Do(bounded(t), request)
			if err != nil {
				_ = Failed(t, err) // a kind may need the whole answer
			} else if len(resp.Body) > request.WantBody || (sent.Load() > 0 && !resp.Truncated) {
				t.Errorf("%d bytes of body, truncated %t, want at most %d", len(resp.Body), resp.Truncated, request.WantBody)
			}
			_, err = s.build(t, raw(t, row.then(bad+row.head, &sent))).Do(bounded(t), request)
			if failure := Failed(t, err); failure.Class != destination.ServerError || len(failure.Excerpt) > request.WantBody {
				t.Errorf("class %s with %d bytes (%v), want %s with at most %d",
					failure.Class, len(failure.Excerpt), failure.Err, destination.ServerError, request.WantBody)
			}
			// 6 MiB is what the kind with the longest answers reads; the rest is in
			// the buffers of two connections.
			if n := sent.Load(); n > 32<<20 {
				t.Errorf("%d bytes were read of two answers", n)
			}
		})
	}
}

func without(serve func(string) func(*net.TCPConn)) func(string, *atomic.Int64) func(*net.TCPConn) {
	return func(text string, _ *atomic.Int64) func(*net.TCPConn) { return serve(text) }
}

func deadlines(t *testing.T, s Suite) {
	const limit = 150 * time.Millisecond
	for name, row := range map[string]struct {
		text     string
		answered bool // the status has arrived: success is right too
	}{
		"silence":             {"", false},
		"silence in a header": {"HTTP/1.1 200 OK\r\nA: b", false},
		"silence in a body":   {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", true},
	} {
		for _, cause := range []error{nil, errors.New("time is up")} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), limit, cause)
			begun := time.Now()
			_, err := s.build(t, raw(t, hanging(row.text))).Do(ctx, Request(`{}`))
			if took := time.Since(begun); took > patience {
				t.Errorf("%s: Do took %s", name, took)
			}
			if err != nil || !row.answered {
				wantClass(t, err, destination.Timeout)
			}
			cancel()
		}
	}
}

func canceled(t *testing.T, s Suite) {
	url, conns := server(t, answering(http.StatusOK))
	for _, cause := range []error{nil, errors.New("going home")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err := s.build(t, url).Do(ctx, Request(`{}`))
		wantCanceled(t, err)
		if n := conns.Load(); n != 0 {
			t.Errorf("%d connections for a request that was canceled before", n)
		}

		ctx, cancel = context.WithCancelCause(t.Context())
		d := s.build(t, raw(t, func(c *net.TCPConn) {
			cancel(cause)
			hanging("")(c)
		}))
		_, err = d.Do(ctx, Request(`{}`))
		wantCanceled(t, err)
	}
}

func wantCanceled(tb testing.TB, err error) {
	tb.Helper()
	if _, ok := errors.AsType[*destination.Error](err); ok || !errors.Is(err, context.Canceled) {
		tb.Errorf("error = %v (%T), want one that wraps context.Canceled", err, err)
	}
}

func redirects(t *testing.T, s Suite) {
	there, conns := server(t, answering(http.StatusOK))
	for _, code := range []int{301, 302, 303, 307, 308} {
		url, _ := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, there, code) })
		_, err := s.build(t, url).Do(bounded(t), Request(`{}`))
		wantClass(t, err, destination.Redirect)
	}
	if n := conns.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

func guarded(t *testing.T, s Suite) {
	url, conns := server(t, answering(http.StatusOK))
	deps := Deps(t)
	deps.Egress = egress.New(egress.Config{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		d := Build(t, s.Kind, s.Config(strings.Replace(url, "127.0.0.1", host, 1)), deps)
		_, err := d.Do(bounded(t), Request(`{}`))
		wantClass(t, err, destination.BlockedAddress)
	}
	d := Build(t, s.Kind, s.Config("http://169.254.169.254"), deps)
	_, err := d.Do(bounded(t), Request(`{}`))
	wantClass(t, err, destination.BlockedAddress)
	if n := conns.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	// A list that changes counts for a destination that exists.
	d = Build(t, s.Kind, s.Config(url), deps)
	deps.Egress.SetAllow(Loopback())
	if _, err := d.Do(bounded(t), Request(`{}`)); err != nil {
		t.Errorf("after it was allowed: %v", err)
	}
}

func retryAfter(t *testing.T, s Suite) {
	var status int
	var value string
	url, _ := server(t, func(w http.ResponseWriter, _ *http.Request) { // one request at a time
		w.Header().Set("Retry-After", value)
		w.WriteHeader(status)
	})
	d := s.build(t, url)
	for _, status = range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for text, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "soon": 0, "99999999": 24 * time.Hour} {
			value = text
			_, err := d.Do(bounded(t), Request(`{}`))
			if failure := Failed(t, err); failure.RetryAfter != want || failure.NoRetry || failure.Class != s.Class(status) {
				t.Errorf("Retry-After %q with %d: %s after %s", value, status, failure.Class, failure.RetryAfter)
			}
		}
	}
	value = "-1"
	_, err := d.Do(bounded(t), Request(`{}`))
	if failure := Failed(t, err); !failure.NoRetry || failure.Class != destination.Rejected {
		t.Errorf("negative Retry-After: %s, NoRetry %t, want rejected for good", failure.Class, failure.NoRetry)
	}
}

func closes(t *testing.T, s Suite) {
	ended := make(chan struct{}, 64)
	ts := httptest.NewUnstartedServer(answering(http.StatusOK))
	ts.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- struct{}{}
		}
	}
	ts.Start()
	t.Cleanup(ts.Close)
	d := s.build(t, ts.URL)
	if _, err := d.Do(bounded(t), Request(`{}`)); err != nil {
		t.Fatal(err)
	}
	closer, ok := d.(destination.Closer)
	if !ok {
		t.Fatal("the destination holds connections and is no Closer")
	}
	for range 2 { // the second time does no harm
		if err := closer.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	select {
	case <-ended:
	case <-bounded(t).Done():
		t.Error("the connection is still open after Close")
	}
}

// recovers: a receiver that was restarted between two requests is no failure
// that lasts.
func recovers(t *testing.T, s Suite) {
	ts := httptest.NewServer(answering(http.StatusOK))
	t.Cleanup(ts.Close)
	d := s.build(t, ts.URL)
	failed := 0
	for range 20 {
		if _, err := d.Do(bounded(t), Request(`{}`)); err != nil {
			_ = Failed(t, err)
			failed++
		}
		ts.CloseClientConnections()
	}
	if failed > 10 {
		t.Errorf("%d of 20 requests failed after the server closed idle connections", failed)
	}
}
