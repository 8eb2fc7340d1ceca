package channel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/token"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

const (
	nodeA = conductor.NodeID("aaaaaaaa-0000-4000-8000-000000000001")
	nodeB = conductor.NodeID("bbbbbbbb-0000-4000-8000-000000000002")
)

// fake is a conductor that admits by a secret per node and records every call.
type fake struct {
	mu      sync.Mutex
	calls   []string // "start aaaa…"
	err     error    // of every call but lookup
	bound   map[conductor.NodeID]string
	gen     uint64
	lookups int
}

func newFake() *fake { return &fake{bound: map[conductor.NodeID]string{}, gen: 7} }

func (f *fake) note(what string, node conductor.NodeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what+" "+string(node))
	return f.err
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) Lookup(_ context.Context, p conductor.Peer, r api.LookupRequest, _ inventory.Inventory) (conductor.Admission, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	if r.Secret != "secret of "+string(r.Node) || r.Generation != f.gen {
		return conductor.Admission{}, fault.New(fault.ChannelClaim, "no")
	}
	if k := f.bound[r.Node]; k != "" && k != p.Key {
		return conductor.Admission{}, fault.New(fault.NodeContested, "two machines").At(string(r.Node), "")
	}
	f.bound[r.Node] = p.Key
	return conductor.Admission{Node: r.Node, Name: "n", Generation: f.gen, Level: api.A1, Interval: time.Second}, nil
}

func (f *fake) Heartbeat(_ context.Context, s conductor.Session, _ api.HeartbeatRequest) error {
	return f.note("heartbeat", s.Claims.Node)
}

func (f *fake) Start(_ context.Context, s conductor.Session, r api.StartRequest) (api.StartAnswer, error) {
	return api.StartAnswer{Nonce: r.Nonce}, f.note("start", s.Claims.Node)
}

func (f *fake) Result(_ context.Context, s conductor.Session, _ api.ResultRequest) error {
	return f.note("result", s.Claims.Node)
}

func (f *fake) Secret(_ context.Context, s conductor.Session, _ api.SecretRequest) ([]byte, error) {
	return []byte("of " + s.Claims.Node), f.note("secret", s.Claims.Node)
}

func (f *fake) Log(_ context.Context, s conductor.Session, _ api.LogRequest) error {
	return f.note("log", s.Claims.Node)
}

func (f *fake) Pace(conductor.NodeID) (time.Duration, <-chan struct{}) { return 0, nil }

// rig is a channel with a fake conductor, called without sockets.
type rig struct {
	*Channel
	t    testing.TB
	fake *fake
	now  func() time.Time
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	tokens, err := token.New("test", token.Key{Seed: bytes.Repeat([]byte{1}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	cfg := Config{Conductor: f, Tokens: tokens, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	cfg.Dispatcher = NewDispatcher(cfg.Now)
	return &rig{Channel: New(cfg), t: t, fake: f, now: cfg.Now}
}

// client is one machine: a key and an address.
type client struct {
	*rig
	cert  *x509.Certificate
	key   tls.Certificate
	addr  string
	token string
}

func (r *rig) client(addr string) *client {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		r.t.Fatal(err)
	}
	return &client{rig: r, cert: cert, key: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, addr: addr}
}

// raw makes a request and gives its answer.
func (c *client) raw(ctx context.Context, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	c.t.Helper()
	r := httptest.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return c.serve(r)
}

// from looks up with a body that is read from r.
func (c *client) from(r io.Reader, size int64) *httptest.ResponseRecorder {
	q := httptest.NewRequestWithContext(c.t.Context(), http.MethodPost, api.PathLookup, r)
	q.ContentLength = size
	return c.serve(q)
}

func (c *client) serve(r *http.Request) *httptest.ResponseRecorder {
	r.RemoteAddr = c.addr
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.cert}}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// post makes a request with the client's token and decodes its answer, or gives the fault.
func (c *client) post(path string, q, a any) error {
	c.t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		c.t.Fatal(err)
	}
	var header []string
	if c.token != "" {
		header = []string{"Authorization", "Bearer " + c.token}
	}
	return c.decode(c.raw(c.t.Context(), http.MethodPost, path, body, header...), a)
}

func (c *client) decode(w *httptest.ResponseRecorder, a any) error {
	c.t.Helper()
	if w.Code != http.StatusOK {
		var f api.Fault
		if err := api.Decode(w.Body, api.MaxBody, &f); err != nil {
			c.t.Fatalf("status %d without a fault: %v", w.Code, err)
		}
		if want := f.Err().Code.Status(); w.Code != want {
			c.t.Errorf("status %d for %+v, want %d", w.Code, f, want)
		}
		return f.Err()
	}
	if a == nil {
		if w.Body.Len() > 0 {
			c.t.Errorf("the answer is not empty: %s", w.Body)
		}
		return nil
	}
	if err := api.Decode(w.Body, api.MaxBody, a); err != nil {
		c.t.Fatal(err)
	}
	return nil
}

func lookupOf(node conductor.NodeID) api.LookupRequest {
	return api.LookupRequest{
		Protocol: api.Protocol, Node: node, Generation: 7, Secret: "secret of " + string(node), Addresses: []string{"52:54:00:00:00:01"},
		BootID: "boot", Seq: 1, AgentVersion: "test", Inventory: json.RawMessage(`{"disks":[]}`),
	}
}

func (c *client) lookup(node conductor.NodeID) {
	c.t.Helper()
	var a api.LookupAnswer
	if err := c.post(api.PathLookup, lookupOf(node), &a); err != nil {
		c.t.Fatal(err)
	}
	c.token = a.Token
}

const nonce = "0123456789abcdef"

// requests holds a sound request for each route behind a token.
func requests() map[string]any {
	return map[string]any{
		api.PathHeartbeat: api.HeartbeatRequest{Seq: 2},
		api.PathStart:     api.StartRequest{Seq: 3, ID: "id", Nonce: nonce},
		api.PathResult:    api.ResultRequest{Seq: 4, ID: "id", Nonce: nonce, Outcome: api.Aborted},
		api.PathSecret:    api.SecretRequest{Seq: 5, ID: "id", Name: "configdrive"},
		api.PathLog:       api.LogRequest{Seq: 6, Data: []byte("line\n")},
	}
}

func answerFor(path string) any {
	switch path {
	case api.PathHeartbeat:
		return new(api.HeartbeatAnswer)
	case api.PathStart:
		return new(api.StartAnswer)
	case api.PathSecret:
		return new(api.SecretAnswer)
	}
	return nil
}

func addressOf(i int) string { return fmt.Sprintf("192.0.2.%d:4000", i) }
