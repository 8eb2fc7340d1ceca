// Package limit holds the budgets by which a flood costs its sender and nobody else (safety.md T6, I25): so many requests
// a second of one address, or of anything else that names a sender, and so many in hand at once.
//
// Start at Buckets and Gate.
package limit

import (
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory of one set of buckets, whatever the number of sources.
const maxBuckets = 65536

// Buckets is a token bucket per key. When there are too many keys at once, the newcomers share one bucket. Its
// memory is bounded, whatever the number of keys.
type Buckets[K comparable] struct {
	rate, burst float64
	now         func() time.Time

	mu    sync.Mutex
	m     map[K]*bucket
	rest  bucket
	swept time.Time
}

type bucket struct {
	level float64
	at    time.Time
}

// NewBuckets makes them: each is full with burst, and fills by rate a second of now.
func NewBuckets[K comparable](rate, burst float64, now func() time.Time) *Buckets[K] {
	return &Buckets[K]{rate: rate, burst: burst, now: now, m: map[K]*bucket{}, rest: bucket{level: burst, at: now()}}
}

// Take tells whether k has budget left, and uses some of it.
func (b *Buckets[K]) Take(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	one := b.m[k]
	if one == nil {
		if len(b.m) >= maxBuckets {
			b.sweep(now)
		}
		if len(b.m) >= maxBuckets {
			one = &b.rest
		} else {
			one = &bucket{level: b.burst, at: now}
			b.m[k] = one
		}
	}
	b.fill(one, now)
	if one.level < 1 {
		return false
	}
	one.level--
	return true
}

// Spent tells whether k has no budget left, and uses none of it. Of what was never taken from, all is left.
func (b *Buckets[K]) Spent(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.m[k]
	if one == nil {
		if len(b.m) < maxBuckets {
			return false
		}
		one = &b.rest
	}
	b.fill(one, b.now())
	return one.level < 1
}

func (b *Buckets[K]) fill(one *bucket, now time.Time) {
	if passed := now.Sub(one.at).Seconds(); passed > 0 {
		one.level = min(b.burst, one.level+passed*b.rate)
	}
	one.at = now
}

// sweep forgets full buckets, at most once a second: a new one would be full as well.
func (b *Buckets[K]) sweep(now time.Time) {
	if d := now.Sub(b.swept); d >= 0 && d < time.Second {
		return
	}
	b.swept = now
	for k, one := range b.m {
		if b.fill(one, now); one.level >= b.burst {
			delete(b.m, k)
		}
	}
}

// Network is what one budget is for: an IPv4 address, or the 64-bit prefix of an IPv6 one, of which a single machine
// may use any number.
func Network(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}
