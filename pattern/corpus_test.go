package pattern_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/pattern"
)

// corpusCase is a line of testdata/pattern-cases.jsonl: a verdict recorded from
// the service or measured on its library. Pattern and event stay raw, because
// number spellings and repeated keys are what some cases are about.
type corpusCase struct {
	ID          string          `json:"id"`
	Pattern     json.RawMessage `json:"pattern"`
	PatternText *string         `json:"pattern_text"`
	Event       json.RawMessage `json:"event"`
	Match       bool            `json:"match"`
	Recommended *bool           `json:"recommended"`
	Note        string          `json:"note"`
	Message     string          `json:"message"`
	Exception   string          `json:"exception"`
}

func (c corpusCase) want() bool {
	if c.Recommended != nil {
		return *c.Recommended
	}
	return c.Match
}

func corpus(tb testing.TB) []corpusCase {
	tb.Helper()
	text, err := os.ReadFile("testdata/pattern-cases.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	var cases []corpusCase
	for line := range bytes.Lines(text) {
		var c corpusCase
		if err := json.Unmarshal(line, &c); err != nil {
			tb.Fatalf("line %d: %v", len(cases)+1, err)
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		tb.Fatal("the corpus is empty")
	}
	return cases
}

func TestCompileRefusesWhatTheServiceRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range corpus(t) {
		if c.PatternText == nil {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			_, err := pattern.Compile([]byte(*c.PatternText))
			var invalid *pattern.Error
			if !errors.As(err, &invalid) {
				t.Fatalf("Compile(%s) = %v, want an error (%s)", *c.PatternText, err, c.Note)
			}
			if c.Exception != "" && invalid.Exception != c.Exception {
				t.Errorf("Compile(%s): exception %s, want %s", *c.PatternText, invalid.Exception, c.Exception)
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			if want := "Event pattern is not valid. Reason: " + c.Message; c.Message != "" && first != want {
				t.Errorf("Compile(%s): %q, want %q", *c.PatternText, first, want)
			}
		})
	}
}

func TestEveryWayToMatchGivesTheVerdictsOfTheService(t *testing.T) {
	t.Parallel()
	for _, c := range corpus(t) {
		if c.PatternText != nil {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			p, err := pattern.Compile(c.Pattern)
			if err != nil {
				t.Fatalf("Compile(%s): %v", c.Pattern, err)
			}
			got, err := p.Match(c.Event)
			if err != nil || got != c.want() {
				t.Errorf("Match(%s, %s) = %v, %v, want %v (%s)", c.Pattern, c.Event, got, err, c.want(), c.Note)
			}
			e, err := p.Explain(c.Event)
			if err != nil || e.Matched != c.want() || (len(e.Failures) == 0) != c.want() {
				t.Errorf("Explain(%s, %s) = %+v, %v, want matched %v", c.Pattern, c.Event, e, err, c.want())
			}
		})
	}
}

// One set of all patterns must give each event the verdicts that the patterns
// give one by one: the fields and values of the others must not disturb it.
func TestSetOfTheWholeCorpusAgreesWithEachPattern(t *testing.T) {
	t.Parallel()
	var patterns []*pattern.Pattern
	var events []json.RawMessage
	for _, c := range corpus(t) {
		if c.PatternText != nil {
			continue
		}
		p, err := pattern.Compile(c.Pattern)
		if err != nil {
			t.Fatalf("Compile(%s): %v", c.Pattern, err)
		}
		patterns, events = append(patterns, p), append(events, c.Event)
	}
	set := pattern.NewSet(patterns)
	for _, e := range events {
		got, err := set.Match(e, nil)
		if err != nil {
			t.Fatalf("Set.Match(%s): %v", e, err)
		}
		for i, p := range patterns {
			want, err := p.Match(e)
			if err != nil {
				t.Fatalf("Match(%s, %s): %v", p, e, err)
			}
			if has := len(got) > 0 && got[0] == i; has != want {
				t.Errorf("Set.Match(%s) has %s: %v, want %v", e, p, has, want)
			} else if has {
				got = got[1:]
			}
		}
	}
}

func TestCorpusIsValidJSON(t *testing.T) {
	t.Parallel()
	for _, c := range corpus(t) {
		if c.PatternText == nil && (!bytes.HasPrefix(c.Pattern, []byte{'{'}) || len(c.Event) == 0) {
			t.Errorf("%s has no pattern or no event", c.ID)
		}
	}
}
