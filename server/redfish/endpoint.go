package redfish

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

// endpoint is what all operations on one origin share: the budget, the breaker, the connections, the log-ins.
type endpoint struct {
	origin  string
	cfg     Config
	log     *slog.Logger
	slots   chan struct{}
	limiter *rate.Limiter
	breaker breaker

	mu       sync.Mutex
	accounts map[string]*account
	systems  map[string]*system // by redfish_system_id
}

// system is one machine behind the BMC: operations on it exclude each other.
type system struct {
	turn chan struct{} // holds one token; taken by the running operation
}

func newEndpoint(t target, cfg Config) *endpoint {
	return &endpoint{
		origin: t.origin, cfg: cfg, log: cfg.Log.With("bmc", t.origin),
		slots: make(chan struct{}, slots), limiter: rate.NewLimiter(perSecond, burst),
		accounts: map[string]*account{}, systems: map[string]*system{},
	}
}

// account is the log-in shared by all nodes with the same credentials and trust.
func (e *endpoint) account(t target) (*account, error) {
	sum := sha256.Sum256([]byte(strings.Join([]string{t.root, t.trust.String(), t.auth, t.username, t.password}, "\x00")))
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
	a := &account{
		endpoint: e, root: t.root, username: t.username, password: t.password, auth: t.auth,
		lock: make(chan struct{}, 1),
		transport: &http.Transport{
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

func (e *endpoint) system(id string) *system {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ok := e.systems[id]
	if !ok {
		s = &system{turn: make(chan struct{}, 1)}
		e.systems[id] = s
	}
	return s
}

func (e *endpoint) close(ctx context.Context) {
	e.mu.Lock()
	all := make([]*account, 0, len(e.accounts))
	for _, a := range e.accounts {
		all = append(all, a)
	}
	e.mu.Unlock()
	for _, a := range all {
		a.logout(ctx)
		a.transport.CloseIdleConnections()
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
