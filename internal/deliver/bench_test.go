package deliver_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// instant commits at once. room holds a token for each delivery that is not
// committed yet, so that the benchmark stays under the destination's share.
type instant struct {
	*world
	room chan struct{}
}

func (i *instant) Submit(_ *store.Batch, done func(error)) {
	<-i.room
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
			i := &instant{world: newWorld(), room: make(chan struct{}, 500)}
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
			n := 0
			for b.Loop() {
				i.room <- struct{}{}
				e.Deliver(ev, all[n%destinations])
				n++
			}
			for range cap(i.room) { // full again once everything is committed
				i.room <- struct{}{}
			}
			if err := e.Stop(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
