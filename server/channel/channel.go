// Package channel is the native agent channel (safety.md §2): the HTTPS listener that agents call, and the Dispatcher
// that puts commands into the answer of a heartbeat held open. It checks who speaks, bounds what is said and passes
// it on; it decides nothing about a node and never opens a connection to an agent.
//
// Start at Channel (this file); dispatcher.go holds heartbeats open, identity.go is the listener's key, source.go and
// limits.go are what a stranger meets first.
package channel

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Conductor is what the channel asks of *engine.Engine. Each method checks again that the session's node and
// generation still stand; errors carry faults.
type Conductor interface {
	Lookup(ctx context.Context, p conductor.Peer, r api.LookupRequest, inv inventory.Inventory) (conductor.Admission, error)
	Heartbeat(ctx context.Context, s conductor.Session, r api.HeartbeatRequest) error
	Start(ctx context.Context, s conductor.Session, r api.StartRequest) (api.StartAnswer, error)
	Result(ctx context.Context, s conductor.Session, r api.ResultRequest) error
	Secret(ctx context.Context, s conductor.Session, r api.SecretRequest) ([]byte, error)
	Log(ctx context.Context, s conductor.Session, r api.LogRequest) error
	// Pace is how often the node's progress is wanted just now, 0 for with the heartbeat; changed is closed when that
	// may have become something else.
	Pace(node conductor.NodeID) (every time.Duration, changed <-chan struct{})
}

// Tokens issues and verifies node tokens; server/token does.
type Tokens interface {
	Issue(c api.Claims) (string, error)
	Verify(text, peerKey string, now time.Time) (api.Claims, error)
}

// Config is what a Channel is made of.
type Config struct {
	Conductor  Conductor
	Dispatcher *Dispatcher
	Tokens     Tokens
	Networks   []netip.Prefix // where agents may call from; empty: anywhere
	Limits     Limits         // zero fields: DefaultLimits
	Now        func() time.Time
	Log        *slog.Logger
}

// Channel is the http.Handler of the agent listener.
type Channel struct {
	Config
	mux     *http.ServeMux
	sources *sources
	byAddr  *limit.Buckets[netip.Addr]
	byNode  *limit.Buckets[conductor.NodeID]
	lookups *limit.Gate
	bodies  *bodies
	turns   *turns
}

// New makes the handler.
func New(cfg Config) *Channel {
	cfg.Limits = cfg.Limits.withDefaults()
	c := &Channel{
		Config:  cfg,
		mux:     http.NewServeMux(),
		sources: newSources(cfg.Networks, cfg.Now),
		byAddr:  limit.NewBuckets[netip.Addr](cfg.Limits.AddressRate, cfg.Limits.AddressBurst, cfg.Now),
		byNode:  limit.NewBuckets[conductor.NodeID](cfg.Limits.NodeRate, cfg.Limits.NodeBurst, cfg.Now),
		lookups: limit.NewGate(cfg.Limits.Lookups, 0),
		bodies:  &bodies{large: cfg.Limits.AllLookups},
		turns:   newTurns(cfg.Limits.AllLookups, cfg.Now),
	}
	c.mux.HandleFunc("POST "+api.PathLookup, c.lookup)
	c.mux.HandleFunc("POST "+api.PathHeartbeat, authenticated(c, c.heartbeat))
	c.mux.HandleFunc("POST "+api.PathStart, authenticated(c, c.start))
	c.mux.HandleFunc("POST "+api.PathResult, authenticated(c, c.result))
	c.mux.HandleFunc("POST "+api.PathSecret, authenticated(c, c.secret))
	c.mux.HandleFunc("POST "+api.PathLog, authenticated(c, c.log))
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.refuse(w, r, fault.New(fault.MethodNotAllowed, "the agent channel does not serve %s here", r.Method))
	})
	return c
}

// ServeHTTP looks at the source before anything is read, so that a flood costs little (safety.md T6).
func (c *Channel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	addr, err := source(r)
	if err == nil {
		err = c.sources.check(addr)
	}
	if err == nil && !c.byAddr.Take(limit.Network(addr)) {
		err = fault.New(fault.RequestRate, "more than %.0f requests a second come from %s", c.Limits.AddressRate, addr)
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// lookup is the one request without a token (safety.md I24).
func (c *Channel) lookup(w http.ResponseWriter, r *http.Request) {
	p, err := peer(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	from := limit.Network(p.Addr)
	if !c.lookups.Enter(from) {
		c.refuse(w, r, fault.New(fault.RequestRate, "more than %d lookups at once come from %s", c.Limits.Lookups, p.Addr))
		return
	}
	defer c.lookups.Leave(from)
	// It is read before it has a turn: who sends slowly keeps nobody else from one.
	if c.turns.full() || !c.bodies.enter(r.ContentLength) {
		c.later(w, r)
		return
	}
	defer c.bodies.leave(r.ContentLength)
	body, err := api.ReadLookup(r.Body, r.ContentLength)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if !c.turns.enter(r.Context()) {
		c.later(w, r)
		return
	}
	defer c.turns.leave()
	var q api.LookupRequest
	var inv inventory.Inventory
	err = api.DecodeLookup(body, &q, &inv)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	if failpoint.On {
		failpoint.Here("request " + r.URL.Path)
	}
	a, err := c.Conductor.Lookup(r.Context(), p, q, inv)
	if fault.Has(err, fault.NodeContested) {
		c.contested(p.Addr, q, err)
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	now := c.Now()
	claims := api.Claims{Node: a.Node, Generation: a.Generation, Level: a.Level, Key: p.Key, Issued: now, Expires: now.Add(api.TokenLife)}
	text, err := c.Tokens.Issue(claims)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.Dispatcher.hear(a.Node, a.Generation, true)
	c.Log.Info("agent looked itself up", "node", a.Node, "generation", a.Generation, "level", a.Level, "address", p.Addr, "agent", q.AgentVersion)
	c.answer(w, r, api.LookupAnswer{
		Protocol: min(q.Protocol, api.Protocol), Node: a.Node, Name: a.Name, Generation: a.Generation, Level: a.Level,
		Token: text, Expires: claims.Expires, Interval: a.Interval, Time: now,
	})
}

// later tells an agent when to look itself up again.
func (c *Channel) later(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", strconv.Itoa(c.turns.comeBack()))
	c.refuse(w, r, fault.New(fault.RequestOverload, "the server is busy with the lookups of other machines"))
}

// contested counts the nodes that one source contests, and says when that blocks it.
func (c *Channel) contested(addr netip.Addr, q api.LookupRequest, err error) {
	node := fault.From(err).Node
	if node == "" {
		node = string(q.Node)
	}
	if node == "" {
		node = strings.Join(q.Addresses, " ")
	}
	if c.sources.contests(addr, node) {
		c.Log.Error("source blocked: it claims to be several nodes that others are already", "address", addr, "for", blockTime)
	}
}

func (c *Channel) heartbeat(ctx context.Context, s conductor.Session, q api.HeartbeatRequest) (any, error) {
	if err := c.Conductor.Heartbeat(ctx, s, q); err != nil {
		return nil, err
	}
	c.Dispatcher.hear(s.Claims.Node, s.Claims.Generation, q.Steps != nil)
	now, hold := c.Now(), q.Hold
	var renewed api.HeartbeatAnswer
	if s.Claims.Expires.Sub(now) < api.TokenLife/2 {
		fresh := s.Claims
		fresh.ID, fresh.Issued, fresh.Expires = "", now, now.Add(api.TokenLife)
		text, err := c.Tokens.Issue(fresh)
		if err != nil {
			return nil, err
		}
		// The new token is worth most now: the answer is not held.
		renewed.Token, renewed.Expires, hold = text, fresh.Expires, false
	}
	a := c.Dispatcher.next(ctx, s.Claims.Node, s.Claims.Generation, hold, q.Running != "", func() (time.Duration, <-chan struct{}) {
		return c.Conductor.Pace(s.Claims.Node)
	})
	a.Token, a.Expires = renewed.Token, renewed.Expires
	return a, nil
}

func (c *Channel) start(ctx context.Context, s conductor.Session, q api.StartRequest) (any, error) {
	a, err := c.Conductor.Start(ctx, s, q)
	if err != nil {
		return nil, err
	}
	c.Dispatcher.started(s.Claims.Node, q.ID)
	return a, nil
}

func (c *Channel) result(ctx context.Context, s conductor.Session, q api.ResultRequest) (any, error) {
	if err := c.Conductor.Result(ctx, s, q); err != nil {
		return nil, err
	}
	c.Dispatcher.ended(s.Claims.Node, q.ID)
	return nil, nil
}

func (c *Channel) secret(ctx context.Context, s conductor.Session, q api.SecretRequest) (any, error) {
	v, err := c.Conductor.Secret(ctx, s, q)
	if err != nil {
		return nil, err
	}
	return api.SecretAnswer{Value: v}, nil
}

func (c *Channel) log(ctx context.Context, s conductor.Session, q api.LogRequest) (any, error) {
	return nil, c.Conductor.Log(ctx, s, q)
}

// request is any request behind a token.
type request interface{ Check() error }

// authenticated makes a handler of a call: token, per-node budget, body, call, answer, in this order. The token's
// subject is the only thing that selects a node (safety.md T10): no request type behind a token can name one.
func authenticated[Q request](c *Channel, call func(context.Context, conductor.Session, Q) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := c.session(r)
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		var q Q
		if err = api.Decode(r.Body, api.MaxBody, &q); err == nil {
			err = q.Check()
		}
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		// The body is read. From here on a read deadline would only cut a held answer short.
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			c.refuse(w, r, fmt.Errorf("clear the read deadline: %w", err))
			return
		}
		if failpoint.On {
			failpoint.Here("request " + r.URL.Path)
		}
		a, err := call(r.Context(), s, q)
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		c.answer(w, r, a)
	}
}

// session checks the token. Its size is checked before it is parsed, its key against the TLS peer.
func (c *Channel) session(r *http.Request) (conductor.Session, error) {
	p, err := peer(r)
	if err != nil {
		return conductor.Session{}, err
	}
	h := r.Header.Values("Authorization")
	if len(h) != 1 {
		return conductor.Session{}, fault.New(fault.ChannelToken, "the request carries no token")
	}
	text, ok := strings.CutPrefix(h[0], "Bearer ")
	if !ok || text == "" || len(text) > api.MaxToken {
		return conductor.Session{}, fault.New(fault.ChannelToken, "the request carries no usable token")
	}
	now, known := c.Now(), memory(r.Context())
	claims, ok := known.verified(text, now)
	if !ok {
		if claims, err = c.Tokens.Verify(text, p.Key, now); err != nil {
			return conductor.Session{}, err
		}
		known.verify(text, claims, now)
	}
	if !c.byNode.Take(claims.Node) {
		return conductor.Session{}, fault.New(fault.RequestRate, "more than %.0f requests a second come from this node", c.Limits.NodeRate)
	}
	return conductor.Session{Claims: claims, Peer: p}, nil
}

// answer writes a; nil is an empty 200.
func (c *Channel) answer(w http.ResponseWriter, r *http.Request, a any) {
	if failpoint.On {
		failpoint.Here("answer.before " + r.URL.Path)
		defer func() {
			_ = http.NewResponseController(w).Flush() // so that the mark is behind the answer
			failpoint.Here("answer.after " + r.URL.Path)
		}()
	}
	if a == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	c.write(w, r, http.StatusOK, a)
}

// refuse writes the one error body. What was not foreseen is logged under an id, and only the id leaves.
func (c *Channel) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := *fault.From(err)
	log := c.Log.With("path", r.URL.Path, "address", r.RemoteAddr)
	switch {
	case r.Context().Err() != nil:
		log.Debug("the agent hung up", "err", err)
	case f.Code == fault.Internal:
		id := rand.Text()[:10]
		f.Message = fmt.Sprintf("%s (log id %s)", f.Message, id)
		log.Error("agent request failed", "id", id, "err", err, "cause", f.Cause)
	default:
		log.Info("agent request refused", "reason", f.Reason, "node", f.Node, "err", err, "cause", f.Cause)
	}
	if (f.Code == fault.Unavailable || f.Code == fault.Busy) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter()))
	}
	c.write(w, r, f.Code.Status(), api.FaultOf(&f))
}

func (c *Channel) write(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.Log.Error("encode an answer", "path", r.URL.Path, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		c.Log.Debug("write an answer", "path", r.URL.Path, "err", err)
	}
}

// retryAfter is 1 to 5 seconds, so that those refused together do not come back together.
func retryAfter() int {
	n, err := rand.Int(rand.Reader, big.NewInt(5))
	if err != nil {
		return 3
	}
	return 1 + int(n.Int64())
}

// peer is who speaks: without a client certificate nobody does.
func peer(r *http.Request) (conductor.Peer, error) {
	known := memory(r.Context())
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.peer.Key != "" {
		return known.peer, nil
	}
	addr, err := source(r)
	if err != nil {
		return conductor.Peer{}, err
	}
	var leaf *x509.Certificate
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf = r.TLS.PeerCertificates[0]
	}
	if leaf == nil {
		return conductor.Peer{}, fault.New(fault.ChannelToken, "the connection carries no client certificate")
	}
	known.peer = conductor.Peer{Key: Thumbprint(leaf.Raw), Addr: addr}
	return known.peer, nil
}

func source(r *http.Request) (netip.Addr, error) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("source address %q: %w", r.RemoteAddr, err)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("source address %q: %w", r.RemoteAddr, err)
	}
	return addr.Unmap().WithZone(""), nil
}
