package destination_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/grapnel/grapnel/internal/destination"
)

func TestEveryClassIsExplainedOnce(t *testing.T) {
	t.Parallel()
	rows := map[destination.Class]int{}
	for _, row := range destination.Classes() {
		rows[row.Class]++
		if row.What == "" || row.Next == "" || row.Retry == 0 {
			t.Errorf("%s: incomplete row %+v", row.Class, row)
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "class.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Class" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared++
		if n := rows[destination.Class(text)]; n != 1 {
			t.Errorf("class %s has %d rows, want 1", text, n)
		}
		return true
	})
	if declared != len(rows) || declared == 0 {
		t.Errorf("%d classes declared, %d explained", declared, len(rows))
	}
}

func TestStatusesAreRetriedAsEventBridgeDoes(t *testing.T) {
	t.Parallel()
	retried := map[int]destination.Retry{
		401: destination.RetryTransient, 407: destination.RetryTransient, 408: destination.RetryTransient,
		409: destination.RetryTransient, 429: destination.RetryThrottled,
	}
	for status := 300; status < 600; status++ {
		want := destination.RetryNever
		if status >= 500 {
			want = destination.RetryTransient
		} else if r, ok := retried[status]; ok {
			want = r
		}
		if got := destination.OfStatus(status).Retry(); got != want {
			t.Errorf("status %d: retry %d, want %d", status, got, want)
		}
	}
}
