package disktest

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
)

// memFile is a descriptor of a node.
type memFile struct {
	m      *Mem
	n      *node
	name   string
	write  bool
	closed bool
}

func (f *memFile) err(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// check refuses what the descriptor does not allow; m.mu is held.
func (f *memFile) check(op string, write bool) error {
	if f.closed {
		return f.err(op, fs.ErrClosed)
	}
	if write && !f.write {
		return f.err(op, syscall.EBADF)
	}
	return nil
}

// ReadAt reads what the running system sees.
func (f *memFile) ReadAt(b []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if offset >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes, up to the capacity of the file system.
func (f *memFile) WriteAt(b []byte, offset int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	n := int64(len(b))
	if grow := offset + n - int64(len(f.n.data)); f.m.capacity > 0 && f.m.used+grow > f.m.capacity {
		n = max(0, n-(f.m.used+grow-f.m.capacity))
	}
	if n > 0 {
		f.do(op{offset: offset, data: slices.Clone(b[:n])})
	}
	if n < int64(len(b)) {
		return int(n), f.err("write", syscall.ENOSPC)
	}
	return int(n), nil
}

// do applies the op to what the running system sees and notes it; m.mu is held.
func (f *memFile) do(o op) {
	before := len(f.n.data)
	f.n.data = o.apply(f.n.data)
	f.m.used += int64(len(f.n.data) - before)
	f.n.ops = append(f.n.ops, o)
}

// Truncate sets the size.
func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	f.do(op{offset: size})
	return nil
}

// Allocate sets the size, up to the capacity of the file system.
func (f *memFile) Allocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("allocate", true); err != nil {
		return err
	}
	grow := size - int64(len(f.n.data))
	if f.m.capacity > 0 && f.m.used+grow > f.m.capacity {
		return f.err("allocate", syscall.ENOSPC)
	}
	if grow > 0 {
		f.do(op{offset: size})
	}
	return nil
}

// Sync makes the content durable, but for what an earlier sync failed to write:
// of that the disk has what random decides.
func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", true); err != nil {
		return err
	}
	if f.m.SkipSync {
		return nil
	}
	random := rand.New(rand.NewPCG(uint64(len(f.n.data)), uint64(len(f.n.ops)))) //nolint:gosec // repeatable on purpose
	for _, o := range f.n.ops {
		if o.doomed {
			f.n.synced = o.land(f.n.synced, random)
		} else {
			f.n.synced = o.apply(f.n.synced)
		}
	}
	f.n.ops = nil
	return nil
}

// FailSync is a sync that fails as Linux does it: what was to be written counts
// as clean from then on, and may or may not be on the disk.
func (f *memFile) FailSync() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for i := range f.n.ops {
		f.n.ops[i].doomed = true
	}
}

// Size returns the size.
func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

// Close gives the descriptor back.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	f.m.unlink(f.n)
	return nil
}
