package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
)

// Open opens the journal in cfg.Dir and repairs what a crash left behind. If the
// disk reads but does not write, the journal is opened all the same, takes no
// records, and tries again by itself.
//
// Returns the errors of disk.Claim, and Internal with code journal_unreadable if
// the disk does not read what may be the newest records.
func Open(ctx context.Context, cfg Config) (*Journal, Recovery, error) {
	began := time.Now()
	if err := cfg.fill(); err != nil {
		return nil, Recovery{}, err
	}
	claim, err := disk.Claim(cfg.Disk, cfg.Dir, format)
	if err != nil {
		return nil, Recovery{}, err
	}
	j := &Journal{
		cfg: cfg, fs: cfg.Disk, log: cfg.Log, claim: claim,
		queue:   &queue{limit: cfg.QueueBytes, wake: make(chan struct{}, 1)},
		calls:   make(chan func(*writer)),
		nudge:   make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	j.files = &files{fs: j.fs, name: j.segmentName, open: map[uint32]*handle{}}
	w := &writer{j: j, next: 1, sequence: 1}
	found, err := j.start(ctx, w)
	if err != nil {
		return nil, Recovery{}, errors.Join(err, w.stop(), j.files.close(), claim.Close())
	}
	j.close = sync.OnceValue(func() error {
		j.queue.close()
		<-j.stopped
		return errors.Join(w.stop(), j.files.close(), claim.Close())
	})
	go w.run()
	found.Took = time.Since(began)
	return j, found, nil
}

// start brings the writer to where it can go on.
func (j *Journal) start(ctx context.Context, w *writer) (Recovery, error) {
	dir := path.Join(j.cfg.Dir, folder)
	err := j.fs.MkdirAll(dir)
	// What is found here may have been made just before a crash that left the
	// page cache alone: nothing is built on it before it is durable.
	if err == nil {
		err = errors.Join(j.fs.SyncDir(j.cfg.Dir), j.fs.SyncDir(dir))
	}
	w.reserve = reserve{fs: j.fs, name: path.Join(dir, ballast), want: j.cfg.Reserve}
	var space error
	if err == nil {
		space = w.reserve.open()
	}
	if err != nil || space != nil && !isFull(space) {
		return Recovery{}, fault.Wrap(fault.Permanent, errors.Join(err, space), "data_dir_unusable",
			"data directory %s cannot be used", j.cfg.Dir).WithHint("check that this user may write to it")
	}
	r := recovery{j: j, w: w}
	if err := r.run(ctx); err != nil {
		return Recovery{}, err
	}
	if space != nil {
		w.setFull(true)
	}
	if w.seg == nil {
		w.first()
	}
	if w.cause != nil && len(j.segments) == 0 {
		return Recovery{}, fault.Wrap(fault.Permanent, w.cause, "data_dir_unusable",
			"data directory %s cannot be used", j.cfg.Dir).WithHint("check that its disk has space and works")
	}
	if n := len(j.segments); n > 0 {
		last := j.segments[n-1]
		j.horizon.Store(uint64(last.at(last.end)))
	}
	r.found.Segments, r.found.Horizon = len(j.segments), j.Horizon()
	return r.found, nil
}

// first begins the segment that is written after the start.
func (w *writer) first() {
	err := w.roll()
	for isFull(err) {
		w.setFull(true)
		if !w.reserve.shrink(dataStart) {
			break
		}
		err = w.roll()
	}
	if err != nil {
		w.unavailable(err)
	}
}

// recovery is the work of Open.
type recovery struct {
	j     *Journal
	w     *writer
	found Recovery
}

// file is a segment file that was found.
type file struct {
	number uint32
	size   int64
	header header
	intact bool // a copy of the header is right
	whole  bool // both are
	id     identity
	known  bool // id is known, so that its frames can be read
}

func (r *recovery) run(ctx context.Context) error {
	names, err := r.j.fs.List(path.Join(r.j.cfg.Dir, folder))
	if err != nil {
		return fmt.Errorf("listing segments: %w", err)
	}
	var all []file
	for _, name := range names {
		number := segmentNumber(name)
		if number == 0 {
			continue
		}
		r.w.next = max(r.w.next, number+1)
		f, err := r.inspect(number)
		if err != nil {
			return fmt.Errorf("reading the header of segment %d: %w", number, err)
		}
		all = append(all, f)
	}
	// From the newest to the oldest: each header says which segment is in front
	// of it and where that ends.
	var after *file
	for _, f := range slices.Backward(all) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !r.belongs(&f, after) {
			continue
		}
		if err := r.take(&f, after); err != nil {
			return fmt.Errorf("recovering segment %d: %w", f.number, err)
		}
		after = &f
	}
	slices.Reverse(r.j.segments)
	return nil
}

// inspect reads the header of a segment. If both copies are gone the first frame
// tells the salt.
func (r *recovery) inspect(number uint32) (file, error) {
	h, err := r.j.files.acquire(number)
	if err != nil {
		return file{}, err
	}
	defer r.j.files.release(h)
	f := file{number: number}
	if f.size, err = h.Size(); err != nil {
		return file{}, err
	}
	s := scanner{id: &identity{}, r: h, end: max(f.size, dataStart+frameSize)}
	b := bytes.Clone(s.window(0, dataStart+frameSize)) // zeros where there is nothing
	first, ok1 := parseHeader(b[:headerCopy])
	second, ok2 := parseHeader(b[headerCopy:dataStart])
	ok1, ok2 = ok1 && first.Number == number, ok2 && second.Number == number
	f.whole, f.intact = ok1 && ok2, ok1 || ok2
	switch {
	case ok1:
		f.header = first
	case ok2:
		f.header = second
	default:
		salt := binary.LittleEndian.Uint64(b[dataStart+8:])
		f.id = newIdentity(number, salt)
		_, _, f.known = f.id.parseFrameHeader(b[dataStart:], dataStart)
		return f, nil
	}
	f.id, f.known = newIdentity(number, f.header.Salt), true
	return f, nil
}

// belongs reports whether the file is part of the journal; after is the one that
// follows. Files of segments that were never begun properly are removed.
func (r *recovery) belongs(f, after *file) bool {
	named := after != nil && after.intact
	if named && f.number == after.header.Before.Number {
		return true
	}
	if f.size < dataStart || f.size == dataStart && !f.whole {
		// A header that a crash cut short: frames are written only after it is synced.
		r.discard(f)
		return false
	}
	if named && f.number > after.header.Before.Number {
		if f.size == dataStart {
			r.discard(f)
			return false
		}
		// Nothing is ever acknowledged in a segment that the next one does not name.
		r.damage(store.Damage{
			Segment: f.number, Length: f.size,
			Reason: "the next segment says that this one is not part of the journal",
		})
		return false
	}
	if named {
		r.damage(store.Damage{
			Segment: after.header.Before.Number, Length: after.header.Before.End,
			Reason: "the file is missing",
		})
	}
	return true
}

func (r *recovery) discard(f *file) {
	r.j.files.drop(f.number)
	_ = r.j.fs.Remove(r.j.segmentName(f.number)) // the next start tries again
}

func (r *recovery) damage(d store.Damage) {
	r.found.Damaged = append(r.found.Damaged, d)
	r.j.quarantine(d)
}

// take makes the segment readable up to its end, and writable if it is the last
// one and whole.
func (r *recovery) take(f, after *file) error {
	if !f.whole {
		r.damage(store.Damage{Segment: f.number, Length: dataStart, Reason: "checksum mismatch in the header"})
	}
	last := after == nil
	seg := &segment{id: f.id, created: f.header.Created, end: dataStart, sealed: true}
	named := after != nil && after.intact && after.header.Before.Number == f.number
	switch {
	case !f.known:
		r.damage(store.Damage{
			Segment: f.number, Offset: dataStart, Length: f.size - dataStart,
			Reason: "nothing can be read without the header",
		})
		if last {
			r.w.before = predecessor{Number: f.number, End: f.size}
		}
		return nil
	case named:
		before := &after.header.Before
		seg.end, seg.oldest, seg.newest, seg.gaps = before.End, before.First, before.Last, before.Gaps
		if f.size < seg.end {
			r.damage(store.Damage{
				Segment: f.number, Offset: f.size, Length: seg.end - f.size,
				Reason: "the file is shorter than what was synced",
			})
			seg.end = max(f.size, dataStart)
		}
	default:
		if err := r.scan(f, seg, last); err != nil {
			return err
		}
	}
	r.j.segments = append(r.j.segments, seg)
	return nil
}

// scan finds the end of a segment that no later header tells.
func (r *recovery) scan(f *file, seg *segment, last bool) error {
	h, err := r.j.files.acquire(f.number)
	if err != nil {
		return err
	}
	defer r.j.files.release(h)
	s := scanner{id: &f.id, r: h, end: f.size, pos: dataStart}
	synced, sequence := int64(dataStart), max(f.header.Sequence, 1)
	var gaps []gap
	for {
		fr, skipped, ok := s.next()
		if !ok {
			if err := r.torn(&s, seg, skipped, last); err != nil {
				return err
			}
			break
		}
		if skipped.length() > 0 {
			gaps = append(gaps, skipped)
		}
		if fr.synced > synced {
			synced = fr.synced
		}
		seg.end, sequence = fr.end(), fr.sequence+1
		seg.mark(fr.offset)
		for _, rec := range s.records {
			widen(&seg.oldest, &seg.newest, headTime(rec.kind, rec.head))
		}
	}
	for _, g := range gaps {
		d := s.damage(g)
		if g.start >= synced && s.unreadable == nil {
			d.Reason = reasonLastWrite
			seg.gaps = append(seg.gaps, g)
		}
		r.damage(d)
	}
	if !last {
		return nil
	}
	if seg.end == dataStart {
		synced = 0 // not even the header is known to be durable
	}
	r.w.sequence = sequence
	r.w.before = predecessor{Number: f.number, End: seg.end, First: seg.oldest, Last: seg.newest, Gaps: seg.gaps}
	return r.resume(f, seg, synced)
}

// reasonLastWrite is why bytes are quarantined that came with the last write and
// have a valid frame behind them. Either power failed before that write was
// synced, then nothing of them was acknowledged, or they were damaged later; the
// frames cannot tell.
const reasonLastWrite = "checksum mismatch in the last write before a crash"

// torn handles the bytes behind the last valid frame.
func (r *recovery) torn(s *scanner, seg *segment, g gap, last bool) error {
	switch {
	case g.length() == 0:
	case s.unreadable != nil && last:
		// What cannot be read is not known to be nothing.
		return r.unreadable(seg, s.unreadable)
	case !last:
		r.damage(s.damage(g))
		seg.end = g.end
	default:
		r.found.Torn = append(r.found.Torn, store.Damage{
			Segment: seg.id.number, Offset: g.start, Length: g.length(), Reason: "cut short by a crash",
		})
	}
	return nil
}

func (r *recovery) unreadable(seg *segment, err error) error {
	name := r.j.segmentName(seg.id.number)
	return fault.Wrap(fault.Internal, err, "journal_unreadable",
		"the disk does not give back the newest records, in %s", name).
		WithHint("check the disk; copy the file elsewhere before anything else, then restore it or remove it")
}

// resume makes the end of the last segment durable and, if nothing speaks against
// it, goes on writing there.
//
// The bytes from synced on may be in the page cache only, and marked clean there
// because the last process met a failing sync. Written again they are dirty, so
// that the sync means something. The same bytes replace themselves: a crash in
// between changes nothing.
func (r *recovery) resume(f *file, seg *segment, synced int64) (err error) {
	w, err := r.j.fs.Open(r.j.segmentName(f.number), true)
	if err != nil {
		return err
	}
	if err := rewrite(w, synced, seg.end); err != nil {
		return errors.Join(r.unreadable(seg, err), w.Close())
	}
	if !f.whole || len(seg.gaps) > 0 || f.size != seg.end || seg.end >= r.j.cfg.SegmentBytes {
		return w.Close() // a fresh segment's header will say where this one ends
	}
	seg.sealed = false
	r.w.seg, r.w.file, r.w.end = seg, w, seg.end
	return nil
}

// rewrite writes the bytes of a range again and syncs them.
func rewrite(f disk.File, from, to int64) error {
	if from >= to {
		return nil
	}
	for at := from; at < to; {
		b := make([]byte, min(to-at, scanChunk))
		if err := readFull(f, b, at); err != nil {
			return err
		}
		if err := writeFull(f, b, at); err != nil {
			return fmt.Errorf("writing %d bytes at %d: %w", len(b), at, err)
		}
		at += int64(len(b))
	}
	return f.Sync()
}
