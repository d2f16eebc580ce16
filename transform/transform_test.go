package transform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/transform"
)

// event has spellings that any decoding and encoding again would change.
const event = `{ "version": "0", "id":"e1", "detail-type": "push", "account":"111122223333",
	"region":"r", "time":"2026-10-02T08:15:30Z", "source":"s",
	"resources": [ "a" , "b" ],
	"detail": {
		"z": 1, "a": 1.50e+2, "big": 9007199254740993, "neg": -0.0,
		"esc": "caf\u00E9 \ud83d\ude80 \/ \ud800!", "quote": "\"", "slash": "\\", "tab": "\t", "ctl": "\b\f\n\r\"",
		"obj": { "k" : "v w" , "n" : [ 1 , 2 ] }, "empty": [], "no": null, "f": false,
		"list": [ {"id": 1, "tags": ["x"]}, {"id": "2"}, 3, {"tags": ["y", "z"]} ],
		"na/me": "slashed", "größe": 5, "nest": [[1,2],[3]], "ke\u0079": "escaped key",
		"dup": {"a": 1, "l": [1]}, "dup": {"b": 2}
	}
}`

func compile(tb testing.TB, spec transform.Spec) *transform.Transform {
	tb.Helper()
	compiled, err := transform.Compile(spec)
	if err != nil {
		tb.Fatalf("Compile(%+v): %v", spec, err)
	}
	return compiled
}

func apply(tb testing.TB, spec transform.Spec, event string) string {
	tb.Helper()
	out, err := compile(tb, spec).Apply(transform.Event{Envelope: []byte(event)}, vars())
	if err != nil {
		tb.Fatalf("Apply: %v", err)
	}
	return string(out)
}

func applyError(tb testing.TB, spec transform.Spec, event transform.Event) *transform.Error {
	tb.Helper()
	out, err := compile(tb, spec).Apply(event, vars())
	var e *transform.Error
	if !errors.As(err, &e) {
		tb.Fatalf("Apply = %s, %v, want an *Error", out, err)
	}
	if out != nil {
		tb.Errorf("Apply gives %q beside an error", out)
	}
	return e
}

func vars() transform.Vars {
	return transform.Vars{
		RuleARN: "arn:aws:events:r:1:rule/x", RuleName: "x",
		IngestionTime: time.Date(2026, 10, 2, 10, 15, 31, 999, time.FixedZone("", 7200)),
	}
}

func template(text string, paths map[string]string) transform.Spec {
	return transform.Spec{Transformer: &transform.Transformer{Template: text, Paths: paths}}
}

func TestPathSelectsTheValueAsItWasWritten(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"$.version":                 `"0"`,
		"$.resources":               `["a","b"]`,
		"$.resources[1]":            `"b"`,
		"$.resources[*]":            `["a","b"]`,
		"$.detail.a":                `1.50e+2`,
		"$.detail.big":              `9007199254740993`,
		"$.detail.neg":              `-0.0`,
		"$.detail.esc":              `"caf\u00E9 \ud83d\ude80 \/ \ud800!"`,
		"$.detail.obj":              `{"k":"v w","n":[1,2]}`,
		"$.detail.no":               `null`,
		"$.detail.na/me":            `"slashed"`,
		"$.detail.größe":            `5`,
		"$.detail.key":              `"escaped key"`,
		"$.detail.nest[0][1]":       `2`,
		"$.detail.nest[*][0]":       `[1,3]`,
		"$.detail.nest[*][*]":       `[1,2,3]`,
		"$.detail.list[*].id":       `[1,"2"]`,
		"$.detail.list[*].tags[*]":  `["x","y","z"]`,
		"$.detail.list[*].tags":     `[["x"],["y","z"]]`,
		"$.detail.list[3].tags[1]":  `"z"`,
		"$.detail.list[*].none":     `[]`,
		"$.detail.empty[*]":         `[]`,
		"$.detail.list[*].none[*]":  `[]`,
		"$.detail.dup":              `{"b":2}`,
		"$.detail.dup.b":            `2`,
		"$.detail.list[0].tags[00]": `"x"`,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(want, apply(t, transform.Spec{Path: path}, event)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPathThatSelectsNothingIsAnErrorOfApply(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"$.nothing", "$.detail.nothing", "$.detail.a.b", "$.resources[2]", "$.resources.a",
		"$.detail[0]", "$.detail.nothing[*]", "$.detail.obj[*]", "$.detail.a[*]",
		"$.Detail", "$.detail.dup.a", "$.detail.dup.l[*]", "$.detail.list[1].tags[*]",
		// Not well formed:
		"detail", "$detail", "$.", "$..id", "$.detail.*", "$.detail['a']", "$.resources[-1]",
		"$.resources[0:1]", "$.resources[?(@)]", "$.resources[", "$.resources[]", "$.a b", "@.a",
		"$.resources[+1]", "$.resources[99999999999999999999]", "$.resources[0",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			e := applyError(t, transform.Spec{Path: path}, transform.Event{Envelope: []byte(event)})
			if e.Code != transform.CodeNotFound || e.Path != path {
				t.Errorf("got code %s, path %q, want not_found and %q", e.Code, e.Path, path)
			}
		})
	}
}

func TestValidatePathSaysWhere(t *testing.T) {
	t.Parallel()
	for path, offset := range map[string]int{
		"$": -1, "$.detail-type": -1, "$.a/b[0].c_1[*]": -1, "$[0]": -1, "$.größe": -1,
		"": 0, "detail": 0, "$detail": 1, "$.": 2, "$..a": 2, "$.a.*": 4, "$.a['b']": 3,
		"$.a[-1]": 3, "$.a[1:2]": 3, "$.a b": 3, "$.a@": 3, "$.a[": 3, "$.é\xff": 4, "$.a[*": 3,
	} {
		err := transform.ValidatePath(path)
		var e *transform.Error
		switch {
		case offset < 0 && err != nil:
			t.Errorf("ValidatePath(%q) = %v, want nil", path, err)
		case offset >= 0 && !errors.As(err, &e):
			t.Errorf("ValidatePath(%q) = %v, want an *Error", path, err)
		case offset >= 0 && e.Offset != offset:
			t.Errorf("ValidatePath(%q) points at %d, want %d: %v", path, e.Offset, offset, e)
		}
	}
}

func TestTemplateValues(t *testing.T) {
	t.Parallel()
	paths := map[string]string{
		"esc": "$.detail.esc", "slash": "$.detail.slash", "big": "$.detail.big",
		"obj": "$.detail.obj", "none": "$.detail.none", "bad": "$..x", "no": "$.detail.no",
		"ids": "$.detail.list[*].id", "noids": "$.detail.list[*].none", "f": "$.detail.f",
		"nums": "$.detail.nest", "all": "$", "tab": "$.detail.tab", "quote": "$.detail.quote",
		"ctl": "$.detail.ctl",
	}
	tests := map[string]struct{ template, want string }{
		"escapes stay in value position": {`{"v":<esc>}`, `{"v":"caf\u00E9 \ud83d\ude80 \/ \ud800!"}`},
		"escapes are decoded in quotes":  {`{"v":"<esc>"}`, `{"v":"café 🚀 / ` + "\ufffd" + `!"}`},
		"escapes are decoded in text":    {`"<esc>"`, `"café 🚀 / ` + "\ufffd" + `!"`},
		"a quote in value position":      {`[<quote>]`, `["\""]`},
		"a quote in text":                {`"<quote>"`, `"""`},
		"control characters in text":     {`"<ctl>"`, "\"\b\f\n\r\"\""},
		"a tab in text":                  {`"<tab>"`, "\"\t\""},
		"a large number":                 {`{"v":<big>,"s":"<big>"}`, `{"v":9007199254740993,"s":"9007199254740993"}`},
		"a list":                         {`{"v":<ids>}`, `{"v":[1,"2"]}`},
		"a list in text":                 {`"<ids>"`, `"[1,2]"`},
		"an empty list":                  {`{"v":<noids>,"s":"<noids>"}`, `{"v":[],"s":"[]"}`},
		"numbers inside quotes":          {`{"v":"n <nums>"}`, `{"v":"n [[1,2],[3]]"}`},
		"a malformed path":               {`{"v":<bad>,"s":"<bad>"}`, `{"v":"","s":""}`},
		"null and false":                 {`{"v":"<no><f>","w":[<no>,<f>]}`, `{"v":"nullfalse","w":[null,false]}`},
		"an object in text":              {`"<obj>"`, `"{k:v w,n:[1,2]}"`},
		"blanks are copied":              {"\n { \"v\" :\t<f> }\r\n", "\n { \"v\" :\tfalse }\r\n"},
		"several lines of text":          {"\"a <f>\"\n\"b <none>\"\n", "\"a false\"\n\"b \"\n"},
		"text after blanks":              {"\n \"<f>\"", "\n \"false\""},
		"a placeholder alone":            {`<obj>`, `{"k":"v w","n":[1,2]}`},
		"an escaped quote is no end":     {`{"v":"\"<f>\"","w":<f>}`, `{"v":"\"false\"","w":false}`},
		"an escaped backslash":           {`{"v":"\\","w":<esc>}`, `{"v":"\\","w":"caf\u00E9 \ud83d\ude80 \/ \ud800!"}`},
		"a less-than sign":               {`{"v":"a<b c> <> < f> <<f>>"}`, `{"v":"a<b c> <> < f> <false>"}`},
		"a digit beside a number":        {`{"v":1<big>}`, `{"v":19007199254740993}`},
		"a predefined text":              {`{"v":"<aws.events.rule-name>"}`, `{"v":"x"}`},
		"time is UTC in whole seconds":   {`[<aws.events.event.ingestion-time>]`, `["2026-10-02T08:15:31Z"]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, apply(t, template(tt.template, paths), event)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestEventWithoutDetailLeavesOutWhatIsNotThere(t *testing.T) {
	t.Parallel()
	got := apply(t, template(`<aws.events.event>`, nil),
		`{"detail":{"id":"no"},"source": "s","detail-type":"push" ,"resources":[ ],"id":"1"}`)
	want := `{"id":"1","detailType":"push","source":"s","resources":[]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestVarsThatAreNotGivenAreEmpty(t *testing.T) {
	t.Parallel()
	compiled := compile(t, template(
		`[<aws.events.event.ingestion-time>,<aws.events.rule-arn>,<aws.events.rule-name>]`, nil))
	got, err := compiled.Apply(transform.Event{}, transform.Vars{RuleName: "a\"b\n"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `["","","a\"b\n"]`; string(got) != want {
		t.Errorf("Apply = %s, want %s", got, want)
	}
}

func TestDetailApartIsTheLastMember(t *testing.T) {
	t.Parallel()
	for envelope, want := range map[string]string{
		`{}`:             `{"detail":{"a":1}}`,
		` { "id" : 1 } `: `{"id":1,"detail":{"a":1}}`,
	} {
		for _, spec := range []transform.Spec{
			{},
			{Path: "$"},
			template(`<aws.events.event.json>`, nil),
			template(`<e>`, map[string]string{"e": "$"}),
		} {
			got, err := compile(t, spec).Apply(transform.Event{
				Envelope: []byte(envelope), Detail: []byte(" {\"a\" : 1}\n"),
			}, vars())
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("Apply = %s, want %s", got, want)
			}
		}
	}
}

func TestDetailApartWinsOverTheEnvelope(t *testing.T) {
	t.Parallel()
	got, err := compile(t, template(`[<a>,<b>]`,
		map[string]string{"a": "$.detail.a", "b": "$.detail.b[*]"})).Apply(transform.Event{
		Envelope: []byte(`{"detail":{"a":1,"b":[2]}}`), Detail: []byte(`{"c":3}`),
	}, vars())
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != `["",""]` {
		t.Errorf("Apply = %s, want nothing found", got)
	}
}

func TestCompactValuesAreNotCopied(t *testing.T) {
	t.Parallel()
	detail := []byte(`{"a":{"b":[1,2]}}`)
	got, err := compile(t, transform.Spec{Path: "$.detail.a"}).Apply(
		transform.Event{Envelope: []byte(`{}`), Detail: detail}, vars())
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &detail[5] {
		t.Error("the value was copied")
	}
	if _ = append(got, 'X'); string(detail) != `{"a":{"b":[1,2]}}` {
		t.Errorf("appending to the output changed the event: %s", detail)
	}
}

func TestValuesThatDoNotFitInsideQuotes(t *testing.T) {
	t.Parallel()
	injection := `x","admin":"true`
	for name, detail := range map[string]string{
		"quote":     `"say \"hi\""`,
		"injection": mustJSON(injection),
		"newline":   `"a\nb"`,
		"control":   `"a\u0001b"`,
		"backslash": `"ends with \\"`,
		"escape":    `"C:\\windows"`,
		"object":    `{"k":1}`,
		"strings":   `["a"]`,
		"mixed":     `[1,"2"]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ev := transform.Event{Envelope: []byte(`{}`), Detail: []byte(detail)}
			spec := template(`{"text": "<v>"}`, map[string]string{"v": "$.detail"})
			e := applyError(t, spec, ev)
			if e.Code != transform.CodeBreaksString || e.Name != "v" || e.Offset != 10 ||
				e.Path != "$.detail" {
				t.Errorf("got %+v", e)
			}
			for _, word := range []string{"say", "admin", "windows"} {
				if strings.Contains(e.Error(), word) {
					t.Errorf("the error quotes the event: %v", e)
				}
			}
			// Both ways out that the hint names do work.
			spec.Transformer.Escape = true
			out, err := compile(t, spec).Apply(ev, vars())
			if err != nil || !json.Valid(out) {
				t.Errorf("with Escape: %s, %v, want JSON", out, err)
			}
			out, err = compile(t, template(`{"text": <v>}`, spec.Transformer.Paths)).Apply(ev, vars())
			if err != nil || string(out) != `{"text": `+detail+`}` {
				t.Errorf("without quotes: %s, %v, want the value", out, err)
			}
		})
	}
}

func mustJSON(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func TestBackslashThatIsAnEscapeFitsInsideQuotes(t *testing.T) {
	t.Parallel()
	got := apply(t, template(`{"p":"<p>"}`, map[string]string{"p": "$.p"}), `{"p":"C:\\tmp"}`)
	if want := `{"p":"C:\tmp"}`; got != want {
		t.Errorf("Apply = %s, want %s: values are not escaped unless asked", got, want)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"v": "$.v"}
	for _, tt := range []struct{ template, event, want string }{
		{`{"t":"<v>!"}`, `{"v":"a\"b\\c\r\n\t\u0000é"}`, `{"t":"a\"b\\c\r\n\t\u0000é!"}`},
		{`{"t":"<v>"}`, `{"v":{"k":"\""}}`, `{"t":"{\"k\":\"\\\"\"}"}`},
		{`"<v>"`, `{"v":["a","b"]}`, `"[\"a\",\"b\"]"`},
		{`"<v>"`, `{"v":"plain"}`, `"plain"`},
		{`{"t":<v>}`, `{"v":"\""}`, `{"t":"\""}`},
	} {
		spec := template(tt.template, paths)
		spec.Transformer.Escape = true
		if got := apply(t, spec, tt.event); got != tt.want {
			t.Errorf("%s with %s = %s, want %s", tt.template, tt.event, got, tt.want)
		}
	}
}

func TestTemplatesThatGiveNoJSON(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"v": "$.source"}
	for text, offset := range map[string]int{
		`{"a": <v>`:         9,
		`{"a": <v>,}`:       10,
		`{"a": <v><v>}`:     9,
		`{"a": 1<v>}`:       7,
		`{a: <v>}`:          1,
		`{"a": <v>} x`:      11,
		`{"a": "<v>`:        6,
		`{"a": "\<v>"}`:     6, // < cannot be escaped, and a lone backslash is no JSON
		`{"a": "` + "\n\"}": 7,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			compiled := compile(t, template(text, paths))
			var warned bool
			for _, w := range compiled.Warnings() {
				warned = warned || w.Code == transform.CodeInvalidTemplate
				if w.Code == transform.CodeInvalidTemplate && w.Offset != offset {
					t.Errorf("warning points at %d, want %d: %v", w.Offset, offset, w)
				}
			}
			if !warned {
				t.Error("no warning")
			}
			e := applyError(t, template(text, paths), transform.Event{Envelope: []byte(event)})
			if e.Code != transform.CodeInvalidOutput {
				t.Errorf("got %v, want invalid_output", e)
			}
		})
	}
}

func TestInvalidEvents(t *testing.T) {
	t.Parallel()
	specs := []transform.Spec{
		{},
		{Path: "$.id"},
		template(`<aws.events.event>`, nil),
		template(`[<a>]`, map[string]string{"a": "$.detail.a[0]"}),
	}
	for _, envelope := range []string{
		``, ` `, `[]`, `"x"`, `{`, `{"id"`, `{"id":`, `{"id":1`, `{"id":1,}`, `{"id":1}}`, `{id:1}`,
		`{"id":01}`, `{"id":"\x"}`, `{"id":"` + "\x01" + `"}`, `{"id":tru}`, `{"id":1.}`, `{"id":-}`,
		`{"id":1e}`, `{"id":"\u12g4"}`, `{"a":[1,]}`, `{"a":[`, `{"detail":{"a":[`, `{"detail":{"a":[}}`, `{"detail":{"a":[1 2]}}`,
		`{"detail":{"a":[1`, `{"id":"x`, `{"id" 1}`, `{"a":+1}`,
		`{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		`{"a":` + strings.Repeat(`{"a":`, 1_000_000),
	} {
		for i, spec := range specs {
			t.Run(fmt.Sprintf("%d %.20s", i, envelope), func(t *testing.T) {
				t.Parallel()
				e := applyError(t, spec, transform.Event{Envelope: []byte(envelope)})
				if e.Code != transform.CodeInvalidEvent {
					t.Errorf("got %v, want invalid_event", e)
				}
			})
		}
	}
	e := applyError(t, transform.Spec{}, transform.Event{
		Envelope: []byte(`{}`), Detail: []byte(`{"a":}`),
	})
	if e.Code != transform.CodeInvalidEvent || e.Offset != 5 {
		t.Errorf("broken detail: got %v at %d, want invalid_event at 5", e, e.Offset)
	}
}

func TestManyPathsInOneWalk(t *testing.T) {
	t.Parallel()
	paths, body, text, want := map[string]string{}, "{", "[", "["
	for i := range 100 {
		if i > 0 {
			body, text, want = body+",", text+",", want+","
		}
		paths[fmt.Sprint("p", i)] = fmt.Sprintf("$.detail.k%d[%d]", i, i)
		body += fmt.Sprintf(`"k%d":[%s%d]`, i, strings.Repeat("0, ", i), i)
		text += fmt.Sprintf("<p%d>", i)
		want += strconv.Itoa(i)
	}
	got := apply(t, template(text+"]", paths), `{"detail":`+body+`}}`)
	if diff := cmp.Diff(want+"]", got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A sender may repeat a key as often as it fits; each repetition must not cost a look at all the
// values found before. With a quadratic walk this test takes minutes.
func TestRepeatedKeysStayLinear(t *testing.T) {
	t.Parallel()
	body := `{"detail":{"list":[` + strings.Repeat("1,", 300_000) + `1]` +
		strings.Repeat(`,"dup":[2]`, 100_000) + `}}`
	got := apply(t, template(`[<dup>]`,
		map[string]string{"dup": "$.detail.dup[*]", "list": "$.detail.list[*]"}), body)
	if got != `[[2]]` {
		t.Errorf("Apply = %.40s, want [[2]]", got)
	}
	got = apply(t, template(`{"n":<dup>,"l":<list>}`,
		map[string]string{"dup": "$.detail.dup[*]", "list": "$.detail.list[*]"}), body)
	if want := len(`{"n":[2],"l":[]}`) + 2*300_000 + 1; len(got) != want {
		t.Errorf("Apply gives %d bytes, want %d", len(got), want)
	}
}

// The last of equal keys counts below a [*] too, for its own element only.
func TestRepeatedKeysBelowAStar(t *testing.T) {
	t.Parallel()
	got := apply(t, transform.Spec{Path: "$.l[*].a[*].b"},
		`{"l":[{"a":[{"b":1}]},{"a":[{"b":2},{"b":3}],"a":[{"b":4,"b":5},{}]},{"a":[{"b":6}],"a":7}]}`)
	if got != `[1,5]` {
		t.Errorf("Apply = %s, want [1,5]", got)
	}
}

func TestOtherValuesThatDoNotFitInsideQuotes(t *testing.T) {
	t.Parallel()
	ev := transform.Event{Envelope: []byte(`{"id":"1","l":["a"]}`)}
	for name, want := range map[string]string{
		"l":                     "list of values at $.l[*] has a double quote at byte 1",
		"aws.events.rule-name":  "text has a double quote at byte 1",
		"aws.events.event":      "event has a double quote at byte 1",
		"aws.events.event.json": "event has a double quote at byte 1",
		"whole":                 "event at $ has a double quote at byte 1",
	} {
		compiled := compile(t, template(`{"text": "<`+name+`>"}`,
			map[string]string{"l": "$.l[*]", "whole": "$"}))
		_, err := compiled.Apply(ev, transform.Vars{RuleName: `a"b`})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Apply: %v, want %q in it", name, err, want)
		}
	}
}
