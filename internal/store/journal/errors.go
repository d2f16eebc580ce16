package journal

import (
	"errors"
	"syscall"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func errClosed() error {
	return fault.New(fault.Transient, "store_unavailable", "the store is shutting down")
}

func errUnavailable(cause error, again time.Duration) error {
	f := fault.Wrap(fault.Transient, cause, "store_unavailable", "the store cannot write to its disk").
		WithHint("look at the log for the disk's error; writing is tried again by itself")
	f.RetryAfter = again
	return f
}

func errFull(cause error, again time.Duration) error {
	f := fault.Wrap(fault.Transient, cause, "store_full", "the disk of the store is full").
		WithHint("free space on it or lower the retention; what is stored is still delivered")
	f.RetryAfter = again
	return f
}

func errNotFound(at store.Position) error {
	return fault.New(fault.NotFound, "record_not_found", "no record is stored at %s", at)
}

func errDamaged(at store.Position, cause error) error {
	return fault.Wrap(fault.Internal, cause, "record_damaged", "the record at %s cannot be read as it was written", at).
		WithHint("check the disk; restore the segment from a backup if there is one")
}

// isFull reports whether err says that there is no space, rather than that
// something is broken.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
