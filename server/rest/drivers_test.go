package rest_test

import (
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestDriversByVersion(t *testing.T) {
	s := newServer(t)
	at := func(version string) string { return api.HeaderVersion + ": " + version }
	one := func(version string) map[string]any {
		return s.want(s.do("GET", "/v1/drivers/redfish", "", at(version)), 200).body
	}
	for _, c := range []struct {
		field string
		since string
		not   string // the version before; "" when there is none
	}{
		{"name", "1.1", ""}, {"properties", "1.14", "1.13"}, {"type", "1.30", "1.29"}, {"default_power_interface", "1.30", "1.29"},
		{"enabled_inspect_interfaces", "1.30", "1.29"}, {"enabled_storage_interfaces", "1.33", "1.32"}, {"default_rescue_interface", "1.38", "1.37"},
		{"default_bios_interface", "1.40", "1.39"}, {"default_firmware_interface", "1.86", "1.85"},
	} {
		if _, ok := one(c.since)[c.field]; !ok {
			t.Errorf("%s is not there in %s", c.field, c.since)
		}
		if c.not == "" {
			continue
		}
		if v, ok := one(c.not)[c.field]; ok {
			t.Errorf("%s is there in %s already: %v", c.field, c.not, v)
		}
	}
	list := func(path, version string) map[string]any {
		all := s.want(s.do("GET", path, "", at(version)), 200).body["drivers"].([]any)
		if len(all) != 1 {
			t.Fatalf("%s: %v", path, all)
		}
		return all[0].(map[string]any)
	}
	if d := list("/v1/drivers", "latest"); d["default_power_interface"] != nil || d["type"] != "dynamic" {
		t.Errorf("the short form has %v", d)
	}
	if d := list("/v1/drivers?detail=true&type=dynamic", "1.30"); d["default_power_interface"] != "redfish" || len(d["enabled_inspect_interfaces"].([]any)) != 2 {
		t.Errorf("the long form has %v", d)
	}
	for _, fields := range []string{"name,hosts", "NAME,,%20hosts,name"} {
		if d := list("/v1/drivers?fields="+fields, "1.77"); len(d) != 3 || d["links"] == nil {
			t.Errorf("two fields are asked for, and links stay: %v", d)
		}
	}
	if all := s.want(s.do("GET", "/v1/drivers?type=classic", ""), 200).body["drivers"].([]any); len(all) != 0 {
		t.Errorf("classic drivers %v", all)
	}
	for path, want := range map[string]int{
		"/v1/drivers?type=": 400, "/v1/drivers?type=odd": 400, "/v1/drivers?detail=maybe": 400, "/v1/drivers?fields=nosuch": 400, "/v1/drivers?detail=true&fields=name": 400, "/v1/drivers?detail=true&fields=": 400, "/v1/drivers?fields=,": 200, "/v1/drivers?detail=false&fields=name": 200,
		"/v1/drivers?fields=default_power_interface": 400, "/v1/drivers?limit=1": 400, "/v1/drivers/redfish?fields=hosts": 200,
		"/v1/drivers/nosuch/properties": 404, "/v1/drivers/nosuch/raid/logical_disk_properties": 404, "/v1/drivers/nosuch/vendor_passthru/methods": 404,
		"/v1/drivers/redfish/vendor_passthru": 400, "/v1/drivers/redfish/vendor_passthru?method=x": 400, "/v1/drivers/nosuch/vendor_passthru?method=x": 404,
		"/v1/drivers/redfish/vendor_passthru/x": 400, "/v1/drivers/nosuch/vendor_passthru/x": 404, "/v1/drivers/redfish/vendor_passthru/x?method=x": 400,
	} {
		s.want(s.do("GET", path, ""), want)
	}
	for path, version := range map[string]string{"/v1/drivers?type=dynamic": "1.29", "/v1/drivers?detail=true": "1.29", "/v1/drivers?fields=name": "1.76",
		"/v1/drivers/redfish?fields=name": "1.76", "/v1/drivers/redfish/raid/logical_disk_properties": "1.11"} {
		s.want(s.do("GET", path, "", at(version)), 406)
	}
}

func TestDriverDetails(t *testing.T) {
	s := newServer(t)
	// The driver of these tests names no RAID interface at all.
	s.want(s.do("GET", "/v1/drivers/redfish/raid/logical_disk_properties", ""), 404)
	if m := s.want(s.do("GET", "/v1/drivers/redfish/vendor_passthru/methods", ""), 200); len(m.body) != 0 {
		t.Errorf("methods %v", m.body)
	}
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		s.want(s.do(m, "/v1/drivers/redfish/vendor_passthru?method=x", `{}`), 400)
		s.want(s.do(m, "/v1/drivers/redfish/vendor_passthru/x", `{}`), 400)
		s.want(s.do(m, "/v1/drivers/redfish/vendor_passthru/methods", `{}`), 400) // which is a call to all but GET
	}
	d := s.want(s.do("GET", "/v1/drivers/redfish", ""), 200).body
	var enabled []string
	for _, i := range d["enabled_inspect_interfaces"].([]any) {
		enabled = append(enabled, i.(string))
	}
	if d["default_inspect_interface"] != "agent" || !slices.Equal(enabled, []string{"agent", "no-inspect"}) {
		t.Errorf("inspect: %v of %v", d["default_inspect_interface"], enabled)
	}
}
