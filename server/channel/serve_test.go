package channel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/simnet"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	first, err := LoadIdentity(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(filepath.Join(dir, identityFile)); err != nil || i.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", i.Mode(), err)
	}
	again, err := LoadIdentity(dir, now)
	if err != nil || again.Pins()[0] != first.Pins()[0] || string(again.cert.Certificate[0]) != string(first.cert.Certificate[0]) {
		t.Fatalf("the second start has another identity: %v", err)
	}
	later, err := LoadIdentity(dir, now.Add(lifetime-30*24*time.Hour))
	if err != nil || later.Pins()[0] != first.Pins()[0] || !later.cert.Leaf.NotAfter.After(first.cert.Leaf.NotAfter) {
		t.Fatalf("the certificate is not renewed with its key: %v", err)
	}
	kept, err := LoadIdentity(dir, now.Add(lifetime-30*24*time.Hour))
	if err != nil || string(kept.cert.Certificate[0]) != string(later.cert.Certificate[0]) {
		t.Errorf("the renewed certificate is not kept: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

func TestIdentityThatCantBeReadIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityFile)
	if _, err := LoadIdentity(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "garbage": "garbage", "no key": string(good[strings.Index(string(good), "-----BEGIN CERT"):]),
		"broken key": strings.Replace(string(good), "MIG", "MIX", 1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir, time.Now()); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// serve runs a rig on a real listener.
func serve(t *testing.T, rig *rig) (addr string, id *Identity) {
	t.Helper()
	id, err := LoadIdentity(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rig.Serve(ctx, ln, id) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), id
}

// dial makes a TLS connection that trusts the identity.
func dial(addr string, id *Identity, change func(*tls.Config)) (*tls.Conn, error) {
	roots := x509.NewCertPool()
	roots.AddCert(id.cert.Leaf)
	cfg := &tls.Config{RootCAs: roots, ServerName: api.ServerName}
	change(cfg)
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	// In TLS 1.3 the server's word on the client certificate comes with the first read.
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", api.PathLog)
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && r.StatusCode != http.StatusUnauthorized {
		err = fmt.Errorf("status %d", r.StatusCode)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func selfSigned(t *testing.T, public, private any) tls.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// TestT05_ListenerTakesOnlyTLS13WithAClientKey looks at the real listener.
func TestT05_ListenerTakesOnlyTLS13WithAClientKey(t *testing.T) {
	rig := newRig(t, nil)
	addr, id := serve(t, rig)
	p256 := rig.client(addressOf(1)).key
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed, rsaCert := selfSigned(t, edPublic, edKey), selfSigned(t, rsaKey.Public(), rsaKey)
	chain := p256
	chain.Certificate = append(chain.Certificate, ed.Certificate...)
	for name, c := range map[string]struct {
		change func(*tls.Config)
		ok     bool
	}{
		"P-256":      {func(c *tls.Config) { c.Certificates = []tls.Certificate{p256} }, true},
		"Ed25519":    {func(c *tls.Config) { c.Certificates = []tls.Certificate{ed} }, true},
		"RSA":        {func(c *tls.Config) { c.Certificates = []tls.Certificate{rsaCert} }, false},
		"a chain":    {func(c *tls.Config) { c.Certificates = []tls.Certificate{chain} }, false},
		"no key":     {func(*tls.Config) {}, false},
		"TLS 1.2":    {func(c *tls.Config) { c.Certificates, c.MaxVersion = []tls.Certificate{p256}, tls.VersionTLS12 }, false},
		"HTTP/2":     {func(c *tls.Config) { c.Certificates, c.NextProtos = []tls.Certificate{p256}, []string{"h2"} }, false},
		"no one's":   {func(c *tls.Config) { c.Certificates, c.RootCAs = []tls.Certificate{p256}, x509.NewCertPool() }, false},
		"other name": {func(c *tls.Config) { c.Certificates, c.ServerName = []tls.Certificate{p256}, "other" }, false},
	} {
		conn, err := dial(addr, id, c.change)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if conn != nil {
			if v := conn.ConnectionState().Version; v != tls.VersionTLS13 {
				t.Errorf("%s: version %x", name, v)
			}
			conn.Close()
		}
	}
	plain, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(plain, "POST %s HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", api.PathLookup)
	if got, err := io.ReadAll(plain); err != nil || strings.Contains(string(got), "200") {
		t.Errorf("plain HTTP: %q, %v", got, err)
	}
	if rig.fake.count()+rig.fake.lookups != 0 {
		t.Error("something reached the conductor")
	}
}

func TestServeEndsHeldHeartbeats(t *testing.T) {
	rig := newRig(t, nil)
	c := rig.client(addressOf(1))
	id, err := LoadIdentity(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- rig.Serve(ctx, ln, id) }()
	c.lookup(nodeA)
	roots := x509.NewCertPool()
	roots.AddCert(id.cert.Leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: api.ServerName, Certificates: []tls.Certificate{c.key}}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+ln.Addr().String()+api.PathHeartbeat, strings.NewReader(`{"seq":2,"hold":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	answered := make(chan error, 1)
	go func() {
		r, err := transport.RoundTrip(req)
		if err == nil {
			if r.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", r.StatusCode)
			}
			r.Body.Close()
		}
		answered <- err
	}()
	for rig.fake.count() == 0 {
		select {
		case err := <-answered:
			t.Fatalf("not held: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-answered; err != nil {
		t.Errorf("the held heartbeat: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestT06_ConnectionsAreCapped: what one address holds beyond its share is closed, and its place comes back.
func TestT06_ConnectionsAreCapped(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := limited(inner, "agents'", Limits{AddressConns: 2, DialRate: 1e-9, DialBurst: 4}.withDefaults(), time.Now, slog.New(slog.DiscardHandler))
	accepted := make(chan net.Conn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	open := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	shut := func(c net.Conn) {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var to net.Error
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &to) && to.Timeout() {
			t.Errorf("a connection too many stays open: %v", err)
		}
	}
	open()
	first := <-accepted
	open()
	second := <-accepted
	shut(open()) // a third at once
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err == nil {
		t.Error("closing twice is silent")
	}
	open()
	third := <-accepted
	open()
	fourth := <-accepted
	if err := errors.Join(third.Close(), fourth.Close()); err != nil {
		t.Fatal(err)
	}
	shut(open()) // the fifth handshake of a burst of four
	for range 2 {
		if !ln.conns.Enter(netip.MustParseAddr("127.0.0.1")) {
			t.Error("a closed connection is still counted")
		}
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
}

// TestT06_SlowClients: who sends nothing, a byte at a time, or half a handshake, is cut off (slowloris, half-open).
func TestT06_SlowClients(t *testing.T) {
	id, err := LoadIdentity(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, speak := range map[string]func(net.Conn){
		"silent":         func(net.Conn) {},
		"half handshake": func(c net.Conn) { c.Write([]byte{22, 3, 1, 2, 0}) },
		"drip": func(c net.Conn) {
			for i := range 1000 {
				if _, err := c.Write([]byte{[]byte{22, 3, 1, 2, 0}[i%5]}); err != nil {
					return
				}
				<-time.After(5 * time.Second)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			rig := newRig(t, nil)
			network := simnet.New()
			ln := network.Listen()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- rig.Serve(ctx, ln, id) }()
			c, err := network.Dial(ctx, "192.0.2.1")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { speak(c) })
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Log(err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%s: cut off after %s", name, took)
			}
			c.Close()
			wg.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestT06_WantOfRoomIsTold: while there is no room for more connections the log says so, and what to do, once a minute.
func TestT06_WantOfRoomIsTold(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	var passed atomic.Int64
	began := time.Now()
	ln := limited(inner, "agents'", Limits{Conns: 1}.withDefaults(), func() time.Time { return began.Add(time.Duration(passed.Load())) }, slog.New(slog.NewTextHandler(&said, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	open := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	open()
	for _, after := range []time.Duration{0, time.Second, tellEvery, tellEvery + time.Second} {
		passed.Store(int64(after))
		if _, err := open().Read(make([]byte, 1)); err == nil {
			t.Error("a connection too many is spoken to")
		}
	}
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	if n := strings.Count(said.String(), "closed at once"); n != 2 || !strings.Contains(said.String(), "open=1") || !strings.Contains(said.String(), "LimitNOFILE") {
		t.Errorf("it is said %d times, expected 2:\n%s", n, said.String())
	}
}
