// Package arch holds the tests of the tree itself: who may import whom, how
// long files and functions may be, and what no package may do.
package arch_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/grapnel/grapnel/"

// words are the packages that anything under internal may import.
var words = []string{"internal/fault", "internal/secret", "internal/lifecycle", "internal/obs"}

// may lists, for each package, the project packages that it may import. A
// package that is not in the table fails the test: give it a charter and a
// place first. Engines never import engines, surfaces never import surfaces;
// only daemon sees more than one of either.
var may = map[string][]string{
	"event":     {},
	"pattern":   {"event"},
	"transform": {"event"},
	"signature": {"event"},

	"internal/arch":      {},
	"internal/fault":     {},
	"internal/secret":    {},
	"internal/lifecycle": {"internal/fault"},
	"internal/obs":       {"internal/fault", "internal/secret"},
	"internal/egress":    words,
	"internal/spec":      words,
	"internal/config":    with(words, "event", "pattern", "transform", "signature", "internal/spec"),

	"internal/store":               {"event", "internal/fault", "internal/obs"},
	"internal/store/disk":          {"internal/fault"},
	"internal/store/disk/disktest": {"internal/store/disk"},
	"internal/store/journal":       with(words, "event", "internal/store", "internal/store/disk"),
	"internal/store/embedded":      with(words, "event", "internal/store", "internal/store/disk", "internal/store/journal"),
	"internal/store/storetest":     with(words, "event", "internal/store"),

	"internal/bus":     engine(),
	"internal/ingest":  engine(),
	"internal/deliver": with(engine(), "internal/destination"),

	"internal/destination":                 with(words, "event", "internal/spec", "internal/egress"),
	"internal/destination/all":             with(words, destinations("internal/spec", "internal/egress", "internal/destination")...),
	"internal/destination/destinationtest": with(words, "event", "internal/spec", "internal/egress", "internal/destination"),
	"internal/destination/webhook":         kind(),
	"internal/destination/awscall":         with(kind(), "transform"), // not a kind: what those of AWS share
	"internal/destination/lambda":          aws(),
	"internal/destination/apigateway":      aws(),
	"internal/destination/eventbridge":     aws(),
	"internal/destination/sqs":             aws(),
	"internal/destination/sns":             aws(),
	"internal/destination/kinesis":         aws(),
	"internal/destination/firehose":        aws(),
	"internal/destination/states":          aws(),
	"internal/destination/s3":              aws(),
	"internal/destination/log":             kind(),
	"internal/destination/bus":             kind(),
	"internal/destination/slack":           kind(),
	"internal/destination/pagerduty":       with(kind(), "transform"),
	"internal/destination/email":           kind(),
	"internal/destination/exec":            kind(),

	"internal/api":         with(words, "event", "internal/store", "internal/spec"),
	"internal/api/apitest": with(words, "event", "internal/store", "internal/api"),
	"internal/client":      with(words, "internal/api"),
	"internal/daemon":      nil, // wires everything: may import anything but cli
	"internal/bench": with(words, "event", "pattern", "signature", "internal/store", "internal/store/disk",
		"internal/store/embedded", "internal/client", "internal/daemon", "internal/api"),
	"internal/cli": with(words, "event", "pattern", "transform", "signature", "internal/spec", "internal/config",
		"internal/api", "internal/client", "internal/daemon", "internal/bench", "internal/store", "internal/destination/all"),
	"internal/e2e": {},

	"cmd/grapnel": {"internal/cli"},
}

func engine() []string {
	return with(words, "event", "pattern", "transform", "signature", "internal/store", "internal/egress")
}

func kind() []string {
	return with(words, "event", "signature", "internal/spec", "internal/egress", "internal/destination")
}

func aws() []string { return with(kind(), "internal/destination/awscall") }

func destinations(more ...string) []string {
	return append(more, "internal/destination/webhook", "internal/destination/lambda",
		"internal/destination/apigateway", "internal/destination/eventbridge", "internal/destination/sqs",
		"internal/destination/sns", "internal/destination/kinesis", "internal/destination/firehose",
		"internal/destination/states", "internal/destination/s3",
		"internal/destination/log", "internal/destination/bus", "internal/destination/slack",
		"internal/destination/pagerduty", "internal/destination/email", "internal/destination/exec")
}

func with(base []string, more ...string) []string { return append(slices.Clone(base), more...) }

type goPackage struct {
	ImportPath, Doc string
	Imports         []string
}

func list(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Doc", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("no packages found")
	}
	return all
}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	deps := dependencies(t)
	for _, p := range list(t) {
		allowed, ok := may[p.ImportPath]
		if !ok {
			t.Errorf("%s: not in the table: give it a charter and a place", p.ImportPath)
		}
		if p.Doc == "" && len(p.Imports) > 0 {
			t.Errorf("%s: no package comment", p.ImportPath)
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module)
			switch {
			case !ours:
				if why := deps.refuse(p.ImportPath, imp); why != "" {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, why)
				}
			case p.ImportPath == "internal/daemon" && dep != "internal/cli":
			case !slices.Contains(allowed, dep):
				t.Errorf("%s imports %s, which its row does not allow", p.ImportPath, dep)
			}
		}
	}
}
