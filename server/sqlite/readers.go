package sqlite

import (
	"context"
	"sync"

	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// readPool is the read connections. The one that was given back last goes out first: it has the file's pages in its
// cache, and those that load never asks for stay small.
type readPool struct {
	turns chan struct{} // one for each that is idle
	mu    sync.Mutex
	idle  []*session.Session
}

func (p *readPool) put(r *session.Session) {
	p.mu.Lock()
	p.idle = append(p.idle, r)
	p.mu.Unlock()
	p.turns <- struct{}{}
}

// pop gives the one whose turn was received.
func (p *readPool) pop() *session.Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	r := p.idle[last]
	p.idle = p.idle[:last]
	return r
}

// reader waits for an idle one; who got it puts it back.
func (s *Store) reader(ctx context.Context) (*session.Session, error) {
	select {
	case <-s.closing:
		return nil, fault.New(fault.StorageUnavailable, "the database is closed: the server is stopping")
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.readers.turns:
		return s.readers.pop(), nil
	}
}
