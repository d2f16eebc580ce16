package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

func fill(t *testing.T, dir string, events int) {
	t.Helper()
	s := openAt(t, dir)
	for range events {
		now := time.Now()
		ev := &store.Event{Bus: "default", Received: now, Envelope: event.Envelope{
			ID: event.NewID(now), Source: "s", DetailType: "t", Time: now, Detail: []byte(`{}`),
		}}
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{ev}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Events(t.Context(), store.EventQuery{}); err != nil { // the views are up to date
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func openAt(t *testing.T, dir string) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(context.WithoutCancel(t.Context()), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A journal that lost its end looks whole. The views know better, and what they
// know is reported, at this start and at every later one.
func TestRecordsThatAreMissingAtTheEndAreReported(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, segment string){
		"segment removed": func(t *testing.T, segment string) {
			t.Helper()
			if err := os.Remove(segment); err != nil {
				t.Fatal(err)
			}
		},
		"segment cut": func(t *testing.T, segment string) {
			t.Helper()
			info, err := os.Stat(segment)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(segment, info.Size()*2/3); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fill(t, dir, 50)
			segments, err := filepath.Glob(filepath.Join(dir, "journal", "*.seg"))
			if err != nil || len(segments) == 0 {
				t.Fatalf("segments: %v, %v", segments, err)
			}
			harm(t, segments[len(segments)-1])
			for start := range 2 {
				s := openAt(t, dir)
				damaged := s.Stats().Quarantined
				if len(damaged) != 1 || !strings.Contains(damaged[0].Reason, "missing") {
					t.Errorf("start %d: damage %+v, want one that says that records are missing", start, damaged)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAWholeJournalHasNoLosses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 50)
	if damaged := openAt(t, dir).Stats().Quarantined; len(damaged) != 0 {
		t.Errorf("damage %+v", damaged)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 1)
	s := openAt(t, dir)
	defer func() { _ = s.Close() }()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
