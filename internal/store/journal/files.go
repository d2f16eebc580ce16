package journal

import (
	"errors"
	"sync"

	"github.com/grapnel/grapnel/internal/store/disk"
)

// maxOpen is how many segments are kept open for reading when nobody reads them.
const maxOpen = 32

// files keeps segments open for reading and counts who reads them, so that a
// segment that is dropped stays readable for those who have begun.
type files struct {
	fs   disk.FS
	name func(number uint32) string

	mu    sync.Mutex // guards what follows, and the fields of handles
	open  map[uint32]*handle
	clock uint64
}

type handle struct {
	disk.File
	number  uint32
	readers int
	used    uint64 // clock at the last use
	dropped bool
}

// acquire opens the segment for the caller, who must release it.
func (f *files) acquire(number uint32) (*handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.open[number]
	if h == nil {
		file, err := f.fs.Open(f.name(number), false)
		if err != nil {
			return nil, err
		}
		h = &handle{File: file, number: number}
		f.open[number] = h
		f.evict()
	}
	f.clock++
	h.used = f.clock
	h.readers++
	return h, nil
}

func (f *files) release(h *handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.readers--
	if h.dropped && h.readers == 0 {
		_ = h.Close() // nothing was written through it
	}
}

// evict closes the idle file that was used longest ago, if there are too many.
func (f *files) evict() {
	if len(f.open) <= maxOpen {
		return
	}
	var oldest *handle
	for _, h := range f.open {
		if h.readers == 0 && h.used > 0 && (oldest == nil || h.used < oldest.used) {
			oldest = h
		}
	}
	if oldest != nil {
		delete(f.open, oldest.number)
		_ = oldest.Close() // nothing was written through it
	}
}

// drop forgets the segment; the last reader closes it.
func (f *files) drop(number uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.open[number]
	if h == nil {
		return
	}
	delete(f.open, number)
	h.dropped = true
	if h.readers == 0 {
		_ = h.Close() // nothing was written through it
	}
}

func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for number, h := range f.open {
		delete(f.open, number)
		h.dropped = true
		if h.readers == 0 {
			errs = append(errs, h.Close())
		}
	}
	return errors.Join(errs...)
}
