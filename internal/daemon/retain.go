package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/obs"
	"github.com/grapnel/grapnel/internal/store"
)

// retainEvery is how often segments are looked at that may have to go.
const retainEvery = time.Minute

// retain drops old segments until its context ends.
func (d *Daemon) retain(ctx context.Context) error {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.retainOnce(ctx)
		}
	}
}

func (d *Daemon) retainOnce(ctx context.Context) {
	policy := d.current.Load().config.Retention
	dropped, err := d.store.Retain(ctx, store.Retention{Age: policy.Age, Bytes: policy.Bytes, Expired: d.expired})
	switch {
	case err != nil:
		d.log.ErrorContext(ctx, "old segments could not be dropped", slog.Any("error", err))
	case dropped.Segments > 0:
		d.log.InfoContext(ctx, "old segments dropped", slog.Int("segments", dropped.Segments),
			slog.Int64("bytes", dropped.Bytes), slog.Int64("expired", dropped.Expired))
	}
}

// expired counts deliveries that retention ends and returns the event that tells
// of them. A rule that cannot be matched must not keep a full disk full: the
// event is kept all the same.
func (d *Daemon) expired(deliveries []store.ExpiredDelivery) []*store.Event {
	for i := range deliveries {
		d.metrics.Destination(deliveries[i].Destination).Ended(store.Expired.String())
	}
	ev := deliver.Expired(d.current.Load().deliver, deliveries, d.opts.Now())
	if err := d.bus.Match(ev); err != nil {
		d.log.Error("the event about expired deliveries could not be matched", slog.Any("error", err))
	}
	d.log.Warn("retention ended while deliveries were waiting", slog.Int("deliveries", len(deliveries)))
	return []*store.Event{ev}
}

// figures reads the store for metrics.
func (d *Daemon) figures() obs.Figures {
	s := d.store.Stats()
	f := obs.Figures{
		Pending: s.Pending, Held: s.Held, JournalBytes: s.JournalBytes, IndexBytes: s.IndexBytes,
		IndexLag: s.IndexLag, Segments: s.Segments, Damaged: len(s.Quarantined),
		Available: s.Unavailable == "", DiskFree: s.FreeBytes,
	}
	if !s.OldestPending.IsZero() {
		f.OldestPending = d.opts.Now().Sub(s.OldestPending)
	}
	return f
}
