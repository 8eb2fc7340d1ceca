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
	// turnsWaiting is how many wait at most for each one in hand.
	turnsWaiting = 16
	// turnWindow is over how long it is counted how fast lookups are served.
	turnWindow = 5 * time.Second
	// The range of Retry-After, in seconds.
	comeBackSoon, comeBackLate = 5, 30
)

// turns bound the lookups in hand, so that a herd of machines after a power failure costs neither memory nor the
// answers to everybody else (safety.md L3, F36). Who finds no room is told when to come back: spread over the time that the
// server will need for all who were told so.
type turns struct {
	now  func() time.Time
	room chan struct{}

	mu      sync.Mutex
	waiting int
	window  time.Time // when the counts began
	served  int
	refused int
	spread  int // seconds, of the last window
}

func newTurns(most int, now func() time.Time) *turns {
	return &turns{now: now, room: make(chan struct{}, most), spread: comeBackSoon}
}

// enter waits for a turn; false: there was none in time. leave gives it back.
func (t *turns) enter(ctx context.Context) bool {
	select {
	case t.room <- struct{}{}:
		return true
	default:
	}
	t.mu.Lock()
	full := t.waiting >= turnsWaiting*cap(t.room)
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
	t.count()
	t.refused++
	return 1 + rand.IntN(t.spread)
}

// count begins a new window when the old one is over. Called with the lock held.
func (t *turns) count() {
	now := t.now()
	if d := now.Sub(t.window); d >= 0 && d < turnWindow {
		return
	}
	need := int(turnWindow/time.Second) * t.refused / max(t.served, 1)
	t.spread = min(max(need, comeBackSoon), comeBackLate)
	t.window, t.served, t.refused = now, 0, 0
}
