package channel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

var medium = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// serverKey is a server's key with a certificate of the given name and time, and its pin.
func serverKey(t *testing.T, name string, from, until time.Time) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := certificate(t, key, name, from, until)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.StdEncoding.EncodeToString(sum[:])
}

func certificate(t *testing.T, key *ecdsa.PrivateKey, name string, from, until time.Time) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: from, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// bench is a client whose words are kept.
type bench struct {
	*Client
	mu    sync.Mutex
	words []string
}

func newBench(t *testing.T, url string, pins []string, now func() time.Time, certificate ...byte) *bench {
	t.Helper()
	key, err := LoadKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	seq := uint64(0)
	b.Client, err = New(Config{
		Boot: api.BootConfig{Server: url, Pins: pins, Certificate: certificate, Node: "n", Generation: 1, Secret: "canary-secret", NotBefore: medium},
		Key:  key, Inventory: inventory.Inventory{}, BootID: "boot", Version: "test", Now: now, Log: slog.New(slog.DiscardHandler),
		Seq:     func() (uint64, error) { b.mu.Lock(); defer b.mu.Unlock(); seq++; return seq, nil },
		Trouble: func(w string) { b.mu.Lock(); defer b.mu.Unlock(); b.words = append(b.words, w) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// admit answers every lookup well and counts what comes.
type admit struct {
	mu   sync.Mutex
	seen []string
}

func (a *admit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r.URL.Path)
	a.mu.Unlock()
	json.NewEncoder(w).Encode(api.LookupAnswer{Protocol: 1, Node: "n", Generation: 1, Level: api.A1, Token: "t", Expires: medium, Time: medium})
}

func (a *admit) count() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.seen) }

// TestT05_ServerIdentity: nothing but the pinned key, by TLS 1.3, in its time, under its name, is spoken to, and the
// console says what was found. F29: the machine's own clock does not matter.
func TestT05_ServerIdentity(t *testing.T) {
	day := 24 * time.Hour
	good := func(t *testing.T) (tls.Certificate, string) {
		return serverKey(t, api.ServerName, medium.Add(-day), medium.Add(365*day))
	}
	for name, c := range map[string]struct {
		key    func(*testing.T) (tls.Certificate, string)
		serve  func(*tls.Config)
		pin    string // instead of the key's
		clock  time.Time
		brings func(*testing.T, tls.Certificate) []byte // the medium; nil: no certificate
		shown  int                                      // handshakes that the server begins until it is accepted
		words  string                                   // "": the server is accepted
	}{
		"the pinned server":                 {key: good, clock: medium, shown: 2},
		"the medium brings its certificate": {key: good, clock: medium, brings: func(_ *testing.T, c tls.Certificate) []byte { return c.Certificate[0] }, shown: 1},
		"the medium brings one of its key that is over": {key: good, clock: medium, brings: func(t *testing.T, c tls.Certificate) []byte {
			return certificate(t, c.PrivateKey.(*ecdsa.PrivateKey), api.ServerName, medium.Add(-9*day), medium.Add(-day))
		}, shown: 2},
		"the medium brings another server's": {key: good, clock: medium, brings: func(t *testing.T, _ tls.Certificate) []byte {
			other, _ := good(t)
			return other.Certificate[0]
		}, shown: 2},
		"the medium brings no certificate": {key: good, clock: medium, brings: func(*testing.T, tls.Certificate) []byte { return []byte("x") }, shown: 2},
		"another key, and the medium brings it": {key: good, clock: medium, pin: base64.StdEncoding.EncodeToString(make([]byte, 32)),
			brings: func(_ *testing.T, c tls.Certificate) []byte { return c.Certificate[0] }, words: "is not the server that made this boot medium"},
		"expired, and the medium brings it": {key: func(t *testing.T) (tls.Certificate, string) {
			return serverKey(t, api.ServerName, medium.Add(-9*day), medium.Add(-day))
		}, clock: medium, brings: func(_ *testing.T, c tls.Certificate) []byte { return c.Certificate[0] }, words: "is out of its time"},
		"F29 clock of 1970": {key: good, clock: time.Unix(0, 0), shown: 2},
		"F29 clock of 2099": {key: good, clock: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), shown: 2},
		"another key":       {key: good, clock: medium, pin: base64.StdEncoding.EncodeToString(make([]byte, 32)), words: "is not the server that made this boot medium"},
		"TLS 1.2 only":      {key: good, clock: medium, serve: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, words: "does not speak TLS 1.3"},
		"expired": {key: func(t *testing.T) (tls.Certificate, string) {
			return serverKey(t, api.ServerName, medium.Add(-9*day), medium.Add(-day))
		}, clock: time.Unix(0, 0), words: "is out of its time"},
		"not yet": {key: func(t *testing.T) (tls.Certificate, string) {
			return serverKey(t, api.ServerName, medium.Add(day), medium.Add(9*day))
		}, clock: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), words: "is out of its time"},
		"another name": {key: func(t *testing.T) (tls.Certificate, string) {
			return serverKey(t, "www.example.com", medium.Add(-day), medium.Add(day))
		}, clock: medium, words: "is not that of an agent listener"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, pin := c.key(t)
			if c.pin != "" {
				pin = c.pin
			}
			h := &admit{}
			srv := httptest.NewUnstartedServer(h)
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
			if c.serve != nil {
				c.serve(srv.TLS)
			}
			var shown atomic.Int32
			srv.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { shown.Add(1); return nil, nil }
			srv.StartTLS()
			defer srv.Close()
			var brought []byte
			if c.brings != nil {
				brought = c.brings(t, cert)
			}
			b := newBench(t, srv.URL, []string{"AAAA", pin}, func() time.Time { return c.clock }, brought...)
			_, err := b.lookup(t.Context())
			if c.words == "" {
				if err != nil || h.count() != 1 || len(b.words) != 0 || int(shown.Load()) != c.shown {
					t.Errorf("%v, %d requests, %q, %d handshakes", err, h.count(), b.words, shown.Load())
				}
				return
			}
			if err == nil || h.count() != 0 {
				t.Errorf("%v, %d requests", err, h.count())
			}
			if len(b.words) != 1 || !strings.Contains(b.words[0], c.words) {
				t.Errorf("the console says %q, expected %q", b.words, c.words)
			}
		})
	}
}

// TestT05_NoTLS: a plain server, a closed port, a name that does not exist: told apart, and no secret goes out.
func TestT05_NoTLS(t *testing.T) {
	var mu sync.Mutex
	var got strings.Builder
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			mu.Lock()
			got.Write(buf[:n])
			mu.Unlock()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
			c.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for url, words := range map[string]string{
		"https://" + ln.Addr().String():     "answers without TLS",
		"https://" + closed.Addr().String(): "refuses the connection",
	} {
		b := newBench(t, url, []string{"AAAA"}, time.Now)
		if _, err := b.lookup(t.Context()); err == nil || len(b.words) != 1 || !strings.Contains(b.words[0], words) {
			t.Errorf("%s: %v, the console says %q, expected %q", url, err, b.words, words)
		}
	}
	ln.Close()
	<-done
	if strings.Contains(got.String(), "canary-secret") {
		t.Error("the secret went out without TLS")
	}
}

// TestT05_WhatAnswersIsNoBessemer: right key, wrong answers (a proxy in between that has the key is out of scope).
func TestT05_WhatAnswersIsNoBessemer(t *testing.T) {
	cert, pin := serverKey(t, api.ServerName, medium.Add(-time.Hour), medium.Add(time.Hour))
	for name, h := range map[string]http.HandlerFunc{
		"HTML":        func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>Welcome</html>") },
		"bad gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		},
		"endless":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `"`+strings.Repeat("x", 2*maxAnswer)) },
		"no token": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"protocol":1}`) },
		"newer":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"protocol":9,"token":"t"}`) },
		"unknown":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"protocol":1,"token":"t","more":1}`) },
	} {
		srv := httptest.NewUnstartedServer(h)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		srv.StartTLS()
		b := newBench(t, srv.URL, []string{pin}, time.Now)
		if _, err := b.lookup(t.Context()); err == nil || len(b.words) != 1 || b.current() != "" {
			t.Errorf("%s: %v, the console says %q", name, err, b.words)
		}
		srv.Close()
	}
}

func TestI19_BootConfigMustNameTheServer(t *testing.T) {
	for name, c := range map[string]api.BootConfig{
		"plain HTTP": {Server: "http://10.0.0.1:6386", Pins: []string{"x"}}, "no pin": {Server: "https://10.0.0.1:6386"},
		"no host": {Server: "https://", Pins: []string{"x"}}, "empty": {}, "a path": {Server: "https://10.0.0.1/x", Pins: []string{"x"}},
	} {
		if _, err := New(Config{Boot: c, Now: time.Now}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestStartAnswerIsBoundToTheClaim: an answer that echoes another nonce is none (I8).
func TestI08_StartAnswerIsBoundToTheClaim(t *testing.T) {
	cert, pin := serverKey(t, api.ServerName, medium.Add(-time.Hour), medium.Add(time.Hour))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == api.PathLookup {
			(&admit{}).ServeHTTP(w, r)
			return
		}
		json.NewEncoder(w).Encode(api.StartAnswer{Nonce: "of another process"})
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	defer srv.Close()
	b := newBench(t, srv.URL, []string{pin}, time.Now)
	if err := b.Start(t.Context(), "one", "of this process"); err == nil {
		t.Error("taken for the answer")
	}
}

// TestRefusalsKeepTheirReason: the executor sees the server's fault, and 401 leads to a new lookup once.
func TestRefusalsKeepTheirReason(t *testing.T) {
	cert, pin := serverKey(t, api.ServerName, medium.Add(-time.Hour), medium.Add(time.Hour))
	for reason, calls := range map[fault.Reason]int{fault.StepNotOffered: 1, fault.ChannelToken: 2, fault.ChannelStale: 2, fault.StorageUnavailable: 1} {
		h, tries := &admit{}, 0
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == api.PathLookup {
				h.ServeHTTP(w, r)
				return
			}
			tries++
			f := fault.New(reason, "no")
			w.WriteHeader(f.Code.Status())
			json.NewEncoder(w).Encode(api.FaultOf(f))
		}))
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		srv.StartTLS()
		b := newBench(t, srv.URL, []string{pin}, time.Now)
		err := b.Result(t.Context(), run.Ended{ID: "one", Nonce: "0123456789abcdef", Outcome: api.Succeeded})
		if !fault.Has(err, reason) || tries != calls {
			t.Errorf("%s: %v after %d tries", reason, err, tries)
		}
		if want := 1; reason == fault.ChannelToken && h.count() != 2 || reason != fault.ChannelToken && h.count() != want {
			t.Errorf("%s: %d lookups", reason, h.count())
		}
		srv.Close()
	}
}

func TestKeyIsKeptForTheBoot(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKey(dir)
	if err != nil || string(again.Certificate[0]) != string(first.Certificate[0]) {
		t.Errorf("the next process has another key: %v", err)
	}
	path := filepath.Join(dir, keyFile)
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(dir); err == nil {
		t.Error("an unreadable key is replaced: that would contest the node")
	}
	other, err := LoadKey(t.TempDir())
	if err != nil || string(other.Certificate[0]) == string(first.Certificate[0]) {
		t.Errorf("two boots have one key: %v", err)
	}
}

// TestLookupWaitsForTheServer: with the server away the client tries on until ctx ends.
func TestLookupEndsWithItsContext(t *testing.T) {
	b := newBench(t, "https://127.0.0.1:1", []string{"x"}, time.Now)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Lookup(ctx); err == nil {
		t.Error("admitted by nobody")
	}
}
