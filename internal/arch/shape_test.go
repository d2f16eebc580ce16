package arch_test

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The limits of house style 3 and 4.
const (
	maxFileLines     = 700
	maxFunctionLines = 100
)

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, f := range source(t).files {
		if n := lines(f.text); !f.test && n > maxFileLines {
			t.Errorf("%s has %d lines, over the %d of house style 3: split it by what is in it", f.path, n, maxFileLines)
		}
	}
}

func TestFunctionsFitAScreen(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			first, last := all.fset.Position(fn.Pos()).Line, all.fset.Position(fn.End()).Line
			if n := last - first + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, over the %d of house style 4: name its steps as functions",
					all.at(fn), fn.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init (house style 7): list it where it is used, explicitly", all.at(fn))
			}
		}
	}
}

// TestPackageVariablesAreTables holds house style 7: a package variable is a sentinel, a regular
// expression, an embedded file or a table. What is assigned, whose address is taken, or what can
// change by itself is state, and belongs to a value that someone makes and owns.
func TestPackageVariablesAreTables(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, p := range checked() {
		for _, f := range p.files {
			for _, c := range changes(f.ast, p.scope, p.info) {
				t.Errorf("%s: %s of the package variable %s (house style 7): only tables are package variables; "+
					"make it a field of what uses it", all.at(c.node), c.what, c.name)
			}
			for _, name := range guarded(f) {
				t.Errorf("%s: package variable of a type of sync (house style 7): make it a field", all.at(name))
			}
		}
	}
}

// checked are the packages of the product with their identifiers resolved, by directory.
var checked = sync.OnceValue(func() map[string]checkedPackage {
	resolved := map[string]checkedPackage{}
	all, err := parsed()
	if err != nil {
		return nil // source has failed the test that asks
	}
	for dir, files := range packages(all.product()) {
		scope, info := check(all, files)
		resolved[dir] = checkedPackage{files, scope, info}
	}
	return resolved
})

type checkedPackage struct {
	files []*goFile
	scope *types.Scope
	info  *types.Info
}

// check resolves the identifiers of one package. Imports are not resolved, nothing here needs them.
func check(all *tree, files []*goFile) (*types.Scope, *types.Info) {
	info := &types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	var asts []*ast.File
	for _, f := range files {
		asts = append(asts, f.ast)
	}
	config := types.Config{
		Importer: nothing{}, FakeImportC: true, DisableUnusedImportCheck: true,
		Error: func(error) {}, // unresolved imports, and files of several systems side by side
	}
	pkg, _ := config.Check(files[0].dir, all.fset, asts, info)
	return pkg.Scope(), info
}

type nothing struct{}

// Import refuses: the checker goes on with a package that it knows nothing of.
func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not resolved") }

type change struct {
	node       ast.Node
	what, name string
}

// changes returns what the file does to package variables, its own or others'.
func changes(f *ast.File, scope *types.Scope, info *types.Info) []change {
	var found []change
	note := func(n ast.Node, e ast.Expr, what string) {
		if name := variable(e, scope, info); name != "" {
			found = append(found, change{n, what, name})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				note(n, e, "assignment")
			}
		case *ast.IncDecStmt:
			note(n, n.X, "assignment")
		case *ast.RangeStmt:
			note(n, n.Key, "assignment")
			note(n, n.Value, "assignment")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n, n.X, "address")
			}
		case *ast.CallExpr:
			if isBuiltin(n.Fun, info, "delete", "clear", "copy") && len(n.Args) > 0 {
				note(n, n.Args[0], "change")
			}
		case *ast.SelectorExpr:
			if pointerMethod(n, info) {
				note(n, n.X, "method with a pointer receiver")
			}
		}
		return true
	})
	return found
}

// variable returns the name of the package variable that the expression is, or is a part of.
func variable(e ast.Expr, scope *types.Scope, info *types.Info) string {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, ok := info.Uses[id].(*types.PkgName); ok {
					return id.Name + "." + x.Sel.Name
				}
			}
			e = x.X
		case *ast.Ident:
			if v, ok := info.Uses[x].(*types.Var); ok && v.Parent() == scope {
				return x.Name
			}
			return ""
		default:
			return ""
		}
	}
}

func isBuiltin(e ast.Expr, info *types.Info, names ...string) bool {
	id, ok := e.(*ast.Ident)
	if !ok || !slices.Contains(names, id.Name) {
		return false
	}
	_, ok = info.Uses[id].(*types.Builtin)
	return ok
}

// pointerMethod reports whether calling the method takes the address of a value.
func pointerMethod(sel *ast.SelectorExpr, info *types.Info) bool {
	s := info.Selections[sel]
	if s == nil || s.Kind() != types.MethodVal {
		return false
	}
	if _, ok := s.Recv().(*types.Pointer); ok {
		return false
	}
	recv := s.Obj().(*types.Func).Signature().Recv()
	_, ok := recv.Type().(*types.Pointer)
	return ok
}

// guarded returns the package variables that are locks, pools, atomics and the like. A table that
// is made when it is first asked for (sync.OnceValue) is one all the same.
func guarded(f *goFile) []ast.Node {
	var found []ast.Node
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for _, e := range append(slices.Clone(v.Values), v.Type) {
				if e != nil && ofSync(f, e) {
					found = append(found, v)
				}
			}
		}
	}
	return found
}

func ofSync(f *goFile, e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		for _, pkg := range []string{"sync", "sync/atomic"} {
			if name := f.imported(pkg); name != "" && isName(sel.X, name) && !strings.HasPrefix(sel.Sel.Name, "OnceValue") {
				found = true
			}
		}
		return true
	})
	return found
}
