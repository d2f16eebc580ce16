package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/api/apitest"
	"github.com/grapnel/grapnel/internal/store"
)

// feed is an open stream of a real server.
type feed struct {
	t      *testing.T
	body   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func open(t *testing.T, server *httptest.Server, query, accept string) *feed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/events/tail?"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apitest.Token)
	r.Header.Set("Accept", accept)
	response, err := server.Client().Do(r) //nolint:bodyclose // feed.close does, at the end of the test
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{t: t, body: response, lines: bufio.NewScanner(response.Body), cancel: cancel}
	f.lines.Buffer(nil, 4<<20)
	t.Cleanup(f.close)
	return f
}

func (f *feed) close() {
	f.cancel()
	_ = f.body.Body.Close()
}

// next returns the next item that is no heartbeat.
func (f *feed) next() api.TailItem {
	f.t.Helper()
	for f.lines.Scan() {
		var item api.TailItem
		if err := json.Unmarshal(f.lines.Bytes(), &item); err != nil {
			f.t.Fatalf("line %q: %v", f.lines.Text(), err)
		}
		if item.Type != api.TailHeartbeat {
			return item
		}
	}
	f.t.Fatalf("the stream ended: %v", f.lines.Err())
	return api.TailItem{}
}

func serve(t *testing.T) (*bundle, *httptest.Server) {
	t.Helper()
	b := setup(t)
	server := httptest.NewServer(b.api)
	t.Cleanup(func() {
		b.api.Close()
		server.Close()
	})
	return b, server
}

// publish commits n events of a type and returns their ids.
func publish(t *testing.T, w *apitest.World, n int, kind, detail string) []string {
	t.Helper()
	ids := make([]string, 0, n)
	for range n {
		ev := &store.Event{
			Envelope: event.Envelope{ID: event.NewID(apitest.Now), Source: "com.example", DetailType: kind, Detail: []byte(detail)},
			Bus:      "default", Received: apitest.Now,
		}
		if err := w.Publish(context.Background(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
			t.Error(err)
		}
		ids = append(ids, string(ev.Envelope.ID))
	}
	return ids
}

func TestTailShowsWhatComesAfterItBegan(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	f := open(t, server, "envelope=true&type=order", "")
	if got := f.body.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("Content-Type = %q", got)
	}
	publish(t, b.world, 1, "other", `{}`)
	ids := publish(t, b.world, 3, "order", `{"n":1}`)
	for _, id := range ids {
		item := f.next()
		if item.Event == nil || item.Event.ID != id {
			t.Fatalf("item %+v, want event %s", item, id)
		}
		if !strings.Contains(string(item.Envelope), `"detail":{"n":1}`) {
			t.Errorf("envelope = %s", item.Envelope)
		}
	}
}

func TestTailFiltersBeginningInThePast(t *testing.T) {
	t.Parallel()
	_, server := serve(t)
	for query, want := range map[string][]string{
		"since=2h":                   {"pull_request", "login", "pull_request"},
		"since=5m":                   {"login", "pull_request"},
		"since=2h&bus=security":      {"login"},
		"since=2h&duplicates=true":   {"pull_request"},
		"since=2h&source=github.com": {"pull_request", "pull_request"},
		"since=2h&endpoint=github":   {"pull_request", "pull_request"},
	} {
		f := open(t, server, query, "")
		for i, kind := range want {
			if item := f.next(); item.Event.DetailType != kind {
				t.Errorf("%s: item %d is %s, want %s", query, i, item.Event.DetailType, kind)
			}
		}
		f.close()
	}
}

func TestTailGoesOnFromEveryCursorWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	// Larger than a chunk, so that the stream is sent in several.
	ids := publish(t, b.world, 200, "order", `{"pad":"`+strings.Repeat("x", 2000)+`"}`)
	seen := []string{}
	from := "since=2h&envelope=true&type=order"
	for len(seen) < len(ids) {
		f := open(t, server, from, "")
		for range min(37, len(ids)-len(seen)) {
			item := f.next()
			seen = append(seen, item.Event.ID)
			from = "envelope=true&type=order&from=" + item.Cursor
		}
		f.close()
	}
	if strings.Join(seen, " ") != strings.Join(ids, " ") {
		t.Errorf("streams from cursors showed %d events in another order than the %d that were committed", len(seen), len(ids))
	}
}

func TestTailMissesNothingWhileEventsAreCommitted(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	f := open(t, server, "type=order", "")
	const writers, each = 4, 100
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() { publish(t, b.world, each, "order", `{}`) })
	}
	seen := map[string]bool{}
	last := ""
	for range writers * each {
		item := f.next()
		if seen[item.Event.ID] || item.Event.Position <= last {
			t.Fatalf("event %s at %s after %s: repeated or out of order", item.Event.ID, item.Event.Position, last)
		}
		seen[item.Event.ID], last = true, item.Event.Position
	}
	writing.Wait()
}

func TestTailSpeaksServerSentEvents(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	f := open(t, server, "type=order", "text/event-stream")
	if got := f.body.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type = %q", got)
	}
	ids := publish(t, b.world, 1, "order", `{}`)
	var text strings.Builder
	for f.lines.Scan() {
		text.WriteString(f.lines.Text() + "\n")
		if strings.Contains(f.lines.Text(), ids[0]) {
			break
		}
	}
	for _, want := range []string{"event: heartbeat\nid: ", "\n\nevent: event\nid: ", "\ndata: {\"type\":\"event\""} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("stream does not have %q:\n%s", want, text.String())
		}
	}
}

func TestTailEndsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	f := open(t, server, "", "")
	b.api.Close()
	item := f.next()
	if item.Type != api.TailEnd || item.Problem != nil || item.Cursor == "" {
		t.Errorf("last item = %+v, want end with a cursor", item)
	}
	if f.lines.Scan() {
		t.Errorf("after the end comes %s", f.lines.Text())
	}
}

func TestTailEndsWithTheProblemOfTheJournal(t *testing.T) {
	t.Parallel()
	b, server := serve(t)
	f := open(t, server, "type=order", "")
	publish(t, b.world, 1, "order", `{}`)
	if item := f.next(); item.Type != api.TailEvent {
		t.Fatalf("item = %+v, want the event", item)
	}
	b.world.FailScan(os.ErrDeadlineExceeded)
	publish(t, b.world, 1, "order", `{}`) // wakes the stream
	item := f.next()
	if item.Type != api.TailEnd || item.Problem == nil || item.Problem.Code != "internal" {
		t.Errorf("last item = %+v, want end with a problem", item)
	}
}

func TestTailsAreBoundedAndGivenBack(t *testing.T) {
	t.Parallel()
	_, server := serve(t)
	feeds := make([]*feed, 0, api.MaxTails)
	for range api.MaxTails {
		f := open(t, server, "", "")
		if f.body.StatusCode != http.StatusOK {
			t.Fatalf("stream %d = %s", len(feeds), f.body.Status)
		}
		feeds = append(feeds, f)
	}
	f := open(t, server, "", "")
	if f.body.StatusCode != http.StatusTooManyRequests || f.body.Header.Get("Retry-After") != "5" {
		t.Errorf("one stream too many = %s, Retry-After %q", f.body.Status, f.body.Header.Get("Retry-After"))
	}
	for _, f := range feeds {
		f.close()
	}
	// The server notices that a reader went away when it wants to.
	deadline := time.Now().Add(10 * time.Second)
	for {
		f := open(t, server, "", "")
		if f.body.StatusCode == http.StatusOK {
			return
		}
		f.close()
		if time.Now().After(deadline) {
			t.Fatal("streams of readers that went away were not given back")
		}
	}
}

// stuck is a connection whose reader takes nothing: writes wait for the deadline.
type stuck struct {
	header   http.Header
	mu       sync.Mutex
	deadline time.Time
	offered  int // the largest write
	patience int // writes that succeed before the reader stops reading
	taken    bytes.Buffer
}

func (s *stuck) Header() http.Header { return s.header }
func (s *stuck) WriteHeader(int)     {}
func (s *stuck) FlushError() error   { return nil }

func (s *stuck) SetReadDeadline(time.Time) error { return nil }

func (s *stuck) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

func (s *stuck) Write(p []byte) (int, error) {
	s.mu.Lock()
	deadline := s.deadline
	s.offered = max(s.offered, len(p))
	s.patience--
	reads := s.patience >= 0
	if reads {
		s.taken.Write(p)
	}
	s.mu.Unlock()
	if reads {
		return len(p), nil
	}
	time.Sleep(time.Until(deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestTailOfASlowReaderHoldsOneChunkAndIsCutOff(t *testing.T) {
	t.Parallel()
	world := apitest.New()
	const size = 1000
	publish(t, world, 5000, "order", `{"pad":"`+strings.Repeat("x", size)+`"}`)
	synctest.Test(t, func(t *testing.T) {
		surface, err := api.New(world.Config(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		w := &stuck{header: http.Header{}, patience: 2}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/events/tail?since=2h&envelope=true", http.NoBody)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		began := time.Now()
		surface.ServeHTTP(w, r)
		if took := time.Since(began); took != api.StreamPatience {
			t.Errorf("a reader that reads nothing was kept for %v, want %v", took, api.StreamPatience)
		}
		if limit := api.TailChunk + 3*size; w.offered > limit {
			t.Errorf("%d bytes were held for a slow reader, want at most %d", w.offered, limit)
		}
		// One scan for each chunk that was read, and not one more.
		if got := world.Scans(); got != 2 {
			t.Errorf("the journal was scanned %d times for a reader that took one chunk, want 2", got)
		}
	})
}

func TestTailHeartbeatsWhileNothingHappens(t *testing.T) {
	t.Parallel()
	world := apitest.New()
	synctest.Test(t, func(t *testing.T) {
		world.History = apitest.NewHistory() // channels belong to the bubble
		surface, err := api.New(world.Config(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*api.TailPeriod+time.Second)
		defer cancel()
		w := &stuck{header: http.Header{}, patience: 1000}
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/events/tail", http.NoBody)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		surface.ServeHTTP(w, r)
		if got := strings.Count(w.taken.String(), `"type":"heartbeat"`); got != 4 {
			t.Errorf("%d heartbeats in %v, want the first and one every %v:\n%s", got, 3*api.TailPeriod, api.TailPeriod, w.taken.String())
		}
	})
}

func TestTailOfHeadHasNoBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() { done <- b.do(t, http.MethodHead, "/api/v1/events/tail", "") }()
	select {
	case w := <-done:
		if w.Code != http.StatusOK {
			t.Errorf("HEAD = %d", w.Code)
		}
	case <-time.After(10 * time.Second):
		t.Error("HEAD of a stream does not end")
	}
}

// counter ends the request when it has seen so many lines.
type counter struct {
	*stuck

	lines  int
	cancel context.CancelFunc
}

func (c *counter) Write(p []byte) (int, error) {
	if c.lines -= bytes.Count(p, []byte{'\n'}); c.lines <= 0 {
		c.cancel()
	}
	return len(p), nil
}

func BenchmarkTail(b *testing.B) {
	const events = 1000
	world := apitest.New()
	world.History = apitest.NewHistory()
	surface, err := api.New(world.Config(slog.New(slog.DiscardHandler)))
	if err != nil {
		b.Fatal(err)
	}
	for i := range events {
		ev := &store.Event{
			Envelope: event.Envelope{ID: event.NewID(apitest.Now), Source: "com.example", DetailType: "order", Detail: fmt.Appendf(nil, `{"n":%d}`, i)},
			Bus:      "default", Received: apitest.Now,
		}
		if err := world.Publish(b.Context(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/events/tail?since=2h", http.NoBody)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		surface.ServeHTTP(&counter{&stuck{header: http.Header{}}, events + 1, cancel}, r)
		cancel()
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}
