// Package channel is the agent's end of the native channel (safety.md §2): one pinned server, a client key made in
// RAM, lookup until admitted, heartbeats held open, and the calls that the executor and the log make. It runs no step
// and listens on nothing; whatever goes wrong it tells in words and tries again.
//
// Start at Client.Run (beat.go); this file is how a request is made, tls.go whom the agent believes, log.go what is
// kept of the agent's log.
package channel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	patience  = 30 * time.Second // for an answer that is not held
	maxAnswer = 1 << 20
	maxSecret = 96 << 20 // a config drive of 64 MiB in base64
	maxWait   = 30 * time.Second
)

// Config is what a Client is made of.
type Config struct {
	Boot      api.BootConfig
	Key       tls.Certificate // of LoadKey
	Inventory inventory.Inventory
	BootID    string // the kernel's
	Version   string // the agent's
	Seq       func() (uint64, error)
	Now       func() time.Time
	Log       *slog.Logger
	// Trouble is told, in an operator's words, why the server can't be worked with; "" when it can again.
	Trouble func(words string)
	// Dial makes TCP connections; nil is a net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Tried is told of every request when it has ended, for those who measure; nil is nobody.
	Tried func(path string, took time.Duration, err error)
}

// idle is how long a connection without a request is kept: longer than a server tells a machine to come back after, as
// the next try then costs no handshake. One connection always holds a heartbeat; a second one is needed around a step's
// start and end, and would double what a fleet costs its server if it stayed.
const idle = api.ComeBackMax + 10*time.Second

// Client speaks to the server. Its methods may be called from several goroutines.
type Client struct {
	Config
	base      string
	http      *http.Client
	transport *http.Transport
	inventory json.RawMessage

	looking chan struct{} // one slot: only one lookup at a time

	mu       sync.Mutex
	token    string
	admitted api.LookupAnswer
	trouble  string
}

var _ run.Server = (*Client)(nil)

// New makes a client. It refuses a boot configuration that leaves the server's identity open.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Boot.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("boot configuration: server %q is not https://address:port", cfg.Boot.Server)
	}
	if len(cfg.Boot.Pins) == 0 {
		return nil, errors.New("boot configuration: it pins no key of the server")
	}
	raw, err := json.Marshal(cfg.Inventory)
	if err != nil {
		return nil, fmt.Errorf("encode the inventory: %w", err)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	if cfg.Trouble == nil {
		cfg.Trouble = func(string) {}
	}
	if cfg.Tried == nil {
		cfg.Tried = func(string, time.Duration, error) {}
	}
	began := cfg.Now()
	d := &dialer{pins: cfg.Boot.Pins, key: cfg.Key, dial: cfg.Dial, time: func() time.Time {
		// The machine's clock may say 1970 or 2099: what the medium says, plus what has passed, is closer (F29).
		if cfg.Boot.NotBefore.IsZero() {
			return cfg.Now()
		}
		return cfg.Boot.NotBefore.Add(max(0, cfg.Now().Sub(began)))
	}}
	d.believe(cfg.Boot.Certificate)
	t := &http.Transport{
		DialTLSContext: d.DialTLS,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("a connection without TLS was asked for")
		},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &Client{
		Config: cfg, base: "https://" + u.Host, transport: t, inventory: raw, looking: make(chan struct{}, 1),
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Start claims a step (run.Server).
func (c *Client) Start(ctx context.Context, id step.ID, nonce string) error {
	var a api.StartAnswer
	err := c.ask(ctx, patience, api.PathStart, maxAnswer, &a, func(seq uint64) any { return api.StartRequest{Seq: seq, ID: id, Nonce: nonce} })
	if err == nil && a.Nonce != nonce {
		return errors.New("the answer to start is not to this claim")
	}
	return err
}

// Result tells how a step ended (run.Server).
func (c *Client) Result(ctx context.Context, e run.Ended) error {
	return c.ask(ctx, patience, api.PathResult, maxAnswer, nil, func(seq uint64) any { return e.Request(seq) })
}

// Secret fetches a secret of a started step (run.Server).
func (c *Client) Secret(ctx context.Context, id step.ID, name string) ([]byte, error) {
	var a api.SecretAnswer
	err := c.ask(ctx, 10*patience, api.PathSecret, maxSecret, &a, func(seq uint64) any { return api.SecretRequest{Seq: seq, ID: id, Name: name} })
	return a.Value, err
}

// Ship sends a piece of the log (Log.Ship).
func (c *Client) Ship(ctx context.Context, offset int64, data []byte) error {
	return c.ask(ctx, patience, api.PathLog, maxAnswer, nil, func(seq uint64) any { return api.LogRequest{Seq: seq, Offset: offset, Data: data} })
}

// ask makes one request behind a token, and once more when the token had run out or a later message was faster.
func (c *Client) ask(ctx context.Context, wait time.Duration, path string, limit int64, answer any, request func(seq uint64) any) error {
	for try := 1; ; try++ {
		token, err := c.Lookup(ctx)
		if err != nil {
			return err
		}
		seq, err := c.Seq()
		if err != nil {
			return err
		}
		err = c.post(ctx, wait, path, token, limit, request(seq), answer)
		if fault.Has(err, fault.ChannelToken) {
			c.forget(token)
		}
		if try > 1 || !fault.Has(err, fault.ChannelToken) && !fault.Has(err, fault.ChannelStale) {
			return err
		}
	}
}

// Lookup gives a token: the one there is, or that of a lookup, tried until the server admits this machine or ctx ends.
func (c *Client) Lookup(ctx context.Context) (string, error) {
	select {
	case c.looking <- struct{}{}:
		defer func() { <-c.looking }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if t := c.current(); t != "" {
		return t, nil
	}
	return backoff.Retry(ctx, func() (string, error) { return c.lookup(ctx) },
		backoff.WithBackOff(newBackOff()), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, next time.Duration) { c.Log.Warn("lookup failed", "err", err, "next", next) }))
}

func (c *Client) lookup(ctx context.Context) (string, error) {
	seq, err := c.Seq()
	if err != nil {
		return "", err
	}
	q := api.LookupRequest{
		Protocol: api.Protocol, Node: c.Boot.Node, Generation: c.Boot.Generation, Secret: c.Boot.Secret,
		Addresses: []string{}, Serial: c.Config.Inventory.SystemVendor.SerialNumber, BootID: c.BootID, Seq: seq,
		AgentVersion: c.Version, Inventory: c.inventory,
	}
	for _, i := range c.Config.Inventory.Interfaces {
		if i.MACAddress != "" {
			q.Addresses = append(q.Addresses, i.MACAddress)
		}
	}
	body, err := api.EncodeLookup(q)
	if err != nil {
		return "", fmt.Errorf("encode a lookup: %w", err)
	}
	var a api.LookupAnswer
	failpoint.Here("lookup.before")
	err = c.send(ctx, 2*patience, api.PathLookup, "", maxAnswer, body, &a)
	failpoint.Here("lookup.after")
	if err == nil {
		err = api.CheckProtocol(a.Protocol)
	}
	if err == nil && a.Token == "" {
		err = errors.New("the answer to the lookup carries no token")
	}
	c.report(err)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.token, c.admitted = a.Token, a
	c.mu.Unlock()
	c.Log.Info("the server admits this machine", "node", a.Node, "name", a.Name, "generation", a.Generation, "level", a.Level, "server_time", a.Time)
	return a.Token, nil
}

// Forget drops the token: the next request looks this machine up anew, as a restarted process does.
func (c *Client) Forget() { c.renew("") }

// Admitted is the last answer to a lookup; zero before the first.
func (c *Client) Admitted() api.LookupAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admitted
}

func (c *Client) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// renew takes a new token for the old one.
func (c *Client) renew(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

// forget drops a refused token, unless another has come meanwhile. It compares what was stored with what was
// refused, both our own.
func (c *Client) forget(refused string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Compare(c.token, refused) == 0 {
		c.token = ""
	}
}

// report tells of trouble with the server, and of its end, once each.
func (c *Client) report(err error) {
	words := ""
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return
		}
		words = c.words(err)
	}
	c.mu.Lock()
	said := c.trouble == words
	c.trouble = words
	c.mu.Unlock()
	if !said {
		c.Trouble(words)
	}
}

// words tells an error of the channel as a person at the console can use it.
func (c *Client) words(err error) string {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return fmt.Sprintf("the server at %s answers: %s", c.base, f.Error())
	}
	if a, ok := errors.AsType[*answerError](err); ok {
		return fmt.Sprintf("what answers at %s is no Bessemer server (%s); check the address, and proxies in between", c.base, a.what)
	}
	return explain(c.base, err)
}

// answerError is an answer that is none of ours.
type answerError struct{ what string }

func (e *answerError) Error() string { return "unexpected answer: " + e.what }

// post makes one request. A refusal comes back as the server's fault.
func (c *Client) post(ctx context.Context, wait time.Duration, path, token string, limit int64, q, answer any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode a request: %w", err)
	}
	return c.send(ctx, wait, path, token, limit, body, answer)
}

// send is post of what is encoded.
func (c *Client) send(ctx context.Context, wait time.Duration, path, token string, limit int64, body []byte, answer any) (err error) {
	began := c.Now()
	defer func() { c.Tried(path, c.Now().Sub(began), err) }()
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("no answer within %s: %w", wait, context.DeadlineExceeded))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "bessemer-agent/"+c.Version)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if answer == nil {
		if n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)); err != nil || n > 0 {
			return &answerError{fmt.Sprintf("%d bytes where none are expected", n)}
		}
		return nil
	}
	if err := api.Decode(resp.Body, limit, answer); err != nil {
		if f, ok := errors.AsType[*fault.Fault](err); ok {
			return &answerError{f.Message} // the server's mistake, not one of ours that it found
		}
		return err
	}
	return nil
}

// refusal reads the one error body. Retry-After stands in for the back-off's own pause.
func refusal(resp *http.Response) error {
	var f api.Fault
	if err := api.Decode(resp.Body, maxAnswer, &f); err != nil || f.Code == "" {
		return &answerError{"HTTP status " + resp.Status}
	}
	err := error(f.Err())
	if s, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && s > 0 && s <= 300 {
		return errors.Join(err, backoff.RetryAfter(s))
	}
	return err
}

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 500*time.Millisecond, maxWait
	return b
}
