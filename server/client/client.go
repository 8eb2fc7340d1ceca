// Package client speaks the operators' REST API: typed calls, errors as faults with their hints, watching, uploads.
// The command and the web pages share it. It prints nothing and decides nothing.
//
// Start at New; the calls are in calls.go, streams in stream.go.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Options say where the server is and who asks.
type Options struct {
	Server   string // base URL: http://127.0.0.1:6385
	User     string
	Password string
	CA       []byte        // PEM certificates to trust beside the system's
	Timeout  time.Duration // of one call that is not a stream; 0 means 30 s
	// Version is asked for in every request; 0 is the newest. An older one is for servers that are not ours.
	Version api.Version
	// ReadOnly refuses every request but GET before it is sent.
	ReadOnly bool
	// Transport replaces the network in tests.
	Transport http.RoundTripper
}

// Client calls one server. It may be used by several goroutines.
type Client struct {
	base    string
	user    string
	pass    string
	timeout time.Duration
	version api.Version
	reads   bool // nothing but GET
	http    *http.Client
}

// maxAnswer bounds what is read of an answer that is not a stream.
const maxAnswer = 256 << 20

// New makes a client; it opens no connection yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.RequestInvalid, "the server's address %q is no URL", o.Server).
			WithHint("give it as http://ADDRESS:PORT or https://ADDRESS:PORT")
	}
	if u.User != nil {
		return nil, fault.New(fault.RequestInvalid, "the server's address holds a user or password").
			WithHint("give them by BESSEMER_USER and BESSEMER_PASSWORD")
	}
	transport := o.Transport
	if transport == nil {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if len(o.CA) > 0 && !roots.AppendCertsFromPEM(o.CA) {
			return nil, fault.New(fault.RequestInvalid, "the CA file holds no PEM certificate")
		}
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 2 * time.Minute,
			IdleConnTimeout:       time.Minute,
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Version == 0 {
		o.Version = api.MaxVersion
	}
	return &Client{
		version: o.Version, reads: o.ReadOnly,
		base: strings.TrimSuffix(strings.TrimSuffix(o.Server, "/"), "/v1"), user: o.User, pass: o.Password, timeout: o.Timeout,
		// A redirect would carry the credentials elsewhere; the API has none.
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the base URL.
func (c *Client) Server() string { return c.base }

// open sends a request and gives the answer when its status is a success; the caller closes the body.
func (c *Client) open(ctx context.Context, method, path string, q url.Values, body io.Reader, size int64) (*http.Response, error) {
	if c.reads && method != http.MethodGet {
		return nil, fault.New(fault.RequestForbidden, "%s %s is not sent to %s: it is only read from", method, path, c.base)
	}
	target := c.base + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fault.New(fault.RequestInvalid, "the request %s %s can't be made", method, path).Because(err)
	}
	if size >= 0 && body != nil {
		r.ContentLength = size
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set(api.HeaderVersion, c.version.String())
	r.Header.Set(api.HeaderNewVersion, "baremetal "+c.version.String())
	if c.user != "" {
		r.SetBasicAuth(c.user, c.pass)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode/100 != 2 {
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		if err != nil {
			return nil, c.unreachable(ctx, err)
		}
		f := api.ReadErrorBody(answer.StatusCode, text)
		if !json.Valid(text) {
			c.stranger(f, method, path, answer, string(text))
		}
		if f.Reason == fault.RequestAuth {
			_ = f.WithHint("give --user and a password by BESSEMER_PASSWORD or --password-file")
		}
		return nil, f
	}
	return answer, nil
}

// stranger tells of an answer that no server of Ironic's API gives.
func (c *Client) stranger(f *fault.Fault, method, path string, answer *http.Response, text string) {
	if answer.StatusCode == http.StatusBadRequest && (strings.Contains(text, "HTTP request to an HTTPS server") || strings.Contains(text, "plain HTTP request was sent to HTTPS")) {
		f.Message = fmt.Sprintf("the server at %s wants TLS", c.base)
		f.Hint = "give its address as https" + strings.TrimPrefix(c.base, "http")
		return
	}
	if to := answer.Header.Get("Location"); answer.StatusCode/100 == 3 && to != "" {
		f.Message = fmt.Sprintf("%s answers %s %s with %d %s and sends on to %.200q", c.base, method, path, answer.StatusCode, http.StatusText(answer.StatusCode), to)
		f.Hint = "give that address, without what stands behind the port, by --server URL or BESSEMER_SERVER if the server is there"
		return
	}
	f.Message = fmt.Sprintf("%s answers %s %s with %d %s, and not as Ironic's API does", c.base, method, path, answer.StatusCode, http.StatusText(answer.StatusCode))
	f.Hint = "is this a Bessemer server, and does a proxy before it reach it? --server URL or BESSEMER_SERVER names it"
}

// unreachable says in words why there is no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	f := fault.New(fault.ServerUnreachable, "the server at %s does not answer", c.base).Because(err)
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &unknown):
		f.Message = fmt.Sprintf("the certificate of %s is signed by an authority that is not trusted here", c.base)
		f.Hint = "give the server's certificate with --ca FILE; the server keeps it in its data directory, as api.crt"
	case errors.As(err, &host):
		f.Message = fmt.Sprintf("the certificate of %s is for another name", c.base)
		f.Hint = "use a name or address that the certificate holds"
	case errors.Is(err, http.ErrSchemeMismatch):
		f.Message = fmt.Sprintf("the server at %s speaks HTTP without TLS", c.base)
		f.Hint = "give its address as http" + strings.TrimPrefix(c.base, "https")
	case errors.As(err, &dns):
		f.Message += ": its name can't be resolved"
	case errors.Is(err, context.DeadlineExceeded):
		f.Message += fmt.Sprintf(" within %s", c.timeout)
	case errors.As(err, &op):
		f.Message += ": " + op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.Message += ": it closed the connection"
	}
	return f
}

// call sends a body as JSON and decodes the answer into out; both may be nil.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, in, out any) error {
	return c.exchange(ctx, method, path, q, in, out, false)
}

// optional is call for answers that may have no body; out stays as it is then.
func (c *Client) optional(ctx context.Context, method, path string, q url.Values, in, out any) error {
	return c.exchange(ctx, method, path, q, in, out, true)
}

func (c *Client) exchange(ctx context.Context, method, path string, q url.Values, in, out any, empty bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	size := int64(-1)
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request %s %s: %w", method, path, err)
		}
		body, size = bytes.NewReader(text), int64(len(text))
	}
	answer, err := c.open(ctx, method, path, q, body, size)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
		return err
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out)
	if empty && errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fault.New(fault.ServerUnreachable, "the answer of %s to %s %s can't be read", c.base, method, path).
			WithHint("is this a Bessemer server?").Because(err)
	}
	return nil
}
