//nolint:thelper // These are the tests themselves: what fails is a line of theirs.
package destinationtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/spec"
)

// nothingLeaks makes the destination fail in every way, against receivers that
// quote all they get, and looks for its secrets in whatever comes out.
func nothingLeaks(t *testing.T, s Suite) {
	if len(s.Secrets) == 0 {
		t.Fatal("the suite has no secrets to look for")
	}
	echo, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		dump, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Amzn-Errortype", "UnrecognizedClientException")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"message":"`+strings.NewReplacer("\r\n", " ", `"`, "'").Replace(string(dump))+`"}`)
	})
	for name, url := range map[string]string{
		"nothing listens":        unused(t),
		"no such host":           "http://missing.invalid",
		"quotes what it gets":    echo,
		"speaks as it is spoken": mirror(t),
		"silence":                raw(t, hanging("")),
		"reset":                  raw(t, reset("")),
		"not https":              strings.Replace(echo, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var book logBook
			deps := Deps(t)
			deps.Log = book.logger()
			config, problems := Decode(t, s.Kind, s.Config(url))
			d := Build(t, s.Kind, s.Config(url), deps)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			request := Request(`{}`)
			request.WantBody = 64 << 10
			_, err := d.Do(ctx, request)
			failure := Failed(t, err)
			AssertLeaksNoSecret(t, s.Secrets, err, failure.Err, book.text(), config, config.Address(), problems, d)
			// Every length of excerpt: a cut secret is still one.
			if name == "quotes what it gets" {
				for want := 1; want < 2048; want += 61 {
					request.WantBody = want
					_, err := d.Do(bounded(t), request)
					AssertLeaksNoSecret(t, halves(s.Secrets), string(Failed(t, err).Excerpt))
				}
			}
		})
	}
	t.Run("blocked", func(t *testing.T) {
		t.Parallel()
		deps := Deps(t)
		deps.Egress = egress.New(egress.Config{})
		_, err := Build(t, s.Kind, s.Config(echo), deps).Do(bounded(t), Request(`{}`))
		AssertLeaksNoSecret(t, s.Secrets, err)
	})
	t.Run("problems of a wrong configuration", func(t *testing.T) {
		t.Parallel()
		wrongConfigurations(t, s)
	})
}

// halves returns the first halves of those secrets that are long enough.
func halves(secrets []string) []string {
	var list []string
	for _, s := range secrets {
		if len(s) >= 16 {
			list = append(list, s[:len(s)/2])
		}
	}
	return list
}

// mirror answers every line with itself.
func mirror(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// wrongConfigurations spoils one value of the configuration after the other and
// looks for secrets in the problems.
func wrongConfigurations(t *testing.T, s Suite) {
	for _, bad := range []*spec.Node{
		{Type: spec.Text, Text: ""},
		{Type: spec.Text, Text: "\r\n"},
		{Type: spec.Number, Text: "-1"},
		{Type: spec.Null},
		{Type: spec.List},
		{Type: spec.Map},
	} {
		for i := 0; ; i++ {
			node, err := spec.ParseJSON([]byte(s.Config("http://127.0.0.1:1")))
			if err != nil {
				t.Fatal(err)
			}
			left := i
			if !spoil(node, bad, &left) {
				break
			}
			config, problems := decodeNode(s.Kind, node)
			AssertLeaksNoSecret(t, s.Secrets, problems, config, config.Address())
		}
	}
}

// spoil makes the node with the number, counted over the tree, a bad one.
func spoil(n, bad *spec.Node, left *int) bool {
	for i := range n.Entries {
		if spoil(n.Entries[i].Value, bad, left) {
			return true
		}
	}
	for _, item := range n.Items {
		if spoil(item, bad, left) {
			return true
		}
	}
	if *left > 0 {
		*left--
		return false
	}
	n.Type, n.Text, n.Entries, n.Items = bad.Type, bad.Text, nil, nil
	return true
}

// RunOffline runs what holds for a kind that makes no connections.
func RunOffline(t *testing.T, kind destination.Kind, config string) {
	t.Helper()
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		d := Build(t, kind, config, Deps(t))
		done := make(chan error)
		for range 16 {
			go func() {
				_, err := d.Do(t.Context(), Request(`{"a":1}`))
				done <- err
			}()
		}
		for range 16 {
			if err := <-done; err != nil {
				t.Errorf("Do: %v", err)
			}
		}
	})
	t.Run("canceled is no failure", func(t *testing.T) {
		t.Parallel()
		d := Build(t, kind, config, Deps(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := d.Do(ctx, Request(`{}`))
		wantCanceled(t, err)
	})
	t.Run("a passed deadline is a timeout", func(t *testing.T) {
		t.Parallel()
		d := Build(t, kind, config, Deps(t))
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
		defer cancel()
		_, err := d.Do(ctx, Request(`{}`))
		wantClass(t, err, destination.Timeout)
	})
	t.Run("a test of the connection succeeds", func(t *testing.T) {
		t.Parallel()
		request := Request(`{}`)
		request.Event, request.Test = nil, true
		resp, err := Build(t, kind, config, Deps(t)).Do(t.Context(), request)
		if err != nil || resp.Status != http.StatusOK || resp.Forward != "" {
			t.Errorf("Do = %+v, %v, want status 200 and nothing to forward", resp, err)
		}
	})
}
