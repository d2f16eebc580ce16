package ingest

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// AddressRate is how many requests one address may send in a span of time that
// begins with its first one.
type AddressRate struct {
	Count int
	Per   time.Duration
}

// Bounds of what is remembered of addresses, for each source. Where an attacker
// has more addresses than that, the ones that were quiet longest are forgotten.
const (
	addressShards   = 16
	addressPerShard = 2048
)

// addressLimiter counts the requests of each address, IPv6 by /64: whoever has
// one address there has all of its network. Its memory is bounded whatever is
// sent. Addresses are spread over shards by a seed that nobody knows, so that
// nobody can choose the shard whose entries push each other out.
type addressLimiter struct {
	rates  []AddressRate
	seed   maphash.Seed
	shards [addressShards]addressShard
}

type addressShard struct {
	mu      sync.Mutex // guards everything below
	entries map[netip.Addr]*addressEntry
	// root is the ring of all entries: root.next was used last, root.prev is the
	// next to be forgotten.
	root addressEntry
}

type addressEntry struct {
	addr       netip.Addr
	prev, next *addressEntry
	windows    []window // one for each rate
}

// window counts the requests since it began.
type window struct {
	began time.Time
	count int
}

// newAddressLimiter returns a limiter, or nil if there is nothing to limit.
func newAddressLimiter(rates []AddressRate) *addressLimiter {
	if len(rates) == 0 {
		return nil
	}
	l := &addressLimiter{rates: rates, seed: maphash.MakeSeed()}
	for i := range l.shards {
		s := &l.shards[i]
		s.entries = map[netip.Addr]*addressEntry{}
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return l
}

// same reports whether the limiter, which may be nil, has these rates.
func (l *addressLimiter) same(rates []AddressRate) bool {
	return l != nil && slices.Equal(l.rates, rates)
}

// network is what is counted for an address.
func network(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		p, _ := addr.Prefix(64) // never fails: an IPv6 address has 128 bits
		return p.Addr()
	}
	return addr
}

// take counts a request. If one rate or more does not admit it, nothing is
// counted, and take returns the one that takes longest and how long that is.
func (l *addressLimiter) take(addr netip.Addr, now time.Time) (AddressRate, time.Duration) {
	key := network(addr)
	s := &l.shards[maphash.Comparable(l.seed, key)%addressShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(key, len(l.rates))
	var over AddressRate
	var wait time.Duration
	for i, r := range l.rates {
		w := &e.windows[i]
		left := w.began.Add(r.Per).Sub(now)
		if left <= 0 || left > r.Per { // over, or the clock was set back
			*w = window{began: now}
			continue
		}
		if w.count >= r.Count && left > wait {
			over, wait = r, left
		}
	}
	if wait == 0 {
		for i := range e.windows {
			e.windows[i].count++
		}
	}
	return over, wait
}

// entry returns the entry of the key as the one used last, made if there is none.
func (s *addressShard) entry(key netip.Addr, rates int) *addressEntry {
	e, ok := s.entries[key]
	switch {
	case ok:
		e.prev.next, e.next.prev = e.next, e.prev
	case len(s.entries) >= addressPerShard:
		e = s.root.prev // its memory serves the newcomer
		e.prev.next, e.next.prev = e.next, e.prev
		delete(s.entries, e.addr)
		clear(e.windows)
		e.addr, s.entries[key] = key, e
	default:
		e = &addressEntry{addr: key, windows: make([]window, rates)}
		s.entries[key] = e
	}
	e.prev, e.next = &s.root, s.root.next
	e.prev.next, e.next.prev = e, e
	return e
}
