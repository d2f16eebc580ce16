package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/grapnel/grapnel/internal/fault"
)

func TestKindOfFindsTheOutermostFault(t *testing.T) {
	t.Parallel()
	inner := fault.Wrap(fault.NotFound, io.EOF, "event_not_found", "event %s is not stored", "x")
	outer := fmt.Errorf("showing event: %w", inner)
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{nil, 0},
		{io.EOF, fault.Internal},
		{inner, fault.NotFound},
		{outer, fault.NotFound},
		{fault.Wrap(fault.Transient, outer, "", "later"), fault.Transient},
	} {
		if got := fault.KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
	if !errors.Is(outer, io.EOF) {
		t.Error("the cause is lost")
	}
}

func TestEveryKindHasANameAndAStatus(t *testing.T) {
	t.Parallel()
	for k := fault.Internal; k <= fault.Canceled; k++ {
		if k.String() == "" || k.String() == "unknown" || k.Status() < 400 {
			t.Errorf("kind %d: name %q, status %d", k, k, k.Status())
		}
	}
	if got := fault.Kind(99).String(); got != "unknown" {
		t.Errorf("Kind(99) = %q", got)
	}
}

func TestParseKindReadsWhatStringPrints(t *testing.T) {
	t.Parallel()
	for k := fault.Internal; k <= fault.Canceled; k++ {
		if got, ok := fault.ParseKind(k.String()); !ok || got != k {
			t.Errorf("ParseKind(%s) = %v, %t", k, got, ok)
		}
	}
	for _, name := range []string{"", "unknown", "Invalid"} {
		if got, ok := fault.ParseKind(name); ok {
			t.Errorf("ParseKind(%q) = %v, want none", name, got)
		}
	}
}
