package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
)

// The user command makes, changes and removes users of files that a server then reads, and leaves alone what else stands
// in them. What the server would refuse is not written.
func TestUserCommandKeepsTheFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Server{DataDir: dir, Auth: "basic", Users: filepath.Join(dir, "users"), Roles: filepath.Join(dir, "roles")}
	command := func(in string, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := cli.Run(t.Context(), append([]string{"user"}, args...), cli.Streams{In: strings.NewReader(in), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_DATA_DIR=" + dir, "BESSEMER_AUTH=basic"}}}, host.Programs{Users: userFiles()})
		return fmt.Sprintf("%sexit %d", out.String(), code)
	}
	grant := func(name, password string) string {
		t.Helper()
		auth, err := authenticator(cfg, false, nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		q := httptest.NewRequest("GET", "/v1/nodes", nil)
		q.SetBasicAuth(name, password)
		if _, g, err := auth.Authenticate(q); err == nil {
			return fmt.Sprint(g.Role, " ", g.Project)
		}
		return "refused"
	}
	said := func(got string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("it says %s\nexpected %s", got, want)
			}
		}
	}
	said(command("", "set", "ann", "--role", "admin"), "there is no user ann", "exit 1")
	said(command("one\n", "set", "ann", "--new-password-file", "-"), "would have no access: give --role", "exit 1")
	said(command("one\n", "set", "ann", "--role", "king", "--new-password-file", "-"), `nothing was written: roles file, line 1: the role is "king"`, "exit 1")
	said(command("one\n", "set", "a:b", "--role", "admin", "--new-password-file", "-"), "no name of a user", "exit 1")
	said(command(strings.Repeat("x", 73), "set", "ann", "--role", "admin", "--new-password-file", "-"), "72 bytes", "exit 1")
	if exists(cfg.Users) || exists(cfg.Roles) {
		t.Fatal("a mistake has left files")
	}
	said(command("one\n", "set", "ann", "--role", "admin", "--new-password-file", "-"), "user ann is set", "exit 0")
	if st, err := os.Stat(cfg.Users); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the user file is %v (%v), expected one for nobody else", st.Mode(), err)
	}
	if got := grant("ann", "one"); got != "admin " {
		t.Errorf("ann is %q", got)
	}
	if err := os.WriteFile(cfg.Roles, []byte("# who\nann:admin\nghost:observer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.Roles, 0o640); err != nil {
		t.Fatal(err)
	}
	said(command("two\n", "set", "bob", "--role", "observer:lab", "--new-password-file", "-"), "user bob is set")
	said(command("", "set", "ann", "--role", "operator"), "user ann is set")
	said(command("three\n", "set", "bob", "--new-password-file", "-"), "user bob is set")
	said(command("", "list"), "ann   operator  -", "bob   observer  lab", "exit 0")
	said(command("", "list", "-o", "json"), `"project": "lab"`)
	for who, want := range map[[2]string]string{{"ann", "one"}: "operator ", {"bob", "two"}: "refused", {"bob", "three"}: "observer lab"} {
		if got := grant(who[0], who[1]); got != want {
			t.Errorf("%s is %q, expected %q", who, got, want)
		}
	}
	if text, err := os.ReadFile(cfg.Roles); err != nil || string(text) != "# who\nann:operator\nghost:observer\nbob:observer:lab\n" {
		t.Errorf("the roles are %q (%v)", text, err)
	}
	if st, err := os.Stat(cfg.Roles); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("the roles file is %v (%v), expected its own mode", st.Mode(), err)
	}
	said(command("", "delete", "nobody"), `there is no user "nobody"`, "exit 1")
	said(command("", "delete", "ann"), "user ann is deleted", "exit 0")
	if got := grant("ann", "one"); got != "refused" {
		t.Errorf("ann is %q, expected to be gone", got)
	}
	said(command("", "delete", "bob"), "names no user", "exit 1")
	said(command("", "set", "bob"), "give --role, --new-password-file or both", "exit 2")
	if left, err := filepath.Glob(filepath.Join(dir, "*.new-*")); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
}

// The commands that the page on users shows do what it says.
func TestUsersPage(t *testing.T) {
	page, err := os.ReadFile("../docs/howto/users.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"ann.txt", "bob.txt"} {
		if err := os.WriteFile(name, []byte("open sesame\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wants := []string{"user ann is set", "user bob is set", "user ann is set", "ann   admin     -\nbob   observer  lab\n", "user bob is deleted"}
	for i, m := range regexp.MustCompile(`(?m)^\$ bessemer (.*)$`).FindAllStringSubmatch(string(page), -1) {
		var out bytes.Buffer
		code := cli.Run(t.Context(), strings.Fields(m[1]), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_DATA_DIR=" + dir}}}, host.Programs{Users: userFiles()})
		if i >= len(wants) || code != cli.OK || !strings.Contains(out.String(), wants[i]) {
			t.Errorf("bessemer %s ends with %d: %s", m[1], code, out.String())
		}
		if i == len(wants)-1 {
			wants = nil
		}
	}
	if wants != nil {
		t.Error("the page shows fewer commands than are looked at here")
	}
}
