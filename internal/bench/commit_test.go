package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/grapnel/grapnel/internal/bench"
)

func TestTheLogHoldsWhatWasAppended(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	l, err := bench.CreateLog(name)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for j := range 20 {
				if err := l.Append(fmt.Appendf(nil, "%d/%d", i, j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	if err := bench.ReadLog(name, func(body []byte) { seen[string(body)]++ }); err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		for j := range 20 {
			if n := seen[fmt.Sprintf("%d/%d", i, j)]; n != 1 {
				t.Errorf("body %d/%d is there %d times", i, j, n)
			}
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, broken := range map[string][]byte{
		"cut in a body": data[:len(data)-1], "cut in a head": data[:4], "changed": append([]byte{0}, data[1:]...),
	} {
		other := filepath.Join(t.TempDir(), "broken")
		if err := os.WriteFile(other, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := bench.ReadLog(other, func([]byte) {}); err == nil {
			t.Errorf("a log %s was read without an error", what)
		}
	}
}
