package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Examination is what can be said of a database file without serving from it.
type Examination struct {
	Holder  string    // number of the process that has the file's lock; "" when none
	Schema  int       // version of its schema
	Known   int       // the newest version this program knows
	Damage  string    // what the integrity check found; "" when it is sound
	Worn    int       // prepared rows that were lost or damaged: a server makes them anew
	Owner   string    // the last server that owned it, in words; "" when none is recorded
	Expires time.Time // end of that server's lease
	Alive   time.Time // when a server last wrote that it lives; zero: never
}

// Examine looks at a database that may belong to a server that is down, hung or running. It only reads. A file that is
// missing, or that is no database, is an error.
func Examine(ctx context.Context, path string) (e Examination, err error) {
	if _, err := os.Stat(path); err != nil {
		return e, err
	}
	if e.Holder, err = lockHolder(path + ".lock"); err != nil {
		return e, err
	}
	all, err := readMigrations(migrations)
	if err != nil {
		return e, err
	}
	e.Known = len(all)
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+fmt.Sprintf("?mode=ro&_query_only=1&_busy_timeout=%d", busyTimeout.Milliseconds()))
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&e.Schema); err != nil {
		return e, explain(err)
	}
	if e.Damage, err = damage(func(q string, to *string) error { return db.QueryRowContext(ctx, q).Scan(to) }); err != nil {
		return e, explain(err)
	}
	if e.Damage == "" && e.Schema == e.Known {
		all, err := findWorn(func(q string, each func(scan func(...any) error) error) error { return eachRow(ctx, db, q, each) })
		if err != nil {
			return e, explain(err)
		}
		e.Worn = len(all)
	}
	var alive string
	err = db.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = 'conductor.alive'").Scan(&alive)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e, explain(err)
	}
	if t, err := time.Parse(time.RFC3339Nano, alive); err == nil {
		e.Alive = t
	}
	var owned bool
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'owner'").Scan(&owned); err != nil || !owned {
		return e, explain(err)
	}
	var host, expires string
	var pid, fence int64
	err = db.QueryRowContext(ctx, "SELECT host, pid, fence, expires FROM owner").Scan(&host, &pid, &fence, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return e, explain(err)
	}
	e.Owner = fmt.Sprintf("process %d on %s, fence %d", pid, host, fence)
	if t, err := time.Parse(time.RFC3339Nano, expires); err == nil {
		e.Expires = t
	}
	return e, nil
}

func eachRow(ctx context.Context, db *sql.DB, q string, each func(scan func(...any) error) error) error {
	rows, err := db.QueryContext(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// damage runs the whole quick check and gives what it found, "" when all is sound.
func damage(ask func(q string, to *string) error) (string, error) {
	var found string
	if err := ask("SELECT quick_check FROM pragma_quick_check LIMIT 1", &found); err != nil {
		return "", err
	}
	if found == "ok" {
		return "", nil
	}
	return strings.ReplaceAll(found, "\n", ", "), nil
}

// lockHolder names the process that holds a lock file, "" when nobody does.
func lockHolder(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return "", nil // ours until the file is closed, in a moment
	} else if !errors.Is(err, syscall.EWOULDBLOCK) {
		return "", err
	}
	text := make([]byte, 32)
	n, err := f.Read(text)
	if err != nil {
		return "unknown", nil
	}
	return strings.TrimSpace(string(text[:n])), nil
}

// Sound reads the whole database and its audit's chain; what is damaged is a storage.unavailable fault.
func (s *Store) Sound(ctx context.Context) error {
	err := s.View(ctx, func(ct conductor.Tx) error {
		t := ct.(*tx)
		found, err := damage(func(q string, to *string) error { return t.row(q, nil, to) })
		if err == nil && found != "" {
			return fault.New(fault.StorageUnavailable, "the database is damaged: %s", found).
				WithHint("stop the server, restore the last backup and confirm each node")
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.VerifyAudit(ctx, nil)
	return err
}
