// Package sessions checks agents' sessions against what the store holds of their nodes' boots, from memory, so that a
// heartbeat reads no store. It wraps the store, because every transaction that changes a node has to pass by it
// (docs/adr/0101-sessions-in-memory.md).
//
// Start at Store.Stands.
package sessions

import (
	"context"
	"sync"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// standings keep in memory what a session is checked against, so that a heartbeat reads no store. An entry is there
// only while no transaction that changes its node is under way: from the first write of such a transaction until its
// outcome is known the store itself is asked, which shows the change from the commit on (safety.md I18).
type standings struct {
	mu sync.Mutex
	m  map[conductor.NodeID]*standing
}

// standing is one node's entry. It is taken out when a writer comes, so that what a reader found before is not kept.
type standing struct {
	writers int // transactions under way that change the node
	known   bool
	boot    *conductor.Boot // without what is large; nil: there is none
}

// slim is what sessions are checked against, without the salt, which is a secret's, and the steps, which are large.
func slim(b *conductor.Boot) *conductor.Boot {
	if b == nil {
		return nil
	}
	c := *b
	c.Salt, c.Steps = nil, nil
	return &c
}

// get gives the node's boot when it is known; else the entry to fill, nil while the node is being changed.
func (c *standings) get(id conductor.NodeID) (boot *conductor.Boot, known bool, fill *standing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[id]
	switch {
	case e == nil:
		e = &standing{}
		c.m[id] = e
	case e.known:
		return e.boot, true, nil
	case e.writers > 0:
		return nil, false, nil
	}
	return nil, false, e
}

// put fills an entry that get gave, unless the node was or is being changed meanwhile. ok false forgets the entry.
func (c *standings) put(id conductor.NodeID, e *standing, boot *conductor.Boot, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e == nil || c.m[id] != e || e.writers > 0 {
		return
	}
	if !ok {
		delete(c.m, id)
		return
	}
	e.known, e.boot = true, boot
}

// begin says that a transaction changes the node.
func (c *standings) begin(id conductor.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[id]
	if e == nil || e.writers == 0 {
		e = &standing{} // another one: whoever reads for the old entry reads too early
		c.m[id] = e
	}
	e.writers++
}

// end says that the outcome of a transaction is known.
func (c *standings) end(id conductor.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[id]
	if e.writers--; e.writers == 0 {
		delete(c.m, id)
	}
}

// Store is a store that knows of every node that a transaction changes.
type Store struct {
	conductor.Store
	known standings
}

// Over wraps a store. All that changes nodes must be done through what it gives.
func Over(s conductor.Store) *Store {
	return &Store{Store: s, known: standings{m: map[conductor.NodeID]*standing{}}}
}

// Update is the store's.
func (s *Store) Update(ctx context.Context, fn func(conductor.Tx) error) error {
	var changed []conductor.NodeID
	defer func() {
		for _, id := range changed {
			s.known.end(id)
		}
	}()
	return s.Store.Update(ctx, func(tx conductor.Tx) error {
		return fn(watchedTx{tx, func(id conductor.NodeID) {
			s.known.begin(id)
			changed = append(changed, id)
		}})
	})
}

type watchedTx struct {
	conductor.Tx
	changes func(conductor.NodeID)
}

func (t watchedTx) CreateNode(n *conductor.Node) error {
	t.changes(n.UUID)
	return t.Tx.CreateNode(n)
}

func (t watchedTx) PutNode(n *conductor.Node) error {
	t.changes(n.UUID)
	return t.Tx.PutNode(n)
}

func (t watchedTx) DeleteNode(id conductor.NodeID) error {
	t.changes(id)
	return t.Tx.DeleteNode(id)
}

// Stands checks that node, generation, key and source of a session still stand (I18, T2), from memory or the store,
// and gives the boot. channel.token, or the store's own fault.
func (s *Store) Stands(ctx context.Context, session conductor.Session) (*conductor.Boot, error) {
	id := session.Claims.Node
	boot, known, entry := s.known.get(id)
	if !known {
		err := s.View(ctx, func(tx conductor.Tx) error {
			n, err := tx.Node(id)
			boot = slim(n.Boot)
			return err
		})
		s.known.put(id, entry, boot, err == nil)
		if fault.Is(err, fault.NotFound) {
			return nil, fault.New(fault.ChannelToken, "the token's node does not exist")
		}
		if err != nil {
			return nil, err
		}
	}
	return boot, conductor.Stands(conductor.Node{UUID: id, Boot: boot}, session)
}
