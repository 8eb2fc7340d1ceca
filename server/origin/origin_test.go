package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	neturl "net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// policy has own networks of its own, so that a test does not depend on the machine.
func policy(allow ...string) *Policy {
	return &Policy{
		Allow: prefixes(allow...),
		own:   func() ([]netip.Prefix, error) { return prefixes("198.51.100.0/24", "2001:db8:7::/64"), nil },
	}
}

func TestT04_Addresses(t *testing.T) {
	refuse := []string{
		"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0:127.0.0.1",
		"0.0.0.0", "0.0.0.1", "::", "::ffff:0.0.0.0",
		"169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fec0::1",
		"224.0.0.1", "239.1.2.3", "ff02::1", "ff05::2", "240.0.0.1", "255.255.255.255", "192.0.0.8",
		"198.51.100.1", "198.51.100.200", "::ffff:198.51.100.1", "2001:db8:7::99",
	}
	p := policy()
	for _, a := range refuse {
		if err := p.Addr(netip.MustParseAddr(a)); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("%s: %v, want a refusal", a, err)
		}
	}
	if err := p.Addr(netip.Addr{}); !fault.Has(err, fault.OriginRefused) {
		t.Errorf("no address: %v, want a refusal", err)
	}
	for _, a := range []string{"192.0.2.7", "10.1.2.3", "172.16.5.5", "192.168.9.9", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8:8::1", "2606:4700::1", "198.51.101.1"} {
		if err := p.Addr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: %v, want it to be allowed", a, err)
		}
	}
	listed := policy("127.0.0.0/8", "198.51.100.64/26", "fe80::/10", "::1/128")
	for a, want := range map[string]bool{
		"127.0.0.1": true, "::ffff:127.0.0.1": true, "198.51.100.65": true, "198.51.100.1": false, "fe80::1%eth0": true, "::1": true,
		"169.254.1.1": false, "64:ff9b::7f00:1": false,
	} {
		if err := listed.Addr(netip.MustParseAddr(a)); (err == nil) != want {
			t.Errorf("%s with a list: %v, want allowed: %v", a, err, want)
		}
	}
}

func TestT04_UnknownOwnNetworksAllowNothing(t *testing.T) {
	p := policy("192.0.2.0/24")
	p.own = func() ([]netip.Prefix, error) { return nil, errors.New("no netlink") }
	if err := p.Addr(netip.MustParseAddr("8.8.8.8")); !fault.Has(err, fault.OriginRefused) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := p.Addr(netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Errorf("a listed address: %v", err)
	}
}

func TestT04_Check(t *testing.T) {
	p := policy("192.0.2.0/24")
	names := map[string][]string{
		"images.example": {"203.0.113.9"}, "mixed.example": {"203.0.113.9", "127.0.0.1"}, "mapped.example": {"::ffff:10.0.0.1"},
		"metadata.example": {"169.254.169.254"}, "own.example.": {"198.51.100.7"}, "listed.example": {"192.0.2.4"},
	}
	p.resolve = func(_ context.Context, host string) (out []netip.Addr, err error) {
		for _, a := range names[host] {
			out = append(out, netip.MustParseAddr(a))
		}
		if out == nil {
			return nil, &net.DNSError{Name: host, IsNotFound: true}
		}
		return out, nil
	}
	for url, want := range map[string]fault.Reason{
		"https://203.0.113.9/image.raw":   "",
		"http://images.example:8080/x":    "",
		"http://mapped.example/":          "",
		"http://listed.example/":          "",
		"http://[2001:db8:8::1]/":         "",
		"http://mixed.example/":           fault.OriginRefused,
		"http://metadata.example/":        fault.OriginRefused,
		"http://own.example./":            fault.OriginRefused,
		"http://127.0.0.1/":               fault.OriginRefused,
		"http://[::1]:80/":                fault.OriginRefused,
		"http://[::ffff:7f00:1]/":         fault.OriginRefused,
		"http://[fe80::1%25eth0]/":        fault.OriginRefused,
		"http://user:pw@127.0.0.1/":       fault.OriginRefused,
		"http://images.example@127.0.0.1": fault.OriginRefused,
		"http://0x7f.0.0.1/":              fault.RequestInvalid,
		"http://0x7f000001/":              fault.RequestInvalid,
		"http://0177.0.0.1/":              fault.RequestInvalid,
		"http://017700000001/":            fault.RequestInvalid,
		"http://2130706433/":              fault.RequestInvalid,
		"http://127.1/":                   fault.RequestInvalid,
		"http://127.0.0.1./":              fault.RequestInvalid,
		"http://0/":                       fault.RequestInvalid,
		"http://1.2.3.0X7F/":              fault.RequestInvalid,
		"http://./":                       fault.RequestInvalid,
		"http://none.example/":            fault.ImageUnreachable,
		"file:///etc/shadow":              fault.RequestInvalid,
		"ftp://203.0.113.9/":              fault.RequestInvalid,
		"gopher://127.0.0.1/":             fault.RequestInvalid,
		"//203.0.113.9/":                  fault.RequestInvalid,
		"http:///x":                       fault.RequestInvalid,
		"http://a b/":                     fault.RequestInvalid,
		"":                                fault.RequestInvalid,
	} {
		err := p.Check(t.Context(), url)
		if want == "" && err != nil || want != "" && !fault.Has(err, want) {
			t.Errorf("%q: got %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw@") {
			t.Errorf("%q: the message shows the password: %v", url, err)
		}
	}
}

// trap counts connections; none may come.
type trap struct {
	net.Listener
	hits atomic.Int64
	done sync.WaitGroup
}

func newTrap(t *testing.T, address string) *trap {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Skipf("this machine can't listen on %s: %v", address, err)
	}
	tr := &trap{Listener: l}
	tr.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tr.hits.Add(1)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); tr.done.Wait() })
	return tr
}

func (tr *trap) port() string { _, port, _ := net.SplitHostPort(tr.Addr().String()); return port }

// get fetches through a transport of the policy and returns the error.
func get(t *testing.T, p *Policy, url string) error {
	t.Helper()
	transport := p.Transport()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func TestT04_TrapsAreNotHit(t *testing.T) {
	p := policy()
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(listen, func(t *testing.T) {
			tr := newTrap(t, listen)
			for _, host := range []string{
				"127.0.0.1", "127.0.0.53", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "0", "0.0.0.0", "[::]", "[::1]",
				"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:0:0:1]", "localhost", "LOCALHOST.", "localhost.localdomain", "ip6-localhost",
			} {
				if err := get(t, p, "http://"+host+":"+tr.port()+"/"); err == nil {
					t.Errorf("%s was connected to", host)
				}
			}
			if n := tr.hits.Load(); n != 0 {
				t.Errorf("%d connections reached the trap", n)
			}
		})
	}
}

// The machine's own addresses, as it has them now, are refused without being listed.
func TestT04_OwnAddressesOfThisMachine(t *testing.T) {
	p := &Policy{}
	tr := newTrap(t, "[::]:0")
	addrs, err := net.InterfaceAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("addresses %v, %v", addrs, err)
	}
	for _, a := range addrs {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, p, "http://"+net.JoinHostPort(ip.String(), tr.port())+"/"); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("%s: %v, want a refusal", ip, err)
		}
	}
	if n := tr.hits.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

// The name had a good address when it was checked and has loopback when it is dialled.
func TestT04_Rebinding(t *testing.T) {
	tr := newTrap(t, "127.0.0.1:0")
	p := policy()
	p.resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("203.0.113.9")}, nil
	}
	url := "http://localhost:" + tr.port() + "/"
	if err := p.Check(t.Context(), url); err != nil {
		t.Fatalf("the check that the attacker passes: %v", err)
	}
	if err := get(t, p, url); !fault.Has(err, fault.OriginRefused) {
		t.Errorf("got %v, want a refusal", err)
	}
	if n := tr.hits.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

func TestT04_Redirects(t *testing.T) {
	tr := newTrap(t, "127.0.0.1:0")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this machine has no second loopback address: %v", err)
	}
	var asked atomic.Int64
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/ok":
		case "/twice":
			http.Redirect(w, r, "/trap", http.StatusFound)
		default:
			http.Redirect(w, r, "http://127.0.0.1:"+tr.port()+"/", http.StatusTemporaryRedirect)
		}
	})}}
	srv.Start()
	defer srv.Close()
	p := policy("127.0.0.2/32")
	if err := get(t, p, srv.URL+"/ok"); err != nil {
		t.Fatalf("the listed address: %v", err)
	}
	for _, path := range []string{"/trap", "/twice"} {
		if err := get(t, p, srv.URL+path); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("%s: got %v, want a refusal", path, err)
		}
	}
	if asked.Load() != 4 || tr.hits.Load() != 0 {
		t.Errorf("%d requests to the listed server, want 4; %d to the trap, want none", asked.Load(), tr.hits.Load())
	}
}

func TestT04_NoProxyOfTheEnvironment(t *testing.T) {
	tr := newTrap(t, "127.0.0.1:0")
	for _, v := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(v, "http://"+tr.Addr().String())
	}
	p := policy("127.0.0.0/8")
	if p.Transport().Proxy != nil {
		t.Error("the transport has a proxy")
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if err := get(t, p, srv.URL); err != nil {
		t.Error(err)
	}
	if n := tr.hits.Load(); n != 0 {
		t.Errorf("%d connections reached the proxy", n)
	}
}

func TestT04_ControlRefusesOtherNetworks(t *testing.T) {
	p := policy("0.0.0.0/0")
	for network, address := range map[string]string{"unix": "/run/x.sock", "udp4": "192.0.2.1:53", "tcp4": "nonsense"} {
		if err := p.Control(t.Context(), network, address, nil); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("%s %s: %v, want a refusal", network, address, err)
		}
	}
}

func TestInterfacesHasLoopback(t *testing.T) {
	got, err := interfaces()
	if err != nil || !slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr("127.0.0.1")) }) {
		t.Errorf("networks %v, %v; want loopback among them", got, err)
	}
}

func FuzzT04_Check(f *testing.F) {
	for _, s := range []string{"http://127.0.0.1", "http://[::1]", "http://0x7f.1", "http://a", "http://%31%32%37.0.0.1/", "http://127。0。0。1"} {
		f.Add(s)
	}
	p := policy()
	p.resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		// What a lenient resolver does with a number: it must not be asked.
		if last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]; last != "" && strings.Trim(last, "0123456789.") == "" {
			return nil, fmt.Errorf("resolver asked for %q", host)
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	f.Fuzz(func(t *testing.T, url string) {
		err := p.Check(t.Context(), url)
		if err == nil { // only a literal address that is allowed gets here: every name has loopback
			u, err := neturl.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			if a, err := netip.ParseAddr(u.Hostname()); err != nil || p.Addr(a) != nil {
				t.Errorf("%q is allowed", url)
			}
		} else if strings.Contains(fmt.Sprint(errors.Unwrap(fault.From(err))), "resolver asked for") {
			t.Errorf("%q: %v", url, errors.Unwrap(fault.From(err)))
		}
	})
}
