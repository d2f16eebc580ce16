package webhook_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/webhook"
)

// strict returns a server that wants a certificate of the authority, and
// answers with the name in it. It closes each connection after one answer.
func strict(tb testing.TB, a *destinationtest.Authority) string {
	tb.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName) //nolint:gosec // G705: a name that the test issued
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = a.Server(tb)
	s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, a.Pool
	s.StartTLS()
	tb.Cleanup(s.Close)
	return s.URL
}

func TestClientCertificatesAreShownAndRenewed(t *testing.T) {
	t.Parallel()
	ours, other := destinationtest.NewAuthority(t), destinationtest.NewAuthority(t)
	url := strict(t, ours)
	cert, key := ours.Issue(t, "grapnel")
	d := build(t, fmt.Sprintf(`{"url": %q, "tls": {"cert": %q, "key": %q, "ca": %q}}`, url, cert, key, ours.File))
	resp, err := d.Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil || string(resp.Body) != "grapnel" {
		t.Fatalf("Do = %+v, %v, want the name in the certificate", resp, err)
	}

	// Files that were written anew count for the next connection: here, for the worse.
	foreignCert, foreignKey := other.Issue(t, "foreign")
	swap(t, foreignCert, cert)
	swap(t, foreignKey, key)
	_, err = d.Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.TLS {
		t.Errorf("a certificate of somebody else: %v, want class tls", got)
	}

	_, err = build(t, fmt.Sprintf(`{"url": %q, "tls": {"ca": %q}}`, url, ours.File)).Do(t.Context(), destinationtest.Request(`{}`))
	if got := destinationtest.Failed(t, err); got.Class != destination.TLS {
		t.Errorf("no certificate: %v, want class tls", got)
	}
}

func TestTheOwnAuthorityIsTrustedAndNoOther(t *testing.T) {
	t.Parallel()
	ours, other := destinationtest.NewAuthority(t), destinationtest.NewAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = ours.Server(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := build(t, fmt.Sprintf(`{"url": %q, "tls": {"ca": %q}}`, s.URL, ours.File)).
		Do(t.Context(), destinationtest.Request(`{}`)); err != nil {
		t.Errorf("own CA: %v", err)
	}
	for name, config := range map[string]string{
		"another CA": fmt.Sprintf(`{"url": %q, "tls": {"ca": %q}}`, s.URL, other.File),
		"no CA":      fmt.Sprintf(`{"url": %q}`, s.URL),
	} {
		_, err := build(t, config).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != destination.TLS {
			t.Errorf("%s: %v, want class tls", name, got)
		}
	}
}

func TestFilesThatCannotBeUsedAreNoDestination(t *testing.T) {
	t.Parallel()
	a := destinationtest.NewAuthority(t)
	cert, key := a.Issue(t, "client")
	_, otherKey := a.Issue(t, "other")
	for text, want := range map[string]string{
		fmt.Sprintf(`{"ca": %q}`, key):                            "holds no certificate in PEM",
		`{"ca": "/does/not/exist"}`:                               "/does/not/exist",
		fmt.Sprintf(`{"cert": %q, "key": %q}`, cert, otherKey):    "does not match",
		fmt.Sprintf(`{"cert": %q, "key": "/missing.key"}`, cert):  "/missing.key",
		fmt.Sprintf(`{"cert": %q, "key": %q}`, cert, cert+".bak"): "client certificate cannot be used",
	} {
		c, problems := destinationtest.Decode(t, webhook.Kind(), `{"url": "https://h", "tls": `+text+`}`)
		if problems != "" {
			t.Fatal(problems)
		}
		if _, err := c.Build(destinationtest.Deps(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tls %s: Build: %v, want an error that says %q", text, err, want)
		}
	}
}
