package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
)

// raw serves each connection with the function and returns the host and port.
func raw(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// saying reads the header of one request, answers with the text and closes.
func saying(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		defer func() { _ = c.Close() }()
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, text)
	}
}

// hanging reads all and says nothing.
func hanging(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	_, _ = io.Copy(io.Discard, c)
}

func quietTLS(t *testing.T, change func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	change(s)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// known returns the roots that verify the server.
func known(s *httptest.Server) *x509.CertPool {
	return s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func TestFailuresOfRealConnectionsAreClassified(t *testing.T) {
	t.Parallel()
	names := &nameServer{answers: map[string][][]netip.Addr{
		"empty.test": {nil}, "other.test": {addrs("127.0.0.1")},
	}}
	broken := &nameServer{broken: true}
	plain, _ := listen(t, "127.0.0.1:0", answering("plain"))
	closed := raw(t, func(c *net.TCPConn) { _ = c.Close() })
	secure := quietTLS(t, func(*httptest.Server) {})
	for name, row := range map[string]struct {
		target string
		roots  *x509.CertPool
		names  *nameServer
		want   egress.Failure
	}{
		"nothing listens":            {target: "http://" + unused(t), want: egress.Refused},
		"nothing listens, https":     {target: "https://" + unused(t), want: egress.Refused},
		"closed at once":             {target: "http://" + closed, want: egress.Reset},
		"closed at once, https":      {target: "https://" + closed, want: egress.Reset},
		"reset":                      {target: "http://" + raw(t, reset), want: egress.Reset},
		"closed in the header":       {target: "http://" + raw(t, saying("HTTP/1.1 200 OK\r\nA: b")), want: egress.Reset},
		"reset by HTTP/2":            {target: secure.URL + "/abort", roots: known(secure), want: egress.Reset},
		"no such name":               {target: "http://missing.test", want: egress.DNSNotFound},
		"no address":                 {target: "http://empty.test", want: egress.DNSNotFound},
		"name server broken":         {target: "http://any.test", names: broken, want: egress.DNS},
		"silence":                    {target: "http://" + raw(t, hanging), want: egress.Timeout},
		"silence in the handshake":   {target: "https://" + raw(t, hanging), want: egress.Timeout},
		"unknown authority":          {target: secure.URL, want: egress.TLS},
		"certificate of another":     {target: strings.Replace(secure.URL, "127.0.0.1", "other.test", 1), roots: known(secure), want: egress.TLS},
		"garbage for a handshake":    {target: "https://" + raw(t, saying("\x00\x01garbage garbage")), want: egress.TLS},
		"plain HTTP behind https":    {target: strings.Replace(plain.URL, "http:", "https:", 1), want: egress.Protocol},
		"garbage":                    {target: "http://" + raw(t, saying("SSH-2.0-OpenSSH_9.2\r\n\r\n")), want: egress.Protocol},
		"binary garbage":             {target: "http://" + raw(t, saying("\x00\x01\x02\xff\xfe\r\n\r\n")), want: egress.Protocol},
		"header too long":            {target: "http://" + raw(t, saying("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("b", 70<<10)+"\r\n\r\n")), want: egress.Protocol},
		"bad length":                 {target: "http://" + raw(t, saying("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")), want: egress.Protocol},
		"blocked":                    {target: "http://10.0.0.1", want: egress.Blocked},
		"blocked, https":             {target: "https://[fd00:ec2::254]", want: egress.Blocked},
		"a port that does not exist": {target: "http://127.0.0.1:99999", want: egress.DNSNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.names == nil {
				row.names = names
			}
			network := egress.New(egress.Config{Allow: loopback, Resolver: row.names.resolver()})
			tr := transport(t, network, egress.Options{RootCAs: row.roots})
			limit := 20 * time.Second
			if row.want == egress.Timeout {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, row.target, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatalf("status %d, want an error", resp.StatusCode)
			}
			if got := egress.Classify(err); got != row.want {
				t.Errorf("Classify(%v) = %s, want %s (%#v)", err, got, row.want, err)
			}
		})
	}
}

// TLS 1.3 refuses a client after the client has finished its handshake.
func TestAMissingClientCertificateIsAFailureOfTLS(t *testing.T) {
	t.Parallel()
	mutual := quietTLS(t, func(s *httptest.Server) {
		s.EnableHTTP2 = false
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	})
	tr := transport(t, egress.New(egress.Config{Allow: loopback}), egress.Options{RootCAs: known(mutual)})
	_, err := get(t, tr, mutual.URL)
	if got := egress.Classify(err); got != egress.TLS {
		t.Errorf("Classify(%v) = %s, want tls", err, got)
	}
}

func reset(c *net.TCPConn) {
	_, _ = http.ReadRequest(bufio.NewReader(c))
	_ = c.SetLinger(0)
	_ = c.Close()
}

// unused returns an address on which nothing listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestLimitsOfConnectingAreTimeouts(t *testing.T) {
	t.Parallel()
	network := egress.New(egress.Config{Allow: loopback})
	tr := transport(t, network, egress.Options{HandshakeTimeout: 50 * time.Millisecond})
	_, err := get(t, tr, "https://"+raw(t, hanging))
	if got := egress.Classify(err); got != egress.Timeout {
		t.Errorf("Classify(%v) = %s, want timeout", err, got)
	}
	silent := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = server.Close() })
		go func() { _, _ = io.Copy(io.Discard, server) }()
		return client, nil
	}}
	network = egress.New(egress.Config{Resolver: silent})
	tr = transport(t, network, egress.Options{ConnectTimeout: 50 * time.Millisecond})
	_, err = get(t, tr, "http://slow.test")
	if got := egress.Classify(err); got != egress.DNS {
		t.Errorf("Classify(%v) = %s, want dns", err, got)
	}
}

func TestCanceledIsNoFailureOfTheReceiver(t *testing.T) {
	t.Parallel()
	tr := transport(t, egress.New(egress.Config{Allow: loopback}), egress.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	reached := make(chan struct{})
	target := "http://" + raw(t, func(c *net.TCPConn) {
		close(reached)
		hanging(c)
	})
	go func() {
		<-reached
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if got := egress.Classify(err); got != egress.Canceled {
		t.Errorf("Classify(%v) = %s, want canceled", err, got)
	}
}

func TestFailuresHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for f := egress.Refused; f <= egress.Canceled; f++ {
		if seen[f.String()] || f.String() == "" || f.String() == "none" {
			t.Errorf("name of %d is %q", f, f)
		}
		seen[f.String()] = true
	}
	if got := egress.Classify(nil); got != 0 || got.String() != "none" {
		t.Errorf("Classify(nil) = %s", got)
	}
	if got := egress.Classify(errors.New("anything")); got != egress.Protocol {
		t.Errorf("Classify of an unknown error = %s, want protocol", got)
	}
}
