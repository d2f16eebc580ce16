package embedded_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// What retention expires is told by events that stand in the batch of the
// outcomes, and whose own deliveries the queue hands out.
func TestExpiredDeliveriesAreTold(t *testing.T) {
	t.Parallel()
	s, err := embedded.Open(context.WithoutCancel(t.Context()), embedded.Config{Dir: t.TempDir(), SegmentBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	waiting := func(bus, target string) *store.Event {
		now := time.Now()
		return &store.Event{
			Bus: bus, Received: now,
			Envelope: event.Envelope{ID: event.NewID(now), Source: "s", DetailType: "t", Time: now, Detail: []byte(`{}`)},
			Deliveries: []*store.Delivery{{
				Rule: "r", Target: target, Destination: target, Origin: store.OriginMatch, Mode: store.Async, Deadline: now.Add(time.Hour),
			}},
		}
	}
	for range 40 {
		ev := waiting("default", "crm")
		ev.Envelope.Detail = []byte(`{"pad":"` + strings.Repeat("x", 200) + `"}`)
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats().Waiting; len(got) != 1 || got["crm"] != 40 {
		t.Errorf("waiting %v, want 40 for crm", got)
	}
	told := 0
	dropped, err := s.Retain(t.Context(), store.Retention{Bytes: 1, Expired: func(list []store.ExpiredDelivery) []*store.Event {
		told += len(list)
		for _, d := range list {
			if d.Destination != "crm" || d.EventID == "" || d.ID.IsZero() {
				t.Errorf("told of %+v", d)
			}
		}
		return []*store.Event{waiting("notices", "pager")}
	}})
	if err != nil || dropped.Expired == 0 || int64(told) != dropped.Expired {
		t.Fatalf("Retain = %+v, %v; told of %d", dropped, err, told)
	}
	if st := s.Stats(); st.Waiting["crm"] != 40-dropped.Expired || st.Waiting["crm"]+st.Waiting["pager"] != st.Pending {
		t.Errorf("waiting %v of %d, %d expired", st.Waiting, st.Pending, dropped.Expired)
	}
	page, err := s.Events(t.Context(), store.EventQuery{Bus: "notices"})
	if err != nil || len(page.Events) == 0 {
		t.Fatalf("events that tell of it: %v, %v", page.Events, err)
	}
	claimed, _, err := s.Claim(t.Context(), store.ClaimRequest{
		Now: time.Now().Add(time.Second), Rooms: []store.Room{{Destination: "pager", Count: 1000, Bytes: 1 << 20}},
	})
	if err != nil || len(claimed) != len(page.Events) {
		t.Errorf("claimed %d of their deliveries (%v), want %d", len(claimed), err, len(page.Events))
	}
}
