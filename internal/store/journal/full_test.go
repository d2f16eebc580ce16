package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/journal"
)

func outcome(i int) *store.Batch {
	return &store.Batch{
		Outcomes: []*store.Outcome{{Time: e0, State: store.Delivered, Reason: fmt.Sprintf("outcome %d", i), Excerpt: make([]byte, 500)}},
		Reserve:  true,
	}
}

func TestAFullDiskRefusesEventsAndTakesOutcomes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := disktest.NewMem()
		const reserve = 64 << 10
		mem.SetCapacity(300 << 10)
		cfg := small(mem)
		cfg.Reserve, cfg.ProbeEvery = reserve, time.Second
		j := open(t, cfg)
		stored := 0
		for {
			err := j.Append(t.Context(), batchOf(named(fmt.Sprintf("%c", 'a'+stored%26), 3000)))
			if err != nil {
				if !fault.Is(err, fault.Transient) || codeOf(err) != "store_full" {
					t.Fatalf("the disk is full: %v", err)
				}
				break
			}
			stored++
		}
		if s := j.Stats(); !s.Full || s.Unavailable != "" {
			t.Errorf("stats: %+v", s)
		}
		outcomes := 0
		for outcomes < 50 {
			if err := j.Append(t.Context(), outcome(outcomes)); err != nil {
				t.Fatalf("outcome %d: %v", outcomes, err)
			}
			outcomes++
			// Although the reserve has just freed more than an event takes.
			if err := j.Append(t.Context(), batchOf(named("x", 10))); codeOf(err) != "store_full" {
				t.Fatalf("an event after outcome %d: %v", outcomes, err)
			}
		}
		for { // until the reserve is used up
			if err := j.Append(t.Context(), outcome(outcomes)); err != nil {
				if codeOf(err) != "store_full" {
					t.Error(err)
				}
				break
			}
			outcomes++
		}
		if outcomes*500 < reserve/2 {
			t.Errorf("only %d outcomes fit into the reserve", outcomes)
		}
		mem.SetCapacity(mem.Used() + 100) // free space, but not worth a change
		time.Sleep(5 * time.Second)
		if !j.Stats().Full {
			t.Error("events are taken although the reserve cannot be filled")
		}
		mem.SetCapacity(mem.Used() + reserve*2)
		time.Sleep(2 * time.Second)
		if s := j.Stats(); s.Full {
			t.Errorf("there is space, and %+v", s)
		}
		if err := j.Append(t.Context(), batchOf(named("z", 3000))); err != nil {
			t.Errorf("there is space: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, cfg)
		if got := len(ids(t, j, 0)); got != stored+1 {
			t.Errorf("%d events, want %d", got, stored+1)
		}
		n := 0
		_, err := j.Scan(t.Context(), 0, func(r store.Record) error {
			if r.Outcome != nil {
				n++
			}
			return nil
		})
		if err != nil || n != outcomes {
			t.Errorf("%d outcomes, want %d (%v)", n, outcomes, err)
		}
		_ = j.Close() // within the bubble
	})
}

func TestDroppingASegmentEndsAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := disktest.NewMem()
		mem.SetCapacity(300 << 10)
		cfg := small(mem)
		cfg.Reserve, cfg.ProbeEvery = 8<<10, time.Hour
		j := open(t, cfg)
		for j.Append(t.Context(), batchOf(named("a", 3000))) == nil {
		}
		if err := j.Drop(j.Segments()[0].Number); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := j.Append(t.Context(), batchOf(named("b", 3000))); err != nil {
			t.Errorf("after a segment was dropped: %v", err)
		}
		_ = j.Close() // within the bubble
	})
}

func TestAJournalIsOpenedOnAFullDisk(t *testing.T) {
	t.Parallel()
	mem := disktest.NewMem()
	cfg := small(mem)
	cfg.Reserve = 32 << 10
	j := open(t, cfg)
	appendOne(t, j, "a")
	mem = mem.Crash(seeded(1))
	_ = j.Close() // of no interest any more
	mem.SetCapacity(mem.Used())
	cfg.Disk = mem
	j = open(t, cfg)
	if err := j.Append(t.Context(), outcome(1)); err != nil {
		t.Errorf("an outcome: %v", err)
	}
	if err := j.Append(t.Context(), batchOf(named("b", 20000))); codeOf(err) != "store_full" {
		t.Errorf("an event: %v", err)
	}
	if got := ids(t, j, 0); len(got) != 1 {
		t.Errorf("stored: %v", got)
	}
}

func TestABrokenDiskRefusesEverythingUntilItWorks(t *testing.T) {
	t.Parallel()
	for _, op := range []disktest.Op{disktest.Sync, disktest.Write, disktest.SyncDir} {
		synctest.Test(t, func(t *testing.T) {
			mem := disktest.NewMem()
			faults := disktest.NewFaults(mem)
			cfg := small(faults)
			cfg.ProbeEvery = time.Second
			j := open(t, cfg)
			appendOne(t, j, "a")
			faults.Set(
				disktest.Rule{Op: op, Times: -1, Err: syscall.EIO},
				disktest.Rule{Op: disktest.Write, Glob: "*1.seg", Times: -1, Err: syscall.EIO},
			)
			for range 3 {
				err := j.Append(t.Context(), batchOf(named("b", 10)))
				f, ok := errors.AsType[*fault.Error](err)
				if !ok || f.Kind != fault.Transient || f.Code != "store_unavailable" || f.Hint == "" || f.RetryAfter == 0 {
					t.Fatalf("%s fails: %v", op, err)
				}
			}
			if err := j.Append(t.Context(), outcome(1)); codeOf(err) != "store_unavailable" {
				t.Errorf("%s fails: outcome: %v", op, err)
			}
			if s := j.Stats(); s.Unavailable == "" || s.Full {
				t.Errorf("stats: %+v", s)
			}
			if got := ids(t, j, 0); len(got) != 1 {
				t.Errorf("what is stored cannot be read: %v", got)
			}
			time.Sleep(time.Minute) // probes fail
			faults.Set()
			time.Sleep(1100 * time.Millisecond)
			if s := j.Stats(); s.Unavailable != "" {
				t.Errorf("the disk works: %+v", s)
			}
			appendOne(t, j, "c")
			_ = j.Close() // within the bubble
			again := open(t, small(mem))
			if got := fmt.Sprint(ids(t, again, 0)); got != "[a c]" {
				t.Errorf("stored: %s", got)
			}
			_ = again.Close() // within the bubble
		})
	}
}

func TestAJournalThatCannotBeWrittenIsStillRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := disktest.NewMem()
		j := open(t, small(mem))
		if err := j.Append(t.Context(), batchOf(named("a", 30000))); err != nil { // the segment is full
			t.Fatal(err)
		}
		_ = j.Close() // within the bubble
		faults := disktest.NewFaults(mem, disktest.Rule{Op: disktest.Create, Glob: "*.seg", Times: -1, Err: syscall.EROFS})
		cfg := small(faults)
		cfg.ProbeEvery = time.Second
		j = open(t, cfg)
		if got := ids(t, j, 0); len(got) != 1 {
			t.Errorf("read: %v", got)
		}
		if err := j.Append(t.Context(), batchOf(named("b", 1))); codeOf(err) != "store_unavailable" {
			t.Errorf("Append = %v", err)
		}
		faults.Set()
		time.Sleep(2 * time.Second)
		appendOne(t, j, "c")
		_ = j.Close() // within the bubble
	})
	faults := disktest.NewFaults(disktest.NewMem(), disktest.Rule{Op: disktest.Create, Glob: "*.seg", Times: -1, Err: syscall.EROFS})
	if _, _, err := journal.Open(t.Context(), small(faults)); codeOf(err) != "data_dir_unusable" {
		t.Errorf("a new journal that cannot be written: %v", err)
	}
}

func TestLazyBatchesWaitForCompanyButNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := open(t, small(disktest.NewMem()))
		var done atomic.Int32
		lazy := func(i int) {
			b := outcome(i)
			b.Lazy = true
			j.Submit(b, func(err error) {
				if err != nil {
					t.Error(err)
				}
				done.Add(1)
			})
		}
		began := time.Now()
		lazy(1)
		time.Sleep(store.LazyLinger - time.Microsecond)
		lazy(2)
		synctest.Wait()
		if done.Load() != 0 {
			t.Error("a lazy batch did not wait")
		}
		time.Sleep(2 * time.Microsecond)
		synctest.Wait()
		if done.Load() != 2 || j.Stats().Syncs != 1 {
			t.Errorf("after %v: %d done in %d syncs", time.Since(began), done.Load(), j.Stats().Syncs)
		}
		lazy(3)
		appendOne(t, j, "a") // takes it along
		if done.Load() != 3 || j.Stats().Syncs != 2 {
			t.Errorf("with company: %d done in %d syncs", done.Load(), j.Stats().Syncs)
		}
		alone := outcome(4)
		alone.Lazy = true
		began = time.Now()
		if err := j.Append(context.Background(), alone); err != nil || time.Since(began) > store.LazyLinger {
			t.Errorf("a lazy Append took %v, %v", time.Since(began), err)
		}
		_ = j.Close() // within the bubble
	})
}
