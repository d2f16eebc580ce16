package daemon_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/daemon"
)

// writePair writes a new certificate for 127.0.0.1, its serial number told, and
// returns what trusts it.
func writePair(t *testing.T, dir, name string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+"-key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// trusting returns a client that trusts certificates made by writePair.
func trusting(t *testing.T, change func(*tls.Config), roots ...*x509.Certificate) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	config := &tls.Config{RootCAs: pool}
	if change != nil {
		change(config)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func tlsBase(dir string) string {
	pair := fmt.Sprintf("{cert: %s, key: %s}", filepath.Join(dir, "a.pem"), filepath.Join(dir, "a-key.pem"))
	return fmt.Sprintf(`
listen: 127.0.0.1:0
tls: %s
admin: {listen: "127.0.0.1:0", tls: %s}
data: %s
sources: {github: {provider: github, secrets: ["%s"]}}
`, pair, pair, filepath.Join(dir, "data"), secret)
}

// startIn runs a daemon whose configuration and files are in the directory.
func startIn(t *testing.T, dir, text string, watch time.Duration, log *slog.Logger) *daemon.Daemon {
	t.Helper()
	path := filepath.Join(dir, "grapnel.yaml")
	write(t, path, text)
	d, err := daemon.New(t.Context(), daemon.Options{
		ConfigPath: path, Version: "test", Log: log, WatchEvery: watch, DrainTime: 10 * time.Second,
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
	return d
}

// shown is what a client saw of an answer.
type shown struct {
	status, proto int
	serial        int64 // of the server's certificate
}

func get(t *testing.T, c *http.Client, url string) (shown, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		return shown{}, err
	}
	out := shown{status: response.StatusCode, proto: response.ProtoMajor}
	if response.TLS != nil {
		out.serial = response.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	return out, response.Body.Close()
}

func TestBothPortsSpeakTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := writePair(t, dir, "a", 1)
	d := startIn(t, dir, tlsBase(dir), -1, slog.New(slog.DiscardHandler))
	got, err := get(t, trusting(t, nil, root), "https://"+d.PublicAddr()+"/in/github")
	if err != nil || got.proto != 2 || got.status != http.StatusMethodNotAllowed {
		t.Errorf("public port: %+v, %v, want 405 over HTTP/2", got, err)
	}
	got, err = get(t, trusting(t, nil, root), "https://"+d.AdminAddr()+"/healthz")
	if err != nil || got.status != http.StatusOK {
		t.Errorf("admin port: %+v, %v", got, err)
	}
	if _, err = get(t, trusting(t, nil), "https://"+d.PublicAddr()); err == nil {
		t.Error("who does not trust the certificate was served")
	}
	old := trusting(t, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, root)
	if _, err = get(t, old, "https://"+d.PublicAddr()); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	if got, err := get(t, trusting(t, nil), "http://"+d.PublicAddr()+"/in/github"); err == nil && got.status != http.StatusBadRequest {
		t.Errorf("plain HTTP was answered %d", got.status)
	}
}

// TestCertificatesAreReadAgainUnderLoad replaces the files while requests come
// in, with bad ones in between: no request fails, and new connections are shown
// the new certificate.
func TestCertificatesAreReadAgainUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := writePair(t, dir, "a", 1)
	log := &lockedBuffer{}
	d := startIn(t, dir, tlsBase(dir), 5*time.Millisecond, slog.New(slog.NewTextHandler(log, nil)))

	stage := t.TempDir()
	second := writePair(t, stage, "a", 2)
	var stop atomic.Bool
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			keep := trusting(t, nil, first, second)
			for !stop.Load() {
				c := keep
				if sent.Add(1)%2 == 0 { // every other request makes a new connection
					c = trusting(t, nil, first, second)
				}
				if _, err := get(t, c, "https://"+d.AdminAddr()+"/healthz"); err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				if c != keep {
					c.CloseIdleConnections()
				}
			}
		})
	}
	serial := func() int64 {
		c := trusting(t, nil, first, second)
		defer c.CloseIdleConnections()
		got, err := get(t, c, "https://"+d.PublicAddr()+"/in/github")
		if err != nil {
			t.Fatal(err)
		}
		return got.serial
	}
	replace := func(name string, text []byte) {
		tmp := filepath.Join(dir, "tmp")
		write(t, tmp, string(text))
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "requests under way", func() bool { return sent.Load() > 20 })
	replace("a.pem", []byte("no certificate"))
	wait(t, "the log says so", func() bool { return strings.Contains(log.String(), "the old one stays in force") })
	if got := serial(); got != 1 {
		t.Errorf("with a broken file the certificate %d is shown, want 1", got)
	}
	for _, name := range []string{"a-key.pem", "a.pem"} {
		text, err := os.ReadFile(filepath.Join(stage, name))
		if err != nil {
			t.Fatal(err)
		}
		replace(name, text)
	}
	wait(t, "the new certificate is shown", func() bool { return serial() == 2 })
	done := sent.Load()
	wait(t, "requests go on", func() bool { return sent.Load() > done+20 || t.Failed() })
	stop.Store(true)
	wg.Wait()
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestAReloadTakesOtherCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := writePair(t, dir, "a", 1), writePair(t, dir, "b", 2)
	d := startIn(t, dir, tlsBase(dir), -1, slog.New(slog.DiscardHandler))
	path := filepath.Join(dir, "grapnel.yaml")
	write(t, path, strings.ReplaceAll(strings.ReplaceAll(tlsBase(dir), "a.pem", "b.pem"), "a-key.pem", "b-key.pem"))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, trusting(t, nil, second), "https://"+d.PublicAddr()); err != nil {
		t.Errorf("the new certificate is not shown: %v", err)
	}
	for name, text := range map[string]string{
		"no such file":  strings.ReplaceAll(tlsBase(dir), "a.pem", "c.pem"),
		"another's key": strings.Replace(tlsBase(dir), "a-key.pem", "b-key.pem", 1),
		"without TLS":   strings.Replace(tlsBase(dir), "\ntls:", "\n#", 1),
	} {
		write(t, path, text)
		if err := d.Reload(t.Context()); err == nil {
			t.Errorf("%s: the configuration was taken", name)
		}
		if _, err := get(t, trusting(t, nil, first, second), "https://"+d.PublicAddr()); err != nil {
			t.Errorf("%s: the port fails: %v", name, err)
		}
	}
}
