package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// photograph runs a workload and returns the file system before every change,
// as it is left by a loss of power and as it is left by kill -9.
func photograph(t *testing.T, seed int, rules ...disktest.Rule) ([]moment, []error) {
	t.Helper()
	random, crash := seeded(seed), seeded(seed+1000)
	led := newLedger()
	var moments []moment
	w := watch(disktest.NewMem(), led, func(w *watched, what string) {
		promised := w.led.snapshot()
		moments = append(moments,
			moment{what + ", power lost", w.mem.Crash(crash), promised},
			moment{what + ", killed", w.mem.Clone(), promised})
	})
	w.Set(rules...)
	j, _, err := journal.Open(t.Context(), small(w))
	if err != nil {
		return moments, []error{err}
	}
	errs := led.run(j, random, "a", 25)
	_ = j.Close() // what it says does not matter: the moments do
	return moments, errs
}

// verify opens each moment, compares it with what had been promised, writes more,
// loses power again and compares again.
func verify(t *testing.T, moments []moment, seed int) {
	t.Helper()
	random := seeded(seed)
	for _, m := range moments {
		led := m.led.snapshot()
		j, _, err := journal.Open(t.Context(), small(m.mem))
		if err != nil {
			t.Fatalf("%s: opening: %v", m.what, err)
		}
		problems := led.compare(t.Context(), j)
		if len(problems) == 0 {
			for _, err := range led.run(j, random, "b", 3) {
				problems = append(problems, "appending: "+err.Error())
			}
			again := m.mem.Crash(random)
			problems = append(problems, led.snapshot().check(t.Context(), small(again))...)
		}
		_ = j.Close() // of no interest any more
		if len(problems) > 0 {
			t.Fatalf("%s: %d problems, first: %s\nfiles: %s", m.what, len(problems), problems[0], m.mem)
		}
	}
}

func rounds(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

func TestNothingAcknowledgedIsLostWhereverPowerFails(t *testing.T) {
	t.Parallel()
	for seed := range rounds(10) {
		moments, errs := photograph(t, seed)
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(moments) < 40 {
			t.Fatalf("seed %d: only %d moments", seed, len(moments))
		}
		verify(t, moments, seed)
	}
}

// The same, with one call failing: the journal goes on in a fresh segment, so
// that nobody is told, and whatever follows is as safe as before.
func TestNothingAcknowledgedIsLostWhereverTheDiskFails(t *testing.T) {
	t.Parallel()
	for _, r := range []disktest.Rule{
		{Op: disktest.Write, Glob: "*.seg", Err: syscall.EIO},
		{Op: disktest.Write, Glob: "*.seg", Err: syscall.EIO, Short: 3000},
		{Op: disktest.Write, Glob: "*.seg", Err: nil, Short: 500},
		{Op: disktest.Sync, Glob: "*.seg", Err: syscall.EIO},
		{Op: disktest.Sync, Glob: "*.seg", Err: syscall.EIO, Times: 2},
		{Op: disktest.Create, Glob: "*.seg", Err: syscall.EMFILE},
		{Op: disktest.SyncDir, Err: syscall.EIO},
		{Op: disktest.Truncate, Err: syscall.EIO},
		{Op: disktest.Write, Glob: "*.seg", Err: syscall.ENOSPC, Short: 700},
		{Op: disktest.Sync, Glob: "*.seg", Err: syscall.ENOSPC},
	} {
		t.Run(fmt.Sprintf("%s %v short %d", r.Op, r.Err, r.Short), func(t *testing.T) {
			t.Parallel()
			tries := []int{1, 2, 3, 5, 11}
			for _, nth := range tries[:max(3, rounds(len(tries)))] {
				r.Nth = nth
				moments, errs := photograph(t, nth, r)
				for _, err := range errs {
					if code := codeOf(err); code != "store_unavailable" && code != "store_full" &&
						code != "data_dir_unusable" {
						t.Errorf("nth %d: %v", nth, err)
					}
				}
				verify(t, moments, nth)
			}
		})
	}
}

// Every single failure that leaves another segment to go on with is hidden from
// the callers.
func TestAFailedSyncOrWriteIsMadeGoodInAFreshSegment(t *testing.T) {
	t.Parallel()
	for _, r := range []disktest.Rule{
		{Op: disktest.Sync, Glob: "*.seg", Nth: 5, Err: syscall.EIO},
		{Op: disktest.Write, Glob: "*.seg", Nth: 5, Err: syscall.EIO, Short: 100},
		{Op: disktest.Write, Glob: "*.seg", Nth: 5, Err: nil, Short: 100},
		{Op: disktest.Create, Glob: "*.seg", Nth: 2, Err: syscall.EMFILE},
	} {
		mem, led := disktest.NewMem(), newLedger()
		faults := disktest.NewFaults(mem, r)
		j := open(t, small(faults))
		if err := errors.Join(led.run(j, seeded(3), "a", 30)...); err != nil {
			t.Errorf("%s: %v", r.Op, err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if problems := led.check(t.Context(), small(mem)); len(problems) > 0 {
			t.Errorf("%s: %s", r.Op, problems[0])
		}
	}
}

// loses reports whether the checker finds a loss in one of many crashes.
func loses(t *testing.T, prepare func(*disktest.Mem) *disktest.Faults) bool {
	t.Helper()
	for seed := range 20 {
		mem, led, random := disktest.NewMem(), newLedger(), seeded(seed)
		j := open(t, small(prepare(mem)))
		led.run(j, random, "a", 20)
		problems := led.check(t.Context(), small(mem.Crash(rand.New(random))))
		_ = j.Close() // of no interest any more
		if len(problems) > 0 {
			return true
		}
	}
	return false
}

// The checker itself is checked: on a disk that lies it must find losses, on one
// that does not it must find none.
func TestTheCheckerFindsOutADiskThatLies(t *testing.T) {
	t.Parallel()
	if !loses(t, func(m *disktest.Mem) *disktest.Faults {
		m.SkipSync = true
		return disktest.NewFaults(m)
	}) {
		t.Error("no loss found although nothing is ever synced")
	}
	if !loses(t, func(m *disktest.Mem) *disktest.Faults {
		return disktest.NewFaults(m, disktest.Rule{Op: disktest.Sync, Glob: "*.seg", Nth: 6})
	}) {
		t.Error("no loss found although one sync of the journal lies")
	}
	if !loses(t, func(m *disktest.Mem) *disktest.Faults {
		return disktest.NewFaults(m, disktest.Rule{Op: disktest.SyncDir, Times: -1})
	}) {
		t.Error("no loss found although no directory is ever synced")
	}
	if loses(t, func(m *disktest.Mem) *disktest.Faults { return disktest.NewFaults(m) }) {
		t.Error("a loss found on an honest disk")
	}
}
