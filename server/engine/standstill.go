package engine

import (
	"context"
	"sync"
	"time"
)

// standstill adds up the time that went on without this process: it was stopped, its machine slept, or the clock was set
// (I14, F28, F30). What does nothing but look at the clock tells that apart from a watch over deadlines that a busy store
// kept waiting: to move the deadlines of a whole fleet then would keep it waiting longer still.
type standstill struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
	gone time.Duration
	odd  bool // something was added up
}

func newStandstill(now func() time.Time) *standstill { return &standstill{now: now, last: now()} }

// run looks at the clock until ctx ends.
func (s *standstill) run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.mu.Lock()
			s.look()
			s.last = s.now()
			s.mu.Unlock()
		}
	}
}

// look adds up what is odd since the last look. Round(0) drops the monotonic reading: what counts is the wall clock that
// the deadlines are written in. Called with the lock held.
func (s *standstill) look() {
	now := s.now()
	if gone := now.Round(0).Sub(s.last.Round(0)); gone > jump || gone < -tick {
		s.gone, s.odd, s.last = s.gone+gone-tick, true, now
	}
}

// take gives what was added up, once. It looks itself: after a standstill the one who takes may be awake first.
func (s *standstill) take() (by time.Duration, odd bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	by, odd = s.gone, s.odd
	s.gone, s.odd = 0, false
	return by, odd
}
