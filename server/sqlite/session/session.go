// Package session is one connection to a SQLite file: its prepared statements, what a transaction may run on it, and what SQLite's
// errors mean to the store. It knows no table, and begins and commits nothing by itself.
//
// Start at Tx.
package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/mattn/go-sqlite3"
)

// maxPrepared bounds the statements a session keeps: filters and sort keys make many.
const maxPrepared = 256

// Session is one connection with its prepared statements. One goroutine uses it at a time.
type Session struct {
	Conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// Open opens a file's connections of one kind; params are the driver's, as the query of a URL.
func Open(path string, wait time.Duration, params string) (*sql.DB, error) {
	return sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+fmt.Sprintf("?_busy_timeout=%d&", wait.Milliseconds())+params)
}

// New takes a connection over: Close gives it back.
func New(conn *sql.Conn) *Session { return &Session{Conn: conn, stmts: map[string]*sql.Stmt{}} }

// Statement prepares q, or finds it prepared. Statements run without the caller's context: each is short, an interrupted write would take the whole batch with
// it, and the driver starts a goroutine a statement for a context that can end.
func (s *Session) Statement(q string) (*sql.Stmt, error) {
	if st, ok := s.stmts[q]; ok {
		return st, nil
	}
	if len(s.stmts) >= maxPrepared {
		for _, st := range s.stmts {
			_ = st.Close() // it holds nothing but memory
		}
		clear(s.stmts)
	}
	st, err := s.Conn.PrepareContext(context.Background(), q)
	if err == nil {
		s.stmts[q] = st
	}
	return st, err
}

// Run runs a statement; its error is the driver's.
func (s *Session) Run(q string, args ...any) error {
	st, err := s.Statement(q)
	if err != nil {
		return err
	}
	_, err = st.Exec(args...)
	return err
}

// Close closes the statements, and the connection.
func (s *Session) Close() error {
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, s.Conn.Close())...)
}

// Tx is one transaction on a session: it may be one of several that share what SQLite takes for one, or one that only reads.
type Tx struct {
	session *Session
	writes  bool
	ended   bool
	broken  error // the first failure of the database itself: nothing of this may be committed, whatever ran in it
}

// Begin gives a transaction that SQLite has begun; who began it ends it.
func (s *Session) Begin(writes bool) *Tx { return &Tx{session: s, writes: writes} }

// End makes every later use an error.
func (t *Tx) End() { t.ended = true }

// Broken is the first failure of the database itself, as the driver has it.
func (t *Tx) Broken() error { return t.broken }

// Exec runs a write and tells how many rows it changed. A violated constraint comes back as it is, for the caller to
// name; what else goes wrong is storage.unavailable.
func (t *Tx) Exec(q string, args ...any) (changed int64, err error) {
	st, err := t.Open(true, q)
	if err != nil {
		return 0, err
	}
	res, err := st.Exec(args...)
	if err != nil {
		return 0, t.Failed(err)
	}
	return res.RowsAffected()
}

// Open checks that the transaction may run q, and prepares it.
func (t *Tx) Open(write bool, q string) (*sql.Stmt, error) {
	switch {
	case t.ended:
		return nil, fault.New(fault.InternalError, "a transaction of the store was used after its end")
	case write && !t.writes:
		return nil, fault.New(fault.InternalError, "a view of the store can't write")
	case t.broken != nil:
		return nil, Explain(t.broken)
	}
	st, err := t.session.Statement(q)
	if err != nil {
		return nil, t.Failed(err)
	}
	return st, nil
}

// Row reads one row; without one it returns sql.ErrNoRows.
func (t *Tx) Row(q string, args []any, to ...any) error {
	st, err := t.Open(false, q)
	if err != nil {
		return err
	}
	return t.Failed(st.QueryRow(args...).Scan(to...))
}

// Rows calls each for every row; each runs no other statement.
func (t *Tx) Rows(q string, args []any, each func(scan func(...any) error) error) error {
	st, err := t.Open(false, q)
	if err != nil {
		return err
	}
	rows, err := st.Query(args...)
	if err != nil {
		return t.Failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return t.Failed(err)
		}
	}
	return t.Failed(rows.Err())
}

// Failed sorts errors: those that are not SQLite's and violated constraints go back as they are; the rest breaks the
// transaction.
func (t *Tx) Failed(err error) error {
	switch code(err) {
	case 0, sqlite3.ErrConstraint:
		return err
	case sqlite3.ErrTooBig:
		return fault.New(fault.RequestTooLarge, "one object is larger than the database stores").Because(err)
	}
	if t.broken == nil {
		t.broken = err
	}
	return Explain(err)
}
