package pattern_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/pattern"
)

func explain(t *testing.T, text, event string) pattern.Explanation {
	t.Helper()
	e, err := mustCompile(t, text).Explain([]byte(event))
	if err != nil {
		t.Fatalf("Explain(%s, %s): %v", text, event, err)
	}
	return e
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, event, want string }{
		{"match", `{"a":["x"]}`, `{"a":"x"}`, "match"},
		{
			"other value", `{"detail":{"action":["opened","reopened",{"prefix":"re"}]}}`, `{"detail":{"action":"closed"}}`,
			`detail.action is "closed", wanted "opened", "reopened" or {"prefix":"re"}`,
		},
		{"missing", `{"detail":{"action":["opened"]}}`, `{"detail":{}}`, `detail.action is not in the event, wanted "opened": detail has no field "action"`},
		{"missing at the top", `{"detail":{"action":["opened"]}}`, `{}`, `detail.action is not in the event, wanted "opened"`},
		{
			"name in other case", `{"detail":{"action":["opened"]}}`, `{"detail":{"Action":"opened"}}`,
			`detail.action is not in the event, wanted "opened": the event has detail.Action, and names are compared exactly`,
		},
		{
			"object", `{"detail":{"user":["ann"]}}`, `{"detail":{"user":{"login":"ann"}}}`,
			`detail.user holds no value, wanted "ann": it is an object; name the fields inside it`,
		},
		{"empty list", `{"resources":["r"]}`, `{"resources":[]}`, `resources holds no value, wanted "r": it is a list without values`},
		{
			"text instead of an object", `{"detail":{"user":{"login":["ann"]}}}`, `{"detail":{"user":"ann"}}`,
			`detail.user.login is not in the event, wanted "ann": detail.user is a string, no object`,
		},
		{
			"JSON in a string", `{"detail":{"user":{"login":["ann"]}}}`, `{"detail":{"user":"{\"login\":\"ann\"}"}}`,
			`detail.user.login is not in the event, wanted "ann": detail.user is a string that holds JSON, which patterns do not look into`,
		},
		{
			"other case", `{"a":["Push"]}`, `{"a":"push"}`,
			`a is "push", wanted "Push": it differs only by case; did you mean {"equals-ignore-case": "Push"}?`,
		},
		{
			"prefix in other case", `{"a":[{"prefix":"Refs/"}]}`, `{"a":"refs/heads"}`,
			`a is "refs/heads", wanted {"prefix":"Refs/"}: it differs only by case; did you mean {"prefix": {"equals-ignore-case": "Refs/"}}?`,
		},
		{"blanks in the event", `{"a":["push"]}`, `{"a":"push "}`, `a is "push ", wanted "push": it differs only by blanks at its ends, which count`},
		{
			"blanks in the pattern", `{"a":[" push"]}`, `{"a":"push"}`,
			`a is "push", wanted " push": it differs only by the blanks of " push" in the pattern, which count`,
		},
		{
			"string for a number", `{"a":[{"numeric":[">",5]}]}`, `{"a":"10"}`,
			`a is "10", wanted {"numeric":[">",5]}: the event has a string, the pattern wants a number: 10 without quotes`,
		},
		{"number for a string", `{"a":["10"]}`, `{"a":10}`, `a is 10, wanted "10": the event has the number 10, the pattern the string "10"`},
		{"string for a literal", `{"a":[true]}`, `{"a":"true"}`, `a is "true", wanted true: the event has a string, the pattern wants the literal true`},
		{"present", `{"a":[{"exists":false}]}`, `{"a":[1,2]}`, `a is there as 1 and 2, wanted it absent`},
		{"many values", `{"a":["x"]}`, `{"a":[1,2,2,3,4,5,6,7]}`, `a is 1, 2, 3, 4, 5 and more, wanted "x"`},
		{
			"several fields", `{"b":["x"],"a":["x"],"c":[1]}`, `{"a":"y","b":"z","c":1}`,
			"a is \"y\", wanted \"x\"\n  b is \"z\", wanted \"x\"",
		},
		{
			"different elements", `{"d":{"m":{"p":["1"],"q":["2"],"r":[{"exists":true}]}}}`, `{"d":{"m":[{"p":"1","r":1},{"q":"2","r":1}]}}`,
			`d.m.q is not "2" where the other fields fit: no single element of d.m satisfies all of d.m.p, d.m.q`,
		},
		{
			"three fields, any two of them together", `{"m":{"p":[1],"q":[1],"r":[1]}}`, `{"m":[{"p":1,"q":1},{"q":1,"r":1},{"p":1,"r":1}]}`,
			`m.r is not 1 where the other fields fit: no single element of m satisfies all of m.p, m.q, m.r`,
		},
		{
			"absent in every other element", `{"m":{"p":[{"exists":false}],"q":[1]}}`, `{"m":[{"q":1},{"p":2}]}`,
			`m.p is there as 2, wanted it absent`,
		},
	}
	for _, tt := range tests {
		got := explain(t, tt.text, tt.event).String()
		want := tt.want
		if want != "match" {
			want = "no match\n  " + want
		}
		if got != want {
			t.Errorf("%s: Explain(%s, %s):\n%s\nwant:\n%s", tt.name, tt.text, tt.event, got, want)
		}
	}
}

func TestExplainShowsTheBranchThatCameFurthest(t *testing.T) {
	t.Parallel()
	text := `{"source":["s"],"$or":[{"a":["1"],"b":["1"]},{"a":["2"],"b":["2"]},{"c":["1"]}]}`
	got := explain(t, text, `{"source":"s","a":"2","b":"3"}`)
	want := pattern.Explanation{
		Combination: 2, Combinations: 3,
		Failures: []pattern.Failure{{Path: "b", Reason: pattern.ReasonOtherValue, Wanted: []string{`"2"`}, Found: []string{`"3"`}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Explain (-want +got):\n%s", diff)
	}
	if s := got.String(); !strings.HasPrefix(s, "no match; of the combinations of $or, this one came furthest:\n  b is") {
		t.Errorf("String() = %q", s)
	}
	if got := explain(t, text, `{"source":"s","c":"1"}`); !got.Matched || got.Combination != 3 {
		t.Errorf("Explain of a match = %+v, want combination 3", got)
	}
}

func TestExplanationAsJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(explain(t, `{"a":["x"]}`, `{"b":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"matched":false,"combination":1,"combinations":1,"failures":[` +
		`{"path":"a","reason":"missing","wanted":["\"x\""],"found":null}]}`
	if string(got) != want {
		t.Errorf("Marshal = %s, want %s", got, want)
	}
}

func TestExplainCutsLongValues(t *testing.T) {
	t.Parallel()
	got := explain(t, `{"a":["x"]}`, `{"a":"`+strings.Repeat("é", 4000)+`"}`).Failures[0].Found[0]
	if len(got) > 200 || !strings.HasSuffix(got, `é…"`) {
		t.Errorf("Found = %q, want it cut after a whole character", got)
	}
}

func TestExplainEventInParts(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, `{"detail":{"user":["ann"]}}`)
	e, err := p.ExplainEvent(pattern.Event{Envelope: []byte(`{"source":"s"}`), Detail: []byte(`{"User":"ann"}`)})
	if err != nil || len(e.Failures) != 1 || !strings.Contains(e.Failures[0].Hint, "detail.User") {
		t.Errorf("ExplainEvent = %+v, %v, want a hint at detail.User", e, err)
	}
	if _, err := p.ExplainEvent(pattern.Event{Envelope: []byte(`{}`), Detail: []byte(`{`)}); err == nil {
		t.Error("ExplainEvent of malformed JSON: no error")
	}
}
