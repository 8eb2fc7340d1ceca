package channel

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/limit"
)

// Limits bound what one address, one node and all together may take (safety.md T6, I25).
type Limits struct {
	AddressRate  float64 // requests a second of one address
	AddressBurst float64
	NodeRate     float64 // requests a second of one node, after its token was checked
	NodeBurst    float64
	Conns        int     // connections, all together; by default fewer than the process may open files
	AddressConns int     // connections of one address
	Lookups      int     // of one address at once: each may be large, and nothing is proven before it is read
	AllLookups   int     // of all addresses at once; the others wait their turn, or are told to come back
	DialRate     float64 // new connections a second of one address: each costs a handshake
	DialBurst    float64
	AddressHint  string // said in the log when one address has all that it may; "": nothing is said, for machines come back
}

// DefaultLimits suit a node per address with room for some behind one router.
func DefaultLimits() Limits {
	return Limits{AddressRate: 100, AddressBurst: 200, NodeRate: 30, NodeBurst: 90, Conns: connsFor(files()), AddressConns: 64, Lookups: 4, AllLookups: 32, DialRate: 10, DialBurst: 100}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ got, def *float64 }{
		{&l.AddressRate, &d.AddressRate}, {&l.AddressBurst, &d.AddressBurst}, {&l.NodeRate, &d.NodeRate},
		{&l.NodeBurst, &d.NodeBurst}, {&l.DialRate, &d.DialRate}, {&l.DialBurst, &d.DialBurst},
	} {
		if *f.got == 0 {
			*f.got = *f.def
		}
	}
	if l.Conns == 0 {
		l.Conns = d.Conns
	}
	if l.AddressConns == 0 {
		l.AddressConns = d.AddressConns
	}
	if l.Lookups == 0 {
		l.Lookups = d.Lookups
	}
	if l.AllLookups == 0 {
		l.AllLookups = d.AllLookups
	}
	return l
}

// listener closes at once what exceeds the limits on connections, before a handshake is spent on it.
type listener struct {
	net.Listener
	most  int // connections, all together
	conns *limit.Gate
	dials *limit.Buckets[netip.Addr]
	whose string // connections they are, for the log
	each  int    // connections of one address
	hint  string // what is said when an address has as many
	now   func() time.Time
	log   *slog.Logger
	told  time.Time // when it was last said that there is no room; Accept's
}

// Limited bounds the connections of a listener beside the channel's as Serve does its own, by Conns, AddressConns, DialRate and DialBurst; what is
// zero has its default. whose says in the log who connects there.
func Limited(ln net.Listener, whose string, l Limits, now func() time.Time, log *slog.Logger) net.Listener {
	return limited(ln, whose, l.withDefaults(), now, log)
}

func limited(ln net.Listener, whose string, l Limits, now func() time.Time, log *slog.Logger) *listener {
	return &listener{
		Listener: ln, whose: whose, most: l.Conns, each: l.AddressConns, hint: l.AddressHint, conns: limit.NewGate(l.AddressConns, l.Conns), dials: limit.NewBuckets[netip.Addr](l.DialRate, l.DialBurst, now), now: now, log: log,
	}
}

// tellEvery is the least time between two lines about the same want of room.
const tellEvery = time.Minute

// tellFull says that peers are turned away for want of room, of all or of one address, now and then: each would be a line
// otherwise, at the hands of whoever dials.
func (l *listener) tellFull(addr netip.Addr) {
	now := l.now()
	if now.Sub(l.told) < tellEvery {
		return
	}
	switch {
	case l.conns.Full():
		l.told = now
		l.log.Warn(l.whose+" connections are closed at once: there are as many as this server takes", "open", l.most, "at", l.Addr(),
			"hint", "if so many machines are at work, raise the server's limit of open files (LimitNOFILE of its unit); else see with ss -tn which addresses hold them")
	case l.hint != "" && addr.IsValid():
		l.told = now
		l.log.Warn(l.whose+" connections of one address are closed at once: it has, or opens, as many as one may", "address", addr, "most", l.each, "at", l.Addr(), "hint", l.hint)
	}
}

// Accept gives the next connection that is inside the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, err := address(conn)
		if err == nil && l.admit(addr) {
			return &counted{Conn: conn, release: sync.OnceFunc(func() { l.conns.Leave(addr) })}, nil
		}
		l.tellFull(addr)
		// The peer is beyond its budget: whether it hears of the close does not matter.
		_ = conn.Close()
	}
}

func (l *listener) admit(addr netip.Addr) bool {
	if !l.conns.Enter(addr) {
		return false
	}
	if !l.dials.Take(addr) {
		l.conns.Leave(addr)
		return false
	}
	return true
}

func address(conn net.Conn) (netip.Addr, error) {
	p, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address of a connection: %w", err)
	}
	return limit.Network(p.Addr().Unmap().WithZone("")), nil
}

// counted gives its place back when it is closed, and that of its handshake when the first byte is sent.
type counted struct {
	net.Conn
	release func()

	mu        sync.Mutex
	closed    bool
	computing func() // gives the handshake's place back; nil: it has none
}

// computes notes that the connection has a place among the handshakes. One that was closed meanwhile keeps none.
func (c *counted) computes(done func()) {
	c.mu.Lock()
	c.computing = done
	closed := c.closed
	c.mu.Unlock()
	if closed {
		c.computed()
	}
}

func (c *counted) computed() {
	c.mu.Lock()
	done := c.computing
	c.computing = nil
	c.mu.Unlock()
	if done != nil {
		done()
	}
}

func (c *counted) Write(p []byte) (int, error) {
	c.computed()
	return c.Conn.Write(p)
}

// ReadFrom keeps what the connection itself has to send a file without reading it.
func (c *counted) ReadFrom(r io.Reader) (int64, error) {
	c.computed()
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

func (c *counted) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.computed()
	c.release()
	return c.Conn.Close()
}
