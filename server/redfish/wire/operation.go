package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The bounds of one operation.
const (
	operationTime = 120 * time.Second
	readTime      = 30 * time.Second // one GET, body included
	writeTime     = 90 * time.Second // one act: BMCs fetch a medium before they answer
	maxRequests   = 500
	maxBody       = 4 << 20
	readTries     = 4
	longestRetry  = 15 * time.Second // of a Retry-After
)

// Operation is one act or question of ours, made of many requests. It has one budget and one goroutine.
type Operation struct {
	ctx      context.Context
	cancel   context.CancelFunc
	account  *Account
	patient  bool         // waits for the BMC to come back: not stopped by the breaker
	mayAct   func() error // asked before each request that changes anything but our own log-in; nil: it may
	requests int
	relogged bool
	poison   *fault.Fault // a bound or rule was broken: nothing more is asked
	entrance *serviceRoot
	more     services // of the entrance too, as the BMC writes them
	secrets  []string // never shown, whoever repeats them
}

var errOperationTime = errors.New("operation took too long")

// NewOperation begins one; its owner ends it. mayAct may be nil.
func NewOperation(ctx context.Context, a *Account, patient bool, mayAct func() error) *Operation {
	o := &Operation{account: a, patient: patient, mayAct: mayAct, secrets: []string{a.password, a.basic()}}
	o.ctx, o.cancel = context.WithTimeoutCause(ctx, operationTime, errOperationTime)
	return o
}

// End sets free what the operation holds.
func (o *Operation) End() { o.cancel() }

// Context ends with the operation's time.
func (o *Operation) Context() context.Context { return o.ctx }

// Over tells that nothing more is asked: a rule was broken, or the time is up.
func (o *Operation) Over() bool { return o.poison != nil || o.ctx.Err() != nil }

// Explain makes a bmc.* fault of any error of the operation but the end of its caller's own context.
func (o *Operation) Explain(ctx context.Context, err error) error {
	origin := o.account.endpoint.origin
	switch {
	case err == nil:
		return nil
	case o.poison != nil:
		return o.poison
	case ctx.Err() != nil:
		return fmt.Errorf("ask the BMC at %s: %w", origin, errors.Join(ctx.Err(), err))
	case errors.Is(context.Cause(o.ctx), errOperationTime):
		return fault.New(fault.BMCUnreachable, "the BMC at %s did not get done within %s", origin, operationTime).Because(err)
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return fault.New(fault.BMCError, "the BMC at %s: %s", origin, Clean(o.Mask(err.Error()), 300)).Because(err)
}

// request is one HTTP request. Path is of the BMC's origin, query included; pass is nil for what is open to all.
type request struct {
	method string
	path   string
	body   []byte
	header map[string]string
	pass   *pass
	once   bool // 500 is an answer, not trouble: a task's monitor gives the status of what it stands for
}

// do sends a request with a pass, logging in anew once per operation when the BMC has forgotten us (401).
func (o *Operation) do(r request) (*http.Response, error) {
	var err error
	if r.pass, err = o.account.current(o, nil); err != nil {
		return nil, err
	}
	resp, err := o.repeat(r)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && !o.relogged {
		o.relogged = true
		if r.pass, err = o.account.current(o, r.pass); err != nil {
			return nil, err
		}
		resp, err = o.repeat(r)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, o.bad(r, resp)
	}
	return resp, nil
}

// repeat sends a GET again, a few times, when the answer says that a later one may be better. Other methods are sent
// once: what came of them is for the caller to find out.
func (o *Operation) repeat(r request) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := o.exchange(r)
		again := err == nil && WorthRepeating(resp.StatusCode) || BrokenOff(err)
		if err == nil && r.once && resp.StatusCode == http.StatusInternalServerError {
			again = false
		}
		if !again || r.method != http.MethodGet || try == readTries {
			return resp, err
		}
		pause := 250 * time.Millisecond << try
		if err == nil {
			if s, _ := strconv.Atoi(resp.Header.Get("Retry-After")); s > 0 {
				pause = time.Duration(min(int64(s), int64(longestRetry/time.Second))) * time.Second
			}
		}
		if err := Sleep(o.ctx, pause+rand.N(pause/4+1)); err != nil {
			return nil, err
		}
	}
}

// WorthRepeating tells a status after which a later answer may be better.
func WorthRepeating(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// BrokenOff tells a connection that ended under a request from one that never came about or never answered.
func BrokenOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

// exchange sends one request within all budgets and reads the whole answer, of whatever status. The Location of an
// answer is a path of the origin, or the operation ends.
func (o *Operation) exchange(r request) (*http.Response, error) {
	e := o.account.endpoint
	if o.poison != nil {
		return nil, o.poison
	}
	if o.requests++; o.requests > maxRequests {
		return nil, o.spoil(fault.New(fault.BMCTooLarge, "the BMC at %s needs more than %d requests for one operation", e.origin, maxRequests))
	}
	if err := e.limiter.Wait(o.ctx); err != nil {
		return nil, o.late(r, err)
	}
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-o.ctx.Done():
		return nil, o.late(r, o.ctx.Err())
	}
	if r.method != http.MethodGet && r.pass != nil && o.mayAct != nil { // after all waiting, just before it leaves
		if err := o.mayAct(); err != nil {
			return nil, err
		}
	}
	if err := e.breaker.allow(e.origin, o.patient); err != nil {
		return nil, err
	}
	resp, err := o.send(r)
	switch {
	case err == nil:
		e.breaker.ok(o.asked(r), strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", http.StatusText(resp.StatusCode))))
	case errors.Is(o.ctx.Err(), context.Canceled):
		e.breaker.undecided()
		return nil, o.ctx.Err()
	default:
		if f, ok := errors.AsType[*fault.Fault](err); ok {
			if e.breaker.refused(o.asked(r), Clean(o.Mask(f.Message), 160)); f.Reason == fault.BMCTooLarge {
				return nil, o.spoil(f)
			}
			return nil, f
		}
		if f := certificateFault(err, e.origin); f != nil {
			e.breaker.refused(o.asked(r), f.Message)
			return nil, f
		}
		e.breaker.fail(o.asked(r), inWords(err))
		return nil, fault.New(fault.BMCUnreachable, "the BMC at %s does not answer %s %s: %s", e.origin, r.method, o.Mask(r.path), inWords(err)).Because(err)
	}
	if link := resp.Header.Get("Location"); link != "" {
		path, err := o.Resolve(link)
		if err != nil {
			return nil, err
		}
		resp.Header.Set("Location", path)
	}
	return resp, nil
}

// send makes the round trip. Redirects are not followed: a RoundTripper never does.
func (o *Operation) send(r request) (*http.Response, error) {
	limit := writeTime
	if r.method == http.MethodGet {
		limit = readTime
	}
	ctx, cancel := context.WithTimeout(o.ctx, limit)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, o.account.endpoint.origin+r.path, body)
	if err != nil {
		return nil, fault.New(fault.BMCError, "the BMC at %s names the unusable path %.100q", o.account.endpoint.origin, o.Mask(r.path))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	req.Header.Set("User-Agent", "bessemer")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	switch p := r.pass; {
	case p == nil:
	case p.basic:
		req.Header.Set("Authorization", "Basic "+o.account.basic())
	default:
		if !slices.Contains(o.secrets, p.token) {
			o.secrets = append(o.secrets, p.token)
		}
		req.Header.Set("X-Auth-Token", p.token)
	}
	resp, err := o.account.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if len(raw) > maxBody {
		return nil, fault.New(fault.BMCTooLarge, "the BMC at %s answers %s %s with more than %d MiB", o.account.endpoint.origin, r.method, o.Mask(r.path), maxBody>>20)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

// asked is a request for people: without the query, which says nothing to them and may be a key.
func (o *Operation) asked(r request) string {
	path, _, _ := strings.Cut(r.path, "?")
	return r.method + " " + Clean(o.Mask(path), 120)
}

// spoil ends the operation: what is asked after it gets the same fault.
func (o *Operation) spoil(f *fault.Fault) *fault.Fault {
	if o.poison == nil {
		o.poison = f
	}
	return o.poison
}

// late tells a caller who gave up from an operation that used up its time waiting for its turn.
func (o *Operation) late(r request, err error) error {
	if errors.Is(o.ctx.Err(), context.Canceled) {
		return o.ctx.Err()
	}
	o.account.endpoint.breaker.crowded(o.asked(r))
	return fault.New(fault.BMCUnreachable, "the BMC at %s has more to do than its budget allows; the request was not sent", o.account.endpoint.origin).Because(err)
}

// inWords says what went wrong with a connection, without addresses that the reader knows already.
func inWords(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case BrokenOff(err):
		return "connection broken off"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "name " + dns.Name + " does not resolve"
	}
	return Clean(err.Error(), 160)
}

// Sleep waits, or returns ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
