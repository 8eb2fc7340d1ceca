package channel

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// dialer makes connections to the one server whose key is pinned (safety.md T5). There is no CA: a certificate with a
// pinned key is the only root, and the standard verification is done in full. The boot medium brings one; if the server
// shows another, or the medium brought none, a handshake that trusts nobody has shown the server's, and when its key is
// a pinned one, the handshake is done again with that as the root.
type dialer struct {
	pins []string
	key  tls.Certificate
	time func() time.Time
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	roots *x509.CertPool
}

// believe makes a certificate of the boot medium the root, if its key is pinned.
func (d *dialer) believe(der []byte) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil || !d.pinned(leaf) {
		return // the server shows its own
	}
	d.roots = x509.NewCertPool()
	d.roots.AddCert(leaf)
}

// pinError says that the server's key is none of the pinned.
type pinError struct{ found string }

func (e *pinError) Error() string { return "the server's key " + e.found + " is not pinned" }

func (d *dialer) DialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	roots := d.roots
	d.mu.Unlock()
	if roots == nil {
		roots = x509.NewCertPool()
	}
	conn, err := d.handshake(ctx, network, address, roots)
	unknown, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(unknown.UnverifiedCertificates) == 0 {
		return conn, err
	}
	leaf := unknown.UnverifiedCertificates[0]
	if !d.pinned(leaf) {
		return nil, &pinError{pin(leaf)}
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	if conn, err = d.handshake(ctx, network, address, roots); err == nil {
		d.mu.Lock()
		d.roots = roots
		d.mu.Unlock()
	}
	return conn, err
}

func (d *dialer) handshake(ctx context.Context, network, address string, roots *x509.CertPool) (net.Conn, error) {
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{
		RootCAs:      roots,
		ServerName:   api.ServerName,
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{d.key},
		NextProtos:   []string{"http/1.1"},
		Time:         d.time,
		// Once more, whatever led to the roots: only a pinned key is spoken to.
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !d.pinned(s.PeerCertificates[0]) {
				return errors.New("the server's key is not pinned")
			}
			return nil
		},
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		// The handshake's error says what is wrong.
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

func (d *dialer) pinned(leaf *x509.Certificate) bool {
	found := pin(leaf)
	return slices.ContainsFunc(d.pins, func(p string) bool { return subtle.ConstantTimeCompare([]byte(p), []byte(found)) == 1 })
}

func pin(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// explain puts a failed connection in words for the person in front of the machine.
func explain(server string, err error) string {
	var foreign *pinError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.As(err, &foreign):
		return fmt.Sprintf("%s is not the server that made this boot medium: its key is %s. Another machine answers at this address, or the server's key was replaced; boot the machine anew through the server", server, foreign.found)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s is out of its time (it holds from %s to %s); restart the server, which renews it", server,
			invalid.Cert.NotBefore.Format(time.DateOnly), invalid.Cert.NotAfter.Format(time.DateOnly))
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate of %s is not that of an agent listener; check the port", server)
	case errors.As(err, &plain), strings.Contains(text, "server gave HTTP response"):
		return fmt.Sprintf("%s answers without TLS; check that nothing stands in between and that the port is the agent listener's", server)
	case strings.Contains(text, "protocol version"): // of alerts and of our own refusal: the package has no type for them
		return fmt.Sprintf("%s does not speak TLS 1.3; something older stands in between, or the port is not the agent listener's", server)
	case errors.As(err, &dns):
		return fmt.Sprintf("the name of %s can't be resolved: %s", server, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s refuses the connection: is the server running, and its agent listener at this port?", server)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no route to %s; check the network's addresses and gateway", server)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer; check the network, and firewalls in between", server)
	}
	return fmt.Sprintf("%s can't be reached: %v", server, err)
}
