package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/embedded"
)

// ledger knows what a store has acknowledged.
type ledger struct {
	mu     sync.Mutex
	events map[store.Position]string
	// states has the last acknowledged state of each delivery. While an outcome
	// is on its way the delivery is in doubt.
	states map[store.DeliveryID]store.DeliveryState
	doubt  map[store.DeliveryID]bool
	grown  chan struct{}
}

func newLedger() *ledger {
	return &ledger{
		events: map[store.Position]string{}, states: map[store.DeliveryID]store.DeliveryState{},
		doubt: map[store.DeliveryID]bool{}, grown: make(chan struct{}),
	}
}

func (l *ledger) note(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	close(l.grown)
	l.grown = make(chan struct{})
}

// waitFor waits until n more events are acknowledged.
func (l *ledger) waitFor(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	want := len(l.events) + n
	for len(l.events) < want && !t.Failed() {
		grown := l.grown
		l.mu.Unlock()
		<-grown
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// snapshot returns a copy. What was in doubt when it was taken may have become
// either.
func (l *ledger) snapshot() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	maps.Copy(c.events, l.events)
	for id, state := range l.states {
		if !l.doubt[id] {
			c.states[id] = state
		}
	}
	return c
}

// work appends events and outcomes until stop is closed.
func (l *ledger) work(t *testing.T, s *embedded.Store, worker int, stop <-chan struct{}) {
	t.Helper()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		e := sample(i)
		e.DedupeKey = fmt.Sprint(worker, "-", i)
		if err := s.Append(context.Background(), &store.Batch{Events: []*store.Event{e}, Claimed: i%2 == 0}); err != nil {
			t.Error(err)
			l.note(func() {})
			return
		}
		id := e.Deliveries[0].ID
		l.note(func() { l.events[e.At], l.states[id] = string(e.Envelope.ID), store.Pending })
		o := delivered(id)
		switch i % 5 {
		case 0:
			continue
		case 1:
			o.State, o.Class = store.Dead, "timeout"
		case 2:
			o.State, o.Class = store.Held, "target_removed"
		}
		l.note(func() { l.doubt[id] = true })
		s.Submit(&store.Batch{Outcomes: []*store.Outcome{o}, Lazy: i%2 == 0, Reserve: true}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			l.note(func() {
				l.states[id] = o.State
				delete(l.doubt, id)
			})
		})
	}
}

// account checks that everything in the ledger is in the store, in the views as in
// the journal, and that whatever is not final is handed out or held.
func (l *ledger) account(t *testing.T, s *embedded.Store) {
	t.Helper()
	ctx := t.Context()
	for at, id := range l.events {
		e, err := s.Event(ctx, at)
		if err != nil || string(e.Envelope.ID) != id {
			t.Fatalf("event %s at %s was acknowledged: %v", id, at, err)
		}
		if all, err := s.EventsByID(ctx, id); err != nil || len(all) != 1 || all[0].At != at {
			t.Fatalf("event %s is found by its id as %v, %v", id, all, err)
		}
		twin := sample(0)
		twin.DedupeKey = e.DedupeKey
		if _, dup := errors.AsType[*store.DuplicateError](s.Append(ctx, &store.Batch{Events: []*store.Event{twin}})); !dup {
			t.Fatalf("the key %q of event %s is free", e.DedupeKey, id)
		}
	}
	due := map[store.DeliveryID]bool{}
	for {
		claimed, _, err := s.Claim(ctx, store.ClaimRequest{
			Now: time.Now().Add(time.Hour), Rooms: []store.Room{{Destination: "d", Count: 100, Bytes: 1 << 30}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(claimed) == 0 {
			break
		}
		for _, c := range claimed {
			due[c.Delivery.ID] = true
		}
	}
	for id, state := range l.states {
		rec, err := s.Delivery(ctx, id)
		if err != nil || rec.State != state {
			t.Fatalf("delivery %s is %v (%v), it was acknowledged as %s", id, rec, err, state)
		}
		if due[id] != (state == store.Pending) {
			t.Fatalf("delivery %s is %s, handed out: %v", id, state, due[id])
		}
	}
	pending := int64(len(due))
	held := int64(0)
	groups, err := s.Held(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		held += g.Count
	}
	if st := s.Stats(); st.Pending != pending+held || st.Held != held {
		t.Fatalf("Stats: %d pending, %d held, want %d and %d", st.Pending, st.Held, pending+held, held)
	}
}

func copyFiles(t *testing.T, from, to string, want func(name string) bool) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(from, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file of SQLite that went away
		}
		if err != nil || relErr != nil {
			return errors.Join(err, relErr)
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !want(rel) {
			return nil
		}
		b, err := os.ReadFile(name) //nolint:gosec // a directory of the test's own
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isView(name string) bool {
	return strings.HasPrefix(name, "live.db") || strings.HasPrefix(name, "index-")
}

// TestKill copies the directory of a running store, file by file, as a kill at a
// random moment would leave it, or worse: the views are copied before or after the
// journal, never at the same moment.
func TestKill(t *testing.T) {
	t.Parallel()
	for seed := range rounds() {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			crash(t, seed, nil)
		})
	}
}

// TestPowerLoss is TestKill with a journal that loses what was not synced.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for seed := range rounds() {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			crash(t, seed, disktest.NewMem())
		})
	}
}

// rounds is how often a crash is tried.
func rounds() int {
	if testing.Short() {
		return 2
	}
	return 6
}

func crash(t *testing.T, seed int, mem *disktest.Mem) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	cfg := embedded.Config{Dir: t.TempDir(), SegmentBytes: 32 << 10, ApplyEvery: time.Millisecond}
	if mem != nil {
		cfg.Disk = mem
	}
	s := openStore(t, cfg)
	l := newLedger()
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		workers.Go(func() { l.work(t, s, w, stop) })
	}
	copied := t.TempDir()
	views := func() { copyFiles(t, cfg.Dir, copied, isView) }
	l.waitFor(t, 20+random.IntN(200))
	after := random.IntN(2) == 0
	if !after {
		views()
		l.waitFor(t, random.IntN(100))
	}
	acked := l.snapshot()
	var crashed disk.FS
	if mem != nil {
		crashed = mem.Crash(random)
	} else {
		copyFiles(t, cfg.Dir, copied, func(name string) bool { return !isView(name) && name != "LOCK" })
	}
	if after {
		l.waitFor(t, random.IntN(100))
		views()
	}
	close(stop)
	workers.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = replaceDir(t, cfg.Dir, copied, mem != nil)
	cfg.Disk = crashed
	s = openStore(t, cfg)
	acked.account(t, s)
	reopen(t, &s, cfg)
	acked.account(t, s)
}

// replaceDir returns the directory to open after the crash. A file system in
// memory knows the old one only, which gets the copied files.
func replaceDir(t *testing.T, dir, copied string, keep bool) string {
	t.Helper()
	if !keep {
		return copied
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, copied, dir, func(string) bool { return true })
	return dir
}

// TestManyAtOnce lets everything happen at the same time and accounts in the end.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t, embedded.Config{Dir: t.TempDir(), SegmentBytes: 128 << 10, ApplyEvery: 5 * time.Millisecond})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	ctx := t.Context()
	var mu sync.Mutex
	ended := map[store.DeliveryID]int{}
	var produced []store.DeliveryID
	for w := range 3 {
		wg.Go(func() {
			for i := range 300 {
				e := sample(i)
				e.DedupeKey = fmt.Sprint(w, "/", i)
				if err := s.Append(ctx, &store.Batch{Events: []*store.Event{e}}); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				produced = append(produced, e.Deliveries[0].ID)
				mu.Unlock()
			}
		})
	}
	var consumers sync.WaitGroup
	for range 3 {
		consumers.Go(func() {
			for {
				claimed, _, err := s.Claim(ctx, store.ClaimRequest{
					Now: time.Now().Add(time.Second), Rooms: []store.Room{{Destination: "d", Count: 10, Bytes: 1 << 20}},
				})
				if err != nil {
					t.Error(err)
					return
				}
				for i, c := range claimed {
					o := delivered(c.Delivery.ID)
					o.Attempt = c.Made + 1
					if i%3 == 0 && c.Made < 2 {
						o.State = store.Pending
					}
					if i%7 == 6 {
						s.Release(c.Delivery.ID)
						continue
					}
					if err := s.Append(ctx, &store.Batch{Outcomes: []*store.Outcome{o}, Reserve: true}); err != nil {
						t.Error(err)
					}
					if o.State.Final() {
						mu.Lock()
						ended[c.Delivery.ID]++
						mu.Unlock()
					}
				}
				if len(claimed) > 0 {
					continue
				}
				select {
				case <-stop:
					return
				case <-s.Wake():
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
	}
	consumers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err := s.Events(ctx, store.EventQuery{Source: "source-1", Headers: true})
			_, deliveryErr := s.Deliveries(ctx, store.DeliveryQuery{State: store.Pending})
			s.Stats()
			if err := errors.Join(err, deliveryErr); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
	for deadline := time.After(time.Minute); !t.Failed(); {
		changed := s.Changed()
		if s.Stats().Pending == 0 {
			break
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // Stats may be late on a busy machine
		case <-deadline:
			t.Errorf("still pending: %+v", s.Stats())
		}
	}
	close(stop)
	consumers.Wait()
	for _, id := range produced {
		if ended[id] != 1 {
			t.Errorf("delivery %s ended %d times", id, ended[id])
		}
	}
	if len(ended) != len(produced) {
		t.Errorf("%d deliveries ended, %d were produced", len(ended), len(produced))
	}
}
