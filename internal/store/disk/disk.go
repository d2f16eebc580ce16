// Package disk is the one door through which the journal reaches files: a small
// file system interface with the operations that durability is made of, and the
// operating system's implementation of it.
//
// Whoever writes through it states what is durable when: a file's bytes and size
// after File.Sync, a directory's entries (created, renamed, removed) after
// FS.SyncDir. Everything else may or may not survive a loss of power. Package
// disktest has the implementation that takes this literally.
package disk

import (
	"fmt"
	"io"
)

// FS is a file system. Names are slash-separated paths. Errors can be told apart
// with errors.Is and fs.ErrNotExist, fs.ErrExist, fs.ErrPermission and the
// system's error numbers (syscall.ENOSPC). Implementations are safe for
// concurrent use.
type FS interface {
	// Create makes a file for reading and writing, with mode 0600. Returns
	// fs.ErrExist if there is one already.
	Create(name string) (File, error)
	// Open opens an existing file for reading and, if write is set, writing.
	Open(name string, write bool) (File, error)
	// Remove unlinks a file. Those who have it open go on reading it.
	Remove(name string) error
	// Rename gives a file another name in the same directory, replacing what
	// was there.
	Rename(from, to string) error
	// List returns the names of the files in a directory, sorted. Folders are
	// left out.
	List(dir string) ([]string, error)
	// MkdirAll makes a directory, with mode 0700, and those above it, and makes
	// their names durable.
	MkdirAll(dir string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock on a file that it makes if need be, and
	// writes the number of this process into it. It does not wait: returns
	// *LockedError if someone holds it. Closing gives it back; so does the end
	// of the process.
	Lock(name string) (io.Closer, error)
	// Free returns the bytes that an unprivileged process may still write to
	// the file system of dir, or -1 if that is unknown.
	Free(dir string) int64
}

// File is an open file. ReadAt may be called at the same time as anything else.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the bytes and the size durable (fdatasync; F_FULLFSYNC on
	// darwin). After it has failed nothing is known about what was written since
	// the last one that succeeded, and a later success on the same bytes proves
	// nothing: they must be written anew.
	Sync() error
	// Truncate sets the size.
	Truncate(size int64) error
	// Allocate makes sure that the file has size bytes of disk space.
	Allocate(size int64) error
	// Size returns the size in bytes.
	Size() (int64, error)
}

// LockedError says that another process, or another part of this one, holds a
// lock. PID is its process number, 0 if it is not known.
type LockedError struct {
	Name string
	PID  int
}

// Error names the file and the holder.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Name + " is locked by another process"
	}
	return fmt.Sprintf("%s is locked by process %d", e.Name, e.PID)
}
