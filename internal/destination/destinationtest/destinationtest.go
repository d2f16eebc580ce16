// Package destinationtest is the conformance suite of destinations: what every
// kind must do whatever the other side does. A kind's test calls Run (or
// RunOffline, if it makes no connections) with a way to build a destination
// whose other side is the suite, and the secrets that this puts into it.
package destinationtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/spec"
)

// patience is how long anything may take that does not wait for a deadline.
const patience = 10 * time.Second

// Suite says how to build destinations of a kind.
type Suite struct {
	// Config returns the configuration, as JSON, of a destination that sends to
	// the URL. The URL has no path, query or user-info; add them with secrets.
	Config func(url string) string
	// Kind is the kind.
	Kind destination.Kind
	// Secrets are those that Config puts in. None of them may ever show.
	Secrets []string
	// Class returns the class of a status that is not 2xx; nil is
	// destination.OfStatus.
	Class func(status int) destination.Class
}

// Loopback are the networks that the suite's servers live in.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// Deps returns what a destination under test is built with: loopback is
// allowed, and nothing is logged.
func Deps(tb testing.TB) destination.Deps {
	tb.Helper()
	return destination.Deps{
		Name: "tested", Egress: egress.New(egress.Config{Allow: Loopback()}), Log: slog.New(slog.DiscardHandler),
		Version: "0.0.0-test", MaxInFlight: 16,
	}
}

// Decode decodes a configuration as a configuration file would be, and returns
// its problems, one a line.
func Decode(tb testing.TB, kind destination.Kind, config string) (c destination.Config, problems string) {
	tb.Helper()
	node, err := spec.ParseJSON([]byte(config))
	if err != nil {
		tb.Fatalf("configuration %s: %v", config, err)
	}
	return decodeNode(kind, node)
}

func decodeNode(kind destination.Kind, node *spec.Node) (c destination.Config, problems string) {
	c = kind.New()
	report := spec.Report{File: "config"}
	spec.Decode(&report, node, c)
	var lines []string
	for _, p := range spec.Errors(report.Problems()) {
		lines = append(lines, p.String())
	}
	return c, strings.Join(lines, "\n")
}

// Build builds a destination of a configuration that must be right, and closes
// it when the test ends.
func Build(tb testing.TB, kind destination.Kind, config string, deps destination.Deps) destination.Destination {
	tb.Helper()
	c, problems := Decode(tb, kind, config)
	if problems != "" {
		tb.Fatalf("configuration %s: %s", config, problems)
	}
	d, err := c.Build(deps)
	if err != nil {
		tb.Fatalf("Build(%s): %v", config, err)
	}
	if closer, ok := d.(destination.Closer); ok {
		tb.Cleanup(func() {
			if err := closer.Close(); err != nil {
				tb.Errorf("Close: %v", err)
			}
		})
	}
	return d
}

// Request returns a request as the delivery engine makes them.
func Request(body string) *destination.Request {
	at := time.Now()
	return &destination.Request{
		ID: "dlv_0199d2c4-1-2", Attempt: 1, Time: at, Body: []byte(body), ContentType: "application/json",
		Event: &event.Envelope{
			ID: event.NewID(at), Source: "test", DetailType: "sample", Account: "000000000000", Time: at,
			Region: "us-east-1", Detail: []byte(body),
		},
		Bus: "default", Rule: "rule", Target: "target", WantBody: 1024,
	}
}

// Failed returns the *destination.Error of err and fails the test if it is none
// or is incomplete.
func Failed(tb testing.TB, err error) *destination.Error {
	tb.Helper()
	failure, ok := errors.AsType[*destination.Error](err)
	switch {
	case !ok:
		tb.Fatalf("error = %v (%T), want a *destination.Error", err, err)
	case failure.Message == "" || failure.Class == "":
		tb.Errorf("error %+v has no class or no message", failure)
	case failure.Class.Info().Class != failure.Class:
		tb.Errorf("class %q is not in the table", failure.Class)
	}
	return failure
}

// wantClass fails the test unless err is of the class.
func wantClass(tb testing.TB, err error, want destination.Class) {
	tb.Helper()
	if got := Failed(tb, err); got.Class != want {
		tb.Errorf("class %s (%v; %v), want %s", got.Class, got, got.Err, want)
	}
}

// bounded returns a context for what must not hang.
func bounded(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// AssertLeaksNoSecret fails the test if one of the secrets shows in what can be
// printed of the values: errors with their causes and excerpts, and all else by
// %v and %+v.
func AssertLeaksNoSecret(tb testing.TB, secrets []string, values ...any) {
	tb.Helper()
	for _, v := range values {
		texts := []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%q", v)}
		if err, ok := v.(error); ok {
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				texts = append(texts, cause.Error(), fmt.Sprintf("%+v", cause))
			}
			if failure, ok := errors.AsType[*destination.Error](err); ok {
				texts = append(texts, failure.Message, string(failure.Excerpt))
			}
		}
		for _, text := range texts {
			for _, s := range secrets {
				if i := strings.Index(text, s); i >= 0 {
					tb.Errorf("%T shows the secret %q: …%s…", v, s, text[max(i-80, 0):min(i+len(s)+80, len(text))])
				}
			}
		}
	}
}

// logBook is a log that can be read.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends to the log.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logger returns a logger that writes everything into the book.
func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
