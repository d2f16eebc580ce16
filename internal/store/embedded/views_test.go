package embedded_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/embedded"
	"github.com/grapnel/grapnel/internal/store/storetest"
)

// TestMain looks for goroutines that are left over. Each step of a model opens
// files: a few histories are enough for every day; -rapid.checks asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	checks := "12"
	if racing || testing.Short() {
		checks = "4"
	}
	if !asked {
		if err := flag.Set("rapid.checks", checks); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func openStore(t *testing.T, cfg embedded.Config) *embedded.Store {
	t.Helper()
	if cfg.Reserve == 0 {
		cfg.Reserve = -1
	}
	s, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// TestConformanceWithTightMemory runs the suite with bounds that every test meets:
// the views drop their feeds and read the journal all the time. With the race
// detector the model with tight memory has to do.
func TestConformanceWithTightMemory(t *testing.T) {
	t.Parallel()
	if !racing && !testing.Short() {
		storetest.Run(t, openTight)
	}
}

func openTight(ctx context.Context, o storetest.Options) (store.Store, error) {
	cfg := config(o)
	embedded.Tighten(&cfg)
	return embedded.Open(ctx, cfg)
}

// populate fills a store in which some deliveries of every kind are left.
func populate(t *testing.T, s *embedded.Store, n int) {
	t.Helper()
	for i := range n {
		e := sample(i)
		e.DedupeKey = string(e.Envelope.ID)
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{e}, Claimed: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
		o := delivered(e.Deliveries[0].ID)
		switch i % 4 {
		case 0:
			continue
		case 1:
			o.State, o.Class = store.Dead, "timeout"
		case 2:
			o.State, o.Class = store.Held, "target_removed"
		}
		if err := s.Append(t.Context(), &store.Batch{Outcomes: []*store.Outcome{o}}); err != nil {
			t.Fatal(err)
		}
	}
}

// picture is everything that the views answer.
type picture struct {
	Events     []string
	Deliveries []string
	Held       []store.HeldGroup
	Pending    int64
	Oldest     time.Time
	Due        []string
}

func look(t *testing.T, s *embedded.Store) picture {
	t.Helper()
	var p picture
	for q := (store.EventQuery{Limit: 100, Headers: true}); ; {
		page, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatalf("Events: %v", err)
		}
		for _, e := range page.Events {
			p.Events = append(p.Events, fmt.Sprint(e.At, e.Envelope.ID, e.Size, e.Deliveries))
		}
		if q.After = page.Next; q.After == 0 {
			break
		}
	}
	for q := (store.DeliveryQuery{Limit: 100}); ; {
		page, err := s.Deliveries(t.Context(), q)
		if err != nil {
			t.Fatalf("Deliveries: %v", err)
		}
		for _, d := range page.Deliveries {
			p.Deliveries = append(p.Deliveries, fmt.Sprintf("%+v", *d))
		}
		if q.After = page.Next; q.After.IsZero() {
			break
		}
	}
	var err error
	if p.Held, err = s.Held(t.Context()); err != nil {
		t.Fatalf("Held: %v", err)
	}
	st := s.Stats()
	p.Pending, p.Oldest = st.Pending, st.OldestPending
	claimed, _, err := s.Claim(t.Context(), store.ClaimRequest{
		Now: time.Now().Add(time.Hour), Rooms: []store.Room{{Destination: "d", Count: 1 << 20, Bytes: 1 << 40}},
	})
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	for _, c := range claimed {
		p.Due = append(p.Due, fmt.Sprint(c.Delivery.ID, c.DueAt))
		s.Release(c.Delivery.ID)
	}
	return p
}

// TestViewsAreMadeAnew damages the views of a closed store in every way that a
// file can be damaged, and expects the same answers as before.
func TestViewsAreMadeAnew(t *testing.T) {
	t.Parallel()
	write := func(name string, change func([]byte) []byte) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, change(b), 0o600)
	}
	run := func(statement string) func(string) error {
		return func(name string) error { return execute(t.Context(), name, statement) }
	}
	harms := map[string]func(name string) error{
		"removed": os.Remove,
		"emptied": func(name string) error { return os.Truncate(name, 0) },
		"garbage": func(name string) error {
			return write(name, func(b []byte) []byte { return slices.Repeat([]byte("garbage "), len(b)/8) })
		},
		"cut off":            func(name string) error { return write(name, func(b []byte) []byte { return b[:len(b)/2+17] }) },
		"second half":        func(name string) error { return write(name, func(b []byte) []byte { clear(b[len(b)/2:]); return b }) },
		"older version":      run("PRAGMA user_version = -1"),
		"newer version":      run("PRAGMA user_version = 99"),
		"without tables":     run("DROP TABLE meta"),
		"without rows":       run("DELETE FROM meta"),
		"ahead":              run("UPDATE meta SET applied = 1 << 60"),
		"of another journal": run("UPDATE meta SET mark_id = '0197a000-0000-7000-8000-000000000000'"),
	}
	for _, pattern := range []string{"live.db", "index-*.db", "*[!e].db"} {
		for _, harm := range slices.Sorted(maps.Keys(harms)) {
			t.Run(pattern+" "+harm, func(t *testing.T) {
				t.Parallel()
				cfg := embedded.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
				s := openStore(t, cfg)
				populate(t, s, 150)
				reopen(t, &s, cfg)
				want := look(t, s)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				names, err := filepath.Glob(filepath.Join(cfg.Dir, pattern))
				if err != nil || len(names) == 0 {
					t.Fatal(names, err)
				}
				for _, name := range names {
					if strings.HasSuffix(name, "state.db") {
						continue
					}
					if err := harms[harm](name); err != nil {
						t.Fatal(err)
					}
				}
				s = openStore(t, cfg)
				if diff := cmp.Diff(want, look(t, s)); diff != "" {
					t.Errorf("the views answer otherwise than before (-want +got):\n%s", diff)
				}
				if n := s.Stats().Rebuilt; n == 0 && harm != "removed" && harm != "emptied" {
					t.Error("no view is counted as made anew")
				}
				reopen(t, &s, cfg)
				if n := s.Stats().Rebuilt; n != 0 {
					t.Errorf("%d views are made anew at the next start", n)
				}
			})
		}
	}
}

func execute(ctx context.Context, name, statement string) error {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // of the test
	_, err = db.ExecContext(ctx, statement)
	return err
}

func reopen(t *testing.T, s **embedded.Store, cfg embedded.Config) {
	t.Helper()
	if err := (*s).Close(); err != nil {
		t.Fatal(err)
	}
	*s = openStore(t, cfg)
}

// TestDamageUnderTheRunningStore overwrites views while they are open.
func TestDamageUnderTheRunningStore(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"live.db", "index-*.db"} {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10}
			s := openStore(t, cfg)
			populate(t, s, 150)
			reopen(t, &s, cfg)
			want := look(t, s)
			names, err := filepath.Glob(filepath.Join(cfg.Dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range []string{name, name + "-wal"} {
					if _, err := os.Stat(file); err == nil {
						if err := os.WriteFile(file, slices.Repeat([]byte("garbage "), int(info.Size())/8), 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			// What pages SQLite has in memory may be right for a while.
			populate(t, s, 1)
			if got := look(t, s); len(got.Events) != len(want.Events)+1 || got.Pending != want.Pending+1 {
				t.Errorf("%d events, %d pending, want %d and %d", len(got.Events), got.Pending, len(want.Events)+1, want.Pending+1)
			}
		})
	}
}

func TestStateThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		harm func(name string) error
		kind fault.Kind
		code string
	}{
		{"garbage", func(name string) error {
			return os.WriteFile(name, slices.Repeat([]byte("garbage "), 4096), 0o600)
		}, fault.Permanent, "state_unreadable"},
		{"cut off", func(name string) error { return os.Truncate(name, 5000) }, fault.Permanent, "state_unreadable"},
		{"newer", func(name string) error { return execute(t.Context(), name, "PRAGMA user_version = 2") }, fault.Invalid, "state_newer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{Dir: t.TempDir(), Reserve: -1}
			s := openStore(t, cfg)
			if _, err := s.CompareAndSwap(t.Context(), "k", 0, []byte("v")); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(cfg.Dir, "state.db")
			before, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.harm(name); err != nil {
				t.Fatal(err)
			}
			_, err = embedded.Open(t.Context(), cfg)
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != tt.kind || f.Code != tt.code || f.Hint == "" {
				t.Fatalf("Open = %#v, want %s %s with a hint", err, tt.kind, tt.code)
			}
			if err := os.WriteFile(name, before, 0o600); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, cfg)
			if rec, err := s.Get(t.Context(), "k"); err != nil || string(rec.Value) != "v" {
				t.Errorf("Get after restoring = %q, %v", rec.Value, err)
			}
		})
	}
}

func TestTwoStoresInOneDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{Dir: t.TempDir()}
	openStore(t, cfg)
	_, err := embedded.Open(t.Context(), cfg)
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("Open = %v, want a Conflict", err)
	}
}

// TestViewsThatCannotBeWrittenStopNothing keeps the views from growing.
func TestViewsThatCannotBeWrittenStopNothing(t *testing.T) {
	t.Parallel()
	s := openStore(t, embedded.Config{Dir: t.TempDir(), ApplyEvery: 10 * time.Millisecond})
	populate(t, s, 40)
	look(t, s)
	free, err := embedded.Fill(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	claimed := map[store.DeliveryID]bool{}
	for i := range 300 {
		e := sample(i)
		e.DedupeKey = ""
		e.Deliveries[0].Destination = "full"
		if err := s.Append(t.Context(), &store.Batch{Events: []*store.Event{e}}); err != nil {
			t.Fatalf("Append while the views cannot be written: %v", err)
		}
	}
	_, err = s.Events(t.Context(), store.EventQuery{})
	if !fault.Is(err, fault.Transient) {
		t.Errorf("Events = %v, want a Transient fault: the list would not be complete", err)
	}
	if st := s.Stats(); st.IndexLag == 0 || st.Pending < 300 {
		t.Errorf("lag %d, pending %d, want a lag and at least 300 pending", st.IndexLag, st.Pending)
	}
	for {
		got, _, err := s.Claim(t.Context(), store.ClaimRequest{
			Now: time.Now(), Rooms: []store.Room{{Destination: "full", Count: 50, Bytes: 1 << 30}},
		})
		if err != nil {
			t.Fatalf("Claim while the views cannot be written: %v", err)
		}
		if len(got) == 0 {
			break
		}
		for _, c := range got {
			claimed[c.Delivery.ID] = true
			if err := s.Append(t.Context(), &store.Batch{Outcomes: []*store.Outcome{delivered(c.Delivery.ID)}, Reserve: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(claimed) != 300 {
		t.Errorf("%d deliveries were handed out, want 300", len(claimed))
	}
	if err := free(); err != nil {
		t.Fatal(err)
	}
	page, err := s.Deliveries(t.Context(), store.DeliveryQuery{Destination: "full", State: store.Delivered, Limit: 1000})
	if err != nil || len(page.Deliveries) != 300 {
		t.Errorf("%d are delivered (%v), want 300", len(page.Deliveries), err)
	}
}
