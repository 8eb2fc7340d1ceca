package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
)

// Ten machines are available when ten new ones come. Whatever is asked of the new ones, by name, by expression or by a file
// that holds them all, the ready ones stay as they are, to the last field and line of history, and no BMC of theirs is given an
// order; an inspection of theirs is refused with what would have to be (requirements rows 129 and 133).
func TestTenNewAmongTenAvailable(t *testing.T) {
	dir := t.TempDir()
	machines := &recorder{}
	server, stop, err := world{pretend: true, wrap: func(d conductor.Driver) conductor.Driver { machines.Driver = d; return machines }}.serve(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	bessemer := func(want int, args ...string) string {
		t.Helper()
		var out, said bytes.Buffer
		code := cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &said, Now: time.Now,
			Environment: config.Environment{Home: dir, Variables: []string{"BESSEMER_SERVER=" + server}}}, host.Programs{})
		if code != want {
			t.Fatalf("bessemer %s ends with %d, expected %d:\n%s%s", strings.Join(args, " "), code, want, out.String(), said.String())
		}
		if code != cli.OK {
			return out.String() + said.String()
		}
		return out.String()
	}
	write := func(name string, from, to int) string {
		var text strings.Builder
		text.WriteString("nodes:\n")
		for i := from; i < to; i++ {
			fmt.Fprintf(&text, "- {name: s%02d, driver: fake-hardware, resource_class: big, ports: [\"52:54:00:00:02:%02x\"]}\n", i, i)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	old, all := write("old.yaml", 0, 10), write("all.yaml", 0, 20)
	bessemer(cli.OK, "register", old, "--inspect", "--provide", "--watch", "--yes")

	// ready is all that there is to know of the ten.
	ready := func() string {
		t.Helper()
		var text strings.Builder
		for i := range 10 {
			for _, args := range [][]string{{"node", "show"}, {"node", "history"}} {
				text.WriteString(bessemer(cli.OK, append(args, fmt.Sprintf("s%02d", i), "-o", "json")...))
			}
		}
		return text.String()
	}
	states := func(want string) {
		t.Helper()
		var nodes []struct {
			Name  string `json:"name"`
			State string `json:"provision_state"`
		}
		if err := json.Unmarshal([]byte(bessemer(cli.OK, "node", "list", "-o", "json")), &nodes); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if expected := map[bool]string{true: "available", false: want}[n.Name < "s10"]; n.State != expected {
				t.Errorf("%s is %s, expected %s", n.Name, n.State, expected)
			}
		}
		if len(nodes) != 20 {
			t.Errorf("%d nodes", len(nodes))
		}
	}
	before := ready()
	machines.mu.Lock()
	acts := len(machines.acts)
	machines.mu.Unlock()

	bessemer(cli.OK, "register", all, "--manage", "--watch", "--yes")
	states("manageable")
	for _, x := range []struct {
		code int
		args []string
		says string
	}{
		{cli.Failed, []string{"inspect", "s00", "--yes"}, "inspect is not possible in state \"available\"\n  what to do: possible here: manage, deploy\n"},
		{cli.LeftOut, []string{"inspect", "s00", "s01", "--yes"}, "available  left out: it is available; inspect is possible from manageable"},
		{cli.LeftOut, []string{"inspect", "--where", "resource_class=big", "--watch", "--yes"}, "inspect: 10 done, 10 left out, 0 failed"},
		{cli.OK, []string{"inspect", "--where", "state=manageable", "--watch", "--yes"}, "inspect: 10 done, 0 left out, 0 failed"},
		{cli.OK, []string{"node", "power", "on", "--where", "state=manageable", "--watch", "--yes"}, "power on: 10 done, 0 left out, 0 failed"},
		{cli.LeftOut, []string{"node", "clean", "--where", "name=s*", "--step", "bios.factory_reset", "--disable-ramdisk", "--watch", "--yes"}, "clean: 10 done, 10 left out, 0 failed"},
	} {
		if got := bessemer(x.code, x.args...); !strings.Contains(got, x.says) {
			t.Errorf("bessemer %s does not say %q:\n%s", strings.Join(x.args, " "), x.says, got)
		}
		states("manageable")
	}
	bessemer(cli.OK, "register", all, "--inspect", "--watch", "--yes")
	states("manageable")
	if after := ready(); after != before {
		t.Errorf("the available machines were\n%s\nand are\n%s", before, after)
	}
	if got := bessemer(cli.OK, "provide", "--where", "state=manageable", "--watch", "--yes"); !strings.Contains(got, "provide: 10 done, 0 left out, 0 failed") {
		t.Errorf("provide says\n%s", got)
	}
	states("available")
	if after := ready(); after != before {
		t.Errorf("the available machines were\n%s\nand are\n%s", before, after)
	}
	machines.mu.Lock()
	defer machines.mu.Unlock()
	for _, act := range machines.acts[acts:] {
		for i := range 10 {
			if id := field(t, before, i); strings.HasPrefix(act, id) {
				t.Errorf("an available machine's BMC was told: %s", act)
			}
		}
	}
	if len(machines.acts) == acts {
		t.Error("no BMC was told anything: nothing was looked at")
	}
}

// field is the UUID of the machine of that number in what ready tells.
func field(t *testing.T, text string, number int) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	for i := 0; ; i++ {
		var shown any
		if err := d.Decode(&shown); err != nil {
			t.Fatal(err)
		}
		if n, ok := shown.(map[string]any); ok && n["name"] == fmt.Sprintf("s%02d", number) {
			return n["uuid"].(string)
		}
	}
}
