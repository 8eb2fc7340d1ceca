package crash

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// network stands between the agents and the server and can be broken. It copies bytes and calls the server from the
// address the agent called from, so that neither notices.
type network struct {
	listener net.Listener
	server   string
	wg       sync.WaitGroup
	closing  context.Context
	end      context.CancelFunc

	mu    sync.Mutex
	down  chan struct{}  // not nil: nothing passes until it is closed
	limit func() int     // bytes that a connection lets pass each way before it breaks; nil: no end
	open  map[*link]bool // connections now
	torn  int            // how many broke by limit
}

// link is one connection of an agent and its other half.
type link struct {
	agent, server net.Conn
	stalled       bool // it was open while the network was down
}

func (l *link) cut() {
	_ = l.agent.Close()
	_ = l.server.Close()
}

func openNetwork(host string) (*network, error) {
	n := &network{server: host + agentPort, open: map[*link]bool{}}
	var err error
	if n.listener, err = net.Listen("tcp", host+networkPort); err != nil {
		return nil, err
	}
	n.closing, n.end = context.WithCancel(context.Background())
	n.wg.Go(func() {
		for {
			c, err := n.listener.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() { n.carry(c) })
		}
	})
	return n, nil
}

func (n *network) address() string { return n.listener.Addr().String() }

func (n *network) close() error {
	n.end()
	err := n.listener.Close()
	n.mu.Lock()
	for l := range n.open {
		l.cut()
	}
	n.mu.Unlock()
	n.wg.Wait()
	return err
}

// Part lets nothing pass any more, in silence, until Heal; what was open then is broken.
func (s *Site) Part() {
	n := s.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		return
	}
	n.down = make(chan struct{})
	for l := range n.open {
		l.stalled = true
	}
}

// Heal ends Part.
func (s *Site) Heal() {
	n := s.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down != nil {
		close(n.down)
		n.down = nil
	}
}

// Tear makes every connection from now on break after a random number of bytes each way; 0 ends that.
func (s *Site) Tear(most int, seed uint64) {
	n := s.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.limit = nil
	if most == 0 {
		return
	}
	r := rand.New(rand.NewPCG(seed, 13))
	n.limit = func() int { return 1 + r.IntN(most) }
}

// Torn is how many connections broke by Tear so far.
func (s *Site) Torn() int {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	return s.network.torn
}

// pass waits while the network is down; ok is false for a connection that has to break.
func (n *network) pass(l *link) bool {
	n.mu.Lock()
	down := n.down
	broken := l != nil && l.stalled && down == nil
	n.mu.Unlock()
	if down == nil {
		return !broken
	}
	select {
	case <-down:
	case <-n.closing.Done():
	}
	return false
}

func (n *network) carry(c net.Conn) {
	defer c.Close()
	if !n.pass(nil) {
		return
	}
	from, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: from.IP}}
	s, err := d.DialContext(n.closing, "tcp", n.server)
	if err != nil {
		return // the server is away, and the agent sees its connection end
	}
	l := &link{agent: c, server: s}
	n.mu.Lock()
	n.open[l] = true
	up, back := -1, -1
	if n.limit != nil {
		up, back = n.limit(), n.limit()
	}
	n.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { defer l.cut(); n.copy(l, s, c, up) })
	both.Go(func() { defer l.cut(); n.copy(l, c, s, back) })
	both.Wait()
	n.mu.Lock()
	delete(n.open, l)
	n.mu.Unlock()
}

// copy carries one way, at most limit bytes unless that is negative.
func (n *network) copy(l *link, to io.Writer, from io.Reader, limit int) {
	buf := make([]byte, 16<<10)
	for {
		k, err := from.Read(buf)
		if !n.pass(l) {
			return
		}
		if limit >= 0 {
			k = min(k, limit)
			if limit -= k; limit == 0 {
				n.mu.Lock()
				n.torn++
				n.mu.Unlock()
			}
		}
		if _, werr := to.Write(buf[:k]); werr != nil || err != nil || limit == 0 {
			return
		}
	}
}
