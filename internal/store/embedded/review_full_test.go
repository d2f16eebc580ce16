package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// ended makes a delivery that ended badly.
func ended(t *testing.T, s *embedded.Store) store.DeliveryID {
	t.Helper()
	e := plain(bound())
	if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{e}, Claimed: true}); err != nil {
		t.Fatal(err)
	}
	id := e.Deliveries[0].ID
	dead := &store.Outcome{Delivery: id, Time: time.Now(), State: store.Dead, Attempt: 1, Counted: true, Class: "c"}
	if err := s.Append(t.Context(), &store.Batch{Outcomes: []*store.Outcome{dead}}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDeliveriesGoOnThoughARetryMeetsAnIndexThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := opened(t, embedded.Config{Dir: t.TempDir()})
	defer shut(t, s)
	id := ended(t, s)
	if _, err := s.Delivery(t.Context(), id); err != nil { // the index has it
		t.Fatal(err)
	}
	free, err := embedded.Fill(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	fillStore(t, s, n, func(int) *store.Event { return plain(bound()) })
	again := &store.Outcome{Delivery: id, Time: time.Now(), State: store.Pending, Reset: true, By: "api"}
	if err := s.Append(t.Context(), &store.Batch{Outcomes: []*store.Outcome{again}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Events(ctx, store.EventQuery{Limit: 1}); err == nil {
		t.Error("the index can be written: the test shows nothing")
	}
	claimAll(t, s, n+1) // what was retried, too
	if err := free(); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Delivery(t.Context(), id); err != nil || rec.State != store.Pending || rec.Attempts != 1 {
		t.Errorf("Delivery = %+v, %v", rec, err)
	}
}

func TestRetainEndsThoughTheViewCannotFollow(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{Dir: t.TempDir(), SegmentBytes: 10 << 10}
	embedded.Tighten(&cfg)
	s := opened(t, cfg)
	defer shut(t, s)
	fillStore(t, s, 3, func(int) *store.Event { return plain(bound()) })
	s.Stats()
	free, err := embedded.Fill(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{plain(bound())}}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Stats().JournalBytes
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = s.Retain(ctx, store.Retention{Bytes: 1})
	if grown := s.Stats().JournalBytes - before; grown > 200<<10 {
		t.Errorf("Retain has written %d bytes and returns %v", grown, err)
	}
	t.Logf("Retain: %v", err)
	if err := free(); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Retain(t.Context(), store.Retention{Bytes: 1}); err != nil {
		t.Errorf("Retain when there is space: %v", err)
	}
}
