package bench_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/bench"
)

func TestQuantilesAreValuesThatWereSeen(t *testing.T) {
	t.Parallel()
	ms := func(n int) bench.Millis { return bench.Millis(time.Duration(n) * time.Millisecond) }
	var hundred []int64
	for n := 100; n > 0; n-- {
		hundred = append(hundred, int64(n)*int64(time.Millisecond))
	}
	for _, tc := range []struct {
		name   string
		values []int64
		want   bench.Spread
	}{
		{name: "none"},
		{name: "one", values: []int64{5e6}, want: bench.Spread{P50: ms(5), P99: ms(5), Max: ms(5)}},
		{name: "two", values: []int64{9e6, 1e6}, want: bench.Spread{P50: ms(1), P99: ms(9), Max: ms(9)}},
		{name: "hundred", values: hundred, want: bench.Spread{P50: ms(50), P99: ms(99), Max: ms(100)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, bench.SpreadOf(tc.values)); diff != "" {
				t.Errorf("spread (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := bench.Median(tc.values); got != tc.want {
			t.Errorf("median of %v = %v, want %v", tc.values, got, tc.want)
		}
	}
}

func TestNumbersArePrintedForPeople(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 999.6: "1,000", 1234567: "1,234,567", 12345: "12,345"} {
		if got := bench.Count(v); got != want {
			t.Errorf("count(%v) = %q, want %q", v, got, want)
		}
	}
	for n, want := range map[int64]string{512: "512 B", 1024: "1 KiB", 1500: "1500 B", 100 << 10: "100 KiB", 35<<20 + 5: "35 MiB"} {
		if got := bench.Size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
