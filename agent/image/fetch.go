package image

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Limits of a download.
const (
	maxRedirects = 5
	maxRetries   = 6 // in a row without a byte
	dialTimeout  = 20 * time.Second
	firstByte    = 60 * time.Second
	stall        = 60 * time.Second // without a byte
	firstWait    = time.Second
	maxWait      = 30 * time.Second
)

// NewClient makes the HTTP client for images: no proxy, few redirects that never leave HTTPS, no address of this
// machine itself. tlsConfig may be nil for the system's authorities. loopback lets tests serve images locally.
func NewClient(tlsConfig *tls.Config, loopback bool) *http.Client {
	d := &net.Dialer{Timeout: dialTimeout}
	if !loopback {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || a.Addr().Unmap().IsLoopback() || a.Addr().IsUnspecified() {
				return fmt.Errorf("%s: %w", address, errOwnAddress)
			}
			return nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: firstByte,
			DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ReadBufferSize: 256 << 10,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case req.URL.Scheme != "https" && (via[0].URL.Scheme == "https" || req.URL.Scheme != "http"):
				return fmt.Errorf("redirect from %s to %s", via[0].URL.Scheme, req.URL.Scheme)
			}
			return nil
		},
	}
}

var errOwnAddress = errors.New("an address of this machine itself")

// errRestart says that the server can't go on where the transfer broke off: what was read must be thrown away.
var errRestart = errors.New("the transfer must start again")

// stream reads one image as served. A broken transfer goes on where it stopped only if the server proves by validator
// and range that it still serves the same bytes (safety.md F31).
type stream struct {
	ctx    context.Context
	client *http.Client
	url    string
	at     string // where a redirect led to, which is asked first; "" for url itself
	log    *slog.Logger

	size      int64 // of the whole, -1 when the server does not tell
	until     int64 // where a part ends; 0 when all is read
	off       int64
	etag      string
	modified  string
	body      io.ReadCloser
	cancel    context.CancelFunc
	watchdog  *time.Timer
	failures  int
	Resumed   int
	lastError error
}

// open asks for the image from its start, at the address a redirect led to before if there is one. Faults: image.unreachable, request.invalid for a URL that is none.
func open(ctx context.Context, client *http.Client, rawURL, at string, log *slog.Logger) (*stream, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.RequestInvalid, "the image's URL %q is not an http or https URL", redact(rawURL)).
			WithHint("set image_source to the URL of the image")
	}
	s := &stream{ctx: ctx, client: client, url: rawURL, at: at, log: log, size: -1}
	for {
		retry, err := s.request(0)
		if err == nil {
			return s, nil
		}
		if !retry {
			return nil, err
		}
		if err := s.pause(err); err != nil {
			return nil, err
		}
	}
}

// request asks for the bytes from off on and checks the answer's head. retry says that another try may help. One name may lead each
// request to another mirror, whose validators differ, so the address that answered is asked before the name; it may be good for a
// while only.
func (s *stream) request(off int64) (retry bool, err error) {
	if s.at != "" {
		if _, err := s.ask(s.at, off); err == nil {
			return false, nil
		}
		s.at = ""
	}
	return s.ask(s.url, off)
}

// ask makes a request at one address.
func (s *stream) ask(from string, off int64) (retry bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return false, fault.New(fault.RequestInvalid, "the image's URL %q is not valid", redact(s.url)).Because(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	ranged := off > 0 || s.until > 0
	if ranged {
		last := ""
		if s.until > 0 {
			last = strconv.FormatInt(s.until-1, 10)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", off, last))
		if v := s.validator(); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return s.ctx.Err() == nil && !permanent(err), s.unreachable(cause(err))
	}
	defer func() {
		if err != nil {
			resp.Body.Close()
		}
	}()
	if resp.Header.Get("Content-Encoding") != "" {
		return false, s.unreachable(fmt.Errorf("the server encoded it as %q though asked not to", resp.Header.Get("Content-Encoding")))
	}
	etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	if strings.HasPrefix(etag, "W/") { // a weak one may stay the same while bytes change
		etag = ""
	}
	switch {
	case !ranged && resp.StatusCode == http.StatusOK:
		s.size, s.etag, s.modified = resp.ContentLength, etag, modified
	case ranged && resp.StatusCode == http.StatusPartialContent:
		from, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != off || s.size >= 0 && total != s.size || s.etag != "" && etag != s.etag || s.etag == "" && modified != s.modified {
			return false, errRestart
		}
	case s.until > 0 && resp.StatusCode == http.StatusOK && etag == s.etag && modified == s.modified && resp.ContentLength == s.size:
		return false, fault.New(fault.ImageFormat, "the server of %s answers no ranges, and a qcow2 file is read in parts", redact(s.url)).
			WithHint("serve it by a server that answers ranges, as nginx, httpd and bessemer image add do, or as raw compressed with zstd")
	case ranged && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		return false, errRestart // 200: ranges are ignored, or the image is another one now
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusRequestTimeout:
		return true, s.unreachable(errors.New("the server answered " + resp.Status))
	default:
		return false, s.unreachable(errors.New("the server answered " + resp.Status))
	}
	s.body, s.cancel, s.off = resp.Body, cancel, off
	if s.at = resp.Request.URL.String(); s.at == s.url {
		s.at = ""
	}
	s.watchdog = time.AfterFunc(stall, cancel)
	return false, nil
}

func (s *stream) validator() string {
	if s.etag != "" {
		return s.etag
	}
	return s.modified
}

// Read gives the next bytes as served. It ends with io.EOF only at the declared end; errRestart asks for another
// stream from the start; anything else is a fault or the context's error.
func (s *stream) Read(p []byte) (int, error) {
	for {
		s.watchdog.Reset(stall)
		n, err := s.body.Read(p)
		s.off += int64(n)
		if n > 0 {
			s.failures = 0
			return n, nil // an error comes back with the next call
		}
		if err == nil {
			continue
		}
		if err == io.EOF && (s.size < 0 || s.off == s.size || s.until > 0 && s.off == s.until) {
			return 0, io.EOF
		}
		stalled := !s.watchdog.Stop() && s.ctx.Err() == nil
		s.shut()
		if e := s.ctx.Err(); e != nil {
			return 0, context.Cause(s.ctx)
		}
		if stalled {
			err = fmt.Errorf("no byte for %s", stall)
		}
		if err := s.resume(err); err != nil {
			return 0, err
		}
	}
}

// part reads n bytes from off on, by a request of its own, of the same file as s reads.
func (s *stream) part(off int64, n int) ([]byte, error) {
	p := &stream{ctx: s.ctx, client: s.client, url: s.url, at: s.at, log: s.log, size: s.size, etag: s.etag, modified: s.modified, until: off + int64(n)}
	defer p.Close()
	for {
		retry, err := p.request(off)
		if err == nil {
			break
		}
		if !retry {
			return nil, err
		}
		if err := p.pause(err); err != nil {
			return nil, err
		}
	}
	b := make([]byte, n)
	if got, err := fill(p, b); got < n {
		if err == io.EOF {
			err = fault.New(fault.ImageTruncated, "%s ends at byte %d, expected at %d", redact(s.url), off+int64(got), s.size)
		}
		return nil, err
	}
	_, err := p.Read(make([]byte, 1)) // its end, so that the connection serves the next part too
	if err != nil && err != io.EOF {
		return nil, err
	}
	s.Resumed += p.Resumed
	s.at = p.at
	return b, nil
}

// again opens the same file once more, from its start. It is errRestart when the server has another one by now.
func (s *stream) again() (*stream, error) {
	n, err := open(s.ctx, s.client, s.url, s.at, s.log)
	if err != nil {
		return nil, err
	}
	if n.size != s.size || n.etag != s.etag || n.modified != s.modified {
		n.Close()
		return nil, errRestart
	}
	return n, nil
}

func (s *stream) resume(broken error) error {
	if s.validator() == "" {
		s.lastError = broken
		return errRestart
	}
	for {
		if err := s.pause(broken); err != nil {
			return err
		}
		at := s.off
		retry, err := s.request(at)
		if err == nil {
			s.Resumed++
			s.log.Warn("image transfer broke off and goes on", "at", at, "err", broken)
			return nil
		}
		if !retry {
			return err
		}
		broken = err
	}
}

// pause waits before the next try, longer each time; after too many it gives the reason up as a fault.
func (s *stream) pause(broken error) error {
	s.failures++
	if s.failures > maxRetries {
		if s.off > 0 {
			return fault.New(fault.ImageTruncated, "the transfer of %s broke off at byte %d of %s, %d times in a row: %v",
				redact(s.url), s.off, sizeText(s.size), maxRetries, cause(broken)).Because(broken)
		}
		return broken
	}
	t := time.NewTimer(min(maxWait, firstWait<<(s.failures-1)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *stream) unreachable(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return fault.New(fault.ImageUnreachable, "fetch %s: %v", redact(s.url), err).Because(err)
}

func (s *stream) shut() {
	if s.body != nil {
		s.watchdog.Stop()
		s.cancel()
		s.body.Close()
		s.body = nil
	}
}

// Close ends the transfer.
func (s *stream) Close() { s.shut() }

// cause drops what net/http puts around an error: the URL, which may carry a secret.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// permanent tells errors that a repeat would not change.
func permanent(err error) bool {
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) || errors.Is(err, errOwnAddress) {
		return true
	}
	u, ok := errors.AsType[*url.Error](err)
	return ok && strings.HasPrefix(u.Err.Error(), "redirect from") || ok && strings.HasPrefix(u.Err.Error(), "more than")
}

// redact gives a URL without password and query, either of which may be a secret (safety.md I22).
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the image"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// contentRange reads "bytes 5-9/10".
func contentRange(s string) (from, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(s, "/")
	first, _, ok3 := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	total, err2 := strconv.ParseInt(all, 10, 64)
	return from, total, ok && ok2 && ok3 && err1 == nil && err2 == nil
}

func sizeText(n int64) string {
	if n < 0 {
		return "an untold size"
	}
	return strconv.FormatInt(n, 10)
}
