package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/mattn/go-sqlite3"
)

func TestF05_I30_FullDiskIsToldAndOvercome(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.Conn.ExecContext(t.Context(), "PRAGMA max_page_count = "+strconv.Itoa(pages)); err != nil {
			t.Fatal(err)
		}
	}
	var pages int
	if err := s.writer.Conn.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages); err != nil {
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

// fill is the server of TestF05_I30_TheKernelRefusesToWrite: it says each thing that comes of a write on a disk that
// takes no more, and then takes more again.
func fill(path string) int {
	keys, err := seal.Open(filepath.Join(filepath.Dir(path), "master.key"), false)
	if err != nil {
		return 2
	}
	s, err := Open(context.Background(), Config{Path: path, Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return 3
	}
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return 4
	}
	small := limit
	small.Cur = 1 << 20 // what the schema takes, and some nodes
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return 5
	}
	say := func(what string, err error) {
		text := "done"
		if err != nil {
			text = string(fault.From(err).Reason)
		}
		_, _ = os.Stdout.WriteString(what + " " + text + "\n")
	}
	pad := func(n int) func(conductor.Tx) error {
		node := storetest.Node(n)
		node.Extra["pad"] = strings.Repeat("x", 64<<10)
		return acted(node)
	}
	n := 1
	for ; n < 100; n++ {
		if err = s.Update(context.Background(), pad(n)); err != nil {
			break
		}
	}
	say("write", err)
	small.Cur = 4 << 10 // now not even a page
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return 5
	}
	say("renew", s.renew(context.Background()))
	say("view", s.View(context.Background(), func(tx conductor.Tx) error { _, err := tx.Node(storetest.ID(1)); return err }))
	select {
	case <-s.Failed():
		say("failed", fault.New(fault.InternalError, "it ended"))
	default:
		say("failed", nil)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return 6
	}
	say("write", s.Update(context.Background(), pad(n)))
	say("renew", s.renew(context.Background()))
	say("held", s.Held())
	say("close", s.Close())
	return 0
}

func acted(n *conductor.Node) func(conductor.Tx) error {
	return func(tx conductor.Tx) error {
		return errors.Join(tx.CreateNode(n), tx.AppendAudit(conductor.Audit{Act: "boot", Node: n.UUID}))
	}
}

// The kernel itself refuses to let the files grow: work is refused, reading goes on, and so does writing once there is
// space again, in the same process.
func TestF05_I30_TheKernelRefusesToWrite(t *testing.T) {
	cfg := config(t, t.TempDir())
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "SQLITE_TEST_FULL="+cfg.Path)
	said, err := other.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	want := "write storage.unavailable\nrenew storage.unavailable\nview done\nfailed done\nwrite done\nrenew done\nheld done\nclose done\n"
	if string(said) != want {
		t.Errorf("the server said\n%swant\n%s", said, want)
	}
	s := open(t, cfg)
	var nodes, audit int
	if err := s.writer.Conn.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM nodes), (SELECT count(*) FROM audit)").Scan(&nodes, &audit); err != nil || nodes == 0 || nodes != audit {
		t.Errorf("%d nodes and %d audit entries (%v)", nodes, audit, err)
	}
	var ok string
	if err := s.writer.Conn.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
		t.Errorf("integrity check: %s, %v", ok, err)
	}
}

func TestF06_FailedSyncEndsAllWriting(t *testing.T) {
	s := open(t, config(t, t.TempDir()))
	_ = s.unavailable(sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync})
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
	if _, err := s.writer.Conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 20"); err != nil {
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
	if _, err := s.writer.Conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000"); err != nil {
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
	cfg := config(t, t.TempDir())
	s := open(t, cfg)
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
	// The log that the view kept from being cut is used anew from its beginning once the view has ended.
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(cfg.Path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	grown := size()
	for i := range 300 {
		n := storetest.Node(i + 1)
		n.Extra["pad"] = strings.Repeat("y", 20<<10)
		if err := s.Update(t.Context(), func(tx conductor.Tx) error {
			was, err := tx.Node(n.UUID)
			if err != nil {
				return err
			}
			n.Version = was.Version
			return tx.PutNode(n)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if now := size(); now > grown+1<<20 {
		t.Errorf("the log grew from %d to %d bytes with no view to keep it", grown, now)
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

// write is the server that TestI29 kills: it creates nodes from four goroutines and says each number once it is
// acknowledged.
func write(path string) int {
	keys, err := seal.Open(filepath.Join(filepath.Dir(path), "master.key"), false)
	if err != nil {
		return 2
	}
	s, err := Open(context.Background(), Config{Path: path, Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return 3
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w + 1; ; n += 4 {
				err := s.Update(context.Background(), func(tx conductor.Tx) error {
					return errors.Join(tx.CreateNode(storetest.Node(n)), tx.PutSecret(storetest.ID(n), "f", []byte("v")),
						tx.AppendAudit(conductor.Audit{Act: strconv.Itoa(n)}))
				})
				if err != nil {
					os.Exit(4)
				}
				_, _ = os.Stdout.WriteString(strconv.Itoa(n) + "\n") // one write a line
			}
		})
	}
	wg.Wait()
	return 0
}

func TestI29_KilledServerKeepsWhatItAcknowledged(t *testing.T) {
	for round := range 5 {
		cfg := config(t, t.TempDir())
		server := exec.Command(os.Args[0])
		server.Env = append(os.Environ(), "SQLITE_TEST_WRITE="+cfg.Path)
		stdout, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged []int
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(err)
			}
			if acknowledged = append(acknowledged, n); len(acknowledged) == 20+37*round {
				if err := server.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := server.Wait(); err == nil || len(acknowledged) < 20+37*round {
			t.Fatalf("the server ended by itself: %v after %d", err, len(acknowledged))
		}
		s := open(t, cfg)
		err = s.View(t.Context(), func(tx conductor.Tx) error {
			nodes, err := tx.Nodes(conductor.NodeFilter{})
			if err != nil {
				return err
			}
			audit := int64(0)
			if err := s.Audited(t.Context(), func(conductor.Audit) error { audit++; return nil }); err != nil {
				return err
			}
			if audit != int64(len(nodes)) {
				t.Errorf("%d nodes and %d audit entries: half a transaction was kept", len(nodes), audit)
			}
			if why, err := tx.Setting(conductor.SettingDoubt); err != nil || why != "" {
				t.Errorf("its own database is doubted: %s (%v)", why, err) // I15: the mark is never ahead
			}
			for _, n := range acknowledged {
				if _, err := tx.Secret(storetest.ID(n), "f"); err != nil {
					t.Errorf("node %d was acknowledged: %v", n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var ok string
		if err := s.writer.Conn.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
			t.Errorf("integrity check: %s, %v", ok, err)
		}
	}
}

// hold is the other server of TestF09: it opens the database, says so and stays until its input ends.
func hold(path string) int {
	keys, err := seal.Open(filepath.Join(filepath.Dir(path), "master.key"), false)
	if err != nil {
		return 2
	}
	s, err := Open(context.Background(), Config{Path: path, Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
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
