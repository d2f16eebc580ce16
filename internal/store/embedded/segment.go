package embedded

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
	"github.com/grapnel/grapnel/internal/store/journal"
)

const indexVersion = 1

// Names are stored once, as tuples: a kind is what lists of events filter by, an
// aim what lists of deliveries filter by. One index on the tuple serves every
// combination of filters: the kinds that match are few, and each is a range.
//
// A delivery that succeeded in the end is in one secondary index only, so that
// the usual delivery costs two insertions. Its newest outcome is in its row;
// only earlier ones have rows in outcomes.
//
// blocks says, for runs of events, between which times they were received, which
// leads from a time to positions without an index on every event.
const indexSchema = `
CREATE TABLE meta(one INTEGER PRIMARY KEY, applied INTEGER NOT NULL, mark_at INTEGER NOT NULL, mark_id TEXT NOT NULL);
INSERT INTO meta VALUES(1, 0, 0, '');
CREATE TABLE kinds(id INTEGER PRIMARY KEY, bus TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, endpoint TEXT NOT NULL);
CREATE TABLE aims(id INTEGER PRIMARY KEY, rule TEXT NOT NULL, target TEXT NOT NULL, destination TEXT NOT NULL);
CREATE TABLE events(at INTEGER PRIMARY KEY, id BLOB NOT NULL, received INTEGER NOT NULL, kind INTEGER NOT NULL,
	fingerprint INTEGER, size INTEGER NOT NULL, flags INTEGER NOT NULL);
CREATE INDEX events_id ON events(id);
CREATE INDEX events_kind ON events(kind);
CREATE INDEX events_duplicate ON events(at) WHERE flags & 1;
CREATE INDEX events_unmatched ON events(at) WHERE flags & 2;
CREATE TABLE blocks(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, events INTEGER NOT NULL,
	oldest INTEGER NOT NULL, newest INTEGER NOT NULL);
CREATE TABLE deliveries(at INTEGER, key INTEGER, created INTEGER NOT NULL, aim INTEGER NOT NULL,
	run TEXT, hold TEXT, origin INTEGER NOT NULL, mode INTEGER NOT NULL, not_before INTEGER NOT NULL,
	state INTEGER NOT NULL, attempts INTEGER NOT NULL, counted INTEGER NOT NULL, next INTEGER NOT NULL,
	updated INTEGER NOT NULL, deadline INTEGER NOT NULL, status INTEGER NOT NULL, class TEXT, reason TEXT,
	last INTEGER NOT NULL, PRIMARY KEY(at, key)) WITHOUT ROWID;
CREATE INDEX deliveries_aim ON deliveries(aim);
CREATE INDEX deliveries_state ON deliveries(state) WHERE state <> 3;
CREATE INDEX deliveries_aim_state ON deliveries(aim, state) WHERE state <> 3;
CREATE INDEX deliveries_class ON deliveries(class) WHERE class IS NOT NULL;
CREATE TABLE outcomes(at INTEGER, key INTEGER, pos INTEGER, PRIMARY KEY(at, key, pos)) WITHOUT ROWID;
`

// Flags of an event's row.
const (
	flagDuplicate = 1
	flagUnmatched = 2
)

// kind and aim are the tuples that stand behind the numbers.
type (
	kind struct{ bus, source, kind, endpoint string }
	aim  struct{ rule, target, destination string }
)

// statements are what the writer prepares.
type statements struct {
	insertEvents, insertDeliveries [2]*sql.Stmt // of one row and of rowsAtOnce rows
	insertOutcome, selectDelivery  *sql.Stmt
	updateDelivery, matched        *sql.Stmt
}

// in returns the statements for a transaction, with which they are closed.
func (s *statements) in(ctx context.Context, tx *sql.Tx) statements {
	bind := func(stmt *sql.Stmt) *sql.Stmt { return tx.StmtContext(ctx, stmt) }
	two := func(stmts [2]*sql.Stmt) [2]*sql.Stmt { return [2]*sql.Stmt{bind(stmts[0]), bind(stmts[1])} }
	return statements{
		insertEvents: two(s.insertEvents), insertDeliveries: two(s.insertDeliveries),
		insertOutcome: bind(s.insertOutcome), selectDelivery: bind(s.selectDelivery),
		updateDelivery: bind(s.updateDelivery), matched: bind(s.matched),
	}
}

// segmentIndex is the index file of one segment. One goroutine writes; any number
// reads.
type segmentIndex struct {
	number uint32
	path   string
	write  *sql.DB
	read   *sql.DB
	users  int // guarded by the pool

	statements
	// prepared, applied, marked and block are the writer's alone.
	prepared bool
	applied  store.Position
	marked   bool
	block    block

	mu    sync.RWMutex // guards the tuples
	kinds map[kind]int64
	aims  map[aim]int64
	kind  map[int64]kind
	aim   map[int64]aim
}

func indexName(number uint32) string { return fmt.Sprintf("index-%08d.db", number) }

// openSegment opens the index file of a segment, making it if need be, and checks
// that it belongs to the journal.
func openSegment(ctx context.Context, dir string, number uint32, j *journal.Journal) (*segmentIndex, error) {
	s := &segmentIndex{number: number, path: filepath.Join(dir, indexName(number))}
	var err error
	if s.write, err = openDB(s.path, syncNormal, 1); err != nil {
		return nil, err
	}
	if s.read, err = openDB(s.path, syncNormal, 2); err != nil {
		return nil, errors.Join(err, s.write.Close())
	}
	if err := s.check(ctx, j); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", s.path, err), s.close())
	}
	return s, nil
}

func (s *segmentIndex) close() error { return errors.Join(s.read.Close(), s.write.Close()) }

func (s *segmentIndex) start() store.Position { return journal.Segment{Number: s.number}.Start() }

func (s *segmentIndex) check(ctx context.Context, j *journal.Journal) error {
	if err := createSchema(ctx, s.read, indexVersion, indexSchema); err != nil {
		return err
	}
	var applied, markAt int64
	var markID string
	if err := s.read.QueryRowContext(ctx, "SELECT applied, mark_at, mark_id FROM meta").
		Scan(&applied, &markAt, &markID); err != nil {
		return staleIfMissing(err)
	}
	s.applied = max(intPos(applied), s.start())
	if err := checkMark(j, intPos(applied), intPos(markAt), markID); err != nil {
		return err
	}
	return s.load(ctx)
}

// load reads what is kept in memory: at the beginning, and after a transaction
// that failed.
func (s *segmentIndex) load(ctx context.Context) error {
	if err := s.loadTuples(ctx); err != nil {
		return err
	}
	if err := s.read.QueryRowContext(ctx, "SELECT mark_at <> 0 FROM meta").Scan(&s.marked); err != nil {
		return err
	}
	return s.loadBlock(ctx)
}

func (s *segmentIndex) loadTuples(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds, s.kind = map[kind]int64{}, map[int64]kind{}
	s.aims, s.aim = map[aim]int64{}, map[int64]aim{}
	err := rows(ctx, s.read, "SELECT id, bus, source, kind, endpoint FROM kinds", nil, func(r *sql.Rows) error {
		var id int64
		var k kind
		err := r.Scan(&id, &k.bus, &k.source, &k.kind, &k.endpoint)
		s.kinds[k], s.kind[id] = id, k
		return err
	})
	if err != nil {
		return err
	}
	return rows(ctx, s.read, "SELECT id, rule, target, destination FROM aims", nil, func(r *sql.Rows) error {
		var id int64
		var a aim
		err := r.Scan(&id, &a.rule, &a.target, &a.destination)
		s.aims[a], s.aim[id] = id, a
		return err
	})
}

// rowsAtOnce is how many rows one INSERT takes: the driver's cost of a statement
// is that of several rows.
const rowsAtOnce = 16

const (
	eventRowSQL    = "(?,?,?,?,?,?,?)"
	deliveryRowSQL = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)

// prepare prepares what only the writer needs; most files are only read.
func (s *segmentIndex) prepare(ctx context.Context) error {
	if s.prepared {
		return nil
	}
	events, deliveries := "INSERT OR IGNORE INTO events VALUES", "INSERT OR IGNORE INTO deliveries VALUES"
	many := func(row string) string { return strings.Repeat(row+",", rowsAtOnce-1) + row }
	for _, p := range [...]struct {
		stmt  **sql.Stmt
		query string
	}{
		{&s.insertEvents[0], events + eventRowSQL},
		{&s.insertEvents[1], events + many(eventRowSQL)},
		{&s.insertDeliveries[0], deliveries + deliveryRowSQL},
		{&s.insertDeliveries[1], deliveries + many(deliveryRowSQL)},
		{&s.insertOutcome, "INSERT OR IGNORE INTO outcomes VALUES(?, ?, ?)"},
		{&s.selectDelivery, "SELECT " + deliveryColumns + " FROM deliveries WHERE at = ? AND key = ?"},
		{&s.updateDelivery, "UPDATE deliveries SET state = ?, attempts = ?, counted = ?, next = ?, updated = ?," +
			" deadline = ?, status = ?, class = ?, reason = ?, last = ? WHERE at = ? AND key = ?"},
		{&s.matched, "UPDATE events SET flags = flags & ~2 WHERE at = ? AND flags & 2"},
	} {
		var err error
		if *p.stmt, err = s.write.PrepareContext(ctx, p.query); err != nil { //nolint:sqlclosecheck // closed with the file
			return err
		}
	}
	s.prepared = true
	return nil
}

const deliveryColumns = `at, key, created, aim, run, hold, origin, mode, not_before,
	state, attempts, counted, next, updated, deadline, status, class, reason, last`

// scanDelivery reads deliveryColumns, and what follows them into more.
func (s *segmentIndex) scanDelivery(scan func(...any) error, more ...any) (*indexedDelivery, error) {
	d := &indexedDelivery{}
	var at, k, created, aimID, last int64
	var run, hold, class, reason sql.NullString
	err := scan(append([]any{
		&at, &k, &created, &aimID, &run, &hold, &d.origin, &d.mode, &d.notBefore, &d.state, &d.attempts, &d.counted,
		&d.next, &d.updated, &d.standing.deadline, &d.status, &class, &reason, &last,
	}, more...)...)
	if err != nil {
		return nil, err
	}
	a := s.aimOf(aimID)
	d.id = store.DeliveryID{Event: intPos(at), Key: uint64(k)}
	d.created, d.last = intPos(created), intPos(last)
	d.rule, d.target, d.destination = a.rule, a.target, a.destination
	d.run, d.hold, d.class, d.reason = run.String, hold.String, class.String, reason.String
	return d, nil
}

func (s *segmentIndex) aimOf(id int64) aim {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.aim[id]
}

func (s *segmentIndex) kindOf(id int64) kind {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.kind[id]
}

// idBytes packs an event id: a one and 16 bytes for a UUID, a zero and the text for
// anything else.
func idBytes(id event.ID) []byte {
	other := func() []byte { return append([]byte{0}, id...) }
	if canonical, err := event.ParseID(string(id)); err != nil || canonical != id {
		return other()
	}
	var digits [32]byte
	text := append(digits[:0], id[:8]...)
	text = append(append(text, id[9:13]...), id[14:18]...)
	text = append(append(text, id[19:23]...), id[24:]...)
	b := make([]byte, 17)
	b[0] = 1
	if _, err := hex.Decode(b[1:], text); err != nil {
		return other()
	}
	return b
}

// idText is the inverse of idBytes.
func idText(b []byte) event.ID {
	if len(b) != 17 || b[0] != 1 {
		return event.ID(b[min(1, len(b)):])
	}
	h := hex.EncodeToString(b[1:])
	return event.ID(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
}
