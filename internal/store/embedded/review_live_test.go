package embedded_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// sqlitePage is the size of the pages of our SQLite files.
const sqlitePage = 4096

// harmPages overwrites the pages of a SQLite file for which harm says so, and
// returns how many those were.
func harmPages(t *testing.T, name string, harm func(number int, page []byte) bool) int {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := 1; (i+1)*sqlitePage <= len(text); i++ {
		if page := text[i*sqlitePage:][:sqlitePage]; harm(i, page) {
			copy(page, bytes.Repeat([]byte{0x5a}, sqlitePage))
			n++
		}
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// lateRow picks pages with rows that Open does not look at.
func lateRow(i int, page []byte) bool {
	return i > 60 && page[0] == 0x0a && bytes.Contains(page, []byte(rowMark))
}

// claimAll claims for destination x until it has n deliveries or time is up.
func claimAll(t *testing.T, s *embedded.Store, n int) {
	t.Helper()
	got := map[store.DeliveryID]int{}
	var last error
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(got) < n && ctx.Err() == nil {
		claimed, _, err := s.Claim(ctx, store.ClaimRequest{
			Now:   time.Now().Add(time.Minute),
			Rooms: []store.Room{{Destination: "x", Count: n, Bytes: 1 << 30}},
		})
		if err != nil {
			last = err
		}
		for _, c := range claimed {
			got[c.Delivery.ID]++
		}
	}
	if len(got) != n {
		t.Errorf("claimed %d deliveries, want %d; the last error was %v", len(got), n, last)
	}
}

func TestALiveFileIsMadeAnewWhereverItIsDamaged(t *testing.T) {
	t.Parallel()
	const n = 3000
	for name, harm := range map[string]func(int, []byte) bool{
		"rows":                          lateRow,
		"everything but the first page": func(int, []byte) bool { return true },
		"indexes": func(i int, page []byte) bool {
			return i > 12 && !bytes.Contains(page, []byte(rowMark))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := opened(t, embedded.Config{Dir: dir})
			fillStore(t, s, n, func(int) *store.Event { return plain(bound()) })
			shut(t, s)
			if harmPages(t, filepath.Join(dir, "live.db"), harm) == 0 {
				t.Fatal("nothing was harmed")
			}
			s = opened(t, embedded.Config{Dir: dir})
			defer shut(t, s)
			claimAll(t, s, n)
			if st := s.Stats(); st.Rebuilt != 1 || st.Pending != n {
				t.Errorf("rebuilt %d views, %d pending", st.Rebuilt, st.Pending)
			}
		})
	}
}

func TestALiveFileDamagedAndBehindIsMadeAnew(t *testing.T) {
	t.Parallel()
	const n = 2000
	dir := t.TempDir()
	live := filepath.Join(dir, "live.db")
	s := opened(t, embedded.Config{Dir: dir})
	all := fillStore(t, s, n, func(int) *store.Event { return plain(bound()) })
	shut(t, s)
	old, err := os.ReadFile(live)
	if err != nil {
		t.Fatal(err)
	}
	s = opened(t, embedded.Config{Dir: dir})
	batch := &store.Batch{}
	for _, e := range all {
		batch.Outcomes = append(batch.Outcomes, &store.Outcome{
			Delivery: e.Deliveries[0].ID, Time: time.Now(), State: store.Pending, Attempt: 1, Counted: true, Class: "c",
		})
	}
	if err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	if err := os.WriteFile(live, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if harmPages(t, live, lateRow) == 0 {
		t.Fatal("nothing was harmed")
	}
	s = opened(t, embedded.Config{Dir: dir})
	defer shut(t, s)
	claimAll(t, s, n)
}

func TestDedupeKeysAreReadThoughTheIndexIsDamaged(t *testing.T) {
	t.Parallel()
	const n = 5000
	dir := t.TempDir()
	s := opened(t, embedded.Config{Dir: dir})
	keyed := func(i int) *store.Event {
		e := plain()
		e.DedupeKey = fmt.Sprint("key-", i)
		return e
	}
	fillStore(t, s, n, keyed)
	shut(t, s)
	harmed := harmPages(t, filepath.Join(dir, "index-00000001.db"), func(i int, page []byte) bool {
		return page[0] == 0x0d && binary.BigEndian.Uint16(page[3:]) > 20
	})
	if harmed < 10 {
		t.Fatalf("only %d pages were harmed", harmed)
	}
	s = opened(t, embedded.Config{Dir: dir})
	defer shut(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Append(ctx, &store.Batch{Events: []*store.Event{keyed(n)}}); err != nil {
		t.Errorf("Append of a new key: %v", err)
	}
	if err := s.Append(ctx, &store.Batch{Events: []*store.Event{keyed(n / 2)}}); err == nil {
		t.Error("Append of a key that is taken succeeds")
	}
}

func TestALiveFileThatCannotBeMadeAnewAtOnceIsTriedAgain(t *testing.T) {
	t.Parallel()
	const n = 3000
	dir := t.TempDir()
	live := filepath.Join(dir, "live.db")
	s := opened(t, embedded.Config{Dir: dir, ApplyEvery: 10 * time.Millisecond})
	fillStore(t, s, n, func(int) *store.Event { return plain(bound()) })
	shut(t, s)
	if harmPages(t, live, lateRow) == 0 {
		t.Fatal("nothing was harmed")
	}
	s = opened(t, embedded.Config{Dir: dir, ApplyEvery: 10 * time.Millisecond})
	defer shut(t, s)
	s.Stats() // it has caught up
	// A folder where SQLite wants a file.
	if err := os.RemoveAll(live + "-shm"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(live+"-shm", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	request := store.ClaimRequest{Now: time.Now().Add(time.Minute), Rooms: []store.Room{{Destination: "x", Count: n, Bytes: 1 << 30}}}
	if got, _, err := s.Claim(ctx, request); err == nil {
		t.Fatalf("claimed %d from a damaged file that cannot be made anew", len(got))
	}
	if err := os.RemoveAll(live + "-shm"); err != nil {
		t.Fatal(err)
	}
	claimAll(t, s, n)
}
