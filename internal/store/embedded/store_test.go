package embedded_test

import (
	"context"
	"testing"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
	"github.com/grapnel/grapnel/internal/store/storetest"
)

func config(o storetest.Options) embedded.Config {
	cfg := embedded.Config{
		Dir: o.Dir, Now: o.Now, SegmentBytes: o.SegmentBytes, DedupeWindow: o.DedupeWindow, DedupeCount: o.DedupeCount,
		Reserve: -1,
	}
	if o.Collide {
		embedded.Collide(&cfg)
	}
	return cfg
}

func open(ctx context.Context, o storetest.Options) (store.Store, error) {
	return embedded.Open(ctx, config(o))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}
