package disk

import (
	"errors"
	"os"
	"syscall"
)

// Sync is fdatasync(2): it writes the bytes and what is needed to find them
// again, the size included, but not the times, which saves a write of the inode.
func (f osFile) Sync() error {
	if err := control(f.File, syscall.Fdatasync); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

// Allocate is fallocate(2), or writing where the file system does not have it.
func (f osFile) Allocate(size int64) error {
	err := control(f.File, func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
		return zeroFill(f.File, size)
	case err != nil:
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}
