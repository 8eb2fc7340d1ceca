package channel

import (
	"net/netip"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/limit"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// A source that contested contestLimit nodes within blockTime is blocked for blockTime: at level A0 anyone on the
// wire can contest, and must not be able to stop a fleet (safety.md §2.2).
const (
	contestLimit = 3
	blockTime    = time.Hour
	maxSources   = 4096 // that are remembered
)

// sources says which addresses may speak.
type sources struct {
	networks []netip.Prefix
	now      func() time.Time

	mu     sync.Mutex
	record map[netip.Addr]*record
}

type record struct {
	nodes   map[string]bool // contested since first
	first   time.Time
	blocked time.Time // since; zero: not
}

func newSources(networks []netip.Prefix, now func() time.Time) *sources {
	return &sources{networks: networks, now: now, record: map[netip.Addr]*record{}}
}

// check refuses, with channel.source_refused, an address outside the networks or one that is blocked.
func (s *sources) check(addr netip.Addr) error {
	allowed := len(s.networks) == 0
	for _, n := range s.networks {
		allowed = allowed || n.Contains(addr)
	}
	if !allowed {
		return fault.New(fault.ChannelSource, "%s is in none of the networks that agents may call from", addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.record[limit.Network(addr)]; r != nil && !r.blocked.IsZero() && within(s.now(), r.blocked, blockTime) {
		return fault.New(fault.ChannelSource, "%s claimed to be several nodes that others are already, and is blocked until %s",
			addr, r.blocked.Add(blockTime).UTC().Format(time.RFC3339)).
			WithHint("find the machine at this address; a restart of the server lifts the block")
	}
	return nil
}

// contests records that addr contested a node, and tells whether that has just blocked it.
func (s *sources) contests(addr netip.Addr, node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	addr, now := limit.Network(addr), s.now()
	r := s.record[addr]
	if r == nil || !within(now, r.first, blockTime) {
		s.forget(now)
		if len(s.record) >= maxSources {
			return false
		}
		r = &record{nodes: map[string]bool{}, first: now}
		s.record[addr] = r
	}
	if len(r.nodes) < contestLimit {
		r.nodes[node] = true
	}
	if len(r.nodes) < contestLimit || !r.blocked.IsZero() {
		return false
	}
	r.blocked = now
	return true
}

// forget drops what is over. Called with the lock held.
func (s *sources) forget(now time.Time) {
	for a, r := range s.record {
		if !within(now, r.first, blockTime) && !within(now, r.blocked, blockTime) {
			delete(s.record, a)
		}
	}
}

// within tells whether less than d has passed since. A clock set back counts as no time passed.
func within(now, since time.Time, d time.Duration) bool { return now.Sub(since) < d }
