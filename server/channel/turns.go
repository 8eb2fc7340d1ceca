package channel

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

const (
	// turnWait is how long a lookup waits for its turn, once it is read.
	turnWait = time.Second
	// turnsWaiting is how many wait at most for each one in hand, however fast they are served.
	turnsWaiting = 16
	// turnWindow is over how long it is counted how fast lookups are served.
	turnWindow = time.Second
	// turnRate is how many lookups a second are expected to be served before any were counted.
	turnRate = 50.0
	// eager is how many machines are to ask for each that is served. Who comes too early is told again, which costs little
	// over the connection that he has (agent/channel keeps it a while); who comes too late leaves the server idle.
	eager = 2
	// comeBackLate is the longest Retry-After, in seconds: how fast the server is now is soon no longer true.
	comeBackLate = int(api.ComeBackMax / time.Second)
)

// turns bound the lookups in hand, so that a herd of machines after a power failure costs neither memory nor the
// answers to everybody else (safety.md L3, F36). Who finds no room is told to come back: the first ones each at a time of
// its own, by how fast lookups were served; later ones over a time that grows and shrinks by what comes of it. For
// while a herd arrives its handshakes take most of the processors, and no speed counted then is that of a second later.
type turns struct {
	now  func() time.Time
	room chan struct{}

	mu      sync.Mutex
	waiting int
	rate    float64   // lookups served a second, as far as they were wanted
	spread  float64   // over how many seconds those refused come back
	window  time.Time // when the counts began
	served  int
	refused int
	pressed bool // somebody had to wait in this window
}

func newTurns(most int, now func() time.Time) *turns {
	return &turns{now: now, room: make(chan struct{}, most), rate: turnRate, spread: 1}
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
	full := t.waiting >= t.most()
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

// full tells whether nobody more may wait, so that a request need not be kept.
func (t *turns) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count()
	full := t.waiting >= t.most()
	t.pressed = t.pressed || full
	return full
}

// most is how many may wait. Called with the lock held.
func (t *turns) most() int {
	return min(max(int(eager*t.rate*turnWait.Seconds()), cap(t.room)), turnsWaiting*cap(t.room))
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
	t.count()
	t.refused++
	place := float64(t.refused) / t.rate
	// Whole seconds are all that can be said: the rest is said by chance.
	wait := 1 + int(max(place, t.spread*rand.Float64())+rand.Float64())
	if wait > comeBackLate {
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
	switch {
	case d < 0 || d >= 2*turnWindow: // nobody came for a while, or the clock was set
		t.spread = 1
	case t.refused > (eager-1)*t.served:
		t.spread = min(1.5*t.spread, float64(comeBackLate))
	default:
		t.spread = max(0.7*t.spread, 1)
	}
	if t.pressed && t.served > 0 && d > 0 && d < 2*turnWindow {
		t.rate = (t.rate + float64(t.served)/d.Seconds()) / 2
	}
	t.window, t.served, t.refused, t.pressed = now, 0, 0, false
}
