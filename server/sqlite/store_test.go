package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
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
	if path := os.Getenv("SQLITE_TEST_WRITE"); path != "" {
		os.Exit(write(path))
	}
	if path := os.Getenv("SQLITE_TEST_FULL"); path != "" {
		os.Exit(fill(path))
	}
	if path := os.Getenv("SQLITE_TEST_RESUME"); path != "" {
		os.Exit(resume(path))
	}
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

func config(t testing.TB, dir string) Config {
	t.Helper()
	keys, err := seal.Open(filepath.Join(dir, "master.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now}
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
		if err := s.writer.Conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
	var loose []string
	rows, err := s.writer.Conn.QueryContext(t.Context(), "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' AND strict = 0")
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

// What a savepoint can undo is kept in memory: a file for it is one more that can't be written, and costs as much as a commit.
func TestSavepointsMakeNoFiles(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	const nodes = 200
	if err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for i := range nodes {
			if err := tx.CreateNode(storetest.Node(i + 1)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := make(chan struct{})
	wg.Go(func() {
		err := s.Update(t.Context(), func(conductor.Tx) error {
			close(began)
			for s.waiting.Load() == 0 { // the batch stays open for the second
				runtime.Gosched()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-began
	err := s.Update(t.Context(), func(tx conductor.Tx) error {
		for i := range nodes {
			n, err := tx.Node(storetest.ID(i + 1))
			if err != nil {
				return err
			}
			n.Description = "written again"
			if err := tx.PutNode(&n); err != nil {
				return err
			}
		}
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return err
		}
		for _, f := range open {
			if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.Contains(to, "etilqs_") {
				t.Errorf("SQLite holds the temporary file %s", to)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// Who is about to come when a caller is done shares its commit. One time in 61 Go's scheduler takes another turn.
func TestWhoIsAboutToComeSharesTheCommit(t *testing.T) {
	at := time.Now()
	if n := pairs(t, 50, func() time.Time { return at }); n < 50 || n > 75 {
		t.Errorf("%d commits for 50 pairs of callers, want about one for each", n)
	}
}

// Where giving way takes long, as other work holds the processors, commits wait for nobody: a write would take many times as
// long.
func TestCrowdedProcessorsHoldUpNoCommit(t *testing.T) {
	var calls atomic.Int64
	at := time.Now()
	n := pairs(t, 50, func() time.Time { return at.Add(time.Duration(calls.Add(1)) * 2 * crowd) })
	if n < 90 || n > 100 {
		t.Errorf("%d commits for 50 pairs of callers, want about one for each caller", n)
	}
}

// pairs counts the commits of as many pairs of callers, the second of which is ready to run while the first is at work.
func pairs(t *testing.T, rounds int, now func() time.Time) int {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	cfg := config(t, t.TempDir())
	cfg.Now = now
	s := open(t, cfg)
	before := s.commits.Load()
	for i := range rounds {
		var wg sync.WaitGroup
		err := s.Update(t.Context(), func(tx conductor.Tx) error {
			wg.Go(func() { // there is one processor: it does not run yet
				if err := s.Update(t.Context(), create(storetest.Node(2*i+2))); err != nil {
					t.Error(err)
				}
			})
			return tx.CreateNode(storetest.Node(2*i + 1))
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
	return int(s.commits.Load() - before)
}

// A member whose goroutine ends inside fn (as t.Fatal does) takes nobody along.
func TestGoexitInsideUpdate(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Update(context.WithoutCancel(t.Context()), func(tx conductor.Tx) error {
			_ = tx.CreateNode(storetest.Node(1))
			runtime.Goexit()
			return nil
		})
	}()
	<-ended
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Error(err)
	}
}

// Simulations run the whole server on a real store in a bubble: its waits must not stop the bubble's time.
func TestRunsInABubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, config(t, dir))
		start := time.Now()
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				<-time.After(time.Duration(n%3) * time.Minute) // several come at one time, and share a commit
				if err := s.Update(t.Context(), create(storetest.Node(n+1))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if passed := time.Since(start); passed != 2*time.Minute {
			t.Errorf("%v passed, want 2m", passed)
		}
	})
}
