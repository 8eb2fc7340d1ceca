package rest

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Authenticator says who a request is from. Realm is "" when it asks for no credentials. Errors are
// request.unauthenticated (401), request.invalid (400) and request.rate_limited (503).
type Authenticator interface {
	Authenticate(r *http.Request) (user string, err error)
	Realm() string
}

// NoAuth lets everyone in. CheckListen keeps it on loopback.
type NoAuth struct{}

// Authenticate gives the name "noauth".
func (NoAuth) Authenticate(*http.Request) (string, error) { return "noauth", nil }

// Realm is empty: no credentials.
func (NoAuth) Realm() string { return "" }

// CheckListen refuses to serve an API without credentials on an address that others reach, unless forced.
func CheckListen(a Authenticator, addr net.Addr, force bool) error {
	if a.Realm() != "" || force {
		return nil
	}
	if ap, err := netip.ParseAddrPort(addr.String()); err == nil && ap.Addr().Unmap().IsLoopback() {
		return nil
	}
	return fault.New(fault.RequestForbidden, "the API would listen on %s without asking for credentials", addr).
		WithHint("listen on a loopback address, or start the server with --auth basic --users FILE")
}

// Basic is HTTP basic authentication against a list of users, as upstream's user file has it.
type Basic struct {
	users map[string][]byte // name to bcrypt hash
	dummy []byte            // checked for unknown names, so that they take as long
	slots chan struct{}     // bounds how many hashes are computed at once

	mu    sync.Mutex
	key   [32]byte            // of seen
	seen  map[[32]byte]string // MAC of credentials that were right
	limit int
}

// NewBasic reads a user file: lines of name:hash with a bcrypt hash ($2a, $2b or $2y), # comments, empty lines.
func NewBasic(users io.Reader) (*Basic, error) {
	b := &Basic{users: map[string][]byte{}, slots: make(chan struct{}, 2), seen: map[[32]byte]string{}, limit: 1024}
	rand.Read(b.key[:])
	lines := bufio.NewScanner(users)
	cost := bcrypt.MinCost
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		c, err := bcrypt.Cost([]byte(hash))
		if !ok || name == "" || err != nil {
			return nil, fmt.Errorf("user file, line %d: expected name:bcrypt-hash (htpasswd -nB NAME makes one)", n)
		}
		if _, twice := b.users[name]; twice {
			return nil, fmt.Errorf("user file, line %d: user %q is there twice", n, name)
		}
		b.users[name], cost = []byte(hash), max(cost, c)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read user file: %w", err)
	}
	if len(b.users) == 0 {
		return nil, fmt.Errorf("the user file names no user: add a line made by htpasswd -nB NAME")
	}
	dummy, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, fmt.Errorf("prepare authentication: %w", err)
	}
	b.dummy = dummy
	return b, nil
}

// Realm names the server to browsers.
func (b *Basic) Realm() string { return "Baremetal API" }

// Authenticate checks the Authorization header. A right pair is remembered (as a keyed hash), since bcrypt costs a
// tenth of a second by design and clients send the pair with each request.
func (b *Basic) Authenticate(r *http.Request) (string, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", fault.New(fault.RequestAuth, "Authorization required")
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", fault.New(fault.RequestInvalid, "Unsupported authorization type %q, expected Basic", scheme)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	name, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return "", fault.New(fault.RequestInvalid, "Could not decode the authorization header")
	}
	mac := hmac.New(sha256.New, b.key[:])
	fmt.Fprintf(mac, "%d:%s:%s", len(name), name, password)
	id := [32]byte(mac.Sum(nil))
	b.mu.Lock()
	who, known := b.seen[id]
	b.mu.Unlock()
	if known {
		return who, nil
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-r.Context().Done():
		return "", fault.New(fault.RequestRate, "too many log-ins at once").Because(r.Context().Err())
	}
	hash, exists := b.users[name]
	if !exists {
		hash = b.dummy
	}
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil || !exists {
		return "", fault.New(fault.RequestAuth, "Incorrect username or password")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) >= b.limit {
		clear(b.seen)
	}
	b.seen[id] = name
	return name, nil
}
