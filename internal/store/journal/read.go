package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sort"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// view is a segment as a reader has met it.
type view struct {
	seg *segment
	id  identity
	end int64
}

// find returns the segment with the number, or the first one after it.
func (j *Journal) find(number uint32) (view, bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	i := sort.Search(len(j.segments), func(i int) bool { return j.segments[i].id.number >= number })
	if i == len(j.segments) {
		return view{}, false
	}
	s := j.segments[i]
	return view{seg: s, id: s.id, end: s.end}, true
}

// Read returns the record at the position, with its body; events carry their
// deliveries. Its byte slices are the caller's own. Returns NotFound if no record
// starts there, it was dropped or it is not synced, and Internal with code
// record_damaged if its bytes are not those that were written.
func (j *Journal) Read(at store.Position) (store.Record, error) {
	rec, _, err := j.read(at, true)
	return rec, err
}

// ReadHead is Read without the body and the detail of an event; size is that of
// the body, or of the detail if there is no body.
func (j *Journal) ReadHead(at store.Position) (rec store.Record, size int64, err error) {
	return j.read(at, false)
}

func (j *Journal) read(at store.Position, withTail bool) (store.Record, int64, error) {
	number, offset := split(at)
	v, ok := j.find(number)
	if !ok || v.id.number != number || offset < dataStart+frameSize || offset+recordSize > v.end {
		return store.Record{}, 0, errNotFound(at)
	}
	h, err := j.files.acquire(number)
	if errors.Is(err, fs.ErrNotExist) {
		return store.Record{}, 0, errNotFound(at) // dropped in between
	}
	if err != nil {
		return store.Record{}, 0, fmt.Errorf("opening segment %d: %w", number, err)
	}
	defer j.files.release(h)
	scratch, _ := j.scratch.Get().(*[firstRead]byte)
	if scratch == nil {
		scratch = new([firstRead]byte)
	}
	defer j.scratch.Put(scratch) // decoding copies the head
	r, err := readRecord(h, &v, offset, withTail, scratch[:])
	if errors.Is(err, errNoRecord) {
		if !j.holds(&v, h, offset) {
			return store.Record{}, 0, errNotFound(at)
		}
		err = nil
	}
	if err != nil || r.head == nil {
		return store.Record{}, 0, errDamaged(at, err)
	}
	return decode(at, r, withTail)
}

var errNoRecord = errors.New("no record starts here")

// firstRead is about what a head takes; with a small body it is the whole record.
const firstRead = 2 << 10

// readRecord reads the record at the offset and checks it. Returns errNoRecord if
// its head is not right. The head may lie in b, which has firstRead bytes; the
// tail is memory of its own.
func readRecord(f io.ReaderAt, v *view, offset int64, withTail bool, b []byte) (record, error) {
	b = b[:min(firstRead, v.end-offset)]
	if err := readFull(f, b, offset); err != nil {
		return record{}, err
	}
	_, head, tail := recordLengths(b)
	if recordSize+head+tail > v.end-offset {
		return record{}, errNoRecord
	}
	if more := recordSize + head - int64(len(b)); more > 0 {
		b = slices.Concat(b, make([]byte, more))
		if err := readFull(f, b[firstRead:], offset+firstRead); err != nil {
			return record{}, err
		}
	}
	r, ok := v.id.parseHead(b, offset)
	if !ok {
		return record{}, errNoRecord
	}
	if !withTail || tail == 0 {
		return r, nil
	}
	r.tail = make([]byte, tail)
	have := copy(r.tail, b[recordSize+head:])
	if err := readFull(f, r.tail[have:], offset+recordSize+head+int64(have)); err != nil {
		return record{}, err
	}
	if crc32.Checksum(r.tail, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return record{}, errChecksum
	}
	return r, nil
}

var errChecksum = errors.New("checksum mismatch")

func readFull(r io.ReaderAt, b []byte, offset int64) error {
	if len(b) == 0 {
		return nil
	}
	if n, err := r.ReadAt(b, offset); n < len(b) {
		return fmt.Errorf("reading %d bytes at %d: %w", len(b), offset, err)
	}
	return nil
}

// holds tells a position at which nothing was written from one whose record is
// damaged: it reports whether the offset lies in bytes without a valid frame.
func (j *Journal) holds(v *view, r io.ReaderAt, offset int64) bool {
	j.mu.RLock()
	s := scanner{id: &v.id, r: r, end: v.end, pos: v.seg.markBefore(offset)}
	j.mu.RUnlock()
	var marks []int64
	defer func() { j.remember(v.seg, marks) }()
	for {
		f, skipped, ok := s.next()
		marks = spaced(marks, f, ok)
		if skipped.length() > 0 && offset >= skipped.start && offset < skipped.end {
			return true
		}
		if !ok || s.pos > offset {
			return false
		}
	}
}

func decode(at store.Position, r record, withTail bool) (rec store.Record, size int64, err error) {
	rec.At = at
	tail := r.tail
	if !withTail {
		tail = nil
	} else if tail == nil {
		tail = []byte{}
	}
	switch r.kind {
	case kindEvent:
		rec.Event, size, err = DecodeEvent(at, r.head, tail)
	case kindDispatch:
		rec.Dispatch, err = DecodeDispatch(at, r.head)
	case kindOutcome:
		rec.Outcome, err = DecodeOutcome(at, r.head)
	default:
		err = fault.New(fault.Invalid, "record_newer", "the record at %s is of unknown kind %d", at, r.kind).
			WithHint("start the newer grapnel that wrote it")
	}
	if err != nil {
		return store.Record{}, 0, fmt.Errorf("decoding record at %s: %w", at, err)
	}
	return rec, size, nil
}

// Scan calls fn with every record from the position on, in order, up to the
// horizon at the time of the call. It returns the position to go on from: behind
// the last record, or, if fn returned an error, that of the record it was called
// with. A record is valid only during the call. What is damaged is skipped and
// shows in Stats.
func (j *Journal) Scan(ctx context.Context, from store.Position, fn func(store.Record) error) (store.Position, error) {
	return j.Walk(ctx, from, func(_ Location, r store.Record) error { return fn(r) })
}

// Walk is Scan with the place of each record.
func (j *Journal) Walk(
	ctx context.Context, from store.Position, fn func(Location, store.Record) error,
) (store.Position, error) {
	horizon := j.Horizon()
	for from < horizon {
		number, _ := split(from)
		v, ok := j.find(number)
		if !ok {
			break
		}
		if v.id.number != number {
			from = v.seg.at(0)
		}
		if last, offset := split(horizon); last == v.id.number {
			v.end = offset
		}
		next, err := j.walkSegment(ctx, &v, from, fn)
		if err != nil {
			return next, err
		}
		from = next
		if from < horizon {
			from = store.Position(v.id.number+1) << 32
		}
	}
	return max(from, horizon), nil
}

func (j *Journal) walkSegment(
	ctx context.Context, v *view, from store.Position, fn func(Location, store.Record) error,
) (store.Position, error) {
	_, offset := split(from)
	if offset >= v.end {
		return from, nil
	}
	h, err := j.files.acquire(v.id.number)
	if errors.Is(err, fs.ErrNotExist) {
		return v.seg.at(v.end), nil // dropped in between
	}
	if err != nil {
		return from, fmt.Errorf("opening segment %d: %w", v.id.number, err)
	}
	defer j.files.release(h)
	s := scanner{id: &v.id, r: h, end: v.end, pos: max(offset, dataStart)}
	if offset > dataStart && !s.starts(offset) {
		j.mu.RLock()
		s.pos = v.seg.markBefore(offset)
		j.mu.RUnlock()
	}
	var marks []int64
	defer func() { j.remember(v.seg, marks) }()
	for {
		if ctx.Err() != nil {
			return max(from, v.seg.at(s.pos)), context.Cause(ctx)
		}
		f, skipped, ok := s.next()
		marks = spaced(marks, f, ok)
		if skipped.length() > 0 && !slices.Contains(v.seg.gaps, skipped) {
			j.quarantine(s.damage(skipped))
		}
		if !ok {
			return v.seg.at(v.end), nil
		}
		for _, r := range s.records {
			at := v.seg.at(r.offset)
			if at < from {
				continue
			}
			rec, _, err := decode(at, r, true)
			if err == nil {
				err = fn(Location{At: at, Length: r.size()}, rec)
			}
			if err != nil {
				return at, err
			}
		}
	}
}

// spaced appends the offset of a frame that was read, if it is far enough from
// the last one.
func spaced(marks []int64, f frame, ok bool) []int64 {
	if ok && (len(marks) == 0 || f.offset >= marks[len(marks)-1]+markEvery) {
		marks = append(marks, f.offset)
	}
	return marks
}

// remember keeps offsets of frames for scans that begin between two of them.
func (j *Journal) remember(s *segment, marks []int64) {
	if len(marks) < 2 {
		return // a short scan: nothing that would be worth it
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	all := slices.Concat(s.marks, marks)
	slices.Sort(all)
	s.marks = slices.Compact(all)
}

// damage describes skipped bytes that were synced.
func (s *scanner) damage(g gap) store.Damage {
	reason := "checksum mismatch in bytes that were synced"
	if s.unreadable != nil {
		reason = "the disk does not read: " + s.unreadable.Error()
	}
	return store.Damage{Segment: s.id.number, Offset: g.start, Length: g.length(), Reason: reason}
}
