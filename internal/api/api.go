package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/secret"
)

// Config is what the API is made of. Every member but Hosts is required.
type Config struct {
	Log   *slog.Logger
	Now   func() time.Time
	Token secret.String // the bearer token; must not be empty
	// Hosts returns the names, without ports, by which this server may be asked
	// for besides localhost and addresses: that of admin.public_url.
	Hosts func() []string

	History      History
	Publisher    Publisher
	Matcher      Matcher
	Redelivery   Redelivery
	Destinations Destinations
	Components   Components
	Refusals     Refusals
	Instance     Instance
	// Advise explains a class of failed attempts.
	Advise func(class string) Advice
	// Figures serves /metrics.
	Figures http.Handler
	Metrics Metrics
}

// API serves the admin port's /api/v1, /openapi.json, /healthz, /readyz,
// /metrics and /debug/pprof. It is safe for concurrent use.
type API struct {
	server  *server
	handler http.Handler
}

// server is what handlers close over.
type server struct {
	config   Config
	document func() []byte // the OpenAPI document
	tails    chan struct{} // a token for each stream that is open
	closed   chan struct{} // closed by Close: streams end
	close    sync.Once
}

// maxTails is how many streams may be open at once. Each holds at most one
// chunk of tailChunk bytes and one event.
const maxTails = 64

// New returns the API. It returns an error if the token is empty: without one
// every request would be let in.
func New(config Config) (*API, error) {
	if config.Token.Empty() {
		return nil, errors.New("the admin token is empty")
	}
	return build(config), nil
}

func build(config Config) *API {
	s := &server{config: config, tails: make(chan struct{}, maxTails), closed: make(chan struct{})}
	return &API{server: s, handler: s.gate(s.routes())}
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Close ends the streams that are open and those still to come, so that a
// server that shuts down does not wait for them. It is meant for
// http.Server.RegisterOnShutdown.
func (a *API) Close() { a.server.close.Do(func() { close(a.server.closed) }) }

// Document returns the OpenAPI document of the API as indented JSON.
func Document() []byte { return build(Config{}).server.document() }

// limit bounds the time of a request; the cause says so.
func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, errTimeLimit(d))
}
