package embedded

import "context"

// Collide makes all dedupe keys share one fingerprint.
func Collide(c *Config) { c.fingerprint = func(string) uint64 { return 7 } }

// Tighten makes all bounds of memory so small that they are met all the time.
func Tighten(c *Config) {
	c.limits = limits{liveFeed: 5, liveFlush: 3, liveDirty: 20, liveQueue: 2, indexFeed: 4, indexFlush: 2, chunk: 3}
}

// Fill keeps live.db and the newest index from growing, as a full disk does; free
// ends that.
func Fill(ctx context.Context, s *Store) (free func() error, err error) {
	file, err := s.index.pool.get(ctx, segmentOf(s.journal.Horizon()))
	if err != nil {
		return nil, err
	}
	limit := func(pages string) error {
		s.live.mu.Lock()
		defer s.live.mu.Unlock()
		if _, err := s.live.db.db.ExecContext(ctx, "PRAGMA max_page_count = "+pages); err != nil {
			return err
		}
		_, err := file.write.ExecContext(ctx, "PRAGMA max_page_count = "+pages)
		return err
	}
	return func() error {
		defer s.index.pool.put(file)
		return limit("1000000")
	}, limit("1")
}
