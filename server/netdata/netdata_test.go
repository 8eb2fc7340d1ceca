package netdata

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// whole is a description with a link of each sort and networks of both families.
const whole = `{
	"links": [
		{"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56", "mtu": 9000, "vif_id": "v"},
		{"id": "eth1", "type": "phy", "ethernet_mac_address": "52-54-00-12-34-57", "mtu": null},
		{"id": "b0", "type": "bond", "ethernet_mac_address": "52:54:00:12:34:56", "bond_mode": "802.3ad", "bond_links": ["eth0", "eth1"]},
		{"id": "v7", "type": "vlan", "vlan_mac_address": "52:54:00:12:34:58", "vlan_link": "b0", "vlan_id": 7}],
	"networks": [
		{"id": "n0", "link": "v7", "network_id": "x", "type": "ipv4", "ip_address": "192.0.2.9", "netmask": "255.255.255.0",
			"routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1", "services": [{"type": "dns", "address": "192.0.2.2"}]}]},
		{"id": "n1", "link": "v7", "network_id": "y", "type": "ipv6", "ip_address": "2001:db8::9/64", "netmask": "ffff:ffff:ffff:ffff::", "extra": 1},
		{"id": "n2", "link": "eth0", "network_id": "z", "type": "ipv4_dhcp"}],
	"services": [{"type": "dns", "address": "192.0.2.2"}, {"type": "dns", "address": "2001:db8::2"}]}`

func decode(t testing.TB, text string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDescriptionsThatFit(t *testing.T) {
	for _, text := range []string{`{}`, whole, `{"links": [], "networks": [], "services": []}`} {
		if err := Check(decode(t, text)); err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// Each change of the whole one makes it wrong, and the message names the place.
func TestDescriptionsThatDoNot(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"services": [{"type": "dns", "address": "192.0.2.2"}, {"type": "dns", "address": "2001:db8::2"}]`, `"x": 1`, "network_data.services must be a list"},
		{`"type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"`, `"type": "phy"`, "links[0].ethernet_mac_address is missing"},
		{`"52-54-00-12-34-57"`, `"52-54-00-12-34"`, "links[1].ethernet_mac_address"},
		{`"type": "vlan"`, `"type": "token ring"`, "links[3].type"},
		{`"vlan_id": 7`, `"vlan_id": "7"`, "links[3].vlan_id"},
		{`"vlan_id": 7`, `"vlan_id": 7.5`, "links[3].vlan_id"},
		{`"bond_mode": "802.3ad"`, `"bond_mode": "lacp"`, "links[2].bond_mode"},
		{`["eth0", "eth1"]`, `["eth0", 1]`, "links[2].bond_links"},
		{`"mtu": 9000`, `"mtu": 0`, "links[0].mtu"},
		{`"mtu": 9000`, `"mtu": "9000"`, "links[0].mtu"},
		{`"id": "n0", `, ``, "networks[0].id is missing"},
		{`"network_id": "y", `, ``, "networks[1].network_id is missing"},
		{`"192.0.2.9"`, `"192.0.2.9/24"`, "networks[0].ip_address"},
		{`"192.0.2.9"`, `"2001:db8::9"`, "networks[0].ip_address"},
		{`"2001:db8::9/64"`, `"2001:db8::9/129"`, "networks[1].ip_address"},
		{`"2001:db8::9/64"`, `"192.0.2.9"`, "networks[1].ip_address"},
		{`"255.255.255.0"`, `"255.0.255.0"`, "networks[0].netmask"},
		{`"ffff:ffff:ffff:ffff::"`, `"64"`, "networks[1].netmask"},
		{`"gateway": "192.0.2.1", `, ``, "networks[0].routes[0].gateway is missing"},
		{`"ipv4_dhcp"`, `"ipx"`, "networks[2].type"},
		{`"address": "2001:db8::2"`, `"address": "ns.example"`, "services[1].address"},
		{`"links": [`, `"links": ["eth0", `, "links[0] must be an object"},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if text == whole {
			t.Fatalf("%s is not in the whole description", c.old)
		}
		err := Check(decode(t, text))
		if !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, expected %q", c.new, c.old, err, c.want)
		}
	}
}

func TestI25_ListsAreBounded(t *testing.T) {
	many := make([]any, most+1)
	for i := range many {
		many[i] = map[string]any{"type": "dns", "address": "192.0.2.1"}
	}
	doc := map[string]any{"links": []any{}, "networks": []any{}, "services": many}
	if err := Check(doc); err == nil {
		t.Error("a list beyond the bound is taken")
	}
	doc["services"] = many[1:]
	if err := Check(doc); err != nil {
		t.Error(err)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(whole)
	f.Fuzz(func(t *testing.T, text string) {
		var doc map[string]any
		if json.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		if err := Check(doc); err != nil && !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%v is no fault of the request", err)
		}
	})
}
