package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// The schema, one file a version: 0001_initial.sql leads from an empty database to version 1. A file that was ever
// released is not edited; docs/adr/0030-migrations.md says why this is our own runner.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a database as ours in its header ("Bess").
const applicationID = 0x42657373

// migration is one numbered file.
type migration struct {
	number int
	name   string
	sql    string
}

// readMigrations gives the files in order. Their numbers must be 1, 2, 3, ….
func readMigrations(fsys fs.FS) ([]migration, error) {
	names, err := fs.Glob(fsys, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	out := make([]migration, 0, len(names))
	for i, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		digits, _, ok := strings.Cut(base, "_")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || len(digits) != 4 || n != i+1 {
			return nil, fmt.Errorf("migration %s: expected a name of the form %04d_words.sql", base, i+1)
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", base, err)
		}
		out = append(out, migration{n, base, string(text)})
	}
	return out, nil
}

// version reads which migrations the database has had. It refuses one that has more than the known ones, or is
// another program's, and changes nothing.
func version(ctx context.Context, conn *sql.Conn, known int) (from int, err error) {
	var app, tables int
	err = conn.QueryRowContext(ctx, `SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version, pragma_application_id`).Scan(&from, &app, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the schema's version: %w", err)
	case app != applicationID && (app != 0 || from != 0 || tables != 0):
		return from, fmt.Errorf("this is the database of another program (application id %#x, expected %#x); name another data directory", app, applicationID)
	case from > known:
		return from, fmt.Errorf("the database has schema version %d, this program knows versions up to %d; start the newer program, or restore a backup made by this one", from, known)
	}
	return from, nil
}

// migrate brings the database to the last of the migrations, each in its own transaction, and tells the version it
// was at before.
func migrate(ctx context.Context, conn *sql.Conn, all []migration) (from int, err error) {
	if from, err = version(ctx, conn, len(all)); err != nil {
		return from, err
	}
	for _, m := range all[from:] {
		if err := apply(ctx, conn, m); err != nil {
			return from, fmt.Errorf("migrate to schema version %d (%s): %w", m.number, m.name, err)
		}
	}
	return from, nil
}

// apply runs one migration, and notes it, in one transaction.
func apply(ctx context.Context, conn *sql.Conn, m migration) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // the first error is the one to tell
		}
	}()
	// Pragmas take no parameters; both values are numbers of ours.
	for _, q := range []string{
		m.sql,
		"PRAGMA user_version = " + strconv.Itoa(m.number),
		"PRAGMA application_id = " + strconv.Itoa(applicationID),
	} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	rows, err := conn.QueryContext(ctx, "PRAGMA foreign_key_check")
	if err != nil {
		return err
	}
	broken := rows.Next()
	if err := rows.Close(); err != nil {
		return err
	}
	if broken {
		return fmt.Errorf("it leaves references to rows that do not exist")
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
