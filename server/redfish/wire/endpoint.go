// Package wire is how requests reach one BMC, and what its answers may be. A BMC is not trusted: every connection goes
// through the Dialer handed in, to the one origin that redfish_address names; links elsewhere are refused, bodies, requests and
// time are bounded, and a BMC that does not answer costs only its own nodes. It knows what a link, a list, a task and an error
// are, and nothing of machines.
//
// An Operation (operation.go) is the unit that has a budget; an Endpoint holds what all operations on one BMC share, an Account
// (account.go) the log-in, object.go what gofish needs, answer.go what is refused of an answer.
package wire

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The budget of one BMC, whatever number of nodes it serves.
const (
	slots         = 2 // requests at a time
	perSecond     = 20
	burst         = 60
	breakAfter    = 3 // connections in a row that came to nothing
	breakFirst    = 5 * time.Second
	breakLongest  = 60 * time.Second
	dialTimeout   = 10 * time.Second
	headerTimeout = 60 * time.Second
	idleTimeout   = 60 * time.Second
	headerBytes   = 64 << 10
)

// Dialer makes the connections. It is where the policy for origins is: it resolves, checks and dials in one act.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Pins keeps the public key that a BMC showed first, by origin ("https://10.0.0.7:443"). Pin answers "" when there is
// none. A pin is "sha256:" and the hex digest of the key.
type Pins interface {
	Pin(ctx context.Context, origin string) (string, error)
	PutPin(ctx context.Context, origin, pin string) error
}

// Config is what endpoints need; all of it must be set.
type Config struct {
	Dial Dialer
	Pins Pins
	Log  *slog.Logger
	Now  func() time.Time // wall time, for certificates
}

// Endpoint is what all operations on one origin share: the budget, the breaker, the connections, the log-ins.
type Endpoint struct {
	origin  string
	cfg     Config
	log     *slog.Logger
	slots   chan struct{}
	limiter *rate.Limiter
	breaker breaker

	mu       sync.Mutex
	accounts map[string]*Account
	turns    map[string]chan struct{} // by redfish_system_id; each holds one token, taken by the running operation
}

// NewEndpoint makes no connection.
func NewEndpoint(t target.Target, cfg Config) *Endpoint {
	return &Endpoint{
		origin: t.Origin, cfg: cfg, log: cfg.Log.With("bmc", t.Origin),
		slots: make(chan struct{}, slots), limiter: rate.NewLimiter(perSecond, burst),
		accounts: map[string]*Account{}, turns: map[string]chan struct{}{},
	}
}

// Account is the log-in shared by all nodes with the same credentials and trust.
func (e *Endpoint) Account(t target.Target) (*Account, error) {
	sum := sha256.Sum256([]byte(strings.Join([]string{t.Root, t.Trust.String(), t.Auth, t.Username, t.Password}, "\x00")))
	key := hex.EncodeToString(sum[:])
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.accounts[key]; ok {
		return a, nil
	}
	v, err := newVerifier(t, e.cfg)
	if err != nil {
		return nil, err
	}
	a := &Account{
		endpoint: e, root: t.Root, username: t.Username, password: t.Password, auth: t.Auth,
		lock: make(chan struct{}, 1),
		Transport: &http.Transport{
			DialContext:            withTimeout(e.cfg.Dial),
			DialTLSContext:         v.connect,
			MaxConnsPerHost:        slots,
			MaxIdleConnsPerHost:    slots,
			IdleConnTimeout:        idleTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			MaxResponseHeaderBytes: headerBytes,
			DisableCompression:     true, // a small body that unpacks to a large one is no use to anybody
		},
	}
	e.accounts[key] = a
	return a, nil
}

func withTimeout(dial Dialer) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
}

// Turn is the token of one machine behind the BMC: operations on it exclude each other.
func (e *Endpoint) Turn(system string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.turns[system]
	if !ok {
		t = make(chan struct{}, 1)
		e.turns[system] = t
	}
	return t
}

// Now is wall time, as it is handed down.
func (e *Endpoint) Now() time.Time { return e.cfg.Now() }

// Health tells how the BMC has answered lately.
func (e *Endpoint) Health() conductor.Health { return e.breaker.health(e.origin) }

// Close logs out of the BMC, as far as ctx leaves time, and closes idle connections.
func (e *Endpoint) Close(ctx context.Context) {
	e.mu.Lock()
	all := make([]*Account, 0, len(e.accounts))
	for _, a := range e.accounts {
		all = append(all, a)
	}
	e.mu.Unlock()
	for _, a := range all {
		a.logout(ctx)
		a.Transport.CloseIdleConnections()
	}
}

// breaker keeps a dead BMC from being asked by everybody all the time. After breakAfter failures in a row it refuses
// for a while, then lets one request through to see.
type breaker struct {
	mu     sync.Mutex
	failed int
	until  time.Time          // refuses before this moment
	pause  time.Duration      // the last one, before jitter
	probe  bool               // one request is out to see
	last   conductor.Exchange // of any request
	unsent conductor.Exchange // of one that the budget had no room for
}

// allow tells whether a request may go out now; patient callers, who wait for the BMC to come back, always may.
func (b *breaker) allow(origin string, patient bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if patient || b.until.IsZero() {
		return nil
	}
	left := time.Until(b.until)
	if left <= 0 && !b.probe {
		b.probe = true
		return nil
	}
	return fault.New(fault.BMCUnreachable, "the BMC at %s did not answer %d times in a row (%s); it is asked again in %s",
		origin, b.failed, b.last.Came, max(left, time.Second).Round(time.Second))
}

// ok is told after any answer, a bad one too: the BMC lives.
func (b *breaker) ok(asked, came string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed, b.until, b.pause, b.probe = 0, time.Time{}, 0, false
	b.last = conductor.Exchange{Asked: asked, Came: came, At: time.Now()}
}

// fail is told when no answer came.
func (b *breaker) fail(asked, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed++
	b.probe, b.last = false, conductor.Exchange{Asked: asked, Came: why, At: time.Now()}
	if b.failed < breakAfter {
		return
	}
	b.pause = min(max(2*b.pause, breakFirst), breakLongest)
	b.until = time.Now().Add(b.pause/2 + rand.N(b.pause/2+1))
}

// health is the breaker's state for people.
func (b *breaker) health(origin string) conductor.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return conductor.Health{Origin: origin, Failed: b.failed, Last: b.last, Unsent: b.unsent, Next: b.until}
}

// refused is told of what came and says neither that the BMC lives nor that it does not: a wrong certificate, a body without
// an end.
func (b *breaker) refused(asked, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probe, b.last = false, conductor.Exchange{Asked: asked, Came: why, At: time.Now()}
}

// crowded is told of a request that was not sent, as the budget had no room for it in time.
func (b *breaker) crowded(asked string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsent = conductor.Exchange{Asked: asked, Came: fmt.Sprintf("not sent in time: the BMC may be asked %d things at a time and %d a second", slots, perSecond), At: time.Now()}
}

// undecided is told when the caller gave up before the BMC could answer.
func (b *breaker) undecided() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probe = false
}
