package channel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestLookupThenEveryRoute(t *testing.T) {
	c := newRig(t, nil).client(addressOf(1))
	var a api.LookupAnswer
	if err := c.post(api.PathLookup, lookupOf(nodeA), &a); err != nil {
		t.Fatal(err)
	}
	if a.Node != nodeA || a.Generation != 7 || a.Level != api.A1 || a.Protocol != api.Protocol || a.Interval != time.Second || a.Token == "" {
		t.Errorf("%+v", a)
	}
	c.token = a.Token
	for path, q := range requests() {
		if err := c.post(path, q, answerFor(path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if n := c.fake.count(); n != 5 {
		t.Errorf("%d calls reached the conductor", n)
	}
	if c.Dispatcher.Heard(nodeA, 7).IsZero() || !c.Dispatcher.Heard(nodeA, 6).IsZero() || !c.Dispatcher.Heard(nodeB, 7).IsZero() {
		t.Error("who was heard is wrong")
	}
}

// TestI24_NothingWithoutAToken: on every route but lookup, whatever stands in a token's place changes nothing.
func TestI24_NothingWithoutAToken(t *testing.T) {
	rig := newRig(t, nil)
	c := rig.client(addressOf(1))
	c.lookup(nodeA)
	stolen := c.token
	for path, q := range requests() {
		body, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		other := rig.client(addressOf(2))
		for name, try := range map[string]func() error{
			"no header": func() error { return c.decode(c.raw(t.Context(), "POST", path, body), nil) },
			"empty":     func() error { return c.decode(c.raw(t.Context(), "POST", path, body, "Authorization", "Bearer "), nil) },
			"basic": func() error {
				return c.decode(c.raw(t.Context(), "POST", path, body, "Authorization", "Basic "+stolen), nil)
			},
			"altered": func() error {
				return c.decode(c.raw(t.Context(), "POST", path, body, "Authorization", "Bearer x"+stolen), nil)
			},
			"two": func() error {
				return c.decode(c.raw(t.Context(), "POST", path, body, "Authorization", "Bearer "+stolen, "Authorization", "Bearer "+stolen), nil)
			},
			"huge": func() error {
				return c.decode(c.raw(t.Context(), "POST", path, body, "Authorization", "Bearer "+strings.Repeat("A", 5000)), nil)
			},
			"T02 other key": func() error {
				return other.decode(other.raw(t.Context(), "POST", path, body, "Authorization", "Bearer "+stolen), nil)
			},
		} {
			if err := try(); !fault.Has(err, fault.ChannelToken) {
				t.Errorf("%s, %s: %v", path, name, err)
			}
		}
	}
	if n := rig.fake.count(); n != 0 {
		t.Errorf("%d calls reached the conductor: %v", n, rig.fake.calls)
	}
}

// TestT10_OnlyTheTokenSelectsANode: with node A's token, every call is node A's, and no body can name another.
func TestT10_OnlyTheTokenSelectsANode(t *testing.T) {
	rig := newRig(t, nil)
	a, b := rig.client(addressOf(1)), rig.client(addressOf(2))
	a.lookup(nodeA)
	b.lookup(nodeB)
	for path, q := range requests() {
		raw, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"node", "node_uuid", "uuid", "sub", "generation"} {
			body := strings.Replace(string(raw), "{", `{"`+field+`":"`+string(nodeB)+`",`, 1)
			if err := a.decode(a.raw(t.Context(), "POST", path, []byte(body), "Authorization", "Bearer "+a.token), nil); !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s with %s: %v", path, field, err)
			}
		}
		for _, target := range []string{path + "?node=" + string(nodeB), path} {
			if err := a.decode(a.raw(t.Context(), "POST", target, raw, "Authorization", "Bearer "+a.token, "X-Node", string(nodeB)), answerFor(path)); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
	}
	for _, call := range rig.fake.calls {
		if !strings.HasSuffix(call, string(nodeA)) {
			t.Errorf("with node A's token: %s", call)
		}
	}
	if len(rig.fake.calls) != 10 {
		t.Errorf("%d calls", len(rig.fake.calls))
	}
}

func TestT07_BodiesAreBounded(t *testing.T) {
	rig := newRig(t, nil)
	c := rig.client(addressOf(1))
	c.lookup(nodeA)
	auth := []string{"Authorization", "Bearer " + c.token}
	for name, try := range map[string]struct {
		path, body string
		want       fault.Reason
	}{
		"body over 1 MiB":   {api.PathHeartbeat, `{"seq":2,"versions":{"a":"` + strings.Repeat("x", api.MaxBody) + `"}}`, fault.RequestTooLarge},
		"lookup over 8 MiB": {api.PathLookup, `{"protocol":1,"inventory":"` + strings.Repeat("x", api.MaxLookup) + `"}`, fault.RequestTooLarge},
		"deep":              {api.PathResult, strings.Repeat(`{"result":`, 100), fault.RequestInvalid},
		"inventory deep":    {api.PathLookup, `{"protocol":1,"inventory":` + strings.Repeat("[", 100), fault.RequestInvalid},
		"long list":         {api.PathHeartbeat, `{"seq":1,"steps":[` + strings.Repeat("{},", 5000) + `{}]}`, fault.RequestInvalid},
		"unknown field":     {api.PathLog, `{"seq":1,"file":"../../etc/shadow"}`, fault.RequestInvalid},
		"long chunk":        {api.PathLog, `{"seq":1,"data":"` + strings.Repeat("AAAA", api.MaxLogChunk/3+1) + `"}`, fault.RequestTooLarge},
		"negative offset":   {api.PathLog, `{"seq":1,"offset":-1}`, fault.RequestInvalid},
		"no seq":            {api.PathHeartbeat, `{}`, fault.RequestInvalid},
		"control character": {api.PathSecret, `{"seq":1,"id":"a\nb","name":"configdrive"}`, fault.RequestInvalid},
		"short nonce":       {api.PathStart, `{"seq":1,"id":"a","nonce":"b"}`, fault.RequestInvalid},
		"unknown outcome":   {api.PathResult, `{"seq":1,"id":"a","nonce":"0123456789abcdef","outcome":"fine"}`, fault.RequestInvalid},
		"lying progress":    {api.PathHeartbeat, `{"seq":1,"running":"a","progress":{"percent":101}}`, fault.RequestInvalid},
		"a step out of band": {api.PathHeartbeat, `{"seq":1,"steps":[{"name":"a.b","doc":"","where":"out-of-band","priority":{},"repeat":"again","timeout":1}]}`,
			fault.RequestInvalid},
		"no hardware address": {api.PathLookup, `{"protocol":1,"addresses":["$(reboot)"],"boot_id":"b","seq":1,"inventory":{}}`, fault.RequestInvalid},
		"inventory unknown":   {api.PathLookup, `{"protocol":1,"addresses":[],"boot_id":"b","seq":1,"inventory":{"x":1}}`, fault.RequestInvalid},
		"another version":     {api.PathLookup, `{"protocol":99,"later":true}`, fault.ChannelProtocol},
	} {
		if err := c.decode(c.raw(t.Context(), "POST", try.path, []byte(try.body), auth...), nil); !fault.Has(err, try.want) {
			t.Errorf("%s: got %v, want %s", name, err, try.want)
		}
	}
	if rig.fake.count() != 0 || rig.fake.lookups != 1 {
		t.Errorf("reached the conductor: %v, %d lookups", rig.fake.calls, rig.fake.lookups)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	c := newRig(t, nil).client(addressOf(1))
	for _, m := range []string{"GET", "PUT", "DELETE"} {
		for _, p := range []string{api.PathLookup, api.PathLog, "/", "/v1/nodes"} {
			if err := c.decode(c.raw(t.Context(), m, p, nil), nil); !fault.Has(err, fault.MethodNotAllowed) {
				t.Errorf("%s %s: %v", m, p, err)
			}
		}
	}
}

func TestSourceNetworks(t *testing.T) {
	rig := newRig(t, func(c *Config) {
		c.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("2001:db8::/32")}
	})
	inside := rig.client("192.0.2.1:1")
	inside.lookup(nodeA)
	for addr, ok := range map[string]bool{
		"192.0.2.2:1": true, "[::ffff:192.0.2.2]:1": true, "[2001:db8::5]:1": true, "[2001:db8::5%eth0]:1": true,
		"192.0.2.16:1": false, "10.0.0.1:1": false, "[2001:db9::5]:1": false, "[::1]:1": false,
	} {
		for _, path := range []string{api.PathLookup, api.PathHeartbeat} {
			c := *inside
			c.addr = addr
			var err error
			if path == api.PathLookup {
				err = c.post(path, lookupOf(nodeA), new(api.LookupAnswer))
			} else {
				err = c.post(path, api.HeartbeatRequest{Seq: 2}, new(api.HeartbeatAnswer))
			}
			if ok && err != nil || !ok && !fault.Has(err, fault.ChannelSource) {
				t.Errorf("%s from %s: %v", path, addr, err)
			}
		}
	}
}

// TestT01_SourceThatContestsManyIsBlocked: three nodes, not three tries at one; and only that source.
func TestT01_SourceThatContestsManyIsBlocked(t *testing.T) {
	var mu sync.Mutex
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rig := newRig(t, func(c *Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }
	})
	nodes := []conductor.NodeID{nodeA, nodeB, "cccccccc-0000-4000-8000-000000000003"}
	for i, n := range nodes {
		rig.client(addressOf(i + 1)).lookup(n)
	}
	rogue := rig.client(addressOf(66))
	for range 5 {
		if err := rogue.post(api.PathLookup, lookupOf(nodes[0]), nil); !fault.Has(err, fault.NodeContested) {
			t.Fatal(err)
		}
	}
	for _, n := range nodes[1:] {
		if err := rogue.post(api.PathLookup, lookupOf(n), nil); !fault.Has(err, fault.NodeContested) {
			t.Fatal(err)
		}
	}
	if err := rogue.post(api.PathLookup, lookupOf(nodes[0]), nil); !fault.Has(err, fault.ChannelSource) {
		t.Errorf("the source is not blocked: %v", err)
	}
	rig.client(addressOf(67)).post(api.PathLookup, lookupOf(nodes[0]), nil)
	if err := rig.client(addressOf(1)).post(api.PathLookup, lookupOf("dddddddd-0000-4000-8000-000000000004"), new(api.LookupAnswer)); err != nil {
		t.Errorf("another source is refused: %v", err)
	}
	mu.Lock()
	clock = clock.Add(blockTime + time.Second)
	mu.Unlock()
	if err := rogue.post(api.PathLookup, lookupOf(nodes[0]), nil); !fault.Has(err, fault.NodeContested) {
		t.Errorf("the block does not end: %v", err)
	}
}

func TestT06_RatesPerAddressAndNode(t *testing.T) {
	rig := newRig(t, func(c *Config) {
		now := time.Now()
		c.Now = func() time.Time { return now } // nothing is refilled
		c.Limits = Limits{AddressBurst: 20, NodeBurst: 5}
	})
	a, b := rig.client(addressOf(1)), rig.client(addressOf(2))
	a.lookup(nodeA)
	b.lookup(nodeB)
	flood := func(c *client) (ok int, last error) {
		for range 50 {
			err := c.post(api.PathLog, api.LogRequest{Seq: 1}, nil)
			if err == nil {
				ok++
			} else {
				last = err
			}
		}
		return ok, last
	}
	if ok, err := flood(a); ok != 5 || !fault.Has(err, fault.RequestRate) {
		t.Errorf("%d requests of one node passed: %v", ok, err)
	}
	if w := a.raw(t.Context(), "POST", api.PathLog, nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if ok, _ := flood(b); ok != 5 {
		t.Errorf("another address and node got %d through", ok)
	}
	// What is beyond the address's budget costs no look at a token.
	if n := rig.fake.count(); n != 10 {
		t.Errorf("%d calls reached the conductor", n)
	}
}

func TestI22_UnforeseenErrorsDoNotLeak(t *testing.T) {
	rig := newRig(t, nil)
	c := rig.client(addressOf(1))
	c.lookup(nodeA)
	rig.fake.err = errors.New("password hunter2 in row 5")
	err := c.post(api.PathLog, api.LogRequest{Seq: 1}, nil)
	if f := fault.From(err); f.Code != fault.Internal || strings.Contains(f.Message, "hunter2") || !strings.Contains(f.Message, "log id") {
		t.Errorf("%+v", f)
	}
}

// TestF28_ClockJumps: with the server's clock far ahead the token is refused, and a lookup makes it good again.
func TestF28_ClockJumps(t *testing.T) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rig := newRig(t, func(c *Config) { c.Now = func() time.Time { return clock } })
	c := rig.client(addressOf(1))
	for _, jump := range []time.Duration{0, time.Hour, -2 * time.Hour, 87600 * time.Hour, -87600 * time.Hour} {
		clock = clock.Add(jump)
		if err := c.post(api.PathLog, api.LogRequest{Seq: 1}, nil); !fault.Has(err, fault.ChannelToken) {
			t.Errorf("after a jump of %s: %v", jump, err)
		}
		c.token = ""
		c.lookup(nodeA)
		if err := c.post(api.PathLog, api.LogRequest{Seq: 1}, nil); err != nil {
			t.Errorf("after a new lookup: %v", err)
		}
	}
}

func TestTokenIsRenewed(t *testing.T) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rig := newRig(t, func(c *Config) { c.Now = func() time.Time { return clock } })
	c := rig.client(addressOf(1))
	c.lookup(nodeA)
	var a api.HeartbeatAnswer
	if err := c.post(api.PathHeartbeat, api.HeartbeatRequest{Seq: 2}, &a); err != nil || a.Token != "" {
		t.Fatalf("renewed at once: %+v, %v", a, err)
	}
	clock = clock.Add(api.TokenLife/2 + time.Second)
	if err := c.post(api.PathHeartbeat, api.HeartbeatRequest{Seq: 3, Hold: true}, &a); err != nil || a.Token == "" || !a.Expires.Equal(clock.Add(api.TokenLife)) {
		t.Fatalf("not renewed: %+v, %v", a, err)
	}
	c.token = a.Token
	clock = clock.Add(api.TokenLife - time.Minute)
	if err := c.post(api.PathLog, api.LogRequest{Seq: 4}, nil); err != nil {
		t.Errorf("the new token: %v", err)
	}
}

func TestStaleHeartbeatIsNoSignOfLife(t *testing.T) {
	rig := newRig(t, nil)
	c := rig.client(addressOf(1))
	c.lookup(nodeA)
	before := rig.Dispatcher.Heard(nodeA, 7)
	rig.fake.err = fault.New(fault.ChannelStale, "message 1 after 2")
	if err := c.post(api.PathHeartbeat, api.HeartbeatRequest{Seq: 1, Hold: true}, nil); !fault.Has(err, fault.ChannelStale) {
		t.Error(err)
	}
	if rig.Dispatcher.Heard(nodeA, 7) != before {
		t.Error("a stale heartbeat counts as a sign of life")
	}
}

var _ Conductor = (*fake)(nil)

// TestI25_LookupsOfOneAddressAreFew: a lookup may be large and comes before any proof, so only few are read at once.
func TestI25_LookupsOfOneAddressAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Limits.Lookups = 2 })
		c := r.client("192.0.2.1:4000")
		var slow []*io.PipeWriter
		var wg sync.WaitGroup
		send := func(addr string) chan int {
			body, w := io.Pipe()
			slow = append(slow, w)
			status := make(chan int, 1)
			wg.Go(func() {
				q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, api.PathLookup, body)
				q.RemoteAddr, q.TLS = addr, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.cert}}
				a := httptest.NewRecorder()
				r.ServeHTTP(a, q)
				status <- a.Code
			})
			synctest.Wait()
			return status
		}
		first, second := send("192.0.2.1:4000"), send("192.0.2.1:4001")
		select {
		case code := <-send("192.0.2.1:4002"):
			if code != http.StatusServiceUnavailable {
				t.Errorf("the third at once: status %d", code)
			}
		default:
			t.Error("the third at once is read as well")
		}
		other := send("192.0.2.2:4000")
		for _, w := range slow {
			w.CloseWithError(io.ErrUnexpectedEOF)
		}
		wg.Wait()
		for _, s := range []chan int{first, second, other} {
			if code := <-s; code == http.StatusServiceUnavailable {
				t.Error("one inside the limit was refused")
			}
		}
		if err := c.post(api.PathLookup, lookupOf(nodeA), new(api.LookupAnswer)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
