package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Row 118 of the requirements: who was paused past its lease can't write when it goes on.
func TestI16_APausedOwnerCannotWriteAfterAnotherTookOver(t *testing.T) {
	cfg := config(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		paused := open(t, cfg)
		if err := paused.Update(t.Context(), create(storetest.Node(1))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaseFor + time.Second)
		if err := paused.Held(); !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("before it knows of another owner: %v, want storage.unavailable", err)
		}
		next := open(t, cfg)
		if next.Fence() != paused.Fence()+1 {
			t.Errorf("fence %d follows %d", next.Fence(), paused.Fence())
		}
		ran := false
		err := paused.Update(t.Context(), func(tx conductor.Tx) error {
			ran = true
			return tx.CreateNode(storetest.Node(2))
		})
		if !fault.Has(err, fault.StorageLost) || ran {
			t.Errorf("the late write: %v (ran: %v), want storage.lost_lease", err, ran)
		}
		select {
		case <-paused.Lost():
		default:
			t.Error("Lost is not closed")
		}
		if err := paused.Held(); !fault.Has(err, fault.StorageLost) {
			t.Errorf("held: %v", err)
		}
		if err := paused.Hold(t.Context()); !fault.Has(err, fault.StorageLost) {
			t.Errorf("hold: %v", err)
		}
		if err := next.Held(); err != nil {
			t.Error(err)
		}
		if err := next.Update(t.Context(), create(storetest.Node(3))); err != nil {
			t.Error(err)
		}
		if err := next.View(t.Context(), func(tx conductor.Tx) error {
			if _, err := tx.Node(storetest.ID(2)); !fault.Has(err, fault.NodeNotFound) {
				t.Errorf("the late write is in the database: %v", err)
			}
			_, err := tx.Node(storetest.ID(1))
			return err
		}); err != nil {
			t.Error(err)
		}
		// The end of the passed-over process is not the owner's, nor does it give the owner's lease away.
		if err := paused.Close(); err != nil {
			t.Error(err)
		}
		if third, err := Open(t.Context(), cfg); err == nil {
			_ = third.Close()
			t.Error("a third server started beside the owner")
		} else if !strings.Contains(err.Error(), "its lease runs out in 30s") {
			t.Errorf("refused by %q, want the time left", err)
		}
	})
}

func TestF09_ALivingOwnerIsNotPassedOver(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"clocks agree": 0, "the second one's clock is ahead": time.Hour, "far behind": -10 * 365 * 24 * time.Hour} {
		cfg := config(t, t.TempDir())
		synctest.Test(t, func(t *testing.T) {
			first := open(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- first.Hold(ctx) }()
			time.Sleep(10 * leaseFor)
			if err := first.Held(); err != nil {
				t.Errorf("%s: the renewed lease: %v", name, err)
			}
			other := cfg
			other.Now = func() time.Time { return time.Now().Add(ahead) }
			if second, err := Open(t.Context(), other); err == nil {
				_ = second.Close()
				t.Errorf("%s: two servers own one database", name)
			} else if want := "process " + strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), want) {
				t.Errorf("%s: refused by %q, want it to name %s", name, err, want)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := first.Update(t.Context(), create(storetest.Node(1))); err != nil {
				t.Errorf("%s: the owner writes: %v", name, err)
			}
		})
	}
}

func TestF09_AnOwnerOnAnotherHostIsWaitedFor(t *testing.T) {
	cfg := config(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		s := open(t, cfg)
		if _, err := s.writer.Conn.ExecContext(t.Context(), "UPDATE owner SET host = 'rack7', boot = 'other', pid = 4711"); err != nil {
			t.Fatal(err)
		}
		s.fence = 0 // it must not give the lease back
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if again, err := Open(t.Context(), cfg); err == nil {
			_ = again.Close()
			t.Fatal("a lease of another host was broken before its end")
		} else if !strings.Contains(err.Error(), "process 4711 on rack7") || !strings.Contains(err.Error(), "runs out in 10s") {
			t.Errorf("refused by %q", err)
		}
		time.Sleep(10 * time.Second)
		open(t, cfg)
	})
}

// An expiry that a clock far ahead wrote is not waited for.
func TestF28_ALeaseFromTheFutureIsBroken(t *testing.T) {
	cfg := config(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		ahead := cfg
		ahead.Now = func() time.Time { return time.Now().Add(10 * 365 * 24 * time.Hour) }
		old := open(t, ahead)
		before := time.Now()
		next := open(t, cfg)
		if took := time.Since(before); took > leaseFor {
			t.Errorf("the start took %s", took)
		}
		if err := old.Update(t.Context(), create(storetest.Node(1))); !fault.Has(err, fault.StorageLost) {
			t.Errorf("the old owner writes: %v", err)
		}
		if err := next.Update(t.Context(), create(storetest.Node(1))); err != nil {
			t.Error(err)
		}
	})
}

// While nothing can be written the lease runs out and nothing may be done; it comes back by itself (I30).
func TestI30_ARefusedRenewalIsTriedAgain(t *testing.T) {
	cfg := config(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		s := open(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Hold(ctx) }()
		if _, err := s.writer.Conn.ExecContext(t.Context(), "PRAGMA query_only = 1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaseFor + time.Second)
		synctest.Wait()
		if err := s.Held(); !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("held: %v, want storage.unavailable", err)
		}
		if _, err := s.writer.Conn.ExecContext(t.Context(), "PRAGMA query_only = 0"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryEvery + time.Second)
		synctest.Wait()
		if err := s.Held(); err != nil {
			t.Errorf("after the disk was there again: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestF28_AStepOfTheClockOnlySuspendsTheLease(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		cfg := config(t, t.TempDir())
		synctest.Test(t, func(t *testing.T) {
			skew := time.Duration(0)
			cfg.Now = func() time.Time { return time.Now().Add(skew) }
			s := open(t, cfg)
			skew = by
			if err := s.Held(); !fault.Has(err, fault.StorageUnavailable) {
				t.Errorf("a step by %s: %v, want the lease in doubt", by, err)
			}
			if err := s.renew(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Held(); err != nil {
				t.Errorf("a step by %s, renewed: %v", by, err)
			}
		})
	}
}

// resume is the server of TestF30: it opens the database, says so, and for each line of its input writes a node and
// says what came of it.
func resume(path string) int {
	keys, err := seal.Open(filepath.Join(filepath.Dir(path), "master.key"), false)
	if err != nil {
		return 2
	}
	s, err := Open(context.Background(), Config{Path: path, Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return 3
	}
	_, _ = os.Stdout.WriteString("open\n")
	in := bufio.NewScanner(os.Stdin)
	for n := 10; in.Scan(); n++ {
		err := s.Update(context.Background(), create(storetest.Node(n)))
		said := "written"
		if err != nil {
			said = string(fault.From(err).Reason)
		}
		_, _ = os.Stdout.WriteString(said + "\n")
	}
	_ = s.Close()
	return 0
}

func TestF30_I16_AStoppedProcessIsFencedWhenItGoesOn(t *testing.T) {
	cfg := config(t, t.TempDir())
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "SQLITE_TEST_RESUME="+cfg.Path)
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
	ended := false
	defer func() {
		if !ended {
			_ = other.Process.Kill()
			_ = other.Wait()
		}
	}()
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the other server said %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	ask := func() {
		t.Helper()
		if _, err := fmt.Fprintln(stdin); err != nil {
			t.Fatal(err)
		}
	}
	expect("open")
	ask()
	expect("written")
	if err := other.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	real := time.Now()
	synctest.Test(t, func(t *testing.T) { // here the waits of the start take no time
		ahead := time.Until(real.Add(leaseFor + time.Second))
		cfg.Now = func() time.Time { return time.Now().Add(ahead) }
		s := open(t, cfg)
		if err := s.Update(t.Context(), create(storetest.Node(1))); err != nil {
			t.Fatal(err)
		}
		if err := other.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		ask()
		expect(string(fault.StorageLost))
		if err := s.Update(t.Context(), create(storetest.Node(2))); err != nil {
			t.Errorf("the owner writes beside it: %v", err)
		}
	})
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	ended = true
	if err := other.Wait(); err != nil {
		t.Errorf("the passed-over server ended with %v", err)
	}
}

// Row 119: a killed server is followed at once, under the next fence number.
func TestF01_AKilledServerIsFollowedAtOnce(t *testing.T) {
	cfg := config(t, t.TempDir())
	for round := range 3 {
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
		if said, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || said != "held\n" {
			t.Fatalf("the other server said %q, %v", said, err)
		}
		if err := other.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = other.Wait() // it was killed
		_ = stdin.Close()
		synctest.Test(t, func(t *testing.T) {
			before := time.Now()
			cfg.Now = func() time.Time { return time.Now() }
			s, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(before); waited != 0 {
				t.Errorf("the start waited %s", waited)
			}
			if want := int64(2*round + 2); s.Fence() != want {
				t.Errorf("fence %d, want %d", s.Fence(), want)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
