package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/sqlite/sidecar"
)

// doubt reads why the records are doubted, and the epoch.
func doubt(t *testing.T, s *Store) (why, epoch string) {
	t.Helper()
	if err := s.View(t.Context(), func(tx conductor.Tx) (err error) {
		if why, err = tx.Setting(conductor.SettingDoubt); err != nil {
			return err
		}
		epoch, err = tx.Setting(conductor.SettingEpoch)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return why, epoch
}

// once opens the store, changes it and closes it.
func once(t *testing.T, cfg Config, fns ...func(conductor.Tx) error) (why, epoch string, fence int64) {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range fns {
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	why, epoch = doubt(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return why, epoch, s.Fence()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestF08_F35_AnOlderOrOtherDatabaseIsFoundByTheMark(t *testing.T) {
	for name, c := range map[string]struct {
		later func(t *testing.T, cfg Config, backup string) // after the backup was made
		want  string
	}{
		"an older one": {func(t *testing.T, cfg Config, backup string) {
			once(t, cfg, acted(storetest.Node(2)))
			copyFile(t, backup, cfg.Path)
		}, "older database"},
		"one that went another way": {func(t *testing.T, cfg Config, backup string) {
			once(t, cfg, acted(storetest.Node(2)))
			copyFile(t, cfg.Path+".mark", cfg.Path+".kept")
			copyFile(t, backup, cfg.Path)
			if err := os.Remove(cfg.Path + ".mark"); err != nil {
				t.Fatal(err)
			}
			once(t, cfg, acted(storetest.Node(3)), acted(storetest.Node(4)))
			copyFile(t, cfg.Path+".kept", cfg.Path+".mark")
		}, "another database"},
		"one without its mark": {func(t *testing.T, cfg Config, _ string) {
			if err := os.Remove(cfg.Path + ".mark"); err != nil {
				t.Fatal(err)
			}
		}, "missing"},
		"one with a torn mark": {func(t *testing.T, cfg Config, _ string) {
			if err := os.WriteFile(cfg.Path+".mark", []byte(`{"fence":`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, t.TempDir())
			if why, epoch, _ := once(t, cfg, acted(storetest.Node(1))); why != "" || epoch != "" {
				t.Fatalf("a new database is doubted: %q, epoch %q", why, epoch)
			}
			backup := cfg.Path + ".backup"
			copyFile(t, cfg.Path, backup)
			before, err := sidecar.ReadMark(cfg.Path + ".mark")
			if err != nil {
				t.Fatal(err)
			}
			c.later(t, cfg, backup)
			why, epoch, fence := once(t, cfg)
			if !strings.Contains(why, c.want) || epoch == "" || fence <= before.Fence {
				t.Errorf("doubt %q, epoch %q, fence %d after %d; want it to say %q", why, epoch, fence, before.Fence, c.want)
			}
			// The doubt stays until the conductor has dealt with it; the epoch does not grow by a restart.
			if again, same, _ := once(t, cfg); again != why || same != epoch {
				t.Errorf("after a restart: %q, epoch %q", again, same)
			}
		})
	}
}

// A fence and an epoch that the mark knows are not given out again, also when the database is lost altogether.
func TestI15_ALostDatabaseGoesOnFromTheMark(t *testing.T) {
	cfg := config(t, t.TempDir())
	_, _, first := once(t, cfg, acted(storetest.Node(1)))
	if err := os.Remove(cfg.Path); err != nil {
		t.Fatal(err)
	}
	why, epoch, fence := once(t, cfg)
	if why != "" || epoch != "1" || fence <= first {
		t.Errorf("doubt %q, epoch %q, fence %d after %d", why, epoch, fence, first)
	}
}

// A database of a program that made no mark is taken over as it is.
func TestI15_TheFirstMarkIsNoDoubt(t *testing.T) {
	cfg := config(t, t.TempDir())
	db, err := sql.Open("sqlite3", "file:"+cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrate(t.Context(), conn, read(t, migrations)[:1]); err != nil {
		t.Fatal(err)
	}
	rows, err := os.ReadFile("testdata/before-0002.sql")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), string(rows)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if why, epoch, _ := once(t, cfg); why != "" || epoch != "" {
		t.Errorf("doubt %q, epoch %q", why, epoch)
	}
}

// The mark follows the database within seconds, and is not written when there is nothing new.
func TestI15_TheMarkFollowsTheAudit(t *testing.T) {
	cfg := config(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		s := open(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Hold(ctx) }()
		if err := s.Update(t.Context(), acted(storetest.Node(1))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * markEvery)
		synctest.Wait()
		m, err := sidecar.ReadMark(cfg.Path + ".mark")
		if err != nil || m.Audit != 1 || m.Hash == "" || m.Fence != s.Fence() {
			t.Fatalf("mark %+v, %v", m, err)
		}
		if err := os.Remove(cfg.Path + ".mark"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(renewEvery - 4*markEvery)
		synctest.Wait()
		if _, err := os.Stat(cfg.Path + ".mark"); !os.IsNotExist(err) {
			t.Errorf("it was written though nothing was committed: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
