package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/webhook"
	"github.com/grapnel/grapnel/signature"
)

const (
	secretOne = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" //nolint:gosec // G101: made up for the test
	secretTwo = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" //nolint:gosec // G101: made up for the test
)

// received is a request as the receiver saw it.
type received struct {
	*http.Request
	body []byte
}

// receiver returns a server that remembers the last request.
func receiver(tb testing.TB, answer http.HandlerFunc) (url string, last func() received) {
	tb.Helper()
	seen := make(chan received, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Errorf("reading the request: %v", err)
		}
		seen <- received{r, body}
		if answer != nil {
			answer(w, r)
		}
	}))
	tb.Cleanup(s.Close)
	return s.URL, func() received { return <-seen }
}

func build(tb testing.TB, config string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, webhook.Kind(), config, destinationtest.Deps(tb))
}

// send sends a request to a destination of the configuration, in which URL
// stands for the receiver, and returns what arrived.
func send(tb testing.TB, config string, r *destination.Request) received {
	tb.Helper()
	url, last := receiver(tb, nil)
	if _, err := build(tb, strings.ReplaceAll(config, "URL", url)).Do(tb.Context(), r); err != nil {
		tb.Fatalf("Do: %v", err)
	}
	return last()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, suite := range map[string]destinationtest.Suite{
		"credentials in the URL": {
			Config: func(url string) string {
				url = strings.Replace(url, "://", "://us3r-in-url:p4ss-in-url@", 1)
				return fmt.Sprintf(`{"url": %q, "signing": {"secrets": [%q, %q]}}`,
					url+"/in?token=t0ken-in-query&x=a%20s3cret%2Fb", secretOne, secretTwo)
			},
			Secrets: []string{
				"us3r-in-url", "p4ss-in-url", "t0ken-in-query", "a%20s3cret%2Fb", "a s3cret/b",
				secretOne, secretTwo, strings.TrimPrefix(secretOne, "whsec_"), "dXMzci1pbi11cmw6cDRzcy1pbi11cmw=",
			},
		},
		"bearer and headers": {
			Config: func(url string) string {
				return fmt.Sprintf(`{"url": %q, "auth": {"bearer": "b3arer-token"},
					"headers": {"X-Token": "h3ader-token", "X-Team": "platform"},
					"signing": {"scheme": "hmac", "secrets": ["hm4c-secret"], "hmac": {"header": "X-Signature"}}}`, url)
			},
			Secrets: []string{"b3arer-token", "h3ader-token", "hm4c-secret"},
		},
		"basic": {
			Config: func(url string) string {
				return fmt.Sprintf(`{"url": %q, "method": "PUT", "auth": {"basic": {"username": "me", "password": "p4ssword"}}}`, url)
			},
			Secrets: []string{"p4ssword", "bWU6cDRzc3dvcmQ="},
		},
		"API key in the query": {
			Config: func(url string) string {
				return fmt.Sprintf(`{"url": %q, "auth": {"api_key": {"query": "key", "value": "k3y in query"}}}`, url)
			},
			Secrets: []string{"k3y in query", "k3y+in+query", "k3y%20in%20query"},
		},
	} {
		suite.Kind = webhook.Kind()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			destinationtest.Run(t, suite)
		})
	}
}

func TestRequestsAreWhatTheReceiverExpects(t *testing.T) {
	t.Parallel()
	request := destinationtest.Request(`{"a": 1}`)
	request.Time = time.Unix(1_700_000_000, 999)
	got := send(t, `{"url": "URL/in?x=1", "headers": {"x-team": "platform"}}`, request)
	want := http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {"8"}, "User-Agent": {"Grapnel/0.0.0-test"},
		"Webhook-Id": {request.ID}, "Webhook-Timestamp": {"1700000000"}, "X-Team": {"platform"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/in?x=1" || string(got.body) != `{"a": 1}` {
		t.Errorf("%s %s %q", got.Method, got.RequestURI, got.body)
	}

	request.ContentType = "application/xml; charset=utf-8"
	if got := send(t, `{"url": "URL"}`, request).Header.Get("Content-Type"); got != request.ContentType {
		t.Errorf("content type %q, want that of the request", got)
	}
	request.ContentType = ""
	if got := send(t, `{"url": "URL"}`, request).Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q, want application/json", got)
	}
	got = send(t, `{"url": "URL", "headers": {"Content-Type": "text/plain", "User-Agent": "mine", "X-Idempotency-Key": "k"}}`, request)
	if h := got.Header; h.Get("Content-Type") != "text/plain" || h.Get("User-Agent") != "mine" || h.Get("X-Idempotency-Key") != "k" {
		t.Errorf("headers %v, want those of the configuration", h)
	}
}

func TestEveryMethodIsSent(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"} {
		got := send(t, fmt.Sprintf(`{"url": "URL", "method": %q, "signing": {"secrets": [%q]}}`, method, secretOne),
			destinationtest.Request(`{"a":1}`))
		want := `{"a":1}`
		if method == http.MethodGet || method == http.MethodHead {
			want = ""
		}
		if got.Method != method || string(got.body) != want || (want == "" && got.Header.Get("Content-Type") != "") {
			t.Errorf("%s arrived as %s with %q", method, got.Method, got.body)
		}
		verify(t, got, secretOne)
	}
}

func TestBodiesArriveByteForByte(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}\r\n", "\xff\x00\xfe", strings.Repeat("x", 3<<20)} {
		got := send(t, `{"url": "URL"}`, destinationtest.Request(body))
		if string(got.body) != body {
			t.Errorf("%d bytes arrived changed as %d", len(body), len(got.body))
		}
	}
}

func verify(tb testing.TB, got received, secret string) {
	tb.Helper()
	v, err := signature.New("standard-webhooks", signature.Secrets(secret))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := v.Verify(signature.NewRequest(got.Request, got.body), time.Now()); err != nil {
		tb.Errorf("verifying the signature: %v", err)
	}
}

func TestStandardWebhooksAreSignedByAllSecrets(t *testing.T) {
	t.Parallel()
	got := send(t, fmt.Sprintf(`{"url": "URL", "signing": {"secrets": [%q, %q]}}`, secretOne, secretTwo),
		destinationtest.Request(`{"a":1}`))
	if n := len(strings.Fields(got.Header.Get("Webhook-Signature"))); n != 2 {
		t.Errorf("%d signatures, want one for each secret", n)
	}
	verify(t, got, secretOne)
	verify(t, got, secretTwo)
	unsigned := send(t, `{"url": "URL", "signing": {"scheme": "none"}}`, destinationtest.Request(`{"a":1}`))
	if _, ok := unsigned.Header["Webhook-Signature"]; ok || unsigned.Header.Get("Webhook-Id") == "" {
		t.Errorf("headers of an unsigned request: %v", unsigned.Header)
	}
}

func TestHMACSchemesAreTheirParameters(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		config, provider, secret string
		header                   string // copied from the request, for the verifier
	}{
		"GitHub": {
			config:   `"secrets": ["s3cret"], "hmac": {"header": "X-Hub-Signature-256", "prefix": "sha256="}`,
			provider: "github", secret: "s3cret",
		},
		"Shopify": {
			config:   `"secrets": ["s3cret"], "hmac": {"header": "X-Shopify-Hmac-Sha256", "encoding": "base64"}`,
			provider: "shopify", secret: "s3cret",
		},
		"Vercel": {
			config:   `"secrets": ["s3cret"], "hmac": {"header": "X-Vercel-Signature", "algorithm": "sha1"}`,
			provider: "vercel", secret: "s3cret",
		},
		"Slack": {
			config: `"secrets": ["s3cret"], "hmac": {"header": "X-Slack-Signature", "prefix": "v0=",
				"content": "v0:{ts}:{body}", "timestamp_header": "X-Slack-Request-Timestamp"}`,
			provider: "slack", secret: "s3cret",
		},
		"PagerDuty, the second secret": {
			config: `"secrets": ["s3cret", "0ther"], "hmac": {"header": "X-PagerDuty-Signature", "prefix": "v1=",
				"separator": ","}`,
			provider: "pagerduty", secret: "0ther",
		},
		"Standard Webhooks by hand": { //nolint:gosec // G101: made up for the test
			config: `"secrets": ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "hmac": {"header": "Webhook-Signature", "prefix": "v1,",
				"encoding": "base64", "key": "base64", "content": "{header:Webhook-Id}.{ts}.{body}",
				"timestamp_header": "Webhook-Timestamp"}`,
			provider: "standard-webhooks", secret: secretOne,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, `{"url": "URL/in", "signing": {"scheme": "hmac", `+row.config+`}}`, destinationtest.Request(`{"a":1}`))
			v, err := signature.New(row.provider, signature.Secrets(row.secret))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(signature.NewRequest(got.Request, got.body), time.Now()); err != nil {
				t.Errorf("verifying: %v; headers %v", err, got.Header)
			}
		})
	}
}

func TestCredentialsAreSent(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{ //nolint:gosec // G101: made up for the test
		`"url": "URL", "auth": {"bearer": "t0k"}`:                                             "Bearer t0k",
		`"url": "URL", "auth": {"basic": {"username": "Aladdin", "password": "open:sesame"}}`: "Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==",
	} {
		if got := send(t, "{"+config+"}", destinationtest.Request(`{}`)).Header.Get("Authorization"); got != want {
			t.Errorf("%s: Authorization %q, want %q", config, got, want)
		}
	}
	url, last := receiver(t, nil)
	in := strings.Replace(url, "://", "://us%40er:p%3Aw@", 1)
	if _, err := build(t, `{"url": "`+in+`/x"}`).Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
		t.Fatal(err)
	}
	got := last()
	if user, password, _ := got.BasicAuth(); user != "us@er" || password != "p:w" || got.RequestURI != "/x" {
		t.Errorf("credentials of the URL arrived as %q, %q at %s", user, password, got.RequestURI)
	}
	r := send(t, `{"url": "URL", "auth": {"api_key": {"header": "x-api-key", "value": "k3y"}}}`, destinationtest.Request(`{}`))
	if got := r.Header.Get("X-Api-Key"); got != "k3y" {
		t.Errorf("API key in the header: %q", got)
	}
	r = send(t, `{"url": "URL/a?b=c%20d", "auth": {"api_key": {"query": "k", "value": "1&2"}}}`, destinationtest.Request(`{}`))
	if r.RequestURI != "/a?b=c%20d&k=1%262" {
		t.Errorf("API key in the query: %s", r.RequestURI)
	}
}

func TestAnswersAreReadAsFarAsTheyAreWanted(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20_000)
	for _, row := range []struct {
		body      string
		want      int
		chunked   bool
		truncated bool
	}{
		{"", 100, false, false},
		{"short", 100, false, false},
		{"short", 5, false, false},
		{"short", 5, true, false},
		{"short", 4, false, true},
		{"short", 4, true, true},
		{"short", 0, false, true},
		{"short", 0, true, true},
		{"", 0, true, false},
		{long, 1000, false, true},
		{long, 1000, true, true},
		{long, len(long), true, false},
		{long, 1 << 30, false, false},
	} {
		url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Answer", "yes")
			if row.chunked {
				w.WriteHeader(http.StatusAccepted)
				_ = http.NewResponseController(w).Flush()
			}
			_, _ = io.WriteString(w, row.body)
		})
		request := destinationtest.Request(`{}`)
		request.WantBody = row.want
		resp, err := build(t, `{"url": "`+url+`"}`).Do(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if want := row.body[:min(len(row.body), row.want)]; string(resp.Body) != want || resp.Truncated != row.truncated {
			t.Errorf("of %d bytes (chunked %t) %d wanted: got %d, truncated %t, want truncated %t", len(row.body),
				row.chunked, row.want, len(resp.Body), resp.Truncated, row.truncated)
		}
		if resp.Header.Get("X-Answer") != "yes" {
			t.Errorf("header %v", resp.Header)
		}
	}
}

func TestConnectionsSurviveAnswersNobodyReads(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 4000, 40_000} {
		clients := make(chan string, 100)
		url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			clients <- r.RemoteAddr
			_, _ = w.Write(make([]byte, size))
		})
		d := build(t, `{"url": "`+url+`"}`)
		request := destinationtest.Request(`{}`)
		request.WantBody = 4
		for range 10 {
			if _, err := d.Do(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		}
		close(clients)
		used := maps.Collect(func(yield func(string, bool) bool) {
			for c := range clients {
				yield(c, true)
			}
		})
		if len(used) > 2 {
			t.Errorf("answers of %d bytes: 10 requests took %d connections, want 1", size, len(used))
		}
	}
}

func TestNothingIsInflated(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	url, last := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	request := destinationtest.Request(`{}`)
	request.WantBody = 1 << 20
	resp, err := build(t, `{"url": "`+url+`"}`).Do(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(resp.Body, bomb.Bytes()) || last().Header.Get("Accept-Encoding") != "" {
		t.Errorf("%d bytes, want the %d that were sent", len(resp.Body), bomb.Len())
	}
}

func TestAStatusThatArrivedCounts(t *testing.T) {
	t.Parallel()
	url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half of")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, err := build(t, `{"url": "`+url+`"}`).Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil || string(resp.Body) != "half of" || !resp.Truncated {
		t.Errorf("Do = %+v, %v, want success with what arrived", resp, err)
	}
}

// A receiver that accepts and then dawdles has accepted: trying again would
// deliver twice. The same goes for a shutdown in the middle of its answer.
func TestAStatusThatArrivedOutlivesTheContext(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 2)
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half of")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
	d := build(t, `{"url": "`+url+`"}`)
	late, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	resp, err := d.Do(late, destinationtest.Request(`{}`))
	if err != nil || string(resp.Body) != "half of" || !resp.Truncated {
		t.Errorf("deadline: Do = %+v, %v, want success with what arrived", resp, err)
	}
	<-begun
	stopped, stop := context.WithTimeout(t.Context(), time.Minute)
	go func() {
		<-begun
		// The header may still be on its way to the client: only its arrival counts.
		time.AfterFunc(100*time.Millisecond, stop)
	}()
	if resp, err := d.Do(stopped, destinationtest.Request(`{}`)); err != nil || !resp.Truncated {
		t.Errorf("canceled: Do = %+v, %v, want success with what arrived", resp, err)
	}
}

func TestARequestThatCannotBeSignedIsNotSent(t *testing.T) {
	t.Parallel()
	url, _ := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	request := destinationtest.Request(`{}`)
	request.ID = "with.dot" // delimits the signed text
	_, err := build(t, fmt.Sprintf(`{"url": %q, "signing": {"secrets": [%q]}}`, url, secretOne)).Do(t.Context(), request)
	if got := destinationtest.Failed(t, err); got.Class != destination.InternalError {
		t.Errorf("class %s, want internal", got.Class)
	}
}

// The connection that the first request used is closed by the server without a
// word, as load balancers do. The second request must not notice.
func TestAClosedIdleConnectionCostsNoAttempt(t *testing.T) {
	t.Parallel()
	var ids []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ids = append(ids, r.Header.Get("Webhook-Id"))
	}))
	defer s.Close()
	d := build(t, `{"url": "`+s.URL+`"}`)
	for range 50 {
		if _, err := d.Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
			t.Fatalf("after %d requests: %v", len(ids), err)
		}
		s.CloseClientConnections()
	}
	if got := len(slices.Compact(ids)); got != 1 || len(ids) != 50 {
		t.Errorf("%d requests with %d ids", len(ids), got)
	}
}

func benchmarkReceiver(b *testing.B) string {
	b.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	b.Cleanup(s.Close)
	return s.URL
}

func BenchmarkDo(b *testing.B) {
	d := build(b, fmt.Sprintf(`{"url": %q, "signing": {"secrets": [%q]}}`, benchmarkReceiver(b), secretOne))
	body := strings.Repeat("x", 1024)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		request := destinationtest.Request(body)
		for pb.Next() {
			if _, err := d.Do(context.Background(), request); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkBareTransport is the limit: the same request, unsigned, by net/http.
func BenchmarkBareTransport(b *testing.B) {
	url := benchmarkReceiver(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	body := []byte(strings.Repeat("x", 1024))
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				continue
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				b.Error(err)
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
