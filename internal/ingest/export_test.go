package ingest

import (
	"net/netip"
	"time"
)

// AddressEntries is how many addresses a limiter remembers at most.
const AddressEntries = addressShards * addressPerShard

// AddressLimiter is the limiter by address, for tests of its bounds.
type AddressLimiter struct{ l *addressLimiter }

// NewAddressLimiter returns one.
func NewAddressLimiter(rates []AddressRate) AddressLimiter {
	return AddressLimiter{newAddressLimiter(rates)}
}

// Take counts a request and returns how long it would have to wait.
func (a AddressLimiter) Take(addr netip.Addr, now time.Time) time.Duration {
	_, wait := a.l.take(addr, now)
	return wait
}

// Len returns how many addresses are remembered.
func (a AddressLimiter) Len() int {
	n := 0
	for i := range a.l.shards {
		n += len(a.l.shards[i].entries)
	}
	return n
}
