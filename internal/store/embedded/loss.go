package embedded

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// lossPrefix is where the state keeps what is missing of the journal.
const lossPrefix = "journal/missing/"

// losses are the places behind which committed records are missing. The journal
// cannot know: a segment that was removed, or cut at its end, looks like one
// that never went further. A view that had read more gives it away.
type losses struct {
	mu   sync.Mutex // guards list
	list []store.Damage
}

// since returns the losses that are not below the position.
func (l *losses) since(floor store.Position) []store.Damage {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []store.Damage
	for _, d := range l.list {
		if d.Segment >= uint32(floor>>32) {
			out = append(out, d)
		}
	}
	return out
}

// missing notes that a view had read up to a position that the journal does not
// reach, and keeps that for the starts to come: the view is made anew and will
// not know it then.
func (s *Store) missing(ctx context.Context, view string, beyond, end store.Position) {
	d := store.Damage{
		Segment: uint32(end >> 32), Offset: int64(end & 0xffffffff),
		Reason: fmt.Sprintf("committed records behind this place are missing: %s had read the journal up to %s", view, beyond),
	}
	if beyond>>32 == end>>32 {
		d.Length = int64(beyond - end)
	}
	s.losses.mu.Lock()
	for _, known := range s.losses.list {
		if known.Segment == d.Segment && known.Offset == d.Offset {
			s.losses.mu.Unlock()
			return
		}
	}
	s.losses.list = append(s.losses.list, d)
	s.losses.mu.Unlock()
	s.log.ErrorContext(ctx, "committed records are missing at the end of the journal: were files of the data directory removed or replaced?",
		slog.String("view", view), slog.String("view_ends", beyond.String()), slog.String("journal_ends", end.String()))
	value, err := json.Marshal(d)
	if err == nil {
		_, err = s.state.compareAndSwap(ctx, lossPrefix+end.String(), 0, value)
	}
	if err != nil && !fault.Is(err, fault.Conflict) {
		s.log.ErrorContext(ctx, "the loss could not be written down", slog.Any("error", err))
	}
}

// loadLosses reads what earlier starts have found.
func (s *Store) loadLosses(ctx context.Context) error {
	records, err := s.state.list(ctx, lossPrefix)
	if err != nil {
		return fmt.Errorf("reading known losses: %w", err)
	}
	for _, r := range records {
		var d store.Damage
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return fmt.Errorf("reading state %s: %w", r.Key, err)
		}
		s.losses.list = append(s.losses.list, d)
	}
	return nil
}
