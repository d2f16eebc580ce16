package arch_test

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// TestEveryPackageHasACharter holds house style 1 and 26: one comment, on one file, in a clear
// statement that begins as godoc wants it.
func TestEveryPackageHasACharter(t *testing.T) {
	t.Parallel()
	for dir, files := range packages(source(t).files) {
		var with []string
		for _, f := range files {
			if f.ast.Doc.Text() == "" || f.test && !forTests(dir) {
				continue
			}
			with = append(with, path.Base(f.path))
			doc, name := f.ast.Doc.Text(), f.ast.Name.Name
			want := "Package " + strings.TrimSuffix(name, "_test") + " "
			if name == "main" {
				want = "Command " + path.Base(dir) + " "
			}
			if !strings.HasPrefix(doc, want) || !strings.Contains(doc, ".") {
				t.Errorf("%s: the package comment is no sentence that begins with %q (house style 26)", f.path, want)
			}
		}
		if len(with) != 1 {
			t.Errorf("%s: package comments in %q, want exactly one (house style 1): say what it owns and promises", dir, with)
		}
	}
}

// minDocumented is the share of exported identifiers of a package that have a comment.
const minDocumented = 0.9

func TestExportedIdentifiersAreDocumented(t *testing.T) {
	t.Parallel()
	for dir, files := range packages(source(t).product()) {
		total := 0
		var missing []string
		for _, f := range files {
			for name, documented := range exported(f.ast) {
				total++
				if !documented {
					missing = append(missing, name)
				}
			}
		}
		if share := float64(total-len(missing)) / float64(max(total, 1)); total > 0 && share < minDocumented {
			t.Errorf("%s: %.0f %% of %d exported identifiers have a comment, house style 26 wants %.0f %%; without: %s",
				dir, 100*share, total, 100*minDocumented, strings.Join(missing, ", "))
		}
	}
}

// exported returns the exported identifiers that the file declares, and whether each has a comment.
// Members of a group have one if the group has.
func exported(f *ast.File) map[string]bool {
	found := map[string]bool{}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			owner, ok := receiver(d)
			if ok && d.Name.IsExported() {
				found[owner+d.Name.Name] = d.Doc != nil
			}
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, s := range d.Specs {
				declared(found, s, d.Doc != nil)
			}
		}
	}
	return found
}

func declared(found map[string]bool, s ast.Spec, group bool) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			found[s.Name.Name] = group || s.Doc != nil || s.Comment != nil
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() {
				found[name.Name] = group || s.Doc != nil || s.Comment != nil
			}
		}
	}
}

// receiver returns the receiver's type with a dot; ok is false if the type is not exported.
func receiver(d *ast.FuncDecl) (owner string, ok bool) {
	if d.Recv == nil {
		return "", true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name + ".", x.IsExported()
		default:
			return "", false
		}
	}
}

// unfinished are words that say that something is not done. They are put together here so that
// this file does not hold them.
var unfinished = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "not " + "implemented", "not yet " + "implemented"}

func TestNothingIsLeftUndone(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.product() {
		for n, line := range strings.Split(string(f.text), "\n") {
			for _, word := range unfinished {
				if !strings.Contains(line, word) || strings.Contains(line, `\u`+word) {
					continue
				}
				t.Errorf("%s:%d: %q (house style 28): do it, or open an issue and leave it out", f.path, n+1, word)
			}
		}
	}
}

// foreign are texts that tell about the machine on which something was written, or about services
// that nobody needs to run Grapnel. They are put together for the same reason as above.
var foreign = []string{
	"registry." + "npmjs.org", "proxy." + "golang.org", "sum." + "golang.org", "py" + "pi.org", "deb." + "debian.org",
	"index." + "docker.io", "ghcr" + ".io/", "gcr" + ".io/", "/work" + "/main", "/work" + "/shared", "/home" + "/", "/ro" + "ot/",
}

func TestNoFileNamesAMachineOrARegistry(t *testing.T) {
	t.Parallel()
	err := walk(func(name string, text []byte) error {
		for n, line := range strings.Split(string(text), "\n") {
			for _, word := range foreign {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d: names %q: use what the tool is set to, or a relative path", name, n+1, word)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
