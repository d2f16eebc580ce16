package config_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
	"github.com/grapnel/grapnel/internal/spec"
)

// TestGeneratedReference keeps docs/configuration.md up to date; -update rewrites it.
func TestGeneratedReference(t *testing.T) {
	t.Parallel()
	golden(t, repository, "docs/configuration.md", config.Reference(all.Specs()))
}

func TestReferenceHasEveryFieldWithItsDefaultAndWords(t *testing.T) {
	t.Parallel()
	reference := config.Reference(kinds())
	var fields []spec.Field
	for _, f := range new(config.Config).Fields() {
		if below, _ := f.Below(); below != nil {
			fields = append(fields, below...)
			continue
		}
		fields = append(fields, f)
	}
	for _, k := range kinds() {
		fields = append(fields, k.New().Fields()...)
	}
	for _, d := range spec.Document(fields) {
		if d.Later != "" {
			if !strings.Contains(reference, "`"+d.Path+"`") {
				t.Errorf("%s: reserved and not in the reference", d.Path)
			}
			continue
		}
		row := ""
		for line := range strings.SplitSeq(reference, "\n") {
			if strings.HasPrefix(line, "| `"+d.Path+"` |") && strings.Contains(line, d.Doc) {
				row = line
			}
		}
		if row == "" {
			t.Errorf("%s: not in the reference", d.Path)
			continue
		}
		if d.Doc == "" {
			t.Errorf("%s: has no documentation", d.Path)
		}
		if !strings.Contains(row, strings.ReplaceAll(d.Default, "|", `\|`)) || !strings.Contains(row, d.Example) {
			t.Errorf("%s: default %q or example %q is not in %s", d.Path, d.Default, d.Example, row)
		}
	}
}

// TestKindsFitIntoDestinations holds that no kind has a field that every destination has, and that the
// defaults of all kinds are values that their fields take.
func TestKindsFitIntoDestinations(t *testing.T) {
	t.Parallel()
	common := map[string]bool{}
	for _, f := range new(config.Destination).Fields() {
		common[f.Name()] = true
	}
	for _, k := range all.Specs() {
		c := k.New()
		for _, f := range c.Fields() {
			if common[f.Name()] {
				t.Errorf("kind %s: the field %s is one of all destinations", k.Name, f.Name())
			}
		}
		r := &spec.Report{File: k.Name}
		spec.Decode(r, &spec.Node{Type: spec.Map}, c)
		for _, p := range r.Problems() {
			if p.Message != "is missing" {
				t.Errorf("kind %s, empty: %s", k.Name, p)
			}
		}
	}
}

func TestReferenceExampleLoads(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(config.Reference(all.Specs()), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the reference has no example")
	}
	c, problems := config.Load("reference", []byte(text), config.Options{
		Env: func(string) (string, bool) { return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true }, Kinds: all.Specs(),
	})
	if c == nil || len(problems) > 0 {
		t.Errorf("problems:\n%s", lines(problems))
	}
}

func TestSchemaHasEveryKeyThatLoadTakes(t *testing.T) {
	t.Parallel()
	text, err := config.Schema(all.Specs())
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "$fields") {
		t.Error("the schema has a placeholder left")
	}
	for _, key := range []string{"acme", "functions", "routes", "detections"} {
		if _, ok := schema["properties"].(map[string]any)[key]; ok {
			t.Errorf("the schema has the reserved key %s", key)
		}
	}
	source := dig(t, schema, "properties", "sources", "additionalProperties", "anyOf", 0, "properties")
	for _, key := range []string{"provider", "secrets", "hmac", "verify", "rate", "answer"} {
		dig(t, source, key, "description")
	}
	dig(t, source, "verify", "properties", "any", "items", "properties", "secrets")
	dig(t, source, "answer", "anyOf", 1, "properties", "status")
	destination := dig(t, schema, "properties", "destinations", "additionalProperties", "anyOf", 0)
	dig(t, destination, "properties", "max_in_flight")
	if got := dig(t, destination, "oneOf", 0, "properties", "kind", "enum", 0); got != "webhook" {
		t.Errorf("first kind in the schema = %v", got)
	}
	dig(t, destination, "oneOf", 0, "properties", "url")
	if dig(t, destination, "unevaluatedProperties") != false {
		t.Error("the schema takes unknown keys of a destination")
	}
}

// dig returns the value at the keys and indexes.
func dig(t *testing.T, v any, steps ...any) any {
	t.Helper()
	for i, step := range steps {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			if list, _ := v.([]any); step < len(list) {
				v = list[step]
			} else {
				v = nil
			}
		}
		if v == nil {
			t.Fatalf("the schema has nothing at %v", steps[:i+1])
		}
	}
	return v
}

func TestDefaultsAreThoseOfTheDesign(t *testing.T) {
	t.Parallel()
	got := config.Defaults(kinds())
	for _, want := range []string{
		"listen: :8080\n", "admin.listen: 127.0.0.1:8081\n", "destinations.<name>.timeout: 30s\n",
		"rules.<name>.targets[].retry.attempts: 185\n", "rules.<name>.targets[].retry.max_age: 24h\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("defaults lack %q:\n%s", want, got)
		}
	}
}
