package disktest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/grapnel/grapnel/internal/store/disk"
	"github.com/grapnel/grapnel/internal/store/disk/disktest"
)

func seeded(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 2)) }

func create(t *testing.T, fsys disk.FS, name string) disk.File {
	t.Helper()
	if err := fsys.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f disk.File, b []byte) {
	t.Helper()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func sync(t *testing.T, f disk.File) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// outcomes counts what many crashes leave of the file /d/a.
func outcomes(m *disktest.Mem) map[string]int {
	seen := map[string]int{}
	for seed := range 300 {
		b := m.Crash(seeded(seed)).Bytes("/d/a")
		if b == nil {
			seen["gone"]++
			continue
		}
		seen[string(b)]++
	}
	return seen
}

func TestACrashKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	f := create(t, m, "/d/a")
	write(t, f, []byte("synced"))
	sync(t, f)
	if seen := outcomes(m); seen["gone"] == 0 || seen["synced"] == 0 || len(seen) != 2 {
		t.Errorf("before the directory is synced: %v", seen)
	}
	if err := m.SyncDir("/d"); err != nil {
		t.Fatal(err)
	}
	if seen := outcomes(m); seen["synced"] != 300 {
		t.Errorf("after it: %v", seen)
	}
	if err := m.Remove("/d/a"); err != nil {
		t.Fatal(err)
	}
	if seen := outcomes(m); seen["gone"] == 0 || seen["synced"] == 0 {
		t.Errorf("after the removal: %v", seen)
	}
}

func TestACrashKeepsAnyPartOfTheRest(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	f := create(t, m, "/d/a")
	if err := m.SyncDir("/d"); err != nil {
		t.Fatal(err)
	}
	write(t, f, bytes.Repeat([]byte("x"), 3*4096))
	var whole, nothing, torn, hole bool
	for content := range outcomes(m) {
		n := bytes.Count([]byte(content), []byte("x"))
		switch {
		case n == 3*4096:
			whole = true
		case n == 0:
			nothing = true
		case n%4096 != 0:
			torn = true
		case bytes.HasPrefix([]byte(content), []byte("\x00")):
			hole = true
		}
	}
	if !whole || !nothing || !torn || !hole {
		t.Errorf("seen: whole %t, nothing %t, torn block %t, first block lost %t", whole, nothing, torn, hole)
	}
}

func TestASyncAfterAFailedOneProvesNothing(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	faults := disktest.NewFaults(m, disktest.Rule{Op: disktest.Sync, Err: syscall.EIO})
	lost, kept := false, false
	for offset := int64(0); offset < 40*4096; offset += 4096 {
		name := "/d/" + string(rune('a'+offset/4096))
		f := create(t, faults, name)
		if err := m.SyncDir("/d"); err != nil {
			t.Fatal(err)
		}
		faults.Set(disktest.Rule{Op: disktest.Sync, Err: syscall.EIO})
		write(t, f, bytes.Repeat([]byte("y"), int(offset)+1))
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync = %v", err)
		}
		sync(t, f) // succeeds
		after := m.Crash(seeded(1)).Bytes(name)
		if bytes.Count(after, []byte("y")) == int(offset)+1 {
			kept = true
		} else {
			lost = true
		}
		write(t, f, bytes.Repeat([]byte("y"), int(offset)+1))
		sync(t, f)
		if n := bytes.Count(m.Crash(seeded(1)).Bytes(name), []byte("y")); n != int(offset)+1 {
			t.Errorf("written again and synced, %d of %d bytes are there", n, offset+1)
		}
	}
	if !lost || !kept {
		t.Errorf("lost %t, kept %t: want both to occur", lost, kept)
	}
}

func TestACloneHasEverythingStillPending(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	f := create(t, m, "/d/a")
	write(t, f, []byte("pending"))
	c := m.Clone()
	if got := string(c.Bytes("/d/a")); got != "pending" {
		t.Errorf("the clone has %q", got)
	}
	if seen := outcomes(c); len(seen) < 2 {
		t.Errorf("in the clone everything is durable: %v", seen)
	}
	write(t, f, []byte("changed"))
	if got := string(c.Bytes("/d/a")); got != "pending" {
		t.Errorf("the clone follows the original: %q", got)
	}
}

func TestCapacityIsKept(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	m.SetCapacity(100)
	f := create(t, m, "/d/a")
	n, err := f.WriteAt(make([]byte, 150), 0)
	if n != 100 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt = %d, %v", n, err)
	}
	if m.Free("/d") != 0 || m.Used() != 100 {
		t.Errorf("free %d, used %d", m.Free("/d"), m.Used())
	}
	if err := f.Truncate(40); err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(101); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Allocate = %v", err)
	}
	if err := m.Remove("/d/a"); err != nil {
		t.Fatal(err)
	}
	if m.Used() != 40 {
		t.Errorf("the bytes of an open file without a name are free: used %d", m.Used())
	}
	if err := f.Close(); err != nil || m.Used() != 0 {
		t.Errorf("closed: %v, used %d", err, m.Used())
	}
}

func TestRulesHitTheNthCall(t *testing.T) {
	t.Parallel()
	m := disktest.NewMem()
	boom := errors.New("boom")
	faults := disktest.NewFaults(m, disktest.Rule{Op: disktest.Write, Glob: "b*", Nth: 2, Times: 2, Err: boom, Short: 3})
	a, b := create(t, faults, "/d/a"), create(t, faults, "/d/b")
	for i, want := range []error{nil, boom, boom, nil} {
		write(t, a, []byte("12345"))
		n, err := b.WriteAt([]byte("12345"), int64(10*i))
		if !errors.Is(err, want) || want != nil && n != 3 {
			t.Errorf("write %d = %d, %v, want %v", i+1, n, err, want)
		}
	}
}
