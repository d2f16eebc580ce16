package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
)

const (
	// groupBytes is about how much is written at once.
	groupBytes = 8 << 20
	// keepBuffer is the largest buffer that the writer keeps.
	keepBuffer = 2 * groupBytes
)

// writer owns the end of the journal. Its fields belong to its goroutine.
type writer struct {
	j       *Journal
	reserve reserve

	// seg is the segment that is written, nil after one was ended by a failure
	// and before the next one could be made. file is its descriptor.
	seg  *segment
	file disk.File
	end  int64 // of the synced bytes of seg
	// before is what the next segment's header will say of its predecessor.
	before   predecessor
	next     uint32 // number of the next segment
	sequence uint64 // of the next frame

	full  bool  // only batches that may use the reserve are taken
	cause error // why nothing can be taken; nil when it can

	buf   []byte
	queue []*entry
}

// run commits what is queued until the journal is closed. Close ends it.
func (w *writer) run() {
	defer close(w.j.stopped)
	linger, probe := newTimer(), newTimer()
	always := make(chan struct{})
	close(always)
	lingering, probing, lazy := false, false, false
	for {
		var waiting, closed bool
		w.queue, waiting, closed = w.j.queue.take(w.queue[:0], lazy)
		lazy = false
		// After a commit calls and probes have their turn, but nobody is waited for.
		var busy <-chan struct{}
		if len(w.queue) > 0 {
			w.commitAll(w.queue)
			clear(w.queue)
			busy = always
		} else if closed {
			return
		}
		if waiting && !lingering {
			linger.Reset(store.LazyLinger)
			lingering = true
		}
		if !probing && (w.full || w.cause != nil) {
			probe.Reset(w.j.cfg.ProbeEvery)
			probing = true
		}
		select {
		case <-w.j.queue.wake:
		case <-busy:
		case call := <-w.j.calls:
			call(w)
		case <-linger.C:
			lingering, lazy = false, true
		case <-w.j.nudge:
			w.probe()
		case <-probe.C:
			probing = false
			w.probe()
		}
		// Whoever is about to submit rides along: on a busy machine this makes
		// groups larger, on an idle one it costs nothing.
		runtime.Gosched()
	}
}

// newTimer returns a timer that is not running.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// commitAll commits the entries in groups of about groupBytes.
func (w *writer) commitAll(list []*entry) {
	for len(list) > 0 {
		n, size := 0, int64(0)
		for n < len(list) && (n == 0 || size+list[n].size <= groupBytes) {
			size += list[n].size
			n++
		}
		w.commit(list[:n])
		list = list[n:]
	}
}

// commit stores the entries and tells those who wait.
func (w *writer) commit(group []*entry) {
	if w.cause != nil {
		w.fail(group, errUnavailable(w.cause, w.j.cfg.ProbeEvery))
		return
	}
	var err error
	if !w.full {
		if err = w.store(group); err == nil {
			w.publish(group)
			return
		}
		if !isFull(err) {
			w.unavailable(err)
			w.fail(group, errUnavailable(err, w.j.cfg.ProbeEvery))
			return
		}
		w.setFull(true)
	}
	w.commitReserved(group, err)
}

// commitReserved refuses what may not use the reserve and stores the rest,
// giving up as much of the reserve as that takes.
func (w *writer) commitReserved(group []*entry, cause error) {
	kept := group[:0:0]
	var size int64
	for _, e := range group {
		if !e.batch.Reserve {
			w.fail([]*entry{e}, errFull(cause, w.j.cfg.ProbeEvery))
			continue
		}
		kept = append(kept, e)
		size += e.size
	}
	if len(kept) == 0 {
		return
	}
	for {
		err := w.store(kept)
		switch {
		case err == nil:
			w.publish(kept)
			return
		case !isFull(err):
			w.unavailable(err)
			w.fail(kept, errUnavailable(err, w.j.cfg.ProbeEvery))
			return
		case !w.reserve.shrink(size + dataStart):
			w.fail(kept, errFull(err, w.j.cfg.ProbeEvery))
			return
		}
	}
}

// store makes the group durable, in a fresh segment if the present one fails.
func (w *writer) store(group []*entry) error {
	var first error
	for {
		err := w.ready()
		if err == nil {
			err = w.write(group)
		}
		if err == nil || isFull(err) {
			return err
		}
		if first != nil {
			return err
		}
		first = err
		w.j.log.Error("writing the journal failed, trying a fresh segment", slog.Any("error", err))
	}
}

// ready sees to it that there is a segment that may grow.
func (w *writer) ready() error {
	if w.seg != nil && !w.due() {
		return nil
	}
	return w.roll()
}

func (w *writer) due() bool {
	return w.end >= w.j.cfg.SegmentBytes ||
		w.end > dataStart && w.j.cfg.Now().Sub(w.seg.created) >= w.j.cfg.SegmentAge
}

// roll begins the next segment. If its file cannot even be created a healthy
// segment goes on, up to what a position can name.
func (w *writer) roll() error {
	h := header{
		Number: w.next, Salt: newSalt(), Created: w.j.cfg.Now(),
		Sequence: w.sequence, Before: w.predecessor(),
	}
	f, retired, err := w.j.create(&h)
	if err != nil {
		w.next++ // its file may still be there
		if retired {
			w.endSegment()
		}
		if w.seg == nil || w.end > maxOffset/2 {
			return err
		}
		w.j.log.Warn("beginning a segment failed, the last one goes on", slog.Any("error", err))
		return nil
	}
	w.endSegment()
	w.seg = &segment{id: newIdentity(h.Number, h.Salt), created: h.Created, end: dataStart}
	w.file, w.end = f, dataStart
	w.next++
	w.j.addSegment(w.seg)
	return nil
}

func (w *writer) predecessor() predecessor {
	if w.seg == nil {
		return w.before
	}
	w.j.mu.RLock()
	defer w.j.mu.RUnlock()
	return predecessor{
		Number: w.seg.id.number, End: w.end, First: w.seg.oldest, Last: w.seg.newest, Gaps: w.seg.gaps,
	}
}

// endSegment seals the present segment for good: after a failed sync its
// descriptor proves nothing any more.
func (w *writer) endSegment() {
	if w.seg == nil {
		return
	}
	w.before = w.predecessor()
	w.j.seal(w.seg)
	_ = w.file.Close() // what counts was synced
	w.seg, w.file = nil, nil
}

// write appends the group to the segment with one write and one sync.
func (w *writer) write(group []*entry) error {
	buf, sequence := w.buf[:0], w.sequence
	for _, e := range group {
		e.offset = w.end + int64(len(buf))
		buf = w.seg.id.appendFrame(buf, e.offset, sequence, w.end, e.pieces)
		sequence++
	}
	w.buf = buf
	if cap(buf) > keepBuffer {
		w.buf = nil
	}
	return w.append(buf, sequence)
}

// append writes and syncs frames; next is the sequence behind them.
func (w *writer) append(buf []byte, next uint64) error {
	if err := writeFull(w.file, buf, w.end); err != nil {
		err = fmt.Errorf("writing segment %d: %w", w.seg.id.number, err)
		// No sync has failed: once the rest of the write is cut off the segment
		// is what it was. Otherwise a shorter write in its place would leave
		// whole frames of this one behind it.
		if !isFull(err) || w.file.Truncate(w.end) != nil {
			w.endSegment()
		}
		return err
	}
	if err := w.file.Sync(); err != nil {
		err = fmt.Errorf("syncing segment %d: %w", w.seg.id.number, err)
		_ = w.file.Truncate(w.end) // the next header says it too
		w.endSegment()
		return err
	}
	w.end += int64(len(buf))
	w.sequence = next
	return nil
}

// unavailable notes why nothing can be taken; probe ends it.
func (w *writer) unavailable(cause error) {
	w.cause = cause
	w.j.setState(w.cause, w.full)
	w.j.log.Error("the journal takes no records until its disk works again", slog.Any("error", cause))
}

func (w *writer) setFull(full bool) {
	if w.full == full {
		return
	}
	w.full = full
	w.j.setState(w.cause, w.full)
	if full {
		w.j.log.Error("the disk is full: events are refused, deliveries go on from the reserve",
			slog.Int64("reserve_bytes", w.reserve.size))
		return
	}
	w.j.log.Info("the disk has space again: events are taken", slog.Int64("reserve_bytes", w.reserve.size))
}

// probe tries whether the disk works again.
func (w *writer) probe() {
	if w.full && w.spacious() && w.reserve.grow() == nil {
		w.setFull(false)
	}
	if w.cause == nil {
		return
	}
	err := w.ready()
	for isFull(err) && w.reserve.shrink(dataStart) {
		w.setFull(true)
		err = w.ready()
	}
	if err != nil {
		w.cause = err
		w.j.setState(w.cause, w.full)
		return
	}
	w.cause = nil
	w.j.setState(nil, w.full)
	w.j.log.Info("the journal takes records again", slog.Any("segment", w.seg.id.number))
}

// spacious reports whether the reserve can be filled with something left over,
// so that a disk that stays full is not fought for.
func (w *writer) spacious() bool {
	free := w.j.fs.Free(w.j.cfg.Dir)
	return free < 0 || free >= w.reserve.want-w.reserve.size+w.reserve.want/4
}

// publish makes the group visible and tells those who wait for it.
func (w *writer) publish(group []*entry) {
	var size int64
	places, count := []Location(nil), 0
	for _, e := range group {
		count += len(e.pieces)
	}
	if w.j.cfg.Committed != nil {
		places = make([]Location, 0, count)
	}
	w.j.grow(w.seg, w.end, group)
	for _, e := range group {
		size += e.size
		places = w.place(e, places)
	}
	if w.j.cfg.Committed != nil {
		w.j.cfg.Committed(w.commits(group))
	}
	w.j.counters.commits.Add(uint64(len(group)))
	w.j.counters.syncs.Add(1)
	w.j.queue.release(size)
	for _, e := range group {
		w.j.finish(e, nil)
	}
}

// place fills positions and delivery ids into the batch and, if someone wants
// them, the places of its records, for which it uses the memory behind places.
func (w *writer) place(e *entry, places []Location) []Location {
	offset := e.offset + frameSize
	number := len(e.batch.Events)
	keys := e.keys
	first := len(places)
	for i := range e.pieces {
		at, size := w.seg.at(offset), e.pieces[i].size()
		offset += size
		if w.j.cfg.Committed != nil {
			places = append(places, Location{At: at, Length: size})
		}
		switch dispatches := len(e.batch.Dispatches); {
		case i < number:
			v := e.batch.Events[i]
			v.At = at
			for k, d := range v.Deliveries {
				d.Event = at
				d.ID = store.DeliveryID{Event: at, Key: keys[k]}
			}
			keys = keys[len(v.Deliveries):]
		case i < number+dispatches:
			e.batch.Dispatches[i-number].At = at
		default:
			e.batch.Outcomes[i-number-dispatches].At = at
		}
	}
	e.records = places[first:len(places):len(places)]
	return places
}

func (w *writer) commits(group []*entry) []*Commit {
	all := make([]Commit, len(group))
	list := make([]*Commit, len(group))
	for i, e := range group {
		all[i] = Commit{
			Batch: e.batch, Records: e.records,
			Frame: Location{At: w.seg.at(e.offset), Length: e.size},
			Next:  w.seg.at(e.offset + e.size),
		}
		list[i] = &all[i]
	}
	return list
}

func (w *writer) fail(group []*entry, err error) {
	var size int64
	for _, e := range group {
		size += e.size
	}
	w.j.queue.release(size)
	for _, e := range group {
		w.j.finish(e, err)
	}
}

// stop writes an empty frame, whose header proves that everything before it was
// synced, so that the next start need not write the last group again.
func (w *writer) stop() error {
	var errs []error
	if w.seg != nil {
		if w.end > dataStart {
			buf := w.seg.id.appendFrame(w.buf[:0], w.end, w.sequence, w.end, nil)
			_ = w.append(buf, w.sequence+1) // costs the next start a little, nothing else
		}
		w.endSegment()
	}
	errs = append(errs, w.reserve.close())
	return errors.Join(errs...)
}
