package embedded

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
	// maxRanges is how many kinds or aims are read as ranges of their own; with
	// more of them whatever matches is found soon enough without.
	maxRanges = 64
)

func limitOf(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// where collects conditions and their arguments.
type where struct {
	terms []string
	args  []any
}

func (w *where) and(term string, args ...any) {
	w.terms = append(w.terms, term)
	w.args = append(w.args, args...)
}

func (w *where) with(term string, args ...any) where {
	c := where{slices.Clone(w.terms), slices.Clone(w.args)}
	c.and(term, args...)
	return c
}

func (w *where) String() string {
	if len(w.terms) == 0 {
		return "1"
	}
	return strings.Join(w.terms, " AND ")
}

// times says which positions can hold what was received in [since, until), by the
// blocks; empty says that there are none. Zero times do not limit.
func (s *segmentIndex) times(ctx context.Context, since, until int64) (low, high int64, empty bool, err error) {
	low, high = posInt(s.start()), posInt(s.start())+1<<32-1
	ask := func(query string, arg int64, out *int64) error {
		err := s.read.QueryRowContext(ctx, query, arg).Scan(out)
		if errors.Is(err, sql.ErrNoRows) {
			empty = true
			return nil
		}
		return err
	}
	if since != 0 {
		err = ask("SELECT first FROM blocks WHERE newest >= ? ORDER BY first LIMIT 1", since, &low)
	}
	if err == nil && until != 0 {
		err = ask("SELECT last FROM blocks WHERE oldest < ? ORDER BY first DESC LIMIT 1", until, &high)
	}
	return low, high, empty, err
}

// outside reports whether nothing of the segment was received in [since, until).
// The times of a segment are those of all its records.
func outside(seg journal.Segment, since, until int64) bool {
	return since != 0 && !seg.Last.IsZero() && nanos(seg.Last) < since ||
		until != 0 && !seg.First.IsZero() && nanos(seg.First) >= until
}

// kindsOf returns the kinds that the query names, nil if it names none.
func (s *segmentIndex) kindsOf(q *store.EventQuery) (ids []int64, named bool) {
	if q.Bus == "" && q.Source == "" && q.Type == "" && q.Endpoint == "" {
		return nil, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for k, id := range s.kinds {
		if matches(q.Bus, k.bus) && matches(q.Source, k.source) && matches(q.Type, k.kind) && matches(q.Endpoint, k.endpoint) {
			ids = append(ids, id)
		}
	}
	return ids, true
}

func matches(want, have string) bool { return want == "" || want == have }

// Events implements store.Reader.
func (s *Store) Events(ctx context.Context, q store.EventQuery) (store.EventPage, error) {
	if err := s.index.reach(ctx); err != nil {
		return store.EventPage{}, err
	}
	limit := limitOf(q.Limit)
	segments := s.journal.Segments()
	if !q.Ascending {
		slices.Reverse(segments)
	}
	var page store.EventPage
	for _, seg := range segments {
		if q.After != 0 && (q.Ascending && seg.Number < segmentOf(q.After) || !q.Ascending && seg.Number > segmentOf(q.After)) ||
			outside(seg, nanos(q.Since), nanos(q.Until)) {
			continue
		}
		want := limit + 1 - len(page.Events)
		var found []store.EventSummary
		err := s.withIndex(ctx, seg.Number, func(file *segmentIndex) error {
			at, err := file.findEvents(ctx, &q, want)
			if err == nil {
				found, err = s.summaries(ctx, file, at, q.Headers)
			}
			return err
		})
		if err != nil {
			return store.EventPage{}, fmt.Errorf("listing events: %w", err)
		}
		if page.Events = append(page.Events, found...); len(page.Events) > limit {
			page.Events = page.Events[:limit]
			page.Next = page.Events[limit-1].At
			break
		}
	}
	return page, nil
}

// findEvents returns the positions of the first n events of the file that the
// query asks for, in its order.
func (s *segmentIndex) findEvents(ctx context.Context, q *store.EventQuery, n int) ([]store.Position, error) {
	since, until := nanos(q.Since), nanos(q.Until)
	low, high, empty, err := s.times(ctx, since, until)
	kinds, named := s.kindsOf(q)
	if err != nil || empty || named && len(kinds) == 0 {
		return nil, err
	}
	if q.After != 0 && q.Ascending {
		low = max(low, posInt(q.After)+1)
	} else if q.After != 0 {
		high = min(high, posInt(q.After)-1)
	}
	var w where
	w.and(atOf(q)+" BETWEEN ? AND ?", low, high)
	if since != 0 {
		w.and("received >= ?", since)
	}
	if until != 0 {
		w.and("received < ?", until)
	}
	if q.Unmatched {
		w.and("flags & 2")
	}
	if q.Duplicates {
		w.and("flags & 1")
	}
	order := "DESC"
	if q.Ascending {
		order = "ASC"
	}
	return s.runEvents(ctx, q, &w, kinds, named, order, n)
}

// atOf names the column by which the query's rows are ordered: with a state that
// is rare they come from the deliveries.
func atOf(q *store.EventQuery) string {
	if q.State != 0 && q.State != store.Delivered {
		return "d.at"
	}
	return "e.at"
}

// runEvents picks the way into the file that meets the fewest rows that are not
// asked for.
func (s *segmentIndex) runEvents(
	ctx context.Context, q *store.EventQuery, w *where, kinds []int64, named bool, order string, n int,
) ([]store.Position, error) {
	run := func(from string, w where) (out []store.Position, err error) {
		err = rows(ctx, s.read, "SELECT DISTINCT "+atOf(q)+" FROM "+from+" WHERE "+w.String()+
			" ORDER BY "+atOf(q)+" "+order+" LIMIT ?", append(slices.Clone(w.args), n), scanPositions(&out))
		return out, err
	}
	byKind := named && len(kinds) <= maxRanges
	switch {
	case q.State != 0 && q.State != store.Delivered:
		// The state has an index; of its few rows the rest is checked.
		if named {
			w.and("kind IN (" + integers(kinds) + ")")
		}
		w.and(fmt.Sprintf("d.state = %d AND d.state <> 3", q.State))
		return run("deliveries d INDEXED BY deliveries_state CROSS JOIN events e ON e.at = d.at", *w)
	case q.State != 0:
		w.and("EXISTS(SELECT 1 FROM deliveries d WHERE d.at = e.at AND d.state = 3)")
	case q.Unmatched || q.Duplicates:
		if named {
			w.and("kind IN (" + integers(kinds) + ")")
		}
		name := "events_duplicate"
		if q.Unmatched {
			name = "events_unmatched"
		}
		return run("events e INDEXED BY "+name, *w)
	}
	if !byKind {
		if named {
			w.and("kind IN (" + integers(kinds) + ")")
		}
		return run("events e NOT INDEXED", *w)
	}
	var out []store.Position
	for _, k := range kinds {
		found, err := run("events e INDEXED BY events_kind", w.with("kind = ?", k))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	if order == "DESC" {
		slices.Reverse(out)
	}
	return out[:min(n, len(out))], nil
}

func integers(all []int64) string {
	var b strings.Builder
	for i, n := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", n)
	}
	return b.String()
}

func positions(all []store.Position) string {
	out := make([]int64, len(all))
	for i, p := range all {
		out[i] = posInt(p)
	}
	return integers(out)
}

// summaries reads the events from the journal and counts their deliveries.
func (s *Store) summaries(ctx context.Context, file *segmentIndex, all []store.Position, headers bool) ([]store.EventSummary, error) {
	if len(all) == 0 {
		return nil, nil
	}
	counts := map[store.Position]map[store.DeliveryState]int{}
	err := rows(ctx, file.read, "SELECT at, state, count(*) FROM deliveries WHERE at IN ("+positions(all)+") GROUP BY at, state", nil,
		func(r *sql.Rows) error {
			var at int64
			var state store.DeliveryState
			var n int
			if err := r.Scan(&at, &state, &n); err != nil {
				return err
			}
			of := counts[intPos(at)]
			if of == nil {
				of = map[store.DeliveryState]int{}
				counts[intPos(at)] = of
			}
			of[state] = n
			return nil
		})
	if err != nil {
		return nil, err
	}
	out := make([]store.EventSummary, 0, len(all))
	for _, at := range all {
		sum, err := s.summary(ctx, file, at, headers)
		if err != nil {
			return nil, err
		}
		if sum.Event != nil {
			sum.Deliveries = counts[at]
			out = append(out, sum)
		}
	}
	return out, nil
}

// summary reads one event. Of one whose record is damaged it shows what the index
// knows; one that was just dropped is left out.
func (s *Store) summary(ctx context.Context, file *segmentIndex, at store.Position, headers bool) (store.EventSummary, error) {
	var rec store.Record
	var size int64
	var err error
	if headers {
		rec, size, err = s.journal.ReadHead(at)
	} else if rec, err = s.journal.Read(at); err == nil && rec.Event != nil {
		size = sizeOf(rec.Event)
	}
	switch {
	case err == nil && rec.Event != nil:
		return store.EventSummary{Event: withoutDeliveries(rec.Event), Size: int(size)}, nil
	case err == nil || fault.Is(err, fault.NotFound):
		return store.EventSummary{}, nil
	}
	var packed []byte
	var received, kindID int64
	err = file.read.QueryRowContext(ctx, "SELECT id, received, kind, size FROM events WHERE at = ?", posInt(at)).
		Scan(&packed, &received, &kindID, &size)
	if err != nil {
		return store.EventSummary{}, err
	}
	k := file.kindOf(kindID)
	return store.EventSummary{Size: int(size), Event: &store.Event{
		At: at, Received: fromNanos(received), Bus: k.bus, Endpoint: k.endpoint,
		Envelope: event.Envelope{ID: idText(packed), Source: k.source, DetailType: k.kind, Time: fromNanos(received)},
	}}, nil
}

// aimsOf returns the aims that the query names.
func (s *segmentIndex) aimsOf(q *store.DeliveryQuery) (ids []int64, named bool) {
	if q.Rule == "" && q.Target == "" && q.Destination == "" {
		return nil, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for a, id := range s.aims {
		if matches(q.Rule, a.rule) && matches(q.Target, a.target) && matches(q.Destination, a.destination) {
			ids = append(ids, id)
		}
	}
	return ids, true
}

// Deliveries implements store.Reader.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	if err := s.index.reach(ctx); err != nil {
		return store.DeliveryPage{}, err
	}
	limit := limitOf(q.Limit)
	segments := s.journal.Segments()
	slices.Reverse(segments)
	var page store.DeliveryPage
	for _, seg := range segments {
		if !q.After.IsZero() && seg.Number > segmentOf(q.After.Event) || q.Event != 0 && seg.Number != segmentOf(q.Event) ||
			outside(seg, nanos(q.Since), nanos(q.Until)) {
			continue
		}
		want := limit + 1 - len(page.Deliveries)
		var found []*store.DeliveryRecord
		err := s.withIndex(ctx, seg.Number, func(file *segmentIndex) (err error) {
			found, err = file.findDeliveries(ctx, &q, want)
			return err
		})
		if err != nil {
			return store.DeliveryPage{}, fmt.Errorf("listing deliveries: %w", err)
		}
		if page.Deliveries = append(page.Deliveries, found...); len(page.Deliveries) > limit {
			page.Deliveries = page.Deliveries[:limit]
			page.Next = page.Deliveries[limit-1].ID
			break
		}
	}
	return page, nil
}

// findDeliveries returns the first n deliveries of the file that the query asks
// for, newest event first.
func (s *segmentIndex) findDeliveries(ctx context.Context, q *store.DeliveryQuery, n int) ([]*store.DeliveryRecord, error) {
	since, until := nanos(q.Since), nanos(q.Until)
	low, high, empty, err := s.times(ctx, since, until)
	aims, named := s.aimsOf(q)
	if err != nil || empty || named && len(aims) == 0 {
		return nil, err
	}
	if q.Event != 0 {
		low, high = max(low, posInt(q.Event)), min(high, posInt(q.Event))
	}
	var w where
	w.and("d.at BETWEEN ? AND ?", low, high)
	if !q.After.IsZero() {
		w.and("(d.at, d.key) < (?, ?)", posInt(q.After.Event), int64(q.After.Key))
	}
	if since != 0 || until != 0 {
		if until == 0 {
			until = 1<<63 - 1
		}
		w.and("EXISTS(SELECT 1 FROM events e WHERE e.at = d.at AND e.received >= ? AND e.received < ?)", since, until)
	}
	if q.State == store.Delivered {
		w.and("d.state = 3")
	} else if q.State != 0 {
		// The second term is what the partial indexes say.
		w.and(fmt.Sprintf("d.state = %d AND d.state <> 3", q.State))
	}
	if q.Class != "" {
		w.and("d.class = ?", q.Class)
	}
	return s.runDeliveries(ctx, q, &w, aims, named, n)
}

// runDeliveries picks the way into the file that meets the fewest rows that are
// not asked for.
func (s *segmentIndex) runDeliveries(
	ctx context.Context, q *store.DeliveryQuery, w *where, aims []int64, named bool, n int,
) ([]*store.DeliveryRecord, error) {
	var out []*store.DeliveryRecord
	run := func(hint string, w where) error {
		query := "SELECT " + deliveryColumns + ", (SELECT id FROM events e WHERE e.at = d.at) FROM deliveries d " + hint +
			" WHERE " + w.String() + " ORDER BY d.at DESC, d.key DESC LIMIT ?"
		return rows(ctx, s.read, query, append(slices.Clone(w.args), n), func(r *sql.Rows) error {
			var packed []byte
			d, err := s.scanDelivery(r.Scan, &packed)
			if err == nil {
				out = append(out, d.record(idText(packed)))
			}
			return err
		})
	}
	rare := q.State != 0 && q.State != store.Delivered
	if named && len(aims) <= maxRanges && q.Event == 0 {
		hint := "INDEXED BY deliveries_aim"
		if rare {
			hint = "INDEXED BY deliveries_aim_state"
		}
		for _, a := range aims {
			if err := run(hint, w.with("d.aim = ?", a)); err != nil {
				return nil, err
			}
		}
		slices.SortFunc(out, func(a, b *store.DeliveryRecord) int {
			return cmp.Or(cmp.Compare(posInt(b.Event), posInt(a.Event)), cmp.Compare(int64(b.ID.Key), int64(a.ID.Key)))
		})
		return out[:min(n, len(out))], nil
	}
	if named {
		w.and("d.aim IN (" + integers(aims) + ")")
	}
	hint := "NOT INDEXED"
	switch {
	case q.Event != 0:
	case rare:
		hint = "INDEXED BY deliveries_state"
	case q.Class != "":
		hint = "INDEXED BY deliveries_class"
	}
	err := run(hint, *w)
	return out, err
}
