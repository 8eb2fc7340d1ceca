// Package medium reads a virtual CD over HTTP the way BMCs do: HEAD first, then ranges, never the whole image. Remote is
// the reader; Export hands it to a QEMU as a network block device, so that a machine can boot from any server the
// emulated BMC reaches: HTTP or HTTPS, and without QEMU's optional curl driver.
//
// It never writes and never keeps a copy on disk. Start reading at Open.
package medium

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
)

const (
	blockSize = 256 << 10 // one request to the server
	keep      = 32        // blocks held in memory
	agent     = "bessemer-redfish-emulator"
)

// Remote is one image on an HTTP server. It is an io.ReaderAt, safe for concurrent use.
type Remote struct {
	ctx      context.Context
	client   *http.Client
	url      string
	size     int64
	etag     string
	requests atomic.Int64

	mu     sync.Mutex // one request at a time, as a BMC does
	blocks map[int64][]byte
	order  []int64 // of blocks, oldest first
}

// Open asks the server for the image: HEAD, which must give its size, and the first range, which must be answered with
// 206. The errors are worded for an operator, since the BMC passes them on. Reads end with ctx.
func Open(ctx context.Context, client *http.Client, address string) (*Remote, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("image %q: an http or https URL is expected", address)
	}
	r := &Remote{ctx: ctx, client: client, url: address, blocks: map[int64][]byte{}}
	res, err := r.do(http.MethodHead, "")
	if err != nil {
		return nil, err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HEAD %s: the server answered %s, 200 OK expected", u.Redacted(), res.Status)
	}
	if res.ContentLength <= 0 {
		return nil, fmt.Errorf("HEAD %s: the server gives no Content-Length, so the size of the image is unknown", u.Redacted())
	}
	r.size, r.etag = res.ContentLength, res.Header.Get("ETag")
	if _, err := r.ReadAt(make([]byte, min(2048, r.size)), 0); err != nil {
		return nil, err
	}
	return r, nil
}

// Size of the image in bytes.
func (r *Remote) Size() int64 { return r.size }

// URL of the image.
func (r *Remote) URL() string { return r.url }

// Requests made to the server so far.
func (r *Remote) Requests() int64 { return r.requests.Load() }

// ReadAt reads what is not held yet from the server.
func (r *Remote) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if off >= r.size {
			return n, io.EOF
		}
		b, err := r.block(off / blockSize)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], b[off%blockSize:])
		n, off = n+c, off+int64(c)
	}
	return n, nil
}

func (r *Remote) block(i int64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.blocks[i]; ok {
		return b, nil
	}
	first := i * blockSize
	last := min(first+blockSize, r.size) - 1
	b, err := r.fetch(first, last)
	if err != nil {
		return nil, err
	}
	if len(r.order) == keep {
		delete(r.blocks, r.order[0])
		r.order = r.order[1:]
	}
	r.blocks[i], r.order = b, append(r.order, i)
	return b, nil
}

func (r *Remote) fetch(first, last int64) ([]byte, error) {
	res, err := r.do(http.MethodGet, fmt.Sprintf("bytes=%d-%d", first, last))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusPartialContent {
		return nil, fmt.Errorf("GET %s: the server answered a range request with %s, 206 expected", res.Request.URL.Redacted(), res.Status)
	}
	if tag := res.Header.Get("ETag"); tag != r.etag {
		return nil, fmt.Errorf("GET %s: the image changed while it was read (ETag %q, was %q)", res.Request.URL.Redacted(), tag, r.etag)
	}
	b := make([]byte, last-first+1)
	if _, err := io.ReadFull(res.Body, b); err != nil {
		return nil, fmt.Errorf("GET %s, bytes %d to %d: %w", res.Request.URL.Redacted(), first, last, err)
	}
	return b, nil
}

func (r *Remote) do(method, span string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.ctx, method, r.url, nil)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", r.url, err)
	}
	req.Header.Set("User-Agent", agent)
	if span != "" {
		req.Header.Set("Range", span)
	}
	r.requests.Add(1)
	res, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the image: %w", withoutURLError(method, req.URL, err))
	}
	return res, nil
}

// withoutURLError says what was asked without the credentials a URL may hold.
func withoutURLError(method string, u *url.URL, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s %s: %w", method, u.Redacted(), err)
}
