package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/ingest"
	"github.com/grapnel/grapnel/internal/store"
)

func mac64(content string) string {
	h := hmac.New(sha256.New, []byte(testSecret))
	h.Write([]byte(content))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func prefixes(tb testing.TB, texts ...string) []netip.Prefix {
	tb.Helper()
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// sendFrom sends a request as if it came from the peer.
func (b *bundle) sendFrom(t *testing.T, peer string, c call) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, strings.NewReader(c.body))
	r.RemoteAddr = peer
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// TestAllowIPsFollowsTheVectors runs the vectors of the mechanism ip against a
// source with allow_ips.
func TestAllowIPsFollowsTheVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../signature/testdata/signature-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct {
			ID, Mechanism, Body, Reason string
			Headers, Params             json.RawMessage
			Valid                       bool
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, v := range file.Vectors {
		if v.Mechanism != "ip" {
			continue
		}
		ran++
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			var params struct {
				Remote  string         `json:"remote_addr"`
				Allow   []netip.Prefix `json:"allow"`
				Proxies []netip.Prefix `json:"trusted_proxies"`
			}
			var headers map[string]string
			if err := errors.Join(json.Unmarshal(v.Params, &params), json.Unmarshal(v.Headers, &headers)); err != nil {
				t.Fatal(err)
			}
			b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.AllowIPs = params.Allow }))
			b.Trust(params.Proxies)
			request := github(v.Body, "d-1")
			maps.Copy(request.header, headers)
			want := 200
			if !v.Valid {
				want = 403
			}
			if r := b.sendFrom(t, params.Remote, request); r.StatusCode != want {
				t.Errorf("answered %d, want %d", r.StatusCode, want)
			}
			if kept := b.Refusals("", true); !v.Valid && (len(kept) != 1 || kept[0].Reason != v.Reason) {
				t.Errorf("kept %+v, want reason %s", kept, v.Reason)
			}
		})
	}
	if ran < 5 {
		t.Errorf("found %d vectors", ran)
	}
}

func TestTheClientBehindProxies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer string
		xff  []string
		want string // remote address that is stored
	}{
		"no proxy":               {"198.51.100.1:5", nil, "198.51.100.1:5"},
		"spoofed by a stranger":  {"198.51.100.1:5", []string{"192.0.2.1"}, "198.51.100.1:5"},
		"one proxy":              {"10.0.0.1:5", []string{"192.0.2.1"}, "192.0.2.1"},
		"spoofed through proxy":  {"10.0.0.1:5", []string{"127.0.0.1, 192.0.2.1"}, "192.0.2.1"},
		"two proxies":            {"10.0.0.1:5", []string{"192.0.2.1, 10.0.0.2"}, "192.0.2.1"},
		"two lines":              {"10.0.0.1:5", []string{"1.1.1.1", "192.0.2.1,10.0.0.2"}, "192.0.2.1"},
		"with a port":            {"10.0.0.1:5", []string{"192.0.2.1:77"}, "192.0.2.1"},
		"IPv6 with port":         {"10.0.0.1:5", []string{"[2001:db8::1]:77"}, "2001:db8::1"},
		"no header":              {"10.0.0.1:5", nil, "10.0.0.1"},
		"only proxies":           {"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"a hop that is nothing":  {"10.0.0.1:5", []string{"192.0.2.1, _hidden"}, "unknown"},
		"empty elements":         {"10.0.0.1:5", []string{"192.0.2.1, ,"}, "192.0.2.1"},
		"IPv4-mapped proxy":      {"[::ffff:10.0.0.1]:5", []string{"192.0.2.1"}, "192.0.2.1"},
		"zone of a local sender": {"[fe80::1%eth0]:5", nil, "[fe80::1%eth0]:5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "github", "github"))
			b.Trust(prefixes(t, "::ffff:10.0.0.0/104"))
			request := github(`{}`, "d-1")
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, request.path, strings.NewReader(request.body))
			for k, v := range request.header {
				r.Header.Set(k, v)
			}
			r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.xff
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Fatalf("answered %d", w.Code)
			}
			if got := b.journal.all()[0].Raw.RemoteAddr; got != c.want {
				t.Errorf("stored remote address %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheSignedURLIsThatOfTheTrustedProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer, public, host, proto string
		want                      string
	}{
		"of the proxy":         {"10.0.0.1:5", "", "hooks.example.com", "https", "https://hooks.example.com/in/square"},
		"scheme only":          {"10.0.0.1:5", "", "", "https", "https://example.com/in/square"},
		"last one counts":      {"10.0.0.1:5", "", "evil.example, hooks.example.com", "http,https", "https://hooks.example.com/in/square"},
		"not from a stranger":  {"192.0.2.1:5", "", "hooks.example.com", "https", "http://example.com/in/square"},
		"not against the file": {"10.0.0.1:5", "https://real.example", "hooks.example.com", "http", "https://real.example/in/square"},
		"no such scheme":       {"10.0.0.1:5", "", "", "gopher", "http://example.com/in/square"},
		"no such host":         {"10.0.0.1:5", "", "a/b", "https", "https://example.com/in/square"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "square", "square", func(s *ingest.Source) { s.PublicURL = c.public }))
			b.Trust(prefixes(t, "10.0.0.0/8"))
			request := call{path: "/in/square", body: `{}`, header: map[string]string{
				"X-Square-Hmacsha256-Signature": mac64(c.want + `{}`),
			}}
			if c.host != "" {
				request.header["X-Forwarded-Host"] = c.host
			}
			if c.proto != "" {
				request.header["X-Forwarded-Proto"] = c.proto
			}
			if r := b.sendFrom(t, c.peer, request); r.StatusCode != 200 {
				t.Errorf("a signature over %s was answered %d: %s", c.want, r.StatusCode, b.Refusals("", true)[0].Detail)
			}
		})
	}
}

func TestTheEleventhRequestOfAMinuteIsOneTooMany(t *testing.T) {
	t.Parallel()
	now := testNow
	s := source(t, "github", "github", func(s *ingest.Source) {
		s.AddressRates = []ingest.AddressRate{{Count: 10, Per: time.Minute}, {Count: 15, Per: time.Hour}}
	})
	b := newBundle(t)
	b.Ingest = ingest.New(ingest.Config{
		Publisher: b.journal, Metrics: b.counts, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	b.Configure([]ingest.Source{s})
	n := 0
	send := func(peer string) answer {
		n++
		return b.sendFrom(t, peer, github(`{}`, fmt.Sprintf("d-%d", n)))
	}
	for i := range 10 {
		if r := send(fmt.Sprintf("192.0.2.1:%d", i+1)); r.StatusCode != 200 {
			t.Fatalf("request %d was answered %d", i+1, r.StatusCode)
		}
		now = now.Add(5 * time.Second)
	}
	if r := send("192.0.2.1:99"); r.StatusCode != 429 || r.Header.Get("Retry-After") != "10" {
		t.Errorf("the eleventh was answered %d, Retry-After %q, want 429 and 10", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if r := send("192.0.2.2:99"); r.StatusCode != 200 {
		t.Errorf("another address was answered %d", r.StatusCode)
	}
	b.Configure([]ingest.Source{s}) // a reload forgets nothing
	if r := send("192.0.2.1:99"); r.StatusCode != 429 {
		t.Errorf("after a reload: %d", r.StatusCode)
	}
	now = now.Add(10 * time.Second)
	for i := range 5 {
		if r := send("192.0.2.1:99"); r.StatusCode != 200 {
			t.Fatalf("in the next minute, request %d was answered %d", i+1, r.StatusCode)
		}
	}
	if r := send("192.0.2.1:99"); r.StatusCode != 429 || r.Header.Get("Retry-After") != "3540" {
		t.Errorf("over the hour's: %d, Retry-After %q, want 429 and 3540", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if kept := b.Refusals("github", false); len(kept) != 3 || kept[0].Reason != ingest.ReasonRate || kept[0].Hint == "" {
		t.Errorf("kept %+v", kept)
	}
}

func TestIPv6IsCountedByNetwork(t *testing.T) {
	t.Parallel()
	b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) {
		s.AddressRates = []ingest.AddressRate{{Count: 1, Per: time.Minute}}
	}))
	for i, c := range []struct {
		peer string
		want int
	}{
		{"[2001:db8:0:1::1]:5", 200},
		{"[2001:db8:0:1:ffff::2]:5", 429},
		{"[2001:db8:0:2::1]:5", 200},
		{"192.0.2.1:5", 200},
		{"[::ffff:192.0.2.1]:5", 429},
		{"[::ffff:192.0.2.2]:5", 200},
	} {
		if r := b.sendFrom(t, c.peer, github(`{}`, strconv.Itoa(i))); r.StatusCode != c.want {
			t.Errorf("%s was answered %d, want %d", c.peer, r.StatusCode, c.want)
		}
	}
}

// TestTheAddressRateIsAskedBeforeTheBodyIsRead sends a body that fails the test
// when it is touched.
func TestTheAddressRateIsAskedBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ingest.Source){
		"rate":      func(s *ingest.Source) { s.AddressRates = []ingest.AddressRate{{Count: 1, Per: time.Minute}} },
		"allow_ips": func(s *ingest.Source) { s.AllowIPs = prefixes(t, "198.51.100.0/24") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "github", "github", change))
			b.sendFrom(t, "192.0.2.1:5", github(`{}`, "d-1"))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/in/github", untouchable{t})
			r.RemoteAddr = "192.0.2.1:6"
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != 429 && w.Code != 403 {
				t.Errorf("answered %d", w.Code)
			}
		})
	}
}

type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// TestManyAddressesTakeNoMoreMemory sends from more addresses than are
// remembered, while one address is over its rate.
func TestManyAddressesTakeNoMoreMemory(t *testing.T) {
	t.Parallel()
	limiter := ingest.NewAddressLimiter([]ingest.AddressRate{{Count: 2, Per: time.Hour}})
	busy := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		limiter.Take(busy, testNow)
	}
	for i := range 100_000 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i)})
		if wait := limiter.Take(addr, testNow); wait != 0 {
			t.Fatalf("address %d has to wait %s for its first request", i, wait)
		}
		// Who keeps asking is not forgotten, however many others there are.
		if wait := limiter.Take(busy, testNow); i%100 == 0 && wait != time.Hour {
			t.Fatalf("after %d other addresses the busy one waits %s, want an hour", i, wait)
		}
	}
	if n := limiter.Len(); n > ingest.AddressEntries || n < ingest.AddressEntries*9/10 {
		t.Errorf("%d addresses are remembered, want up to %d", n, ingest.AddressEntries)
	}
}

func TestMoreThanMaxInFlightIsToldToRetry(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	hold := &holding{started: make(chan struct{}, 2), release: make(chan struct{})}
	b.Ingest = ingest.New(ingest.Config{
		Publisher: hold, Metrics: b.counts, Now: func() time.Time { return testNow }, Log: slog.New(slog.DiscardHandler),
	})
	limited := source(t, "github", "github", func(s *ingest.Source) { s.MaxInFlight = 2 })
	b.Configure([]ingest.Source{limited, source(t, "other", "github")})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if r := b.do(t, github(`{}`, strconv.Itoa(i))); r.StatusCode != 200 {
				t.Errorf("request %d was answered %d", i, r.StatusCode)
			}
		})
		<-hold.started
	}
	b.Configure([]ingest.Source{limited, source(t, "other", "github")}) // a reload forgets nothing
	if r := b.do(t, github(`{}`, "x")); r.StatusCode != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("the third was answered %d", r.StatusCode)
	}
	if kept := b.Refusals("github", false); len(kept) != 1 || kept[0].Reason != ingest.ReasonInFlight {
		t.Errorf("kept %+v", kept)
	}
	close(hold.release)
	wg.Wait()
	if r := b.do(t, github(`{}`, "y")); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

// holding publishes when it is released.
type holding struct{ started, release chan struct{} }

func (h *holding) Publish(context.Context, *store.Batch) error {
	select {
	case h.started <- struct{}{}:
	default:
	}
	<-h.release
	return nil
}

func TestSourcesAtOnePathAreToldApartByHost(t *testing.T) {
	t.Parallel()
	at := func(name, host string) ingest.Source {
		return source(t, name, "github", func(s *ingest.Source) { s.Path, s.Host = "/in/github", host })
	}
	b := newBundle(t, at("any", ""), at("one", "one.example.com"), at("two", "two.example.com"))
	for host, want := range map[string]string{
		"one.example.com": "one", "TWO.example.com:8443": "two", "two.example.com.": "two",
		"three.example.com": "any", "[2001:db8::1]:80": "any",
	} {
		request := github(`{}`, host)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, request.path, strings.NewReader(request.body))
		r.Host = host
		for k, v := range request.header {
			r.Header.Set(k, v)
		}
		b.ServeHTTP(httptest.NewRecorder(), r)
		events := b.journal.all()
		if got := events[len(events)-1].Endpoint; got != want {
			t.Errorf("host %s reached %s, want %s", host, got, want)
		}
	}
	b = newBundle(t, at("one", "one.example.com"))
	if r := b.do(t, github(`{}`, "d")); r.StatusCode != 404 {
		t.Errorf("another host was answered %d, want 404", r.StatusCode)
	}
}

func zip(tb testing.TB, content string) string {
	tb.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := io.WriteString(w, content); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.String()
}

func TestEncodedBodies(t *testing.T) {
	t.Parallel()
	zipped := zip(t, `{"a":1}`)
	decoding := func(s *ingest.Source) { s.Encodings = []string{ingest.EncodingGzip} }
	opaque := func(*ingest.Source) {}
	for name, c := range map[string]struct {
		change         func(*ingest.Source)
		encoding, body string
		status         int
		want           string // detail, or reason
	}{
		"decoded":            {decoding, "gzip", zipped, 200, `{"a":1}`},
		"decoded, old name":  {decoding, "X-Gzip", zipped, 200, `{"a":1}`},
		"plain where taken":  {decoding, "", `{"a":1}`, 200, `{"a":1}`},
		"identity":           {opaque, "identity", `{"a":1}`, 200, `{"a":1}`},
		"opaque":             {opaque, "gzip", "\x1f\x8b", 200, `{"body_base64":"H4s=","content_encoding":"gzip","content_type":"application/json"}`},
		"opaque, looks good": {opaque, "br", `{}`, 200, `{"body_base64":"e30=","content_encoding":"br","content_type":"application/json"}`},
		"another encoding":   {decoding, "br", `{}`, 200, `{"body_base64":"e30=","content_encoding":"br","content_type":"application/json"}`},
		"encoded twice":      {decoding, "gzip, gzip", "x", 200, `{"body_base64":"eA==","content_encoding":"gzip, gzip","content_type":"application/json"}`},
		"not gzip":           {decoding, "gzip", `{"a":1}`, 400, "bad_encoding"},
		"cut off":            {decoding, "gzip", zipped[:len(zipped)-5], 400, "bad_encoding"},
		"bomb":               {decoding, "gzip", zip(t, strings.Repeat(" ", 2<<20)), 413, "body_too_large"},
		"two members bomb":   {decoding, "gzip", strings.Repeat(zip(t, strings.Repeat(" ", 600<<10)), 2), 413, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, source(t, "github", "github", c.change))
			request := github(c.body, "d-1") // signed over the bytes on the wire
			if c.encoding != "" {
				request.header["Content-Encoding"] = c.encoding
			}
			if r := b.do(t, request); r.StatusCode != c.status {
				t.Fatalf("answered %d, want %d", r.StatusCode, c.status)
			}
			if c.status != 200 {
				if kept := b.Refusals("github", false); kept[0].Reason != c.want {
					t.Errorf("reason %s, want %s", kept[0].Reason, c.want)
				}
				return
			}
			ev := b.journal.all()[0]
			if got := string(ev.Envelope.Detail); got != c.want || string(ev.Raw.Body) != c.body {
				t.Errorf("detail %s, want %s; raw body %q", got, c.want, ev.Raw.Body)
			}
			if ev.DetailIsBody && string(ev.Envelope.Detail) != string(ev.Raw.Body) {
				t.Error("the detail is said to be the body, and is not")
			}
			forged := request
			forged.body = zip(t, `{"a":2}`)
			if r := b.do(t, forged); r.StatusCode != 401 {
				t.Errorf("a forged body was answered %d", r.StatusCode)
			}
		})
	}
}

func FuzzClientBehindProxies(f *testing.F) {
	f.Add("10.0.0.1:5", "192.0.2.1, 10.0.0.2")
	f.Add("[::ffff:10.0.0.1]:5", "[2001:db8::1]:5,,")
	f.Add("192.0.2.1:5", "10.0.0.1")
	trusted := prefixes(f, "10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, peer, xff string) {
		b := newBundle(t, source(t, "github", "github", func(s *ingest.Source) { s.AllowIPs = prefixes(t, "192.0.2.0/24") }))
		b.Trust(trusted)
		request := github(`{}`, "d-1")
		request.header["X-Forwarded-For"] = xff
		r := b.sendFrom(t, peer, request)
		at, err := netip.ParseAddrPort(peer)
		inside := err == nil && prefixes(t, "192.0.2.0/24")[0].Contains(at.Addr().Unmap())
		proxy := err == nil && (trusted[0].Contains(at.Addr().Unmap()) || trusted[1].Contains(at.Addr().WithZone("")))
		if r.StatusCode == 200 && !inside && !proxy && err == nil {
			t.Errorf("peer %q with X-Forwarded-For %q was let in", peer, xff)
		}
	})
}

func BenchmarkAddressLimiter(b *testing.B) {
	limiter := ingest.NewAddressLimiter([]ingest.AddressRate{{Count: 10, Per: time.Minute}, {Count: 100, Per: time.Hour}})
	b.ReportAllocs()
	i := uint32(0)
	for b.Loop() {
		i++
		limiter.Take(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), testNow)
	}
}
