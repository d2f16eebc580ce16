package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/internal/store/storetest"
)

func TestModel(t *testing.T) {
	t.Parallel()
	storetest.Model(t, open, harmViews)
}

func TestModelWithTightMemory(t *testing.T) {
	t.Parallel()
	storetest.Model(t, openTight, harmViews)
}

// harmViews does to some view whatever can happen to a file.
func harmViews(t *rapid.T, dir string) {
	var views []string
	for _, pattern := range []string{"live.db*", "index-*.db*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, found...)
	}
	for range rapid.IntRange(1, 3).Draw(t, "files") {
		name := rapid.SampledFrom(views).Draw(t, "file")
		text, err := os.ReadFile(name)
		if err != nil {
			continue // removed before
		}
		switch rapid.IntRange(0, 4).Draw(t, "harm") {
		case 0:
			text = nil
		case 1:
			text = text[:rapid.IntRange(0, len(text)).Draw(t, "length")]
		case 2:
			copy(text, "this is not a database")
		case 3:
			for i := len(text) / 2; i < len(text); i++ {
				text[i] = 0x5a
			}
		default:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
