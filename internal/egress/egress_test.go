package egress_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// listen returns a server on the address that counts its connections.
func listen(tb testing.TB, address string, h http.Handler) (*httptest.Server, *atomic.Int64) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close() // replaced
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	tb.Cleanup(s.Close)
	return s, &conns
}

func answering(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func port(tb testing.TB, s *httptest.Server) string {
	tb.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatal(err)
	}
	return u.Port()
}

// get makes one request with the transport and returns the body.
func get(tb testing.TB, rt http.RoundTripper, target string) (string, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func transport(tb testing.TB, n *egress.Network, o egress.Options) *http.Transport {
	tb.Helper()
	tr := n.Transport(o)
	tb.Cleanup(tr.CloseIdleConnections)
	return tr
}

// wantBlocked returns the name and the address that were blocked.
func wantBlocked(t *testing.T, err error) (host, addr string) {
	t.Helper()
	blocked, ok := errors.AsType[*egress.BlockedError](err)
	if !ok || egress.Classify(err) != egress.Blocked {
		t.Fatalf("error = %v (%s), want a BlockedError", err, egress.Classify(err))
	}
	return blocked.Host, blocked.Addr.String()
}

func TestNothingPrivateIsReachedByDefault(t *testing.T) {
	t.Parallel()
	server, conns := listen(t, "127.0.0.1:0", answering("inside"))
	names := &nameServer{answers: map[string][][]netip.Addr{
		"inside.test": {addrs("127.0.0.1")}, "mapped.test": {addrs("::ffff:127.0.0.1")},
	}}
	tr := transport(t, egress.New(egress.Config{Resolver: names.resolver()}), egress.Options{})
	for _, host := range []string{
		"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "inside.test", "mapped.test", "0.0.0.0", "[::]",
	} {
		_, err := get(t, tr, "http://"+host+":"+port(t, server))
		wantBlocked(t, err)
		_, err = get(t, tr, "https://"+host+":"+port(t, server))
		wantBlocked(t, err)
	}
	if n := conns.Load(); n != 0 {
		t.Errorf("%d connections were made, want 0", n)
	}
}

// 127.0.0.2 plays the public address here, 127.0.0.1 the private one.
func TestNamesThatChangeTheirMindAreCaught(t *testing.T) {
	t.Parallel()
	inside, insideConns := listen(t, "127.0.0.1:0", answering("inside"))
	listen(t, "127.0.0.2:"+port(t, inside), answering("outside"))
	names := &nameServer{answers: map[string][][]netip.Addr{
		"rebind.test": {addrs("127.0.0.2"), addrs("127.0.0.1")},
	}}
	network := egress.New(egress.Config{Allow: prefixes(t, "127.0.0.2/32"), Resolver: names.resolver()})
	tr := transport(t, network, egress.Options{})
	target := "http://rebind.test:" + port(t, inside)

	if body, err := get(t, tr, target); err != nil || body != "outside" {
		t.Fatalf("first request = %q, %v", body, err)
	}
	if body, err := get(t, tr, target); err != nil || body != "outside" {
		t.Fatalf("request on the kept connection = %q, %v", body, err)
	}
	tr.CloseIdleConnections()
	_, err := get(t, tr, target)
	if host, addr := wantBlocked(t, err); host != "rebind.test" || addr != "127.0.0.1" {
		t.Errorf("%s at %s was blocked, want rebind.test at 127.0.0.1", host, addr)
	}
	if n := names.asked(); n != 2 {
		t.Errorf("%d lookups, want 2: one for each connection", n)
	}
	if n := insideConns.Load(); n != 0 {
		t.Errorf("the private address saw %d connections", n)
	}
}

func TestOfSeveralAddressesOnlyThoseAllowedAreDialed(t *testing.T) {
	t.Parallel()
	inside, insideConns := listen(t, "127.0.0.1:0", answering("inside"))
	listen(t, "127.0.0.2:"+port(t, inside), answering("outside"))
	names := &nameServer{answers: map[string][][]netip.Addr{
		"mixed.test": {addrs("127.0.0.1", "::1", "127.0.0.2")},
		"dead.test":  {addrs("127.0.0.1", "127.0.0.3")},
		"none.test":  {addrs("127.0.0.1", "::1", "10.0.0.1")},
	}}
	network := egress.New(egress.Config{
		Allow: prefixes(t, "127.0.0.2/32", "127.0.0.3/32"), Resolver: names.resolver(),
	})
	tr := transport(t, network, egress.Options{})
	if body, err := get(t, tr, "http://mixed.test:"+port(t, inside)); err != nil || body != "outside" {
		t.Errorf("a blocked and an open address: %q, %v, want the answer of the open one", body, err)
	}
	// What may be reached is down: that is no reason never to try again.
	_, err := get(t, tr, "http://dead.test:"+port(t, inside))
	if got := egress.Classify(err); got != egress.Refused {
		t.Errorf("a blocked and a dead address: %v (%s), want refused", err, got)
	}
	_, err = get(t, tr, "http://none.test:"+port(t, inside))
	wantBlocked(t, err)
	if n := insideConns.Load(); n != 0 {
		t.Errorf("the private address saw %d connections", n)
	}
}

func TestRedirectsAreReturnedNotFollowed(t *testing.T) {
	t.Parallel()
	server, conns := listen(t, "127.0.0.1:0", http.RedirectHandler("http://169.254.169.254/latest", http.StatusFound))
	client := egress.New(egress.Config{Allow: loopback}).Client(egress.Options{})
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusFound || conns.Load() != 1 {
		t.Errorf("status %d over %d connections, want 302 over 1", resp.StatusCode, conns.Load())
	}
}

func TestANarrowerListEndsOpenConnections(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	server, conns := listen(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	network := egress.New(egress.Config{Allow: loopback})
	tr := transport(t, network, egress.Options{})
	if _, err := get(t, tr, server.URL); err != nil {
		t.Fatal(err)
	}

	network.SetAllow(prefixes(t, "127.0.0.1/32")) // still allowed: the connection stays
	if _, err := get(t, tr, server.URL); err != nil || conns.Load() != 1 {
		t.Fatalf("after a change that still allows it: %v over %d connections, want 1", err, conns.Load())
	}

	slow := make(chan error)
	go func() {
		_, err := get(t, tr, server.URL+"/slow")
		slow <- err
	}()
	<-begun
	network.SetAllow(nil)
	if err := <-slow; egress.Classify(err) != egress.Reset && egress.Classify(err) != egress.Blocked {
		t.Errorf("request in flight = %v (%s), want reset", err, egress.Classify(err))
	}
	_, err := get(t, tr, server.URL)
	wantBlocked(t, err)

	network.SetAllow(loopback)
	if _, err := get(t, tr, server.URL); err != nil {
		t.Errorf("after it was allowed again: %v", err)
	}
}

func TestManyRequestsReuseTheirConnections(t *testing.T) {
	t.Parallel()
	const workers, rounds = 16, 20
	server, conns := listen(t, "127.0.0.1:0", answering("ok"))
	tr := transport(t, egress.New(egress.Config{Allow: loopback}), egress.Options{IdlePerHost: workers})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				if _, err := get(t, tr, server.URL); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// A worker may be faster than the return of its connection to the pool.
	if n := conns.Load(); n > 2*workers {
		t.Errorf("%d connections for %d requests of %d workers", n, workers*rounds, workers)
	}
}

func TestTransportAsksForNoCompressionAndUsesNoProxy(t *testing.T) {
	t.Parallel()
	server, _ := listen(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if len(r.Header.Values("Accept-Encoding")) == 0 {
			_, _ = io.WriteString(w, "none was asked for")
		}
	}))
	tr := transport(t, egress.New(egress.Config{Allow: loopback}), egress.Options{})
	if body, err := get(t, tr, server.URL); err != nil || body != "none was asked for" {
		t.Errorf("body %q, %v, want no Accept-Encoding and the body as it was sent", body, err)
	}
	if tr.Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			_, _ = io.WriteString(w, "two")
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	tr := transport(t, egress.New(egress.Config{Allow: loopback}), egress.Options{RootCAs: roots})
	if body, err := get(t, tr, server.URL); err != nil || body != "two" {
		t.Errorf("body %q, %v, want it over HTTP/2", body, err)
	}
}

func TestAlsoOpensAddressesForOneTransportOnly(t *testing.T) {
	t.Parallel()
	server, _ := listen(t, "127.0.0.1:0", answering("inside"))
	network := egress.New(egress.Config{})
	own := transport(t, network, egress.Options{Also: prefixes(t, "127.0.0.1/32")})
	other := transport(t, network, egress.Options{})
	for range 2 {
		if _, err := get(t, own, server.URL); err != nil {
			t.Errorf("the transport that may reach it: %v", err)
		}
		_, err := get(t, other, server.URL)
		wantBlocked(t, err)
		network.SetAllow(nil) // ends nothing that Also opened
	}
	_, err := get(t, own, strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1))
	wantBlocked(t, err)
}

func TestUnixSocketsAreNotDialed(t *testing.T) {
	t.Parallel()
	tr := egress.New(egress.Config{Allow: loopback}).Transport(egress.Options{})
	_, err := tr.DialContext(t.Context(), "unix", t.TempDir()+"/s:1")
	wantBlocked(t, err)
	if _, err := tr.DialContext(t.Context(), "udp", "127.0.0.1:53"); err == nil {
		t.Error("a UDP socket was made")
	}
}

func BenchmarkCheck(b *testing.B) {
	network := egress.New(egress.Config{Allow: loopback})
	addr := netip.MustParseAddr("8.8.8.8")
	b.ReportAllocs()
	for b.Loop() {
		if err := network.Check("h", addr); err != nil {
			b.Fatal(err)
		}
	}
}
