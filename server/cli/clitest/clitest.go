// Package clitest is what the tests of the command's parts share: a command line that is typed, servers that answer from
// a table or note what they are asked, a machine at work, and golden files. It has no code but for tests.
package clitest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Now is the time at which command lines are typed.
var Now = time.Date(2026, 11, 20, 14, 39, 8, 0, time.UTC)

// Before is so long before Now.
func Before(d time.Duration) api.Time { return api.Time{Time: Now.Add(-d)} }

// Update is the flag -update: golden files are written anew.
var Update = flag.Bool("update", false, "write the golden files anew")

// Run gives what a command wrote, errors last, and its exit code.
func Run(t *testing.T, server string, terminal bool, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs, Terminal: terminal, Now: func() time.Time { return Now },
		Environment: config.Environment{Home: "/home/me", Variables: []string{"BESSEMER_SERVER=" + server}}}, host.Programs{Version: "test"})
	text := out.String() + errs.String()
	if code != cli.OK {
		text += fmt.Sprintf("exit %d\n", code)
	}
	return text
}

// Golden compares what a command wrote with the file of this name in testdata/golden.
func Golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *Update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew):\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}
