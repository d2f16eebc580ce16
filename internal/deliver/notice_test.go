package deliver_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/store"
)

func TestExpiredNamesEachDelivery(t *testing.T) {
	t.Parallel()
	id := store.NewDeliveryID(5, "e-1", "r", "t", "")
	ev := deliver.Expired(&deliver.Snapshot{Account: "1", Region: "x"}, []store.ExpiredDelivery{
		{ID: id, EventID: "e-1", Rule: "r", Target: "t", Destination: `c"rm`},
		{ID: id, EventID: "e-2"},
	}, time.Unix(5, 0))
	var got map[string]any
	if err := json.Unmarshal(ev.Envelope.Detail, &got); err != nil {
		t.Fatalf("%s: %v", ev.Envelope.Detail, err)
	}
	want := map[string]any{"count": 2.0, "deliveries": []any{
		map[string]any{"delivery": id.String(), "event": "e-1", "rule": "r", "target": "t", "destination": `c"rm`},
		map[string]any{"delivery": id.String(), "event": "e-2", "rule": "", "target": "", "destination": ""},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("detail (-want +got):\n%s", diff)
	}
	if !deliver.IsNotice(ev) || ev.Bus != "default" || ev.Envelope.DetailType != deliver.NoticeExpired {
		t.Errorf("event %+v", ev)
	}
}
