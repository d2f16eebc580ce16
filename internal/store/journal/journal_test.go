package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/journal"
)

func TestWhatIsAppendedHasPlacesAndIsReadBack(t *testing.T) {
	t.Parallel()
	var commits []*journal.Commit
	cfg := journal.Config{Dir: t.TempDir(), Committed: func(c []*journal.Commit) { commits = append(commits, c...) }}
	j := open(t, cfg)
	changed := j.Changed()
	first, second := named("a", 5000), named("b", 0)
	second.Raw, second.DetailIsBody, second.Envelope.Detail = nil, false, []byte(`{"x":1}`)
	if err := j.Append(t.Context(), batchOf(first, second)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("Changed was not closed")
	}
	dispatch := &store.Dispatch{Event: first.At, Deliveries: []*store.Delivery{{Rule: "r", Target: "t", Run: "again"}}}
	outcome := &store.Outcome{Delivery: first.Deliveries[0].ID, Time: e0, State: store.Delivered, Attempt: 1}
	mixed := &store.Batch{Dispatches: []*store.Dispatch{dispatch}, Outcomes: []*store.Outcome{outcome}}
	if err := j.Append(t.Context(), mixed); err != nil {
		t.Fatal(err)
	}

	for _, e := range []*store.Event{first, second} {
		want := store.NewDeliveryID(e.At, e.Envelope.ID, "opened-prs", "crm", "")
		if d := e.Deliveries[0]; e.At == 0 || d.ID != want || d.Event != e.At {
			t.Errorf("at %s the delivery is %s of %s, want %s", e.At, d.ID, d.Event, want)
		}
	}
	if want := store.NewDeliveryID(first.At, "a", "r", "t", "again"); dispatch.Deliveries[0].ID != want {
		t.Errorf("the delivery of the dispatch is %s, want %s", dispatch.Deliveries[0].ID, want)
	}
	want := []store.Record{
		{At: first.At, Event: first},
		{At: second.At, Event: second},
		{At: dispatch.At, Dispatch: dispatch},
		{At: outcome.At, Outcome: outcome},
	}
	readBack(t, j, want)
	if len(commits) != 2 || commits[1].Batch != mixed || commits[1].Next != j.Horizon() ||
		commits[1].Frame.At != commits[0].Next || len(commits[0].Records) != 2 {
		t.Errorf("commits: %+v", commits)
	}
	if at := commits[1].Records[1].At; at != outcome.At {
		t.Errorf("the commit places the outcome at %s, want %s", at, outcome.At)
	}
	horizon := j.Horizon()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, found, err := journal.Open(t.Context(), journal.Config{Dir: cfg.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, again)
	if len(found.Torn)+len(found.Damaged) > 0 || found.Horizon < horizon {
		t.Errorf("after a clean end: %+v", found)
	}
	readBack(t, again, want)
	if n := len(again.Segments()); n != 1 {
		t.Errorf("%d segments, want the old one to go on", n)
	}
}

// readBack compares what a scan, Read and ReadHead return.
func readBack(t *testing.T, j *journal.Journal, want []store.Record) {
	t.Helper()
	i := 0
	next, err := j.Walk(t.Context(), 0, func(l journal.Location, got store.Record) error {
		if diff := cmp.Diff(want[i], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("record %d of the scan (-want +got):\n%s", i, diff)
		}
		if l.At != want[i].At || i > 0 && l.At <= want[i-1].At {
			t.Errorf("record %d stands at %s", i, l.At)
		}
		i++
		return nil
	})
	if err != nil || i != len(want) || next != j.Horizon() {
		t.Errorf("the scan met %d of %d records and ended at %s, %v", i, len(want), next, err)
	}
	for _, w := range want {
		got, err := j.Read(w.At)
		if diff := cmp.Diff(w, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("Read(%s): %v (-want +got):\n%s", w.At, err, diff)
		}
		head, size, err := j.ReadHead(w.At)
		if err != nil {
			t.Fatal(err)
		}
		if w.Event == nil {
			continue
		}
		wantSize := len(w.Event.Envelope.Detail)
		if head.Event.Envelope.Detail != nil || head.Event.Raw != nil && head.Event.Raw.Body != nil || size != int64(wantSize) {
			t.Errorf("ReadHead(%s) has a body, or size %d is not %d", w.At, size, wantSize)
		}
	}
}

func TestBatchesThatCannotBeStoredAreRefused(t *testing.T) {
	t.Parallel()
	cfg := small(disktest.NewMem())
	cfg.MaxFrame = 10000
	j := open(t, cfg)
	err := j.Append(t.Context(), batchOf(named("a", 10000)))
	if !fault.Is(err, fault.TooLarge) || codeOf(err) != "batch_too_large" {
		t.Errorf("err = %v", err)
	}
	dispatch := &store.Dispatch{Event: 12345, Deliveries: []*store.Delivery{{Rule: "r"}}}
	err = j.Append(t.Context(), &store.Batch{Dispatches: []*store.Dispatch{dispatch}})
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("a dispatch of an event that is not there: %v", err)
	}
	if err := j.Append(t.Context(), &store.Batch{}); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	done := make(chan error, 1)
	j.Submit(batchOf(named("a", 10000)), func(err error) { done <- err })
	if err := <-done; codeOf(err) != "batch_too_large" {
		t.Errorf("Submit: %v", err)
	}
	if got := ids(t, j, 0); len(got) > 0 {
		t.Errorf("stored: %v", got)
	}
}

func TestOnlyPositionsOfRecordsAreRead(t *testing.T) {
	t.Parallel()
	mem := disktest.NewMem()
	j := open(t, small(mem))
	a := appendOne(t, j, "a")
	// A body that holds what the journal itself looks like.
	raw := mem.Bytes(segmentFile(1))
	trap := named("b", 0)
	trap.Raw.Body, trap.Envelope.Detail = raw, raw
	if err := j.Append(t.Context(), batchOf(trap)); err != nil {
		t.Fatal(err)
	}
	for at := a.At &^ 0xffffffff; at < j.Horizon()+10; at++ {
		rec, err := j.Read(at)
		switch {
		case at == a.At || at == trap.At:
			if err != nil {
				t.Fatalf("Read(%s): %v", at, err)
			}
		case !fault.Is(err, fault.NotFound):
			t.Fatalf("Read(%s) = %+v, %v", at, rec, err)
		}
	}
	for _, at := range []store.Position{0, 1, a.At + 1<<32, 1<<64 - 1} {
		if _, err := j.Read(at); !fault.Is(err, fault.NotFound) {
			t.Errorf("Read(%s): %v", at, err)
		}
	}
}

func TestScansStopAndGoOn(t *testing.T) {
	t.Parallel()
	j := open(t, small(disktest.NewMem()))
	var at []store.Position
	for i := range 60 {
		e := named(fmt.Sprintf("%c", 'A'+i), 1000)
		if err := j.Append(t.Context(), batchOf(e, named("x", 10))); err != nil {
			t.Fatal(err)
		}
		at = append(at, e.At)
	}
	if n := len(j.Segments()); n < 3 {
		t.Fatalf("only %d segments", n)
	}
	all := ids(t, j, 0)
	if len(all) != 120 {
		t.Fatalf("%d events", len(all))
	}
	for i, from := range at {
		for name, got := range map[string][]string{
			"from a record": ids(t, j, from),
			"behind it":     ids(t, j, from+1),
			"inside it":     ids(t, j, from+500),
		} {
			want := all[2*i:]
			if name != "from a record" {
				want = want[1:]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s %d: %d events, want %d", name, i, len(got), len(want))
			}
		}
	}
	stop := errors.New("enough")
	var got []string
	from := store.Position(0)
	for {
		n := 0
		next, err := j.Scan(t.Context(), from, func(r store.Record) error {
			if n++; n > 7 {
				return stop
			}
			got = append(got, string(r.Event.Envelope.ID))
			return nil
		})
		from = next
		if err == nil {
			break
		}
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, all) || from != j.Horizon() {
		t.Errorf("in steps: %d of %d events, up to %s", len(got), len(all), from)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if next, err := j.Scan(ctx, at[5], func(store.Record) error { return nil }); !errors.Is(err, stop) || next != at[5] {
		t.Errorf("a canceled scan: %s, %v", next, err)
	}
	if next, err := j.Scan(t.Context(), j.Horizon(), func(store.Record) error { return stop }); err != nil || next != j.Horizon() {
		t.Errorf("from the horizon: %s, %v", next, err)
	}
}

func TestSegmentsRollBySizeByAgeAndOnDemand(t *testing.T) {
	t.Parallel()
	mem := disktest.NewMem()
	now := e0
	cfg := small(mem)
	cfg.Now = func() time.Time { return now } // the writer is idle whenever it is changed
	j := open(t, cfg)
	for range 2 { // nothing to roll, whatever the age
		now = now.Add(100 * time.Hour)
		if err := j.Roll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(want int, what string) {
		t.Helper()
		if n := len(j.Segments()); n != want {
			t.Fatalf("%s: %d segments, want %d", what, n, want)
		}
	}
	count(1, "empty")
	appendOne(t, j, "a") // an empty segment takes the first record however old it is
	count(1, "first")
	appendOne(t, j, "b")
	count(2, "by age")
	now = now.Add(-1000 * time.Hour) // a clock that jumps back neither rolls nor breaks
	appendOne(t, j, "c")
	count(2, "clock jumped back")
	if err := j.Append(t.Context(), batchOf(named("d", 30000))); err != nil {
		t.Fatal(err)
	}
	appendOne(t, j, "e")
	count(3, "by size")
	if err := j.Roll(t.Context()); err != nil {
		t.Fatal(err)
	}
	count(4, "on demand")
	late := named("f", 1)
	late.Received = e0.Add(time.Hour)
	early := &store.Outcome{Time: e0.Add(-time.Hour)}
	if err := j.Append(t.Context(), &store.Batch{Events: []*store.Event{late}, Outcomes: []*store.Outcome{early}}); err != nil {
		t.Fatal(err)
	}
	before := j.Segments()
	if last := before[3]; !last.First.Equal(early.Time) || !last.Last.Equal(late.Received) || last.Sealed || !before[2].Sealed {
		t.Errorf("segments: %+v", before)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	after := open(t, cfg).Segments()
	before[3].Bytes = after[3].Bytes // the frame that Close writes
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
}

func TestTheOldestSegmentIsDroppedUnderAScan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, journal.Config{Dir: dir, SegmentBytes: 20000})
	var events []*store.Event
	for i := range 40 {
		e := named(fmt.Sprintf("%c", 'A'+i), 2000)
		if err := j.Append(t.Context(), batchOf(e)); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	segments := j.Segments()
	for _, number := range []uint32{segments[1].Number, segments[len(segments)-1].Number, 99} {
		if err := j.Drop(number); !fault.Is(err, fault.Conflict) {
			t.Errorf("dropping segment %d: %v", number, err)
		}
	}
	seen := 0
	_, err := j.Scan(t.Context(), 0, func(r store.Record) error {
		if seen++; seen == 2 {
			if err := j.Drop(segments[0].Number); err != nil {
				t.Error(err)
			}
			if _, err := j.Read(events[3].At); !fault.Is(err, fault.NotFound) {
				t.Errorf("reading what was dropped: %v", err)
			}
		}
		return nil
	})
	if err != nil || seen != len(events) {
		t.Errorf("the scan met %d of %d, %v", seen, len(events), err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*.seg"))
	if err != nil || len(names) != len(segments)-1 {
		t.Errorf("%d files, want %d (%v)", len(names), len(segments)-1, err)
	}
	for len(j.Segments()) > 1 {
		if err := j.Drop(j.Segments()[0].Number); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Drop(j.Segments()[0].Number); !fault.Is(err, fault.Conflict) {
		t.Errorf("dropping the last segment: %v", err)
	}
	left := ids(t, j, 0)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again, found, err := journal.Open(t.Context(), journal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, again)
	if got := ids(t, again, 0); !slices.Equal(got, left) || len(found.Damaged) > 0 {
		t.Errorf("after the drops: %v, want %v; %+v", got, left, found)
	}
}

func TestADirectoryIsOpenedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, journal.Config{Dir: dir})
	if _, _, err := journal.Open(t.Context(), journal.Config{Dir: dir}); codeOf(err) != "data_dir_locked" {
		t.Errorf("the second Open: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("grapnel data 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := journal.Open(t.Context(), journal.Config{Dir: dir}); codeOf(err) != "data_dir_newer" {
		t.Errorf("a newer directory: %v", err)
	}
	if _, _, err := journal.Open(t.Context(), journal.Config{}); codeOf(err) != "data_dir_unusable" {
		t.Errorf("no directory: %v", err)
	}
}

func TestCloseCommitsWhatWasSubmitted(t *testing.T) {
	t.Parallel()
	mem := disktest.NewMem()
	j := open(t, small(mem))
	var mu sync.Mutex
	var errs []error
	for i := range 20 {
		b := batchOf(named(fmt.Sprintf("%c", 'a'+i), 10))
		b.Lazy = i%2 == 0
		j.Submit(b, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(errs) != 20 || errors.Join(errs...) != nil {
		t.Errorf("%d were done: %v", len(errs), errors.Join(errs...))
	}
	if err := j.Append(t.Context(), batchOf(named("z", 1))); codeOf(err) != "store_unavailable" {
		t.Errorf("Append after Close: %v", err)
	}
	late := make(chan error, 1)
	j.Submit(batchOf(named("z", 1)), func(err error) { late <- err })
	if err := <-late; codeOf(err) != "store_unavailable" {
		t.Errorf("Submit after Close: %v", err)
	}
	if err := j.Roll(t.Context()); codeOf(err) != "store_unavailable" {
		t.Errorf("Roll after Close: %v", err)
	}
	if got := ids(t, open(t, small(mem)), 0); len(got) != 20 {
		t.Errorf("%d of 20 are stored", len(got))
	}
}

// gate is a file system whose syncs of segments wait to be let through.
func gate(mem *disktest.Mem) (fsys *disktest.Faults, closeGate func() (opened func())) {
	fsys = disktest.NewFaults(mem)
	var mu sync.Mutex
	wait := make(chan struct{})
	close(wait)
	fsys.Before = func(op disktest.Op, name string) {
		mu.Lock()
		w := wait
		mu.Unlock()
		if op == disktest.Sync && strings.HasSuffix(name, ".seg") {
			<-w
		}
	}
	return fsys, func() func() {
		mu.Lock()
		defer mu.Unlock()
		w := make(chan struct{})
		wait = w
		return sync.OnceFunc(func() { close(w) })
	}
}

func TestWhatWaitsIsCommittedTogether(t *testing.T) {
	t.Parallel()
	fsys, closeGate := gate(disktest.NewMem())
	j := open(t, small(fsys))
	release := closeGate()
	defer release()
	var wg sync.WaitGroup
	submit := func(id string) {
		wg.Add(1)
		j.Submit(batchOf(named(id, 10)), func(err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	submit("a")
	for i := range 50 {
		submit(fmt.Sprintf("%c", 'b'+i))
	}
	if ids := ids(t, j, 0); len(ids) > 0 {
		t.Errorf("read before the sync: %v", ids)
	}
	release()
	wg.Wait()
	if s := j.Stats(); s.Commits != 51 || s.Syncs > 2 {
		t.Errorf("%d batches in %d syncs, want 51 in at most 2", s.Commits, s.Syncs)
	}
	if s := j.Stats(); s.QueuedBytes != 0 || s.Segments != 1 || s.Bytes <= 51*10 {
		t.Errorf("stats: %+v", s)
	}
}

func TestAFullQueueMakesCallersWait(t *testing.T) {
	t.Parallel()
	fsys, closeGate := gate(disktest.NewMem())
	cfg := small(fsys)
	cfg.QueueBytes = 4000
	j := open(t, cfg)
	release := closeGate()
	defer release()
	first := make(chan error, 1)
	j.Submit(batchOf(named("a", 3000)), func(err error) { first <- err })
	gone := errors.New("went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := j.Append(ctx, batchOf(named("b", 3000))); !errors.Is(err, gone) {
		t.Errorf("Append to a full queue = %v", err)
	}
	if n := j.Stats().QueuedBytes; n < 3000 || n > 4000 {
		t.Errorf("%d bytes are queued", n)
	}
	release()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := j.Append(t.Context(), batchOf(named("c", 30000))); err != nil {
		t.Errorf("a batch larger than the queue: %v", err)
	}
	if got := ids(t, j, 0); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("stored: %v", got)
	}
}

func TestManyAppendScanReadRollAndDropAtOnce(t *testing.T) {
	t.Parallel()
	j := open(t, journal.Config{Dir: t.TempDir(), SegmentBytes: 64 << 10, Reserve: 1 << 20})
	const writers, each = 8, 60
	var appenders, others sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for w := range writers {
		appenders.Go(func() {
			for i := range each {
				e := named(fmt.Sprintf("%c%d", 'a'+w, i), 100*i)
				if err := j.Append(ctx, batchOf(e)); err != nil {
					t.Error(err)
					return
				}
				got, err := j.Read(e.At)
				if err != nil && !fault.Is(err, fault.NotFound) || err == nil && !bytes.Equal(got.Event.Raw.Body, e.Raw.Body) {
					t.Errorf("reading %s back: %v", e.Envelope.ID, err)
				}
			}
		})
	}
	for range 2 {
		others.Go(func() { // follows the end
			from, seen := store.Position(0), store.Position(0)
			for ctx.Err() == nil {
				changed := j.Changed()
				next, err := j.Scan(ctx, from, func(r store.Record) error {
					if r.At <= seen {
						return fmt.Errorf("%s after %s", r.At, seen)
					}
					seen = r.At
					return nil
				})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				from = next
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			if err := j.Roll(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if s := j.Segments(); len(s) > 4 {
				if err := j.Drop(s[0].Number); err != nil {
					t.Error(err)
				}
			}
			_ = j.Stats() // under the race detector
		}
	})
	appenders.Wait()
	stop()
	others.Wait()
	if s := j.Stats(); s.Commits != writers*each || len(s.Quarantined) > 0 {
		t.Errorf("stats: %+v", s)
	}
}
