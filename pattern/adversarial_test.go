package pattern_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/pattern"
)

// These events are made to cost time or stack. Each test would not end, or
// would take minutes, if the matcher were naive about it.

func wantMatch(t *testing.T, text, event string, want bool) {
	t.Helper()
	p := mustCompile(t, text)
	got, err := p.Match([]byte(event))
	if err != nil || got != want {
		t.Errorf("Match(%.80s, %.80s) = %v, %v, want %v", text, event, got, err, want)
	}
}

func TestEventsNestTo1000Levels(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `{"a":["x"],"b":["x"]}`)
	nests := []struct{ name, open, inner, closing string }{
		{"arrays nobody asks for", "[", "", "]"},
		{"objects nobody asks for", `{"q":`, "1", "}"},
		{"arrays at a field", "[", `"x"`, "]"},
	}
	for _, nest := range nests {
		for _, depth := range []int{999, 1000, 100_000, 1_000_000} {
			key := "skipped"
			if nest.inner == `"x"` {
				key = "a"
			}
			event := `{"b":"x","` + key + `":` + strings.Repeat(nest.open, depth) + nest.inner +
				strings.Repeat(nest.closing, depth) + "}"
			got, err := p.Match([]byte(event))
			var invalid *pattern.EventError
			switch {
			case depth < 1000 && (err != nil || got != (key == "a")):
				t.Errorf("%s, %d levels: %v, %v, want no error", nest.name, depth+1, got, err)
			case depth >= 1000 && !errors.As(err, &invalid):
				t.Errorf("%s, %d levels: error %v, want an EventError", nest.name, depth+1, err)
			}
		}
	}
}

func TestNestingCountsTheEnvelopeAroundADetail(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `{"source":["x"]}`)
	for depth, valid := range map[int]bool{999: true, 1000: false} {
		detail := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		_, err := p.MatchEvent(pattern.Event{Envelope: []byte(`{"source":"x"}`), Detail: []byte(detail)})
		var invalid *pattern.EventError
		if (err == nil) != valid || (err != nil && (!errors.As(err, &invalid) || !invalid.Detail)) {
			t.Errorf("detail of %d levels: error %v, want valid %v", depth, err, valid)
		}
	}
}

func TestPatternsNestTo999Levels(t *testing.T) {
	t.Parallel()
	for depth, valid := range map[int]bool{999: true, 1000: false, 1_000_000: false} {
		text := strings.Repeat(`{"a":`, depth) + `["x"]` + strings.Repeat("}", depth)
		p, err := pattern.CompileWithin([]byte(text), pattern.Limits{})
		if (err == nil) != valid {
			t.Errorf("pattern of %d levels: error %v, want valid %v", depth, err, valid)
		}
		if err != nil {
			continue
		}
		event := strings.ReplaceAll(text, `["x"]`, `"x"`)
		if got, err := p.Match([]byte(event)); err != nil || !got {
			t.Errorf("Match of %d levels = %v, %v, want true", depth, got, err)
		}
	}
}

// elements is an array of n objects made by a function.
func elements(n int, element func(int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(element(i))
	}
	return "[" + b.String() + "]"
}

func TestConditionsBelowOneLargeArrayTakeLinearTime(t *testing.T) {
	t.Parallel()
	text := `{"q":{"a":[1],"b":[1],"c":[1],"d":[{"exists":false}]}}`
	// Every element meets two conditions of three, so that each is tried.
	almost := elements(60_000, func(i int) string {
		return []string{`{"a":1,"b":1}`, `{"b":1,"c":1}`, `{"a":1,"c":1}`, `{"a":1,"b":1,"c":1,"d":1}`}[i%4]
	})
	wantMatch(t, text, `{"q":`+almost+`}`, false)
	wantMatch(t, text, `{"q":`+strings.TrimSuffix(almost, "]")+`,{"a":1,"b":1,"c":1}]}`, true)
}

func TestConditionsBelowSeparateArraysDoNotMultiply(t *testing.T) {
	t.Parallel()
	ones := elements(3000, func(int) string { return `{"x":1,"y":1}` })
	var event, text []string
	for i := range 10 {
		event = append(event, fmt.Sprintf(`"a%d":%s`, i, ones))
		text = append(text, fmt.Sprintf(`"a%d":{"x":[1],"y":[1]}`, i))
	}
	all := "{" + strings.Join(event, ",") + "}"
	wantMatch(t, "{"+strings.Join(text, ",")+"}", all, true)
	wantMatch(t, "{"+strings.Join(text, ",")+`,"z":{"x":[1]}}`, strings.TrimSuffix(all, "}")+`,"z":[{"x":2}]}`, false)
	wantMatch(t, "{"+strings.Join(text, ",")+`,"a9":{"x":[1],"y":[2]}}`, all, false)
}

func TestArraysInArraysTakeLinearTime(t *testing.T) {
	t.Parallel()
	// 300 by 300 elements; no inner one has both.
	inner := elements(300, func(i int) string { return []string{`{"x":1}`, `{"y":1}`}[i%2] })
	event := `{"o":` + elements(300, func(int) string { return `{"id":1,"i":` + inner + `}` }) + `}`
	wantMatch(t, `{"o":{"id":[1],"i":{"x":[1],"y":[1]}}}`, event, false)
	wantMatch(t, `{"o":{"id":[1],"i":{"x":[1]}}}`, event, true)
}

// Repeated keys give one field many arrays, and choosing one element of each
// is as hard as satisfying a formula: the search has to give up.
func TestFormulaWrittenAsAnEventIsGivenUp(t *testing.T) {
	t.Parallel()
	const variables, clauses = 60, 40
	var text, event []string
	for c := range clauses {
		text = append(text, fmt.Sprintf(`"c%02d":[1]`, c))
	}
	literals := func(v int, positive bool) string {
		var met []string
		for c := range clauses {
			for k := range 3 {
				if h := (c*2654435761 + k*40503 + c*c*k*97) % (2 * variables); h/2 == v && (h%2 == 0) == positive {
					met = append(met, fmt.Sprintf(`"c%02d":1`, c))
				}
			}
		}
		return "{" + strings.Join(met, ",") + "}"
	}
	for v := range variables {
		event = append(event, `"q":[`+literals(v, true)+`,`+literals(v, false)+`]`)
	}
	p := mustCompile(t, `{"q":{`+strings.Join(text, ",")+`,"zz":[{"exists":true}]}}`)
	whole := "{" + strings.Join(event, ",") + `,"q":[{"c00":1},{"zz":1}]}`
	if _, err := p.Match([]byte(whole)); err != nil && !errors.Is(err, pattern.ErrTooComplex) {
		t.Errorf("Match = %v, want a verdict or ErrTooComplex", err)
	}
}

// What one pattern gives up on must not hide the verdicts of the others.
func TestSetReportsTheOthersWhenOneIsTooComplex(t *testing.T) {
	t.Parallel()
	event := `{"source":"s","q":{"c":7},` + strings.Repeat(`"q":[{"a":1},{"b":1},{"a":1,"b":1}],`, 3000) + `"q":[{"d":2},{"d":2}]}`
	set := pattern.NewSet([]*pattern.Pattern{
		mustCompile(t, `{"q":{"a":[1],"b":[1],"c":[1],"d":[2]}}`),
		mustCompile(t, `{"source":["s"]}`),
	})
	got, err := set.Match([]byte(event), nil)
	if !errors.Is(err, pattern.ErrTooComplex) || len(got) != 1 || got[0] != 1 {
		t.Errorf("Set.Match = %v, %v, want [1] and ErrTooComplex", got, err)
	}
}

func TestWildcardsTakeLinearTime(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1<<20)
	text := `{"k":[{"wildcard":"` + strings.Repeat("*a", 500) + `*b"},{"anything-but":{"wildcard":"*a*"}}]}`
	p, err := pattern.CompileWithin([]byte(text), pattern.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Match([]byte(`{"k":"` + long + `"}`)); err != nil || got {
		t.Errorf("Match = %v, %v, want false", got, err)
	}
	if got, err := p.Match([]byte(`{"k":"` + long + `b"}`)); err != nil || !got {
		t.Errorf("Match = %v, %v, want true", got, err)
	}
}

func TestRepeatedValuesDoNotRepeatTheWorkOfASet(t *testing.T) {
	t.Parallel()
	var patterns []*pattern.Pattern
	for i := range 500 {
		patterns = append(patterns, mustCompile(t, fmt.Sprintf(`{"source":["x"],"n":[%d]}`, i)))
	}
	event := `{"n":7,"source":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 200_000), ",") + `]}`
	got, err := pattern.NewSet(patterns).Match([]byte(event), nil)
	if err != nil || len(got) != 1 || got[0] != 7 {
		t.Errorf("Set.Match = %v, %v, want [7]", got, err)
	}
}

func TestHugeNumbersAreRead(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("7", 1<<20)
	wantMatch(t, `{"k":[7,{"numeric":[">",0]}]}`, `{"k":`+digits+`}`, false)
	wantMatch(t, `{"k":[{"anything-but":7}]}`, `{"k":0.`+digits+`}`, true)
	wantMatch(t, `{"k":[0]}`, `{"k":0.`+strings.Repeat("0", 1<<20)+`e99999999999999999999}`, true)
}

func TestExpansionOfAPatternIsBounded(t *testing.T) {
	t.Parallel()
	pair := `{"$or":[{"a":["x"]},{"b":["x"]}]}`
	var parts []string
	for i := range 64 {
		parts = append(parts, fmt.Sprintf(`"k%d":%s`, i, pair))
	}
	_, err := pattern.CompileWithin([]byte("{"+strings.Join(parts, ",")+"}"), pattern.Limits{})
	var invalid *pattern.Error
	if !errors.As(err, &invalid) || invalid.Reason != "over 1000 rule combinations" {
		t.Errorf("2^64 combinations: %v, want a refusal", err)
	}
}
