package pattern_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/grapnel/grapnel/pattern"
)

// pushEvent is a push as a gateway holds it: an envelope of its own and the
// body of the request as the detail, about 8 KiB.
func pushEvent(tb testing.TB) pattern.Event {
	tb.Helper()
	body, err := os.ReadFile("testdata/push.json")
	if err != nil {
		tb.Fatal(err)
	}
	return pattern.Event{
		Envelope: []byte(`{"version":"0","id":"0199a0de-5b0e-7c52-9d58-5f0e3a8c7d11","detail-type":"push",` +
			`"source":"github.com","account":"000000000000","time":"2026-05-15T15:20:41Z",` +
			`"region":"us-east-1","resources":[]}`),
		Detail: body,
	}
}

// pushRule is the rule of one of many repositories, written as people do.
func pushRule(i int) string {
	return fmt.Sprintf(`{"source": ["github.com"], "detail-type": ["push"], "detail": {
		"ref": ["refs/heads/main", {"prefix": "refs/heads/release/"}],
		"repository": {"full_name": ["acme/widgets-%d"], "private": [false]},
		"commits": {"author": {"username": [{"anything-but": "bot"}]}, "modified": [{"suffix": ".go"}]}}}`, i)
}

// broadRule cannot be told apart by an exact value of the event.
func broadRule(i int) string {
	return fmt.Sprintf(`{"source": ["github.com"], "detail-type": ["push"], "detail": {
		"ref": [{"prefix": "refs/heads/team-%d/"}], "repository": {"size": [{"numeric": [">", %d]}]}}}`, i, i)
}

func otherRule(i int) string {
	return fmt.Sprintf(`{"source": ["stripe.com"], "detail-type": ["charge-%d"],
		"detail": {"data": {"object": {"amount": [{"numeric": [">", %d]}]}}}}`, i, i)
}

func setOf(tb testing.TB, n int, rule func(int) string) *pattern.Set {
	tb.Helper()
	patterns := make([]*pattern.Pattern, n)
	for i := range patterns {
		patterns[i] = mustCompile(tb, rule(i))
	}
	// The first rule is always one that matches.
	patterns[0] = mustCompile(tb, `{"source": ["github.com"], "detail-type": ["push"], "detail": {
		"ref": ["refs/heads/main"], "repository": {"full_name": ["acme/widgets"]}}}`)
	return pattern.NewSet(patterns)
}

func mustCompile(tb testing.TB, text string) *pattern.Pattern {
	tb.Helper()
	p, err := pattern.Compile([]byte(text))
	if err != nil {
		tb.Fatalf("Compile(%s): %v", text, err)
	}
	return p
}

func BenchmarkSetMatch(b *testing.B) {
	event := pushEvent(b)
	kinds := []struct {
		name string
		rule func(int) string
	}{{"repositories", pushRule}, {"broad", broadRule}, {"unrelated", otherRule}}
	for _, kind := range kinds {
		for _, n := range []int{1, 100, 1000} {
			set := setOf(b, n, kind.rule)
			b.Run(fmt.Sprintf("%s/rules=%d", kind.name, n), func(b *testing.B) {
				b.SetBytes(int64(len(event.Envelope) + len(event.Detail)))
				b.ReportAllocs()
				dst := make([]int, 0, n)
				for b.Loop() {
					got, err := set.MatchEvent(event, dst)
					if err != nil || len(got) != 1 {
						b.Fatalf("MatchEvent = %v, %v, want one match", got, err)
					}
				}
			})
		}
	}
}

// BenchmarkSetMatchManyElements looks for an element in an array of 5,000.
func BenchmarkSetMatchManyElements(b *testing.B) {
	event := []byte(`{"source":"inventory","detail":{"items":[{"sku":"a","stock":1}`)
	for i := range 5000 {
		event = fmt.Appendf(event, `,{"sku":"s%d","stock":%d}`, i, i%7)
	}
	event = append(event, `]}}`...)
	set := pattern.NewSet([]*pattern.Pattern{
		mustCompile(b, `{"detail": {"items": {"sku": [{"prefix": "s"}], "stock": [{"numeric": [">", 100]}]}}}`),
	})
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := set.Match(event, nil); err != nil || len(got) != 0 {
			b.Fatalf("Match = %v, %v, want none", got, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	text := []byte(pushRule(1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pattern.Compile(text); err != nil {
			b.Fatal(err)
		}
	}
}
