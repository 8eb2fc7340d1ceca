package register

import (
	"errors"
	"reflect"
	"strings"
	"testing"
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
