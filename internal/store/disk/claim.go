package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"

	"github.com/grapnel/grapnel/internal/fault"
)

// The files of a data directory that are this package's.
const (
	lockName    = "LOCK"
	versionName = "VERSION"
)

const versionPrefix = "grapnel data "

// Claim makes the data directory dir if need be, locks it for this process and
// checks that its format is not newer than format, the one that this program
// writes. An older or new directory is marked with format. Close the result to
// give the directory back.
//
// Returns Conflict with code data_dir_locked if another process has it, Invalid
// with code data_dir_newer or data_dir_foreign if its format is newer or its
// VERSION file is not ours, and Permanent with code data_dir_unusable if it cannot
// be made or written.
//
// The order on disk: VERSION.tmp written and synced, renamed to VERSION, the
// directory synced. A crash before the rename leaves a directory without
// VERSION, which is a new one; nothing else is written before Claim returns.
func Claim(fsys FS, dir string, format int) (io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, unusable(dir, err)
	}
	lock, err := fsys.Lock(path.Join(dir, lockName))
	if locked, ok := errors.AsType[*LockedError](err); ok {
		return nil, fault.Wrap(fault.Conflict, err, "data_dir_locked",
			"data directory %s is in use by %s", dir, holder(locked)).
			WithHint("stop that process, or give this one a data directory of its own")
	}
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := checkVersion(fsys, dir, format); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func holder(e *LockedError) string {
	if e.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", e.PID)
}

func unusable(dir string, err error) error {
	return fault.Wrap(fault.Permanent, err, "data_dir_unusable", "data directory %s cannot be used", dir).
		WithHint("check that it exists or can be made, and that this user may write to it")
}

func checkVersion(fsys FS, dir string, format int) error {
	found, err := readVersion(fsys, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && found < format:
		if err := writeVersion(fsys, dir, format); err != nil {
			return unusable(dir, fmt.Errorf("writing %s: %w", versionName, err))
		}
		return nil
	case err != nil:
		return err
	case found > format:
		return fault.New(fault.Invalid, "data_dir_newer",
			"data directory %s has format %d, this program knows formats up to %d", dir, found, format).
			WithHint("start the newer grapnel that wrote it, or restore a backup made by this version")
	}
	return nil
}

func readVersion(fsys FS, dir string) (int, error) {
	name := path.Join(dir, versionName)
	f, err := fsys.Open(name, false)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	text := make([]byte, 64)
	n, err := f.ReadAt(text, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	number, ours := bytes.CutPrefix(bytes.TrimSpace(text[:n]), []byte(versionPrefix))
	found, err := strconv.Atoi(string(number))
	if !ours || err != nil || found < 1 {
		return 0, fault.New(fault.Invalid, "data_dir_foreign", "%s is not a version file of grapnel", name).
			WithHint("choose an empty data directory, or restore the file from a backup")
	}
	return found, nil
}

func writeVersion(fsys FS, dir string, format int) error {
	tmp := path.Join(dir, versionName+".tmp")
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%s%d\n", versionPrefix, format), 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, path.Join(dir, versionName)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
