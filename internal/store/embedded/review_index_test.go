package embedded_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// opened opens the store in dir; the caller closes it.
func opened(t *testing.T, cfg embedded.Config) *embedded.Store {
	t.Helper()
	cfg.Reserve = -1
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	return s
}

func shut(t *testing.T, s *embedded.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// plain makes a small event with the deliveries.
func plain(deliveries ...*store.Delivery) *store.Event {
	now := time.Now()
	return &store.Event{
		Envelope: event.Envelope{ID: event.NewID(now), Source: "s", DetailType: "t", Detail: []byte("{}")},
		Received: now, Bus: "default", Deliveries: deliveries,
	}
}

// bound makes a delivery for destination x whose rule marks the row of live.db.
func bound() *store.Delivery {
	return &store.Delivery{
		Rule: rowMark, Target: "t", Destination: "x", Origin: store.OriginMatch, Mode: store.Async,
		Deadline: time.Now().Add(time.Hour),
	}
}

const rowMark = "a-rule-that-is-in-every-row"

// fillStore appends n events, each made by one, and returns them.
func fillStore(t *testing.T, s *embedded.Store, n int, one func(i int) *store.Event) []*store.Event {
	t.Helper()
	var all []*store.Event
	for len(all) < n {
		batch := &store.Batch{}
		for range min(500, n-len(all)) {
			e := one(len(all))
			batch.Events = append(batch.Events, e)
			all = append(all, e)
		}
		if err := s.Append(t.Context(), batch); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
	return all
}

func TestAnIndexWhoseRebuildWasInterruptedIsCompleted(t *testing.T) {
	t.Parallel()
	const n = 60_000
	dir := t.TempDir()
	s := opened(t, embedded.Config{Dir: dir})
	all := fillStore(t, s, n, func(int) *store.Event { return plain() })
	shut(t, s)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(dir, "index-00000001.db"+suffix)) // some are not there
	}
	s = opened(t, embedded.Config{Dir: dir})
	for whole := s.Stats().IndexLag; ; {
		if lag := s.Stats().IndexLag; lag < whole {
			t.Logf("interrupted with %d of %d bytes to go", lag, whole)
			break
		}
	}
	all = append(all, fillStore(t, s, 1, func(int) *store.Event { return plain() })...)
	shut(t, s)
	s = opened(t, embedded.Config{Dir: dir})
	defer shut(t, s)
	missing := 0
	for i := 0; i < len(all); i += 500 {
		found, err := s.EventsByID(t.Context(), string(all[i].Envelope.ID))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d events are not in the index", missing, (len(all)+499)/500)
	}
}

func TestTheIndexLagOfAStoreAtRestIsZero(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := opened(t, embedded.Config{Dir: dir})
	all := fillStore(t, s, 100, func(int) *store.Event { return plain() })
	shut(t, s)
	s = opened(t, embedded.Config{Dir: dir})
	defer shut(t, s)
	if _, err := s.EventsByID(t.Context(), string(all[0].Envelope.ID)); err != nil {
		t.Fatal(err)
	}
	if lag := s.Stats().IndexLag; lag != 0 {
		t.Errorf("IndexLag = %d", lag)
	}
}

func TestEventsAreFoundByIDWhileSegmentsRoll(t *testing.T) {
	t.Parallel()
	s := opened(t, embedded.Config{Dir: t.TempDir(), SegmentBytes: 12 << 10})
	defer shut(t, s)
	done := make(chan struct{})
	ids := make(chan event.ID, 1000)
	go func() {
		defer close(done)
		for id := range ids {
			if _, err := s.EventsByID(t.Context(), string(id)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var all []*store.Event
	for range 500 {
		e := plain()
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{e}}); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
		select {
		case ids <- e.Envelope.ID:
		default:
		}
	}
	close(ids)
	<-done
	missing := 0
	for _, e := range all {
		found, err := s.EventsByID(t.Context(), string(e.Envelope.ID))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d events cannot be found by their id", missing, len(all))
	}
}
