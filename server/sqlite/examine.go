package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/server/sqlite/sidecar"
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
	if e.Holder, err = sidecar.Holder(path + ".lock"); err != nil {
		return e, err
	}
	all, err := readMigrations(migrations)
	if err != nil {
		return e, err
	}
	e.Known = len(all)
	db, err := session.Open(path, busyTimeout, "mode=ro&_query_only=1")
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&e.Schema); err != nil {
		return e, session.Explain(err)
	}
	if e.Damage, err = damage(func(q string, to *string) error { return db.QueryRowContext(ctx, q).Scan(to) }); err != nil {
		return e, session.Explain(err)
	}
	if e.Damage == "" && e.Schema == e.Known {
		all, err := nodes.FindWorn(func(q string, each func(scan func(...any) error) error) error { return eachRow(ctx, db, q, each) })
		if err != nil {
			return e, session.Explain(err)
		}
		e.Worn = len(all)
	}
	var alive string
	err = db.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = 'conductor.alive'").Scan(&alive)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return e, session.Explain(err)
	}
	if t, err := time.Parse(time.RFC3339Nano, alive); err == nil {
		e.Alive = t
	}
	var owned bool
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'owner'").Scan(&owned); err != nil || !owned {
		return e, session.Explain(err)
	}
	var host, expires string
	var pid, fence int64
	err = db.QueryRowContext(ctx, "SELECT host, pid, fence, expires FROM owner").Scan(&host, &pid, &fence, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return e, nil
	}
	if err != nil {
		return e, session.Explain(err)
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

// Sound reads the whole database and its audit's chain; what is damaged is a storage.unavailable fault.
func (s *Store) Sound(ctx context.Context) error {
	err := s.View(ctx, func(ct conductor.Tx) error {
		t := ct.(*tx)
		found, err := damage(func(q string, to *string) error { return t.Row(q, nil, to) })
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
