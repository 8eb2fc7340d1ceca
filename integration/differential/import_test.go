//go:build ironic

package differential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

// kinds are the lists that an import takes over, with their keys and what tells one object from another.
var kinds = []struct{ path, key, id string }{
	{"/v1/nodes", "nodes", "uuid"}, {"/v1/ports", "ports", "uuid"}, {"/v1/portgroups", "portgroups", "uuid"},
	{"/v1/chassis", "chassis", "uuid"}, {"/v1/deploy_templates", "deploy_templates", "name"},
}

// own are the fields that each server has its own values of, and why.
var own = map[string]string{
	"links": "its address", "ports": "its address", "portgroups": "its address", "states": "its address", "volume": "its address", "nodes": "its address",
	"created_at": "when it was made here", "updated_at": "when it was changed here", "provision_updated_at": "when it was moved here",
	"conductor": "its name", "driver_internal_info": "what it keeps for itself", "last_error": "what failed here", "power_state": "what it read",
	"internal_info": "what it keeps for itself",
}

// TestImportOf500LikeIronic: five hundred nodes of Debian's Ironic, with their ports, groups, traits, a chassis and a template, are
// imported by the command. What is read from this server then is what Ironic said and says, field by field, and a second import
// has nothing to do (requirements row 42).
func TestImportOf500LikeIronic(t *testing.T) {
	const count = 500
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	dir := t.TempDir()
	built := *program
	var err error
	if built == "" {
		if built, err = servers.Build(ctx, root, dir); err != nil {
			t.Fatal(err)
		}
	}
	started := func(s *servers.Server, err error) *servers.Server {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said last:\n%s", s.Dir, s.Said())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	theirs := started(servers.Ironic(ctx, servers.IronicConfig{Dir: t.TempDir()}))
	ours := started(servers.Bessemer(ctx, servers.BessemerConfig{Program: built, Dir: dir}))
	populate(ctx, t, theirs, count)

	before := everything(ctx, t, theirs)
	if n := len(before["nodes"]); n != count {
		t.Fatalf("Ironic lists %d nodes", n)
	}
	bessemer := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, built, append([]string{"--server", ours.URL}, args...)...)
		cmd.Env = []string{"HOME=" + dir}
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("bessemer %s: %v\n%s", strings.Join(args, " "), err, said[max(0, len(said)-4000):])
		}
		return string(said)
	}
	all := 0
	for _, k := range kinds {
		all += len(before[k.key])
	}
	if said := bessemer("import", "--from", "ironic", theirs.URL); !strings.Contains(said, fmt.Sprintf("%d create", all)) || !strings.Contains(said, "nothing was done") {
		t.Errorf("the dry run says\n%s", said[max(0, len(said)-2000):])
	}
	if now := everything(ctx, t, ours); len(now["nodes"])+len(now["ports"]) > 0 {
		t.Errorf("the dry run made %d nodes and %d ports", len(now["nodes"]), len(now["ports"]))
	}
	if said := bessemer("import", "--from", "ironic", theirs.URL, "--apply", "--yes"); !strings.Contains(said, fmt.Sprintf("import: %d done, 0 failed, 0 left out", all)) {
		t.Errorf("the import says\n%s", said[max(0, len(said)-2000):])
	}
	if said := bessemer("import", "--from", "ironic", theirs.URL, "--apply", "--yes"); !strings.Contains(said, fmt.Sprintf("%d same", all)) {
		t.Errorf("a second import says\n%s", said[max(0, len(said)-2000):])
	}
	if after := everything(ctx, t, theirs); !reflect.DeepEqual(before, after) {
		t.Error("Ironic's own records are others than before")
	}
	compared := 0
	exported := everything(ctx, t, ours)
	for _, k := range kinds {
		if len(exported[k.key]) != len(before[k.key]) {
			t.Errorf("%d %s became %d", len(before[k.key]), k.key, len(exported[k.key]))
		}
		for id, want := range before[k.key] {
			have := exported[k.key][id]
			for field, value := range want {
				switch {
				case own[field] != "" || strings.HasSuffix(field, "_interface"): // fake-hardware has other implementations here
					continue
				case field == "provision_state" && value == "available": // to offer it is a conscious act
					value = "manageable"
				case field == "protected" && want["provision_state"] != "active": // what holds no instance can't be
					value = false
				}
				compared++
				if !reflect.DeepEqual(value, have[field]) {
					t.Errorf("%s %s: %s was %v and became %v", k.key, id, field, value, have[field])
				}
			}
		}
	}
	if compared < count*30 {
		t.Errorf("%d fields were compared", compared)
	}
	t.Logf("%d objects, %d fields", all, compared)
}

// populate gives Ironic its nodes. They are made by its API; as nodes of fake hardware would take minutes to deploy, their states
// are set in its database, and so is the owner, which who has no project may not name.
func populate(ctx context.Context, t *testing.T, s *servers.Server, count int) {
	t.Helper()
	made := func(path string, body map[string]any) map[string]any {
		t.Helper()
		return call(ctx, t, http.MethodPost, s.URL+path, body)
	}
	row := made("/v1/chassis", map[string]any{"description": "row 1", "extra": map[string]any{"room": "A"}})
	made("/v1/deploy_templates", map[string]any{"name": "CUSTOM_BOOST", "steps": []any{map[string]any{"interface": "bios", "step": "apply_configuration", "priority": 90,
		"args": map[string]any{"settings": []any{map[string]any{"name": "boost", "value": "on"}}}}}})
	for n := range count {
		node := map[string]any{"name": fmt.Sprintf("old%03d", n), "driver": "fake-hardware", "chassis_uuid": row["uuid"], "description": fmt.Sprintf("node %d of ü", n),
			"properties":     map[string]any{"cpu_arch": "x86_64", "memory_mb": 1024 * n, "root_device": map[string]any{"serial": fmt.Sprint("S", n)}, "capabilities": "boot_mode:uefi"},
			"extra":          map[string]any{"rack": n / 40, "a/b": "~", "list": []any{1, "x", nil}},
			"resource_class": []string{"big", "small"}[n%2], "automated_clean": []any{nil, true, false}[n%3]}
		if n%11 == 0 {
			node["retired"], node["retired_reason"] = true, "old"
		}
		made("/v1/nodes", node)
		id := nodeID(ctx, t, s, node["name"].(string))
		port := map[string]any{"node_uuid": id, "address": fmt.Sprintf("52:54:00:00:%02x:%02x", n/256, n%256), "physical_network": "net", "extra": map[string]any{"n": n},
			"local_link_connection": map[string]any{"switch_id": "aa:bb:cc:dd:ee:ff", "port_id": fmt.Sprint("eth", n)}}
		if n%10 == 0 {
			port["portgroup_uuid"] = made("/v1/portgroups", map[string]any{"node_uuid": id, "name": fmt.Sprint("bond", n), "mode": "802.3ad", "properties": map[string]any{"miimon": "100"}})["uuid"]
			call(ctx, t, http.MethodPut, s.URL+"/v1/nodes/"+id+"/traits", map[string]any{"traits": []string{"CUSTOM_A", fmt.Sprintf("CUSTOM_%d", n%3)}})
		}
		made("/v1/ports", port)
	}
	const states = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60)
db.execute("""UPDATE nodes SET provision_state='active', instance_uuid=uuid,
  instance_info='{"image_source": "http://192.0.2.1/d.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": "' || replace(hex(zeroblob(32)), '0', 'a') || '", "display_name": "web"}',
  protected=(id % 10 = 0), protected_reason=CASE WHEN id % 10 = 0 THEN 'payroll' END WHERE id % 5 IN (0, 3)""")
db.execute("UPDATE nodes SET provision_state='available' WHERE id % 5 = 1 AND NOT retired")
db.execute("UPDATE nodes SET provision_state='manageable' WHERE id % 5 = 2 OR id % 5 = 1 AND retired")
db.execute("UPDATE nodes SET owner='blue' WHERE id % 2 = 1")
db.execute("UPDATE nodes SET maintenance=1, maintenance_reason='fan' WHERE id % 13 = 0")
db.commit()
`
	if out, err := exec.CommandContext(ctx, servers.Python, "-c", states, filepath.Join(s.Dir, "ironic.sqlite")).CombinedOutput(); err != nil {
		t.Fatalf("set the states: %v\n%s", err, out)
	}
}

func nodeID(ctx context.Context, t *testing.T, s *servers.Server, name string) string {
	t.Helper()
	id, _ := call(ctx, t, http.MethodGet, s.URL+"/v1/nodes/"+name+"?fields=uuid", nil)["uuid"].(string)
	return id
}

// call sends a request in the version that both have.
func call(ctx context.Context, t *testing.T, method, url string, body map[string]any) map[string]any {
	t.Helper()
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, url, &sent)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-OpenStack-Ironic-API-Version", latest)
	r.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(a.Body); err != nil {
		t.Fatal(err)
	}
	if a.StatusCode >= 300 {
		t.Fatalf("%s %s %v: %d %s", method, url, body, a.StatusCode, text.String())
	}
	out := map[string]any{}
	if text.Len() > 0 {
		if err := json.Unmarshal(text.Bytes(), &out); err != nil {
			t.Fatalf("%s %s: %v", method, url, err)
		}
	}
	return out
}

// everything is all objects of a server, by list and identity, traits in order.
func everything(ctx context.Context, t *testing.T, s *servers.Server) map[string]map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]map[string]any{}
	for _, k := range kinds {
		all[k.key] = map[string]map[string]any{}
		for marker := ""; ; {
			page := call(ctx, t, http.MethodGet, s.URL+k.path+"?limit=200&detail=true"+marker, nil)
			list, _ := page[k.key].([]any)
			for _, v := range list {
				o := v.(map[string]any)
				if traits, ok := o["traits"].([]any); ok {
					slices.SortFunc(traits, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				}
				all[k.key][fmt.Sprint(o[k.id])] = o
				marker = "&marker=" + fmt.Sprint(o["uuid"])
			}
			if page["next"] == nil || len(list) == 0 {
				break
			}
		}
	}
	return all
}
