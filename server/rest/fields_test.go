package rest_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// nodeFields is server-api.md §2.1 by version: what each one added to a node, and of that what can be created ("c") and
// changed ("p").
var nodeFields = map[int]string{
	1: "uuid:c driver:cp driver_info:cp properties:cp instance_info:cp instance_uuid:cp extra:cp chassis_uuid:cp maintenance:cp maintenance_reason " +
		"console_enabled:c power_state target_power_state provision_state target_provision_state provision_updated_at last_error reservation ports " +
		"links created_at updated_at",
	3: "driver_internal_info", 5: "name:cp", 6: "inspection_started_at inspection_finished_at", 7: "clean_step",
	12: "raid_config target_raid_config", 14: "states", 20: "network_interface:cp", 21: "resource_class:cp", 24: "portgroups",
	31: "boot_interface:cp console_interface:cp deploy_interface:cp inspect_interface:cp management_interface:cp power_interface:cp raid_interface:cp vendor_interface:cp",
	32: "volume", 33: "storage_interface:cp", 37: "traits", 38: "rescue_interface:cp", 40: "bios_interface:cp", 42: "fault", 44: "deploy_step",
	46: "conductor_group:cp", 47: "automated_clean:cp", 48: "protected:p protected_reason:p", 49: "conductor", 50: "owner:cp", 51: "description:cp",
	52: "allocation_uuid", 61: "retired:cp retired_reason:cp", 65: "lessee:cp", 66: "network_data:cp", 75: "boot_mode:c secure_boot:c", 82: "shard:cp",
	83: "parent_node:cp", 86: "firmware_interface:cp", 87: "service_step", 95: "disable_power_off:cp", 104: "instance_name:cp", 109: "health",
}

// shortFields is what a list shows without detail (§2.3).
var shortFields = []string{"uuid", "name", "instance_uuid", "power_state", "provision_state", "maintenance", "links"}

func in(v int) string { return fmt.Sprintf("%s: 1.%d", api.HeaderVersion, v) }

func TestEachFieldComesWithItsVersion(t *testing.T) {
	s := newServer(t)
	node := s.enrolled()
	shown := map[string]bool{}
	for v := 1; v <= int(api.MaxVersion); v++ {
		for _, word := range strings.Fields(nodeFields[v]) {
			name, _, _ := strings.Cut(word, ":")
			shown[name] = true
			if v > 1 && v >= 8 {
				s.want(s.do("GET", node+"?fields="+name, "", in(v-1)), 406)
				s.want(s.do("GET", node+"?fields="+name, "", in(v)), 200)
			}
		}
		full := s.want(s.do("GET", node, "", in(v)), 200)
		for name := range full.body {
			if !shown[name] {
				t.Errorf("version 1.%d shows %s", v, name)
			}
		}
		if len(full.body) != len(shown) {
			t.Errorf("version 1.%d shows %d fields, expected %d", v, len(full.body), len(shown))
		}
	}
	list := s.want(s.do("GET", "/v1/nodes", ""), 200).body["nodes"].([]any)[0].(map[string]any)
	if got := keys(list); !reflect.DeepEqual(got, sorted(shortFields)) {
		t.Errorf("the list shows %v", got)
	}
}

func keys(m map[string]any) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return sorted(out)
}

func sorted(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
}

func TestWhatCanBeCreatedAndChanged(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	values := map[string]string{"uuid": `"00000000-0000-4000-8000-00000000000f"`, "driver": `"redfish"`, "power_interface": `"redfish"`,
		"chassis_uuid": `"00000000-0000-4000-8000-00000000000c"`, "instance_uuid": `"00000000-0000-4000-8000-00000000000d"`}
	for v, words := range nodeFields {
		for _, word := range strings.Fields(words) {
			name, may, _ := strings.Cut(word, ":")
			value := values[name]
			for _, f := range api.NodeFields() {
				if f.Name == name && value == "" {
					value = map[api.Kind]string{api.Map: `{}`, api.Flag: `true`, api.Tristate: `false`}[f.Kind]
				}
			}
			if value == "" {
				value = `"x"`
				if strings.HasSuffix(name, "_interface") || strings.HasSuffix(name, "_reason") {
					value = `null`
				}
			}
			body := fmt.Sprintf(`{"driver": "redfish", %q: %s}`, name, value)
			if name == "driver" {
				body = `{"driver": "redfish"}`
			}
			want := 400
			if strings.Contains(may, "c") {
				want = 201
			}
			if a := s.do("POST", "/v1/nodes", body); a.Code != want {
				t.Errorf("create with %s: %d %s, expected %d", name, a.Code, a.fault(), want)
			}
			if strings.Contains(may, "c") && v > 1 {
				s.want(s.do("POST", "/v1/nodes", body, in(v-1)), 406)
			}
			want = 400
			if strings.Contains(may, "p") {
				want = 200
			}
			if a := s.do("PATCH", first, fmt.Sprintf(`[{"op": "add", "path": "/%s", "value": %s}]`, name, value)); a.Code != want {
				t.Errorf("patch of %s: %d %s, expected %d", name, a.Code, a.fault(), want)
			}
			if strings.Contains(may, "p") && v > 1 {
				s.want(s.do("PATCH", first, fmt.Sprintf(`[{"op": "add", "path": "/%s", "value": %s}]`, name, value), in(v-1)), 406)
			}
		}
	}
}

func TestEachFilterHasItsVersion(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.nodes[0].Parent = s.nodes[0].UUID // so that a list of the nodes below it has one
	s.want(s.do("POST", "/v1/chassis", `{"uuid": "00000000-0000-4000-8000-00000000000c"}`), 201)
	s.nodes[0].Chassis = "00000000-0000-4000-8000-00000000000c"
	yes, no := true, false
	for _, c := range []struct {
		query string
		since int
		want  conductor.NodeFilter
	}{
		{"chassis_uuid=00000000-0000-4000-8000-00000000000C", 1, conductor.NodeFilter{Chassis: "00000000-0000-4000-8000-00000000000c"}},
		{"instance_uuid=00000000-0000-4000-8000-00000000000c", 1, conductor.NodeFilter{InstanceUUID: "00000000-0000-4000-8000-00000000000c"}},
		{"associated=on", 1, conductor.NodeFilter{Associated: &yes}},
		{"maintenance=f", 1, conductor.NodeFilter{Maintenance: &no}},
		{"provision_state=active", 9, conductor.NodeFilter{State: "active"}},
		{"driver=redfish", 16, conductor.NodeFilter{Driver: "redfish"}},
		{"resource_class=gpu", 21, conductor.NodeFilter{ResourceClass: "gpu"}},
		{"fault=power+failure", 42, conductor.NodeFilter{Fault: "power failure"}},
		{"conductor_group=g", 46, conductor.NodeFilter{Group: new("g")}},
		{"conductor=lab", 49, conductor.NodeFilter{}},
		{"owner=a", 50, conductor.NodeFilter{Owner: "a"}},
		{"description_contains=d", 51, conductor.NodeFilter{Description: new("d")}},
		{"retired=true", 61, conductor.NodeFilter{Retired: &yes}},
		{"lessee=b", 65, conductor.NodeFilter{Lessee: "b"}},
		{"project=p", 65, conductor.NodeFilter{Project: "p"}},
		{"shard=a,b", 82, conductor.NodeFilter{Shards: []string{"a", "b"}}},
		{"shard=,A,+b,,b", 82, conductor.NodeFilter{Shards: []string{"a", "b", "A"}}},
		{"shard=,", 82, conductor.NodeFilter{Shards: []string{}}}, // none at all, as in Ironic
		{"sharded=no", 82, conductor.NodeFilter{Sharded: &no}},
		{"parent_node=n1", 83, conductor.NodeFilter{Parent: "00000000-0000-4000-8000-000000000001"}},
		{"include_children=1", 83, conductor.NodeFilter{}},
		{"instance_name=i", 104, conductor.NodeFilter{InstanceName: "i"}},
	} {
		s.filter = conductor.NodeFilter{}
		s.want(s.do("GET", "/v1/nodes?limit=1&"+c.query, ""), 200)
		c.want.Limit = 1
		if name, _, _ := strings.Cut(c.query, "="); name != "parent_node" && name != "include_children" {
			c.want.Roots = true // children are listed only where they are asked for
		}
		got, _ := json.Marshal(s.filter)
		want, _ := json.Marshal(c.want)
		if string(got) != string(want) {
			t.Errorf("%s selects\n%s, expected\n%s", c.query, got, want)
		}
		if c.since > 1 {
			s.want(s.do("GET", "/v1/nodes?"+c.query, "", in(c.since-1)), 406)
			s.want(s.do("GET", "/v1/nodes?"+c.query, "", in(c.since)), 200)
		}
		next, _ := s.do("GET", "/v1/nodes?limit=1&"+c.query, "").body["next"].(string)
		if name, _, _ := strings.Cut(c.query, "="); name != "instance_uuid" && !strings.Contains(next, name+"=") { // of which there is one at most
			t.Errorf("next of %s is %q", c.query, next)
		}
	}
	for _, q := range []string{"conductor=other", "parent_node=nobody", "driver=", "resource_class=", "conductor=", "owner=", "lessee=", "project=", "instance_name=", "parent_node="} {
		if list := s.want(s.do("GET", "/v1/nodes?"+q, ""), 200).body["nodes"].([]any); len(list) != 0 {
			t.Errorf("%s lists %v", q, list)
		}
	}
	for _, q := range []string{"chassis_uuid=c1", "sharded=perhaps", "include_children=2", "fault=bad+luck", "colour=red"} {
		s.want(s.do("GET", "/v1/nodes?"+q, ""), 400)
	}
}

// The discovery document names what is served and nothing else, each from its version on.
func TestDiscoveryNamesWhatIsServed(t *testing.T) {
	s := newServer(t)
	frame := []string{"id", "links", "media_types", "version"}
	for v, want := range map[int][]string{1: {"nodes", "ports", "drivers"}, 48: {"nodes", "ports", "drivers", "lookup", "heartbeat"},
		110: {"nodes", "ports", "drivers", "conductors", "continue_inspection"}} {
		got := s.want(s.do("GET", "/v1", "", in(v)), 200).body
		for _, name := range slices.Concat(frame, want) {
			if got[name] == nil {
				t.Errorf("1.%d: %s is not there", v, name)
			}
		}
		for name := range got {
			if slices.Contains(frame, name) {
				continue
			}
			method := "GET"
			if name == "events" {
				method = "POST" // GET is this server's own, and does not end
			}
			if a := s.do(method, "/v1/"+name, "", in(v)); a.Code == 404 && name != "heartbeat" { // which is there with a node's name only
				t.Errorf("1.%d names %s, which is not served", v, name)
			}
			pair, _ := json.Marshal(got[name])
			if want := fmt.Sprintf(`[{"href":"http://127.0.0.1:6385/v1/%s/","rel":"self"},{"href":"http://127.0.0.1:6385/%s/","rel":"bookmark"}]`, name, name); string(pair) != want {
				t.Errorf("links of %s are %s", name, pair)
			}
		}
		if got["events"] != nil && v < 54 {
			t.Errorf("1.%d names events", v)
		}
	}
	root := s.want(s.do("GET", "/", ""), 200).body
	if got := keys(root); !reflect.DeepEqual(got, []string{"default_version", "description", "name", "versions"}) || root["name"] != "OpenStack Ironic API" {
		t.Errorf("the root document has %v", got)
	}
	v := root["versions"].([]any)[0].(map[string]any)
	if got := keys(v); !reflect.DeepEqual(got, []string{"id", "links", "min_version", "status", "version"}) || v["status"] != "CURRENT" || v["min_version"] != "1.1" {
		t.Errorf("the version is %v", v)
	}
}

// Errors of the router and of version negotiation have a form of their own, what an endpoint refuses has the other one
// whatever its status is. Either form carries reason and hint beside Ironic's keys.
func TestErrorForms(t *testing.T) {
	s := newServer(t)
	s.want(s.do("POST", "/v1/nodes", `{"name": "a", "driver": "fake-hardware"}`), 201)
	for _, c := range []struct {
		method, path, version, body string
		status                      int
		router                      bool
	}{
		{"GET", "/v1/nowhere", "1.110", "", 404, true},
		{"PUT", "/v1/nodes", "1.110", "", 405, true},
		{"PUT", "/v1/allocations/x", "1.110", "", 405, true},
		{"GET", "/v1/nodes", "1.999", "", 406, true},
		{"GET", "/v1/nodes", "1.x", "", 406, true},
		{"GET", "/v1/nodes/nobody", "1.110", "", 404, false},
		{"GET", "/v1/nodes?limit=0", "1.110", "", 400, false},

		// A path that older versions do not have.
		{"GET", "/v1/allocations", "1.51", "", 404, true},
		{"POST", "/v1/allocations", "1.51", `{}`, 405, true},
		{"GET", "/v1/deploy_templates/CUSTOM_A", "1.54", "", 404, true},
		{"PATCH", "/v1/deploy_templates/CUSTOM_A", "1.54", `[]`, 405, true},
		{"GET", "/v1/runbooks", "1.91", "", 404, true},
		{"GET", "/v1/nodes/a/allocation", "1.51", "", 404, true},
		{"GET", "/v1/nodes/a/bios", "1.39", "", 404, true},
		{"GET", "/v1/nodes/a/portgroups", "1.22", "", 404, true},
		{"GET", "/v1/nodes/a/vifs", "1.27", "", 404, true},
		{"GET", "/v1/nodes/a/history", "1.77", "", 404, true},
		{"GET", "/v1/nodes/a/history/x", "1.77", "", 404, true},
		{"GET", "/v1/portgroups/x/ports", "1.23", "", 404, true},

		// An endpoint that refuses older versions.
		{"GET", "/v1/portgroups", "1.22", "", 404, false},
		{"GET", "/v1/volume", "1.31", "", 404, false},
		{"GET", "/v1/conductors", "1.48", "", 404, false},
		{"GET", "/v1/lookup", "1.21", "", 404, false},
		{"GET", "/v1/nodes/a/volume", "1.31", "", 404, false},
		{"PUT", "/v1/nodes/a/management/inject_nmi", "1.28", `{}`, 404, false},
		{"PUT", "/v1/nodes/a/states/boot_mode", "1.75", `{"target": "uefi"}`, 404, false},
		{"PATCH", "/v1/allocations/x", "1.56", `[]`, 405, false},

		// A field, an argument, a filter, a verb that is newer than the version.
		{"POST", "/v1/nodes", "1.65", `{"driver": "fake-hardware", "network_data": {}}`, 406, false},
		{"PATCH", "/v1/nodes/a", "1.60", `[{"op": "add", "path": "/retired", "value": true}]`, 406, false},
		{"GET", "/v1/nodes/a?fields=traits", "1.36", "", 406, false},
		{"GET", "/v1/nodes?sort_key=resource_class", "1.20", "", 406, false},
		{"GET", "/v1/nodes?owner=x", "1.49", "", 406, false},
		{"PUT", "/v1/nodes/a/states/provision", "1.5", `{"target": "inspect"}`, 406, false},
		{"PUT", "/v1/nodes/a/states/power", "1.26", `{"target": "soft rebooting"}`, 406, false},
		{"GET", "/v1/drivers?detail=true", "1.29", "", 406, false},
	} {
		a := s.want(s.do(c.method, c.path, c.body, api.HeaderVersion+": "+c.version), c.status)
		text, _ := a.body["error_message"].(string)
		var inner map[string]any
		if err := json.Unmarshal([]byte(text), &inner); err != nil {
			t.Fatalf("%s %s: the message is no JSON: %q", c.method, c.path, text)
		}
		want := []string{"debuginfo", "faultcode", "faultstring", "hint", "reason"}
		if c.router {
			want = []string{"code", "description", "hint", "reason", "title"}
		}
		if got := keys(inner); !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s in %s: keys %v, expected %v", c.method, c.path, c.version, got, want)
		}
		if c.router && inner["code"] != float64(c.status) {
			t.Errorf("%s %s: code %v", c.method, c.path, inner["code"])
		}
		ranged := a.Header().Get(api.HeaderMaxVersion) != ""
		if ranged == (c.version == "1.x") {
			t.Errorf("%s in %s: range headers %v", c.path, c.version, ranged)
		}
	}
}

// Names of fields are read in any case, and an instance has a name or none.
func TestNamesOfFieldsAndInstances(t *testing.T) {
	s := newServer(t)
	path := s.enrolled()
	for _, q := range []string{"?fields=NAME,%20Uuid", "?fields=name,uuid"} {
		if n := s.want(s.do("GET", path+q, ""), 200); len(n.body) != 3 || n.body["name"] != "n1" {
			t.Errorf("%s shows %v", q, n.body)
		}
		if list := s.want(s.do("GET", "/v1/nodes"+q, ""), 200).body["nodes"].([]any); len(list[0].(map[string]any)) != 3 {
			t.Errorf("a list with %s shows %v", q, list)
		}
	}
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/instance_name", "value": ""}]`), 400)
	s.want(s.do("POST", "/v1/nodes", `{"driver": "redfish", "instance_name": ""}`), 400)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/instance_name", "value": "db"}]`), 200)
	if n := s.want(s.do("PATCH", path, `[{"op": "add", "path": "/instance_name", "value": null}]`), 200); n.body["instance_name"] != nil {
		t.Errorf("the instance's name is %v", n.body["instance_name"])
	}
}
