package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

const (
	// expiredClass and expiredReason are what an expired outcome says.
	expiredClass  = "retention"
	expiredReason = "retention dropped the event while the delivery was still waiting"
	// decideAtOnce is how many outcomes the store commits in one batch.
	decideAtOnce = 500
)

// Retain implements store.Store.
//
// The order on disk: the expired outcomes are synced, then the index file goes,
// then the segment. A crash in between leaves a segment whose deliveries are all
// final, or one whose index is made anew; the next Retain goes on.
func (s *Store) Retain(ctx context.Context, policy store.Retention) (store.Dropped, error) {
	s.retain.Lock()
	defer s.retain.Unlock()
	dropped := store.Dropped{Before: store.Position(s.floor.Load())}
	// What tells of this is not dropped by this: there would be no end to it.
	active := s.journal.Segments()
	last := active[len(active)-1].Number
	for {
		segments := s.journal.Segments()
		if segments[0].Number >= last || !segments[0].Sealed || !s.expendable(segments, policy) {
			return dropped, nil
		}
		if err := s.dropSegment(ctx, segments[0], policy, &dropped); err != nil {
			return dropped, fmt.Errorf("dropping segment %d: %w", segments[0].Number, err)
		}
	}
}

// expendable reports whether the policy no longer keeps the oldest segment.
func (s *Store) expendable(segments []journal.Segment, policy store.Retention) bool {
	if policy.Bytes > 0 {
		var total int64
		for _, seg := range segments {
			total += seg.Bytes + sizeDB(s.cfg.Dir+"/"+indexName(seg.Number))
		}
		if total > policy.Bytes {
			return true
		}
	}
	if policy.Age <= 0 {
		return false
	}
	var newest time.Time
	for _, seg := range segments {
		if !seg.Last.IsZero() {
			newest = seg.Last
		}
	}
	// A segment that has no records with a time is as old as the one behind it.
	last := segments[0].Last
	for i := 1; last.IsZero() && i < len(segments); i++ {
		last = segments[i].First
	}
	return !last.IsZero() && newest.Sub(last) > policy.Age
}

func (s *Store) dropSegment(ctx context.Context, seg journal.Segment, policy store.Retention, dropped *store.Dropped) error {
	end := journal.Segment{Number: seg.Number + 1}.Start()
	// From here on nothing brings a delivery of the segment back to life.
	s.live.raiseFloor(end)
	for {
		n, err := s.expire(ctx, end, policy.Expired, dropped)
		if err != nil {
			return fmt.Errorf("expiring pending deliveries: %w", err)
		}
		if n == 0 {
			break
		}
	}
	size := seg.Bytes + sizeDB(s.cfg.Dir+"/"+indexName(seg.Number))
	s.floor.Store(uint64(end))
	if err := s.index.drop(ctx, seg.Number+1); err != nil {
		return fmt.Errorf("removing its index: %w", err)
	}
	if err := s.journal.Drop(seg.Number); err != nil {
		return err
	}
	dropped.Segments++
	dropped.Bytes += size
	dropped.Before = end
	s.log.InfoContext(ctx, "a segment was dropped by retention", slog.Any("segment", seg.Number), slog.Int64("bytes", size))
	return nil
}

// expire commits expired outcomes for some of the deliveries that are not final
// and whose events are below end, with the events that tell of it, and returns
// for how many.
func (s *Store) expire(
	ctx context.Context, end store.Position, tell func([]store.ExpiredDelivery) []*store.Event, dropped *store.Dropped,
) (int, error) {
	found, err := s.live.below(ctx, end, decideAtOnce)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	batch := &store.Batch{Reserve: true}
	for i := range found {
		batch.Outcomes = append(batch.Outcomes, &store.Outcome{
			Delivery: found[i].id, Time: s.now(), State: store.Expired, Class: expiredClass, Reason: expiredReason,
		})
	}
	names := s.named(found)
	if tell != nil {
		batch.Events = tell(names)
	}
	if err := s.journal.Append(ctx, batch); err != nil {
		return 0, err
	}
	dropped.Expired += int64(len(found))
	room := max(0, store.MaxExpired-len(dropped.Deliveries))
	dropped.Deliveries = append(dropped.Deliveries, names[:min(room, len(names))]...)
	return len(found), nil
}

// named describes deliveries while their events can still be read.
func (s *Store) named(found []deliveryRow) []store.ExpiredDelivery {
	out := make([]store.ExpiredDelivery, 0, len(found))
	for i := range found {
		d := &found[i]
		e := store.ExpiredDelivery{ID: d.id, Rule: d.rule, Target: d.target, Destination: d.destination}
		if rec, _, err := s.journal.ReadHead(d.id.Event); err == nil && rec.Event != nil {
			e.EventID = rec.Event.Envelope.ID
		}
		out = append(out, e)
	}
	return out
}

// raiseFloor keeps final deliveries of events below at from coming back.
func (l *live) raiseFloor(at store.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, at)
}

// below returns up to n deliveries that are not final and whose events are below
// end, leased ones included.
func (l *live) below(ctx context.Context, end store.Position, n int) (out []deliveryRow, err error) {
	for ready := false; !ready && err == nil; {
		err = l.use(ctx, func() (err error) {
			if ready, err = l.unstick(ctx); ready {
				out, err = l.belowLocked(ctx, end, n)
			}
			return err
		})
	}
	return out, err
}

// unstick writes what waits in a view that could not be written the last time,
// and reads on: what has expired would be named again and again, and what waits
// in the feed would not be seen. It reports false if the view has to catch up
// first, and errStuck if it still cannot be written.
func (l *live) unstick(ctx context.Context) (ready bool, err error) {
	if !l.stuck() {
		return true, nil
	}
	if err := l.flush(ctx); err != nil {
		return false, errors.Join(errStuck, err)
	}
	l.reportLocked(ctx, nil)
	if err := l.drain(ctx, l.history); err != nil {
		return false, err
	}
	if l.stuck() {
		return false, errStuck
	}
	return l.behind == nil, nil
}

func (l *live) belowLocked(ctx context.Context, end store.Position, n int) (out []deliveryRow, err error) {
	for id, e := range l.entries {
		if id.Event < end && !e.state.Final() && len(out) < n {
			out = append(out, e.deliveryRow)
		}
	}
	from := firstKey
	for len(out) < n {
		found, err := l.db.list(ctx, "SELECT "+liveColumns+" FROM live WHERE at < ? AND (at, key) > (?, ?) ORDER BY at, key LIMIT ?",
			posInt(end), posInt(from.id.Event), int64(from.id.Key), n)
		if err != nil {
			return nil, fmt.Errorf("reading live.db: %w", err)
		}
		for _, e := range found {
			if l.entries[e.id] == nil && len(out) < n {
				out = append(out, e.deliveryRow)
			}
			from.id = e.id
		}
		if len(found) < n {
			break
		}
	}
	return out, nil
}

// interrupt ends the sync deliveries that a crash has left behind.
func (s *Store) interrupt(ctx context.Context) error {
	s.live.mu.Lock()
	orphans := s.live.orphans
	s.live.mu.Unlock()
	for len(orphans) > 0 {
		n := min(len(orphans), decideAtOnce)
		batch := &store.Batch{Reserve: true}
		for _, id := range orphans[:n] {
			batch.Outcomes = append(batch.Outcomes, &store.Outcome{
				Delivery: id, Time: s.now(), State: store.Interrupted, Class: "interrupted",
				Reason: "grapnel ended while someone waited for the answer; whether the destination got the request is not known",
			})
		}
		if err := s.journal.Append(ctx, batch); err != nil {
			return fmt.Errorf("ending interrupted deliveries: %w", err)
		}
		orphans = orphans[n:]
		s.live.mu.Lock()
		s.live.orphans = orphans
		s.live.mu.Unlock()
	}
	return nil
}
