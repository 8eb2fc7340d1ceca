//go:build vm

package clients

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// variables are what a line may hold that the server has made up: a column of the first row of a list.
var variables = map[string]struct{ list, column string }{
	"{GROUP}": {"port group list --node n1", "UUID"}, "{HISTORY}": {"node history list n1", "UUID"}, "{HOST}": {"conductor list", "Hostname"},
}

// TestEveryCommandOfBaremetal runs each command that the client has at least once, for JSON and for a table where it
// answers with data. A command that commands.txt lacks fails the test.
func TestEveryCommandOfBaremetal(t *testing.T) {
	t.Parallel()
	b := newBaremetal(t, server(t, "--allow-origin", "127.0.0.0/8").URL) // that is where its image is
	resources := filepath.Join(t.TempDir(), "resources.json")
	err := os.WriteFile(resources, []byte(`{"chassis": [{"description": "c", "nodes": [{"driver": "fake-hardware", "name": "f1",
		"ports": [{"address": "52:54:00:c2:00:01"}], "portgroups": [{"name": "fg", "ports": [{"address": "52:54:00:c2:00:02"}]}]}]}]}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, line := range strings.Split(b.do("--help"), "\n") {
		// "  node list      List baremetal nodes": long names have two spaces behind them, short ones more.
		if name, _, is := strings.Cut(strings.TrimPrefix(line, "  "), "  "); is && strings.HasPrefix(line, "  ") && name != "" && !strings.HasPrefix(name, " ") && !strings.HasPrefix(name, "-") {
			missing[name] = true
		}
	}
	if len(missing) < 90 {
		t.Fatalf("the client has %d commands", len(missing))
	}
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		how, line, _ := strings.Cut(line, " ")
		for name := range missing {
			if line == name || strings.HasPrefix(line, name+" ") {
				delete(missing, name)
			}
		}
		line = strings.Replace(line, "resources.json", resources, 1)
		for name, v := range variables {
			if strings.Contains(line, name) {
				line = strings.ReplaceAll(line, name, b.list(v.list)[0][v.column].(string))
			}
		}
		b.command(how, line)
	}
	for name := range missing {
		t.Errorf("%q was never run: commands.txt lacks it", name)
	}
}

// command carries out a line of commands.txt.
func (b *baremetal) command(how, line string) {
	b.t.Helper()
	switch how {
	case "show":
		var v any
		if err := json.Unmarshal([]byte(b.do(line+" -f json")), &v); err != nil {
			b.t.Errorf("baremetal %s: %v", line, err)
		}
		if table := b.do(line + " -f table"); !strings.HasPrefix(table, "+-") && strings.TrimSpace(table) != "" {
			b.t.Errorf("baremetal %s: no table: %s", line, table)
		}
	case "do":
		b.do(line)
	case "refused":
		b.refused(line, "HTTP 4")
	case "until":
		node, want, _ := strings.Cut(line, " ")
		var n map[string]any
		for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
			if n = b.object("node show " + node + " --fields provision_state last_error reservation"); n["provision_state"] == want && n["reservation"] == nil {
				return
			}
			if strings.HasSuffix(n["provision_state"].(string), "failed") {
				break
			}
		}
		b.t.Fatalf("%s is %v, expected %s", node, n, want)
	case "until-power":
		node, want, _ := strings.Cut(line, " ")
		b.power(node, want)
	default:
		b.t.Fatalf("commands.txt: %q is unknown", how)
	}
}
