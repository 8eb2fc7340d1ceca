// Package netdata checks a description of a network in the form that Nova and Ironic share: links, networks, services.
// It is the schema of network_data_schema.json, by hand: nothing is fetched and nothing is changed. Start at Check.
package netdata

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// most is how many entries one list may have: more cards, networks and routes than a machine has.
const most = 512

// The words that the schema knows.
var (
	linkTypes    = []string{"bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif", "phy", "bond", "vlan"}
	bondModes    = []string{"802.3ad", "balance-rr", "active-backup", "balance-xor", "broadcast", "balance-tlb", "balance-alb"}
	networkTypes = []string{"ipv4", "ipv4_dhcp", "ipv6", "ipv6_dhcp", "ipv6_slaac"}
)

var mac = regexp.MustCompile(`^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$`)

// Check is nil for a description that fits the schema, or an empty one. The fault is request.invalid and names the
// place and what is expected there.
func Check(doc map[string]any) error {
	if len(doc) == 0 {
		return nil
	}
	c := &checker{}
	c.each(doc, "network_data", "links", true, c.link)
	c.each(doc, "network_data", "networks", true, c.network)
	c.each(doc, "network_data", "services", true, func(at string, m map[string]any) { c.service(at, m, 0) })
	if c.err == nil {
		return nil
	}
	return c.err
}

// checker keeps the first mistake.
type checker struct{ err *fault.Fault }

func (c *checker) wrong(format string, args ...any) {
	if c.err == nil {
		c.err = fault.New(fault.RequestInvalid, format, args...).
			WithHint("network_data has links, networks and services, as OpenStack's network_data.json")
	}
}

// each checks the objects of a list.
func (c *checker) each(m map[string]any, at, key string, need bool, check func(at string, m map[string]any)) {
	v, there := m[key]
	if !there && !need {
		return
	}
	list, ok := v.([]any)
	switch {
	case !ok:
		c.wrong("%s.%s must be a list", at, key)
		return
	case len(list) > most:
		c.wrong("%s.%s has %d entries, at most %d are taken", at, key, len(list), most)
		return
	}
	for i, x := range list {
		place := fmt.Sprintf("%s.%s[%d]", at, key, i)
		o, ok := x.(map[string]any)
		if !ok {
			c.wrong("%s must be an object", place)
			return
		}
		check(place, o)
	}
}

// text is a string that fits, or "" and a mistake.
func (c *checker) text(m map[string]any, at, key string, need bool, fits func(string) bool, want string) string {
	v, there := m[key]
	if !there && !need {
		return ""
	}
	s, ok := v.(string)
	if !ok || fits != nil && !fits(s) {
		c.wrong("%s.%s is %s, expected %s", at, key, shown(v), want)
		return ""
	}
	return s
}

func shown(v any) string {
	if v == nil {
		return "missing"
	}
	return fmt.Sprintf("%.60q", fmt.Sprint(v))
}

func among(words []string) (func(string) bool, string) {
	return func(s string) bool { return slices.Contains(words, s) }, "one of " + strings.Join(words, ", ")
}

const aText = "a string"

func (c *checker) link(at string, m map[string]any) {
	c.text(m, at, "id", true, nil, aText)
	c.text(m, at, "vif_id", false, nil, aText)
	fits, want := among(linkTypes)
	kind := c.text(m, at, "type", true, fits, want)
	address := "ethernet_mac_address"
	switch kind {
	case "vlan":
		address = "vlan_mac_address"
		c.text(m, at, "vlan_link", true, nil, aText)
		if n, ok := m["vlan_id"].(float64); !ok || n != float64(int(n)) {
			c.wrong("%s.vlan_id is %s, expected a whole number", at, shown(m["vlan_id"]))
		}
	case "bond":
		fits, want := among(bondModes)
		c.text(m, at, "bond_mode", true, fits, want)
		list, ok := m["bond_links"].([]any)
		if !ok || slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok }) {
			c.wrong("%s.bond_links must be a list of strings", at)
		}
	}
	c.text(m, at, address, true, mac.MatchString, "a MAC address")
	if v := m["mtu"]; v != nil {
		if n, ok := v.(float64); !ok || n < 1 || n > 65535 {
			c.wrong("%s.mtu is %s, expected a number from 1 to 65535", at, shown(v))
		}
	}
}

func (c *checker) network(at string, m map[string]any) {
	for _, key := range []string{"id", "link", "network_id"} {
		c.text(m, at, key, true, nil, aText)
	}
	fits, want := among(networkTypes)
	kind := c.text(m, at, "type", true, fits, want)
	family := 4
	if strings.HasPrefix(kind, "ipv6") {
		family = 6
	}
	c.address(m, at, "ip_address", false, family)
	c.mask(m, at, false, family)
	c.each(m, at, "routes", false, func(at string, m map[string]any) {
		c.address(m, at, "network", true, family)
		c.mask(m, at, true, family)
		c.address(m, at, "gateway", true, family)
		c.each(m, at, "services", false, func(at string, m map[string]any) { c.service(at, m, family) })
	})
}

// service is a name server. Family 0 takes both.
func (c *checker) service(at string, m map[string]any, family int) {
	fits, want := among([]string{"dns"})
	c.text(m, at, "type", true, fits, want)
	c.address(m, at, "address", true, family)
}

// address checks an IP address; one of family 6 may have a prefix length.
func (c *checker) address(m map[string]any, at, key string, need bool, family int) {
	want := "an IP address"
	if family != 0 {
		want = fmt.Sprintf("an IPv%d address", family)
	}
	c.text(m, at, key, need, func(s string) bool {
		bare, bits, prefixed := strings.Cut(s, "/")
		a, err := netip.ParseAddr(bare)
		if err != nil || family == 4 && !a.Is4() || family == 6 && a.Is4() {
			return false
		}
		if !prefixed {
			return true
		}
		n, err := strconv.Atoi(bits)
		return a.Is6() && err == nil && n >= 0 && n <= 128
	}, want)
}

// mask checks a netmask: ones, then zeros.
func (c *checker) mask(m map[string]any, at string, need bool, family int) {
	c.text(m, at, "netmask", need, func(s string) bool {
		ip := net.ParseIP(s)
		if v4 := ip.To4(); v4 != nil && !strings.Contains(s, ":") {
			_, bits := net.IPMask(v4).Size()
			return family == 4 && bits == 32
		}
		if ip == nil || family == 4 {
			return false
		}
		_, bits := net.IPMask(ip).Size()
		return bits == 128
	}, fmt.Sprintf("an IPv%d netmask", family))
}
