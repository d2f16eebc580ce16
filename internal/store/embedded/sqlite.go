package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/grapnel/grapnel/internal/store"
)

// Durability of a SQLite file. The views may lose their last transactions when
// the system fails: the position in the same transaction says so. State may not.
const (
	syncNormal = "NORMAL"
	syncFull   = "FULL"
)

// openDB opens the SQLite file at path, making it if need be, with at most conns
// connections.
func openDB(path, synchronous string, conns int) (*sql.DB, error) {
	query := url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + synchronous + ")",
			"fullfsync(1)", "checkpoint_fullfsync(1)", "journal_size_limit(16777216)",
		},
	}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}
	// SQLite gives its companions the mode of the file; ours is for the owner only.
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		_ = f.Close() // nothing was written; what is wrong with it SQLite says better
	}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// removeDB unlinks a SQLite file and what belongs to it.
func removeDB(path string) error {
	var errs []error
	for _, suffix := range [...]string{"-wal", "-shm", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sizeDB returns the bytes on disk of a SQLite file and what belongs to it.
func sizeDB(path string) int64 {
	var n int64
	for _, suffix := range [...]string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

// damaged reports whether err says that the file itself is broken, so that
// nothing but rebuilding it helps.
func damaged(err error) bool {
	if _, ok := errors.AsType[*staleError](err); ok {
		return true
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT,
		sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH:
		// SQLITE_ERROR is a missing table or column: our statements are fixed,
		// so the file is not what its version says.
		return true
	}
	// A short file that was cut in the middle of a page.
	return e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ
}

// staleError says why a view that can be read must be rebuilt all the same.
type staleError struct {
	why string
	// beyond is how far the view had read a journal that ends at end; 0 if that
	// is not why.
	beyond, end store.Position
}

func (e *staleError) Error() string { return e.why }

func stale(format string, args ...any) error { return &staleError{why: fmt.Sprintf(format, args...)} }

// userVersion reads the schema version of the file; 0 for a new one.
func userVersion(ctx context.Context, db *sql.DB) (int, error) {
	var v int
	err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// createSchema makes the tables of a file that has none and marks it with
// version; it returns a staleError for a file of another version.
func createSchema(ctx context.Context, db *sql.DB, version int, schema string) error {
	have, err := userVersion(ctx, db)
	if err != nil || have == version {
		return err
	}
	if have != 0 {
		return stale("schema version %d, want %d", have, version)
	}
	return inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
		return err
	})
}

// inTx runs fn in a transaction and commits it unless fn fails.
func inTx(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// rows runs a query and calls fn for each row.
func rows(ctx context.Context, q querier, query string, args []any, fn func(*sql.Rows) error) error {
	found, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer found.Close() //nolint:errcheck // Err below says what matters
	for found.Next() {
		if err := fn(found); err != nil {
			return err
		}
	}
	return found.Err()
}

// querier is what *sql.DB and *sql.Tx have in common for reading.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// SQLite's integers have a sign; positions and keys are stored bit by bit.
func posInt(p store.Position) int64 { return int64(p) }
func intPos(n int64) store.Position { return store.Position(uint64(n)) }
