package arch_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/signature"
)

var fragment = regexp.MustCompile(`^\[(FEATURE|CHANGE|FIX)\] \S.*\.$`)

// TestFragmentsHaveTheirForm holds what changes/unreleased/TEMPLATE asks for.
func TestFragmentsHaveTheirForm(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "changes", "unreleased", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if filepath.Base(file) == "TEMPLATE" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		if !fragment.MatchString(first) || rest != "" && !strings.HasPrefix(rest, "\n") {
			t.Errorf("%s: %q: want [FEATURE], [CHANGE] or [FIX], one sentence, and after an empty line what to do", file, first)
		}
	}
}

// commands returns the words that the command line knows, read from its source.
func commands(t *testing.T) []string {
	t.Helper()
	words := []string{"help", "completion"}
	for _, f := range packages(source(t).product())["internal/cli"] {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			var e ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if isName(n.Key, "Use") {
					e = n.Value
				}
			case *ast.CallExpr:
				if isName(n.Fun, "group") && len(n.Args) > 0 {
					e = n.Args[0]
				}
			}
			if text, ok := literal(e); ok {
				word, _, _ := strings.Cut(text, " ")
				words = append(words, word)
			}
			return true
		})
	}
	if len(words) < 20 {
		t.Fatalf("found %d commands in internal/cli: the search is wrong", len(words))
	}
	return words
}

func literal(e ast.Expr) (string, bool) {
	if lit, ok := e.(*ast.BasicLit); ok {
		return constantText(lit, nil)
	}
	return "", false
}

// mention is a command in running text: the name behind a quote, a prompt, the start of a line or a
// word that asks to do something.
var mention = regexp.MustCompile("(?m)(?:`|^\\$ (?:\\./)?|^|: |\\b(?:[Rr]un|[Rr]estart|[Tt]ry|[Aa]t|or|and|with|with:) )grapnel ([a-z][a-z-]*)" +
	"(?: (list|show|tail|explain|replay|body|retry|cancel|enable|disable|test|reference|schema|example)\\b)?")

// TestTextsNameCommandsThatExist holds that a next step can be taken: pages, fragments, hints and tables
// name commands of the command line as it is.
func TestTextsNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	known := commands(t)
	asks := func(where, text string) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			for _, word := range m[1:] {
				if word != "" && !slices.Contains(known, word) {
					t.Errorf("%s: names %q, which is no command", where, m[0])
				}
			}
		}
	}
	for _, c := range destination.Classes() {
		asks("class "+string(c.Class), c.What+" "+c.Next)
	}
	for _, r := range signature.Reasons() {
		asks("reason "+string(r.Reason), r.Meaning+" "+r.Next)
	}
	err := walk(func(name string, text []byte) error {
		if filepath.Ext(name) == ".md" {
			asks(name, string(text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range source(t).product() {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "WithHint" && len(call.Args) > 0 {
					text, _ := literal(call.Args[0])
					asks(f.path, text)
				}
			}
			return true
		})
	}
}

func TestMentionsOfCommandsAreFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"see `grapnel events explain ID`":          "events explain",
		"$ ./grapnel serve &":                      "serve",
		"`grapnel deliveries retry`":               "deliveries retry",
		"look with: grapnel destinations list":     "destinations list",
		"restart grapnel serve for that":           "serve",
		"stop grapnel and serve":                   "",
		"grapnel check lists them":                 "check",
		"Run grapnel check, or grapnel pattern":    "check pattern",
		"version file of grapnel is not what":      "",
		"the newer grapnel that wrote it":          "",
		"the binary grapnel --help knows the rest": "",
	} {
		var words []string
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			for _, word := range m[1:] {
				if word != "" {
					words = append(words, word)
				}
			}
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}
