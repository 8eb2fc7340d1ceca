package lint

import (
	"go/ast"
	"go/token"
	"testing"
)

func counter(n *int) func(ast.Node, string, ...any) {
	return func(ast.Node, string, ...any) { *n++ }
}

// Every rule is shown what it must find and what it must let pass: file name, source, and the number of findings.
func TestRules(t *testing.T) {
	cases := map[string][]struct {
		file, src string
		want      int
	}{
		"shell": {
			{"agent/system/a.go", `package system; import "os/exec"; var _ = exec.Command("sh", "-c", "ls")`, 1},
			{"agent/a.go", `package main; func f(r interface{ Run(string) }) { r.Run("/bin/bash") }`, 1},
			{"agent/system/a.go", `package system; import "os/exec"; var _ = exec.Command("mdadm", "--detail")`, 0},
		},
		"exec": {
			{"server/rest/a.go", `package rest; import "os/exec"; var _ = exec.Command("ls")`, 1},
			{"server/rest/a.go", `package rest; import x "os/exec"; var _ = x.LookPath`, 1},
			{"integration/vm/a.go", `package vm; import "os/exec"; var _ = exec.Command("ls")`, 0},
			{"server/rest/a.go", `package rest; func f(exec interface{ Command(string) }) { exec.Command("x") }`, 0},
		},
		"skip-verify": {
			{"agent/channel/a.go", `package channel; import "crypto/tls"; var _ = tls.Config{InsecureSkipVerify: true}`, 1},
			{"agent/channel/a_test.go", `package channel; import "crypto/tls"; func f(c *tls.Config) { c.InsecureSkipVerify = true }`, 1},
			{"agent/channel/a.go", `package channel; import "crypto/tls"; var _ = tls.Config{MinVersion: tls.VersionTLS13}`, 0},
		},
		"sleep": {
			{"agent/run/a_test.go", `package run; import "time"; func f() { time.Sleep(1) }`, 1},
			{"agent/run/a_test.go", `package run; import "time"; func f() { time.After(1) }`, 0},
			{"agent/run/a_test.go", `package run; import ("time"; "testing/synctest"); var _ = synctest.Test; func f() { time.Sleep(1) }`, 0},
		},
		"wall-time": {
			{"agent/run/a.go", `package run; import "time"; var now = time.Now`, 1},
			{"agent/run/a.go", `package run; import "time"; func f(t time.Time) { _ = time.Since(t) }`, 1},
			{"agent/main.go", `package main; import "time"; var now = time.Now`, 0},
			{"agent/run/a_test.go", `package run; import "time"; var now = time.Now`, 0},
			{"agent/run/a.go", `package run; import "time"; var _ = time.NewTimer(1)`, 0},
		},
		"default-http": {
			{"server/boot/a.go", `package boot; import "net/http"; var _, _ = http.Get("x")`, 1},
			{"server/boot/a.go", `package boot; import "net/http"; var c = http.DefaultClient`, 1},
			{"server/main.go", `package main; import "net/http"; func main() { http.ListenAndServeTLS("", "", "", nil) }`, 1},
			{"server/boot/a.go", `package boot; import "net/http"; var c = http.Client{Timeout: 1}`, 0},
		},
		"print": {
			{"server/boot/a.go", `package boot; import "fmt"; func f() { fmt.Println() }`, 1},
			{"server/boot/a.go", `package boot; import "log"; func f() { log.Printf("") }`, 1},
			{"server/boot/a.go", `package boot; func f() { println() }`, 1},
			{"server/boot/a.go", `package boot; import "log/slog"; func f() { slog.Info("x") }`, 1},
			{"server/boot/a.go", `package boot; import ("fmt"; "io"; "log/slog"); func f(w io.Writer, l *slog.Logger) { fmt.Fprintln(w); l.Info("x") }`, 0},
			{"server/main.go", `package main; import "fmt"; func main() { fmt.Println() }`, 0},
		},
		"secret-compare": {
			{"server/token/a.go", `package token; func f(a struct{ Secret string }, b string) bool { return a.Secret == b }`, 1},
			{"server/token/a.go", `package token; func f(token, given []byte) bool { return string(given) != string(token) }`, 1},
			{"server/token/a.go", `package token; func f(password string) bool { return password == "" }`, 0},
			{"server/token/a.go", `package token; func f(token []byte) bool { return len(token) == len("x") || token == nil }`, 0},
		},
		"init": {
			{"server/rest/a.go", `package rest; func init() {}`, 1},
			{"server/rest/a.go", `package rest; type t struct{}; func (t) init() {}`, 0},
		},
		"sql": {
			{"server/sqlite/a.go", `package sqlite; func f(db interface{ Exec(string) }, n string) { db.Exec("DELETE FROM " + n) }`, 1},
			{"server/sqlite/nodes/a.go", `package nodes; func f(db interface{ Exec(string) }, n string) { db.Exec("DELETE FROM " + n) }`, 1},
			{"server/sqlite/a.go", `package sqlite; import "fmt"; func f(db interface{ Query(string) }, n string) { db.Query(fmt.Sprintf("SELECT %s", n)) }`, 1},
			{"server/sqlite/a.go", `package sqlite; func f(db interface{ Exec(string, ...any) }, n string) { db.Exec("DELETE FROM nodes WHERE id = ?", n) }`, 0},
			{"server/sqlite/a.go", `package sqlite; const cols = "a, b"; func f(db interface{ Exec(string) }) { db.Exec("SELECT " + cols) }`, 0},
			{"server/sqlite/a.go", `package sqlite; func f(db interface{ Exec(string) }) { for _, t := range []string{"a", "b"} { db.Exec("VACUUM " + t) } }`, 0},
			{"server/sqlite/a.go", `package sqlite; func f(db interface{ Exec(string) }, all []string) { for _, t := range all { db.Exec("VACUUM " + t) } }`, 1},
		},
		"name": {
			{"server/util/a.go", `package util`, 1},
			{"shared/step/a.go", `package step`, 0},
		},
		"unfinished": {
			{"server/rest/a.go", "package rest // TODO: all of it", 1},
			{"server/rest/a.go", "package rest // todos are listed", 0},
		},
		"reason": {
			{"server/rest/a.go", `package rest; import "github.com/bessemer-metal/bessemer/shared/fault"; var _ = fault.New("made.up", "x")`, 1},
			{"server/rest/a.go", `package rest; import "github.com/bessemer-metal/bessemer/shared/fault"; var _ = fault.New(fault.NodeBusy, "x")`, 0},
		},
	}
	for _, r := range Rules() {
		if len(cases[r.Name]) < 2 || r.Why == "" {
			t.Errorf("rule %s needs a reason, and cases that it finds and that it lets pass", r.Name)
		}
		for _, c := range cases[r.Name] {
			f, err := parse(token.NewFileSet(), c.file, c.src)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			got := 0
			r.Find(f, counter(&got))
			if got != c.want {
				t.Errorf("%s finds %d in %s: %s; want %d", r.Name, got, c.file, c.src, c.want)
			}
		}
	}
}
