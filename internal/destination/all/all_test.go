package all_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/all"
	"github.com/grapnel/grapnel/internal/spec"
)

var lowerSnake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func TestKindsAreNamedOnceAndSayWhatTheyDo(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range all.Kinds() {
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if seen[name] || !lowerSnake.MatchString(name) {
				t.Errorf("kind %q is there twice or not in lower_snake_case", name)
			}
			seen[name] = true
		}
		if !strings.HasSuffix(k.Summary, ".") {
			t.Errorf("kind %s has no sentence about it: %q", k.Name, k.Summary)
		}
		if k.New() == k.New() {
			t.Errorf("kind %s: New returns the same configuration twice", k.Name)
		}
	}
}

// A kind is a folder beside all: each has a line in the list.
func TestEveryFolderIsInTheList(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, k := range all.Kinds() {
		listed[k.Name] = true
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "all" && e.Name() != "destinationtest" && e.Name() != "awscall" && !listed[e.Name()] {
			t.Errorf("folder %s is not in the list of kinds", e.Name())
		}
	}
}

// holder is a destination as the configuration file has it: what all kinds
// have, and the kind that chooses the rest.
type holder struct {
	kind   string
	chosen spec.Fielder
}

// Fields lists the fields.
func (h *holder) Fields() []spec.Field {
	return []spec.Field{spec.Variant("kind", all.Specs(), &h.kind, &h.chosen)}
}

func TestKindsAreVariantsOfAConfiguration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"kind": "webhook", "url": "https://h/x?k=v"}`:                           "https://h/x?k=[secret]",
		`{"kind": "lambda", "function": "x", "region": "us-east-1"}`:              "lambda:us-east-1:x",
		`{"kind": "bus", "bus": "security"}`:                                      "bus security",
		`{"kind": "apigateway", "url": "https://h/x?k=v", "region": "us-east-1"}`: "https://h/x?k=[secret]",
		`{"kind": "eventbridge", "bus": "default", "region": "us-east-1"}`:        "events:us-east-1:event-bus/default",
		`{"kind": "s3", "bucket": "hooks", "region": "us-east-1"}`:                "s3://hooks/",
		`{"kind": "log"}`: "Grapnel's log",
	} {
		node, err := spec.ParseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var h holder
		report := spec.Report{File: "config"}
		spec.Decode(&report, node, &h)
		if p := spec.Errors(report.Problems()); len(p) > 0 {
			t.Errorf("%s: %v", text, p)
			continue
		}
		c, ok := h.chosen.(destination.Config)
		if !ok || c.Address() != want {
			t.Errorf("%s: address %v, want %s", text, h.chosen, want)
		}
	}
}
