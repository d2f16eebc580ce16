package deliver

import (
	"context"
	"log/slog"
	"time"

	"github.com/grapnel/grapnel/internal/store"
)

// claimLoop claims due work for the lanes that have room, whenever the store
// has some, a lane has room again, or time has passed. It ends with ctx.
func (e *Engine) claimLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.poke:
		case <-e.config.Queue.Wake():
		}
		timer.Reset(e.claim(ctx))
	}
}

// claim claims once and returns how long nothing is to be expected.
func (e *Engine) claim(ctx context.Context) time.Duration {
	if e.stalled.Load() > 0 || !e.running.Load() {
		return claimRetry
	}
	now := time.Now()
	lanes := *e.lanes.Load()
	rooms := make([]store.Room, 0, len(lanes))
	for _, l := range lanes {
		l.mu.Lock()
		room := l.room(now)
		l.mu.Unlock()
		if room.Count > 0 {
			rooms = append(rooms, room)
		} else {
			l.claimed(room, 0, 0)
		}
	}
	got, next, err := e.config.Queue.Claim(ctx, store.ClaimRequest{Now: now, Rooms: rooms, Overdue: overdueBatch})
	if err != nil {
		if ctx.Err() == nil {
			e.log.WarnContext(ctx, "due deliveries could not be claimed", slog.Any("error", err))
		}
		return claimRetry
	}
	overdue := e.spread(now, got, rooms, lanes)
	wait := overdueEvery
	if !next.IsZero() {
		wait = min(wait, max(claimFloor, next.Sub(now)))
	}
	if overdue >= overdueBatch {
		wait = 0
	}
	return wait
}

// spread gives what was claimed to the lanes and settles what is overdue. It
// returns how many of the latter there were.
func (e *Engine) spread(now time.Time, got []*store.Claimed, rooms []store.Room, lanes map[string]*lane) (overdue int) {
	counts := make(map[string]int, len(rooms))
	bytes := make(map[string]int64, len(rooms))
	var back []store.DeliveryID
	for _, c := range got {
		d := &c.Delivery
		j := newJob(d, c.Event)
		j.counted, j.made, j.last = c.Attempts, c.Made, c.Last
		switch {
		case d.Mode == store.Sync:
			e.interrupt(&j, now)
		case j.overdue(now):
			overdue++
			e.expire(&j, c.Held, now)
		default:
			counts[d.Destination]++
			bytes[d.Destination] += j.size
			if !e.lane(d.Destination).offer(j, true) {
				back = append(back, d.ID)
			}
		}
	}
	for _, room := range rooms {
		lanes[room.Destination].claimed(room, counts[room.Destination], bytes[room.Destination])
	}
	if len(back) > 0 {
		e.config.Queue.Release(back...)
	}
	return overdue
}

// clockLoop looks at the lanes when time allows them more: a token, a probe.
// One clock serves all of them; no delivery has a timer. It ends with ctx.
func (e *Engine) clockLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		var next time.Time
		for _, l := range *e.lanes.Load() {
			again, claim, shift := l.tick(now)
			if !again.IsZero() && (next.IsZero() || again.Before(next)) {
				next = again
			}
			if claim {
				signal(e.poke)
			}
			e.show(l, shift)
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
		select {
		case <-ctx.Done():
			return
		case <-e.retime:
		case <-timer.C:
		}
	}
}
