package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// picked is a delivery that was leased under the view's lock; its event is read
// without it.
type picked struct {
	row   deliveryRow
	stand standing
	due   int64
}

// use calls fn with the lock held, when the view has taken in all that was synced.
// If live.db turns out to be damaged it is made anew and fn called again.
func (l *live) use(ctx context.Context, fn func() error) error {
	for again := false; ; again = true {
		err := l.settled(ctx)
		if err == nil {
			err = fn()
			l.mu.Unlock()
		}
		if err == nil || again || !damaged(err) {
			return err
		}
		l.report(ctx, err)
	}
}

// settled waits until the view keeps up, takes in what has come, and returns with
// the lock held unless it returns an error.
func (l *live) settled(ctx context.Context) error {
	if err := l.feed.await(ctx, l.journal.Horizon()); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		err := l.drain(ctx, l.history)
		behind := l.behind
		if err == nil && behind == nil {
			return nil
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
		l.feed.wake()
		select {
		case <-behind:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pick leases what the request has room for. next is 0 if nothing is known.
func (l *live) pick(ctx context.Context, req store.ClaimRequest) (out []picked, next int64, err error) {
	err = l.use(ctx, func() error {
		var err error
		if out, next, err = l.pickLocked(ctx, req); err == nil {
			return nil
		}
		for i := range out {
			if e := l.entries[out[i].row.id]; e != nil {
				e.leased = false
				l.enqueue(e)
			}
		}
		return err
	})
	return out, next, err
}

func (l *live) pickLocked(ctx context.Context, req store.ClaimRequest) (out []picked, next int64, err error) {
	now := req.Now.UnixNano()
	told := int64(math.MaxInt64)
	for len(out) < req.Overdue {
		e, err := l.front(ctx, l.deadlines, "")
		if err != nil {
			return out, 0, err
		}
		if e == nil || e.standing.deadline > now {
			break
		}
		out = append(out, l.pickEntry(e, e.standing.deadline))
	}
	if e := l.deadlines.top(); req.Overdue > 0 && e != nil {
		told = e.standing.deadline
	}
	for _, room := range req.Rooms {
		due, err := l.pickRoom(ctx, room, now, &out)
		if err != nil {
			return out, 0, err
		}
		told = min(told, due)
	}
	l.told = told
	if told == math.MaxInt64 {
		return out, 0, nil
	}
	return out, told, nil
}

// pickRoom fills one room and returns when the next delivery of its destination
// falls due, MaxInt64 if none is known.
func (l *live) pickRoom(ctx context.Context, room store.Room, now int64, out *[]picked) (int64, error) {
	q := l.dest(room.Destination)
	bytes := room.Bytes
	for taken := 0; ; taken++ {
		e, err := l.front(ctx, q, room.Destination)
		if err != nil {
			return 0, err
		}
		if e == nil {
			return math.MaxInt64, nil
		}
		if taken >= room.Count || e.next > now || taken > 0 && e.size > bytes {
			return e.next, nil
		}
		bytes -= e.size
		*out = append(*out, l.pickEntry(e, e.next))
	}
}

func (l *live) pickEntry(e *entry, due int64) picked {
	e.leased = true
	l.unqueue(e)
	return picked{row: e.deliveryRow, stand: e.standing, due: due}
}

// front returns the first entry of a queue, loading more when memory has none.
func (l *live) front(ctx context.Context, q *queue, destination string) (*entry, error) {
	for {
		if e := q.top(); e != nil || q.complete() {
			return e, nil
		}
		if err := l.load(ctx, q, destination); err != nil {
			return nil, err
		}
	}
}

// load puts the next entries behind the queue's bound in memory. If live.db cannot
// be written, its rows and the entries that differ from them are merged.
func (l *live) load(ctx context.Context, q *queue, destination string) error {
	if err := l.flush(ctx); err != nil {
		if damaged(err) {
			return err
		}
		l.reportLocked(ctx, err) // it goes on without
	}
	b := q.bound
	var found []*entry
	var err error
	if q.which == byDue {
		found, err = l.db.list(ctx, "SELECT "+liveColumns+" FROM live INDEXED BY live_due"+
			" WHERE state = 1 AND destination = ? AND (next, at, key) > (?, ?, ?) ORDER BY next, at, key LIMIT ?",
			destination, b.t, posInt(b.id.Event), int64(b.id.Key), q.limit)
	} else {
		found, err = l.db.list(ctx, "SELECT "+liveColumns+" FROM live INDEXED BY live_deadline"+
			" WHERE deadline > 0 AND (deadline, at, key) > (?, ?, ?) ORDER BY deadline, at, key LIMIT ?",
			b.t, posInt(b.id.Event), int64(b.id.Key), q.limit)
	}
	if err != nil {
		return fmt.Errorf("reading due deliveries from live.db: %w", err)
	}
	q.bound = noBound
	if len(found) == q.limit {
		last := found[len(found)-1]
		q.bound = key{q.time(last), last.id}
	}
	for _, e := range found {
		switch have := l.entries[e.id]; {
		case have == nil:
			l.entries[e.id] = e
			l.join(q, e)
		case !have.dirty:
			l.join(q, have)
		}
	}
	for _, e := range l.dirty {
		if !e.gone && (q.which == byDeadline || e.destination == destination) {
			l.join(q, e)
		}
	}
	return nil
}

// time returns the time by which the queue orders the entry.
func (q *queue) time(e *entry) int64 {
	if q.which == byDue {
		return e.next
	}
	return e.standing.deadline
}

// join adds an entry to one queue if it belongs there and is not in it.
func (l *live) join(q *queue, e *entry) {
	belongs := !e.leased && !e.state.Final() && e.slots[q.which].index == 0 &&
		(q.which == byDue && e.state == store.Pending || q.which == byDeadline && e.standing.deadline > 0)
	if !belongs {
		return
	}
	for _, old := range q.add(e, key{q.time(e), e.id}) {
		l.evict(old)
	}
}

// release gives leases back.
func (l *live) release(ctx context.Context, ids []store.DeliveryID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.feed.unlease(ids)
	if err := l.drain(ctx, nil); err != nil {
		// What waits in the backlog may create what is released here.
		for _, id := range ids {
			l.released[id] = struct{}{}
		}
	}
	for _, id := range ids {
		e := l.entries[id]
		if e == nil || !e.leased {
			continue
		}
		e.leased = false
		l.enqueue(e)
		l.evict(e)
	}
}

// groups returns the held deliveries by aim.
func (l *live) groups(ctx context.Context) ([]store.HeldGroup, error) {
	var out []store.HeldGroup
	err := l.use(ctx, func() error {
		for g, n := range l.held {
			g.Count = n
			out = append(out, g)
		}
		return nil
	})
	return out, err
}

// statsPatience is how long Stats waits for a view that is behind. Then it shows
// what the view knows: figures must not be missing when something is wrong.
const statsPatience = 250 * time.Millisecond

// figures are what Stats shows of the view.
func (l *live) figures(ctx context.Context, st *store.Stats) {
	patience, cancel := context.WithTimeout(ctx, statsPatience)
	defer cancel()
	ask := func() error {
		st.Pending, st.Held, st.Waiting = 0, 0, map[string]int64{}
		for name, n := range l.pending {
			st.Waiting[name] += n
			st.Pending += n
		}
		for g, n := range l.held {
			st.Waiting[g.Destination] += n
			st.Held += n
		}
		st.Pending += st.Held
		if st.Pending == 0 {
			return nil
		}
		oldest, err := l.oldest(ctx)
		if oldest != nil {
			st.OldestPending = fromNanos(oldest.received)
		}
		return err
	}
	if l.use(patience, ask) != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = ask() // as good as it gets; the view reports its own troubles
	}
}

// oldest returns the oldest delivery that is not final.
func (l *live) oldest(ctx context.Context) (*entry, error) {
	var oldest *entry
	for _, e := range l.entries {
		if !e.state.Final() && (oldest == nil || e.id.Event < oldest.id.Event) {
			oldest = e
		}
	}
	from := firstKey
	for {
		found, err := l.db.list(ctx, "SELECT "+liveColumns+" FROM live WHERE (at, key) > (?, ?) ORDER BY at, key LIMIT 16",
			posInt(from.id.Event), int64(from.id.Key))
		if err != nil || len(found) == 0 {
			return oldest, err
		}
		if e := l.firstAlive(found); e != nil {
			if oldest == nil || e.id.Event < oldest.id.Event {
				oldest = e
			}
			return oldest, nil
		}
		from.id = found[len(found)-1].id
	}
}

func (l *live) firstAlive(found []*entry) *entry {
	for _, e := range found {
		if have := l.entries[e.id]; have == nil || !have.state.Final() {
			return e
		}
	}
	return nil
}

// Claim implements store.Queue.
func (s *Store) Claim(ctx context.Context, req store.ClaimRequest) (claimed []*store.Claimed, next time.Time, err error) {
	picks, due, err := s.live.pick(ctx, req)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("claiming deliveries: %w", err)
	}
	for i := range picks {
		c, fillErr := s.fill(&picks[i])
		if fillErr != nil {
			if !s.lost(ctx, &picks[i], fillErr) {
				err = fillErr
			}
			continue
		}
		claimed = append(claimed, c)
	}
	if len(claimed) == 0 && err != nil {
		return nil, time.Time{}, fmt.Errorf("reading the event of a claimed delivery: %w", err)
	}
	return claimed, fromNanos(due), nil
}

func (s *Store) giveBack(picks []picked) {
	ids := make([]store.DeliveryID, len(picks))
	for i := range picks {
		ids[i] = picks[i].row.id
	}
	s.live.release(s.ctx, ids)
}

// fill reads what a claimed delivery needs from the journal.
func (s *Store) fill(p *picked) (*store.Claimed, error) {
	c := &store.Claimed{
		Delivery: p.row.delivery(p.stand.deadline), Attempts: p.stand.counted, Made: p.stand.attempts,
		DueAt: fromNanos(p.due), Held: p.stand.state == store.Held,
	}
	rec, err := s.journal.Read(p.row.id.Event)
	if err != nil {
		return nil, err
	}
	if rec.Event == nil {
		return nil, fault.New(fault.NotFound, "event_not_found", "there is no event at %s", p.row.id.Event)
	}
	c.Event = withoutDeliveries(rec.Event)
	if p.stand.last != 0 {
		if rec, err := s.journal.Read(p.stand.last); err == nil {
			c.Last = rec.Outcome
		}
	}
	return c, nil
}

// lost ends a delivery whose event is gone for good, so that it is seen. It gives
// back one that failed for a reason that may pass, and returns false.
func (s *Store) lost(ctx context.Context, p *picked, why error) bool {
	o := &store.Outcome{
		Delivery: p.row.id, Time: s.now(), State: store.Dead, Class: "event_damaged",
		Reason: "the stored event cannot be read: its bytes are damaged",
	}
	if fault.Is(why, fault.NotFound) {
		o.State, o.Class, o.Reason = store.Expired, expiredClass, expiredReason
	} else if f, ok := errors.AsType[*fault.Error](why); !ok || f.Kind != fault.Internal {
		// Only the journal's own word that bytes are damaged is final.
		s.giveBack([]picked{*p})
		return false
	}
	s.log.ErrorContext(ctx, "the event of a delivery cannot be read",
		slog.String("delivery", p.row.id.String()), slog.Any("error", why))
	//nolint:contextcheck // what is submitted outlives the one who claims
	s.journal.Submit(&store.Batch{Outcomes: []*store.Outcome{o}, Reserve: true}, func(err error) {
		if err != nil {
			s.group.Go(func() { s.giveBack([]picked{*p}) })
		}
	})
	return true
}

// Release implements store.Queue.
func (s *Store) Release(ids ...store.DeliveryID) { s.live.release(s.ctx, ids) }

// Wake implements store.Queue.
func (s *Store) Wake() <-chan struct{} { return s.live.wakeup }

// Held implements store.Queue.
func (s *Store) Held(ctx context.Context) ([]store.HeldGroup, error) {
	groups, err := s.live.groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("counting held deliveries: %w", err)
	}
	sortGroups(groups)
	return groups, nil
}
