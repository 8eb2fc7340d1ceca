// Package network gives a ramdisk's machine an address: by DHCP on every card with a link, or as its boot medium says. Start
// at New.
package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/u-root/u-root/pkg/dhclient"
	"github.com/vishvananda/netlink"

	"github.com/bessemer-metal/bessemer/agent/drivers"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Card is a network card as the agent set it up.
type Card struct {
	Name    string // "eth0"
	MAC     string
	Address netip.Prefix // zero until there is one
	By      string       // "DHCP", "boot medium"
	DNS     []netip.Addr
}

// Network brings up network cards and keeps them up: one by a static set-up, or every card with a link by DHCP.
// What keeps it from an address is told on the console, in words, once per change; it never gives up.
type Network struct {
	root    string
	console *system.Console
	modules *drivers.Modules
	log     *slog.Logger
	ready   chan struct{}
	once    sync.Once // closes ready

	mu    sync.Mutex
	cards map[string]Card
}

// New makes a network that is not up yet; Run brings it up. Modules may be nil.
func New(root string, console *system.Console, modules *drivers.Modules, log *slog.Logger) *Network {
	return &Network{root: root, console: console, modules: modules, log: log, ready: make(chan struct{}), cards: map[string]Card{}}
}

// Ready is closed when the first card has an address.
func (n *Network) Ready() <-chan struct{} { return n.ready }

// Cards are the cards with an address, by name.
func (n *Network) Cards() []Card {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Card
	for _, c := range n.cards {
		if c.Address.IsValid() {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Card) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// lowerUp is IFF_LOWER_UP of linux/if.h: the card has a carrier.
const lowerUp = 1 << 16

// How often the network is looked at while something is missing, and how long a lack of cards or links is normal.
const (
	look     = 250 * time.Millisecond
	patience = 5 * time.Second
	linkWait = 10 * time.Second
)

// Run keeps the network up until ctx ends and every card's goroutine has ended. With static only its card is used.
func (n *Network) Run(ctx context.Context, static *api.Network) error {
	if lo, err := netlink.LinkByName("lo"); err == nil {
		if err := netlink.LinkSetUp(lo); err != nil {
			n.log.Warn("loopback", "err", err)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	started := map[string]bool{}
	begin := time.Now()
	for {
		links, err := n.physical()
		if err != nil {
			n.console.Say("network", "can't list network cards: %v", err)
		}
		for _, l := range links {
			a := l.Attrs()
			if started[a.Name] || static != nil && !strings.EqualFold(a.HardwareAddr.String(), static.MAC) {
				continue
			}
			started[a.Name] = true
			index := len(started)
			wg.Go(func() {
				if static != nil {
					n.keepStatic(ctx, a.Name, *static)
				} else {
					n.keepDHCP(ctx, a.Name, index)
				}
			})
		}
		if time.Since(begin) > patience {
			n.tellLack(links, started, static)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// physical lists the cards behind which there is a device.
func (n *Network) physical() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(l netlink.Link) bool {
		_, err := os.Stat(filepath.Join(n.root, "sys/class/net", l.Attrs().Name, "device"))
		return err != nil
	}), nil
}

// tellLack says why nothing was started, if so.
func (n *Network) tellLack(links []netlink.Link, started map[string]bool, static *api.Network) {
	switch {
	case len(links) == 0:
		text := "no network card found"
		if n.modules != nil {
			if u := n.modules.Undriven("02"); len(u) > 0 {
				names := make([]string, len(u))
				for i, d := range u {
					names[i] = d.String()
				}
				text += ", but PCI network devices without a driver: " + strings.Join(names, ", ") +
					"; build the ramdisk with the driver bundle that has it"
			} else {
				text += " and no PCI network device either: check that the card is seated and enabled in the firmware"
			}
		}
		n.console.Say("network", "%s; still looking", text)
	case static != nil && len(started) == 0:
		have := make([]string, len(links))
		for i, l := range links {
			have[i] = l.Attrs().Name + " " + l.Attrs().HardwareAddr.String()
		}
		n.console.Say("network", "the boot medium names the card %s, this machine has %s; correct the address in the node's network data; still looking",
			static.MAC, strings.Join(have, ", "))
	}
}

// up switches a card on and waits for its link, telling about a missing one.
func (n *Network) up(ctx context.Context, name string) (netlink.Link, error) {
	begin := time.Now()
	for {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if l.Attrs().Flags&net.FlagUp == 0 {
			if err := netlink.LinkSetUp(l); err != nil {
				return nil, fmt.Errorf("switch on %s: %w", name, err)
			}
		}
		if o := l.Attrs().OperState; o == netlink.OperUp || o == netlink.OperUnknown && l.Attrs().RawFlags&lowerUp != 0 {
			return l, nil
		}
		if time.Since(begin) > patience {
			n.console.Say(name, "%s (%s) has no link: check cable and switch port; still waiting", name, l.Attrs().HardwareAddr)
		}
		if !system.Sleep(ctx, look) {
			return nil, ctx.Err()
		}
	}
}

// keepDHCP gets and renews a lease as long as ctx lives. index orders default routes among cards.
func (n *Network) keepDHCP(ctx context.Context, name string, index int) {
	var last *dhcpv4.DHCPv4
	begin := time.Now()
	for ctx.Err() == nil {
		l, err := n.up(ctx, name)
		if err != nil {
			if ctx.Err() == nil {
				n.console.Say(name, "%s: %v; trying again", name, err)
				system.Sleep(ctx, patience)
			}
			continue
		}
		ack, err := lease(ctx, l, last)
		if err != nil {
			if ctx.Err() == nil && time.Since(begin) > patience {
				n.console.Say(name, "%s (%s) has a link but no DHCP server answers (%v): check the provisioning network and its DHCP server; trying again",
					name, l.Attrs().HardwareAddr, shorten(err))
			}
			system.Sleep(ctx, look)
			continue
		}
		if err := n.configure(l, ack, index); err != nil {
			n.console.Say(name, "%s: the lease can't be used: %v; trying again", name, err)
			system.Sleep(ctx, patience)
			continue
		}
		last = ack
		n.holdLease(ctx, name, ack)
	}
}

// holdLease returns when the lease is to be renewed or the link was lost.
func (n *Network) holdLease(ctx context.Context, name string, ack *dhcpv4.DHCPv4) {
	t1 := max(ack.IPAddressRenewalTime(ack.IPAddressLeaseTime(time.Hour)/2), time.Minute)
	end := time.Now().Add(t1)
	for ctx.Err() == nil && time.Now().Before(end) {
		if l, err := netlink.LinkByName(name); err != nil || l.Attrs().OperState == netlink.OperDown {
			n.console.Say(name, "%s lost its link: check cable and switch port", name)
			return
		}
		system.Sleep(ctx, time.Second)
	}
}

// lease asks for an address; with an earlier lease, for the same one again.
func lease(ctx context.Context, l netlink.Link, last *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	mods := []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("bessemer")),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute),
	}
	if last != nil {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(last.YourIPAddr)))
	}
	c := dhclient.Config{Timeout: time.Second, Retries: 4, V4ClientIdentifier: true, Modifiers4: mods}
	var errs []error
	for r := range dhclient.SendRequests(ctx, []netlink.Link{l}, true, false, c, linkWait) {
		if r.Err != nil {
			errs = append(errs, r.Err)
			continue
		}
		if ack, _ := r.Lease.Message(); ack != nil {
			return ack, nil
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("the link went away"))
	}
	return nil, errors.Join(errs...)
}

// configure gives a card what its lease says.
func (n *Network) configure(l netlink.Link, ack *dhcpv4.DHCPv4, index int) error {
	p := dhclient.NewPacket4(l, ack)
	address, ok := netip.AddrFromSlice(p.Lease().IP.To4())
	ones, bits := p.Lease().Mask.Size()
	if !ok || address.IsUnspecified() || bits != 32 {
		return fmt.Errorf("lease without a usable address: %s", p.Lease())
	}
	prefix := netip.PrefixFrom(address, ones)
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= 576 {
		if err := netlink.LinkSetMTU(l, int(mtu)); err != nil {
			n.log.Warn("mtu", "card", l.Attrs().Name, "mtu", mtu, "err", err)
		}
	}
	if err := setAddress(l, prefix); err != nil {
		return err
	}
	routes := ack.ClasslessStaticRoute()
	if len(routes) == 0 && len(ack.Router()) > 0 { // RFC 3442: with static routes the router option is ignored
		routes = dhcpv4.Routes{{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: ack.Router()[0]}}
	}
	for _, r := range routes {
		if err := addRoute(l, r.Dest, r.Router, 100+index); err != nil {
			return err
		}
	}
	var dns []netip.Addr
	for _, ip := range ack.DNS() {
		if a, ok := netip.AddrFromSlice(ip); ok {
			dns = append(dns, a.Unmap())
		}
	}
	return n.done(Card{Name: l.Attrs().Name, MAC: l.Attrs().HardwareAddr.String(), Address: prefix, By: "DHCP", DNS: dns})
}

// keepStatic sets a card up as the boot medium says, until it worked once, and watches its link.
func (n *Network) keepStatic(ctx context.Context, name string, s api.Network) {
	for ctx.Err() == nil {
		l, err := n.up(ctx, name)
		if err == nil {
			err = n.setStatic(ctx, l, s)
		}
		if err != nil && ctx.Err() == nil {
			n.console.Say(name, "%s: the boot medium's network can't be set up: %v; trying again", name, err)
			system.Sleep(ctx, patience)
			continue
		}
		for ctx.Err() == nil {
			if l, err := netlink.LinkByName(name); err != nil || l.Attrs().OperState == netlink.OperDown {
				n.console.Say(name, "%s lost its link: check cable and switch port", name)
				break
			}
			system.Sleep(ctx, time.Second)
		}
	}
}

func (n *Network) setStatic(ctx context.Context, l netlink.Link, s api.Network) error {
	prefix, err := netip.ParsePrefix(s.Address)
	if err != nil {
		return fmt.Errorf("address %q: %w", s.Address, err)
	}
	if s.MTU > 0 {
		if err := netlink.LinkSetMTU(l, s.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", s.MTU, err)
		}
	}
	if s.VLAN > 0 {
		if l, err = n.vlan(ctx, l, s.VLAN); err != nil {
			return err
		}
	}
	if err := setAddress(l, prefix); err != nil {
		return err
	}
	if s.Gateway != "" {
		gw := net.ParseIP(s.Gateway)
		all := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if prefix.Addr().Is6() {
			all = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
		}
		if err := addRoute(l, all, gw, 100); err != nil {
			return err
		}
	}
	c := Card{Name: l.Attrs().Name, MAC: s.MAC, Address: prefix, By: "boot medium"}
	for _, d := range s.Nameservers {
		if a, err := netip.ParseAddr(d); err == nil {
			c.DNS = append(c.DNS, a)
		}
	}
	return n.done(c)
}

// vlan makes a tagged interface on a card, unless it is there.
func (n *Network) vlan(ctx context.Context, l netlink.Link, id int) (netlink.Link, error) {
	if n.modules != nil {
		if err := n.modules.Load("8021q"); err != nil && !errors.Is(err, drivers.ErrNoModule) {
			return nil, err
		}
	}
	name := fmt.Sprintf("vlan%d", id)
	v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, ParentIndex: l.Attrs().Index}, VlanId: id}
	if err := netlink.LinkAdd(v); err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("make VLAN %d on %s: %w", id, l.Attrs().Name, err)
	}
	return n.up(ctx, name)
}

func setAddress(l netlink.Link, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	old, err := netlink.AddrList(l, family(p.Addr()))
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, o := range old {
		if !o.IP.Equal(a.IP) && !o.IP.IsLinkLocalUnicast() {
			if err := netlink.AddrDel(l, &o); err != nil {
				return fmt.Errorf("remove %s from %s: %w", o.IPNet, l.Attrs().Name, err)
			}
		}
	}
	if err := netlink.AddrReplace(l, a); err != nil {
		return fmt.Errorf("set %s on %s: %w", p, l.Attrs().Name, err)
	}
	return nil
}

func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func addRoute(l netlink.Link, dst *net.IPNet, gw net.IP, metric int) error {
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Gw: gw, Priority: metric}
	if gw == nil || gw.IsUnspecified() {
		r.Gw, r.Scope = nil, netlink.SCOPE_LINK
	} else {
		r.Flags = int(netlink.FLAG_ONLINK) // a router outside the prefix, as some clouds have it
	}
	if err := netlink.RouteReplace(r); err != nil {
		return fmt.Errorf("route %s by %s on %s: %w", dst, gw, l.Attrs().Name, err)
	}
	return nil
}

// done records a card with its address, writes the resolver's file and tells.
func (n *Network) done(c Card) error {
	n.mu.Lock()
	n.cards[c.Name] = c
	n.mu.Unlock()
	if err := n.resolver(); err != nil {
		return err
	}
	n.console.Say(c.Name, "%s (%s) has the address %s, by %s", c.Name, c.MAC, c.Address, c.By)
	n.log.Info("network", "card", c.Name, "mac", c.MAC, "address", c.Address.String(), "by", c.By)
	n.once.Do(func() { close(n.ready) })
	return nil
}

// resolver writes the name servers of all cards, each once.
func (n *Network) resolver() error {
	var b bytes.Buffer
	seen := map[netip.Addr]bool{}
	for _, c := range n.Cards() {
		for _, d := range c.DNS {
			if !seen[d] {
				seen[d] = true
				fmt.Fprintf(&b, "nameserver %s\n", d)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(n.root, "etc/resolv.conf"), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write name servers: %w", err)
	}
	return nil
}

// shorten keeps an error to its last part: libraries nest theirs deeply.
func shorten(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}
