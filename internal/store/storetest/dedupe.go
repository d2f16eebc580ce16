package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

func dedupeTests() []test {
	return []test{
		{"a key is taken once, also after a reopen", Options{}, dedupeOnce},
		{"a key that is being committed is waited for", Options{}, dedupeInFlight},
		{"a key is free again when its window ends", Options{DedupeWindow: time.Hour}, dedupeWindow},
		{"only so many keys are remembered", Options{DedupeCount: 10}, dedupeCount},
		{"keys that look the same are told apart", Options{Collide: true}, dedupeCollision},
		{"a key twice in a batch is Invalid", Options{}, dedupeInBatch},
		{"a batch that failed leaves its keys free", Options{}, dedupeFailed},
		{"submit finds duplicates too", Options{}, dedupeSubmit},
	}
}

func (f *fixture) keyed(key string) *store.Event {
	e := f.event()
	e.DedupeKey = key
	return e
}

func (f *fixture) wantDuplicate(key string, first *store.Event) {
	f.Helper()
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{f.keyed(key)}})
	dup, ok := isDuplicate(err)
	if !ok || dup.First != first.At || dup.ID != first.Envelope.ID {
		f.Errorf("Append with key %q = %v, want a duplicate of %s at %s", key, err, first.Envelope.ID, first.At)
	}
}

func dedupeOnce(f *fixture) {
	a := f.put(f.keyed("a"))
	b := f.put(f.keyed("b"))
	for _, again := range []bool{false, true} {
		if again {
			f.reopen()
		}
		f.wantDuplicate("a", a)
		f.wantDuplicate("b", b)
	}
	f.put(f.keyed("c"))
}

func dedupeInFlight(f *fixture) {
	const n = 32
	var stored, refused atomic.Int64
	events := make([]*store.Event, n)
	for i := range events {
		events[i] = f.keyed("k")
	}
	var wg sync.WaitGroup
	for _, e := range events {
		wg.Go(func() {
			switch _, dup := isDuplicate(f.Append(f.Context(), &store.Batch{Events: []*store.Event{e}})); {
			case dup:
				refused.Add(1)
			case e.At != 0:
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	if stored.Load() != 1 || refused.Load() != n-1 {
		f.Errorf("%d stored, %d refused as duplicates, want 1 and %d", stored.Load(), refused.Load(), n-1)
	}
}

func dedupeWindow(f *fixture) {
	first := f.put(f.keyed("k"))
	f.clock.advance(59 * time.Minute)
	f.wantDuplicate("k", first)
	f.reopen()
	f.wantDuplicate("k", first)
	f.clock.advance(2 * time.Minute)
	second := f.put(f.keyed("k"))
	f.wantDuplicate("k", second)
	f.reopen()
	f.wantDuplicate("k", second)
}

func dedupeCount(f *fixture) {
	first := f.put(f.keyed("k"))
	for range 9 {
		f.put(f.keyed(f.event().ProviderID))
	}
	f.wantDuplicate("k", first)
	f.put(f.keyed("one more"))
	f.put(f.keyed("k"))
}

func dedupeCollision(f *fixture) {
	f.put(f.keyed("a"))
	f.put(f.keyed("b"))
	c := f.put(f.keyed("c"))
	f.wantDuplicate("c", c)
	f.reopen()
	f.put(f.keyed("d"))
}

func dedupeInBatch(f *fixture) {
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{f.keyed("k"), f.keyed("k")}})
	f.wantKind("Append with one key twice", err, fault.Invalid)
	f.put(f.keyed("k"))
}

func dedupeFailed(f *fixture) {
	taken := f.put(f.keyed("taken"))
	err := f.Append(f.Context(), &store.Batch{Events: []*store.Event{f.keyed("free"), f.keyed("taken")}})
	if _, ok := isDuplicate(err); !ok {
		f.Errorf("Append = %v, want a duplicate", err)
	}
	f.put(f.keyed("free"))
	f.wantDuplicate("taken", taken)
}

func dedupeSubmit(f *fixture) {
	const n = 16
	results := make(chan error, n)
	for range n {
		f.Submit(&store.Batch{Events: []*store.Event{f.keyed("k")}}, func(err error) { results <- err })
	}
	stored := 0
	for range n {
		err := <-results
		if _, dup := isDuplicate(err); !dup && err != nil {
			f.Errorf("done(%v)", err)
		}
		if err == nil {
			stored++
		}
	}
	if stored != 1 {
		f.Errorf("%d were stored, want 1", stored)
	}
}
