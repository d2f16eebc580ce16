package disktest

import (
	"io"
	"path"
	"sync"

	"github.com/grapnel/grapnel/internal/store/disk"
)

// Op names a kind of call.
type Op string

// The calls into which faults can be injected.
const (
	Create   Op = "create"
	Open     Op = "open"
	Remove   Op = "remove"
	Rename   Op = "rename"
	List     Op = "list"
	Mkdir    Op = "mkdir"
	SyncDir  Op = "syncdir"
	Read     Op = "read"
	Write    Op = "write"
	Sync     Op = "sync"
	Truncate Op = "truncate"
	Allocate Op = "allocate"
)

// Rule says which calls fail, and how.
type Rule struct {
	Op   Op     // "": any that changes something
	Glob string // on the base name (path.Match); "": any
	Nth  int    // the first call that is hit, from 1; 0 is 1
	// Times is how many calls are hit; 0 is one, negative all from then on.
	Times int
	Err   error
	// From and To, when To is set, hit only reads and writes that touch the bytes
	// of the file from From up to To.
	From, To int64
	// Short is how many bytes a failing write writes all the same.
	Short int

	seen int
}

// Faults is a file system that fails as its rules say.
type Faults struct {
	fs disk.FS
	// Before, when set, is called before each call that changes something, rules
	// or no rules.
	Before func(op Op, name string)

	mu    sync.Mutex // guards rules
	rules []*Rule
}

// NewFaults wraps a file system.
func NewFaults(fsys disk.FS, rules ...Rule) *Faults {
	f := &Faults{fs: fsys}
	f.Set(rules...)
	return f
}

// Set replaces the rules.
func (f *Faults) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	for _, r := range rules {
		f.rules = append(f.rules, &r)
	}
}

// hit returns the rule that the call meets, nil if it goes through.
func (f *Faults) hit(op Op, name string) *Rule { return f.hitRange(op, name, 0, 0) }

func (f *Faults) hitRange(op Op, name string, from, to int64) *Rule {
	changes := op != Read && op != Open && op != List
	if changes && f.Before != nil {
		f.Before(op, name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if r.Op != op && (r.Op != "" || !changes) {
			continue
		}
		if ok, _ := path.Match(r.Glob, path.Base(name)); !ok && r.Glob != "" {
			continue
		}
		if r.To > 0 && (from >= r.To || to <= r.From) {
			continue
		}
		r.seen++
		first := max(r.Nth, 1)
		if r.seen >= first && (r.Times < 0 || r.seen < first+max(r.Times, 1)) {
			return r
		}
	}
	return nil
}

func (f *Faults) call(op Op, name string, fn func() error) error {
	if r := f.hit(op, name); r != nil {
		return r.Err
	}
	return fn()
}

func (f *Faults) file(op Op, name string, fn func() (disk.File, error)) (disk.File, error) {
	if r := f.hit(op, name); r != nil {
		return nil, r.Err
	}
	file, err := fn()
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, f: f, name: name}, nil
}

// Create makes a file.
func (f *Faults) Create(name string) (disk.File, error) {
	return f.file(Create, name, func() (disk.File, error) { return f.fs.Create(name) })
}

// Open opens a file.
func (f *Faults) Open(name string, write bool) (disk.File, error) {
	return f.file(Open, name, func() (disk.File, error) { return f.fs.Open(name, write) })
}

// Remove unlinks a file.
func (f *Faults) Remove(name string) error {
	return f.call(Remove, name, func() error { return f.fs.Remove(name) })
}

// Rename renames a file.
func (f *Faults) Rename(from, to string) error {
	return f.call(Rename, to, func() error { return f.fs.Rename(from, to) })
}

// List lists a directory.
func (f *Faults) List(dir string) (names []string, err error) {
	err = f.call(List, dir, func() error {
		names, err = f.fs.List(dir)
		return err
	})
	return names, err
}

// MkdirAll makes directories.
func (f *Faults) MkdirAll(dir string) error {
	return f.call(Mkdir, dir, func() error { return f.fs.MkdirAll(dir) })
}

// SyncDir syncs a directory.
func (f *Faults) SyncDir(dir string) error {
	return f.call(SyncDir, dir, func() error { return f.fs.SyncDir(dir) })
}

// Lock takes a lock; it has no rules.
func (f *Faults) Lock(name string) (io.Closer, error) { return f.fs.Lock(name) }

// Free returns the free bytes; it has no rules.
func (f *Faults) Free(dir string) int64 { return f.fs.Free(dir) }

type faultyFile struct {
	disk.File
	f    *Faults
	name string
}

// ReadAt reads.
func (f *faultyFile) ReadAt(b []byte, offset int64) (int, error) {
	if r := f.f.hitRange(Read, f.name, offset, offset+int64(len(b))); r != nil {
		return 0, r.Err
	}
	return f.File.ReadAt(b, offset)
}

// WriteAt writes; a rule may let some bytes through.
func (f *faultyFile) WriteAt(b []byte, offset int64) (int, error) {
	r := f.f.hitRange(Write, f.name, offset, offset+int64(len(b)))
	if r == nil {
		return f.File.WriteAt(b, offset)
	}
	n := min(r.Short, len(b))
	if n > 0 {
		if n, err := f.File.WriteAt(b[:n], offset); err != nil {
			return n, err
		}
	}
	return n, r.Err
}

// Sync syncs. When a rule makes it fail, a file of Mem forgets what was to be
// written, as Linux does.
func (f *faultyFile) Sync() error {
	r := f.f.hit(Sync, f.name)
	if r == nil {
		return f.File.Sync()
	}
	if m, ok := f.File.(interface{ FailSync() }); ok {
		m.FailSync()
	}
	return r.Err
}

// Truncate sets the size.
func (f *faultyFile) Truncate(size int64) error {
	return f.f.call(Truncate, f.name, func() error { return f.File.Truncate(size) })
}

// Allocate makes room.
func (f *faultyFile) Allocate(size int64) error {
	return f.f.call(Allocate, f.name, func() error { return f.File.Allocate(size) })
}
