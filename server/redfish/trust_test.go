package redfish

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// certificate makes one as BMCs do: signed by itself.
func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "BMC"}, DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// tlsLab is a lab whose BMC speaks TLS with a certificate that can be changed.
func tlsLab(t *testing.T, first tls.Certificate) (l *lab, change func(tls.Certificate)) {
	l = &lab{standIn: newStandIn(), wire: newCables(), logged: &safeBuffer{}}
	current := first
	inner := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	l.wire.hosts["bmc.test:443"] = inner
	srv := &http.Server{Handler: l.standIn, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(tls.NewListener(inner, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return &current, nil
		}}))
	}()
	t.Cleanup(func() { _ = srv.Close(); <-served })
	l.restart(t, nil)
	return l, func(c tls.Certificate) { l.do(func() { current = c }) }
}

// restart makes the driver anew, as a restart of the server does.
func (l *lab) restart(t *testing.T, pins wire.Pins) {
	l.driver = New(Config{Dial: l.wire.dial, Pins: pins, Log: slog.New(slog.NewTextHandler(l.logged, nil))})
	d := l.driver
	t.Cleanup(func() { d.Close(t.Context()) })
}

func TestT08_CertificateIsChecked(t *testing.T) {
	cert := certificate(t, "bmc.test")
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("ab", 32)
	for _, c := range []struct {
		name   string
		verify any
		cert   tls.Certificate
		ok     bool
	}{
		{"system roots", true, cert, false},
		{"nothing given", nil, cert, false},
		{"CA file", file, cert, true},
		{"CA file, other name", file, certificate(t, "other.test"), false},
		{"pin", pinOf(cert.Leaf), cert, true},
		{"pin in capitals", strings.ToUpper(pinOf(cert.Leaf)), cert, true},
		{"other pin", pinPrefix + other, cert, false},
		{"first seen", false, certificate(t), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := tlsLab(t, c.cert)
			in := info(target.KeyAddress, "bmc.test")
			in[target.KeyVerify] = c.verify
			b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: in, Secrets: map[string]string{target.KeyPassword: password}})
			if err != nil {
				t.Fatal(err)
			}
			p, err := b.Power(t.Context())
			switch {
			case c.ok && (err != nil || p != conductor.PowerOff):
				t.Errorf("got %q, %v", p, err)
			case !c.ok && !fault.Has(err, fault.BMCCertificate):
				t.Errorf("got %v", err)
			case !c.ok && !strings.Contains(fault.From(err).Hint, pinOf(c.cert.Leaf)):
				t.Errorf("the hint does not name the pin to compare: %v", err)
			case !c.ok && len(l.log) != 0:
				t.Errorf("the untrusted BMC was sent %v", l.log)
			}
		})
	}
}

func TestT08_FirstSeenKeyIsKeptAndAnotherRefused(t *testing.T) {
	first, second := certificate(t), certificate(t)
	l, change := tlsLab(t, first)
	pins := &memoryPins{pins: map[string]string{}}
	l.restart(t, pins)
	open := func() conductor.BMC {
		return l.bmc(t, target.KeyAddress, "https://bmc.test", target.KeyVerify, "false")
	}
	if _, err := open().Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := pins.pins["https://bmc.test:443"]; got != pinOf(first.Leaf) {
		t.Errorf("pinned %q, expected %q", got, pinOf(first.Leaf))
	}
	change(second)
	l.restart(t, pins)
	before := len(l.log)
	_, err := open().Power(t.Context())
	if !fault.Has(err, fault.BMCCertificate) || len(l.log) != before {
		t.Errorf("another key gives %v, and the BMC was sent %v", err, l.log[before:])
	}
	// The operator confirms the new one.
	b := l.bmc(t, target.KeyAddress, "https://bmc.test", target.KeyVerify, pinOf(second.Leaf))
	if _, err := b.Power(t.Context()); err != nil {
		t.Errorf("the key confirmed: %v", err)
	}
}

func TestDialerFaultsComeThrough(t *testing.T) {
	refuse := fault.New(fault.OriginRefused, "no")
	d := New(Config{Log: slog.New(slog.DiscardHandler), Dial: func(_ context.Context, _, _ string) (net.Conn, error) { return nil, refuse }})
	b, err := d.Open(t.Context(), conductor.Access{Node: "n", Info: info(), Secrets: map[string]string{target.KeyPassword: password}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * breakAfter {
		if _, err := b.Power(t.Context()); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("got %v", err)
		}
	}
}
