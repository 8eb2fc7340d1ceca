package cli_test

import (
	"bytes"
	"context"
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
	fails  []string          // parts of commands that end with 1, which the page says
}{
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
				code := cli.Run(ctx, words(command), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
					Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + url}}}, cli.Local{Version: "test"})
				fails := slices.ContainsFunc(p.fails, func(part string) bool { return strings.Contains(command, part) })
				if code != cli.OK && code != cli.LeftOut && !fails || fails && code != cli.Failed {
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
