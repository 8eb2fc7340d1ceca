// Package checksums reads the digest of an image from a file of checksums, as sha256sum and its like write them: what Ironic's
// clients give the URL of in the place of a digest. Start at Reader.Digest; Find reads the text.
package checksums

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	maxFile = 1 << 20          // bytes
	longest = 20 * time.Second // for all of it: somebody waits for the answer
)

// Reader fetches such files. It is safe for concurrent use.
type Reader struct {
	client    *http.Client
	transport *http.Transport
}

// New makes one that connects where the policy lets it (I23).
func New(p *origin.Policy) *Reader {
	t := p.Transport()
	return &Reader{transport: t, client: &http.Client{Transport: t, Timeout: longest, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= 5:
			return redirected("it was redirected five times")
		case via[0].URL.Scheme == "https" && to.URL.Scheme != "https":
			return redirected("it was redirected from https to another scheme")
		}
		return nil
	}}}
}

// redirected says why a redirect is not followed.
type redirected string

func (r redirected) Error() string { return string(r) }

// why tells whoever asked why nothing came, without a word of what was answered: the address may be that of anything which the
// server reaches and they don't (I23). The log has the error itself.
func why(err error) string {
	var (
		no   redirected
		dns  *net.DNSError
		call *net.OpError
		cert *tls.CertificateVerificationError
		slow net.Error
	)
	switch {
	case errors.As(err, &no):
		return no.Error()
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Sprintf("nothing came within %s", longest)
	case errors.As(err, &dns):
		return "its host has no address"
	case errors.As(err, &call) && call.Op == "dial":
		return "no connection: " + call.Err.Error()
	case errors.As(err, &cert):
		return "its certificate is not trusted"
	}
	return "what its server answers is no HTTP that can be read"
}

// Close gives idle connections back.
func (r *Reader) Close() { r.transport.CloseIdleConnections() }

// Digest fetches the file at list, an http or https URL, and finds the digest of the image at the URL image in it: "sha256" or
// "sha512", and hex digits in lower case. image.unreachable when it can't be fetched, origin.not_allowed when it may not
// be, request.invalid when the file names no such digest.
func (r *Reader) Digest(ctx context.Context, list, image string) (algorithm, digest string, err error) {
	u, err := url.Parse(list)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", "", fault.New(fault.RequestInvalid, "the URL of the file of checksums can't be parsed, or holds a user or password") // its text may hold a secret
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, list, nil)
	if err != nil {
		return "", "", fault.New(fault.RequestInvalid, "the URL of the file of checksums can't be parsed").Because(err)
	}
	unreachable := func(what string) *fault.Fault {
		return fault.New(fault.ImageUnreachable, "the file of checksums at %s can't be fetched: %s", u.Host, what).
			WithHint("check its URL from the server, or set image_os_hash_algo and image_os_hash_value to the digest itself")
	}
	answer, err := r.client.Do(req)
	if fault.Has(err, fault.OriginRefused) {
		return "", "", fault.From(err)
	}
	if err != nil {
		var cut *url.Error
		if errors.As(err, &cut) {
			err = cut.Err // without the URL, which may be signed
		}
		return "", "", unreachable(why(err)).Because(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", "", unreachable(fmt.Sprintf("its server answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)))
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxFile+1))
	switch {
	case err != nil:
		return "", "", unreachable(why(err)).Because(err)
	case len(text) > maxFile:
		return "", "", fault.New(fault.RequestInvalid, "the file of checksums at %s is larger than %d bytes", u.Host, maxFile)
	}
	at, err := url.Parse(image)
	if err != nil {
		return "", "", fault.New(fault.RequestInvalid, "image_source can't be parsed")
	}
	return Find(string(text), path.Base(at.Path))
}

// Find finds the digest of a file by its name. A text of one word is the digest itself. Otherwise it is at the beginning of
// the first line that goes on with the name, or at the end of one that holds it in parentheses; lines that begin with # are none.
func Find(text, name string) (algorithm, digest string, err error) {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 1 && !strings.ContainsAny(lines[0], " \t") {
		return judged(lines[0], name)
	}
	for _, line := range lines {
		if first := strings.IndexAny(line, " \t"); first > 0 && strings.TrimPrefix(strings.TrimLeft(line[first:], " \t"), "*") == name {
			return judged(line[:first], name)
		}
		if strings.Contains(line, "("+name+")") {
			return judged(line[strings.LastIndexAny(line, " \t")+1:], name)
		}
	}
	return "", "", fault.New(fault.RequestInvalid, "the file of checksums does not name %.200q", name).
		WithHint("it needs a line with the digest and the name of the image's file, or the digest alone")
}

// judged is the algorithm of a digest by its length. What is no digest is not shown: it may be a line of any file (I23).
func judged(word, name string) (algorithm, digest string, err error) {
	digest = strings.ToLower(word)
	algorithm = map[int]string{64: "sha256", 128: "sha512"}[len(digest)]
	if algorithm == "" || strings.Trim(digest, "0123456789abcdef") != "" {
		return "", "", fault.New(fault.RequestInvalid, "the file of checksums has %d characters for %.200q that are no SHA-256 or SHA-512 digest", len(word), name).
			WithHint("give the URL of a file made by sha256sum or sha512sum; MD5 is not taken")
	}
	return algorithm, digest, nil
}
