package embedded

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

const (
	liveFile    = "live.db"
	liveVersion = 1
)

// meta holds one row: the position below which every record is in the file, the
// same for the indexes, and an event by which the file is known to belong to this
// journal. indexes holds, for each index file, the position that it had reached
// when the row was written: a file that is behind it has lost transactions.
const liveSchema = `
CREATE TABLE meta(one INTEGER PRIMARY KEY, applied INTEGER NOT NULL, indexed INTEGER NOT NULL, mark_at INTEGER NOT NULL, mark_id TEXT NOT NULL);
INSERT INTO meta VALUES(1, 0, 0, 0, '');
CREATE TABLE indexes(segment INTEGER PRIMARY KEY, applied INTEGER NOT NULL);
CREATE TABLE live(
	at INTEGER, key INTEGER, created INTEGER NOT NULL,
	rule TEXT NOT NULL, target TEXT NOT NULL, destination TEXT NOT NULL, run TEXT NOT NULL, hold TEXT NOT NULL,
	origin INTEGER NOT NULL, mode INTEGER NOT NULL, not_before INTEGER NOT NULL,
	received INTEGER NOT NULL, size INTEGER NOT NULL,
	state INTEGER NOT NULL, attempts INTEGER NOT NULL, counted INTEGER NOT NULL, next INTEGER NOT NULL,
	deadline INTEGER NOT NULL, class TEXT NOT NULL, last INTEGER NOT NULL,
	PRIMARY KEY(at, key)) WITHOUT ROWID;
CREATE INDEX live_due ON live(destination, next, at, key) WHERE state = 1;
CREATE INDEX live_deadline ON live(deadline, at, key) WHERE deadline > 0;
CREATE INDEX live_held ON live(rule, target, destination, class) WHERE state = 2;
CREATE INDEX live_sync ON live(mode) WHERE mode = 2;
`

const liveColumns = `at, key, created, rule, target, destination, run, hold, origin, mode, not_before,
	received, size, state, attempts, counted, next, deadline, class, last`

// liveDB is the file live.db. It is used by one goroutine at a time.
type liveDB struct {
	path            string
	db              *sql.DB
	get, put, erase *sql.Stmt
	applied         store.Position
	rows            bool // there may be rows
	// pending and held are what the rows said when the file was opened.
	pending map[string]int64 // by destination
	held    map[store.HeldGroup]int64
}

// openLiveDB opens live.db and checks that it belongs to the journal and is not
// ahead of it. Any error that is damaged means that it must be rebuilt.
func openLiveDB(ctx context.Context, dir string, j *journal.Journal) (*liveDB, error) {
	d := &liveDB{path: filepath.Join(dir, liveFile)}
	var err error
	if d.db, err = openDB(d.path, syncNormal, 1); err != nil {
		return nil, err
	}
	if err := d.check(ctx, j); err != nil {
		return nil, errors.Join(err, d.db.Close())
	}
	return d, nil
}

func (d *liveDB) check(ctx context.Context, j *journal.Journal) error {
	if err := createSchema(ctx, d.db, liveVersion, liveSchema); err != nil {
		return err
	}
	var applied, markAt int64
	var markID string
	if err := d.db.QueryRowContext(ctx, "SELECT applied, mark_at, mark_id FROM meta").
		Scan(&applied, &markAt, &markID); err != nil {
		return staleIfMissing(err)
	}
	d.applied = intPos(applied)
	if err := checkMark(j, d.applied, intPos(markAt), markID); err != nil {
		return err
	}
	first := j.Segments()[0].Start()
	if d.applied < first && d.applied != 0 {
		return stale("it ends at %s, the journal begins at %s", d.applied, first)
	}
	if _, err := d.db.ExecContext(ctx, "DELETE FROM live WHERE at < ?", posInt(first)); err != nil {
		return err
	}
	d.rows = true
	for _, s := range [...]struct {
		stmt  **sql.Stmt
		query string
	}{
		{&d.get, "SELECT " + liveColumns + " FROM live WHERE at = ? AND key = ?"},
		{&d.put, "INSERT OR REPLACE INTO live(" + liveColumns + ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"},
		{&d.erase, "DELETE FROM live WHERE at = ? AND key = ?"},
	} {
		var err error
		if *s.stmt, err = d.db.PrepareContext(ctx, s.query); err != nil { //nolint:sqlclosecheck // closed with the file
			return err
		}
	}
	var err error
	d.pending, d.held, err = d.counts(ctx)
	return err
}

// staleIfMissing turns a missing row into a reason for a rebuild.
func staleIfMissing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return stale("its first table is empty")
	}
	return err
}

// checkMark says whether a view that has reached applied and met the event markID
// at markAt is a view of this journal.
func checkMark(j *journal.Journal, applied, markAt store.Position, markID string) error {
	if end := journalEnd(j, applied); applied > end {
		return &staleError{why: fmt.Sprintf("it ends at %s, the journal at %s", applied, end), beyond: applied, end: end}
	}
	if markAt == 0 || markAt < j.Segments()[0].Start() {
		return nil
	}
	rec, _, err := j.ReadHead(markAt)
	if err == nil && (rec.Event == nil || string(rec.Event.Envelope.ID) != markID) ||
		fault.Is(err, fault.NotFound) {
		return stale("event %s at %s is not in this journal", markID, markAt)
	}
	// A damaged record proves nothing; the view may well be all that is left.
	return nil
}

// journalEnd returns where the journal ends as far as a view that has reached a
// position can tell: at the end of that segment's bytes, even if the journal has
// begun another segment since, or at the horizon.
func journalEnd(j *journal.Journal, at store.Position) store.Position {
	for _, seg := range j.Segments() {
		if seg.Start()>>32 == at>>32 {
			return min(seg.Start()+store.Position(seg.Bytes), j.Horizon())
		}
	}
	return j.Horizon()
}

func (d *liveDB) close() error { return d.db.Close() }

// row reads the delivery; nil if there is none.
func (d *liveDB) row(ctx context.Context, id store.DeliveryID) (*entry, error) {
	if !d.rows {
		return nil, nil //nolint:nilnil // documented
	}
	e, err := scanLive(d.get.QueryRowContext(ctx, posInt(id.Event), int64(id.Key)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented
	}
	return e, err
}

func scanLive(scan func(...any) error) (*entry, error) {
	e := &entry{stored: true}
	var at, k, created, last int64
	err := scan(&at, &k, &created, &e.rule, &e.target, &e.destination, &e.run, &e.hold, &e.origin, &e.mode,
		&e.notBefore, &e.received, &e.size, &e.state, &e.attempts, &e.counted, &e.next, &e.standing.deadline,
		&e.class, &last)
	e.id = store.DeliveryID{Event: intPos(at), Key: uint64(k)}
	e.created, e.last = intPos(created), intPos(last)
	return e, err
}

// heldReason is the code under which a held delivery is counted.
func (s *standing) heldReason() string { return cmp.Or(s.class, s.reason) }

// savepoint is what a flush writes beside the rows.
type savepoint struct {
	applied store.Position
	markAt  store.Position // 0: as it was
	markID  string
	indexed store.Position // 0: as it was
	indexes map[uint32]store.Position
}

// save writes the entries that differ from their rows, and the savepoint, in one
// transaction.
func (d *liveDB) save(ctx context.Context, dirty []*entry, sp savepoint) error {
	err := inTx(ctx, d.db, func(tx *sql.Tx) error {
		put, erase := tx.StmtContext(ctx, d.put), tx.StmtContext(ctx, d.erase)
		for _, e := range dirty {
			if err := saveEntry(ctx, put, erase, e); err != nil {
				return err
			}
		}
		return saveMeta(ctx, tx, sp)
	})
	if err == nil {
		d.applied = sp.applied
		d.rows = d.rows || len(dirty) > 0
	}
	return err
}

func saveEntry(ctx context.Context, put, erase *sql.Stmt, e *entry) error {
	if e.state.Final() {
		if !e.stored {
			return nil
		}
		_, err := erase.ExecContext(ctx, posInt(e.id.Event), int64(e.id.Key))
		return err
	}
	class := e.class
	if e.state == store.Held {
		class = e.heldReason()
	}
	_, err := put.ExecContext(ctx, posInt(e.id.Event), int64(e.id.Key), posInt(e.created), e.rule, e.target,
		e.destination, e.run, e.hold, int(e.origin), int(e.mode), e.notBefore, e.received, e.size, int(e.state),
		e.attempts, e.counted, e.next, e.standing.deadline, class, posInt(e.last))
	return err
}

func saveMeta(ctx context.Context, tx *sql.Tx, sp savepoint) error {
	// A file that is being made anew takes the position back.
	if _, err := tx.ExecContext(ctx, "UPDATE meta SET applied = ?1, indexed = CASE ?2 WHEN 0 THEN indexed ELSE ?2 END",
		posInt(sp.applied), posInt(sp.indexed)); err != nil {
		return err
	}
	if sp.markAt != 0 {
		if _, err := tx.ExecContext(ctx, "UPDATE meta SET mark_at = ?, mark_id = ?", posInt(sp.markAt), sp.markID); err != nil {
			return err
		}
	}
	for segment, applied := range sp.indexes {
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO indexes VALUES(?, ?)", segment, posInt(applied)); err != nil {
			return err
		}
	}
	return nil
}

// indexes returns how far the indexes had got when that was last written.
func (d *liveDB) indexes(ctx context.Context) (indexed store.Position, files map[uint32]store.Position, err error) {
	var n int64
	if err := d.db.QueryRowContext(ctx, "SELECT indexed FROM meta").Scan(&n); err != nil {
		return 0, nil, err
	}
	files = map[uint32]store.Position{}
	err = rows(ctx, d.db, "SELECT segment, applied FROM indexes", nil, func(r *sql.Rows) error {
		var segment uint32
		var applied int64
		if err := r.Scan(&segment, &applied); err != nil {
			return err
		}
		files[segment] = intPos(applied)
		return nil
	})
	return intPos(n), files, err
}

// list reads rows in the order of a query that selects liveColumns.
func (d *liveDB) list(ctx context.Context, query string, args ...any) (out []*entry, err error) {
	err = rows(ctx, d.db, query, args, func(r *sql.Rows) error {
		e, err := scanLive(r.Scan)
		if err == nil {
			out = append(out, e)
		}
		return err
	})
	return out, err
}

// counts returns the number of pending deliveries and, by aim, that of held ones.
func (d *liveDB) counts(ctx context.Context) (pending map[string]int64, held map[store.HeldGroup]int64, err error) {
	pending = map[string]int64{}
	err = rows(ctx, d.db, "SELECT destination, count(*) FROM live WHERE state = 1 GROUP BY destination", nil, func(r *sql.Rows) error {
		var name string
		var n int64
		if err := r.Scan(&name, &n); err != nil {
			return err
		}
		pending[name] = n
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	held = map[store.HeldGroup]int64{}
	err = rows(ctx, d.db, "SELECT rule, target, destination, class, count(*) FROM live WHERE state = 2"+
		" GROUP BY rule, target, destination, class", nil, func(r *sql.Rows) error {
		var g store.HeldGroup
		var n int64
		if err := r.Scan(&g.Rule, &g.Target, &g.Destination, &g.Reason, &n); err != nil {
			return err
		}
		held[g] = n
		return nil
	})
	return pending, held, err
}
