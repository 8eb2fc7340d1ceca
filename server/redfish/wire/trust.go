package wire

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const handshakeTimeout = 15 * time.Second

// verifier makes TLS connections to one BMC and decides which certificate is its own.
type verifier struct {
	origin string
	trust  target.Trust
	base   *tls.Config
	dial   Dialer
	pins   Pins
	log    *slog.Logger
	mu     sync.Mutex // held while a first pin is kept
}

func newVerifier(t target.Target, cfg Config) (*verifier, error) {
	host, _, err := net.SplitHostPort(t.Host)
	if err != nil {
		return nil, fmt.Errorf("split address %s: %w", t.Host, err)
	}
	v := &verifier{origin: t.Origin, trust: t.Trust, dial: cfg.Dial, pins: cfg.Pins, log: cfg.Log}
	v.base = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, Time: cfg.Now}
	if t.Trust.File != "" {
		pem, err := os.ReadFile(t.Trust.File)
		if err != nil {
			return nil, fault.New(fault.BMCCertificate, "the CA file %s can't be read", t.Trust.File).Because(err)
		}
		v.base.RootCAs = x509.NewCertPool()
		if !v.base.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.BMCCertificate, "the CA file %s holds no certificate", t.Trust.File)
		}
	}
	return v, nil
}

// connect dials and shakes hands. Nothing is sent over a connection whose certificate is not the BMC's.
func (v *verifier) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	want, first := v.trust.Pin, false
	if v.trust.First {
		var err error
		if want, err = v.pins.Pin(ctx, v.origin); err != nil {
			return nil, fmt.Errorf("read the pin of %s: %w", v.origin, err)
		}
		first = want == ""
	}
	raw, err := v.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, v.config(want, first))
	err = conn.HandshakeContext(ctx)
	if err == nil && first {
		err = v.keep(ctx, conn.ConnectionState())
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// config is the base for CAs. With a pin, one check replaces the usual ones: the public key must be the pinned one.
// BMCs show certificates of their own making, without a name or a date that means anything, so the key is all there
// is to hold on to.
func (v *verifier) config(want string, first bool) *tls.Config {
	if want == "" && !first {
		return v.base
	}
	c := v.base.Clone()
	// The flag only stops the search for a CA; VerifyConnection refuses every key but the pinned one.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if first {
			return nil // kept once the handshake proved that the BMC holds the key
		}
		return v.compare(s, want)
	}
	return c
}

func (v *verifier) compare(s tls.ConnectionState, want string) error {
	seen := pinOf(s.PeerCertificates[0])
	if seen == want {
		return nil
	}
	return fault.New(fault.BMCCertificate, "the BMC at %s shows key %s, expected %s", v.origin, seen, want).
		WithHint("if the BMC's certificate was renewed on purpose, set %s=%s; else somebody stands between server and BMC", target.KeyVerify, seen)
}

// keep pins the key of a first connection. Of two first connections at once, the later must agree.
func (v *verifier) keep(ctx context.Context, s tls.ConnectionState) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	want, err := v.pins.Pin(ctx, v.origin)
	if err != nil {
		return fmt.Errorf("read the pin of %s: %w", v.origin, err)
	}
	if want != "" {
		return v.compare(s, want)
	}
	seen := pinOf(s.PeerCertificates[0])
	if err := v.pins.PutPin(ctx, v.origin, seen); err != nil {
		return fmt.Errorf("keep the pin of %s: %w", v.origin, err)
	}
	v.log.Info("pinned the key that the BMC showed first", "bmc", v.origin, "pin", seen)
	return nil
}

func pinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return target.PinPrefix + hex.EncodeToString(sum[:])
}

// certificateFault tells a refused certificate from other trouble; nil when err is something else.
func certificateFault(err error, origin string) *fault.Fault {
	bad, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok {
		return nil
	}
	f := fault.New(fault.BMCCertificate, "the certificate of the BMC at %s is not trusted: %v", origin, bad.Err).Because(err)
	if len(bad.UnverifiedCertificates) > 0 {
		f = f.WithHint("set %s to the file of its CA, or, after comparing it with what the BMC itself shows, to %s",
			target.KeyVerify, pinOf(bad.UnverifiedCertificates[0]))
	}
	return f
}
