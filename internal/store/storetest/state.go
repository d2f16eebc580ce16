package storetest

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/fault"
)

func stateTests() []test {
	return []test{
		{"a record is swapped by version", Options{}, stateSwaps},
		{"records are listed by prefix, in order of keys", Options{}, stateLists},
		{"one of many swaps wins", Options{}, stateRaces},
	}
}

func stateSwaps(f *fixture) {
	ctx := f.Context()
	_, err := f.Get(ctx, "a")
	f.wantKind("Get of nothing", err, fault.NotFound)
	v1, err := f.CompareAndSwap(ctx, "a", 0, []byte("one"))
	if err != nil || v1 == 0 {
		f.Fatalf("CompareAndSwap = %d, %v", v1, err)
	}
	_, err = f.CompareAndSwap(ctx, "a", 0, []byte("other"))
	f.wantKind("CompareAndSwap of a record that exists", err, fault.Conflict)
	_, err = f.CompareAndSwap(ctx, "b", 7, []byte("other"))
	f.wantKind("CompareAndSwap of a record that does not exist", err, fault.Conflict)
	v2, err := f.CompareAndSwap(ctx, "a", v1, []byte{})
	if err != nil || v2 == v1 || v2 == 0 {
		f.Fatalf("CompareAndSwap = %d, %v", v2, err)
	}
	f.reopen()
	got, err := f.Get(ctx, "a")
	if err != nil || got.Version != v2 || got.Key != "a" || len(got.Value) != 0 || !got.Updated.Equal(f.clock.Now()) {
		f.Errorf("Get = %+v, %v, want version %d", got, err, v2)
	}
	_, err = f.CompareAndSwap(ctx, "a", v1, nil)
	f.wantKind("CompareAndSwap with an old version", err, fault.Conflict)
	if _, err = f.CompareAndSwap(ctx, "a", v2, nil); err != nil {
		f.Errorf("deleting: %v", err)
	}
	_, err = f.Get(ctx, "a")
	f.wantKind("Get after deleting", err, fault.NotFound)
	v3, err := f.CompareAndSwap(ctx, "a", 0, bytes.Repeat([]byte("x"), 1<<20))
	if err != nil || v3 == v1 || v3 == v2 {
		f.Errorf("CompareAndSwap after deleting = %d, %v, want a version that was never used", v3, err)
	}
}

func stateLists(f *fixture) {
	for _, k := range []string{"b", "a/2", "a/10", "a", "a/\xff", "b/1", "\xff\xff", "a0"} {
		if _, err := f.CompareAndSwap(f.Context(), k, 0, []byte(k)); err != nil {
			f.Fatal(err)
		}
	}
	for _, tt := range []struct {
		prefix string
		want   []string
	}{
		{"a/", []string{"a/10", "a/2", "a/\xff"}},
		{"a", []string{"a", "a/10", "a/2", "a/\xff", "a0"}},
		{"", []string{"a", "a/10", "a/2", "a/\xff", "a0", "b", "b/1", "\xff\xff"}},
		{"\xff", []string{"\xff\xff"}},
		{"c", nil},
	} {
		got, err := f.List(f.Context(), tt.prefix)
		if err != nil {
			f.Fatal(err)
		}
		var keys []string
		for _, rec := range got {
			keys = append(keys, rec.Key)
			if string(rec.Value) != rec.Key || rec.Version == 0 {
				f.Errorf("record %+v", rec)
			}
		}
		if diff := cmp.Diff(tt.want, keys); diff != "" {
			f.Errorf("List(%q) (-want +got):\n%s", tt.prefix, diff)
		}
	}
}

func stateRaces(f *fixture) {
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch _, err := f.CompareAndSwap(f.Context(), "k", 0, []byte("v")); {
			case err == nil:
				won.Add(1)
			case !fault.Is(err, fault.Conflict):
				f.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		f.Errorf("%d swaps won, want 1", won.Load())
	}
}
