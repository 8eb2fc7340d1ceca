package limit

import (
	"net/netip"
	"sync"
)

// Gate bounds how much of one kind is in hand at once: of one network, and of all together.
type Gate struct {
	each, all int

	mu    sync.Mutex
	in    map[netip.Addr]int // by Network
	total int
}

// NewGate makes one; 0 for all is no bound on all together.
func NewGate(each, all int) *Gate { return &Gate{each: each, all: all, in: map[netip.Addr]int{}} }

// Enter tells whether there is room; after true, Leave gives it back.
func (g *Gate) Enter(network netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in[network] >= g.each || g.all > 0 && g.total >= g.all {
		return false
	}
	g.in[network]++
	g.total++
	return true
}

// Full tells whether all together have no more room.
func (g *Gate) Full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all > 0 && g.total >= g.all
}

// Leave gives back what Enter took.
func (g *Gate) Leave(network netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.in[network]--; g.in[network] == 0 {
		delete(g.in, network)
	}
}
