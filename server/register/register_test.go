package register

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func nodes(list ...any) any { return map[string]any{"nodes": list} }

func TestParse(t *testing.T) {
	got, err := Parse(nodes(
		map[string]any{"name": "n1", "driver": "redfish", "driver_info": map[string]any{"redfish_address": "https://192.0.2.1/", "redfish_password": "@p"},
			"ports": []any{"52:54:00:AA:00:01", map[string]any{"address": "52:54:00:aa:00:02", "pxe_enabled": false}}, "traits": []any{"B", "A"}},
		map[string]any{"name": "n2", "traits": []any{}},
	), func(file string) (string, error) { return "content of " + file, nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Name: "n1", Fields: map[string]any{"name": "n1", "driver": "redfish", "driver_info": map[string]any{"redfish_address": "https://192.0.2.1/", "redfish_password": "content of p"}},
			Ports: []map[string]any{{"address": "52:54:00:aa:00:01"}, {"address": "52:54:00:aa:00:02", "pxe_enabled": false}}, Traits: []string{"A", "B"}},
		{Name: "n2", Fields: map[string]any{"name": "n2"}, Traits: []string{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("entries %#v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	bmc := func(name, address string) any {
		return map[string]any{"name": name, "driver_info": map[string]any{"redfish_address": address}}
	}
	for want, doc := range map[string]any{
		"names no nodes":                           map[string]any{"nodes": []any{}},
		`"machines" is not known`:                  map[string]any{"machines": []any{}},
		"node 2 has no name":                       nodes(map[string]any{"name": "a"}, map[string]any{}),
		"node a is there twice":                    nodes(map[string]any{"name": "a"}, map[string]any{"name": "a"}),
		"node a: ports must be a list":             nodes(map[string]any{"name": "a", "ports": "x"}),
		"node a: a port is an address":             nodes(map[string]any{"name": "a", "ports": []any{7}}),
		"node a: traits must be":                   nodes(map[string]any{"name": "a", "traits": "x"}),
		"node b has the BMC 192.0.2.1":             nodes(bmc("a", "https://192.0.2.1"), bmc("b", "192.0.2.1/")),
		"node b has the address 52:54:00:aa:00:01": nodes(map[string]any{"name": "a", "ports": []any{"52:54:00:AA:00:01"}}, map[string]any{"name": "b", "ports": []any{"52:54:00:aa:00:01"}}),
		"no such file":                             nodes(map[string]any{"name": "a", "driver_info": map[string]any{"x": "@absent"}}),
	} {
		if _, err := Parse(doc, func(string) (string, error) { return "", errors.New("no such file") }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

// server is what a REST API answers.
type server struct {
	nodes, ports []map[string]any
	sent         []string
}

func (s *server) Each(_ context.Context, _, key string, _ url.Values, fn func(map[string]any) error) error {
	for _, o := range map[string][]map[string]any{"nodes": s.nodes, "ports": s.ports}[key] {
		if err := fn(o); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) NodeFields(_ context.Context, node string, _ []string) (map[string]any, error) {
	for _, n := range s.nodes {
		if n["uuid"] == node {
			return n, nil
		}
	}
	return nil, fault.New(fault.NodeNotFound, "no node %s", node)
}

func (s *server) Send(_ context.Context, method, path string, _ url.Values, body any) (map[string]any, error) {
	text, err := json.Marshal(body)
	s.sent = append(s.sent, method+" "+path+" "+string(text))
	return map[string]any{"uuid": "new"}, err
}

func TestCompareAndApply(t *testing.T) {
	s := &server{
		nodes: []map[string]any{
			{"uuid": "u1", "name": "n1", "driver_info": map[string]any{"redfish_address": "https://192.0.2.1", "redfish_password": api.Masked}, "properties": map[string]any{"cpus": 2.0, "a/b": "x"}, "conductor_group": "rack", "traits": []any{"B"}},
			{"uuid": "u2", "name": "n2", "driver_info": map[string]any{"redfish_address": api.Masked}},
			{"uuid": "u3", "driver_info": map[string]any{"redfish_address": "192.0.2.3", "redfish_system_id": "/1"}}},
		ports: []map[string]any{{"uuid": "p1", "address": "52:54:00:aa:00:01", "node_uuid": "u1", "pxe_enabled": true}, {"uuid": "p3", "address": "52:54:00:aa:00:03", "node_uuid": "u3"}},
	}
	there, err := Look(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	compare := func(fields map[string]any, secrets bool) (Change, error) {
		entries, err := Parse(nodes(fields), nil)
		if err != nil {
			t.Fatal(err)
		}
		return there.Compare(t.Context(), entries[0], secrets)
	}
	info := map[string]any{"redfish_address": "https://192.0.2.1", "redfish_password": "hunter2"}
	same := map[string]any{"name": "n1", "driver_info": info, "properties": map[string]any{"cpus": 2}, "conductor_group": "Rack", "traits": []any{"B"}, "ports": []any{"52:54:00:AA:00:01"}}
	if c, err := compare(same, false); err != nil || !c.Same() || len(c.Kept) != 1 || c.Kept[0] != "driver_info.redfish_password" {
		t.Errorf("what agrees: %+v, %v", c, err)
	}
	if c, err := compare(same, true); err != nil || c.Same() || strings.Contains(strings.Join(c.Diff, ""), "hunter2") {
		t.Errorf("secrets anew: %+v, %v", c, err)
	}
	c, err := compare(map[string]any{"name": "n1", "properties": map[string]any{"cpus": 4, "a/b": "y"}, "driver_info": map[string]any{"bmc_token": "hunter2"}, "traits": []any{"A"},
		"ports": []any{map[string]any{"address": "52:54:00:aa:00:01", "pxe_enabled": false}, "52:54:00:aa:00:02"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Diff, "; "); got != "driver_info.bmc_token is set; properties.a/b: x -> y; properties.cpus: 2 -> 4; port 52:54:00:aa:00:01 pxe_enabled: true -> false; port 52:54:00:aa:00:02; traits: B -> A" {
		t.Errorf("differences %s", got)
	}
	if err := c.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := []string{`PATCH /v1/nodes/u1 [{"op":"add","path":"/driver_info/bmc_token","value":"hunter2"},{"op":"add","path":"/properties/a~1b","value":"y"},{"op":"add","path":"/properties/cpus","value":4}]`,
		`POST /v1/ports {"address":"52:54:00:aa:00:02","node_uuid":"u1"}`, `PATCH /v1/ports/p1 [{"op":"add","path":"/pxe_enabled","value":false}]`, `PUT /v1/nodes/u1/traits {"traits":["A"]}`}
	if !reflect.DeepEqual(s.sent, want) {
		t.Errorf("sent %q", s.sent)
	}
	if c, err := compare(map[string]any{"name": "n1", "conductor_group": "rack", "properties": map[string]any{"cpus": nil}}, false); err != nil || len(c.ops) != 1 || c.ops[0].Op != "remove" {
		t.Errorf("an unset value: %+v, %v", c, err)
	}
	for want, fields := range map[string]map[string]any{
		"its BMC 192.0.2.1 is that of node n1":      {"name": "n9", "driver_info": map[string]any{"redfish_address": "http://192.0.2.1/"}},
		"its BMC 192.0.2.3/1 is that of node u3":    {"name": "n9", "driver_info": map[string]any{"redfish_address": "192.0.2.3", "redfish_system_id": "/1"}},
		"port 52:54:00:aa:00:03 belongs to node u3": {"name": "n1", "ports": []any{"52:54:00:aa:00:03"}},
	} {
		if _, err := compare(fields, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
	if c, err := compare(map[string]any{"name": "n9", "driver_info": map[string]any{"redfish_address": "192.0.2.3", "redfish_system_id": "/2"}}, false); err != nil || !c.New {
		t.Errorf("another system of a BMC: %+v, %v", c, err)
	}
}
