package sqlite

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func memory(t *testing.T) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "m.db")+"?_foreign_keys=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func number(t *testing.T, conn *sql.Conn, q string) (n int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), q).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func read(t *testing.T, fsys fs.FS) []migration {
	t.Helper()
	all, err := readMigrations(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each migration leads on from the schema before it, with rows of that schema in it.
func TestEachMigrationFromTheOneBefore(t *testing.T) {
	all := read(t, migrations)
	if len(all) == 0 {
		t.Fatal("no migrations")
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			conn := memory(t)
			if from, err := migrate(t.Context(), conn, all[:m.number-1]); err != nil || from != 0 {
				t.Fatalf("from %d: %v", from, err)
			}
			if m.number > 1 {
				rows, err := os.ReadFile(fmt.Sprintf("testdata/before-%04d.sql", m.number))
				if err != nil {
					t.Fatalf("a migration is tested with rows of the schema before it: %v", err)
				}
				if _, err := conn.ExecContext(t.Context(), string(rows)); err != nil {
					t.Fatal(err)
				}
			}
			if from, err := migrate(t.Context(), conn, all[:m.number]); err != nil || from != m.number-1 {
				t.Fatalf("from %d: %v", from, err)
			}
			if from, err := migrate(t.Context(), conn, all[:m.number]); err != nil || from != m.number {
				t.Errorf("again, from %d: %v; want nothing to be done", from, err)
			}
			if err := check(t.Context(), conn, slices.Concat(checked[:]...)); m.number == len(all) && err != nil {
				t.Error(err)
			}
		})
	}
}

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m["migrations/"+pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestFailedMigrationLeavesTheSchemaBefore(t *testing.T) {
	conn := memory(t)
	good := []string{"0001_a.sql", "CREATE TABLE a (x INTEGER PRIMARY KEY); CREATE TABLE b (x REFERENCES a (x));"}
	for name, bad := range map[string]string{
		"syntax, after a change": "INSERT INTO a VALUES (1); CREATE TABLE b;",
		"dangling references":    "PRAGMA defer_foreign_keys = ON; INSERT INTO b VALUES (7);",
	} {
		if _, err := migrate(t.Context(), conn, read(t, files(append(good, "0002_bad.sql", bad)...))); err == nil || !strings.Contains(err.Error(), "0002_bad.sql") {
			t.Errorf("%s: got %v, want an error naming the file", name, err)
		}
		if v, rows := number(t, conn, "PRAGMA user_version"), number(t, conn, "SELECT count(*) FROM a"); v != 1 || rows != 0 {
			t.Errorf("%s: version %d with %d rows, want 1 with none", name, v, rows)
		}
	}
	if _, err := migrate(t.Context(), conn, read(t, files(append(good, "0002_good.sql", "INSERT INTO a VALUES (1)")...))); err != nil {
		t.Errorf("after the file was corrected: %v", err)
	}
}

func TestMigrationNamesAreInOrder(t *testing.T) {
	for _, names := range [][]string{
		{"0001_a.sql", "0003_c.sql"}, {"0002_b.sql"}, {"0001_a.sql", "0001_b.sql"}, {"1_a.sql"}, {"a.sql"}, {"0001.sql"},
	} {
		var pairs []string
		for _, n := range names {
			pairs = append(pairs, n, "SELECT 1")
		}
		if _, err := readMigrations(files(pairs...)); err == nil {
			t.Errorf("%v was accepted", names)
		}
	}
}

func TestF08_NewerSchemaIsNotTouched(t *testing.T) {
	conn := memory(t)
	two := files("0001_a.sql", "CREATE TABLE a (x)", "0002_b.sql", "CREATE TABLE b (x)")
	if _, err := migrate(t.Context(), conn, read(t, two)); err != nil {
		t.Fatal(err)
	}
	delete(two, "migrations/0002_b.sql")
	if _, err := migrate(t.Context(), conn, read(t, two)); err == nil || !strings.Contains(err.Error(), "schema version 2") {
		t.Errorf("got %v, want a refusal naming version 2", err)
	}
}

// What 0013 takes out of the bodies is what a writer of today puts into the column; watchers are told of nothing.
func TestWorkOnOldNodesIsKnown(t *testing.T) {
	conn := memory(t)
	all := read(t, migrations)
	if _, err := migrate(t.Context(), conn, all[:12]); err != nil {
		t.Fatal(err)
	}
	rows, err := os.ReadFile("testdata/before-0013.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), string(rows)); err != nil {
		t.Fatal(err)
	}
	before := number(t, conn, "SELECT count(*) FROM changes WHERE told = 1")
	if _, err := migrate(t.Context(), conn, all[:13]); err != nil {
		t.Fatal(err)
	}
	var got string
	err = conn.QueryRowContext(t.Context(), "SELECT group_concat(substr(uuid, 1, 1) || working, ' ' ORDER BY id) FROM nodes").Scan(&got)
	if want := "10 21 30 41"; err != nil || got != want {
		t.Errorf("%q, want %q (%v)", got, want, err)
	}
	if after := number(t, conn, "SELECT count(*) FROM changes WHERE told = 1"); after != before {
		t.Errorf("%d changes were told of, %d before", after, before)
	}
}

// A database whose 0013 was the other one tells of changes again, and of who is at work.
func TestTheOther0013IsMended(t *testing.T) {
	conn := memory(t)
	all := read(t, migrations)
	if _, err := migrate(t.Context(), conn, all[:12]); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"before-0013", "other-0013"} {
		text, err := os.ReadFile("testdata/" + file + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), string(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.ExecContext(t.Context(), "PRAGMA user_version = 13"); err != nil {
		t.Fatal(err)
	}
	if from, err := migrate(t.Context(), conn, all); err != nil || from != 13 {
		t.Fatalf("from %d: %v", from, err)
	}
	before := number(t, conn, "SELECT count(*) FROM changes WHERE told = 1")
	for _, q := range []string{
		"UPDATE nodes SET body = json_set(body, '$.power_state', 'power off') WHERE name = 'one'",
		"UPDATE nodes SET body = json_set(body, '$.last_error', 'new') WHERE name = 'one'",
	} {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if after := number(t, conn, "SELECT count(*) FROM changes WHERE told = 1"); after != before+2 {
		t.Errorf("%d changes were told of, %d before two of them", after, before)
	}
	if working := number(t, conn, "SELECT count(*) FROM nodes INDEXED BY nodes_working WHERE working = 1"); working != 2 {
		t.Errorf("%d nodes are at work, want 2", working)
	}
}

// After 0015 each node has a row, with its parent, and none that an older program prepared is shown.
func TestOldNodesHaveRows(t *testing.T) {
	conn := memory(t)
	all := read(t, migrations)
	if _, err := migrate(t.Context(), conn, all[:14]); err != nil {
		t.Fatal(err)
	}
	rows, err := os.ReadFile("testdata/before-0015.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), string(rows)); err != nil {
		t.Fatal(err)
	}
	if _, err := migrate(t.Context(), conn, all[:15]); err != nil {
		t.Fatal(err)
	}
	var got string
	err = conn.QueryRowContext(t.Context(), "SELECT group_concat(node || substr(parent_node, 1, 1) || form, ' ' ORDER BY node) FROM node_rows").Scan(&got)
	if want := "1 21 3"; err != nil || got != want {
		t.Errorf("%q, want %q (%v)", got, want, err)
	}
}
