package deliver_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/internal/deliver"
)

func TestDelayIsFullJitterUnderAGrowingBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := deliver.Policy{
			Base: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "base")),
			Cap:  time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "cap")),
		}
		failures := rapid.IntRange(1, 10_000).Draw(t, "failures")
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		bound := p.Base
		for i := 1; i < failures && bound < p.Cap; i++ {
			bound *= 2
		}
		bound = min(bound, p.Cap)
		got := p.Delay(failures, random)
		if want := time.Duration(random * float64(bound)); got != want {
			t.Fatalf("Delay(%d, %v) of base %v, cap %v = %v, want %v", failures, random, p.Base, p.Cap, got, want)
		}
		if got < 0 || got >= bound && bound > 1 {
			t.Fatalf("Delay(%d, %v) = %v is not in [0, %v)", failures, random, got, bound)
		}
	})
}

// The cap was chosen so that the attempts of EventBridge last as long as its age.
func TestDefaultAttemptsLastAboutADay(t *testing.T) {
	t.Parallel()
	p := deliver.DefaultPolicy()
	var expected time.Duration
	for n := 1; n < p.Attempts; n++ {
		expected += p.Delay(n, 0.5)
	}
	if expected < 22*time.Hour || expected > 24*time.Hour {
		t.Errorf("185 attempts are expected to last %v, want 22 to 24 h", expected)
	}
	rapid.Check(t, func(t *rapid.T) {
		var sum time.Duration
		for n := 1; n < p.Attempts; n++ {
			sum += p.Delay(n, rapid.Float64Range(0, 0.999).Draw(t, "random"))
		}
		if sum > 185*16*time.Minute {
			t.Fatalf("attempts last %v", sum)
		}
	})
}

func TestPolicyFillsInDefaults(t *testing.T) {
	t.Parallel()
	if got := (deliver.Policy{}).WithDefaults(); got != deliver.DefaultPolicy() {
		t.Errorf("WithDefaults = %+v, want %+v", got, deliver.DefaultPolicy())
	}
	own := deliver.Policy{Attempts: 3, MaxAge: time.Hour, Base: time.Minute, Cap: 2 * time.Minute}
	if got := own.WithDefaults(); got != own {
		t.Errorf("WithDefaults = %+v, want %+v", got, own)
	}
}
