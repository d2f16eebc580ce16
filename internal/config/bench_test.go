package config_test

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkLoad reads a large file: 500 sources, 500 destinations, 2,000 rules.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("sources:\n")
	for i := range 500 {
		fmt.Fprintf(&text, "  source-%d: {provider: github, secrets: [\"${SECRET}\"]}\n", i)
	}
	text.WriteString("destinations:\n")
	for i := range 500 {
		fmt.Fprintf(&text, "  out-%d: {kind: webhook, url: \"https://example.com/%d\"}\n", i, i)
	}
	text.WriteString("rules:\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "  rule-%d:\n    pattern: {source: [github.com], detail: {action: [opened, a%d]}}\n", i, i)
		fmt.Fprintf(&text, "    targets: [{to: out-%d, input: {paths: {a: $.detail.a}, template: '{\"a\": <a>}'}}]\n", i%500)
	}
	file := []byte(text.String())
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if c, problems := load("bench.yaml", file); c == nil {
			b.Fatal(lines(problems))
		}
	}
}
