package rest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

const node1 = "00000000-0000-4000-8000-000000000001"

// Each collection is made, shown, listed, changed and deleted; what it may not hold is refused.
func TestCollections(t *testing.T) {
	for _, c := range []struct {
		path, body    string
		since         string // the first version
		short         string // fields of a list
		patch         string // a field that may be changed, and its new value
		reject, never []string
	}{
		{"ports", `{"node_uuid": "` + node1 + `", "address": "52:54:00:aa:bb:cc", "name": "eth0", "vendor": "v", "category": "c"}`, "1.1", "address,links,uuid",
			`"/description", "value": "d"`, []string{`{"node_uuid": "` + node1 + `", "address": "52:54:00:aa:bb:cc", "physical_network": ""}`,
				`{"node_uuid": "x", "address": "52:54:00:aa:bb:cc"}`, `{"node_uuid": "` + node1 + `", "address": "52:54:00:aa:bb:cc", "vendor": "` + strings.Repeat("v", 33) + `"}`}, []string{"/uuid", "/internal_info"}},
		{"portgroups", `{"node_uuid": "` + node1 + `", "name": "bond0", "address": "52:54:00:AA:00:01"}`, "1.23", "address,links,name,uuid",
			`"/mode", "value": "802.3ad"`, []string{`{"name": "x"}`, `{"node_uuid": "` + node1 + `", "name": "a b"}`, `{"node_uuid": "` + node1 + `", "address": "z"}`,
				`{"node_uuid": "` + node1 + `", "mode": ""}`}, []string{"/uuid", "/internal_info", "/ports"}},
		{"allocations", `{"resource_class": "gold", "name": "a1", "traits": ["CUSTOM_X"], "candidate_nodes": ["n1"], "owner": "p"}`, "1.52",
			"candidate_nodes,created_at,extra,last_error,links,name,node_uuid,owner,resource_class,state,traits,updated_at,uuid",
			`"/extra/k", "value": "v"`, []string{`{"resource_class": "g", "traits": ["x"]}`, `{"resource_class": "g", "candidate_nodes": [1]}`,
				`{"resource_class": "g", "state": "active"}`, `{"node": "nobody"}`}, []string{"/resource_class", "/traits", "/state", "/owner", "/node"}},
		{"deploy_templates", `{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "args": {"a": 1}, "priority": "10"}]}`, "1.55", "links,name,uuid",
			`"/description", "value": "d"`, []string{`{"name": "t", "steps": [{"interface": "bios", "step": "s", "args": {}, "priority": 1}]}`, `{"name": "CUSTOM_T", "steps": []}`,
				`{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "priority": 1}]}`, `{"name": "CUSTOM_T", "steps": [{"interface": "no", "step": "s", "args": {}, "priority": 1}]}`,
				`{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "args": {}, "priority": -1}]}`, `{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "args": {}, "priority": 1, "x": 1}]}`,
				`{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "args": {"password": "p"}, "priority": 1}]}`,
				`{"name": "CUSTOM_T", "steps": [{"interface": "bios", "step": "s", "args": {}, "priority": 1}, {"interface": "bios", "step": "s", "args": {}, "priority": 2}]}`}, []string{"/uuid"}},
		{"runbooks", `{"name": "CUSTOM_R", "owner": "p", "steps": [{"interface": "bios", "step": "s", "order": 1}]}`, "1.92", "links,name,uuid",
			`"/disable_ramdisk", "value": true`, []string{`{"name": "CUSTOM_R", "steps": [{"interface": "bios", "step": "s", "args": {}, "priority": 1}]}`,
				`{"name": "CUSTOM_R", "public": true, "owner": "p", "steps": [{"interface": "bios", "step": "s", "order": 1}]}`}, []string{"/uuid"}},
		{"chassis", `{"description": "rack 1"}`, "1.1", "description,links,uuid", `"/extra/k", "value": "v"`, []string{`{"name": "x"}`}, []string{"/nodes"}},
		{"volume/connectors", `{"node_uuid": "` + node1 + `", "type": "iqn", "connector_id": "c"}`, "1.32", "connector_id,links,node_uuid,type,uuid",
			`"/connector_id", "value": "d"`, []string{`{"type": "iqn", "connector_id": "c"}`, `{"node_uuid": "` + node1 + `", "type": "iqn"}`}, []string{"/uuid"}},
		{"volume/targets", `{"node_uuid": "` + node1 + `", "volume_type": "iscsi", "volume_id": "v", "boot_index": 0}`, "1.32", "boot_index,links,node_uuid,uuid,volume_id,volume_type",
			`"/boot_index", "value": 1`, []string{`{"node_uuid": "` + node1 + `", "volume_type": "iscsi", "volume_id": "v"}`, `{"node_uuid": "` + node1 + `", "volume_type": "iscsi", "volume_id": "v", "boot_index": 0.5}`,
				`{"node_uuid": "` + node1 + `", "volume_type": "iscsi", "volume_id": "v", "boot_index": 0, "properties": {"auth_password": "p"}}`}, []string{"/uuid"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			s := newServer(t)
			s.enrolled()
			base := "/v1/" + c.path
			a := s.want(s.do("POST", base, c.body), 201)
			id, _ := a.body["uuid"].(string)
			if loc := a.Header().Get("Location"); loc != "http://127.0.0.1:6385"+base+"/"+id {
				t.Errorf("location %q", loc)
			}
			if a.body["created_at"] == nil || a.body["updated_at"] != nil || len(a.body["links"].([]any)) != 2 {
				t.Errorf("created %v", a.body)
			}
			for _, body := range append(c.reject, `{"nosuch": 1}`, `[]`, `{`) {
				s.want(s.do("POST", base, body), 400)
			}
			one := s.want(s.do("GET", base+"/"+id, ""), 200)
			if len(one.body) != len(a.body) {
				t.Errorf("shown with %d fields, made with %d", len(one.body), len(a.body))
			}
			if some := s.want(s.do("GET", base+"/"+id+"?fields=uuid,created_at", ""), 200); len(some.body) != 3 {
				t.Errorf("two fields and links: %v", some.body)
			}
			s.want(s.do("GET", base+"/"+id+"?fields=nosuch", ""), 400)
			key := c.path[strings.LastIndex(c.path, "/")+1:]
			list := s.want(s.do("GET", base+"?limit=1&sort_key=created_at&sort_dir=desc", ""), 200)
			if s.asked.SortKey != "created_at" || !s.asked.Descending || s.asked.Limit != 1 {
				t.Errorf("asked for %+v", s.asked)
			}
			first := list.body[key].([]any)[0].(map[string]any)
			var names []string
			for name := range first {
				names = append(names, name)
			}
			slices.Sort(names)
			if got := strings.Join(names, ","); got != c.short {
				t.Errorf("a list shows %s, expected %s", got, c.short)
			}
			next, _ := list.body["next"].(string)
			if !strings.Contains(next, "marker="+id) || !strings.Contains(next, "sort_key=created_at") || !strings.Contains(next, "sort_dir=desc") {
				t.Errorf("next is %q", next)
			}
			for _, q := range []string{"sort_key=extra", "sort_key=nosuch", "sort_dir=up", "sort_dir=", "limit=0", "marker=a%20b", "nosuch=1", "fields=,uuid,,nosuch"} {
				s.want(s.do("GET", base+"?"+q, ""), 400)
			}
			unnamed := 400 // a name as the marker
			if c.path == "deploy_templates" || c.path == "runbooks" {
				unnamed = 404
			}
			s.want(s.do("GET", base+"?marker=CUSTOM_X", ""), unnamed)
			for _, q := range []string{"?fields=,UUID,,%20uuid", "/" + id + "?fields=,UUID,,%20uuid"} {
				some := s.want(s.do("GET", base+q, ""), 200).body
				if list, is := some[key].([]any); is {
					some = list[0].(map[string]any)
				}
				if got := keys(some); !slices.Equal(got, []string{"links", "uuid"}) {
					t.Errorf("%s shows %v", q, got)
				}
			}
			for _, q := range []string{"?fields=,", "/" + id + "?fields=%20,"} { // no field is named: as without it
				a, b := s.want(s.do("GET", base+q, ""), 200), s.want(s.do("GET", base+strings.Split(q, "?")[0], ""), 200)
				if a.Body.String() != b.Body.String() {
					t.Errorf("%s shows %s, without it it is %s", q, a.Body, b.Body)
				}
			}
			if c.path != "allocations" {
				for _, q := range []string{"fields=", "fields=,", "fields=uuid"} {
					s.want(s.do("GET", base+"?detail=true&"+q, ""), 400)
				}
			}
			s.want(s.do("GET", base+"?marker=00000000-0000-4000-8000-00000000ffff", ""), 404)
			if c.path != "allocations" {
				full := s.want(s.do("GET", base+"/detail", ""), 200).body[key].([]any)[0].(map[string]any)
				if len(full) != len(one.body) {
					t.Errorf("in detail %d fields, shown %d", len(full), len(one.body))
				}
			}
			p := s.want(s.do("PATCH", base+"/"+id, `[{"op": "add", "path": `+c.patch+`}]`), 200)
			if p.body["updated_at"] == nil || p.body["uuid"] != id {
				t.Errorf("changed %v", p.body)
			}
			for _, path := range append(c.never, "/created_at", "/nosuch") {
				s.want(s.do("PATCH", base+"/"+id, `[{"op": "add", "path": "`+path+`", "value": "00000000-0000-4000-8000-00000000ffff"}]`), 400)
			}
			if c.since != "1.1" {
				early := "X-OpenStack-Ironic-API-Version: 1." + before(c.since)
				s.want(s.do("GET", base, "", early), 404)
				s.want(s.do("GET", base+"/"+id, "", early), 404)
				refused := 404
				if c.path == "allocations" || c.path == "deploy_templates" || c.path == "runbooks" {
					refused = 405
				}
				s.want(s.do("POST", base, c.body, early), refused)
				s.want(s.do("DELETE", base+"/"+id, "", early), refused)
			}
			s.want(s.do("DELETE", base+"/"+id, ""), 204)
			s.want(s.do("GET", base+"/"+id, ""), 404)
			s.want(s.do("DELETE", base+"/"+id, ""), 404)
			s.want(s.do("PATCH", base+"/"+id, `[]`), 404)
		})
	}
}

// before is the minor number before a version.
func before(v string) string {
	n := 0
	for _, r := range v[2:] {
		n = n*10 + int(r-'0')
	}
	n--
	out := ""
	for ; n > 0; n /= 10 {
		out = string(rune('0'+n%10)) + out
	}
	return out
}

// A port is one to boot from unless it is said that it is not; null says nothing.
func TestPortsAreToBootFrom(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	for i, c := range []struct {
		given string
		want  any
	}{{``, true}, {`, "pxe_enabled": null`, true}, {`, "pxe_enabled": "no"`, false}, {`, "pxe_enabled": true`, true}} {
		p := s.want(s.do("POST", "/v1/ports", fmt.Sprintf(`{"node_uuid": %q, "address": "52:54:00:aa:bb:%02x"%s}`, node1, i, c.given)), 201)
		if p.body["pxe_enabled"] != c.want {
			t.Errorf("%q: %v", c.given, p.body["pxe_enabled"])
		}
	}
}

func TestPortFilters(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	g := s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0"}`), 201).body["uuid"].(string)
	if mode := s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond1", "mode": null}`), 201).body["mode"]; mode != "active-backup" {
		t.Errorf("a port group that is made with the mode null has %v", mode)
	}
	s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:cc", "portgroup_uuid": "`+g+`"}`), 201)
	s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:cd"}`), 201)
	for _, path := range []string{"/v1/ports?portgroup=bond0", "/v1/portgroups/bond0/ports", "/v1/portgroups/" + g + "/ports/detail"} {
		if n := len(s.want(s.do("GET", path, ""), 200).body["ports"].([]any)); n != 1 {
			t.Errorf("%s gives %d ports", path, n)
		}
	}
	if n := len(s.want(s.do("GET", "/v1/nodes/n1/portgroups", ""), 200).body["portgroups"].([]any)); n != 2 {
		t.Errorf("the node has %d port groups", n)
	}
	s.want(s.do("GET", "/v1/ports?shard=a,b&description_contains=x", ""), 200)
	if !slices.Equal(s.asked.NodeIs["shard"], []string{"a", "b"}) || s.asked.Contains["description"] != "x" {
		t.Errorf("asked for %+v", s.asked)
	}
	s.want(s.do("GET", "/v1/ports?conductor_groups=G1,,", ""), 200)
	if !slices.Equal(s.asked.NodeIs["conductor_group"], []string{"g1"}) {
		t.Errorf("asked for %+v", s.asked)
	}
	s.want(s.do("GET", "/v1/ports?shard=,A", ""), 200)
	if !slices.Equal(s.asked.NodeIs["shard"], []string{"a", "A"}) {
		t.Errorf("asked for %+v", s.asked)
	}
	for _, none := range []string{"shard=", "shard=,&node=n1", "conductor_groups=,&node=n1"} { // a list of nothing is not given
		s.want(s.do("GET", "/v1/ports?"+none, ""), 200)
		if s.asked.NodeIs != nil {
			t.Errorf("%s asks for %+v", none, s.asked)
		}
	}
	for query, status := range map[string]int{
		"node=n1&portgroup=bond0": 403, "node=n1&shard=a": 403, "portgroup=bond0&shard=a": 403, "portgroup=nobody&shard=a": 403, "node=nobody": 404, "portgroup=nobody": 404,
		"node_uuid=n1": 400, "address=zz": 400,
	} {
		s.want(s.do("GET", "/v1/ports?"+query, ""), status)
	}
	const v = "X-OpenStack-Ironic-API-Version: 1.80"
	s.want(s.do("GET", "/v1/ports?shard=a", "", v), 406)
	s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:ce", "vendor": "x"}`, v), 406)
	s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:ce", "local_link_connection": {"network_type": "unmanaged"}}`, "X-OpenStack-Ironic-API-Version: 1.63"), 406)
	if p := s.want(s.do("GET", "/v1/ports/detail", "", v), 200).body["ports"].([]any)[0].(map[string]any); p["vendor"] != nil || p["category"] != nil {
		t.Errorf("fields of a later version: %v", p)
	}
}

func TestAllocationAPI(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.nodes[0].InstanceUUID = "11111111-1111-4111-8111-111111111111"
	a := s.want(s.do("POST", "/v1/allocations", `{"node": "n1"}`), 201)
	if a.body["uuid"] != s.nodes[0].InstanceUUID || a.body["node_uuid"] != node1 {
		t.Errorf("backfilled %v", a.body)
	}
	s.want(s.do("POST", "/v1/allocations", `{"node": "n1"}`, "X-OpenStack-Ironic-API-Version: 1.57"), 400)
	s.want(s.do("POST", "/v1/allocations", `{"resource_class": "g", "owner": "p"}`, "X-OpenStack-Ironic-API-Version: 1.59"), 406)
	s.want(s.do("PATCH", "/v1/allocations/"+s.nodes[0].InstanceUUID, `[{"op": "add", "path": "/name", "value": "x"}]`, "X-OpenStack-Ironic-API-Version: 1.56"), 405)
	s.want(s.do("GET", "/v1/allocations?detail=true", ""), 400)
	s.want(s.do("GET", "/v1/allocations?node=nobody", ""), 400)
	for query, n := range map[string]int{"node=n1": 1, "state=active": 0, "resource_class=x": 0, "owner=p": 0} {
		if got := len(s.want(s.do("GET", "/v1/allocations?"+query, ""), 200).body["allocations"].([]any)); got != n {
			t.Errorf("%s gives %d", query, got)
		}
	}
	s.want(s.do("GET", "/v1/nodes/n1/allocation", ""), 404)
	s.nodes[0].Allocation = s.nodes[0].InstanceUUID
	if got := s.want(s.do("GET", "/v1/nodes/n1/allocation?fields=uuid", ""), 200); got.body["uuid"] != s.nodes[0].Allocation || len(got.body) != 2 {
		t.Errorf("the node's allocation: %v", got.body)
	}
	if n := s.want(s.do("GET", first, ""), 200); n.body["allocation_uuid"] != s.nodes[0].Allocation {
		t.Errorf("allocation_uuid is %v", n.body["allocation_uuid"])
	}
	s.want(s.do("DELETE", "/v1/nodes/n1/allocation", ""), 204)
	s.want(s.do("GET", "/v1/nodes/n1/allocation", ""), 404)
}

// Secrets that came into a template some other way are masked all the same.
func TestTemplateArgumentsAreMasked(t *testing.T) {
	s := newServer(t)
	s.beside = append(s.beside, &conductor.Template{Head: conductor.Head{UUID: node1, Name: "CUSTOM_T"},
		Steps: []conductor.RequestedStep{{Interface: "bios", Step: "s", Args: map[string]any{"admin_password": "canary"}}}})
	if a := s.want(s.do("GET", "/v1/deploy_templates/CUSTOM_T", ""), 200); strings.Contains(a.Body.String(), "canary") || !strings.Contains(a.Body.String(), "******") {
		t.Errorf("shown as %s", a.Body)
	}
}

func TestBesideNodes(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	c := s.want(s.do("POST", "/v1/chassis", `{}`), 201)
	if inner := c.body["nodes"].([]any); len(inner) != 1 || len(inner[0].([]any)) != 2 {
		t.Errorf("nodes of a chassis are %v", inner)
	}
	s.want(s.do("GET", "/v1/chassis/"+c.body["uuid"].(string)+"/nodes", ""), 200)
	if s.filter.Chassis != c.body["uuid"] {
		t.Errorf("asked for %+v", s.filter)
	}
	s.want(s.do("GET", "/v1/chassis/"+node1+"/nodes", ""), 404)
	for _, path := range []string{"/v1/volume", "/v1/nodes/n1/volume"} {
		if v := s.want(s.do("GET", path, ""), 200); len(v.body["connectors"].([]any)) != 2 || len(v.body["targets"].([]any)) != 2 {
			t.Errorf("%s: %v", path, v.body)
		}
	}
	if l := s.want(s.do("GET", "/v1/nodes/n1/volume/targets", ""), 200); l.body["targets"] == nil {
		t.Errorf("targets of a node: %v", l.body)
	}
	s.want(s.do("GET", "/v1/nodes/n1/children", ""), 200)
	if s.filter.Parent != node1 {
		t.Errorf("asked for %+v", s.filter)
	}
	if got := s.want(s.do("GET", "/v1/shards", ""), 200).Body.String(); got != `{"shards":[{"count":2,"name":"s1"},{"count":1,"name":"None"}]}` {
		t.Errorf("shards %s", got)
	}
	event := `{"event": "network.bind_port", "port_id": "` + node1 + `", "mac_address": "52:54:00:aa:bb:cc", "status": "ACTIVE"`
	s.want(s.do("POST", "/v1/events", `{"events": [`+event+`, "device_id": null}]}`), 204)
	for _, body := range []string{`{}`, `{"events": []}`, `{"events": [1]}`, `{"events": [` + event + `, "x": "y"}]}`, `{"events": [{"event": "network.bind_port"}]}`,
		`{"events": [` + strings.Replace(event, "bind_port", "no", 1) + `}]}`, `{"events": [` + strings.Replace(event, node1, "x", 1) + `}]}`,
		`{"events": [` + event + `, "device_id": "x"}]}`, `{"events": [` + event + `, "binding:host_id": "x"}]}`} {
		s.want(s.do("POST", "/v1/events", body), 400)
	}
	s.want(s.do("POST", "/v1/events", `{"events": [`+event+`}]}`, "X-OpenStack-Ironic-API-Version: 1.53"), 404)
}

// GET /v1 names what each version has.
func TestDiscoveryNamesTheCollections(t *testing.T) {
	s := newServer(t)
	for version, want := range map[string]string{
		"1.1":   "chassis drivers nodes ports",
		"1.32":  "chassis drivers nodes portgroups ports volume",
		"1.55":  "allocations chassis conductors deploy_templates drivers events nodes portgroups ports volume",
		"1.110": "allocations chassis conductors deploy_templates drivers events inspection_rules nodes portgroups ports runbooks shards volume",
	} {
		a := s.want(s.do("GET", "/v1", "", "X-OpenStack-Ironic-API-Version: "+version), 200)
		var got []string
		for name := range a.body {
			if !slices.Contains([]string{"id", "links", "media_types", "version", "lookup", "heartbeat", "continue_inspection"}, name) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s names %v, expected %s", version, got, want)
		}
	}
}
