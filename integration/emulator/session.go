package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// session is a login. It is known to its client by a token, of which only the digest is kept.
type session struct {
	id, user, password string
	at                 *Machine // whose own address it was made at; nil for the shared one
	used               time.Time
}

type sessions struct {
	now     func() time.Time
	timeout time.Duration

	mu      sync.Mutex
	byToken map[[32]byte]*session
	made    int
}

func (s *sessions) create(user, password string, at *Machine) (token string, made *session) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = hex.EncodeToString(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	made = &session{id: fmt.Sprint(s.made), user: user, password: password, at: at, used: s.now()}
	s.byToken[sha256.Sum256([]byte(token))] = made
	return token, made
}

// find returns the living session of a token, and keeps it alive.
func (s *sessions) find(token string, at *Machine) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sha256.Sum256([]byte(token))
	found := s.byToken[key]
	if found == nil || found.at != at {
		return nil
	}
	if s.now().Sub(found.used) > s.timeout {
		delete(s.byToken, key)
		return nil
	}
	found.used = s.now()
	return found
}

// list returns the living sessions of one address, oldest first.
func (s *sessions) list(at *Machine) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*session
	for _, x := range s.byToken {
		if x.at == at && s.now().Sub(x.used) <= s.timeout {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *session) int { return len(a.id)*1e6 - len(b.id)*1e6 + strings.Compare(a.id, b.id) })
	return all
}

// forget ends the sessions of one address; with id only that one. It tells whether there was any.
func (s *sessions) forget(at *Machine, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for k, x := range s.byToken {
		if x.at == at && (id == "" || x.id == id) {
			delete(s.byToken, k)
			found = true
		}
	}
	return found
}

// equal compares secrets in a time that does not depend on them.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// account is who asks: it sees the machines that its name and password open.
type account struct{ user, password string }

func (a account) sees(m *Machine) bool {
	user, password := equal(a.user, m.cfg.Username), equal(a.password, m.cfg.Password)
	return user && password
}

// administers reports whether the account is the emulator's own, which opens what belongs to no machine.
func (a account) administers(e *Emulator) bool {
	user, password := equal(a.user, e.cfg.Username), equal(a.password, e.cfg.Password)
	return user && password
}

// known reports whether the account opens anything at the service's address.
func (s *service) known(a account) bool {
	if s.only != nil {
		return a.sees(s.only)
	}
	return a.administers(s.e) || slices.ContainsFunc(s.e.Machines(), a.sees)
}

// authenticate finds out who asks, by session or by basic authentication.
func (s *service) authenticate(r *http.Request) (account, bool) {
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		x := s.e.sessions.find(token, s.only)
		if x == nil {
			return account{}, false
		}
		return account{x.user, x.password}, true
	}
	user, password, ok := r.BasicAuth()
	a := account{user, password}
	return a, ok && s.known(a)
}

// selfSigned makes the certificate of this run, for loopback.
func selfSigned(now time.Time) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "bessemer-redfish-emulator"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
