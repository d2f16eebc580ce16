// Package disktest has file systems for tests: one in memory that can lose power,
// and one that injects faults into any other.
package disktest

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/grapnel/grapnel/internal/store/disk"
)

// Sizes that matter when power fails: a block is written whole, in part or not
// at all, and its parts are whole sectors.
const (
	blockSize  = 4096
	sectorSize = 512
)

// Mem is a file system in memory that takes the contract of disk.FS literally:
// Crash returns what a loss of power may leave. Directories exist as soon as they
// are made.
type Mem struct {
	// SkipSync makes every sync report success without doing anything: the lie
	// that a checker of durability must find out.
	SkipSync bool

	mu       sync.Mutex // guards what follows, and all nodes
	dirs     map[string]bool
	now      map[string]*node // as the running system sees it
	durable  map[string]*node // as the disk has it
	pending  []change         // of directories, in order, since their last sync
	locks    map[string]int
	capacity int64 // bytes; 0: no limit
	used     int64
}

// node is a file's content, apart from its names.
type node struct {
	data   []byte // as the running system sees it
	synced []byte // as the disk has it for certain
	ops    []op   // since then, in order
	links  int    // names and open descriptors
}

// op is a write, or a truncation if data is nil.
type op struct {
	offset int64
	data   []byte
	// doomed says that a failed sync took the op for written: no later sync
	// writes it, whether it reached the disk nobody knows.
	doomed bool
}

// change is what one call did to the names of a directory: all of it becomes
// durable, or nothing.
type change struct {
	dir   string
	names map[string]*node // nil: removed
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{
		dirs: map[string]bool{}, now: map[string]*node{}, durable: map[string]*node{}, locks: map[string]int{},
	}
}

// SetCapacity limits the bytes that all files take together; 0 lifts the limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used returns the bytes that all files take together.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Crash returns the file system as it may be after a loss of power now: what was
// synced, and of the rest whatever random decides: sectors of blocks, sizes,
// directory entries. m itself is not changed and goes on.
func (m *Mem) Crash(random *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	c.capacity = m.capacity
	maps.Copy(c.dirs, m.dirs)
	names := maps.Clone(m.durable)
	// Half of the time the changes of directories are kept in order up to a
	// point, as a journal does it, else each on its own.
	ordered, upTo := random.IntN(2) == 0, random.IntN(len(m.pending)+1)
	for i, ch := range m.pending {
		if ordered && i < upTo || !ordered && random.IntN(2) == 0 {
			apply(names, ch)
		}
	}
	copies := map[*node]*node{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := names[name]
		if copies[n] == nil {
			data := n.afterCrash(random)
			copies[n] = &node{data: data, synced: slices.Clone(data)}
			c.used += int64(len(data))
		}
		copies[n].links++
		c.now[name] = copies[n]
	}
	c.durable = maps.Clone(c.now)
	return c
}

// Clone returns an exact copy: the file system after the process was killed, with
// everything that it wrote, synced or not, still pending.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	c.capacity, c.used = m.capacity, m.used
	maps.Copy(c.dirs, m.dirs)
	copies := map[*node]*node{}
	twin := func(n *node) *node {
		if n == nil {
			return nil
		}
		if copies[n] == nil {
			copies[n] = &node{
				data: slices.Clone(n.data), synced: slices.Clone(n.synced), ops: slices.Clone(n.ops), links: n.links,
			}
		}
		return copies[n]
	}
	for name, n := range m.now {
		c.now[name] = twin(n)
	}
	for name, n := range m.durable {
		c.durable[name] = twin(n)
	}
	for _, ch := range m.pending {
		names := map[string]*node{}
		for name, n := range ch.names {
			names[name] = twin(n)
		}
		c.pending = append(c.pending, change{dir: ch.dir, names: names})
	}
	return c
}

// Corrupt changes the bytes of a file in place, on the disk too.
func (m *Mem) Corrupt(name string, change func(data []byte) []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.now[path.Clean(name)]
	if n == nil {
		return &fs.PathError{Op: "corrupt", Path: name, Err: fs.ErrNotExist}
	}
	n.data = change(n.data)
	n.synced, n.ops = slices.Clone(n.data), nil
	return nil
}

// Bytes returns the content of a file, nil if there is none.
func (m *Mem) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.now[path.Clean(name)]; n != nil {
		return slices.Clone(n.data)
	}
	return nil
}

func apply(names map[string]*node, ch change) {
	for name, n := range ch.names {
		if n == nil {
			delete(names, name)
		} else {
			names[name] = n
		}
	}
}

// afterCrash returns the content that the disk may have.
func (n *node) afterCrash(random *rand.Rand) []byte {
	data := slices.Clone(n.synced)
	for _, o := range n.ops {
		data = o.land(data, random)
	}
	return data
}

// land applies the parts of the op that random lets through.
func (o *op) land(data []byte, random *rand.Rand) []byte {
	if o.data == nil {
		if random.IntN(2) == 0 {
			return resize(data, o.offset)
		}
		return data
	}
	mode := random.IntN(4) // all, nothing, or block by block
	for at := int64(0); at < int64(len(o.data)); {
		absolute := o.offset + at
		n := min(int64(len(o.data))-at, blockSize-absolute%blockSize)
		block := o.data[at : at+n]
		keep := n
		switch {
		case mode == 0:
		case mode == 1 || random.IntN(3) == 0:
			keep = 0
		case random.IntN(3) == 0: // torn: whole sectors from the front
			end := (absolute + random.Int64N(n)) / sectorSize * sectorSize
			keep = max(0, end-absolute)
		}
		if keep > 0 || random.IntN(4) == 0 { // the size may grow without the bytes
			if need := absolute + n; int64(len(data)) < need {
				data = resize(data, need)
			}
			copy(data[absolute:], block[:keep])
		}
		at += n
	}
	return data
}

func (o *op) apply(data []byte) []byte {
	if o.data == nil {
		return resize(data, o.offset)
	}
	if need := o.offset + int64(len(o.data)); int64(len(data)) < need {
		data = resize(data, need)
	}
	copy(data[o.offset:], o.data)
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	old := len(data)
	data = slices.Grow(data, int(size)-old)[:size]
	clear(data[old:])
	return data
}

func (m *Mem) change(name string, names map[string]*node) {
	for _, n := range names {
		if n != nil {
			n.links++
		}
	}
	for name := range names {
		m.unlink(m.now[name])
	}
	ch := change{dir: path.Dir(name), names: names}
	apply(m.now, ch)
	m.pending = append(m.pending, ch)
}

// unlink gives up one name or descriptor; the bytes go with the last one.
func (m *Mem) unlink(n *node) {
	if n == nil {
		return
	}
	if n.links--; n.links == 0 {
		m.used -= int64(len(n.data))
	}
}

// Create makes a file.
func (m *Mem) Create(name string) (disk.File, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !m.dirs[path.Dir(name)] {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	if m.capacity > 0 && m.used >= m.capacity {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	n := &node{}
	m.change(name, map[string]*node{name: n})
	n.links++
	return &memFile{m: m, n: n, name: name, write: true}, nil
}

// Open opens a file.
func (m *Mem) Open(name string, write bool) (disk.File, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.now[name]
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	n.links++
	return &memFile{m: m, n: n, name: name, write: write}, nil
}

// Remove unlinks a file.
func (m *Mem) Remove(name string) error {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	m.change(name, map[string]*node{name: nil})
	return nil
}

// Rename renames a file.
func (m *Mem) Rename(from, to string) error {
	from, to = path.Clean(from), path.Clean(to)
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.now[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.change(from, map[string]*node{from: nil, to: n})
	return nil
}

// List lists the files of a directory.
func (m *Mem) List(dir string) ([]string, error) {
	dir = path.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	var names []string
	for name := range m.now {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll makes directories.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = path.Clean(dir); !m.dirs[dir]; dir = path.Dir(dir) {
		m.dirs[dir] = true
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func (m *Mem) SyncDir(dir string) error {
	dir = path.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.SkipSync {
		return nil
	}
	m.pending = slices.DeleteFunc(m.pending, func(ch change) bool {
		if ch.dir == dir {
			apply(m.durable, ch)
		}
		return ch.dir == dir
	})
	return nil
}

// Lock takes a lock.
func (m *Mem) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if pid, held := m.locks[name]; held {
		return nil, &disk.LockedError{Name: name, PID: pid}
	}
	const pid = 4711
	m.locks[name] = pid
	return closer(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, name)
		return nil
	}), nil
}

type closer func() error

// Close calls the function.
func (c closer) Close() error { return c() }

// Free returns what SetCapacity leaves, -1 without a limit.
func (m *Mem) Free(string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return -1
	}
	return max(0, m.capacity-m.used)
}

// String lists the files, for messages of tests.
func (m *Mem) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(m.now)), " ")
}
