package retry

import (
	"context"
	"sync"
	"time"
)

const (
	tick = time.Second     // between looks at the clock
	jump = 3 * time.Second // a tick longer than this is time that does not count
)

// Clock adds up the time that went on without this process: it was stopped, its machine slept, or the clock was set
// (I14, F28, F30). What does nothing but look at the clock tells that apart from a watch over deadlines that a busy store
// kept waiting: to move the deadlines of a whole fleet then would keep it waiting longer still. It is safe for concurrent
// use.
type Clock struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
	gone time.Duration // since the last Take
	odd  bool          // something was added up since then
	all  time.Duration // ever
}

// NewClock makes one by the wall clock's time. What goes by until Run has begun counts as a standstill.
func NewClock(now func() time.Time) *Clock { return &Clock{now: now, last: now()} }

// Run looks at the clock until ctx ends.
func (c *Clock) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.mu.Lock()
			c.look()
			c.last = c.now()
			c.mu.Unlock()
		}
	}
}

// look adds up what is odd since the last look. Round(0) drops the monotonic reading: what counts is the wall clock that
// the deadlines are written in. Called with the lock held.
func (c *Clock) look() {
	now := c.now()
	if gone := now.Round(0).Sub(c.last.Round(0)); gone > jump || gone < -tick {
		c.gone, c.all, c.odd, c.last = c.gone+gone-tick, c.all+gone-tick, true, now
	}
}

// Take gives what was added up since it was called last. It looks itself: after a standstill the one who takes may be awake
// first.
func (c *Clock) Take() (by time.Duration, odd bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	by, odd = c.gone, c.odd
	c.gone, c.odd = 0, false
	return by, odd
}

func (c *Clock) lost() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.all
}

// Start begins to measure time that counts.
func (c *Clock) Start() Stopwatch {
	lost := c.lost() // before the time: what goes by in between must not count either
	return Stopwatch{c, c.now(), lost}
}

// Stopwatch measures time, less what went by without the process.
type Stopwatch struct {
	clock *Clock
	began time.Time
	lost  time.Duration
}

// Spent is the time since Start; it may be a little short, and never counts a standstill.
func (s Stopwatch) Spent() time.Duration {
	now := s.clock.now()
	return now.Round(0).Sub(s.began.Round(0)) - (s.clock.lost() - s.lost)
}

// StoodStill tells whether time went by without the process since Start.
func (s Stopwatch) StoodStill() bool { return s.clock.lost() != s.lost }
