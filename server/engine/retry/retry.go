// Package retry is how the engine's goroutines wait for what is away: how long between two tries, and until when, by a clock
// that leaves out what went by without the process.
package retry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Backoff grows from half a second to 30, with jitter, so that nodes behind one BMC do not march in step.
func Backoff(try int) time.Duration {
	d := 500 * time.Millisecond << min(try-1, 6)
	return min(d, 30*time.Second)/2 + rand.N(min(d, 30*time.Second)/2+1)
}

// Pause waits for d; false when ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// View reads as soon as the store can be read: that it can't is no reason to give up an effect (I30).
func View(ctx context.Context, store conductor.Store, log *slog.Logger, fn func(conductor.Tx) error) error {
	for try := 1; ; try++ {
		err := store.View(ctx, fn)
		if !fault.Has(err, fault.StorageUnavailable) {
			return err
		}
		log.Error("read for an effect", "err", err)
		if !Pause(ctx, Backoff(try)) {
			return err
		}
	}
}
