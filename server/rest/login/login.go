// Package login says who a request is from, and with which grant: HTTP basic authentication against a file of users and a
// file of roles, or nobody asked at all (safety.md I24). What a grant allows is server/access's to say.
package login

import (
	"bytes"
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
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Authenticator says who a request is from, and what that user was granted: the zero Grant for one who has no role.
// Realm is "" when it asks for no credentials. Errors are request.unauthenticated (401), request.invalid (400) and
// request.rate_limited (503).
type Authenticator interface {
	Authenticate(r *http.Request) (user string, grant access.Grant, err error)
	Realm() string
}

// None lets everyone in as administrator. CheckListen keeps it on loopback.
type None struct{}

// Authenticate gives the name "noauth".
func (None) Authenticate(*http.Request) (string, access.Grant, error) {
	return "noauth", access.Grant{Role: access.Admin}, nil
}

// Realm is empty: no credentials.
func (None) Realm() string { return "" }

// CheckListen refuses to serve an API without credentials on an address that others reach, unless forced.
func CheckListen(a Authenticator, addr net.Addr, force bool) error {
	if a.Realm() != "" || force {
		return nil
	}
	if ap, err := netip.ParseAddrPort(addr.String()); err == nil && ap.Addr().Unmap().IsLoopback() {
		return nil
	}
	return fault.New(fault.RequestForbidden, "the API would listen on %s without asking for credentials", addr).
		WithHint("listen on a loopback address, or start the server with --auth basic --users FILE --roles FILE")
}

// Basic is HTTP basic authentication against a list of users, as upstream's user file has it, and a list of their roles.
type Basic struct {
	slots chan struct{} // bounds how many hashes are computed at once
	wrong *limit.Buckets[netip.Addr]

	mu    sync.Mutex
	users map[string][]byte // name to bcrypt hash
	roles map[string]access.Grant
	dummy []byte              // checked for unknown names, so that they take as long
	key   [32]byte            // of seen
	seen  map[[32]byte]string // MAC of credentials that were right
	limit int
}

// Bounds (I25). Each try costs a tenth of a second of a processor by design, and those that fail are the sender's to pay.
const (
	maxUsers   = 1 << 20 // bytes of the user file
	maxCost    = 16      // of its hashes: some seconds of a processor
	wrongRate  = 1       // wrong credentials a second from one network
	wrongBurst = 30
)

// NewBasic reads a user file: lines of name:hash with a bcrypt hash ($2a, $2b or $2y), # comments, empty lines; and a
// roles file (access.ParseRoles). now is the wall time.
func NewBasic(users, roles io.Reader, now func() time.Time) (*Basic, error) {
	b := &Basic{slots: make(chan struct{}, 2), limit: 1024, wrong: limit.NewBuckets[netip.Addr](wrongRate, wrongBurst, now)}
	return b, b.Replace(users, roles)
}

// Replace takes the users and roles of newer files from now on; when one of them is wrong, all stays as it was.
func (b *Basic) Replace(users, roles io.Reader) error {
	known, cost, err := readUsers(users)
	if err != nil {
		return err
	}
	grants, err := access.ParseRoles(roles)
	if err != nil {
		return err
	}
	dummy, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return fmt.Errorf("prepare authentication: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users, b.roles, b.dummy, b.seen = known, grants, dummy, map[[32]byte]string{}
	rand.Read(b.key[:])
	return nil
}

func readUsers(r io.Reader) (users map[string][]byte, cost int, err error) {
	users, cost = map[string][]byte{}, bcrypt.MinCost
	text, err := io.ReadAll(io.LimitReader(r, maxUsers+1))
	if err != nil {
		return nil, 0, fmt.Errorf("read user file: %w", err)
	}
	if len(text) > maxUsers {
		return nil, 0, fmt.Errorf("the user file is larger than %d bytes", maxUsers)
	}
	n := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		c, err := bcrypt.Cost([]byte(hash))
		if !ok || name == "" || err != nil {
			return nil, 0, fmt.Errorf("user file, line %d: expected name:bcrypt-hash (bessemer user set makes one)", n)
		}
		if c > maxCost {
			return nil, 0, fmt.Errorf("user file, line %d: the hash of user %q has the cost %d, %d is the highest, since each look at a password would hold up all others: bessemer user set makes one that is taken", n, name, c, maxCost)
		}
		if strings.TrimSpace(name) != name { // it would be nobody's: a name with a blank is another
			return nil, 0, fmt.Errorf("user file, line %d: there is a blank between the user %q and the colon", n, strings.TrimSpace(name))
		}
		if _, twice := users[name]; twice {
			return nil, 0, fmt.Errorf("user file, line %d: user %q is there twice", n, name)
		}
		users[name], cost = []byte(hash), max(cost, c)
	}
	if len(users) == 0 {
		return nil, 0, fmt.Errorf("the user file names no user: bessemer user set NAME adds one")
	}
	return users, cost, nil
}

// UserLine is a line of the user file.
func UserLine(name, password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return name + ":" + string(hash), err
}

// Realm names the server to browsers.
func (b *Basic) Realm() string { return "Baremetal API" }

// Authenticate checks the Authorization header. A right pair is remembered (as a keyed hash), since bcrypt costs a
// tenth of a second by design and clients send the pair with each request.
func (b *Basic) Authenticate(r *http.Request) (string, access.Grant, error) {
	name, password, err := credentials(r.Header.Get("Authorization"))
	if err != nil {
		return "", access.Grant{}, err
	}
	if who, grant, known := b.known(name, password); known {
		return who, grant, nil
	}
	from, bounded := source(r)
	if bounded && b.wrong.Spent(from) {
		return "", access.Grant{}, tooMany()
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-r.Context().Done():
		return "", access.Grant{}, fault.New(fault.RequestRate, "too many log-ins at once").Because(r.Context().Err())
	}
	// What others have found while this one waited.
	if who, grant, known := b.known(name, password); known {
		return who, grant, nil
	}
	if bounded && b.wrong.Spent(from) {
		return "", access.Grant{}, tooMany()
	}
	b.mu.Lock()
	hash, exists := b.users[name]
	if !exists {
		hash = b.dummy
	}
	b.mu.Unlock()
	if err := bcrypt.CompareHashAndPassword(hash, []byte(password)); err != nil || !exists {
		if bounded {
			b.wrong.Take(from)
		}
		return "", access.Grant{}, fault.New(fault.RequestAuth, "Incorrect username or password")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !bytes.Equal(b.users[name], hash) {
		return "", access.Grant{}, fault.New(fault.RequestAuth, "Incorrect username or password") // replaced meanwhile
	}
	if len(b.seen) >= b.limit {
		clear(b.seen)
	}
	b.seen[b.mac(name, password)] = name
	return name, b.roles[name], nil
}

// source is the network that a request comes from. A caller on this host has no budget: it may be a proxy, which has one address for
// all who come through it, and what all together may cost is bounded by the slots.
func source(r *http.Request) (network netip.Addr, bounded bool) {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, true // all such share one budget
	}
	addr := p.Addr().Unmap().WithZone("")
	return limit.Network(addr), !addr.IsLoopback()
}

func tooMany() error {
	return fault.New(fault.RequestRate, "too many log-ins with wrong credentials came from this address").
		WithHint("correct the user name and password that a program there uses, and wait a minute")
}

// known finds a pair that was right before.
func (b *Basic) known(name, password string) (string, access.Grant, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	who, ok := b.seen[b.mac(name, password)]
	return who, b.roles[who], ok
}

func (b *Basic) mac(name, password string) [32]byte {
	mac := hmac.New(sha256.New, b.key[:])
	fmt.Fprintf(mac, "%d:%s:%s", len(name), name, password)
	return [32]byte(mac.Sum(nil))
}

// credentials reads an Authorization header.
func credentials(header string) (name, password string, err error) {
	if header == "" {
		return "", "", fault.New(fault.RequestAuth, "Authorization required")
	}
	scheme, text, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", fault.New(fault.RequestInvalid, "Unsupported authorization type %.40q, expected Basic", scheme)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	name, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return "", "", fault.New(fault.RequestInvalid, "Could not decode the authorization header")
	}
	return name, password, nil
}
