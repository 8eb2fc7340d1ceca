package engine

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// subscription is one watcher: of one node, or of all when node is empty.
type subscription struct {
	node  conductor.NodeID
	quiet bool // nobody looks on: agents need not tell more often for it
	ch    chan struct{}
}

// Watch gives a token after each change of the node; ident "" means any node. Tokens coalesce, so a slow reader reads
// the newest state and misses none. The channel is closed when ctx ends.
func (eng *Engine) Watch(ctx context.Context, ident string) <-chan struct{} {
	s := &subscription{ch: make(chan struct{}, 1)}
	return eng.watch(ctx, s, ident)
}

// Notices is Watch of all nodes for a program: nobody looks on, so that agents tell no more often than they do anyway.
func (eng *Engine) Notices(ctx context.Context) <-chan struct{} {
	return eng.watch(ctx, &subscription{quiet: true, ch: make(chan struct{}, 1)}, "")
}

func (eng *Engine) watch(ctx context.Context, s *subscription, ident string) <-chan struct{} {
	if ident != "" {
		if n, err := eng.Node(ctx, ident); err == nil {
			s.node = n.UUID
		}
	}
	eng.mu.Lock()
	eng.subs[s] = struct{}{}
	eng.repace(s.node)
	eng.mu.Unlock()
	context.AfterFunc(ctx, func() {
		eng.mu.Lock()
		defer eng.mu.Unlock()
		delete(eng.subs, s)
		eng.repace(s.node)
		close(s.ch)
	})
	return s.ch
}

const (
	// watched is how often a running step's progress is asked for while somebody looks on. With the half second that an
	// agent's own report may be old, what is shown is less than two seconds old.
	watched = time.Second
	// shared is the least time between two reports of all nodes together, for somebody who looks on a whole fleet.
	shared = 2 * time.Millisecond
)

// Pace tells how often the node's progress is wanted: every second while somebody looks on, more seldom while a whole
// fleet at work is looked on, 0 (with the heartbeat) when nobody does. changed is closed when a watcher came or went.
func (eng *Engine) Pace(id conductor.NodeID) (every time.Duration, changed <-chan struct{}) {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	for s := range eng.subs {
		switch {
		case s.quiet:
		case s.node == id:
			every = watched
		case s.node == "" && every == 0:
			every = max(watched, time.Duration(len(eng.waits))*shared)
		}
	}
	c := eng.paces[id]
	if c == nil {
		c = make(chan struct{})
		eng.paces[id] = c
	}
	return every, c
}

// repace tells held heartbeats that a watcher of the node, or of all, came or went. Called with the lock held.
func (eng *Engine) repace(id conductor.NodeID) {
	if id == "" {
		for _, c := range eng.paces {
			close(c)
		}
		clear(eng.paces)
		return
	}
	if c := eng.paces[id]; c != nil {
		close(c)
		delete(eng.paces, id)
	}
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
