package transform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/transform"
)

// model is JSON kept as a tree: what the package does on bytes is easy to say on it.
type model struct {
	scalar  string // the token; empty for objects and arrays
	keys    []string
	members []*model
	object  bool
}

func drawModel(rt *rapid.T, depth int) *model {
	kind := rapid.IntRange(0, 3).Draw(rt, "kind")
	if depth == 0 || kind == 0 {
		return &model{scalar: rapid.SampledFrom([]string{
			`""`, `"a"`, `"say \"hi\""`, `"C:\\tmp"`, `"l1\nl2"`, `"\u00e9\ud83d\ude80"`, `"é<a>"`,
			`0`, `-1.50e+3`, `9007199254740993`, `true`, `false`, `null`, `"a longer plain string"`,
		}).Draw(rt, "scalar")}
	}
	m := &model{object: kind != 1}
	for range rapid.IntRange(0, 4).Draw(rt, "size") {
		m.keys = append(m.keys, rapid.SampledFrom([]string{"a", "b", "c", "x-y"}).Draw(rt, "key"))
		m.members = append(m.members, drawModel(rt, depth-1))
	}
	return m
}

// write prints m with the blanks that blank gives between tokens.
func (m *model) write(b *strings.Builder, blank func() string) {
	if m.scalar != "" {
		b.WriteString(m.scalar)
		return
	}
	brackets := "[]"
	if m.object {
		brackets = "{}"
	}
	b.WriteString(brackets[:1] + blank())
	for i, member := range m.members {
		if i > 0 {
			b.WriteString("," + blank())
		}
		if m.object {
			fmt.Fprintf(b, "%q%s:%s", m.keys[i], blank(), blank())
		}
		member.write(b, blank)
		b.WriteString(blank())
	}
	b.WriteString(brackets[1:])
}

func (m *model) compact() string {
	var b strings.Builder
	m.write(&b, func() string { return "" })
	return b.String()
}

// get is what steps select, by the rules of JSONPath on a tree; the last of equal keys counts.
func (m *model) get(steps []string) (found []*model, ok bool) {
	if len(steps) == 0 {
		return []*model{m}, true
	}
	switch s := steps[0]; {
	case s == "[*]":
		if m.object || m.scalar != "" {
			return nil, false
		}
		for _, member := range m.members {
			inner, _ := member.get(steps[1:])
			found = append(found, inner...)
		}
		return found, true
	case s[0] == '[':
		i := int(s[1] - '0')
		if m.object || i >= len(m.members) {
			return nil, false
		}
		return m.members[i].get(steps[1:])
	default:
		for i := len(m.keys) - 1; i >= 0 && m.object; i-- {
			if "."+m.keys[i] == s {
				return m.members[i].get(steps[1:])
			}
		}
		return nil, false
	}
}

func drawSteps(rt *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{
		".a", ".a", ".b", ".c", ".x-y", "[*]", "[*]", "[0]", "[1]",
	}), 0, 4).Draw(rt, "steps")
}

// expect is the value as JSON, "" with false when there is none.
func expect(m *model, steps []string) (string, bool) {
	found, ok := m.get(steps)
	if !ok {
		return "", false
	}
	many := false
	for _, s := range steps {
		many = many || s == "[*]"
	}
	if !many {
		return found[0].compact(), true
	}
	list := make([]string, len(found))
	for i, f := range found {
		list[i] = f.compact()
	}
	return "[" + strings.Join(list, ",") + "]", true
}

// TestSelectionAgreesWithATree draws documents, blanks and several paths, which share one walk,
// and compares every value with the naive reading of the tree.
func TestSelectionAgreesWithATree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		detail := drawModel(rt, 4)
		var b strings.Builder
		b.WriteString(rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(rt, "lead"))
		detail.write(&b, func() string {
			return rapid.SampledFrom([]string{"", "", " ", "\r\n", "\t  "}).Draw(rt, "blank")
		})
		apart := transform.Event{Envelope: []byte(`{"id": "1"}`), Detail: []byte(b.String())}
		whole := transform.Event{Envelope: []byte(`{"id":"1","detail":` + b.String() + `} `)}

		paths, text, want := map[string]string{}, "[", "["
		for i := range rapid.IntRange(1, 20).Draw(rt, "paths") {
			steps := drawSteps(rt)
			path := "$.detail" + strings.Join(steps, "")
			value, ok := expect(detail, steps)
			checkPath(rt, path, apart, value, ok)
			if !ok {
				value = `""`
			}
			name := fmt.Sprint("p", i)
			paths[name] = path
			text, want = text+"<"+name+">,", want+value+","
		}
		spec := template(text+"0]", paths)
		for _, event := range []transform.Event{apart, whole} {
			got, err := compileRapid(rt, spec).Apply(event, vars())
			if err != nil {
				rt.Fatalf("Apply: %v", err)
			}
			if diff := cmp.Diff(want+"0]", string(got)); diff != "" {
				rt.Fatalf("-want +got:\n%s", diff)
			}
		}
	})
}

func checkPath(rt *rapid.T, path string, event transform.Event, want string, ok bool) {
	rt.Helper()
	got, err := compileRapid(rt, transform.Spec{Path: path}).Apply(event, vars())
	if ok != (err == nil) || string(got) != want {
		rt.Fatalf("%s = %s, %v, want %s, found %v", path, got, err, want, ok)
	}
}

func compileRapid(rt *rapid.T, spec transform.Spec) *transform.Transform {
	rt.Helper()
	compiled, err := transform.Compile(spec)
	if err != nil {
		rt.Fatalf("Compile(%+v): %v", spec, err)
	}
	return compiled
}

// TestEscapedValueReadsBackUnchanged holds for any text: inside quotes with Escape, and in value
// position without, a JSON reader finds exactly the characters that the sender wrote; without
// Escape it finds them, or something a backslash changed, or Apply refuses.
func TestEscapedValueReadsBackUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.OneOf(
			rapid.String(),
			rapid.StringOf(rapid.SampledFrom([]rune{'"', '\\', '\n', 0, 'u', '0', '<', 'v', '>', 'é', '🚀'})),
		).Draw(rt, "value")
		detail, err := json.Marshal(map[string]string{"v": value})
		if err != nil {
			rt.Fatal(err)
		}
		event := transform.Event{Envelope: []byte(`{}`), Detail: detail}
		spec := template(`{"q":"<v>","n":<v>,"m":1}`, map[string]string{"v": "$.detail.v"})
		plain, err := compileRapid(rt, spec).Apply(event, vars())
		if fits := json.Valid([]byte(`"` + value + `"`)); fits != (err == nil) {
			rt.Fatalf("Apply = %s, %v, but the value fits inside quotes: %v", plain, err, fits)
		}
		spec.Transformer.Escape = true
		escaped, err := compileRapid(rt, spec).Apply(event, vars())
		if err != nil {
			rt.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(escaped, &got); err != nil {
			rt.Fatalf("%s: %v", escaped, err)
		}
		if diff := cmp.Diff(map[string]any{"q": value, "n": value, "m": 1.0}, got); diff != "" {
			rt.Fatalf("-want +got:\n%s", diff)
		}
	})
}

// TestScannerAgreesWithEncodingJSON mutates documents: Apply accepts an object exactly when
// encoding/json does, and compacts it in the same way.
func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		doc := []byte(`{"a": [1, -0.5e+10, true, "x\u00e9\n"], "b":{"c" : null}, "long": "0123456789abcdef"}`)
		for range rapid.IntRange(0, 2).Draw(rt, "mutations") {
			at := rapid.IntRange(0, len(doc)-1).Draw(rt, "at")
			doc[at] = rapid.OneOf(rapid.Byte(),
				rapid.SampledFrom([]byte(`{}[]",:\ 0-.eEnu`))).Draw(rt, "byte")
		}
		for name, spec := range map[string]transform.Spec{
			"whole": {}, "template": template(`<e>`, map[string]string{"e": "$", "b": "$.b.c"}),
		} {
			got, err := compileRapid(rt, spec).Apply(transform.Event{Envelope: doc}, vars())
			var want bytes.Buffer
			valid := json.Compact(&want, doc) == nil && want.Bytes()[0] == '{'
			if valid != (err == nil) {
				rt.Fatalf("%s: Apply of %q: %v, but encoding/json: %v", name, doc, err, valid)
			}
			if valid && want.String() != string(got) {
				rt.Fatalf("%s: Apply of %q = %q, want %q", name, doc, got, want.String())
			}
		}
	})
}
