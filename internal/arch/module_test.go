package arch_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decisions is the page that lists every dependency.
const decisions = "docs/decisions/0001-dependencies.md"

// dependency is one row of that page.
type dependency struct {
	module string
	where  []string // folders; empty for what only tests use
}

type dependencyList []dependency

var (
	dependencyRow = regexp.MustCompile("^\\| `([^`]+)` \\|.*\\| ([^|]*) \\|$")
	codeSpan      = regexp.MustCompile("`([^`]+)`")
)

// dependencies reads the page.
func dependencies(t *testing.T) dependencyList {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, decisions))
	if err != nil {
		t.Fatal(err)
	}
	var all dependencyList
	for line := range strings.Lines(string(text)) {
		m := dependencyRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		d := dependency{module: m[1]}
		for _, where := range codeSpan.FindAllStringSubmatch(m[2], -1) {
			d.where = append(d.where, where[1])
		}
		all = append(all, d)
	}
	if len(all) < 5 {
		t.Fatalf("%s has %d rows of the form | `module` | job | `folder` |: the page or this test is wrong", decisions, len(all))
	}
	return all
}

// of returns the row of the module that the package is in.
func (l dependencyList) of(pkg string) (dependency, bool) {
	best := dependency{}
	for _, d := range l {
		if (pkg == d.module || strings.HasPrefix(pkg, d.module+"/")) && len(d.module) > len(best.module) {
			best = d
		}
	}
	return best, best.module != ""
}

// refuse says why a package must not import what is not ours, or nothing.
func (l dependencyList) refuse(importer, pkg string) string {
	if pkg == "database/sql" && !below(importer, "internal/store") {
		return "SQL belongs to the store: ask it"
	}
	if !thirdParty(pkg) {
		return ""
	}
	d, ok := l.of(pkg)
	switch {
	case !ok:
		return "not on " + decisions + ": one more dependency needs a row there, or better none"
	case forTests(importer) && len(d.where) == 0:
		return ""
	case !slices.ContainsFunc(d.where, func(where string) bool { return below(importer, where) }):
		return "allowed only under " + strings.Join(d.where, ", ") + " by " + decisions
	}
	return ""
}

func below(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// thirdParty reports whether the path is neither the standard library's nor ours.
func thirdParty(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return strings.Contains(first, ".") && !strings.HasPrefix(pkg, module)
}

// TestTestsImportWhatIsListed holds the same for tests, which may import what the page has.
func TestTestsImportWhatIsListed(t *testing.T) {
	t.Parallel()
	deps := dependencies(t)
	for _, f := range source(t).files {
		if !f.test {
			continue
		}
		for _, s := range f.ast.Imports {
			pkg, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := deps.of(pkg); thirdParty(pkg) && !ok {
				t.Errorf("%s imports %s: not on %s", f.path, pkg, decisions)
			}
			if pkg == "database/sql" && !below(f.dir, "internal/store") {
				t.Errorf("%s imports database/sql: SQL belongs to the store", f.path)
			}
		}
	}
}

// TestModuleFile holds that go.mod and the page name the same direct dependencies, and that the
// module builds for whoever imports it: a replace would not reach them.
func TestModuleFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var direct, required []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "require "))
		if word, _, _ := strings.Cut(line, " "); word == "replace" || word == "exclude" {
			t.Errorf("go.mod: %s: a %s does not reach those who import the module (house style 37)", line, word)
		}
		name, version, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(version, "v") {
			continue
		}
		required = append(required, name)
		if !strings.HasSuffix(version, "// indirect") {
			direct = append(direct, name)
		}
	}
	deps := dependencies(t)
	for _, name := range direct {
		if d, _ := deps.of(name); d.module != name {
			t.Errorf("go.mod requires %s, which has no row in %s: say what its one job is, or do without", name, decisions)
		}
	}
	for _, d := range deps {
		if !slices.Contains(required, d.module) {
			t.Errorf("%s has a row for %s, which go.mod does not require: remove the row", decisions, d.module)
		}
	}
}

// TestDependenciesLiveWhereThePageSays holds that the last column of the page names folders that exist
// and that use what they are named for.
func TestDependenciesLiveWhereThePageSays(t *testing.T) {
	t.Parallel()
	for _, d := range dependencies(t) {
		for _, where := range d.where {
			used := slices.ContainsFunc(source(t).product(), func(f *goFile) bool {
				return below(f.dir, where) && slices.ContainsFunc(f.ast.Imports, func(s *ast.ImportSpec) bool {
					pkg, _ := strconv.Unquote(s.Path.Value)
					return below(pkg, d.module)
				})
			})
			if !used {
				t.Errorf("%s: nothing under %s imports %s", decisions, path.Clean(where), d.module)
			}
		}
	}
}
