package main

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/rest/login"
)

// TestI26_AFailedReloadIsTriedAgain: a role that was taken away while its file could not be read is gone once it can,
// although the file's stamp is the one that was seen before; what fails in the same way is logged once.
func TestI26_AFailedReloadIsTriedAgain(t *testing.T) {
	dir, line := t.TempDir(), ""
	var err error
	if line, err = login.UserLine("ann", "one"); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := &server{cfg: config.Server{Users: filepath.Join(dir, "users"), Roles: filepath.Join(dir, "roles"), Auth: "basic"}, log: slog.New(slog.NewTextHandler(&log, nil))}
		write := func(name, text string) {
			t.Helper()
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(s.cfg.Users, line)
		write(s.cfg.Roles, "ann:admin")
		auth, err := authenticator(s.cfg, false, io.Discard, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		b := auth.(*login.Basic)
		s.users = usersStamp(s.cfg)
		wait := func() { // over the next look at the files
			t.Helper()
			<-time.After(usersEvery)
			synctest.Wait()
		}
		role := func() access.Role {
			t.Helper()
			q := httptest.NewRequest("GET", "/v1/nodes", nil)
			q.SetBasicAuth("ann", "one")
			_, grant, err := b.Authenticate(q)
			if err != nil {
				t.Error(err)
			}
			return grant.Role
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.followUsers(ctx, b)
		<-time.After(usersEvery / 2) // between its looks

		// It is caught half written; the whole of it has the same size and time.
		at := time.Date(2026, 11, 20, 14, 39, 8, 0, time.UTC)
		replace := func(text string) {
			t.Helper()
			write(s.cfg.Roles, text)
			if err := os.Chtimes(s.cfg.Roles, at, at); err != nil {
				t.Fatal(err)
			}
		}
		replace("ann:observe?")
		wait()
		wait()
		wait()
		if got := role(); got != access.Admin {
			t.Errorf("while the file is wrong the role is %q", got)
		}
		if n := strings.Count(log.String(), "not taken over"); n != 1 {
			t.Errorf("the same failure is logged %d times: %s", n, log.String())
		}
		replace("ann:observer")
		wait()
		if got := role(); got != access.Observer {
			t.Errorf("after the file is right the role is %q", got)
		}
		wait()
		if n := strings.Count(log.String(), "read anew"); n != 1 {
			t.Errorf("the users are taken over %d times: %s", n, log.String())
		}
		cancel()
		synctest.Wait()
	})
}
