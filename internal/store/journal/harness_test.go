package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func codeOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Code
	}
	return ""
}

// small is a configuration with which little data makes many segments.
func small(fsys disk.FS) journal.Config {
	return journal.Config{Dir: "/data", Disk: fsys, SegmentBytes: 24 << 10, Reserve: -1, ProbeEvery: time.Millisecond}
}

func open(tb testing.TB, cfg journal.Config) *journal.Journal {
	tb.Helper()
	j, _, err := journal.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close() }) // tests that care close it themselves
	return j
}

func closing(tb testing.TB, c io.Closer) {
	tb.Helper()
	if err := c.Close(); err != nil {
		tb.Error(err)
	}
}

func segmentFile(number int) string {
	return path.Join("/data/journal", fmt.Sprintf("%010d.seg", number))
}

// named returns a small event with an id of its own.
func named(id string, size int) *store.Event {
	e := webhook(bytes.Repeat([]byte(id[:1]), size))
	e.Envelope.ID = event.ID(id)
	return e
}

func batchOf(events ...*store.Event) *store.Batch { return &store.Batch{Events: events} }

func appendOne(tb testing.TB, j *journal.Journal, id string) *store.Event {
	tb.Helper()
	e := named(id, 100)
	if err := j.Append(tb.Context(), batchOf(e)); err != nil {
		tb.Fatal(err)
	}
	return e
}

// ids lists the ids of all events that a scan meets.
func ids(tb testing.TB, j *journal.Journal, from store.Position) []string {
	tb.Helper()
	var list []string
	_, err := j.Scan(tb.Context(), from, func(r store.Record) error {
		if r.Event != nil {
			list = append(list, string(r.Event.Envelope.ID))
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// ledger is the naive model of a journal: what was handed in, and what of it was
// reported done.
type ledger struct {
	mu    sync.Mutex // guards what follows
	given map[string]*store.Batch
	acked map[string]*store.Batch
}

func newLedger() *ledger {
	return &ledger{given: map[string]*store.Batch{}, acked: map[string]*store.Batch{}}
}

func (l *ledger) snapshot() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{given: maps.Clone(l.given), acked: maps.Clone(l.acked)}
}

// submit hands a batch in and returns a channel that gets its result, which is
// in the ledger before the journal does anything else.
func (l *ledger) submit(j *journal.Journal, name string, b *store.Batch) <-chan error {
	l.mu.Lock()
	l.given[name] = b
	l.mu.Unlock()
	result := make(chan error, 1)
	j.Submit(b, func(err error) {
		if err == nil {
			l.mu.Lock()
			l.acked[name] = b
			l.mu.Unlock()
		}
		result <- err
	})
	return result
}

// batch makes a batch named name: some events and an outcome that is said to
// belong to them.
func batch(random *rand.Rand, name string) *store.Batch {
	b := &store.Batch{Lazy: random.IntN(4) == 0}
	for i := range random.IntN(3) {
		size := random.IntN(300)
		if random.IntN(5) == 0 {
			size = random.IntN(12000)
		}
		e := webhook(nil)
		e.Envelope.ID = event.ID(fmt.Sprintf("%s/%d", name, i))
		e.Raw.Body = make([]byte, size)
		for k := 0; k < size; k += 8 {
			copy(e.Raw.Body[k:], binary.LittleEndian.AppendUint64(nil, random.Uint64()))
		}
		e.Envelope.Detail = e.Raw.Body
		b.Events = append(b.Events, e)
	}
	b.Outcomes = append(b.Outcomes, &store.Outcome{
		State: store.Delivered, Reason: name, Time: e0.Add(time.Duration(random.IntN(1000)) * time.Second), Attempt: 1,
	})
	return b
}

const lastWrite = "checksum mismatch in the last write before a crash"

var e0 = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// check opens the journal and compares it with the ledger. It returns what is
// wrong: something acknowledged is missing or differs, something is there in part,
// or twice, or was never handed in.
func (l *ledger) check(ctx context.Context, cfg journal.Config) []string {
	j, found, err := journal.Open(ctx, cfg)
	if err != nil {
		return []string{"opening: " + err.Error()}
	}
	problems := l.compare(ctx, j)
	for _, d := range found.Damaged {
		if d.Reason != lastWrite {
			problems = append(problems, fmt.Sprintf("damage reported: %+v", d))
		}
	}
	if err := j.Close(); err != nil {
		problems = append(problems, "closing: "+err.Error())
	}
	return problems
}

func (l *ledger) compare(ctx context.Context, j *journal.Journal) []string {
	var problems []string
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	foundEvents := map[string]*store.Event{}
	foundOutcomes := map[string]*store.Outcome{}
	last := store.Position(0)
	_, err := j.Scan(ctx, 0, func(r store.Record) error {
		if r.At <= last {
			complain("%s follows %s", r.At, last)
		}
		last = r.At
		back, err := j.Read(r.At)
		if err != nil {
			complain("reading %s: %v", r.At, err)
		}
		switch {
		case r.Event != nil:
			id := string(r.Event.Envelope.ID)
			if foundEvents[id] != nil {
				complain("event %s is there twice", id)
			}
			foundEvents[id] = back.Event // the scan's own is gone after the call
			if !same(r.Event, back.Event) {
				complain("event %s differs when it is read alone", id)
			}
		case r.Outcome != nil:
			if foundOutcomes[r.Outcome.Reason] != nil {
				complain("outcome %s is there twice", r.Outcome.Reason)
			}
			foundOutcomes[r.Outcome.Reason] = r.Outcome
		}
		return nil
	})
	if err != nil {
		complain("scanning: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.given)) {
		b, acked := l.given[name], l.acked[name] != nil
		have, want := 0, len(b.Events)+1
		for _, e := range b.Events {
			got := foundEvents[string(e.Envelope.ID)]
			delete(foundEvents, string(e.Envelope.ID))
			if got == nil {
				continue
			}
			have++
			if !acked { // its position was never filled in
				e = committed(e, got.At)
			}
			if !same(e, got) {
				complain("event %s differs:\n%s", e.Envelope.ID, cmp.Diff(e, got, cmpopts.EquateEmpty()))
			}
		}
		if got := foundOutcomes[name]; got != nil {
			have++
			delete(foundOutcomes, name)
			if acked && !cmp.Equal(b.Outcomes[0], got) {
				complain("outcome %s differs", name)
			}
		}
		switch {
		case acked && have < want:
			complain("batch %s was acknowledged, %d of %d records are there", name, have, want)
		case have != 0 && have != want:
			complain("batch %s is there in part: %d of %d", name, have, want)
		}
	}
	for id := range foundEvents {
		complain("event %s was never handed in", id)
	}
	for name := range foundOutcomes {
		complain("outcome %s was never handed in", name)
	}
	return problems
}

// same compares two events by what is stored of them; that encoding keeps every
// field is shown elsewhere.
func same(a, b *store.Event) bool {
	return a.At == b.At && bytes.Equal(journal.AppendEvent(nil, a), journal.AppendEvent(nil, b)) &&
		bytes.Equal(tailOf(a), tailOf(b)) &&
		slices.EqualFunc(a.Deliveries, b.Deliveries, func(a, b *store.Delivery) bool { return a.ID == b.ID && a.Event == b.Event })
}

// moment is a file system at one point of a run, with what had been promised.
type moment struct {
	what string
	mem  *disktest.Mem
	led  *ledger
}

// watched is a file system that is photographed before each call that changes it.
type watched struct {
	*disktest.Faults
	mem *disktest.Mem
	led *ledger

	changes int
}

func watch(mem *disktest.Mem, led *ledger, take func(w *watched, what string)) *watched {
	w := &watched{Faults: disktest.NewFaults(mem), mem: mem, led: led}
	w.Before = func(op disktest.Op, name string) {
		w.changes++
		take(w, fmt.Sprintf("before change %d: %s %s", w.changes, op, path.Base(name)))
	}
	return w
}

// run hands in count batches, a few at a time, and waits for all. It returns the
// errors of those that failed.
func (l *ledger) run(j *journal.Journal, random *rand.Rand, prefix string, count int) []error {
	var errs []error
	for i := 0; i < count; {
		var waiting []<-chan error
		for range 1 + random.IntN(5) {
			name := fmt.Sprintf("%s%d", prefix, i)
			waiting = append(waiting, l.submit(j, name, batch(random, name)))
			i++
		}
		for _, c := range waiting {
			if err := <-c; err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }
