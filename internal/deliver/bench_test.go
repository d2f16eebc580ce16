package deliver_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// instant commits at once, and counts.
type instant struct {
	*world
	committed atomic.Int64
}

func (i *instant) Submit(_ *store.Batch, done func(error)) {
	i.committed.Add(1)
	done(nil)
}

func (i *instant) Release(...store.DeliveryID) { panic("a delivery was given back") }

func (i *instant) Claim(context.Context, store.ClaimRequest) ([]*store.Claimed, time.Time, error) {
	return nil, time.Time{}, nil
}

type noop struct{ answer *destination.Response }

func (n noop) Do(context.Context, *destination.Request) (*destination.Response, error) {
	return n.answer, nil
}

// BenchmarkDeliver measures what the engine adds to one delivery: from Deliver
// to the outcome handed over, with a destination and a recorder that cost
// nothing.
func BenchmarkDeliver(b *testing.B) {
	for _, destinations := range []int{1, 8} {
		b.Run(strconv.Itoa(destinations), func(b *testing.B) {
			i := &instant{world: newWorld()}
			var ds []*deliver.Destination
			for n := range destinations {
				ds = append(ds, &deliver.Destination{Name: fmt.Sprint("d", n), Handle: noop{&destination.Response{Status: 200}}})
			}
			e := deliver.New(deliver.Config{Queue: i, Recorder: i, Records: i, Flags: i, Log: slog.New(slog.DiscardHandler)})
			e.Configure(snapshot(ds...))
			if err := e.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			ev := sample()
			ev.Envelope.Detail = fmt.Appendf(nil, `{"pad":"%01000d"}`, 0)
			var all [][]*store.Delivery
			for n := range destinations {
				d := to(fmt.Sprint("d", n))
				d.ID = store.DeliveryID{Event: 1, Key: uint64(n)}
				all = append(all, []*store.Delivery{d})
			}
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				e.Deliver(ev, all[n%int64(destinations)])
				n++
				for n-i.committed.Load() > 500 { // stay under the share
					time.Sleep(10 * time.Microsecond)
				}
			}
			for i.committed.Load() < n {
				time.Sleep(10 * time.Microsecond)
			}
			if err := e.Stop(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
