package main

import (
	"io"
	"net"
	"time"

	"github.com/bessemer-metal/bessemer/server/channel"
)

// limited bounds the connections of the API and of the boot listener (safety.md T6, I25).
func (s *server) limited(ln net.Listener, whose string) net.Listener {
	return channel.Limited(ln, whose, share(channel.DefaultLimits().Conns, s.cfg.AddressConns, whose, loopback(ln.Addr())), s.now, s.log)
}

// share is what such a listener takes: of one address each, which the setting says, and all together a share of all, which comes of the
// files that this process may open. A connection is a file and, before anybody has proven anything, some memory; with TLS it
// begins with a handshake. New ones are bounded by the second too, loosely: a proxy may dial for each request. Where few files may be
// opened, one address leaves others a quarter. A listener on loopback is bounded all together only: its callers could stop the server as
// well, and a proxy before it has one address for all.
func share(all, each int, whose string, local bool) channel.Limits {
	l := channel.Limits{
		Conns: max(2, all/8), AddressConns: each, DialRate: float64(each), DialBurst: 4 * float64(each),
		AddressHint: "if it is a proxy or a router of yours, raise connections_per_address; else see with ss -tn what it does",
	}
	if whose == machines {
		l.Conns = max(2, all/4)
	}
	if most := l.Conns - max(1, l.Conns/4); each > most {
		l.AddressConns = most
		l.AddressHint = "if it is a proxy or a router of yours, raise the server's limit of open files (LimitNOFILE of its unit); else see with ss -tn what it does"
	}
	if local {
		l.AddressConns, l.DialRate, l.DialBurst = l.Conns, 1e6, 1e6
	}
	return l
}

// standstill is how long a machine may take nothing of what it loads. Some read a medium only as they boot, with pauses.
const standstill = 5 * time.Minute

// moving gives each piece that is sent its time, so that a download may take long but not stand still: without it a client that
// reads nothing would hold its connection, and the file it asked for, without end. The API says for each answer how long it
// may take; what is behind these listeners does not.
type moving struct {
	net.Listener
	now func() time.Time
}

func (l moving) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &movingConn{c, l.now}, nil
}

type movingConn struct {
	net.Conn
	now func() time.Time
}

func (c *movingConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(c.now().Add(standstill)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// piece is what must be taken within a standstill: what ReadFrom is given may be a whole image.
const piece = 256 << 10

// ReadFrom sends a file by the kernel, piece by piece, where the connection can.
func (c *movingConn) ReadFrom(r io.Reader) (all int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	whole, bounded := r.(*io.LimitedReader) // as http.ServeContent gives it
	if !ok || !bounded {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	for whole.N > 0 {
		if err := c.SetWriteDeadline(c.now().Add(standstill)); err != nil {
			return all, err
		}
		part := &io.LimitedReader{R: whole.R, N: min(whole.N, piece)} // the kernel sends what is limited once, not twice
		n, err := to.ReadFrom(part)
		whole.N -= n
		if all += n; err != nil || part.N > 0 { // part.N > 0: the file has ended
			return all, err
		}
	}
	return all, nil
}

// Whose connections are limited, for the log.
const (
	operators = "operators'"
	machines  = "machines'"
)
