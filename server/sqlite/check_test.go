package sqlite

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
)

// kept is a database that was closed, with a node and a secret in it.
func kept(t *testing.T) Config {
	t.Helper()
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		return errors.Join(tx.CreateNode(storetest.Node(1)), tx.PutSecret(storetest.ID(1), "redfish_password", []byte("x")))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func refused(t *testing.T, cfg Config, want string) {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err == nil {
		_ = s.Close()
		t.Errorf("opened; want a refusal that names %q", want)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want it to name %q", err, want)
	}
}

// Whichever connection checks a table, its damage refuses the start, and the database stays as it was.
func TestF08_DamageOfEachTableIsFound(t *testing.T) {
	for _, table := range []string{"nodes", "records", "steps", "secrets", "effects", "settings"} {
		cfg := kept(t)
		db, err := sql.Open("sqlite3", "file:"+cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		var root, size int64
		err = db.QueryRow("SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE type = 'table' AND name = ?", table).Scan(&root, &size)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(cfg.Path)
		if err != nil {
			t.Fatal(err)
		}
		copy(before[(root-1)*size:], strings.Repeat("\xff", 64))
		if err := os.WriteFile(cfg.Path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, cfg, "table "+table+" is damaged")
		after, err := os.ReadFile(cfg.Path)
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the refused database was changed (%v)", table, err)
		}
	}
}

// A secret of each key is opened, of whichever place among the keys it is.
func TestF37_EachKeyIsTried(t *testing.T) {
	for _, key := range []string{"!before the others", "~behind the others"} {
		cfg := kept(t)
		execute(t, cfg.Path, "INSERT INTO secrets (node, field, key_id, sealed) SELECT node, 'other', '"+key+"', sealed FROM secrets")
		refused(t, cfg, key)
	}
}
