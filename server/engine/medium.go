package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// derive makes a 256-bit value of one boot generation. Neither the per-boot secret nor the medium's token is stored:
// both come from the server's boot key, the generation's salt and what they are for, so a restarted server serves the
// same medium and a stolen database holds neither (safety.md §2.3, T15).
func (eng *Engine) derive(what string, n conductor.Node) []byte {
	m := hmac.New(sha256.New, eng.cfg.BootKey)
	m.Write([]byte(what))
	m.Write([]byte{0})
	m.Write([]byte(n.UUID))
	var gen [8]byte
	binary.BigEndian.PutUint64(gen[:], n.Boot.Generation)
	m.Write(gen[:])
	m.Write(n.Boot.Salt)
	return m.Sum(nil)
}

func (eng *Engine) bootSecret(n conductor.Node) string {
	return base64.RawURLEncoding.EncodeToString(eng.derive("lookup secret", n))
}

// proves compares a claimed per-boot secret in constant time.
func (eng *Engine) proves(n conductor.Node, secret string) bool {
	return n.Boot != nil && subtle.ConstantTimeCompare([]byte(secret), []byte(eng.bootSecret(n))) == 1
}

// mediumURL is where the BMC fetches this generation's medium: node id and an unguessable value of this generation.
func (eng *Engine) mediumURL(n conductor.Node) string {
	return eng.cfg.MediumURL(eng.mediumToken(n))
}

func (eng *Engine) mediumToken(n conductor.Node) string {
	id, err := nodes.Packed(n.UUID)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(append(id, eng.derive("medium url", n)...))
}

// Medium gives the boot configuration behind a medium's token. It is there from the intent to boot until the lookup,
// for the BMC's address only (unless AnySource); everything else is one not_found, so that nothing can be probed.
func (eng *Engine) Medium(ctx context.Context, token string, from netip.Addr) (api.BootConfig, error) {
	gone := fault.New(fault.NodeNotFound, "no such medium")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != 16+sha256.Size {
		return api.BootConfig{}, gone
	}
	n, err := eng.Node(ctx, string(nodes.Unpacked([16]byte(raw))))
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return api.BootConfig{}, gone
		}
		return api.BootConfig{}, err
	}
	b := n.Boot
	if b == nil || b.Ended || !b.Redeemed.IsZero() || eng.cfg.Now().After(b.Closes) ||
		subtle.ConstantTimeCompare([]byte(token), []byte(eng.mediumToken(n))) != 1 {
		return api.BootConfig{}, gone
	}
	if !eng.cfg.AnySource && !eng.isBMC(ctx, n, from) {
		eng.cfg.Log.Warn("a boot medium was asked for by an address that is not the BMC's", "node", n.Name, "from", from)
		return api.BootConfig{}, gone
	}
	if b.MediumRead.IsZero() {
		if err := eng.apply(ctx, n.UUID, conductor.MediumFetched{Generation: b.Generation}, nil); err != nil {
			eng.cfg.Log.Warn("note the first read of a medium", "node", n.Name, "err", err)
		}
	}
	return api.BootConfig{
		Version: 1, Server: eng.cfg.AgentURL(), Pins: eng.cfg.Pins, Certificate: eng.cfg.Certificate, Node: n.UUID, Generation: b.Generation,
		Secret: eng.bootSecret(n), NotBefore: b.Opened, Network: network(n),
	}, nil
}

func (eng *Engine) isBMC(ctx context.Context, n conductor.Node, from netip.Addr) bool {
	d, ok := eng.drivers[n.Driver]
	if !ok {
		return false
	}
	host := d.Address(n.DriverInfo)
	if host == "" {
		return true // fake-hardware has no BMC and nothing to lose
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap() == from.Unmap()
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if a.Unmap() == from.Unmap() {
			return true
		}
	}
	return false
}

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
