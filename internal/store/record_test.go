package store_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
)

func TestDeliveryIDsArePrintedWithoutDotsAndReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := store.NewDeliveryID(store.Position(rapid.Uint64().Draw(t, "at")), event.ID(rapid.String().Draw(t, "id")),
			rapid.String().Draw(t, "rule"), rapid.String().Draw(t, "target"), rapid.String().Draw(t, "run"))
		text := id.String()
		if strings.Contains(text, ".") || len(text) != 30 {
			t.Fatalf("printed as %q", text)
		}
		if back, err := store.ParseDeliveryID(text); err != nil || back != id {
			t.Fatalf("ParseDeliveryID(%q) = %v, %v, want %v", text, back, err, id)
		}
	})
	a := store.NewDeliveryID(1, "e", "ab", "c", "")
	for _, b := range []store.DeliveryID{
		store.NewDeliveryID(1, "e", "a", "bc", ""), store.NewDeliveryID(1, "e", "ab", "", "c"),
		store.NewDeliveryID(1, "f", "ab", "c", ""), store.NewDeliveryID(2, "e", "ab", "c", ""),
	} {
		if a == b {
			t.Errorf("two deliveries share the id %s", a)
		}
	}
	for _, bad := range []string{"", "dlv_", strings.Repeat("x", 30), "dlv_" + strings.Repeat("z", 26), "dlv_" + strings.Repeat("0", 27)} {
		if _, err := store.ParseDeliveryID(bad); err == nil {
			t.Errorf("ParseDeliveryID(%q) succeeds", bad)
		}
	}
}

func TestStatesAreNamedAndReadBack(t *testing.T) {
	t.Parallel()
	for s := store.Pending; s <= store.Interrupted; s++ {
		if back, err := store.ParseDeliveryState(s.String()); err != nil || back != s {
			t.Errorf("ParseDeliveryState(%q) = %v, %v", s, back, err)
		}
	}
	if _, err := store.ParseDeliveryState("unknown"); err == nil {
		t.Error("unknown is a state")
	}
}
