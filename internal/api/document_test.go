package api_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/api"
)

const docs = "../../docs"

func generated(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join(docs, name)
	if *update {
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("docs/%s is not what the code says, run make generate (-docs +code):\n%s", name, diff)
	}
}

func TestGeneratedOpenAPIIsUpToDate(t *testing.T) {
	t.Parallel()
	generated(t, "openapi.json", api.Document())
}

func TestServedOpenAPIIsTheGeneratedOne(t *testing.T) {
	t.Parallel()
	w := setup(t).do(t, http.MethodGet, "/openapi.json", "")
	if !bytes.Equal(w.Body.Bytes(), api.Document()) {
		t.Error("the document that is served differs from the one that is generated")
	}
}

// document is what the page is made of.
type document struct {
	Info struct{ Description string }
	Tags []struct{ Name string }
	// Paths are operations by path and method.
	Paths map[string]map[string]*documented
}

type documented struct {
	Summary     string
	Tags        []string
	Parameters  []struct{ Name, In, Description string }
	RequestBody *struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	} `json:"requestBody"` //nolint:tagliatelle // OpenAPI's name
	Responses map[string]struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
}

func TestGeneratedPageIsUpToDate(t *testing.T) {
	t.Parallel()
	var doc document
	if err := json.Unmarshal(api.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	intro, err := os.ReadFile("testdata/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	page.Write(intro)
	page.WriteString("\n## Routes\n")
	for _, tag := range doc.Tags {
		fmt.Fprintf(&page, "\n### %s\n", tag.Name)
		writeRoutes(&page, &doc, tag.Name)
	}
	page.WriteString("\n## Error codes\n\n| code | status | what happened | what to do |\n|---|---|---|---|\n")
	for _, c := range api.Codes() {
		fmt.Fprintf(&page, "| `%s` | %d | %s | %s |\n", c.Code, c.Status, c.What, c.Next)
	}
	page.WriteString("\nEngines add codes of their own; docs/errors.md has all of them.\n")
	generated(t, "api.md", page.Bytes())
}

func writeRoutes(page *bytes.Buffer, doc *document, tag string) {
	type row struct {
		path, method string
		op           *documented
	}
	var rows []row
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if slices.Contains(op.Tags, tag) {
				rows = append(rows, row{path, strings.ToUpper(method), op})
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.method, b.method))
	})
	for _, r := range rows {
		fmt.Fprintf(page, "\n**%s %s**: %s.", r.method, r.path, r.op.Summary)
		if r.op.RequestBody != nil {
			fmt.Fprintf(page, " Takes `%s`.", schemaName(r.op.RequestBody.Content["application/json"].Schema.Ref))
		}
		if name := schemaName(success(r.op)); name != "" {
			fmt.Fprintf(page, " Answers `%s`.", name)
		}
		page.WriteString("\n")
		first := true
		for _, p := range r.op.Parameters {
			if p.In == "path" {
				continue
			}
			if first {
				page.WriteString("\n")
				first = false
			}
			fmt.Fprintf(page, "- `%s` (%s): %s\n", p.Name, p.In, p.Description)
		}
	}
}

func success(op *documented) string {
	for _, status := range []string{"201", "200"} {
		for _, media := range op.Responses[status].Content {
			return media.Schema.Ref
		}
	}
	return ""
}

func schemaName(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func TestEveryCodeIsInTheReference(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "code") || len(spec.Values) != 1 {
				return checkLiteralCode(t, name, n)
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				code, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				used[code] = true
			}
			return true
		})
	}
	if len(used) < 20 {
		t.Fatalf("found only %d codes in the source", len(used))
	}
	for _, c := range api.Codes() {
		if !used[c.Code] {
			t.Errorf("code %s is documented and not used, or documented twice", c.Code)
		}
		delete(used, c.Code)
		if c.What == "" || c.Next == "" || c.Status < 400 {
			t.Errorf("code %s is not explained", c.Code)
		}
	}
	for code := range used {
		t.Errorf("code %s is used and not documented", code)
	}
}

// checkLiteralCode reports faults whose code is written out instead of named:
// the test could not see that it is documented.
func checkLiteralCode(t *testing.T, file string, n ast.Node) bool {
	t.Helper()
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fn.Sel.Name != "New" && fn.Sel.Name != "Wrap" {
		return true
	}
	if pkg, ok := fn.X.(*ast.Ident); !ok || pkg.Name != "fault" {
		return true
	}
	at := map[string]int{"New": 1, "Wrap": 2}[fn.Sel.Name]
	if name, ok := call.Args[at].(*ast.Ident); !ok || !strings.HasPrefix(name.Name, "code") {
		t.Errorf("%s makes a fault whose code is no constant code…", file)
	}
	return true
}
