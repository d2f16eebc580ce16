package arch_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// root is the checkout, from the directory in which tests of this package run.
const root = "../.."

// goFile is one source file of the tree.
type goFile struct {
	path string // from the root, with slashes
	dir  string // its package, as the table of imports spells it
	test bool   // a _test.go file
	text []byte
	ast  *ast.File
}

// tree is every source file, parsed once for all tests.
type tree struct {
	fset  *token.FileSet
	files []*goFile
}

var parsed = sync.OnceValues(func() (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	err := walk(func(name string, text []byte) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parsing: %w", err)
		}
		t.files = append(t.files, &goFile{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), text: text, ast: f,
		})
		return nil
	})
	return t, err
})

// source returns the tree.
func source(t *testing.T) *tree {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.files) < 50 {
		t.Fatalf("found %d source files below %s: the walk is wrong", len(all.files), root)
	}
	return all
}

// product returns the files that end up in a program: no tests, no helpers of tests.
func (t *tree) product() []*goFile {
	return slices.DeleteFunc(slices.Clone(t.files), func(f *goFile) bool { return f.test || forTests(f.dir) })
}

// forTests reports whether a package exists for tests only.
func forTests(dir string) bool {
	return strings.HasSuffix(path.Base(dir), "test") || dir == "internal/arch" || dir == "internal/e2e"
}

// packages returns the files by their directory.
func packages(files []*goFile) map[string][]*goFile {
	byDir := map[string][]*goFile{}
	for _, f := range files {
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	return byDir
}

// at words a place.
func (t *tree) at(n ast.Node) string { return t.fset.Position(n.Pos()).String() }

// walk calls visit for every file of the project: not for what tools make, nor for test data.
func walk(visit func(name string, text []byte) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if made(rel) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || slices.Contains([]string{".test", ".out", ".prof"}, filepath.Ext(name)) {
			return nil
		}
		text, err := os.ReadFile(name) //nolint:gosec // the tree under test is not hostile
		if os.IsNotExist(err) {
			return nil // a temporary file of someone else's test
		}
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(rel), text)
	})
}

// made reports whether a folder is not written by hand.
func made(rel string) bool {
	switch base := filepath.Base(rel); base {
	case ".", ".ci":
		return false
	case "testdata", "node_modules":
		return true
	default:
		return strings.HasPrefix(base, ".") || rel == "bin" || rel == "dist" || rel == "data"
	}
}

// imported returns the name by which the file knows the package, "" if it does not import it.
func (f *goFile) imported(pkg string) string {
	for _, s := range f.ast.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err != nil || p != pkg {
			continue
		}
		if s.Name != nil {
			return s.Name.Name
		}
		base := path.Base(pkg)
		if major := strings.TrimPrefix(base, "v"); major != base && strings.Trim(major, "0123456789") == "" {
			base = path.Base(path.Dir(pkg))
		}
		return base
	}
	return ""
}

// selectors calls visit for each mention pkg.Name of an imported package in the file.
func (f *goFile) selectors(pkg string, visit func(sel *ast.SelectorExpr)) {
	name := f.imported(pkg)
	if name == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && isName(sel.X, name) {
			visit(sel)
		}
		return true
	})
}

// isName reports whether the expression is the plain identifier.
func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// lines counts lines.
func lines(text []byte) int { return bytes.Count(text, []byte("\n")) }
