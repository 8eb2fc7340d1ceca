package channel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// handshaking is a server's side of handshakes with one place, and what its clients dial with.
type handshaking struct {
	*handshakes
	server, client *tls.Config
}

func newHandshaking(t *testing.T) *handshaking {
	id, err := LoadIdentity(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := &handshaking{handshakes: &handshakes{make(chan struct{}, 1)}, server: id.TLS()}
	h.server.GetConfigForClient = h.begin
	roots := x509.NewCertPool()
	roots.AddCert(id.cert.Leaf)
	h.client = &tls.Config{
		RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: api.ServerName,
		NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{newRig(t, nil).client(addressOf(1)).key},
	}
	return h
}

// connect gives the client's end of a connection whose server's end is in its handshake.
func (h *handshaking) connect(t *testing.T, wg *sync.WaitGroup) (net.Conn, *counted) {
	near, far := net.Pipe()
	conn := &counted{Conn: far, release: func() {}}
	wg.Go(func() {
		if err := tls.Server(conn, h.server).HandshakeContext(context.Background()); err != nil {
			conn.Close()
		}
	})
	return near, conn
}

// TestT06_StalledHandshakesHoldNoPlace: peers that begin a handshake and then read nothing are not what others wait for.
func TestT06_StalledHandshakesHoldNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshaking(t)
		var wg sync.WaitGroup
		var stalled []net.Conn
		for range 5 {
			c, _ := h.connect(t, &wg)
			stalled = append(stalled, c)
			// The first message goes out, and the answer is never read.
			wg.Go(func() {
				if err := tls.Client(writeOnly{c}, h.client).HandshakeContext(context.Background()); err == nil {
					t.Error("a handshake without reading")
				}
			})
		}
		synctest.Wait()
		c, _ := h.connect(t, &wg)
		began := time.Now()
		if err := tls.Client(c, h.client).HandshakeContext(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the handshake waited %s for stalled ones", took)
		}
		for _, c := range append(stalled, c) {
			c.Close()
		}
		wg.Wait()
		if n := len(h.room); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}

// writeOnly is a peer that never reads; its Read ends with the connection.
type writeOnly struct{ net.Conn }

func (w writeOnly) Read([]byte) (int, error) {
	for {
		if err := w.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			return 0, err // closed
		}
		<-time.After(time.Minute)
	}
}

// TestT06_HandshakesAreBounded: while the places are taken a handshake waits, and not for ever; a connection that was
// closed meanwhile gives the place back.
func TestT06_HandshakesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshaking(t)
		h.room <- struct{}{} // somebody computes
		var wg sync.WaitGroup
		c, _ := h.connect(t, &wg)
		began := time.Now()
		if err := tls.Client(c, h.client).HandshakeContext(t.Context()); err == nil {
			t.Error("a handshake without a place")
		}
		if took := time.Since(began); took != handshakeWait {
			t.Errorf("refused after %s, expected %s", took, handshakeWait)
		}
		c.Close()
		c, mine := h.connect(t, &wg)
		wg.Go(func() { tls.Client(c, h.client).HandshakeContext(t.Context()) }) //nolint:errcheck // it is cut
		synctest.Wait()
		if err := mine.Close(); err != nil {
			t.Error(err)
		}
		<-h.room // the first is done; the place goes to a connection that is closed
		wg.Wait()
		if n := len(h.room); n != 0 {
			t.Errorf("%d places are taken by closed connections", n)
		}
		c.Close()
	})
}
