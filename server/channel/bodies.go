package channel

import "sync"

const (
	// usualBody is how long lookups are, or less: inventories have 50 to 500 kB.
	usualBody = 512 << 10
	// allBodies is how much those of usual length take together, in bytes.
	allBodies = 64 << 20
)

// bodies bound what lookups hold in memory while they are read and wait for their turn (I25). Longer ones, and those that
// don't say how long they are, are bounded by number.
type bodies struct {
	large int // at once

	mu     sync.Mutex
	held   int64 // bytes of usual ones
	larger int
}

// enter tells whether there is room for a body of that length, -1 when it is not known; leave gives it back.
func (b *bodies) enter(size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !usual(size) {
		if b.larger >= b.large {
			return false
		}
		b.larger++
		return true
	}
	if b.held+size > allBodies {
		return false
	}
	b.held += size
	return true
}

func (b *bodies) leave(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if usual(size) {
		b.held -= size
	} else {
		b.larger--
	}
}

func usual(size int64) bool { return size >= 0 && size <= usualBody }
