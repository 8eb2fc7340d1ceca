package cli_test

import (
	"bytes"
	"context"
	"fmt"
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

// words splits a command line as a shell does, as far as the pages need it.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

// Fifty machines are registered, managed and provided by one command with one view; the second run changes nothing; one
// that fails makes the exit code, and the others go on (requirements 136, 143 and 144).
func TestRegisterFifty(t *testing.T) {
	dir := t.TempDir()
	url, stop, err := serve(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var text strings.Builder
	text.WriteString("nodes:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "- {name: s%02d, driver: fake-hardware, automated_clean: false, ports: [\"52:54:00:00:01:%02x\"], traits: [CUSTOM_A], resource_class: big}\n", i, i)
	}
	file := filepath.Join(dir, "nodes.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bessemer := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + url}}}, host.Programs{})
		if code != want {
			t.Fatalf("bessemer %s ends with %d, expected %d:\n%s", strings.Join(args, " "), code, want, out.String())
		}
		return out.String()
	}
	got := bessemer(cli.OK, "register", file, "--provide", "--watch", "--yes")
	if !strings.HasPrefix(got, "for each node: manage, provide\n") || strings.Count(got, "enrolled, port ") != 50 || strings.Count(got, "  available\n") != 50 {
		t.Errorf("the view: %s", got)
	}
	before := bessemer(cli.OK, "node", "list", "--fields", "name,provision_state,updated_at", "-o", "json")
	got = bessemer(cli.OK, "register", file, "--provide", "--watch", "--yes")
	if strings.Count(got, "as it should be") != 50 || strings.Count(got, "is available, no need to provide") != 50 {
		t.Errorf("the second run: %s", got)
	}
	if after := bessemer(cli.OK, "node", "list", "--fields", "name,provision_state,updated_at", "-o", "json"); after != before {
		t.Errorf("the second run changed something:\n%s\n%s", before, after)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("nodes: [{name: bad, driver: nosuch}, {name: good, driver: fake-hardware, automated_clean: false}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got = bessemer(cli.Failed, "register", bad, "--provide", "--watch", "--yes"); !strings.Contains(got, "good  available\n") || !strings.Contains(got, "node bad: ") {
		t.Errorf("with a mistake: %s", got)
	}
}
