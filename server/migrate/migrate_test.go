package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// server is an Ironic in memory. It masks passwords and remembers what it was asked to change.
type server struct {
	mu      sync.Mutex
	objects map[string][]Object // by path
	changes []string
	breakAt int // the change that fails, counted from 1; 0: none
	drivers map[string]Object
}

func newServer() *server {
	return &server{objects: map[string][]Object{"nodes": {}, "ports": {}, "portgroups": {}, "chassis": {}, "deploy_templates": {}},
		drivers: map[string]Object{"redfish": {"enabled_deploy_interfaces": []any{"direct"}}}}
}

func (s *server) Each(_ context.Context, path, key string, _ url.Values, fn func(Object) error) error {
	if key == "drivers" {
		for _, name := range slices.Sorted(maps.Keys(s.drivers)) {
			if err := fn(Object{"name": name}); err != nil {
				return err
			}
		}
		return nil
	}
	all, ok := s.objects[strings.TrimSuffix(strings.TrimPrefix(path, "/v1/"), "/detail")]
	if !ok {
		return fault.New(fault.RequestPath, "there is no %s", path)
	}
	for _, o := range all {
		if err := fn(shown(o)); err != nil {
			return err
		}
	}
	return nil
}

// shown is a copy of an object with masked passwords.
func shown(o Object) Object {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out Object
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	if info, ok := out["driver_info"].(map[string]any); ok && info["redfish_password"] != nil {
		info["redfish_password"] = api.Masked
	}
	return out
}

func (s *server) Get(_ context.Context, path string, _ url.Values) (Object, error) {
	return s.drivers[strings.TrimPrefix(path, "/v1/drivers/")], nil
}

func (s *server) Send(_ context.Context, method, path string, _ url.Values, body any) (Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	if parts[0] == "volume" {
		parts = append([]string{"volume/" + parts[1]}, parts[2:]...)
	}
	word := method + " " + parts[0]
	if len(parts) > 2 {
		word = method + " " + strings.Join(parts[2:], "/")
	}
	if o, ok := body.(Object); ok && strings.HasSuffix(path, "/provision") {
		word += " " + fmt.Sprint(o["target"])
	}
	s.changes = append(s.changes, word)
	if len(s.changes) == s.breakAt {
		return nil, fault.New(fault.StorageUnavailable, "broken")
	}
	if method == http.MethodPost {
		for f := range body.(Object) {
			if parts[0] == "nodes" && !slices.ContainsFunc(api.NodeFields(), func(x api.Field) bool { return x.Name == f && x.Create }) {
				return nil, fault.New(fault.RequestInvalid, "%q can't be given on create", f)
			}
		}
		o := shown(body.(Object))
		if info, ok := body.(Object)["driver_info"].(map[string]any); ok {
			o["driver_info"] = info
		}
		if parts[0] == "nodes" {
			for f, v := range map[string]any{"provision_state": "enroll", "maintenance": false, "protected": false, "retired": false, "automated_clean": nil, "traits": []any{}} {
				if _, there := o[f]; !there {
					o[f] = v
				}
			}
		}
		s.objects[parts[0]] = append(s.objects[parts[0]], o)
		return o, nil
	}
	at := slices.IndexFunc(s.objects[parts[0]], func(o Object) bool { return o["uuid"] == parts[1] })
	if at < 0 {
		return nil, fault.New(fault.NodeNotFound, "there is no %s", path)
	}
	o := s.objects[parts[0]][at]
	switch {
	case method == http.MethodPatch:
		after, _, err := api.ApplyPatch(o, body.([]api.PatchOp), append(api.NodeFields(), api.PortFields()...), api.MaxVersion)
		if err != nil {
			return nil, err
		}
		s.objects[parts[0]][at] = after
	case strings.HasSuffix(path, "/traits"):
		o["traits"] = anys(body.(Object)["traits"].([]string))
	case strings.HasSuffix(path, "/maintenance"):
		o["maintenance"], o["maintenance_reason"] = true, body.(Object)["reason"]
	case strings.HasSuffix(path, "/provision"):
		verb := body.(Object)["target"].(string)
		doing, ok := state.Next(state.State(o["provision_state"].(string)), state.Event(verb))
		if !ok {
			return nil, fault.New(fault.StateVerb, "no %s from %s", verb, o["provision_state"])
		}
		if f, going := state.FlowOf(doing); going {
			doing = f.End
		}
		o["provision_state"] = string(doing)
	default:
		return nil, fmt.Errorf("unexpected %s %s", method, path)
	}
	return nil, nil
}

func (s *server) options(t *testing.T, failures *[]string) Options {
	t.Helper()
	var mu sync.Mutex
	return Options{Parallel: 8, Settle: func(_ context.Context, node string) (state.State, string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, o := range s.objects["nodes"] {
			if o["uuid"] == node {
				return state.State(o["provision_state"].(string)), "", nil
			}
		}
		return "", "", fault.New(fault.NodeNotFound, "gone")
	}, Done: func(i Item, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			*failures = append(*failures, i.Label+": "+err.Error())
		}
	}}
}

func uuid(kind, n int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", kind, n) }

// old is a source with so many nodes, in all states that are taken over, with all that belongs to them.
func old(nodes int) *server {
	s := newServer()
	s.objects["chassis"] = []Object{{"uuid": uuid(1, 0), "description": "row 1", "extra": Object{"room": "A"}}}
	s.objects["deploy_templates"] = []Object{{"uuid": uuid(2, 0), "name": "CUSTOM_RAID", "extra": Object{},
		"steps": []any{Object{"interface": "raid", "step": "apply_configuration", "priority": 90.0, "args": Object{}}}}}
	states := []string{"active", "available", "manageable", "enroll", "clean failed"}
	for n := range nodes {
		st := states[n%len(states)]
		o := Object{"uuid": uuid(3, n), "name": fmt.Sprintf("n%03d", n), "driver": "redfish", "provision_state": st, "chassis_uuid": uuid(1, 0),
			"driver_info": Object{"redfish_address": fmt.Sprintf("https://192.0.2.%d:%d", n%250, 8000+n), "redfish_username": "admin", "redfish_password": "secret"},
			"properties":  Object{"cpu_arch": "x86_64", "memory_mb": float64(1024 * n), "root_device": Object{"serial": fmt.Sprint("S", n)}}, "extra": Object{"rack": float64(n / 40), "a/b": "~"},
			"resource_class": "big", "conductor_group": "", "owner": nil, "description": fmt.Sprint("node ", n), "automated_clean": n%7 != 0, "deploy_interface": "direct",
			"traits": []any{"CUSTOM_A", fmt.Sprintf("CUSTOM_%d", n%3)}, "protected": n%10 == 0, "retired": n%11 == 0 && st != "available", "maintenance": n%13 == 0, "maintenance_reason": nil, "instance_info": Object{}}
		if n%10 == 0 {
			o["protected_reason"] = "payroll"
		}
		if n%13 == 0 {
			o["maintenance_reason"] = "fan"
		}
		if st == "active" {
			o["instance_uuid"], o["instance_info"] = uuid(4, n), Object{"image_source": "http://192.0.2.1/i", "display_name": "web"}
		}
		if n == nodes-1 && nodes > 1 {
			o["parent_node"] = uuid(3, 0)
		}
		s.objects["nodes"] = append(s.objects["nodes"], o)
		s.objects["portgroups"] = append(s.objects["portgroups"], Object{"uuid": uuid(5, n), "node_uuid": uuid(3, n), "name": fmt.Sprint("bond", n), "address": nil, "mode": "802.3ad",
			"properties": Object{"miimon": "100"}, "standalone_ports_supported": false, "extra": Object{}})
		for p := range 2 {
			s.objects["ports"] = append(s.objects["ports"], Object{"uuid": uuid(6+p, n), "node_uuid": uuid(3, n), "address": fmt.Sprintf("52:54:00:%02x:%02x:%02x", p, n/256, n%256), "pxe_enabled": p == 0,
				"portgroup_uuid": uuid(5, n), "local_link_connection": Object{"switch_id": "aa:bb:cc:dd:ee:ff", "port_id": fmt.Sprint(n)}, "physical_network": "phys", "extra": Object{}, "is_smartnic": false})
		}
	}
	return s
}

func read(t *testing.T, s *server) *Fleet {
	t.Helper()
	f, err := Read(t.Context(), s, 82)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Five hundred nodes come over whole: what the target holds afterwards is what the source holds, and a second import
// finds nothing to do (requirements 42 and 43).
func TestImportOf500(t *testing.T) {
	from, to := old(500), newServer()
	secrets := Secrets{"*": {"redfish_password": "secret"}}
	plan := Compare(read(t, from), read(t, to), secrets)
	if c := plan.Count(); c[Create] != 500+500+1000+2 || len(c) != 1 {
		t.Fatalf("plan %v", c)
	}
	var failures []string
	if err := plan.Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatalf("%v, %v", err, failures)
	}
	if len(from.changes) > 0 {
		t.Errorf("the source was changed: %v", from.changes)
	}
	used := map[string]int{}
	for _, c := range to.changes {
		used[c]++
	}
	want := map[string]int{"POST chassis": 1, "POST deploy_templates": 1, "POST nodes": 500, "POST portgroups": 500, "POST ports": 1000, "PUT traits": 500,
		"PUT states/provision manage": 300, "PUT states/provision adopt": 100, "PUT maintenance": 39}
	patches := used["PATCH nodes"]
	delete(used, "PATCH nodes")
	if !reflect.DeepEqual(used, want) || patches == 0 {
		t.Errorf("changes %v and %d patches, expected %v", used, patches, want)
	}
	for _, path := range []string{"nodes", "ports", "portgroups", "chassis", "deploy_templates"} {
		equalObjects(t, path, from.objects[path], to.objects[path])
	}
	again := Compare(read(t, from), read(t, to), nil)
	if c := again.Count(); c[Same] != 2002 || len(c) != 1 {
		for _, i := range again.Items {
			if i.Action != Same {
				t.Errorf("%s %s: %s %s %v", i.Kind, i.Label, i.Action, i.Why, i.Diffs)
			}
		}
	}
}

// equalObjects compares what two servers hold, apart from what an import says it changes: the states.
func equalObjects(t *testing.T, path string, a, b []Object) {
	t.Helper()
	sorted := func(list []Object) []Object {
		return slices.SortedFunc(slices.Values(list), func(x, y Object) int { return strings.Compare(text(x, "uuid"), text(y, "uuid")) })
	}
	a, b = sorted(a), sorted(b)
	if len(a) != len(b) {
		t.Fatalf("%d %s became %d", len(a), path, len(b))
	}
	states := map[string]string{"available": "manageable", "clean failed": "enroll"}
	for i := range a {
		for f, v := range a[i] {
			switch got := b[i][f]; {
			case f == "provision_state":
				if s := text(a[i], f); got != s && got != states[s] {
					t.Errorf("%s became %v", s, got)
				}
			case f == "protected" || f == "protected_reason":
				if text(b[i], "provision_state") == "active" && !reflect.DeepEqual(v, got) && (v != nil || got != nil) {
					t.Errorf("%s of %s: %v became %v", f, a[i]["name"], v, got)
				}
			case f == "traits":
				if !equal(v, got) {
					t.Errorf("traits of %s: %v became %v", a[i]["name"], v, got)
				}
			case !reflect.DeepEqual(v, got) && !(empty(v) && empty(got)):
				t.Errorf("%s %s of %v: %v became %v", path, f, a[i]["name"], v, got)
			}
		}
	}
}

// Wherever an import is cut off, the next one ends at the same place, and makes nothing twice.
func TestImportGoesOn(t *testing.T) {
	secrets := Secrets{"n000": {"redfish_password": "secret"}, "*": {"redfish_password": "secret"}}
	whole := newServer()
	var failures []string
	if err := Compare(read(t, old(3)), read(t, whole), secrets).Apply(t.Context(), whole, whole.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatal(err, failures)
	}
	for at := 1; at <= len(whole.changes); at++ {
		to := newServer()
		to.breakAt = at
		failures = nil
		if err := Compare(read(t, old(3)), read(t, to), secrets).Apply(t.Context(), to, to.options(t, &failures)); err != nil {
			t.Fatal(err)
		}
		if len(failures) == 0 {
			t.Errorf("change %d failed and nothing was told", at)
		}
		to.breakAt = 0
		for range 2 {
			failures = nil
			if err := Compare(read(t, old(3)), read(t, to), secrets).Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
				t.Fatal(at, err, failures)
			}
		}
		for path := range whole.objects {
			equalObjects(t, path, old(3).objects[path], to.objects[path])
		}
		if c := Compare(read(t, old(3)), read(t, to), nil).Count(); c[Same] != 3+3+6+2 {
			t.Errorf("broken at change %d: %v", at, c)
		}
	}
}

func item(p *Plan, name string) Item {
	for _, i := range p.Items {
		if i.Label == name {
			return i
		}
	}
	return Item{}
}

func TestWhatStandsInTheWay(t *testing.T) {
	from, to := old(10), newServer()
	nodes := from.objects["nodes"]
	nodes[1]["provision_state"] = "clean wait"
	nodes[2]["provision_state"] = "rescue"
	nodes[3]["driver"] = "ipmi"
	nodes[4]["deploy_interface"] = "ansible"
	nodes[5]["instance_info"] = Object{"configdrive": api.Masked, "image_source": "x"}
	nodes[5]["allocation_uuid"] = uuid(9, 9)
	to.objects["nodes"] = []Object{{"uuid": uuid(8, 1), "name": "n006"}, {"uuid": uuid(8, 2), "name": "other", "driver_info": Object{"redfish_address": "192.0.2.7:8007/"}}}
	to.objects["ports"] = []Object{{"uuid": uuid(8, 3), "address": "52:54:00:00:00:08", "node_uuid": uuid(8, 1)}}
	delete(to.objects, "portgroups")
	delete(to.objects, "chassis")
	p := Compare(read(t, from), read(t, to), Secrets{"n000": {"redfish_password": "secret"}})
	for name, want := range map[string]string{"n001": "works on it (clean wait)", "n002": "may hold an instance", "n003": "no hardware type ipmi; it has redfish",
		"n006": "its name n006 belongs to node " + uuid(8, 1), "n007": "its BMC 192.0.2.7:8007 is that of node " + uuid(8, 2), "52:54:00:00:00:08": "its address", "52:54:00:01:00:01": "its node is not taken over"} {
		if i := item(p, name); i.Action != Blocked || !strings.Contains(i.Why, want) {
			t.Errorf("%s: %s %q, expected %q", name, i.Action, i.Why, want)
		}
	}
	for name, want := range map[string]string{"n004": "deploy_interface ansible is not offered", "n005": "instance_info configdrive can't be read", "n009": "it is clean failed in the source",
		"n008": "redfish_password can't be read from the source and is missing", "52:54:00:00:00:00": "portgroup_uuid is left out"} {
		if i := item(p, name); !strings.Contains(strings.Join(i.Notes, "\n"), want) {
			t.Errorf("%s: notes %q, expected %q", name, i.Notes, want)
		}
	}
	if i := item(p, "n008"); i.Goal != state.Enroll {
		t.Errorf("a node without its password is to become %s", i.Goal)
	}
	if i := item(p, "n000"); i.Goal != state.Active || len(i.Notes) != 1 {
		t.Errorf("n000: %s %q", i.Goal, i.Notes)
	}
	if got := strings.Join(p.Unserved, ","); got != "chassis,port group" {
		t.Errorf("not served: %s", got)
	}
}

// What went on here after its import is not set back to what the source says.
func TestLaterChangesStay(t *testing.T) {
	from, to := old(3), newServer()
	secrets := Secrets{"*": {"redfish_password": "secret"}}
	var failures []string
	if err := Compare(read(t, from), read(t, to), secrets).Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatal(err, failures)
	}
	by := func(s *server, n int) Object {
		at := slices.IndexFunc(s.objects["nodes"], func(o Object) bool { return o["uuid"] == uuid(3, n) })
		return s.objects["nodes"][at]
	}
	by(to, 1)["provision_state"], by(to, 1)["resource_class"] = "active", "small"
	by(to, 2)["provision_state"] = "cleaning"
	by(from, 0)["description"] = "changed in the source"
	to.changes = nil
	p := Compare(read(t, from), read(t, to), secrets)
	if i := item(p, "n001"); i.Action != Differs || len(i.Diffs) != 1 || i.Diffs[0].Field != "resource_class" {
		t.Errorf("n001: %s %v", i.Action, i.Diffs)
	}
	if i := item(p, "n000"); i.Action != Differs {
		t.Errorf("n000: %s", i.Action)
	}
	if i := item(p, "n002"); i.Action != Blocked || !strings.Contains(i.Why, "the target works on it (cleaning)") {
		t.Errorf("n002: %s %s", i.Action, i.Why)
	}
	if err := p.Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 || len(to.changes) > 0 {
		t.Errorf("%v %v %v", err, failures, to.changes)
	}
}

// A node whose password was wrong stays in enroll, where the next import sets it again; once it has arrived a given
// secret changes nothing.
func TestAWrongSecretIsCorrected(t *testing.T) {
	from, to := old(3), newServer()
	var failures []string
	o := to.options(t, &failures)
	good := o.Settle
	o.Settle = func(_ context.Context, node string) (state.State, string, error) {
		to.mu.Lock()
		defer to.mu.Unlock()
		for _, o := range to.objects["nodes"] {
			if o["uuid"] == node {
				o["provision_state"] = "enroll"
			}
		}
		return state.Enroll, "the BMC refuses the password", nil
	}
	if err := Compare(read(t, from), read(t, to), Secrets{"*": {"redfish_password": "wrong"}}).Apply(t.Context(), to, o); err != nil || len(failures) != 3 {
		t.Fatal(err, failures)
	}
	right := Secrets{"*": {"redfish_password": "right"}}
	p := Compare(read(t, from), read(t, to), right)
	if i := item(p, "n000"); i.Action != Change || !slices.ContainsFunc(i.Diffs, func(d Diff) bool {
		return d.Field == "driver_info.redfish_password" && d.There == api.Masked && d.Here == api.Masked
	}) {
		t.Errorf("n000: %s %+v", i.Action, i.Diffs)
	}
	failures, o.Settle = nil, good
	if err := p.Apply(t.Context(), to, o); err != nil || len(failures) > 0 {
		t.Fatal(err, failures)
	}
	for _, n := range to.objects["nodes"] {
		if got := n["driver_info"].(map[string]any)["redfish_password"]; got != "right" || n["provision_state"] == "enroll" {
			t.Errorf("%v: %v in %v", n["name"], got, n["provision_state"])
		}
	}
	if c := Compare(read(t, from), read(t, to), Secrets{"*": {"redfish_password": "third"}}).Count(); c[Same] != 3+3+6+2 || len(c) != 1 {
		t.Errorf("after that: %v", c)
	}
}

// A secret that is to be set later is not shown in the differences.
func TestSecretsAreNotShown(t *testing.T) {
	from, to := old(1), newServer()
	var failures []string
	if err := Compare(read(t, from), read(t, to), nil).Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatal(err, failures)
	}
	p := Compare(read(t, from), read(t, to), Secrets{uuid(3, 0): {"redfish_password": "hunter2"}})
	text, err := json.Marshal(p)
	if err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), `"driver_info.redfish_password"`) {
		t.Errorf("%s, %v", text, err)
	}
	if err := p.Apply(t.Context(), to, to.options(t, &failures)); err != nil || len(failures) > 0 {
		t.Fatal(err, failures)
	}
	n := to.objects["nodes"][0]
	if n["driver_info"].(map[string]any)["redfish_password"] != "hunter2" || n["provision_state"] != "active" {
		t.Errorf("node %v", n)
	}
}
