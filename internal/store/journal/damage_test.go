package journal_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
	"github.com/grapnel/grapnel/internal/store/journal"
)

// written is a journal with three segments of three events of their own frames;
// the last segment is still being written.
type written struct {
	mem    *disktest.Mem
	frames map[string]journal.Location // by the event's id
	events map[string]*store.Event
}

// dataStart is where the first frame of a segment stands.
const dataStart = 8192

// write makes the journal; killed leaves the last segment as kill -9 does.
func write(t *testing.T) *written {
	t.Helper()
	w := &written{mem: disktest.NewMem(), frames: map[string]journal.Location{}, events: map[string]*store.Event{}}
	cfg := small(w.mem)
	cfg.Committed = func(list []*journal.Commit) {
		for _, c := range list {
			w.frames[string(c.Batch.Events[0].Envelope.ID)] = c.Frame
		}
	}
	j := open(t, cfg)
	for i, id := range strings.Split("a1 a2 a3 b1 b2 b3 c1 c2 c3", " ") {
		if i > 0 && i%3 == 0 {
			if err := j.Roll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.events[id] = appendOne(t, j, id)
	}
	w.mem = w.mem.Clone()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *written) offset(id string) int64 { return int64(w.frames[id].At & 0xffffffff) }

func (w *written) segment(id string) int { return int(w.frames[id].At >> 32) }

// flip inverts a byte of a frame, counted from its start, or its end if negative.
func (w *written) flip(t *testing.T, id string, at int64) {
	t.Helper()
	if at < 0 {
		at += w.frames[id].Length
	}
	w.flipAt(t, w.segment(id), w.offset(id)+at)
}

func (w *written) flipAt(t *testing.T, segment int, offset int64) {
	t.Helper()
	err := w.mem.Corrupt(segmentFile(segment), func(b []byte) []byte {
		b[offset] ^= 0xff
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *written) cut(t *testing.T, segment int, size int64) {
	t.Helper()
	err := w.mem.Corrupt(segmentFile(segment), func(b []byte) []byte { return b[:size] })
	if err != nil {
		t.Fatal(err)
	}
}

// expectLeft opens the journal, and again after more was written, and compares
// what is left. quarantined and torn are the numbers that the first time reports.
func (w *written) expectLeft(t *testing.T, lost string, quarantined, torn int) {
	t.Helper()
	var want []string
	for id := range strings.SplitSeq("a1 a2 a3 b1 b2 b3 c1 c2 c3", " ") {
		if !strings.Contains(lost, id) {
			want = append(want, id)
		}
	}
	for round := range 3 {
		j, found, err := journal.Open(t.Context(), small(w.mem))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got := ids(t, j, 0); !slices.Equal(got, want) {
			t.Errorf("round %d: left %v, want %v", round, got, want)
		}
		if round == 0 && len(found.Torn) != torn {
			t.Errorf("torn: %+v, want %d", found.Torn, torn)
		}
		if round > 0 && len(found.Torn) > 0 {
			t.Errorf("round %d: torn again: %+v", round, found.Torn)
		}
		if q := j.Stats().Quarantined; len(q) != quarantined {
			t.Errorf("round %d: quarantined: %+v, want %d", round, q, quarantined)
		}
		for id := range strings.FieldsSeq(lost) {
			// A record may be whole although its frame is not.
			rec, err := j.Read(w.events[id].At)
			if err == nil && !same(rec.Event, w.events[id]) ||
				err != nil && !fault.Is(err, fault.NotFound) && codeOf(err) != "record_damaged" {
				t.Errorf("round %d: reading %s: %+v, %v", round, id, rec, err)
			}
		}
		appendOne(t, j, fmt.Sprintf("more %d", round))
		want = append(want, fmt.Sprintf("more %d", round))
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedFramesAreSkippedAndReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		id          string
		at          int64
		quarantined int
		torn        int
	}{
		{"magic in a sealed segment", "a2", 0, 1, 0},
		{"header in a sealed segment", "a2", 20, 1, 0},
		{"length of a record", "b1", 50, 1, 0},
		{"head of a record", "b2", 70, 1, 0},
		{"body of a record", "b2", -1, 1, 0},
		{"last frame of a sealed segment", "b3", -1, 1, 0},
		{"first frame of the last segment", "c1", 0, 1, 0},
		{"middle of the last segment", "c2", -1, 1, 0},
		{"last frame of all", "c3", -1, 0, 1},
		{"header of the last frame of all", "c3", 30, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := write(t)
			w.flip(t, c.id, c.at)
			w.expectLeft(t, c.id, c.quarantined, c.torn)
		})
	}
}

func TestAReadReturnsDamageAsSuch(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{45, 70, -1} { // header, head and body of the record
		w := write(t)
		w.flip(t, "b2", at)
		j := open(t, small(w.mem))
		if _, err := j.Read(w.events["b2"].At); codeOf(err) != "record_damaged" {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// A frame in a body, copied from the file itself, is not taken for a frame when
// the one that holds it is damaged.
func TestABodyCannotForgeAFrame(t *testing.T) {
	t.Parallel()
	mem := disktest.NewMem()
	j := open(t, small(mem))
	appendOne(t, j, "a")
	file := mem.Bytes(segmentFile(1))[dataStart:]
	trap := named("trap", 0)
	trap.Raw.Body, trap.Envelope.Detail = file, file
	if err := j.Append(t.Context(), batchOf(trap)); err != nil {
		t.Fatal(err)
	}
	appendOne(t, j, "b")
	mem = mem.Clone()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	err := mem.Corrupt(segmentFile(1), func(b []byte) []byte {
		b[dataStart+len(file)] ^= 1 // where the frame of the trap begins
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
	j = open(t, small(mem))
	if got := ids(t, j, 0); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("left: %v", got)
	}
	if q := j.Stats().Quarantined; len(q) != 1 || q[0].Offset != int64(dataStart+len(file)) {
		t.Errorf("quarantined: %+v", q)
	}
}

func TestDamagedHeadersAreMadeUpFor(t *testing.T) {
	t.Parallel()
	const second = 4096
	for _, c := range []struct {
		name    string
		segment int
		flips   []int64
	}{
		{"first copy", 2, []int64{9}},
		{"second copy", 2, []int64{second + 9}},
		{"both copies", 2, []int64{9, second + 9}},
		{"magic of both copies", 1, []int64{0, second}},
		{"both copies of the last segment", 3, []int64{100, second + 100}},
		{"one copy of the last segment", 3, []int64{9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := write(t)
			for _, at := range c.flips {
				w.flipAt(t, c.segment, at)
			}
			w.expectLeft(t, "", 1, 0)
		})
	}
}

func TestASegmentWithoutHeaderAndFirstFrameIsLeftAlone(t *testing.T) {
	t.Parallel()
	for segment, lost := range map[int]string{1: "a1 a2 a3", 2: "b1 b2 b3", 3: "c1 c2 c3"} {
		w := write(t)
		for _, at := range []int64{9, 4096 + 9, dataStart + 9} {
			w.flipAt(t, segment, at)
		}
		before := w.mem.Bytes(segmentFile(segment))
		j, found, err := journal.Open(t.Context(), small(w.mem))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids(t, j, 0) {
			if strings.Contains(lost, id) {
				t.Errorf("%s was read", id)
			}
		}
		if len(found.Damaged) != 2 {
			t.Errorf("damaged: %+v", found.Damaged)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if after := w.mem.Bytes(segmentFile(segment)); string(after) != string(before) {
			t.Errorf("segment %d was changed", segment)
		}
	}
}

func TestShortAndMissingFilesAreReported(t *testing.T) {
	t.Parallel()
	w := write(t)
	w.cut(t, 2, w.offset("b3")+10)
	w.expectLeft(t, "b3", 2, 0) // what is missing, and what is left of the frame

	w = write(t)
	w.cut(t, 3, w.offset("c3")+10)
	w.expectLeft(t, "c3", 0, 1)

	w = write(t)
	if err := w.mem.Remove(segmentFile(2)); err != nil {
		t.Fatal(err)
	}
	w.expectLeft(t, "b1 b2 b3", 1, 0)

	w = write(t)
	if err := w.mem.Remove(segmentFile(1)); err != nil { // as if it had been dropped
		t.Fatal(err)
	}
	w.expectLeft(t, "a1 a2 a3", 0, 0)
}

func TestFilesThatAreNotSegmentsAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := write(t)
	for _, name := range []string{"notes.txt", "12.seg", "000000000x.seg", "0000000000.seg", "9999999999.seg"} {
		f, err := w.mem.Create("/data/journal/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w.expectLeft(t, "", 0, 0)
	if !strings.Contains(w.mem.String(), "notes.txt") || !strings.Contains(w.mem.String(), "12.seg") {
		t.Errorf("files: %s", w.mem)
	}
}

// A sector that cannot be read costs the frames on it, no more, and none of them
// is cut off.
func TestUnreadableSectorsAreQuarantined(t *testing.T) {
	t.Parallel()
	w := write(t)
	faults := disktest.NewFaults(w.mem)
	bad := func(segment int, at int64) {
		faults.Set(disktest.Rule{
			Op: disktest.Read, Glob: fmt.Sprintf("*%d.seg", segment), Times: -1, Err: syscall.EIO, From: at, To: at + 1,
		})
	}
	bad(1, w.offset("a2")+5)
	j := open(t, small(faults))
	got := ids(t, j, 0) // small frames share a page
	if slices.Contains(got, "a2") || !slices.Contains(got, "b1") || !slices.Contains(got, "c3") {
		t.Errorf("left: %v", got)
	}
	if q := j.Stats().Quarantined; len(q) != 1 || !strings.Contains(q[0].Reason, "does not read") {
		t.Errorf("quarantined: %+v", q)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	bad(3, w.offset("c3")+5)
	if _, _, err := journal.Open(t.Context(), small(faults)); codeOf(err) != "journal_unreadable" {
		t.Errorf("the newest records cannot be read, and Open returns %v", err)
	}
	faults.Set()
	if got := ids(t, open(t, small(faults)), 0); len(got) != 9 {
		t.Errorf("once the disk reads again: %v", got)
	}
}
