package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("SQLITE_TEST_HOLD"); path != "" {
		os.Exit(hold(path))
	}
	goleak.VerifyTestMain(m)
}

func config(t testing.TB, dir string) Config {
	t.Helper()
	keys, err := seal.Open(filepath.Join(dir, "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: keys, Log: slog.New(slog.DiscardHandler)}
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func fresh(t *testing.T) conductor.Store { return open(t, config(t, t.TempDir())) }

func TestContract(t *testing.T) { storetest.Run(t, fresh) }

func TestI11_CompareAndSet(t *testing.T) { storetest.Run(t, fresh, "I11") }

func TestI27_AuditCommitsWithItsAct(t *testing.T) { storetest.Run(t, fresh, "I27") }

func TestI29_CommitsAllOrNothing(t *testing.T) { storetest.Run(t, fresh, "I29") }

func create(n *conductor.Node) func(conductor.Tx) error {
	return func(tx conductor.Tx) error { return tx.CreateNode(n) }
}

func TestReopenedStoreHasWhatWasAcknowledged(t *testing.T) {
	cfg := config(t, filepath.Join(t.TempDir()))
	cfg.Path = filepath.Join(filepath.Dir(cfg.Path), "odd ?#%20 name.db")
	s := open(t, cfg)
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), create(storetest.Node(2))); !fault.Has(err, fault.StorageUnavailable) {
		t.Errorf("update after close: %v", err)
	}
	if err := s.View(t.Context(), func(conductor.Tx) error { return nil }); !fault.Has(err, fault.StorageUnavailable) {
		t.Errorf("view after close: %v", err)
	}
	info, err := os.Stat(cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the database has mode %v, want 0600", info.Mode())
	}
	again := open(t, cfg)
	if err := again.View(t.Context(), func(tx conductor.Tx) error { _, err := tx.Node(storetest.ID(1)); return err }); err != nil {
		t.Error(err)
	}
}

func TestSettingsOfTheConnections(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "2000", "journal_size_limit": "16777216", "trusted_schema": "0",
	} {
		var got string
		if err := s.writer.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
	var loose []string
	rows, err := s.writer.conn.QueryContext(t.Context(), "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' AND strict = 0")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		loose = append(loose, name)
	}
	if len(loose) > 0 {
		t.Errorf("tables %v are not strict", loose)
	}
}

// Members of one batch stand or fall alone: what one undoes, the others keep.
func TestI29_BatchMembersAreIndependent(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	undo := errors.New("undo")
	var wg sync.WaitGroup
	errs := make([]error, 400)
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.Update(t.Context(), func(tx conductor.Tx) error {
				if err := tx.CreateNode(storetest.Node(i + 1)); err != nil {
					return err
				}
				if i%3 == 0 {
					return undo
				}
				return nil
			})
		})
	}
	wg.Wait()
	err := s.View(t.Context(), func(tx conductor.Tx) error {
		for i, got := range errs {
			_, err := tx.Node(storetest.ID(i + 1))
			if i%3 == 0 {
				if !errors.Is(got, undo) || !fault.Has(err, fault.NodeNotFound) {
					t.Errorf("undone member %d: Update %v, then Node %v", i, got, err)
				}
			} else if got != nil || err != nil {
				t.Errorf("kept member %d: Update %v, then Node %v", i, got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A member whose goroutine ends inside fn (as t.Fatal does) takes nobody along.
func TestGoexitInsideUpdate(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Update(context.WithoutCancel(t.Context()), func(tx conductor.Tx) error {
			_ = tx.CreateNode(storetest.Node(1))
			exit()
			return nil
		})
	}()
	<-ended
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Error(err)
	}
}

func TestF05_I30_FullDiskIsToldAndOvercome(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.conn.ExecContext(t.Context(), "PRAGMA max_page_count = "+strconv.Itoa(pages)); err != nil {
			t.Fatal(err)
		}
	}
	var pages int
	if err := s.writer.conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit(pages)
	big := storetest.Node(2)
	big.Extra["blob"] = strings.Repeat("x", 1<<20)
	swallowed := func(tx conductor.Tx) error { _ = tx.CreateNode(big); return nil }
	for name, fn := range map[string]func(conductor.Tx) error{"told": create(big), "swallowed by fn": swallowed} {
		if err := s.Update(t.Context(), fn); !fault.Has(err, fault.StorageUnavailable) || !strings.Contains(err.Error(), "disk is full") {
			t.Errorf("%s: got %v, want storage.unavailable with the cause", name, err)
		}
	}
	if err := s.View(t.Context(), func(tx conductor.Tx) error { _, err := tx.Node(storetest.ID(1)); return err }); err != nil {
		t.Errorf("reading while the disk is full: %v", err)
	}
	limit(1 << 30)
	if err := s.Update(t.Context(), create(big)); err != nil {
		t.Errorf("after there was space again: %v", err)
	}
	select {
	case <-s.Failed():
		t.Error("a full disk must not end the store")
	default:
	}
}

func TestF06_FailedSyncEndsAllWriting(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	_ = s.unavailable(syncError())
	select {
	case <-s.Failed():
	default:
		t.Fatal("Failed is not closed")
	}
	if err := s.Update(t.Context(), create(storetest.Node(1))); !fault.Has(err, fault.StorageUnavailable) {
		t.Errorf("got %v, want storage.unavailable", err)
	}
	if err := s.View(t.Context(), func(conductor.Tx) error { return nil }); err != nil {
		t.Errorf("reading: %v", err)
	}
}

func TestF07_BusyIsTriedAgainAndBounded(t *testing.T) {
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
	if _, err := s.writer.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 20"); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+cfg.Path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	if err := s.Update(t.Context(), func(conductor.Tx) error { ran++; return nil }); !fault.Has(err, fault.StorageUnavailable) || ran != 0 {
		t.Errorf("held for good: %v after %d runs, want storage.unavailable", err, ran)
	}
	if err := s.View(t.Context(), func(conductor.Tx) error { return nil }); err != nil {
		t.Errorf("a writer elsewhere must not hold up a view: %v", err)
	}
	if _, err := s.writer.conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Update(context.WithoutCancel(t.Context()), create(storetest.Node(1))) }()
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("held for a while: %v", err)
	}
}

// A long view keeps the log from being cut, but neither it nor the writers wait for each other.
func TestF07_LongViewHoldsUpNobody(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	err := s.View(t.Context(), func(tx conductor.Tx) error {
		if _, err := tx.Nodes(conductor.NodeFilter{}); err != nil {
			return err
		}
		for i := range 300 {
			n := storetest.Node(i + 1)
			n.Extra["pad"] = strings.Repeat("x", 20<<10)
			if err := s.Update(t.Context(), create(n)); err != nil {
				return err
			}
		}
		nodes, err := tx.Nodes(conductor.NodeFilter{})
		if len(nodes) != 0 {
			t.Errorf("the view sees %d nodes that came later", len(nodes))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestF08_NewerForeignAndDamagedDatabasesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"newer":   {func(t *testing.T, path string) { execute(t, path, "PRAGMA user_version = 9999") }, "schema version 9999"},
		"foreign": {func(t *testing.T, path string) { execute(t, path, "PRAGMA application_id = 7") }, "another program"},
		"another program's": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			execute(t, path, "CREATE TABLE bookmarks (url)")
		}, "another program"},
		"not a database": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		"torn": {func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			for at := int64(4096); at < info.Size(); at += 4096 { // all pages but the first
				if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 64)), at); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, t.TempDir())
			s := open(t, cfg)
			if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, cfg.Path)
			before, err := os.ReadFile(cfg.Path)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := Open(t.Context(), cfg); err == nil {
				_ = s.Close()
				t.Fatal("the database was opened")
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to name %q", err, c.want)
			}
			after, err := os.ReadFile(cfg.Path)
			if err != nil {
				t.Fatal(err)
			}
			if string(before) != string(after) {
				t.Error("the refused database was changed")
			}
		})
	}
}

func execute(t *testing.T, path, q string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(q); err != nil {
		t.Fatal(err)
	}
}

// hold is the other server of TestF09: it opens the database, says so and stays until its input ends.
func hold(path string) int {
	keys, err := seal.Open(filepath.Join(filepath.Dir(path), "master.key"), false)
	if err != nil {
		return 2
	}
	s, err := Open(context.Background(), Config{Path: path, Sealer: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 3
	}
	_, _ = os.Stdout.WriteString("held\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	_ = s.Close()
	return 0
}

func TestF09_SecondServerIsRefused(t *testing.T) {
	cfg := config(t, t.TempDir())
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "SQLITE_TEST_HOLD="+cfg.Path)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	if _, err := stdout.Read(said); err != nil || string(said) != "held\n" {
		t.Fatalf("the other server said %q, %v", said, err)
	}
	if s, err := Open(t.Context(), cfg); err == nil {
		_ = s.Close()
		t.Error("two servers hold one database")
	} else if !strings.Contains(err.Error(), "process "+strconv.Itoa(other.Process.Pid)) {
		t.Errorf("got %q, want it to name process %d", err, other.Process.Pid)
	}
	if err := other.Process.Kill(); err != nil { // no good-bye: the kernel lets go
		t.Fatal(err)
	}
	_ = other.Wait() // it was killed
	_ = stdin.Close()
	open(t, cfg)
}

func TestF37_LostMasterKeyRefusesTheStart(t *testing.T) {
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		return errors.Join(tx.CreateNode(storetest.Node(1)), tx.PutSecret(storetest.ID(1), "redfish_password", []byte("x")))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	wrong := cfg
	wrong.Sealer = config(t, t.TempDir()).Sealer
	if s, err := Open(t.Context(), wrong); err == nil {
		_ = s.Close()
		t.Error("opened with another master key")
	} else if !strings.Contains(err.Error(), "master key") {
		t.Errorf("got %q, want it to name the master key", err)
	}
	open(t, cfg)
}
