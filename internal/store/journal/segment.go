package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/disk"
)

const (
	folder  = "journal"
	suffix  = ".seg"
	ballast = "reserve"
)

// segment is one file as readers see it. Everything but id and created is
// guarded by Journal.mu.
type segment struct {
	id      identity
	created time.Time
	end     int64 // of the synced bytes
	oldest  time.Time
	newest  time.Time
	sealed  bool
	marks   []int64 // offsets of frames, in order, about markEvery apart
	gaps    []gap   // that are no damage, see predecessor; never changed
}

// markEvery is how far apart the remembered frames of a segment are: a scan that
// begins between two frames reads at most this much in vain.
const markEvery = 1 << 20

func (s *segment) mark(offset int64) {
	if n := len(s.marks); n == 0 || offset >= s.marks[n-1]+markEvery {
		s.marks = append(s.marks, offset)
	}
}

// markBefore returns the last remembered frame at or before the offset.
func (s *segment) markBefore(offset int64) int64 {
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i] > offset })
	if i == 0 {
		return dataStart
	}
	return s.marks[i-1]
}

func (s *segment) at(offset int64) store.Position {
	return store.Position(s.id.number)<<32 | store.Position(offset)
}

func split(at store.Position) (number uint32, offset int64) {
	return uint32(at >> 32), int64(at & maxOffset)
}

func (j *Journal) segmentName(number uint32) string {
	return path.Join(j.cfg.Dir, folder, fmt.Sprintf("%010d%s", number, suffix))
}

// segmentNumber reads the number from a file name; 0 means that it is not that
// of a segment.
func segmentNumber(name string) uint32 {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 10 {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// create makes a segment file with a durable header and directory entry.
//
// Once the header may be on disk the predecessor must never grow: the header says
// where it ends. retired reports whether that point was reached.
func (j *Journal) create(h *header) (f disk.File, retired bool, err error) {
	name := j.segmentName(h.Number)
	if f, err = j.fs.Create(name); err != nil {
		return nil, false, fmt.Errorf("creating segment %d: %w", h.Number, err)
	}
	if err = writeFull(f, appendHeader(nil, h), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.fs.SyncDir(path.Dir(name))
	}
	if err == nil {
		return f, true, nil
	}
	// It takes no frames and nobody refers to it: if the removal does not last,
	// recovery removes it.
	_ = f.Close()
	_ = j.fs.Remove(name)
	return nil, true, fmt.Errorf("beginning segment %d: %w", h.Number, err)
}

// writeFull writes all of b or returns an error, whatever the file thinks of the
// contract of io.WriterAt.
func writeFull(f disk.File, b []byte, offset int64) error {
	n, err := f.WriteAt(b, offset)
	if err == nil && n < len(b) {
		return io.ErrShortWrite
	}
	return err
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return binary.LittleEndian.Uint64(b[:])
}

// reserve is the file that keeps disk space for what must be written on a full
// disk. It is touched by the writer only.
type reserve struct {
	fs   disk.FS
	name string
	want int64
	file disk.File
	size int64
}

// reserveStep is how much of the reserve is given up at a time, so that other
// programs on a full disk do not get all of it at once.
const reserveStep = 4 << 20

// open takes stock of the reserve and fills it up.
func (r *reserve) open() error {
	if r.want <= 0 {
		if err := r.fs.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	f, err := r.fs.Open(r.name, true)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.fs.Create(r.name)
	}
	if err != nil {
		return err
	}
	if r.size, err = f.Size(); err != nil {
		return errors.Join(err, f.Close())
	}
	r.file = f
	return r.grow()
}

// grow fills the reserve up; what it cannot get it does not keep.
func (r *reserve) grow() error {
	if r.file == nil || r.size >= r.want {
		return nil
	}
	err := r.file.Allocate(r.want)
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return errors.Join(err, r.file.Truncate(r.size))
	}
	r.size = r.want
	return nil
}

// shrink gives up at least need bytes; it reports whether there was anything to
// give. The sync makes a journaling file system hand the blocks out again.
func (r *reserve) shrink(need int64) bool {
	if r.file == nil || r.size == 0 {
		return false
	}
	size := max(0, r.size-max(need, min(reserveStep, r.want/4)))
	if r.file.Truncate(size) != nil {
		return false
	}
	r.size = size
	_ = r.file.Sync() // the next write shows whether it helped
	return true
}

func (r *reserve) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
