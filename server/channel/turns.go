package channel

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// turnWait is how long a lookup waits for its turn, before its body is read.
	turnWait = time.Second
	// turnsWaiting is how many wait at most for each one in hand, however fast they are served.
	turnsWaiting = 16
	// turnWindow is over how long it is counted how fast lookups are served.
	turnWindow = time.Second
	// turnRate is how many lookups a second are expected to be served before any were counted.
	turnRate = 50.0
	// comeBackLate is the longest Retry-After, in seconds.
	comeBackLate = 120
)

// turns bound the lookups in hand, so that a herd of machines after a power failure costs neither memory nor the
// answers to everybody else (safety.md L3, F36). Who finds no room is given a time of its own to come back: each next one
// later by as long as the server takes for one, so that those refused arrive as fast as they can be served, and not
// all at once again.
type turns struct {
	now  func() time.Time
	room chan struct{}

	mu       sync.Mutex
	waiting  int
	rate     float64   // lookups served a second, as far as they were wanted
	window   time.Time // when the counts began
	served   int
	pressed  bool      // somebody had to wait in this window
	promised time.Time // the latest time given to anybody
}

func newTurns(most int, now func() time.Time) *turns {
	return &turns{now: now, room: make(chan struct{}, most), rate: turnRate}
}

// enter waits for a turn; false: there was none in time, or none is to be expected. leave gives it back.
func (t *turns) enter(ctx context.Context) bool {
	select {
	case t.room <- struct{}{}:
		return true
	default:
	}
	t.mu.Lock()
	t.count()
	t.pressed = true
	most := min(max(int(t.rate*turnWait.Seconds()), cap(t.room)), turnsWaiting*cap(t.room))
	full := t.waiting >= most
	if !full {
		t.waiting++
	}
	t.mu.Unlock()
	if full {
		return false
	}
	defer func() {
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
	}()
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case t.room <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (t *turns) leave() {
	<-t.room
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count()
	t.served++
}

// comeBack is in how many seconds one that found no turn should ask again.
func (t *turns) comeBack() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if d := t.promised.Sub(now); d < 0 || d > comeBackLate*time.Second {
		t.promised = now // all are served, or the clock was set back
	}
	// A little slower than what was counted leaves room for those who come for the first time.
	t.promised = t.promised.Add(time.Duration(1.1 / t.rate * float64(time.Second)))
	// Whole seconds are all that can be said: the rest is said by chance.
	wait := 1 + int(t.promised.Sub(now).Seconds()+rand.Float64())
	if wait > comeBackLate {
		// More than can be told apart: they come back over the second half, and are told again.
		t.promised = now.Add(comeBackLate * time.Second)
		wait = comeBackLate/2 + rand.IntN(comeBackLate/2)
	}
	return wait
}

// count begins a new window when the old one is over. Only a window in which somebody waited tells how fast the
// server is. Called with the lock held.
func (t *turns) count() {
	now := t.now()
	d := now.Sub(t.window)
	if d >= 0 && d < turnWindow {
		return
	}
	if t.pressed && t.served > 0 && d < 2*turnWindow {
		t.rate = (t.rate + float64(t.served)/d.Seconds()) / 2
	}
	t.window, t.served, t.pressed = now, 0, false
}
