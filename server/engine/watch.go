package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// subscription is one watcher: of one node, or of all when node is empty.
type subscription struct {
	node conductor.NodeID
	ch   chan struct{}
}

// Watch gives a token after each change of the node; ident "" means any node. Tokens coalesce, so a slow reader reads
// the newest state and misses none. The channel is closed when ctx ends.
func (eng *Engine) Watch(ctx context.Context, ident string) <-chan struct{} {
	s := &subscription{ch: make(chan struct{}, 1)}
	if ident != "" {
		if n, err := eng.Node(ctx, ident); err == nil {
			s.node = n.UUID
		}
	}
	eng.mu.Lock()
	eng.subs[s] = struct{}{}
	eng.mu.Unlock()
	context.AfterFunc(ctx, func() {
		eng.mu.Lock()
		defer eng.mu.Unlock()
		delete(eng.subs, s)
		close(s.ch)
	})
	return s.ch
}

// Watched tells whether somebody looks on, so that the agent is asked for progress more often.
func (eng *Engine) Watched(id conductor.NodeID) bool {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	for s := range eng.subs {
		if s.node == id || s.node == "" {
			return true
		}
	}
	return false
}

func (eng *Engine) notify(id conductor.NodeID) {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	for s := range eng.subs {
		if s.node != id && s.node != "" {
			continue
		}
		select {
		case s.ch <- struct{}{}:
		default: // one is waiting already
		}
	}
}
