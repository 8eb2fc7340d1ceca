// Package login keeps the sessions of emulated BMCs, and makes the certificate they show. Whose password opens what is not
// decided here. Start reading at Sessions.
package login

import (
	"cmp"
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
	"slices"
	"strings"
	"sync"
	"time"
)

// Session is a login. It is known to its client by a token, of which only the digest is kept.
type Session struct {
	ID, User, Password string
	at                 string // the address it was made at: it is good there only
	used               time.Time
}

// Sessions are those of several addresses, each named by its caller. Methods may be called from anywhere.
type Sessions struct {
	now     func() time.Time
	timeout time.Duration

	mu      sync.Mutex
	byToken map[[32]byte]*Session
	made    int
}

// NewSessions end when they were not used for the time given.
func NewSessions(now func() time.Time, timeout time.Duration) *Sessions {
	return &Sessions{now: now, timeout: timeout, byToken: map[[32]byte]*Session{}}
}

// Timeout of an unused session.
func (s *Sessions) Timeout() time.Duration { return s.timeout }

// Create makes a session and the token that its client shows.
func (s *Sessions) Create(user, password, at string) (token string, made *Session) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = hex.EncodeToString(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	made = &Session{ID: fmt.Sprint(s.made), User: user, Password: password, at: at, used: s.now()}
	s.byToken[sha256.Sum256([]byte(token))] = made
	return token, made
}

// Find returns the living session of a token, or nil, and keeps it alive.
func (s *Sessions) Find(token, at string) *Session {
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

// List returns the living sessions of one address, oldest first.
func (s *Sessions) List(at string) []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Session
	for _, x := range s.byToken {
		if x.at == at && s.now().Sub(x.used) <= s.timeout {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b *Session) int { return cmp.Or(len(a.ID)-len(b.ID), strings.Compare(a.ID, b.ID)) })
	return all
}

// Forget ends the sessions of one address; with id only that one. It tells whether there was any.
func (s *Sessions) Forget(at, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for k, x := range s.byToken {
		if x.at == at && (id == "" || x.ID == id) {
			delete(s.byToken, k)
			found = true
		}
	}
	return found
}

// Equal compares secrets in a time that does not depend on them.
func Equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// SelfSigned makes a certificate for loopback, good for a year.
func SelfSigned(now time.Time) (*tls.Config, error) {
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
