package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
)

// each runs a test on every file system, with an empty directory.
func each(t *testing.T, test func(t *testing.T, fsys disk.FS, dir string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) {
		t.Parallel()
		test(t, disk.OS(), filepath.ToSlash(t.TempDir()))
	})
	t.Run("mem", func(t *testing.T) {
		t.Parallel()
		m := disktest.NewMem()
		if err := m.MkdirAll("/dir"); err != nil {
			t.Fatal(err)
		}
		test(t, m, "/dir")
	})
	t.Run("faults without rules", func(t *testing.T) {
		t.Parallel()
		test(t, disktest.NewFaults(disk.OS()), filepath.ToSlash(t.TempDir()))
	})
}

func create(t *testing.T, fsys disk.FS, name, text string) disk.File {
	t.Helper()
	f, err := fsys.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // some tests close it themselves
	return f
}

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func content(t *testing.T, f disk.File) string {
	t.Helper()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesAreCreatedWrittenAndRead(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fsys disk.FS, dir string) {
		t.Helper()
		name := path.Join(dir, "a")
		if _, err := fsys.Open(name, false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("opening what is not there: %v", err)
		}
		f := create(t, fsys, name, "hello")
		if _, err := fsys.Create(name); !errors.Is(err, fs.ErrExist) {
			t.Errorf("creating what is there: %v", err)
		}
		if _, err := f.WriteAt([]byte("XY"), 7); err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != "hello\x00\x00XY" {
			t.Errorf("content = %q", got)
		}
		b := make([]byte, 4)
		if n, err := f.ReadAt(b, 7); n != 2 || !errors.Is(err, io.EOF) {
			t.Errorf("reading over the end: %d, %v", n, err)
		}
		if err := f.Truncate(3); err != nil || content(t, f) != "hel" {
			t.Errorf("after Truncate: %v, %q", err, content(t, f))
		}
		if err := f.Allocate(5); err != nil {
			t.Errorf("Allocate: %v", err)
		}
		if size, _ := f.Size(); size != 5 {
			t.Errorf("after Allocate the size is %d", size)
		}
		r, err := fsys.Open(name, false)
		if err != nil {
			t.Fatal(err)
		}
		defer closing(t, r)
		if _, err := r.WriteAt([]byte("x"), 0); err == nil {
			t.Error("writing through a descriptor for reading succeeds")
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("writing after Close succeeds")
		}
	})
}

func TestNamesAreChanged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fsys disk.FS, dir string) {
		t.Helper()
		a, b := path.Join(dir, "a"), path.Join(dir, "b")
		f := create(t, fsys, a, "one")
		create(t, fsys, b, "two")
		if err := fsys.MkdirAll(path.Join(dir, "deep", "er")); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Rename(a, b); err != nil {
			t.Fatal(err)
		}
		if names, err := fsys.List(dir); err != nil || !slices.Equal(names, []string{"b"}) {
			t.Errorf("List = %v, %v", names, err)
		}
		if err := fsys.Remove(b); err != nil {
			t.Fatal(err)
		}
		if err := fsys.Remove(b); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removing it again: %v", err)
		}
		if content(t, f) != "one" {
			t.Error("an open file is not readable once it has no name")
		}
		if err := fsys.SyncDir(dir); err != nil {
			t.Error(err)
		}
		if _, err := fsys.List(path.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("listing what is not there: %v", err)
		}
		if free := fsys.Free(dir); free == 0 {
			t.Errorf("Free = %d", free)
		}
	})
}

func TestALockIsHeldOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fsys disk.FS, dir string) {
		t.Helper()
		name := path.Join(dir, "LOCK")
		l, err := fsys.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fsys.Lock(name)
		locked, ok := errors.AsType[*disk.LockedError](err)
		if !ok || locked.PID == 0 {
			t.Fatalf("the second Lock: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := fsys.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestADataDirectoryIsClaimed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fsys disk.FS, dir string) {
		t.Helper()
		dir = path.Join(dir, "new", "data")
		claim, err := disk.Claim(fsys, dir, 2)
		if err != nil {
			t.Fatal(err)
		}
		_, err = disk.Claim(fsys, dir, 2)
		expect(t, err, fault.Conflict, "data_dir_locked")
		if err := claim.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = disk.Claim(fsys, dir, 1)
		expect(t, err, fault.Invalid, "data_dir_newer")
		newer, err := disk.Claim(fsys, dir, 3)
		if err != nil {
			t.Fatalf("an older directory: %v", err)
		}
		if err := newer.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = disk.Claim(fsys, dir, 2)
		expect(t, err, fault.Invalid, "data_dir_newer")
		if err := fsys.Remove(path.Join(dir, "VERSION")); err != nil {
			t.Fatal(err)
		}
		create(t, fsys, path.Join(dir, "VERSION"), "PostgreSQL 17\n")
		_, err = disk.Claim(fsys, dir, 2)
		expect(t, err, fault.Invalid, "data_dir_foreign")
	})
}

func expect(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != kind || f.Code != code || f.Hint == "" {
		t.Errorf("err = %v, want %v %s with a hint", err, kind, code)
	}
}

func TestTheHolderOfALockIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	claim, err := disk.Claim(disk.OS(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, claim)
	_, err = disk.Claim(disk.OS(), dir, 1)
	if err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("err = %v", err)
	}
}

func TestADirectoryThatCannotBeWrittenIsRefused(t *testing.T) {
	t.Parallel()
	for _, r := range []disktest.Rule{
		{Op: disktest.Mkdir, Err: syscall.EROFS},
		{Op: disktest.Create, Glob: "VERSION*", Err: syscall.EACCES},
		{Op: disktest.Write, Glob: "VERSION*", Err: syscall.ENOSPC},
		{Op: disktest.Sync, Glob: "VERSION*", Err: syscall.EIO},
		{Op: disktest.Rename, Err: syscall.EIO},
		{Op: disktest.SyncDir, Err: syscall.EIO},
	} {
		m := disktest.NewMem()
		_, err := disk.Claim(disktest.NewFaults(m, r), "/data", 1)
		expect(t, err, fault.Permanent, "data_dir_unusable")
		claim, err := disk.Claim(m, "/data", 1)
		if err != nil {
			t.Errorf("after %s failed: %v", r.Op, err)
			continue
		}
		if err := claim.Close(); err != nil {
			t.Error(err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := disk.Claim(disk.OS(), file, 1)
	expect(t, err, fault.Permanent, "data_dir_unusable")
}

func TestAllocateTakesSpace(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "reserve")
	f, err := disk.OS().Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, f)
	const size = 4 << 20
	if err := f.Allocate(size); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks*512 < size {
		t.Errorf("%d bytes of disk are taken, want %d", blocks*512, size)
	}
}

func TestBytesSurviveInAFileOfTheSystem(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a")
	want := bytes.Repeat([]byte("0123456789"), 1000)
	f := create(t, disk.OS(), name, string(want))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
