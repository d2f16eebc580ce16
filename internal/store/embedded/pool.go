package embedded

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"github.com/grapnel/grapnel/internal/store/journal"
)

// openIndexes is how many index files stay open.
const openIndexes = 16

// pool keeps the index files that were used last open. More than openIndexes are
// open only while more than that many are in use at the same time.
type pool struct {
	dir     string
	journal *journal.Journal

	mu   sync.Mutex      // guards what follows; held while a file is opened
	open []*segmentIndex // the one that was used last is the last
	idle sync.Cond       // of mu: a file was put back
}

func newPool(dir string, j *journal.Journal) *pool {
	p := &pool{dir: dir, journal: j}
	p.idle.L = &p.mu
	return p
}

// get returns the index file of the segment, opening it if need be. Whoever gets
// it gives it back with put.
func (p *pool) get(ctx context.Context, number uint32) (*segmentIndex, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.open, func(s *segmentIndex) bool { return s.number == number })
	if i >= 0 {
		s := p.open[i]
		p.open = append(slices.Delete(p.open, i, i+1), s)
		s.users++
		return s, nil
	}
	s, err := openSegment(ctx, p.dir, number, p.journal)
	if err != nil {
		return nil, err
	}
	s.users = 1
	p.open = append(p.open, s)
	return s, p.shrink()
}

func (p *pool) put(s *segmentIndex) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	p.idle.Broadcast()
}

// shrink closes the files that were used longest ago.
func (p *pool) shrink() error {
	var errs []error
	for i := 0; len(p.open) > openIndexes && i < len(p.open); {
		if p.open[i].users > 0 {
			i++
			continue
		}
		errs = append(errs, p.open[i].close())
		p.open = slices.Delete(p.open, i, i+1)
	}
	return errors.Join(errs...)
}

// remove waits until nobody uses the file, closes and unlinks it. A file that is
// unlinked while SQLite has it open could take its successor's log with it.
func (p *pool) remove(number uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.closeLocked(number), removeDB(filepath.Join(p.dir, indexName(number))))
}

func (p *pool) closeLocked(number uint32) error {
	for {
		i := slices.IndexFunc(p.open, func(s *segmentIndex) bool { return s.number == number })
		if i < 0 {
			return nil
		}
		s := p.open[i]
		if s.users == 0 {
			p.open = slices.Delete(p.open, i, i+1)
			return s.close()
		}
		p.idle.Wait()
	}
}

func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.open {
		errs = append(errs, s.close())
	}
	p.open = nil
	return errors.Join(errs...)
}
