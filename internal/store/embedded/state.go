package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

const (
	stateFile    = "state.db"
	stateVersion = 1
)

// Versions come from one counter for all keys, so that a record that was deleted
// and made again never has a version that it had before.
const stateSchema = `
CREATE TABLE state(key BLOB PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counter(last INTEGER NOT NULL);
INSERT INTO counter VALUES(0);
`

// state is the only copy of what it holds: every commit is synced.
type state struct {
	db  *sql.DB
	now func() time.Time
}

// openState opens state.db. Returns Permanent with code state_unreadable if the
// file is damaged and Invalid with code state_newer if a newer program wrote it.
func openState(ctx context.Context, dir string, now func() time.Time) (*state, error) {
	path := filepath.Join(dir, stateFile)
	db, err := openDB(path, syncFull, 2)
	if err != nil {
		return nil, err
	}
	if err := checkState(ctx, db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &state{db: db, now: now}, nil
}

func checkState(ctx context.Context, db *sql.DB, path string) error {
	version, err := userVersion(ctx, db)
	if err == nil && version > stateVersion {
		return fault.New(fault.Invalid, "state_newer", "%s has schema version %d, this program knows %d", path, version, stateVersion).
			WithHint("start the newer grapnel that wrote it, or restore a backup made by this version")
	}
	if err == nil {
		err = createSchema(ctx, db, stateVersion, stateSchema)
	}
	if err == nil {
		err = quickCheck(ctx, db)
	}
	if err != nil {
		return fault.Wrap(fault.Permanent, err, "state_unreadable", "%s cannot be read", path).
			WithHint("restore the file from a backup; without one move it away: " +
				"resources made at run time, disabled flags and cursors are then lost, events and deliveries are not")
	}
	return nil
}

// quickCheck reads the whole file; state is small.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return stale("damaged: %s", verdict)
	}
	return nil
}

func (s *state) get(ctx context.Context, key string) (store.StateRecord, error) {
	rec := store.StateRecord{Key: key}
	var updated int64
	err := s.db.QueryRowContext(ctx, "SELECT version, value, updated FROM state WHERE key = ?", []byte(key)).
		Scan(&rec.Version, &rec.Value, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return store.StateRecord{}, fault.New(fault.NotFound, "state_not_found", "there is no record %q", key)
	}
	if err != nil {
		return store.StateRecord{}, fmt.Errorf("reading state %q: %w", key, err)
	}
	rec.Updated = fromNanos(updated)
	return rec, nil
}

func (s *state) list(ctx context.Context, prefix string) ([]store.StateRecord, error) {
	query, args := "SELECT key, version, value, updated FROM state WHERE key >= ?", []any{[]byte(prefix)}
	if end := prefixEnd(prefix); end != nil {
		query, args = query+" AND key < ?", append(args, end)
	}
	var out []store.StateRecord
	err := rows(ctx, s.db, query+" ORDER BY key", args, func(r *sql.Rows) error {
		var rec store.StateRecord
		var key []byte
		var updated int64
		if err := r.Scan(&key, &rec.Version, &rec.Value, &updated); err != nil {
			return err
		}
		rec.Key, rec.Updated = string(key), fromNanos(updated)
		out = append(out, rec)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing state %q: %w", prefix, err)
	}
	return out, nil
}

// prefixEnd returns the smallest key behind all those that start with prefix; nil
// if there is none.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

func (s *state) compareAndSwap(ctx context.Context, key string, version int64, value []byte) (next int64, err error) {
	err = inTx(ctx, s.db, func(tx *sql.Tx) error {
		next, err = s.swap(ctx, tx, key, version, value)
		return err
	})
	if err != nil && fault.KindOf(err) != fault.Conflict {
		return 0, fmt.Errorf("storing state %q: %w", key, err)
	}
	return next, err
}

func (s *state) swap(ctx context.Context, tx *sql.Tx, key string, version int64, value []byte) (int64, error) {
	var have int64
	err := tx.QueryRowContext(ctx, "SELECT version FROM state WHERE key = ?", []byte(key)).Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if have != version {
		return 0, fault.New(fault.Conflict, "state_changed", "record %q has version %d, not %d", key, have, version).
			WithHint("read it again and decide anew")
	}
	if value == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM state WHERE key = ?", []byte(key))
		return 0, err
	}
	var next int64
	if err := tx.QueryRowContext(ctx, "UPDATE counter SET last = last + 1 RETURNING last").Scan(&next); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO state VALUES(?, ?, ?, ?) ON CONFLICT(key) DO UPDATE"+
		" SET version = excluded.version, value = excluded.value, updated = excluded.updated",
		[]byte(key), next, value, nanos(s.now()))
	return next, err
}

func (s *state) close() error { return s.db.Close() }
