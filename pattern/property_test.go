package pattern_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/pattern"
)

// The generators draw from few names and values, so that patterns and events
// meet often, repeat keys, nest arrays and mix dotted with nested keys.

func drawJSON(t *rapid.T, what string, choices ...string) string {
	return rapid.SampledFrom(choices).Draw(t, what)
}

func drawKey(t *rapid.T) string {
	return drawJSON(t, "key", `"a"`, `"b"`, `"c"`, `"d"`, `"a.b"`, `"b.c"`, `"a-b"`, `"a\u002eb"`, `"A"`)
}

func drawScalar(t *rapid.T) string {
	return drawJSON(t, "scalar", `"x"`, `"y"`, `"X"`, `"xy"`, `"yx"`, `"x*y"`, `""`, `"10.0.0.1"`, `"010.0.0.01"`, `"11.0.0.1"`,
		`"::1"`, `"0:0::1"`, `"1"`, `"\u0078"`, `1`, `1.0`, `1e0`, `2`, `-0`, `0`, `0.5`, `100`, `9007199254740993`,
		`9007199254740993.0`, `1e400`, `true`, `false`, `null`, `"null"`, `"x\ny"`, `"ü"`)
}

func drawEventValue(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case depth > 0 && kind < 3:
		return drawEventObject(t, depth-1)
	case depth > 0 && kind < 7:
		n := rapid.IntRange(0, 3).Draw(t, "elements")
		parts := make([]string, n)
		for i := range parts {
			parts[i] = drawEventValue(t, depth-1)
		}
		return "[" + strings.Join(parts, " , ") + "]"
	default:
		return drawScalar(t)
	}
}

func drawEventObject(t *rapid.T, depth int) string {
	n := rapid.IntRange(0, 3).Draw(t, "members")
	parts := make([]string, n)
	for i := range parts {
		parts[i] = drawKey(t) + ": " + drawEventValue(t, depth)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func drawAlternative(t *rapid.T) string {
	if rapid.IntRange(0, 2).Draw(t, "plain") == 0 {
		return drawScalar(t)
	}
	return drawJSON(t, "operator",
		`{"prefix":"x"}`, `{"prefix":""}`, `{"prefix":{"equals-ignore-case":"X"}}`, `{"suffix":"y"}`,
		`{"suffix":{"equals-ignore-case":"Y"}}`, `{"equals-ignore-case":"XY"}`, `{"wildcard":"*x*"}`, `{"wildcard":"x\\*y"}`,
		`{"wildcard":"*"}`, `{"anything-but":"x"}`, `{"anything-but":["x","y"]}`, `{"anything-but":1}`,
		`{"anything-but":[0,2]}`, `{"anything-but":{"prefix":"x"}}`, `{"anything-but":{"suffix":["x","y"]}}`,
		`{"anything-but":{"wildcard":"*x*"}}`, `{"anything-but":{"equals-ignore-case":"x"}}`, `{"numeric":[">",0]}`,
		`{"numeric":["=",1]}`, `{"numeric":[">=",0,"<",2]}`, `{"numeric":["<=",0.5]}`, `{"cidr":"10.0.0.0/8"}`, `{"cidr":"::/64"}`,
		`{"exists":true}`, `{"exists":false}`, `{"exists":false}`, `{"exactly":"10.0.0.1"}`)
}

func drawPatternObject(t *rapid.T, depth int) string {
	n := rapid.IntRange(1, 3).Draw(t, "fields")
	parts := make([]string, n)
	for i := range parts {
		switch kind := rapid.IntRange(0, 19).Draw(t, "kind"); {
		case depth > 0 && kind > 9:
			parts[i] = drawKey(t) + ":" + drawPatternObject(t, depth-1)
		case depth > 0 && kind == 9:
			branches := rapid.IntRange(2, 3).Draw(t, "branches")
			objects := make([]string, branches)
			for j := range objects {
				objects[j] = drawPatternObject(t, depth-1)
			}
			parts[i] = `"$or":[` + strings.Join(objects, ",") + "]"
		default:
			alternatives := make([]string, rapid.IntRange(1, 3).Draw(t, "alternatives"))
			for j := range alternatives {
				alternatives[j] = drawAlternative(t)
			}
			parts[i] = drawKey(t) + ":[" + strings.Join(alternatives, ",") + "]"
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestMatchAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		texts := make([]string, rapid.IntRange(1, 4).Draw(t, "patterns"))
		patterns := make([]*pattern.Pattern, len(texts))
		for i := range texts {
			texts[i] = drawPatternObject(t, 2)
			p, err := pattern.Compile([]byte(texts[i]))
			if err != nil {
				t.Fatalf("Compile(%s): %v", texts[i], err)
			}
			patterns[i] = p
		}
		set := pattern.NewSet(patterns)
		for range 20 {
			event := drawEventObject(t, 3)
			want := checkAgainstModel(t, patterns, event)
			got, err := set.Match([]byte(event), nil)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("Set.Match(%s) of %s = %v, %v, want %v", event, texts, got, err, want)
			}
		}
	})
}

// checkAgainstModel returns which patterns match by the model, after each of
// them gave the same verdict and an explanation that fits it.
func checkAgainstModel(t *rapid.T, patterns []*pattern.Pattern, event string) []int {
	t.Helper()
	var matching []int
	for i, p := range patterns {
		want, err := modelMatch([]byte(p.String()), []byte(event))
		if err != nil {
			t.Fatalf("model of %s: %v", p, err)
		}
		if want {
			matching = append(matching, i)
		}
		if got, err := p.Match([]byte(event)); err != nil || got != want {
			t.Fatalf("Match(%s, %s) = %v, %v, want %v", p, event, got, err, want)
		}
		if e, err := p.Explain([]byte(event)); err != nil || e.Matched != want || want != (len(e.Failures) == 0) {
			t.Fatalf("Explain(%s, %s) = %+v, %v, want matched %v", p, event, e, err, want)
		}
	}
	return matching
}

// drawNest is arrays in arrays around objects, to many levels. The objects
// hold numbers at the given keys, and at "d" a nest with keys of its own.
func drawNest(t *rapid.T, depth int, keys ...string) string {
	if depth == 0 || rapid.IntRange(0, 9).Draw(t, "object") == 0 {
		var members []string
		for _, key := range keys {
			if v := rapid.IntRange(0, 3).Draw(t, key); v < 2 {
				members = append(members, fmt.Sprintf("%q:%d", key, v))
			}
			if key == "d" {
				members = append(members, `"d":`+drawNest(t, 3, "e", "f"))
			}
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	parts := make([]string, rapid.SampledFrom([]int{1, 1, 1, 2, 2, 3}).Draw(t, "elements"))
	for i := range parts {
		parts[i] = drawNest(t, depth-1, keys...)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// Elements are told apart over many levels of arrays and over several arrays
// at one field, and absence is asked for in the element that the fields before
// it are in.
func TestElementsOfDeepArraysAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := []string{`"z":[{"exists":false}]`}
		for _, key := range []string{"a", "b", "d.e", "d.f", "g"} {
			alternatives := drawJSON(t, key, "", "0", "1", "0,1", `{"exists":false}`, `1,{"exists":false}`)
			if alternatives != "" {
				fields = append(fields, `"`+key+`":[`+alternatives+`]`)
			}
		}
		p, err := pattern.Compile([]byte(`{"q":{` + strings.Join(fields, ",") + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			members := make([]string, rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "arrays"))
			for i := range members {
				members[i] = `"q":` + drawNest(t, 6/len(members), "a", "b", "d", "g")
			}
			checkAgainstModel(t, []*pattern.Pattern{p}, "{"+strings.Join(members, ",")+"}")
		}
	})
}

// A detail held apart gives the verdict of the event written as one text.
func TestEventInPartsAgreesWithTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		envelope := drawEventObject(t, 2)
		detail := drawEventValue(t, 3)
		if rapid.IntRange(0, 9).Draw(t, "broken") == 0 {
			detail += drawJSON(t, "rest", "}", "]", ",1", " x", `"`)
		}
		glue := ","
		if envelope == "{}" {
			glue = ""
		}
		whole := strings.TrimSuffix(envelope, "}") + glue + `"detail":` + detail + "}"
		text := `{"detail":` + drawPatternObject(t, 2) + `}`
		if rapid.Bool().Draw(t, "other field") {
			text = fmt.Sprintf(`{"a":[%s],"$or":[{"detail":[%s]},%s]}`, drawAlternative(t), drawAlternative(t), text)
		}
		p, err := pattern.Compile([]byte(text))
		if err != nil {
			t.Fatalf("Compile(%s): %v", text, err)
		}
		parts := pattern.Event{Envelope: []byte(envelope), Detail: []byte(detail)}
		want, wantErr := p.Match([]byte(whole))
		got, err := p.MatchEvent(parts)
		if got != want || (err == nil) != (wantErr == nil) || (wantErr == nil) != json.Valid([]byte(whole)) {
			t.Fatalf("MatchEvent(%s, %s, %s) = %v, %v, want %v, %v", text, envelope, detail, got, err, want, wantErr)
		}
		set := pattern.NewSet([]*pattern.Pattern{nil, p})
		matched, err := set.MatchEvent(parts, []int{7})
		if wantSet := []int{7, 1}[:1+btoi(want)]; !slices.Equal(matched, wantSet) || (err == nil) != (wantErr == nil) {
			t.Fatalf("Set.MatchEvent(%s, %s, %s) = %v, %v, want %v, %v", text, envelope, detail, matched, err, wantSet, wantErr)
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func FuzzCompile(f *testing.F) {
	for _, c := range corpus(f) {
		if c.PatternText != nil {
			f.Add([]byte(*c.PatternText))
		} else {
			f.Add([]byte(c.Pattern))
		}
	}
	f.Add([]byte("{\"a\":[\"\xff\"]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := pattern.Compile(text)
		if err == nil {
			if !json.Valid(text) || p.String() != string(text) {
				t.Fatalf("Compile accepts %q", text)
			}
			if _, err := pattern.CompileWithin(text, pattern.Limits{}); err != nil {
				t.Fatalf("CompileWithin(%q) without limits: %v", text, err)
			}
			return
		}
		var invalid *pattern.Error
		if !errors.As(err, &invalid) || invalid.Reason == "" || invalid.Line < 1 || invalid.Column < 1 ||
			invalid.Offset < 0 || invalid.Offset > len(text) {
			t.Fatalf("Compile(%q) = %#v, want an *Error with a position in the text", text, err)
		}
		if !strings.Contains(err.Error(), invalid.Reason) {
			t.Fatalf("Error() = %q lacks the reason %q", err, invalid.Reason)
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, c := range corpus(f) {
		if c.PatternText == nil {
			f.Add([]byte(c.Pattern), []byte(c.Event))
		}
	}
	f.Add([]byte(`{"a":["x"]}`), []byte(`{"b":[[{"c":1e5,"d":"\ud83d\ude00"}],-0.1E+2],"a":"x"} `))
	f.Add([]byte(`{"a":["x"]}`), []byte(`{"a":"x"}}`))
	f.Fuzz(func(t *testing.T, text, event []byte) {
		p, err := pattern.Compile(text)
		if err != nil {
			return
		}
		got, err := p.Match(event)
		var malformed *pattern.EventError
		switch {
		case errors.Is(err, pattern.ErrTooComplex):
			return
		case (err == nil) != (json.Valid(event) && strings.TrimLeft(string(event), " \t\r\n")[0] == '{'):
			t.Fatalf("Match(%q, %q): %v", text, event, err)
		case err != nil && (!errors.As(err, &malformed) || malformed.Offset > len(event)):
			t.Fatalf("Match(%q, %q): %#v, want an *EventError", text, event, err)
		}
		all, err2 := pattern.NewSet([]*pattern.Pattern{p}).Match(event, nil)
		if (len(all) == 1) != got || (err == nil) != (err2 == nil) {
			t.Fatalf("Set.Match(%q, %q) = %v, %v, want %v, %v", text, event, all, err2, got, err)
		}
		e, err2 := p.Explain(event)
		if e.Matched != got || (err == nil) != (err2 == nil) {
			t.Fatalf("Explain(%q, %q) = %+v, %v, want %v, %v", text, event, e, err2, got, err)
		}
		if err != nil || len(text) > 300 || len(event) > 300 {
			return
		}
		want, err := modelMatch(text, event)
		if err == nil && got != want {
			t.Fatalf("Match(%q, %q) = %v, want %v", text, event, got, want)
		}
	})
}
