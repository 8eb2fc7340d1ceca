package rest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

func at(version string) string { return "X-OpenStack-Ironic-API-Version: " + version }

// Lists of port groups know the filters of their versions; of those only one can be given, as Ironic has it.
func TestPortgroupFilters(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0", "address": "52:54:00:aa:00:01"}`), 201)
	s.want(s.do("GET", "/v1/portgroups?shard=a,b", "", at("1.106")), 200)
	if !slices.Equal(s.asked.NodeIs["shard"], []string{"a", "b"}) {
		t.Errorf("asked for %+v", s.asked)
	}
	s.want(s.do("GET", "/v1/portgroups/detail?conductor_groups=g1,g2", "", at("1.99")), 200)
	if !slices.Equal(s.asked.NodeIs["conductor_group"], []string{"g1", "g2"}) {
		t.Errorf("asked for %+v", s.asked)
	}
	s.want(s.do("GET", "/v1/portgroups?shard=a", "", at("1.105")), 406)
	s.want(s.do("GET", "/v1/portgroups?conductor_groups=a", "", at("1.98")), 406)
	one := []string{"node=n1", "address=52:54:00:aa:00:01", "shard=a", "conductor_groups=g"}
	for i, a := range one {
		s.want(s.do("GET", "/v1/portgroups?"+a, ""), 200)
		for _, b := range one[i+1:] {
			s.want(s.do("GET", "/v1/portgroups?"+a+"&"+b, ""), 400)
		}
		if i > 0 {
			s.want(s.do("GET", "/v1/nodes/n1/portgroups?"+a, ""), 400)
		}
	}
}

// What can't be combined of the filters of ports is refused, also where a list stands below one of them.
func TestPortFiltersThatAreApart(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0"}`), 201)
	for query, status := range map[string]int{
		"ports?conductor_groups=g&node=n1": 400, "ports?conductor_groups=g&node_uuid=" + node1: 400, "ports?conductor_groups=g&portgroup=bond0": 400,
		"ports?conductor_groups=g&address=52:54:00:aa:bb:cc": 400, "ports?conductor_groups=g&shard=a": 200, "ports?node=n1&node_uuid=" + node1: 200,
		"ports?node_uuid=" + node1 + "&shard=a": 403, "nodes/n1/ports?shard=a": 403, "nodes/n1/ports?portgroup=bond0": 403, "nodes/n1/ports?conductor_groups=g": 400,
		"nodes/n1/ports?description_contains=x": 200, "nodes/n1/ports?address=52:54:00:aa:bb:cc": 200, "portgroups/bond0/ports?node=n1": 403,
		"portgroups/bond0/ports?shard=a": 403, "portgroups/bond0/ports?conductor_groups=g": 400,
	} {
		s.want(s.do("GET", "/v1/"+query, ""), status)
	}
}

// local_link_connection has the forms that Ironic knows, and switch_id one spelling, whatever the form.
func TestLocalLinkConnection(t *testing.T) {
	const mac, vtep = `"switch_id": "0A:1B:2C:3D:4E:5F"`, `"vtep-logical-switch": "l", "vtep-physical-switch": "p"`
	for link, want := range map[string]struct {
		version string
		status  int
		id      any
	}{
		`{}`:                             {"1.110", 201, nil},
		`{` + mac + `, "port_id": "e1"}`: {"1.110", 201, "0a:1b:2c:3d:4e:5f"},
		`{"switch_id": "00000A1B2C3D4E5F", "port_id": "e1", "switch_info": "s", "hostname": "h"}`: {"1.110", 201, "00000a1b2c3d4e5f"},
		`{"network_type": "unmanaged"}`:                              {"1.64", 201, nil},
		`{"network_type": "unmanaged", ` + mac + `}`:                 {"1.110", 201, "0a:1b:2c:3d:4e:5f"},
		`{"network_type": "unmanaged", "port_id": "e1"}`:             {"1.63", 406, nil},
		`{"network_type": "unmanaged", "switch_id": "x"}`:            {"1.110", 400, nil},
		`{"network_type": "managed"}`:                                {"1.110", 400, nil},
		`{"network_type": "other", "port_id": "e", "hostname": "h"}`: {"1.110", 400, nil},
		`{"port_id": "e1", "hostname": "h"}`:                         {"1.110", 201, nil},
		`{"port_id": "e1", "hostname": "h", "switch_id": "x"}`:       {"1.110", 400, nil},
		`{"switch_id": "0a-1b-2c-3d-4e-5f", "port_id": "e1"}`:        {"1.110", 400, nil},
		`{"switch_id": "0a1b2c3d4e5f", "port_id": "e1"}`:             {"1.110", 400, nil},
		`{` + mac + `}`:                                                 {"1.110", 400, nil},
		`{"port_id": "e1"}`:                                             {"1.110", 400, nil},
		`{"port_id": 1, "hostname": "h"}`:                               {"1.110", 400, nil},
		`{"port_id": "e1", "hostname": "h", "nosuch": "x"}`:             {"1.110", 400, nil},
		`{"port_id": "e1", ` + vtep + `}`:                               {"1.90", 201, nil},
		`{"port_id": "e2", ` + vtep + `}`:                               {"1.104", 201, nil},
		`{"port_id": "e3", ` + vtep + `}`:                               {"1.89", 406, nil},
		`{"port_id": "e4", ` + vtep + `}`:                               {"1.105", 406, nil},
		`{` + vtep + `}`:                                                {"1.104", 400, nil},
		`{"port_id": "e1", "vtep-logical-switch": "l"}`:                 {"1.104", 400, nil},
		`{` + mac + `, "port_id": "e1", "vtep-physical-switch": "p"}`:   {"1.104", 400, nil},
		`{"network_type": "unmanaged", "vtep-physical-switch": "p"}`:    {"1.104", 400, nil},
		`{` + mac + `, "port_id": "e1", "hostname": "h", ` + vtep + `}`: {"1.104", 201, "0a:1b:2c:3d:4e:5f"},
	} {
		s := newServer(t)
		s.enrolled()
		a := s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:cc", "local_link_connection": `+link+`}`, at(want.version))
		if a.Code != want.status {
			t.Errorf("%s at %s: status %d, expected %d: %s", link, want.version, a.Code, want.status, a.Body)
			continue
		}
		if a.Code != 201 {
			continue
		}
		if shown := a.body["local_link_connection"].(map[string]any); shown["switch_id"] != want.id {
			t.Errorf("%s is shown as %v", link, shown)
		}
	}
}

// A connection with keys for OVN is shown by the versions that have them and is empty to the others, which may keep it.
func TestLinksOfOtherVersions(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	link := map[string]any{"port_id": "e1", "vtep-logical-switch": "l", "vtep-physical-switch": "p"}
	p := s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:cc", "local_link_connection": {"port_id": "e1",
		"vtep-logical-switch": "l", "vtep-physical-switch": "p"}}`, at("1.104")), 201)
	path := "/v1/ports/" + p.body["uuid"].(string)
	for version, want := range map[string]map[string]any{"1.89": {}, "1.90": link, "1.104": link, "1.105": {}, "1.110": {}} {
		if got := s.want(s.do("GET", path, "", at(version)), 200).body["local_link_connection"].(map[string]any); !maps.Equal(got, want) {
			t.Errorf("%s shows %v", version, got)
		}
		list := s.want(s.do("GET", "/v1/ports/detail", "", at(version)), 200).body["ports"].([]any)
		if got := list[0].(map[string]any)["local_link_connection"].(map[string]any); !maps.Equal(got, want) {
			t.Errorf("a list of %s shows %v", version, got)
		}
	}
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection/port_id", "value": "e2"}]`), 200)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection/vtep-logical-switch", "value": "m"}]`), 406)
	link["port_id"] = "e2"
	if kept := s.beside[0].(*conductor.Port).Link; !maps.Equal(kept, link) {
		t.Errorf("kept is %v", kept)
	}
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection", "value": {"network_type": "unmanaged"}}]`), 200)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection/switch_info", "value": "s"}]`, at("1.63")), 200)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection/network_type", "value": "managed"}]`, at("1.63")), 406)
}

// A smart NIC's connection names the port and the host.
func TestSmartNICs(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	n := 0
	port := func(more string) answer {
		n++
		return s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:0`+string(rune('0'+n))+`", `+more+`}`)
	}
	const lan = `{"switch_id": "0a:1b:2c:3d:4e:5f", "port_id": "e1"}`
	for _, link := range []string{lan, `{}`, `{"network_type": "unmanaged"}`} {
		if a := s.want(port(`"is_smartnic": true, "local_link_connection": `+link), 400); !strings.Contains(a.fault(), "port_id and hostname") {
			t.Errorf("%s is refused with %q", link, a.fault())
		}
	}
	s.want(port(`"is_smartnic": true`), 201) // as Ironic takes it
	s.want(port(`"is_smartnic": true, "local_link_connection": null`), 201)
	a := s.want(port(`"is_smartnic": true, "local_link_connection": {"port_id": "e1", "hostname": "h"}`), 201)
	path := "/v1/ports/" + a.body["uuid"].(string)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/local_link_connection", "value": `+lan+`}]`), 400)
	s.want(s.do("PATCH", path, `[{"op": "remove", "path": "/local_link_connection/hostname"}]`), 400)
	s.want(s.do("PATCH", path, `[{"op": "remove", "path": "/local_link_connection"}]`), 200)
	s.want(s.do("PATCH", path, `[{"op": "remove", "path": "/is_smartnic"}, {"op": "add", "path": "/local_link_connection", "value": `+lan+`}]`), 200)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/is_smartnic", "value": true}]`), 400)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/extra/k", "value": 1}]`), 200)
}

// From 1.102 on the physical network of a port in a group is the group's business.
func TestPhysicalNetworkOfAPortInAGroup(t *testing.T) {
	s := newServer(t)
	s.enrolled()
	g := s.want(s.do("POST", "/v1/portgroups", `{"node_uuid": "`+node1+`", "name": "bond0"}`), 201).body["uuid"].(string)
	p := s.want(s.do("POST", "/v1/ports", `{"node_uuid": "`+node1+`", "address": "52:54:00:aa:bb:cc", "physical_network": "lan", "portgroup_uuid": "`+g+`"}`), 201)
	path := "/v1/ports/" + p.body["uuid"].(string)
	const wan, leave = `{"op": "add", "path": "/physical_network", "value": "wan"}`, `{"op": "remove", "path": "/portgroup_uuid"}`
	s.want(s.do("PATCH", path, `[`+wan+`]`), 400)
	s.want(s.do("PATCH", path, `[`+wan+`]`, at("1.102")), 400)
	s.want(s.do("PATCH", path, `[`+wan+`]`, at("1.101")), 200)
	s.want(s.do("PATCH", path, `[`+leave+`, `+wan+`]`), 200)
	s.want(s.do("PATCH", path, `[`+wan+`]`), 200)
	s.want(s.do("PATCH", path, `[{"op": "add", "path": "/portgroup_uuid", "value": "`+g+`"}]`), 200)
}
