package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/config"
)

// pages are the howto pages whose commands are run here one after the other, each page against a server of its own with
// what the page takes for granted.
var pages = map[string]struct {
	before []string          // commands that the page does not show
	files  map[string]string // in the folder that the commands run in
	source int               // nodes of the other Ironic that the page calls http://192.0.2.20:6385
}{
	"register-and-provide.md": {
		files: map[string]string{"secret.txt": "x", "nodes.yaml": "nodes: [{name: n1, driver: fake-hardware, automated_clean: false}, {name: n2, driver: fake-hardware, automated_clean: false}]"},
	},
	"import-from-ironic.md": {
		source: 10,
		files:  map[string]string{"old.txt": "secret", "bmc.yaml": "n7: {redfish_password: x}"},
	},
	"selectors.md": {
		before: []string{"register nodes.yaml", "image add debian.raw.zst"},
		files: map[string]string{"nodes.yaml": "nodes: [{name: n1, driver: fake-hardware, inspect_interface: fake}, {name: n2, driver: fake-hardware, inspect_interface: fake}, {name: n3, driver: fake-hardware}]",
			"rack7.txt": "n1\nn2\n", "debian.raw.zst": "image"},
	},
}

// Every command of these pages does what the page says when it is typed.
func TestHowtoCommandsRun(t *testing.T) {
	for page, p := range pages {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../docs/howto", page))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			t.Chdir(dir)
			for name, content := range p.files {
				if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			url, stop, err := serve(filepath.Join(dir, "data"))
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			other := httptest.NewServer(ironic(p.source))
			defer other.Close()
			commands := slices.Clone(p.before)
			for _, m := range regexp.MustCompile(`(?m)^\$ bessemer (.*)$`).FindAllStringSubmatch(string(text), -1) {
				commands = append(commands, m[1])
			}
			if len(commands) < len(p.before)+3 {
				t.Fatalf("only %d commands are shown", len(commands)-len(p.before))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, command := range commands {
				var out bytes.Buffer
				code := cli.Run(ctx, words(strings.ReplaceAll(command, "http://192.0.2.20:6385", other.URL)), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
					Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + url}}}, cli.Local{Version: "test"})
				if code != cli.OK && code != cli.LeftOut {
					t.Errorf("bessemer %s ends with %d:\n%s", command, code, out.String())
				}
			}
		})
	}
}

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
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bessemer := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + url}}}, cli.Local{})
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
