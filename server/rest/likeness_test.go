package rest_test

import (
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// What differed from Debian's Ironic once (integration/differential): the status of each request is Ironic's.
func TestStatusesAreIronics(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	chassis := s.want(s.do("POST", "/v1/chassis", `{}`), 201).body["uuid"].(string)
	s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:AA:00:01", "name": "eth0"}`), 201)
	s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0"}`), 201)
	s.want(s.do("POST", "/v1/allocations", `{"resource_class": "gold", "name": "a1"}`), 201)
	s.want(s.do("PATCH", "/v1/nodes/n1", `[{"op": "add", "path": "/chassis_uuid", "value": "`+chassis+`"}]`), 200)
	for _, c := range []struct {
		method, path, version, body string
		want                        int
	}{
		{"GET", "/v1/ports/eth0", "1.87", "", 400},
		{"PATCH", "/v1/ports/eth0", "1.87", `[]`, 400},
		{"DELETE", "/v1/ports/eth0", "1.87", "", 400},
		{"GET", "/v1/ports/eth0", "1.88", "", 200},
		{"GET", "/v1/ports/nosuch", "1.88", "", 404},
		{"GET", "/v1/chassis/nonsense", "1.110", "", 400},
		{"GET", "/v1/chassis/nonsense/nodes", "1.110", "", 400},
		{"GET", "/v1/volume/targets/nonsense", "1.110", "", 400},
		{"GET", "/v1/volume/connectors/nonsense", "1.110", "", 400},
		{"GET", "/v1/portgroups/bond0", "1.23", "", 200},
		{"GET", "/v1/allocations/a1", "1.52", "", 200},
		{"POST", "/v1/ports", "1.82", `{"node_uuid": "` + node1 + `", "address": "52-54-00-aa-00-0b"}`, 400},
		{"POST", "/v1/ports", "1.82", `{"node_uuid": "` + node1 + `", "address": "5254.00aa.000b"}`, 400},
		{"POST", "/v1/portgroups", "1.25", `{"node_uuid": "` + node1 + `", "mode": "802.3ad"}`, 406},
		{"GET", "/v1/allocations?fields=name,state", "1.82", "", 200},
		{"GET", "/v1/allocations?fields=nosuch", "1.82", "", 400},
		{"GET", "/v1/allocations?detail=true", "1.82", "", 400},
		{"GET", "/v1/conductors?sort_key=hostname&sort_dir=desc", "1.82", "", 200},
		{"GET", "/v1/conductors?sort_key=nosuch", "1.82", "", 400},
		{"GET", "/v1/conductors?sort_dir=nosuch", "1.82", "", 400},
		{"GET", "/v1/conductors?fields=nosuch", "1.82", "", 400},
		{"GET", "/v1/conductors?fields=hostname&detail=true", "1.82", "", 400},
		{"GET", "/v1/conductors?nosuch=1", "1.82", "", 400},
		{"GET", "/v1/nodes?chassis_uuid=" + chassis, "1.82", "", 200},
		{"GET", "/v1/nodes?chassis_uuid=" + node1, "1.82", "", 404},
		{"PATCH", "/v1/nodes/n1", "1.24", `[{"op": "remove", "path": "/chassis_uuid"}]`, 406},
		{"PATCH", "/v1/nodes/n1", "1.25", `[{"op": "remove", "path": "/chassis_uuid"}]`, 200},
	} {
		t.Run(c.method+c.path+" "+c.version, func(t *testing.T) {
			if a := s.do(c.method, c.path, c.body, api.HeaderVersion+": "+c.version); a.Code != c.want {
				t.Errorf("%d, expected %d: %s", a.Code, c.want, a.Body)
			}
		})
	}
}

// The fields of each answer are those that Ironic has in the version.
func TestFieldsAreIronics(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0"}`), 201)
	s.want(s.do("POST", "/v1/allocations", `{"resource_class": "gold", "name": "a1"}`), 201)
	first := func(list string) func(m map[string]any) map[string]any {
		return func(m map[string]any) map[string]any {
			all, _ := m[list].([]any)
			if len(all) == 0 {
				return nil
			}
			one, _ := all[0].(map[string]any)
			return one
		}
	}
	whole := func(m map[string]any) map[string]any { return m }
	for _, c := range []struct {
		path, version string
		of            func(map[string]any) map[string]any
		has, lacks    []string
	}{
		{"/v1/portgroups/bond0", "1.23", whole, []string{"mode", "properties"}, []string{"physical_network"}},
		{"/v1/portgroups/bond0", "1.26", whole, []string{"mode", "properties"}, nil},
		{"/v1/allocations?fields=name,state", "1.82", first("allocations"), []string{"name", "state", "links"}, []string{"extra", "uuid"}},
		{"/v1/allocations", "1.82", first("allocations"), []string{"extra", "candidate_nodes"}, nil},
		{"/v1/conductors?fields=hostname,alive", "1.82", first("conductors"), []string{"hostname", "alive", "links"}, []string{"conductor_group", "drivers"}},
		{"/v1/conductors?fields=drivers", "1.82", first("conductors"), []string{"drivers", "links"}, []string{"hostname"}},
		{"/v1/conductors", "1.82", first("conductors"), []string{"hostname", "conductor_group"}, []string{"drivers"}},
		{"/v1/nodes/n1/states", "1.11", whole, []string{"power_state"}, []string{"raid_config", "target_raid_config", "boot_mode", "secure_boot"}},
		{"/v1/nodes/n1/states", "1.12", whole, []string{"raid_config", "target_raid_config"}, []string{"boot_mode", "secure_boot"}},
		{"/v1/nodes/n1/states", "1.75", whole, []string{"boot_mode", "secure_boot", "provision_updated_at"}, nil},
	} {
		got := c.of(s.want(s.do("GET", c.path, "", api.HeaderVersion+": "+c.version), 200).body)
		for _, f := range c.has {
			if _, ok := got[f]; !ok {
				t.Errorf("%s in %s lacks %s: %v", c.path, c.version, f, got)
			}
		}
		for _, f := range c.lacks {
			if _, ok := got[f]; ok {
				t.Errorf("%s in %s has %s: %v", c.path, c.version, f, got)
			}
		}
	}
}
