package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/lifecycle"
)

func TestStopRunsInReverseOrderAndOnce(t *testing.T) {
	t.Parallel()
	var g lifecycle.Group
	var got []string
	g.OnStop("a", func(context.Context) error { got = append(got, "a"); return errors.New("broken") })
	g.Go("b", func(ctx context.Context) error { <-ctx.Done(); got = append(got, "b"); return ctx.Err() })
	g.OnStop("c", func(context.Context) error { got = append(got, "c"); return nil })
	err := g.Stop(t.Context())
	if diff := cmp.Diff([]string{"c", "b", "a"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "stopping a: broken") {
		t.Errorf("Stop() = %v, want the error of a", err)
	}
	if err := g.Stop(t.Context()); err != nil || len(got) != 3 {
		t.Errorf("the second Stop() = %v, and stopped %d things", err, len(got))
	}
}

func TestAServiceThatEndsByItselfIsReported(t *testing.T) {
	t.Parallel()
	var g lifecycle.Group
	g.Go("listener", func(context.Context) error { return errors.New("port taken") })
	if err := <-g.Failed(); err.Error() != "running listener: port taken" {
		t.Errorf("Failed() = %v", err)
	}
	if err := g.Stop(t.Context()); err == nil {
		t.Error("Stop() hides the error")
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g lifecycle.Group
		release := make(chan struct{})
		g.Go("stubborn", func(context.Context) error { <-release; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Stop(ctx); err == nil || !strings.Contains(err.Error(), "stubborn did not stop in time") {
			t.Errorf("Stop() = %v", err)
		}
		close(release)
	})
}
