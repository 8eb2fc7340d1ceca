package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/mattn/go-sqlite3"
)

// maxPrepared bounds the statements a session keeps: filters and sort keys make many.
const maxPrepared = 256

// session is one connection with its prepared statements. One goroutine uses it at a time.
type session struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// Statements run without the caller's context: each is short, an interrupted write would take the whole batch with
// it, and the driver starts a goroutine a statement for a context that can end.
func (s *session) stmt(q string) (*sql.Stmt, error) {
	if st, ok := s.stmts[q]; ok {
		return st, nil
	}
	if len(s.stmts) >= maxPrepared {
		for _, st := range s.stmts {
			_ = st.Close() // it holds nothing but memory
		}
		clear(s.stmts)
	}
	st, err := s.conn.PrepareContext(context.Background(), q)
	if err == nil {
		s.stmts[q] = st
	}
	return st, err
}

func (s *session) run(q string, args ...any) error {
	st, err := s.stmt(q)
	if err != nil {
		return err
	}
	_, err = st.Exec(args...)
	return err
}

func (s *session) close() error {
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, s.conn.Close())...)
}

// tx is conductor.Tx: one member of a batch, or one View.
type tx struct {
	*session
	sealer   Sealer
	preparer *preparer // nil in views, and where rows are not prepared
	writes   bool
	worn     chan<- struct{} // nil in updates: told when prepared rows do not fit their nodes
	ended    bool
	broken   error // the first failure of the database itself: nothing of this may be committed, whatever fn returns
}

// exec runs a write and tells how many rows it changed. A violated constraint comes back as it is, for the caller to
// name; what else goes wrong is storage.unavailable.
func (t *tx) exec(q string, args ...any) (changed int64, err error) {
	st, err := t.open(true, q)
	if err != nil {
		return 0, err
	}
	res, err := st.Exec(args...)
	if err != nil {
		return 0, t.failed(err)
	}
	return res.RowsAffected()
}

// open checks that the transaction may run q, and prepares it.
func (t *tx) open(write bool, q string) (*sql.Stmt, error) {
	switch {
	case t.ended:
		return nil, fault.New(fault.InternalError, "a transaction of the store was used after its end")
	case write && !t.writes:
		return nil, fault.New(fault.InternalError, "a view of the store can't write")
	case t.broken != nil:
		return nil, explain(t.broken)
	}
	st, err := t.stmt(q)
	if err != nil {
		return nil, t.failed(err)
	}
	return st, nil
}

// row reads one row; without one it returns sql.ErrNoRows.
func (t *tx) row(q string, args []any, to ...any) error {
	st, err := t.open(false, q)
	if err != nil {
		return err
	}
	return t.failed(st.QueryRow(args...).Scan(to...))
}

// rows calls each for every row; each runs no other statement.
func (t *tx) rows(q string, args []any, each func(scan func(...any) error) error) error {
	st, err := t.open(false, q)
	if err != nil {
		return err
	}
	rows, err := st.Query(args...)
	if err != nil {
		return t.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return t.failed(err)
		}
	}
	return t.failed(rows.Err())
}

// failed sorts errors: those that are not SQLite's and violated constraints go back as they are; the rest breaks the
// transaction.
func (t *tx) failed(err error) error {
	switch code(err) {
	case 0, sqlite3.ErrConstraint:
		return err
	case sqlite3.ErrTooBig:
		return fault.New(fault.RequestTooLarge, "one object is larger than the database stores").Because(err)
	}
	if t.broken == nil {
		t.broken = err
	}
	return explain(err)
}

func code(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func extended(err error) sqlite3.ErrNoExtended {
	var e sqlite3.Error
	if errors.As(err, &e) {
		return e.ExtendedCode
	}
	return 0
}

// busy tells that another process was in the way: the whole transaction may be tried again (F7).
func busy(err error) bool {
	c := code(err)
	return c == sqlite3.ErrBusy || c == sqlite3.ErrLocked
}

// unsynced tells that a write may have been lost below us. The kernel reports that once and may then show the lost
// page as clean, so this process must not go on from it (F6).
func unsynced(err error) bool {
	e := extended(err)
	return e == sqlite3.ErrIoErrFsync || e == sqlite3.ErrIoErrDirFsync
}

var explanations = map[sqlite3.ErrNo]string{
	sqlite3.ErrBusy:     "another program holds the database",
	sqlite3.ErrLocked:   "another program holds the database",
	sqlite3.ErrFull:     "the disk is full",
	sqlite3.ErrIoErr:    "the disk returned an error",
	sqlite3.ErrReadonly: "the database is read-only",
	sqlite3.ErrCantOpen: "a file of the database can't be opened",
	sqlite3.ErrPerm:     "the database may not be accessed",
	sqlite3.ErrCorrupt:  "the database is damaged",
	sqlite3.ErrNotADB:   "the file is not a database",
}

// explain makes storage.unavailable of what SQLite says; other errors are not the database's and stay as they are.
func explain(err error) error {
	var e sqlite3.Error
	var f *fault.Fault
	if err == nil || errors.As(err, &f) || !errors.As(err, &e) {
		return err
	}
	words, ok := explanations[e.Code]
	if !ok {
		words = "the database failed"
	}
	return fault.New(fault.StorageUnavailable, "%s", words).Because(err)
}

// unique tells which "table.column" a write collided on, or "".
func unique(err error) string {
	if e := extended(err); e != sqlite3.ErrConstraintUnique && e != sqlite3.ErrConstraintPrimaryKey {
		return ""
	}
	_, column, _ := strings.Cut(err.Error(), "failed: ")
	return column
}

// dangling tells that a write names a node that does not exist.
func dangling(err error) bool { return extended(err) == sqlite3.ErrConstraintForeignKey }

func encode(what string, v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.New(fault.RequestInvalid, "%s can't be stored as JSON", what).Because(err)
	}
	return string(b), nil
}

func decode(what string, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read stored %s: %w", what, err)
	}
	return nil
}

// text is s as it comes back from JSON: each byte that is not UTF-8 is U+FFFD. Columns hold it so that they and the
// body agree.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// null is text for a column that is unique when set.
func null(s string) any {
	if s == "" {
		return nil
	}
	return text(s)
}
