package medium

import (
	"net"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// network turns the first static IPv4 network of network_data into the medium's network; nil means DHCP.
func network(n conductor.Node) *api.Network {
	links, _ := n.NetworkData["links"].([]any)
	macs := map[string]map[string]any{}
	for _, l := range links {
		m, _ := l.(map[string]any)
		if id, ok := m["id"].(string); ok {
			macs[id] = m
		}
	}
	nets, _ := n.NetworkData["networks"].([]any)
	for _, v := range nets {
		m, _ := v.(map[string]any)
		if t, _ := m["type"].(string); t != "ipv4" && t != "ipv6" {
			continue
		}
		text := func(k string) string { s, _ := m[k].(string); return s }
		link := macs[text("link")]
		mac, _ := link["ethernet_mac_address"].(string)
		if mac == "" || text("ip_address") == "" {
			continue
		}
		out := &api.Network{MAC: strings.ToLower(mac), Address: text("ip_address")}
		if !strings.Contains(out.Address, "/") {
			out.Address += "/" + prefixLength(text("netmask"), strings.Contains(out.Address, ":"))
		}
		if f, ok := link["mtu"].(float64); ok {
			out.MTU = int(f)
		}
		routes, _ := m["routes"].([]any)
		for _, r := range routes {
			rt, _ := r.(map[string]any)
			dst, _ := rt["network"].(string)
			if gw, _ := rt["gateway"].(string); dst == "0.0.0.0" || dst == "::" {
				out.Gateway = gw
			}
		}
		services, _ := n.NetworkData["services"].([]any)
		for _, s := range services {
			sv, _ := s.(map[string]any)
			if t, _ := sv["type"].(string); t == "dns" {
				if a, _ := sv["address"].(string); a != "" {
					out.Nameservers = append(out.Nameservers, a)
				}
			}
		}
		return out
	}
	return nil
}

// prefixLength reads "255.255.255.0" or "24"; without a mask it is one host.
func prefixLength(mask string, v6 bool) string {
	if _, err := strconv.Atoi(mask); err == nil {
		return mask
	}
	if ip := net.ParseIP(mask); ip != nil {
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		ones, bits := net.IPMask(ip).Size()
		if bits != 0 {
			return strconv.Itoa(ones)
		}
	}
	if v6 {
		return "128"
	}
	return "32"
}
