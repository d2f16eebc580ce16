package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// The time that requests may take.
const (
	usualLimit = 30 * time.Second
	testLimit  = 310 * time.Second // a destination's timeout is at most 300 s
	bulkLimit  = 5 * time.Minute
	noLimit    = time.Duration(0) // streams
)

// Bodies of requests are at most so many bytes, for each route.
const (
	usualBody   = 64 << 10
	publishBody = 4 << 20 // 1 MiB of event, however it is escaped
	testBody    = 2 << 20
)

// The groups of routes in the document.
const (
	tagEvents       = "Events"
	tagRefused      = "Refused requests"
	tagDeliveries   = "Deliveries"
	tagDestinations = "Destinations"
	tagComponents   = "Sources and rules"
	tagServer       = "Server"
)

// routes returns everything that is served. This file names every route.
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, s.humaConfig())
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(uniform{ctx}) })

	s.eventRoutes(api)
	s.deliveryRoutes(api)
	s.componentRoutes(api)
	s.serverRoutes(api)

	s.document = documentOf(api)
	mux.HandleFunc("GET /openapi.json", s.openapi)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { s.config.Figures.ServeHTTP(w, r) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return unrouted(mux)
}

func (s *server) eventRoutes(api huma.API) {
	get(s, api, tagEvents, "list-events", "/api/v1/events", "List events", s.listEvents)
	post(s, api, tagEvents, "publish-event", "/api/v1/events", "Publish an event", publishBody, usualLimit, s.publish, created)
	stream(s, api, tagEvents, "tail-events", "/api/v1/events/tail", "Follow events as they are committed", s.tailEvents)
	get(s, api, tagEvents, "show-event", "/api/v1/events/{id}", "Show an event with its request and deliveries", s.showEvent)
	raw(s, api, tagEvents, "event-body", "/api/v1/events/{id}/body", "The body of the request, byte for byte", s.eventBody)
	get(s, api, tagEvents, "explain-event", "/api/v1/events/{id}/explain", "Ask every rule why it matches or does not", s.explain)
	post(s, api, tagEvents, "replay-event", "/api/v1/events/{id}/replay", "Dispatch an event again", usualBody, usualLimit, s.replay)
	get(s, api, tagRefused, "list-refused", "/api/v1/refused", "List refused requests and count them by reason", s.listRefused)
	get(s, api, tagRefused, "show-refused", "/api/v1/refused/{id}", "Show a refused request", s.showRefused)
}

func (s *server) deliveryRoutes(api huma.API) {
	get(s, api, tagDeliveries, "list-deliveries", "/api/v1/deliveries", "List deliveries", s.listDeliveries)
	post(s, api, tagDeliveries, "retry-deliveries", "/api/v1/deliveries/retry", "Retry the deliveries that fit a filter", usualBody, bulkLimit, s.retryDeliveries)
	get(s, api, tagDeliveries, "show-delivery", "/api/v1/deliveries/{id}", "Show a delivery with its attempts", s.showDelivery)
	post(s, api, tagDeliveries, "retry-delivery", "/api/v1/deliveries/{id}/retry", "Retry a delivery now", usualBody, usualLimit, s.retryDelivery)
	post(s, api, tagDeliveries, "cancel-delivery", "/api/v1/deliveries/{id}/cancel", "Cancel a delivery", usualBody, usualLimit, s.cancelDelivery)
}

func (s *server) componentRoutes(api huma.API) {
	get(s, api, tagDestinations, "list-destinations", "/api/v1/destinations", "List destinations and how they fare", s.listDestinations)
	get(s, api, tagDestinations, "show-destination", "/api/v1/destinations/{name}", "Show a destination", s.showDestination)
	post(s, api, tagDestinations, "test-destination", "/api/v1/destinations/{name}/test", "Test Connection: send one message now", testBody, testLimit, s.testDestination)
	post(s, api, tagDestinations, "disable-destination", "/api/v1/destinations/{name}/disable", "Hold what is bound for a destination", usualBody, usualLimit, s.disableDestination)
	post(s, api, tagDestinations, "enable-destination", "/api/v1/destinations/{name}/enable", "Let deliveries go again", usualBody, usualLimit, s.enableDestination)
	get(s, api, tagComponents, "list-sources", "/api/v1/sources", "List sources with the URL to paste", s.listSources)
	get(s, api, tagComponents, "show-source", "/api/v1/sources/{name}", "Show a source and the steps at its provider", s.showSource)
	get(s, api, tagComponents, "list-rules", "/api/v1/rules", "List rules", s.listRules)
	post(s, api, tagComponents, "test-pattern", "/api/v1/pattern/test", "Try a pattern with an event", publishBody, usualLimit, s.testPattern)
}

func (s *server) serverRoutes(api huma.API) {
	get(s, api, tagServer, "show-status", "/api/v1/status", "Describe the running process", s.status)
	get(s, api, tagServer, "health", "/healthz", "Whether the process answers; needs no token", s.health, anyone)
	get(s, api, tagServer, "ready", "/readyz", "Whether events can be taken, 503 if not; needs no token", s.ready, anyone, notReady)
}

// anyone marks a route that needs no token. The gate decides; this documents it.
func anyone(op *huma.Operation) { op.Security = []map[string][]string{} }

// created documents that a route answers 201, and 200 for what exists already.
func created(op *huma.Operation) {
	op.DefaultStatus = http.StatusCreated
	op.Responses["200"] = answer("The dedupe key is known; this is the first event.", "Published")
}

// notReady documents the answer of /readyz while events cannot be taken.
func notReady(op *huma.Operation) {
	op.Responses["503"] = answer("Events cannot be taken now.", "Ready")
}

func answer(description, schema string) *huma.Response {
	return &huma.Response{
		Description: description,
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{Ref: schemas + schema}},
		},
	}
}

func operation(method, tag, id, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Responses: map[string]*huma.Response{"default": {
			Description: "Error",
			Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: schemas + "Problem"}}},
		}},
	}
}

// get registers a route that reads.
func get[I, O any](
	s *server, api huma.API, tag, id, path, summary string,
	fn func(context.Context, *I) (*O, error), options ...func(*huma.Operation),
) {
	op := operation(http.MethodGet, tag, id, path, summary)
	for _, option := range options {
		option(&op)
	}
	huma.Register(api, op, handle(s, usualLimit, fn))
}

// post registers a route that does something.
func post[I, O any](
	s *server, api huma.API, tag, id, path, summary string, body int64, limit time.Duration,
	fn func(context.Context, *I) (*O, error), options ...func(*huma.Operation),
) {
	op := operation(http.MethodPost, tag, id, path, summary)
	op.MaxBodyBytes = body
	for _, option := range options {
		option(&op)
	}
	huma.Register(api, op, handle(s, limit, fn))
}

// raw registers a route that answers with bytes.
func raw[I any](
	s *server, api huma.API, tag, id, path, summary string, fn func(context.Context, *I) (*bodyOutput, error),
) {
	op := operation(http.MethodGet, tag, id, path, summary)
	op.Responses["200"] = &huma.Response{
		Description: "The bytes, with their own content type.",
		Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		},
	}
	huma.Register(api, op, handle(s, usualLimit, fn))
}

// stream registers a route that answers with items until someone has enough.
func stream[I any](
	s *server, api huma.API, tag, id, path, summary string,
	fn func(context.Context, *I) (*huma.StreamResponse, error),
) {
	op := operation(http.MethodGet, tag, id, path, summary)
	item := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[TailItem](), true, "TailItem")
	op.Responses["200"] = &huma.Response{
		Description: "Items as lines of JSON, or as server-sent events if Accept asks for text/event-stream.",
		Content:     map[string]*huma.MediaType{"application/x-ndjson": {Schema: item}, "text/event-stream": {Schema: item}},
	}
	huma.Register(api, op, handle(s, noLimit, fn))
}

// handle bounds the time of a handler and turns its error into a problem.
func handle[I, O any](
	s *server, d time.Duration, fn func(context.Context, *I) (*O, error),
) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		if d > 0 {
			bounded, cancel := limit(ctx, d)
			defer cancel()
			ctx = bounded
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, err)
		}
		return out, nil
	}
}

func (s *server) openapi(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.document()))
}

// indented returns JSON that reads well and ends with a newline.
func indented(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return out.Bytes(), err
}
