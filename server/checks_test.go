package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/storetest"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

type unsealed struct{}

func (unsealed) Seal(_, _ string, v []byte) (string, []byte, error) { return "k", v, nil }
func (unsealed) Open(_, _, _ string, v []byte) ([]byte, error)      { return v, nil }

func named(t *testing.T, list []api.Check, name string) api.Check {
	t.Helper()
	i := slices.IndexFunc(list, func(k api.Check) bool { return k.Name == name })
	if i < 0 {
		t.Fatalf("no check %q in %+v", name, list)
	}
	return list[i]
}

// right wants a check that is well, or one that is wrong and says what was found and what to do.
func right(t *testing.T, k api.Check, ok bool, found string) {
	t.Helper()
	if k.OK != ok || !strings.Contains(k.Found, found) || !ok && k.Hint == "" {
		t.Errorf("want ok %v with %q: %+v", ok, found, k)
	}
}

// A server that does not answer is looked at through its data directory: whether a process holds it, when it lived
// last, whether the database is sound (F9, I30).
func TestF09_TheDoctorLooksAtAServerThatDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Server{DataDir: dir}
	look := func() []api.Check { return examine(t.Context(), cfg, time.Now) }
	right(t, named(t, look(), "database"), false, "there is none")

	path := filepath.Join(dir, "bessemer.db")
	open := sqlite.Config{Path: path, Sealer: unsealed{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	store, err := sqlite.Open(t.Context(), open)
	if err != nil {
		t.Fatal(err)
	}
	alive := time.Now().Add(-90 * time.Second).UTC()
	err = store.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutSetting("conductor.alive", alive.Format(time.RFC3339Nano)) })
	if err != nil {
		t.Fatal(err)
	}
	held := named(t, look(), "server")
	right(t, held, false, "process "+strconv.Itoa(os.Getpid())+" holds the database")
	right(t, held, false, alive.Format(time.RFC3339))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gone := look()
	right(t, named(t, gone, "server"), false, "no process holds the database")
	right(t, named(t, gone, "database"), true, "sound")
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("looking changed the database (%v)", err)
	}

	torn := slices.Clone(before)
	for i := 3 * 4096; i < len(torn) && i < 9*4096; i++ {
		torn[i] ^= 0x5a
	}
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if k := named(t, look(), "database"); k.OK || k.Hint == "" {
		t.Errorf("a damaged database is %+v", k)
	}
	if err := os.WriteFile(path, []byte("no database at all, only some text that is long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	right(t, named(t, look(), "database"), false, path)
}

func TestCertificateChecks(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	other, otherKey := filepath.Join(dir, "b.crt"), filepath.Join(dir, "b.key")
	now := time.Now()
	for _, f := range [][2]string{{cert, key}, {other, otherKey}} {
		if err := selfSigned(f[0], f[1], "https://192.0.2.7", now); err != nil {
			t.Fatal(err)
		}
	}
	right(t, certificate("c", cert, key, now), true, "its key fits")
	right(t, certificate("c", cert, otherKey, now), false, "private key does not match")
	right(t, certificate("c", cert, key, now.AddDate(11, 0, 0)), false, "it ended at")
	right(t, certificate("c", cert, key, now.AddDate(10, 0, -5)), false, "it ends at")
	right(t, certificate("c", cert, key, now.AddDate(-1, 0, 0)), false, "it begins only at")
	right(t, certificate("c", filepath.Join(dir, "none"), "", now), false, "no such file")
}

func TestF28_TheDoctorSeesAClockThatWasSet(t *testing.T) {
	start := time.Now()
	c := checker{started: start, now: func() time.Time { return start.Add(time.Hour) }}
	right(t, c.clock(), true, "not set")
	// What differs between the two counts is what the clock was set by; a process can't set it to see.
	k := setBy(26*time.Hour, start)
	right(t, k, false, "set by 26h0m0s")
	right(t, setBy(-time.Hour, start), false, "set by -1h0m0s")
	right(t, setBy(time.Second, start), true, "not set")
}

func TestReachAndSpace(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := "https://" + ln.Addr().String()
	var c checker
	right(t, c.reach(t.Context(), "a", addr, "advertise-agent"), true, "answers")
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	k := c.reach(t.Context(), "a", addr, "advertise-agent")
	right(t, k, false, "refused")
	if !strings.Contains(k.Hint, "--advertise-agent") {
		t.Errorf("the hint is %q", k.Hint)
	}
	right(t, c.reach(t.Context(), "a", "https://", "x"), false, "no address")
	right(t, diskSpace(t.TempDir()), true, "GB free")
	right(t, diskSpace("/nosuch/folder"), false, "no such file")
}

// A running server's doctor finds all of it well, but for the ramdisk that nobody has built.
func TestADoctorOfARunningServer(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Server{DataDir: dir, BaseISO: filepath.Join(dir, "none.iso")}
	store, err := sqlite.Open(context.Background(), sqlite.Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: unsealed{}, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := checker{cfg: cfg, store: store, now: time.Now, started: time.Now(), agentURL: "https://127.0.0.1:1", bootURL: "http://127.0.0.1:1"}
	list := c.checks(t.Context())
	right(t, named(t, list, "database"), true, "sound")
	right(t, named(t, list, "ramdisk"), false, "machines can't be booted")
	if k := named(t, list, "ramdisk"); k.Reason != string(fault.BootNoRamdisk) || !strings.Contains(k.Hint, "bessemer ramdisk build") {
		t.Errorf("without a ramdisk: %+v", k)
	}
	right(t, named(t, list, "agents' address"), false, "refused")
	right(t, named(t, list, "clock"), true, "not set")
	// A node whose row was lost: it is told, and made anew by who mends rows.
	store.Prepare("f", func(*conductor.Node) ([]byte, error) { return []byte("row"), nil })
	if err := store.Update(t.Context(), func(tx conductor.Tx) error { return tx.CreateNode(storetest.Node(1)) }); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "bessemer.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "DELETE FROM node_rows")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	right(t, named(t, c.checks(t.Context()), "database"), false, "1 rows that lists of nodes are made of were lost or damaged; no node is lost")
	ready := make(chan struct{})
	close(ready)
	ctx, end := context.WithCancel(t.Context())
	mended := make(chan struct{})
	go func() {
		defer close(mended)
		(&server{store: store, log: slog.New(slog.DiscardHandler)}).prepareRows(ctx, ready)
	}()
	for worn := 1; worn > 0; runtime.Gosched() {
		if worn, err = store.WornRows(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	end()
	<-mended
	right(t, named(t, c.checks(t.Context()), "database"), true, "sound")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if k := named(t, c.checks(t.Context()), "database"); k.OK {
		t.Errorf("a database that can't be read is %+v", k)
	}
}
