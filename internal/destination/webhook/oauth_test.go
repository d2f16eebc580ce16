package webhook_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/webhook"
)

const oauthSecret = "cl1ent-secret/with+signs"

func swap(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.Rename(from, to); err != nil {
		tb.Fatal(err)
	}
}

// issuer is a token endpoint that gives t0ken-00001, t0ken-00002 and so on.
type issuer struct {
	url    string
	count  atomic.Int64
	expire string // what it says of the lifetime
	last   atomic.Pointer[http.Request]
}

func newIssuer(tb testing.TB, expires string) *issuer {
	tb.Helper()
	i := &issuer{expire: expires}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			tb.Errorf("token request: %v", err)
		}
		i.last.Store(r)
		_, _ = fmt.Fprintf(w, `{"access_token": "t0ken-%05d", "token_type": "bearer"%s}`, i.count.Add(1), i.expire)
	}))
	tb.Cleanup(s.Close)
	i.url = s.URL
	return i
}

func (i *issuer) config(url, more string) string {
	return fmt.Sprintf(`{"url": %q, "auth": {"oauth": {"token_url": %q, "client_id": "grapnel", "client_secret": %q%s}}}`,
		url, i.url+"/token?tenant=t3nant-id", oauthSecret, more)
}

func TestConformanceWithOAuth(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, `, "expires_in": 3600`)
	destinationtest.Run(t, destinationtest.Suite{
		Kind:    webhook.Kind(),
		Config:  func(url string) string { return i.config(url, `, "params": {"audience": "aud1ence-of-it"}`) },
		Secrets: []string{oauthSecret, "cl1ent-secret%2Fwith%2Bsigns", "t0ken-0", "aud1ence-of-it", "t3nant-id"},
	})
}

func TestTokensAreFetchedAsTheyAreConfigured(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, "")
	for more, want := range map[string]struct{ form, authorization string }{
		``: {"client_id=grapnel&client_secret=cl1ent-secret%2Fwith%2Bsigns&grant_type=client_credentials", ""},
		`, "scopes": ["a", "b"], "params": {"audience": "x"}, "credentials": "basic"`: {
			"audience=x&grant_type=client_credentials&scope=a+b", "Basic Z3JhcG5lbDpjbDFlbnQtc2VjcmV0JTJGd2l0aCUyQnNpZ25z",
		},
	} {
		url, last := receiver(t, nil)
		if _, err := build(t, i.config(url, more)).Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
			t.Fatal(err)
		}
		got := i.last.Load()
		if diff := cmp.Diff(want.form, got.PostForm.Encode()); diff != "" || got.Method != http.MethodPost {
			t.Errorf("%s: %s with form (-want +got):\n%s", more, got.Method, diff)
		}
		if h := got.Header.Get("Authorization"); h != want.authorization {
			t.Errorf("%s: Authorization %q, want %q", more, h, want.authorization)
		}
		if h := last().Header.Get("Authorization"); !strings.HasPrefix(h, "Bearer t0ken-") {
			t.Errorf("Authorization = %q, want the token", h)
		}
	}
}

// clock is a clock that is set by hand.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.nanos.Load()) }

func (c *clock) add(d time.Duration) { c.nanos.Add(int64(d)) }

func TestTokensAreKeptAndRenewedAheadOfTheirEnd(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		expires string
		at      []time.Duration // since the request before
		want    []int64         // tokens fetched so far
	}{
		"an hour":         {`, "expires_in": 3600`, []time.Duration{0, 3539 * time.Second, time.Second, 0}, []int64{1, 1, 2, 2}},
		"an hour as text": {`, "expires_in": "3600"`, []time.Duration{0, 3539 * time.Second, time.Second}, []int64{1, 1, 2}},
		"ten seconds":     {`, "expires_in": 10`, []time.Duration{0, 4 * time.Second, time.Second}, []int64{1, 1, 2}},
		"not said":        {``, []time.Duration{0, 1000 * time.Hour}, []int64{1, 1}},
	} {
		i := newIssuer(t, row.expires)
		url, _ := receiver(t, nil)
		var c clock
		c.add(time.Duration(time.Now().UnixNano()))
		deps := destinationtest.Deps(t)
		deps.Now = c.now
		d := destinationtest.Build(t, webhook.Kind(), i.config(url, ""), deps)
		for n, wait := range row.at {
			c.add(wait)
			if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
				t.Fatal(err)
			}
			if got := i.count.Load(); got != row.want[n] {
				t.Errorf("%s: %d tokens after request %d, want %d", name, got, n+1, row.want[n])
			}
		}
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusProxyAuthRequired} {
		i := newIssuer(t, "")
		var requests atomic.Int64
		good := "Bearer t0ken-00002"
		url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if r.Header.Get("Authorization") != good {
				w.WriteHeader(status)
			}
		})
		d := build(t, i.config(url, ""))
		if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
			t.Fatalf("after a fresh token: %v", err)
		}
		if i.count.Load() != 2 || requests.Load() != 2 {
			t.Errorf("%d tokens for %d requests, want two of both", i.count.Load(), requests.Load())
		}
		good = "nothing"
		_, err := d.Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != destination.Unauthorized || got.Status != status {
			t.Errorf("class %s status %d, want unauthorized with %d", got.Class, got.Status, status)
		}
		if requests.Load() != 4 {
			t.Errorf("%d requests, want two for each attempt", requests.Load())
		}
	}
}

func TestManyRequestsFetchOneToken(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, `, "expires_in": 3600`)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	d := build(t, i.config(s.URL, ""))
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := i.count.Load(); n != 1 {
		t.Errorf("%d tokens were fetched, want one", n)
	}
}

func TestTokenEndpointsFailWithAClass(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		status int
		body   string
		want   destination.Class
	}{
		"invalid client":   {400, `{"error": "invalid_client"}`, destination.Unauthorized},
		"unauthorized":     {401, `{"error": "invalid_client"}`, destination.Unauthorized},
		"forbidden":        {403, ``, destination.Unauthorized},
		"missing":          {404, ``, destination.NotFound},
		"gone":             {410, ``, destination.NotFound},
		"too many":         {429, ``, destination.Throttled},
		"down":             {503, ``, destination.Unavailable},
		"no JSON":          {200, `<html>`, destination.Protocol},
		"no token":         {200, `{"token_type": "bearer"}`, destination.Protocol},
		"other type":       {200, `{"access_token": "x1y2z3", "token_type": "mac"}`, destination.Protocol},
		"header injection": {200, `{"access_token": "x\r\nX-Evil: 1"}`, destination.Protocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			}))
			t.Cleanup(s.Close)
			url, _ := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("the receiver was asked without a token") })
			i := &issuer{url: s.URL}
			_, err := build(t, i.config(url, "")).Do(t.Context(), destinationtest.Request(`{}`))
			got := destinationtest.Failed(t, err)
			if got.Class != row.want || got.Status != 0 || !strings.Contains(got.Message, "token") {
				t.Errorf("class %s status %d (%s), want %s of the token endpoint", got.Class, got.Status, got.Message, row.want)
			}
			if row.status != 200 && got.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After %s, want 7s", got.RetryAfter)
			}
		})
	}
}

func TestWrongOAuthAndTLSAreRefused(t *testing.T) {
	t.Parallel()
	const good = `"token_url": "https://h/t", "client_id": "a", "client_secret": "b"`
	for config, want := range map[string]string{
		`{"url": "https://h", "auth": {"oauth": {}}}`: "token_url: is missing",
		`{"url": "https://h", "auth": {"oauth": {"token_url": "https://u:p@h", "client_id": "a", "client_secret": "b"}}}`: "no credentials",
		`{"url": "https://h", "auth": {"oauth": {` + good + `, "credentials": "jwt"}}}`:                                   "credentials",
		`{"url": "https://h", "auth": {"oauth": {` + good + `, "params": {"grant_type": "x"}}}}`:                          "sets itself",
		`{"url": "https://h", "auth": {"bearer": "x", "oauth": {` + good + `}}}`:                                          "exactly one",
		`{"url": "https://u:p@h", "auth": {"oauth": {` + good + `}}}`:                                                     "credentials too",
		`{"url": "https://h", "auth": {"oauth": {` + good + `}}, "headers": {"authorization": "x"}}`:                      "set by auth",
		`{"url": "https://h", "tls": {}}`:            "needs cert and key, or ca",
		`{"url": "https://h", "tls": {"cert": "x"}}`: "both cert and key",
		`{"url": "http://h", "tls": {"ca": "x"}}`:    "not https",
	} {
		_, problems := destinationtest.Decode(t, webhook.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
}
