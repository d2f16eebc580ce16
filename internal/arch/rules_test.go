package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// snippet parses a file for a test of the rules themselves.
func snippet(t *testing.T, text string) (*tree, *goFile) {
	t.Helper()
	all := &tree{fset: token.NewFileSet()}
	f, err := parser.ParseFile(all.fset, "snippet.go", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all.files = []*goFile{{path: "snippet.go", dir: "snippet", text: []byte(text), ast: f}}
	return all, all.files[0]
}

// TestChangesOfPackageVariablesAreFound shows that the rule can fail, and that what only looks alike
// does not make it fail.
func TestChangesOfPackageVariablesAreFound(t *testing.T) {
	t.Parallel()
	const head = `package snippet
import ("sync"; "net/http")
type counter struct{ n int }
func (c *counter) add() { c.n++ }
func (c counter) get() int { return c.n }
var table = map[string][]int{}
var count counter
var list []int
`
	for _, c := range []struct{ body, want string }{
		{`table["a"] = nil`, "assignment of table"},
		{`table["a"][0]++`, "assignment of table"},
		{`list = append(list, 1)`, "assignment of list"},
		{`p := &count; _ = p`, "address of count"},
		{`p := &list[0]; _ = p`, "address of list"},
		{`count.add()`, "method with a pointer receiver of count"},
		{`count.n = 1`, "assignment of count"},
		{`delete(table, "a")`, "change of table"},
		{`clear(table)`, "change of table"},
		{`for count.n = range 3 {}`, "assignment of count"},
		{`http.DefaultClient = nil`, "assignment of http.DefaultClient"},
		{`_ = count.get() + len(table) + len(list)`, ""},
		{`list := []int{1}; list[0] = 2; list = nil`, ""},
		{`var count counter; count.add(); p := &count; _ = p`, ""},
		{`var once sync.Once; once.Do(func() {})`, ""},
	} {
		all, f := snippet(t, head+"func change() { "+c.body+" }\n")
		scope, info := check(all, all.files)
		var got []string
		for _, found := range changes(f.ast, scope, info) {
			got = append(got, found.what+" of "+found.name)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: found %q, want %q", c.body, got, c.want)
		}
	}
}

func TestVariablesOfSyncAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"var mu sync.Mutex":                                      1,
		"var pool = sync.Pool{}":                                 1,
		"var n = new(atomic.Int64)":                              1,
		"var p = &atomic.Pointer[int]{}":                         1,
		"var rows = sync.OnceValue(func() int { return 1 })":     0,
		"var f = func() { var mu sync.Mutex; mu.Lock() }":        0,
		"var rows = []int{1}":                                    0,
		"func f() { var mu sync.Mutex; mu.Lock(); mu.Unlock() }": 0,
	} {
		_, f := snippet(t, "package snippet\nimport (\"sync\"; \"sync/atomic\")\n"+text+"\n")
		if got := len(guarded(f)); got != want {
			t.Errorf("%s: found %d, want %d", text, got, want)
		}
	}
}

func TestExportedIdentifiersAreCounted(t *testing.T) {
	t.Parallel()
	_, f := snippet(t, `package snippet
// A is.
type A struct{}
type B struct{}
// Group.
const (
	C = 1
	D = 2
)
var E, F = 1, 2 // as said
var G = 1
func (A) H() {}
func (b *b) I() {}
// J does.
func J[T any]() {}
type b struct{}
`)
	var with, without []string
	for name, documented := range exported(f.ast) {
		if documented {
			with = append(with, name)
		} else {
			without = append(without, name)
		}
	}
	slices.Sort(with)
	slices.Sort(without)
	if got, want := strings.Join(with, " "), "A C D E F J"; got != want {
		t.Errorf("documented: %s, want %s", got, want)
	}
	if got, want := strings.Join(without, " "), "A.H B G"; got != want {
		t.Errorf("not documented: %s, want %s", got, want)
	}
}

func TestImportsAreKnownByTheirNames(t *testing.T) {
	t.Parallel()
	_, f := snippet(t, `package snippet
import (
	"time"
	clock "net/http"
	"math/rand/v2"
)
var _ = time.Now
var _ = rand.Int
var _ = clock.Get
`)
	for pkg, want := range map[string]string{"time": "time", "net/http": "clock", "math/rand/v2": "rand", "os": ""} {
		if got := f.imported(pkg); got != want {
			t.Errorf("imported(%s) = %q, want %q", pkg, got, want)
		}
	}
	var found []string
	f.selectors("net/http", func(sel *ast.SelectorExpr) { found = append(found, sel.Sel.Name) })
	if len(found) != 1 || found[0] != "Get" {
		t.Errorf("selectors(net/http) = %q", found)
	}
	if b := (ban{names: []string{"Now", "Listen*"}}); !b.has("Now") || !b.has("ListenTCP") || b.has("NowAndThen") {
		t.Error("a ban takes the wrong names")
	}
}

func TestDependencyRowsDecide(t *testing.T) {
	t.Parallel()
	deps := dependencyList{
		{"example.org/a", []string{"internal/x"}}, {"example.org/a/sub", []string{"internal/y", "signature"}}, {"example.org/t", nil},
	}
	for _, c := range []struct {
		importer, pkg string
		want          bool
	}{
		{"internal/x", "example.org/a/pkg", true},
		{"internal/x/z", "example.org/a", true},
		{"internal/xy", "example.org/a", false},
		{"internal/x", "example.org/a/sub", false},
		{"internal/y", "example.org/a/sub/deep", true},
		{"internal/x", "example.org/t", false},
		{"internal/x/xtest", "example.org/t", true},
		{"internal/x", "example.org/ab", false},
		{"internal/x", "encoding/json", true},
		{"internal/x", "database/sql", false},
		{"internal/store/embedded", "database/sql", true},
		{"signature", module + "event", true},
	} {
		if why := deps.refuse(c.importer, c.pkg); (why == "") != c.want {
			t.Errorf("refuse(%s, %s) = %q, want refused: %v", c.importer, c.pkg, why, !c.want)
		}
	}
}

func TestSkipsAreFound(t *testing.T) {
	t.Parallel()
	_, f := snippet(t, `package snippet
import ("testing"; "pgregory.net/rapid")
func TestA(t *testing.T) {
	t.Skip("no")
	t.Run("b", func(x *testing.T) { x.SkipNow() })
	rapid.Check(t, func(t *rapid.T) { t.Skip("nothing to do") })
	helper := func(tb testing.TB) { tb.Skipf("no") }
	helper(t)
}
func other(t *rapid.T, list interface{ Skip() }) { t.Skip(); list.Skip() }
`)
	if got := len(skips(f.ast, "testing")); got != 3 {
		t.Errorf("found %d, want 3", got)
	}
}
