package spec_test

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/spec"
)

func TestValuesPrintDefaultsAndNoSecrets(t *testing.T) {
	t.Parallel()
	v, problems := decode(t, `{"url": "https://x.example/y", "secrets": ["s3cret"], "headers": {"X-B": "1", "X-A": "<2>"}}`, &hook{})
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"url":"https://x.example/y","timeout":"30s","secrets":["[secret]"],` +
		`"headers":{"X-A":"\u003c2\u003e","X-B":"1"},"retry":{"attempts":185}}`
	if string(got) != want {
		t.Errorf("value = %s, want %s", got, want)
	}
	if !v.Get("url").Written || v.Get("timeout").Written || v.Get("retry", "attempts").Written {
		t.Error("what is written and what is a default is not told apart")
	}
	if v.Get("nothing", "below") != nil || !v.Get("secrets").Children()[0].Secret() || v.Get("headers").Secret() {
		t.Error("Get or Secret is wrong")
	}
	literals := v.Literals()
	if len(literals) != 1 || literals[0].Path != "secrets[0]" || literals[0].Pos.Col == 0 {
		t.Errorf("literals = %+v", literals)
	}
}

func TestDigestDependsOnValuesAndNotOnTheirOrder(t *testing.T) {
	t.Parallel()
	digest := func(text string) string {
		v, problems := decode(t, text, &hook{})
		if problems != nil {
			t.Fatalf("problems: %v", problems)
		}
		h := sha256.New()
		v.Digest(h)
		return string(h.Sum(nil))
	}
	base := digest(`{"url": "https://x.example", "headers": {"A": "1", "B": "2"}, "secrets": ["x", "y"]}`)
	if base != digest(`{"secrets": ["x", "y"], "headers": {"B": "2", "A": "1"}, "timeout": "30s", "url": "https://x.example"}`) {
		t.Error("order or a default changes the digest")
	}
	for _, text := range []string{
		`{"url": "https://x.example", "headers": {"A": "2", "B": "1"}, "secrets": ["x", "y"]}`,
		`{"url": "https://x.example", "headers": {"A": "1", "B": "2"}, "secrets": ["xy"]}`,
		`{"url": "https://x.example", "headers": {"A": "1", "B": "2"}, "secrets": ["y", "x"]}`,
		`{"url": "https://x.example", "headers": {"A": "1", "B": "2"}, "secrets": ["x", "y"], "signing": {}}`,
	} {
		if base == digest(text) {
			t.Errorf("the digest is the same for %s", text)
		}
	}
}

// component is a Components element with a variant.
type component struct {
	Name, Kind string
	Config     spec.Fielder
}

func (c *component) Fields() []spec.Field {
	return []spec.Field{spec.Variant("kind", []spec.Kind{
		{Name: "hook", Aliases: []string{"webhook"}, Summary: "HTTP.", New: func() spec.Fielder { return new(hook) }},
		{Name: "later", Reserved: "kind later comes later"},
	}, &c.Kind, &c.Config).Doc("Kind.")}
}

func TestVariantsAddTheFieldsOfTheirKind(t *testing.T) {
	t.Parallel()
	var all []component
	list := fields{spec.Components("all", &all, func(c *component, name string) { c.Name = name })}
	_, problems := decode(t, `{"all": {
		"b": {"timeout": "5s", "kind": "webhook", "url": "https://x.example"},
		"a": {"kind": "hook", "url": "https://y.example", "tiemout": "5s"},
		"c": {"kind": "later", "anything": 1},
		"d": {"kind": "hok", "whatever": 1},
		"e f": {"signing": {}}}}`, list)
	want := []string{
		`f:3:53: all.a.tiemout: is not a known key; did you mean "timeout"?`,
		`f:4:17: all.c.kind: kind later comes later, found "later"`,
		`f:5:17: all.d.kind: is not a kind; the kinds are hook, found "hok"; did you mean "hook"?`,
		`f:6:3: all["e f"]: a name consists of 1 to 64 letters, digits, _, - and .`,
		`f:6:10: all["e f"].kind: is missing: ` + "`hook`",
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if len(all) != 5 || all[0].Name != "b" || all[0].Kind != "hook" {
		t.Fatalf("components = %+v", all)
	}
	if h, ok := all[0].Config.(*hook); !ok || h.URL != "https://x.example" || h.Timeout.Seconds() != 5 {
		t.Errorf("configuration of the kind = %+v", all[0].Config)
	}
}

func TestRawJSONKnowsWhereItsPartsStand(t *testing.T) {
	t.Parallel()
	const text = `{"raw": {"source": ["github.com", "x"],
  "détail": {"n": [{"numeric": [">", 5]}]}}}`
	var raw spec.RawJSON
	if _, problems := decode(t, text, fields{spec.JSON("raw", &raw)}); problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	for part, want := range map[string]struct {
		path string
		pos  spec.Pos
	}{
		`{"source"`:    {"raw", spec.Pos{Line: 1, Col: 9}},
		`"source"`:     {"raw.source", spec.Pos{Line: 1, Col: 10}},
		`"github.com"`: {"raw.source[0]", spec.Pos{Line: 1, Col: 21}},
		`"x"`:          {"raw.source[1]", spec.Pos{Line: 1, Col: 35}},
		`{"numeric"`:   {"raw.détail.n[0]", spec.Pos{Line: 2, Col: 21}},
		`5`:            {"raw.détail.n[0].numeric[1]", spec.Pos{Line: 2, Col: 39}},
		`">"`:          {"raw.détail.n[0].numeric[0]", spec.Pos{Line: 2, Col: 34}},
	} {
		pos, n := raw.At(strings.Index(string(raw.Text), part))
		if pos != want.pos || n.Path != want.path {
			t.Errorf("At(%s) = %v at %v, want %v at %v", part, n.Path, pos, want.path, want.pos)
		}
	}
	if pos, n := raw.At(len(raw.Text)); n.Path == "" || pos.Line != 2 {
		t.Errorf("At(end) = %q at %v", n.Path, pos)
	}
	if _, n := new(spec.RawJSON).At(3); n == nil {
		t.Error("At of nothing is nil")
	}
}

func TestPlacesInsideATextCountLinesAndCharacters(t *testing.T) {
	t.Parallel()
	n := &spec.Node{
		Type: spec.Text, Text: "äb\ncd\n", Pos: spec.Pos{Line: 3, Col: 8}, TextPos: spec.Pos{Line: 4, Col: 5}, Indent: 5,
	}
	for offset, want := range map[int]spec.Pos{
		0: {Line: 4, Col: 5}, 2: {Line: 4, Col: 6}, 4: {Line: 5, Col: 5}, 5: {Line: 5, Col: 6}, -1: {Line: 3, Col: 8}, 99: {Line: 6, Col: 5},
	} {
		if got := n.At(offset); got != want {
			t.Errorf("At(%d) = %v, want %v", offset, got, want)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"a": [1, "x", null, {"b": true}], "c": 1e3}`))
	f.Add([]byte(`{"a": 1, "a": 2}`))
	f.Add([]byte(`[[[[]]]] x`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := spec.ParseJSON(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("ParseJSON accepts %q", data)
		}
		var raw spec.RawJSON
		r := &spec.Report{File: "f"}
		root := &spec.Node{Type: spec.Map, Entries: []spec.Entry{{Key: "raw", Value: n}}}
		spec.Decode(r, root, fields{spec.JSON("raw", &raw)})
		if n.Type == spec.Null {
			return
		}
		var want, got any
		if json.Unmarshal(data, &want) == nil && (json.Unmarshal(raw.Text, &got) != nil || !cmp.Equal(want, got)) {
			t.Errorf("%q became %s, problems %v", data, raw.Text, r.Problems())
		}
	})
}
