package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/api/apitest"
	"github.com/grapnel/grapnel/internal/fault"
)

func TestTailReconnectsFromTheLastCursor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := b.orders(t, 3)
	var got []string
	for item, err := range b.Tail(t.Context(), api.TailFilter{Type: "order", Since: api.WhenAgo(1)}) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Type != api.TailEvent {
			continue
		}
		got = append(got, item.Event.ID)
		if len(got)%3 == 0 && len(got) < 12 {
			// Everything that is connected breaks; what comes meanwhile must not be missed.
			b.server.CloseClientConnections()
			want = append(want, b.orders(t, 3)...)
		}
		if len(got) == 12 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events over four connections (-want +got):\n%s", diff)
	}
}

func TestTailGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	world := apitest.New()
	newAPI := func() *api.API {
		surface, err := api.New(world.Config(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		return surface
	}
	listener := listen(t, "127.0.0.1:0")
	address := listener.Addr().String()
	surface := newAPI()
	server := &http.Server{Handler: surface} //nolint:gosec // A test's server.
	server.RegisterOnShutdown(surface.Close)
	go func() { _ = server.Serve(listener) }()
	c := connect(t, "http://"+address, apitest.Token)
	b := &bundle{Client: c, world: world}
	want := b.orders(t, 1)
	var got []string
	for item, err := range c.Tail(t.Context(), api.TailFilter{Type: "order", Since: api.WhenAgo(1)}) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Type != api.TailEvent {
			continue
		}
		if got = append(got, item.Event.ID); len(got) == 2 {
			break
		}
		if err := server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		listener = listen(t, address)
		surface = newAPI()
		server = &http.Server{Handler: surface} //nolint:gosec // A test's server.
		server.RegisterOnShutdown(surface.Close)
		go func() { _ = server.Serve(listener) }()
		want = append(want, b.orders(t, 1)...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events over a restart (-want +got):\n%s", diff)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTailEndsWithWhatWillNotChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, row := range map[string]struct {
		client *bundle
		filter api.TailFilter
		kind   fault.Kind
	}{
		"wrong token":  {&bundle{Client: connect(t, b.server.URL, "nope")}, api.TailFilter{}, fault.Unauthorized},
		"wrong cursor": {b, api.TailFilter{From: "x"}, fault.Invalid},
		"nobody":       {&bundle{Client: connect(t, "http://127.0.0.1:1", apitest.Token)}, api.TailFilter{}, fault.Transient},
	} {
		var errs []error
		for _, err := range row.client.Tail(t.Context(), row.filter) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || !fault.Is(errs[0], row.kind) {
			t.Errorf("%s: %v, want one error of kind %s", name, errs, row.kind)
		}
	}
}

func TestTailEndsWithTheProblemThatTheServerNames(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.world.FailScan(fault.New(fault.Permanent, "segment_damaged", "the journal cannot be read there"))
	var last error
	for _, err := range b.Tail(t.Context(), api.TailFilter{}) {
		last = err
	}
	if f, ok := errors.AsType[*fault.Error](last); !ok || f.Code != "segment_damaged" {
		t.Errorf("the stream ended with %v", last)
	}
}

func TestTailEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var last error
	for item, err := range b.Tail(ctx, api.TailFilter{}) {
		if last = err; item.Type == api.TailHeartbeat {
			cancel(enough)
		}
	}
	cancel(nil)
	if !errors.Is(last, enough) {
		t.Errorf("the stream ended with %v, want the cause", last)
	}
}

func TestTailWaitsWhenTheServerIsBusy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var turned atomic.Int32
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The second connection is turned away once; the first one breaks at once.
		if turned.Add(1) == 2 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"kind":"throttled","code":"too_many_tails","detail":"busy","status":429,"retry_after":"1ms"}`))
			return
		}
		if turned.Load() == 1 {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			r = r.WithContext(ctx)
		}
		b.api.ServeHTTP(w, r)
	}))
	t.Cleanup(gate.Close)
	c := connect(t, gate.URL, apitest.Token)
	var kinds []string
	for item, err := range c.Tail(t.Context(), api.TailFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if kinds = append(kinds, item.Type); turned.Load() == 3 {
			break
		}
	}
	if !slices.Equal(kinds, []string{api.TailHeartbeat, api.TailHeartbeat}) {
		t.Errorf("items = %v, want the first heartbeat of two connections", kinds)
	}
}
