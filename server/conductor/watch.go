package conductor

import "context"

// subscription is one watcher: of one node, or of all when node is empty.
type subscription struct {
	node NodeID
	ch   chan struct{}
}

// Watch gives a token after each change of the node; ident "" means any node. Tokens coalesce, so a slow reader reads
// the newest state and misses none. The channel is closed when ctx ends.
func (c *Conductor) Watch(ctx context.Context, ident string) <-chan struct{} {
	s := &subscription{ch: make(chan struct{}, 1)}
	if ident != "" {
		if n, err := c.Node(ctx, ident); err == nil {
			s.node = n.UUID
		}
	}
	c.mu.Lock()
	c.subs[s] = struct{}{}
	c.mu.Unlock()
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subs, s)
		close(s.ch)
	})
	return s.ch
}

// Watched tells whether somebody looks on, so that the agent is asked for progress more often.
func (c *Conductor) Watched(id NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.subs {
		if s.node == id || s.node == "" {
			return true
		}
	}
	return false
}

func (c *Conductor) notify(id NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.subs {
		if s.node != id && s.node != "" {
			continue
		}
		select {
		case s.ch <- struct{}{}:
		default: // one is waiting already
		}
	}
}
