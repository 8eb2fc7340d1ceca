package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/images"
	"github.com/bessemer-metal/bessemer/server/rest"
)

// caller connects from an address of this host; port is the listener's.
func caller(t *testing.T, host, port string) func() (net.Conn, error) {
	d := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	return func() (net.Conn, error) {
		c, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
}

// asks makes one request on a connection and gives the status line, "" when the server has closed it.
func asks(t *testing.T, c net.Conn, request string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		return ""
	}
	status, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return ""
	}
	return status
}

// TestT06_I25_ConnectionsToTheAPIAreBounded: whoever holds many connections to the API, or to where machines load what they
// boot, takes none of those of others. They are held as an operator would, by streams of events: silent ones end by themselves.
func TestT06_I25_ConnectionsToTheAPIAreBounded(t *testing.T) {
	cfg := settings(t)
	cfg.Listen, cfg.ForceNoAuth, cfg.BootListen = "0.0.0.0:0", true, "0.0.0.0:0"
	r := start(t, cfg)
	made, err := os.ReadFile(filepath.Join(cfg.DataDir, "api.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made)
	port := func(after string) string {
		_, rest, _ := strings.Cut(r.String(), after)
		rest, _, _ = strings.Cut(rest, " ")
		_, p, err := net.SplitHostPort(rest)
		if err != nil {
			t.Fatalf("no address after %q in %s", after, r)
		}
		return p
	}
	api := port("api=https://")
	operator := func(host string) string {
		c, err := caller(t, host, api)()
		if err != nil {
			t.Fatal(err)
		}
		secured := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13})
		return asks(t, secured, "GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	}
	for i := range cfg.AddressConns {
		if got := operator("127.0.0.9"); !strings.Contains(got, "200") {
			t.Fatalf("stream %d is answered %q", i, got)
		}
	}
	if got := operator("127.0.0.9"); got != "" {
		t.Errorf("an address holds any number of connections to the API: the next is answered %q", got)
	}
	if log := r.String(); !strings.Contains(log, "address=127.0.0.9") || !strings.Contains(log, "connections_per_address") {
		t.Errorf("the log does not say whose connections are closed and what to set: %s", log)
	}
	if got := operator("127.0.0.8"); !strings.Contains(got, "200") {
		t.Errorf("another address is answered %q", got)
	}

	media := port(" boot=http://")
	machine := func(host string) string {
		c, err := caller(t, host, media)()
		if err != nil {
			t.Fatal(err)
		}
		return asks(t, c, "GET /images/nosuch HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") // and stays for another
	}
	for i := range cfg.AddressConns {
		if got := machine("127.0.0.9"); !strings.Contains(got, "404") {
			t.Fatalf("request %d is answered %q", i, got)
		}
	}
	if got := machine("127.0.0.9"); got != "" {
		t.Errorf("an address holds any number of connections to the boot listener: the next is answered %q", got)
	}
	if got := machine("127.0.0.8"); !strings.Contains(got, "404") {
		t.Errorf("another address is answered %q", got)
	}
}

// TestT06_NewConnectionsOfOneAddressAreBounded: each may be a handshake. The clock stands still, so none comes back.
func TestT06_NewConnectionsOfOneAddressAreBounded(t *testing.T) {
	at := time.Now()
	s := &server{cfg: config.Server{AddressConns: 256}, now: func() time.Time { return at }, log: slog.New(slog.DiscardHandler)}
	const burst = 4 * 256
	for _, c := range []struct {
		listen string
		most   int // 0: more than a test asks for
	}{{"0.0.0.0:0", burst}, {"127.0.0.1:0", 0}} {
		inner, err := net.Listen("tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		ln := s.limited(inner, operators)
		srv := &http.Server{Handler: http.NotFoundHandler()}
		done := make(chan error)
		go func() { done <- srv.Serve(ln) }()
		_, port, err := net.SplitHostPort(inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		dial := caller(t, "127.0.0.9", port)
		answered := 0
		for range burst + 5 {
			conn, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			if asks(t, conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") != "" {
				answered++
			}
			conn.Close()
		}
		if want := c.most; want > 0 && answered != want || want == 0 && answered != burst+5 {
			t.Errorf("on %s %d connections of one address were answered, expected %d of %d", c.listen, answered, want, burst+5)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}

// TestT06_I25_NoAddressHasAllConnections: however few files the process may open, and whatever the setting says, one address leaves
// others some connections, and the log says what helps; on loopback, where a proxy has one address for all, it may have all.
func TestT06_I25_NoAddressHasAllConnections(t *testing.T) {
	for _, whose := range []string{operators, machines} {
		for _, all := range []int{3, 192, 768, 3072, 32768} {
			for _, each := range []int{1, 256, 1 << 20} {
				l := share(all, each, whose, false)
				if l.Conns < 2 || l.AddressConns < 1 || l.AddressConns > each || l.AddressConns >= l.Conns || l.AddressConns < each && l.AddressConns*2 < l.Conns {
					t.Errorf("of %d connections the %s are %d, and one address takes %d of them, set to %d", all, whose, l.Conns, l.AddressConns, each)
				}
				if set := strings.Contains(l.AddressHint, "connections_per_address"); set != (l.AddressConns == each) {
					t.Errorf("%d of the %s %d connections are one address's, set to %d, and the hint is to %s", l.AddressConns, whose, l.Conns, each, l.AddressHint)
				}
				if l := share(all, each, whose, true); l.AddressConns != l.Conns {
					t.Errorf("on loopback a proxy takes %d of %d connections of the %s", l.AddressConns, l.Conns, whose)
				}
			}
		}
	}
}

// TestI24_NoServerBeyondLoopbackWithoutCredentials: unless it is forced, and then with TLS. A start that is refused has served
// nothing.
func TestI24_NoServerBeyondLoopbackWithoutCredentials(t *testing.T) {
	cfg := settings(t)
	cfg.Listen = "0.0.0.0:0"
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), "without asking for credentials") {
		t.Errorf("the server starts beyond loopback without credentials: %v", err)
	}
	cfg = settings(t)
	cfg.Listen, cfg.ForceNoAuth = "0.0.0.0:0", true
	r := start(t, cfg)
	at, ok := strings.CutPrefix(r.url, "https://")
	if !ok {
		t.Fatalf("beyond loopback the API is at %s, expected TLS", r.url)
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := caller(t, "127.0.0.1", port)()
	if err != nil {
		t.Fatal(err)
	}
	if got := asks(t, plain, "GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); strings.Contains(got, " 200 ") {
		t.Errorf("beyond loopback plain HTTP is answered %q", got)
	}
}

// pipes is a listener of one connection that the test has made.
type pipes struct{ conns chan net.Conn }

func (l pipes) Accept() (net.Conn, error) {
	if c := <-l.conns; c != nil {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l pipes) Close() error   { close(l.conns); return nil }
func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestT06_I25_ADownloadThatStandsStillIsCutOff: who asks for an image and reads nothing holds neither connection nor file for
// ever; who reads, however slowly, has all of it.
func TestT06_I25_ADownloadThatStandsStillIsCutOff(t *testing.T) {
	store, err := images.Open(t.TempDir(), 1<<30, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	if _, err := store.Put(t.Context(), "disk.raw", bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	for name, reads := range map[string]bool{"nothing is read": false, "a piece every four minutes is": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan time.Duration, 1)
				srv := rest.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					began := time.Now()
					store.Handler().ServeHTTP(w, r)
					ended <- time.Since(began)
				}), slog.New(slog.DiscardHandler))
				client, conn := net.Pipe()
				ln := pipes{make(chan net.Conn, 1)}
				ln.conns <- conn
				done := make(chan error)
				go func() { done <- srv.Serve(moving{ln, time.Now}) }()
				if _, err := io.WriteString(client, "GET "+images.Prefix+"disk.raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if reads {
					answer, err := http.ReadResponse(bufio.NewReader(client), nil)
					if err != nil {
						t.Fatal(err)
					}
					var got []byte
					for part := make([]byte, 64<<10); err == nil; {
						<-time.After(4 * time.Minute)
						var n int
						n, err = io.ReadFull(answer.Body, part)
						got = append(got, part[:n]...)
					}
					if !bytes.Equal(got, content) {
						t.Errorf("%d of %d bytes came: %v", len(got), len(content), err)
					}
					answer.Body.Close()
				}
				select {
				case took := <-ended:
					if !reads && took > 2*standstill {
						t.Errorf("the download stood still for %s, expected %s", took, standstill)
					}
				case <-time.After(24 * time.Hour):
					t.Error("the download still waits for a client that reads nothing")
				}
				client.Close()
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
				<-done
			})
		})
	}
}

// What bounds the connections of the boot listener leaves them what sends a file by the kernel, and sends all of it.
func TestFilesAreSentByTheKernel(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	s := &server{now: time.Now, log: slog.New(slog.DiscardHandler)}
	ln := moving{s.limited(inner, machines), time.Now}
	name := filepath.Join(t.TempDir(), "image")
	content := bytes.Repeat([]byte("bessemer"), 100_001) // some pieces and a rest
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		sent <- func() error {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, ok := c.(*movingConn).Conn.(io.ReaderFrom); !ok {
				return errors.New("the connection reads each file itself")
			}
			for _, length := range []int64{int64(len(content)) + 5, int64(len(content)) - 1} { // a file that is shorter than announced, and a part of one
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					return err
				}
				n, err := c.(io.ReaderFrom).ReadFrom(io.LimitReader(f, length))
				if err != nil || n != min(length, int64(len(content))) {
					return fmt.Errorf("%d of %d bytes: %w", n, length, err)
				}
			}
			return nil
		}()
	}()
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append(bytes.Clone(content), content[:len(content)-1]...)) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestT06_I25_AFileThatNobodyReadsIsCutOff: the kernel sends it by itself, and would wait for the client without end. By the
// server's clock a standstill has almost passed when each piece begins.
func TestT06_I25_AFileThatNobodyReadsIsCutOff(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	ln := moving{inner, func() time.Time { return time.Now().Add(time.Second - standstill) }}
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 30 // more than any buffer between the two; a hole
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	late := time.AfterFunc(time.Minute, func() { client.Close() })
	defer late.Stop()
	if n, err := c.(io.ReaderFrom).ReadFrom(io.LimitReader(f, size)); !errors.Is(err, os.ErrDeadlineExceeded) || n >= size {
		t.Errorf("%d bytes went to a client that reads none, and then: %v", n, err)
	}
}
