package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// sample makes an event of about 1 KiB with one delivery.
func sample(i int) *store.Event {
	now := time.Now()
	body := fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, i, bytes.Repeat([]byte("x"), 900))
	return &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(now), Source: fmt.Sprintf("source-%d", i%20), DetailType: fmt.Sprintf("type-%d", i%50),
			Account: "000000000000", Region: "us-east-1", Time: now, Detail: body,
		},
		Received: now, Bus: "default", Endpoint: "in", DetailIsBody: true, DedupeKey: fmt.Sprintf("key-%d", i),
		Raw: &store.Raw{
			Method: "POST", Path: "/in/github", Proto: "HTTP/1.1", Host: "hooks.example.com", RemoteAddr: "192.0.2.1:55555", Body: body,
			Header: []store.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "GitHub-Hookshot/1"}},
		},
		Deliveries: []*store.Delivery{{
			Rule: "all", Target: "t", Destination: "d", Origin: store.OriginMatch, Mode: store.Async, Deadline: now.Add(24 * time.Hour),
		}},
	}
}

func openBench(b *testing.B, dir string) *embedded.Store {
	b.Helper()
	s, err := embedded.Open(b.Context(), embedded.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func delivered(id store.DeliveryID) *store.Outcome {
	return &store.Outcome{Delivery: id, Time: time.Now(), State: store.Delivered, Attempt: 1, Counted: true, Status: 200}
}

// BenchmarkFullCycle appends events with one delivery each and its success, from
// 64 goroutines; the time runs until the last outcome is durable and all views
// have everything. Without events' own work: making them is not timed.
func BenchmarkFullCycle(b *testing.B) {
	for _, p := range []int{1, 64} {
		b.Run(fmt.Sprint("p=", p), func(b *testing.B) {
			s := openBench(b, b.TempDir())
			defer s.Close() //nolint:errcheck // a benchmark
			events := make([]*store.Event, b.N)
			for i := range events {
				events[i] = sample(i)
			}
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var producers, outcomes sync.WaitGroup
			outcomes.Add(b.N)
			b.ResetTimer()
			for range p {
				producers.Go(func() {
					for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
						cycle(b, s, events[i], &took[i], &outcomes)
					}
				})
			}
			producers.Wait()
			outcomes.Wait()
			durable := b.Elapsed()
			if _, err := s.Events(b.Context(), store.EventQuery{Limit: 1}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(b.N)/durable.Seconds(), "durable/s")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "indexed/s")
			b.ReportMetric(float64(took[b.N/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-µs")
		})
	}
}

func cycle(b *testing.B, s *embedded.Store, e *store.Event, took *time.Duration, outcomes *sync.WaitGroup) {
	b.Helper()
	begin := time.Now()
	if err := s.Append(context.Background(), &store.Batch{Events: []*store.Event{e}, Claimed: true}); err != nil {
		b.Error(err)
	}
	*took = time.Since(begin)
	s.Submit(&store.Batch{Outcomes: []*store.Outcome{delivered(e.Deliveries[0].ID)}, Lazy: true, Reserve: true}, func(err error) {
		if err != nil {
			b.Error(err)
		}
		outcomes.Done()
	})
}

// BenchmarkMillion builds a store of 1,000,000 events, of which every hundredth
// delivery is dead and every thousandth pending, and measures what is asked of it.
func BenchmarkMillion(b *testing.B) {
	if testing.Short() {
		b.Skip("builds a store of 1 GB")
	}
	const n = 1_000_000
	dir := b.TempDir()
	s := openBench(b, dir)
	began := time.Now()
	var middle store.DeliveryID
	for i := 0; i < n; {
		batch, outcomes := &store.Batch{Claimed: true}, &store.Batch{Reserve: true}
		for range 1000 {
			batch.Events = append(batch.Events, sample(i))
			i++
		}
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		for j, e := range batch.Events {
			o := delivered(e.Deliveries[0].ID)
			switch {
			case j == 999:
				continue
			case j%100 == 50:
				o.State, o.Class = store.Dead, "timeout"
			}
			outcomes.Outcomes = append(outcomes.Outcomes, o)
			middle = o.Delivery
		}
		if err := s.Append(b.Context(), outcomes); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Events(b.Context(), store.EventQuery{Limit: 1}); err != nil {
		b.Fatal(err)
	}
	st := s.Stats()
	b.Logf("built in %v: %d MB journal, %d MB index", time.Since(began), st.JournalBytes>>20, st.IndexBytes>>20)
	askMillion(b, s, middle)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	openMillion(b, dir)
}

func askMillion(b *testing.B, s *embedded.Store, id store.DeliveryID) {
	b.Helper()
	ctx := b.Context()
	e, err := s.Event(ctx, id.Event)
	if err != nil {
		b.Fatal(err)
	}
	events := func(q store.EventQuery) func(*testing.B) {
		return func(b *testing.B) {
			b.Helper()
			for b.Loop() {
				if page, err := s.Events(ctx, q); err != nil || len(page.Events) == 0 {
					b.Fatal(len(page.Events), err)
				}
			}
		}
	}
	deliveries := func(q store.DeliveryQuery) func(*testing.B) {
		return func(b *testing.B) {
			b.Helper()
			for b.Loop() {
				if page, err := s.Deliveries(ctx, q); err != nil || len(page.Deliveries) == 0 {
					b.Fatal(len(page.Deliveries), err)
				}
			}
		}
	}
	b.Run("newest", events(store.EventQuery{Headers: true}))
	b.Run("newest-with-bodies", events(store.EventQuery{}))
	b.Run("source", events(store.EventQuery{Headers: true, Source: "source-7"}))
	b.Run("source+type", events(store.EventQuery{Headers: true, Source: "source-7", Type: "type-7"}))
	b.Run("state-dead", events(store.EventQuery{Headers: true, State: store.Dead}))
	b.Run("state-dead+source", events(store.EventQuery{Headers: true, State: store.Dead, Source: "source-10"}))
	b.Run("state-pending", events(store.EventQuery{Headers: true, State: store.Pending}))
	b.Run("until-the-middle", events(store.EventQuery{Headers: true, Until: e.Received}))
	b.Run("page-in-the-middle", events(store.EventQuery{Headers: true, After: e.At}))
	b.Run("deliveries-newest", deliveries(store.DeliveryQuery{}))
	b.Run("deliveries-of-a-destination-dead", deliveries(store.DeliveryQuery{Destination: "d", State: store.Dead}))
	b.Run("deliveries-of-an-event", deliveries(store.DeliveryQuery{Event: id.Event}))
	b.Run("event", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Event(ctx, id.Event); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("event-by-id", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.EventsByID(ctx, string(e.Envelope.ID)); err != nil || len(all) != 1 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("delivery", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Delivery(ctx, id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func openMillion(b *testing.B, dir string) {
	b.Helper()
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s := openBench(b, dir)
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	until := func(what string, fn func(s *embedded.Store) error) func(*testing.B) {
		return func(b *testing.B) {
			b.Helper()
			for b.Loop() {
				s := openBench(b, dir)
				if err := fn(s); err != nil {
					b.Fatal(what, err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		}
	}
	b.Run("open-until-the-first-list", until("list", func(s *embedded.Store) error {
		_, err := s.Events(context.Background(), store.EventQuery{Limit: 1})
		return err
	}))
	b.Run("open-until-the-first-keyed-append", until("append", func(s *embedded.Store) error {
		e := sample(0)
		e.DedupeKey = strconv.FormatUint(rand.Uint64(), 10)
		return s.Append(context.Background(), &store.Batch{Events: []*store.Event{e}, Claimed: true})
	}))
}

// BenchmarkRebuild makes the indexes and live.db of 200,000 events anew.
func BenchmarkRebuild(b *testing.B) {
	const n = 200_000
	dir := b.TempDir()
	s := openBench(b, dir)
	for i := 0; i < n; {
		batch := &store.Batch{Claimed: true}
		for range 1000 {
			batch.Events = append(batch.Events, sample(i))
			i++
		}
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		outcomes := &store.Batch{Reserve: true}
		for _, e := range batch.Events {
			outcomes.Outcomes = append(outcomes.Outcomes, delivered(e.Deliveries[0].ID))
		}
		if err := s.Append(b.Context(), outcomes); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		removeViews(b, dir)
		b.StartTimer()
		s := openBench(b, dir)
		if _, err := s.Events(b.Context(), store.EventQuery{Limit: 1}); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Held(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
}

func removeViews(tb testing.TB, dir string) {
	tb.Helper()
	for _, pattern := range []string{"live.db*", "index-*.db*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// BenchmarkBacklog claims and delivers from 200,000 pending deliveries, in batches
// of 200, and reports what they cost in memory.
func BenchmarkBacklog(b *testing.B) {
	const n = 200_000
	s := openBench(b, b.TempDir())
	defer s.Close() //nolint:errcheck // a benchmark
	for i := 0; i < n; {
		batch := &store.Batch{}
		for range 1000 {
			e := sample(i)
			e.DedupeKey = ""
			batch.Events = append(batch.Events, e)
			i++
		}
		if err := s.Append(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Events(b.Context(), store.EventQuery{Limit: 1}); err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.Claim(b.Context(), store.ClaimRequest{Now: time.Now(), Rooms: []store.Room{{Destination: "d"}}}); err != nil {
		b.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	done := 0
	for b.Loop() {
		claimed, _, err := s.Claim(b.Context(), store.ClaimRequest{
			Now: time.Now(), Rooms: []store.Room{{Destination: "d", Count: 200, Bytes: 1 << 30}},
		})
		if err != nil || len(claimed) == 0 {
			b.Fatal(len(claimed), err)
		}
		outcomes := &store.Batch{Reserve: true}
		for _, c := range claimed {
			outcomes.Outcomes = append(outcomes.Outcomes, delivered(c.Delivery.ID))
		}
		if err := s.Append(b.Context(), outcomes); err != nil {
			b.Fatal(err)
		}
		done += len(claimed)
	}
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(mem.HeapAlloc)/(1<<20), "heap-MB")
}
