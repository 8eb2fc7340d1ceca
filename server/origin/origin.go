// Package origin decides where the server may connect when somebody else names the address: an API user, a BMC, an
// image server's redirect (safety.md T4, I23). It resolves and judges addresses, and sends nothing.
//
// Start at Policy. Check is for early, clear answers; what binds is Control, which judges the address that is really
// dialled, after name resolution and at every redirect.
package origin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Policy refuses loopback, link-local, unspecified, multicast and reserved addresses, and those of the server's own
// networks, unless a prefix of Allow has them. The zero Policy allows what is left: any other routable address.
type Policy struct {
	Allow []netip.Prefix

	// What the machine is, replaced by tests. Nil asks the machine, at each check: networks come and go.
	own     func() ([]netip.Prefix, error)
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// refused are ranges that name no machine of somebody else's, by RFC 6890 and its successors, apart from those that
// package netip knows. Private ranges are not among them: BMCs live there.
var refused = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // "this network": Linux takes it for loopback
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: an IPv4 address in disguise
	netip.MustParsePrefix("64:ff9b:1::/48"),  // the same, local
	netip.MustParsePrefix("2002::/16"),       // 6to4: likewise
	netip.MustParsePrefix("2001::/32"),       // Teredo: likewise
	netip.MustParsePrefix("::/96"),           // IPv4-compatible: likewise
	netip.MustParsePrefix("fec0::/10"),       // site-local of old
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
}

// Addr judges one address. A refusal is origin.not_allowed and says why.
func (p *Policy) Addr(addr netip.Addr) error {
	a := addr.Unmap().WithZone("")
	for _, allowed := range p.Allow {
		if allowed.Contains(a) {
			return nil
		}
	}
	switch {
	case !a.IsValid():
		return no(addr, "no address")
	case a.IsUnspecified():
		return no(addr, "the unspecified address")
	case a.IsLoopback():
		return no(addr, "a loopback address")
	case a.IsLinkLocalUnicast():
		return no(addr, "a link-local address")
	case a.IsMulticast():
		return no(addr, "a multicast address")
	case slices.ContainsFunc(refused, func(r netip.Prefix) bool { return r.Contains(a) }):
		return no(addr, "a reserved address")
	}
	own := p.own
	if own == nil {
		own = interfaces
	}
	networks, err := own()
	if err != nil { // not knowing is no permission
		return fault.New(fault.OriginRefused, "the server's own networks can't be listed, so %s is not allowed", addr).Because(err)
	}
	for _, n := range networks {
		if n.Contains(a) {
			return no(addr, "in the server's own network "+n.String())
		}
	}
	return nil
}

func no(addr netip.Addr, what string) error {
	return fault.New(fault.OriginRefused, "%s is %s", addr, what)
}

// interfaces lists the networks of the machine's cards. A point-to-point or single address is a network of one.
func interfaces() ([]netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of the network cards: %w", err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			return nil, fmt.Errorf("list the addresses of the network cards: %v is no network", a)
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok {
			return nil, fmt.Errorf("list the addresses of the network cards: %v is no network", a)
		}
		ip = ip.Unmap()
		ones, _ := n.Mask.Size()
		prefix, err := ip.WithZone("").Prefix(ones)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of the network cards: %w", err)
		}
		out = append(out, prefix)
	}
	return out, nil
}

// Check judges a URL before anything is connected: http or https, a host, and every address the host has now. A
// malformed one is request.invalid, a host that does not resolve image.unreachable, a refused address
// origin.not_allowed. Addresses can change afterwards: the connection itself goes through Control.
func (p *Policy) Check(ctx context.Context, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return fault.New(fault.RequestInvalid, "the URL can't be parsed").Because(err) // its text may hold a password
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fault.New(fault.RequestInvalid, "URL %s has scheme %q, expected http or https", u.Redacted(), u.Scheme)
	}
	host := u.Hostname()
	if host == "" {
		return fault.New(fault.RequestInvalid, "URL %s names no host", u.Redacted())
	}
	addrs, err := p.lookup(ctx, host)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := p.Addr(a); err != nil {
			f := fault.From(err)
			if a.String() != host {
				f.Message = host + ": " + f.Message
			}
			return f
		}
	}
	return nil
}

func (p *Policy) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	// Some resolvers read 0177.1, 2130706433 or 0x7f.1 as IPv4 addresses. No name ends in a numeric label.
	last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
	if last = strings.TrimSuffix(last, "."); last == "" || numeric(last) {
		return nil, fault.New(fault.RequestInvalid, "host %q is neither a name nor an address in the usual spelling", host).
			WithHint("write an IPv4 address as four decimal numbers")
	}
	resolve := p.resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	addrs, err := resolve(ctx, host)
	if err != nil || len(addrs) == 0 {
		return nil, fault.New(fault.ImageUnreachable, "host %s has no address", host).
			WithHint("check the name, and the server's resolver").Because(err)
	}
	return addrs, nil
}

// numeric tells a label that resolvers may take for a number: decimal, octal or hexadecimal.
func numeric(label string) bool {
	hex, digits := strings.CutPrefix(strings.ToLower(label), "0x")
	set := "0123456789"
	if digits {
		set += "abcdef"
	}
	return strings.Trim(hex, set) == ""
}

// Control is for net.Dialer.ControlContext: it sees each address just before it is connected to, whoever resolved it.
func (p *Policy) Control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fault.New(fault.OriginRefused, "no connection over %s is made", network)
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault.New(fault.OriginRefused, "%q is not an address", address).Because(err)
	}
	return p.Addr(a.Addr())
}

// Transport is for clients that fetch what somebody else named: every connection is judged, no proxy of the
// environment is used, and connecting and the answer's head have deadlines. The body's is the caller's context. Set
// TLSClientConfig on it as needed; leave the dialling alone. Close idle connections when done.
func (p *Policy) Transport() *http.Transport {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, ControlContext: p.Control}
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        60 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    2,
		ForceAttemptHTTP2:      true,
	}
}
