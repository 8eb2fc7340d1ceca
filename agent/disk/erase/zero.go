package erase

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/bessemer-metal/bessemer/agent/disk"
)

const (
	// chunk is how much is read back at once, piece how much is overwritten, depth how many of them are under way on one
	// disk. What is under way runs to its end after an abort: a disk that does 2 MB/s is through with it in ten seconds.
	chunk = 4 << 20
	piece = 1 << 20
	depth = 4
	// stride is how much one command zeroes, so that an abort and progress come through.
	stride = 64 << 20
)

// zeros is shared by all writers and never written to.
type zeros struct{ b []byte }

func newZeros() zeros { return zeros{disk.Buffer(chunk)} }

// each runs fn over [from, to) in pieces of at most size bytes, depth of them at once, until all are done, one fails
// or ctx ends. It returns when no piece is under way any more. All before reached are done then.
func each(ctx context.Context, from, to, size int64, fn func(off int64, n int) error) (reached int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	next.Store(from)
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range depth {
		wg.Go(func() {
			for ctx.Err() == nil {
				off := next.Add(size) - size
				if off >= to {
					return
				}
				if err := fn(off, int(min(size, to-off))); err != nil {
					failed.Store(true)
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	// Every piece that was taken was also done.
	if reached = min(next.Load(), to); failed.Load() {
		reached = from
	}
	return reached, context.Cause(ctx)
}

// overwrite writes zeros over a range.
func overwrite(ctx context.Context, d *disk.Disk, z zeros, from, to int64, done func(int64)) (reached int64, err error) {
	return each(ctx, from, to, piece, func(off int64, n int) error {
		if _, err := d.WriteAt(z.b[:n], off); err != nil {
			return d.Failure("write zeros to", off, err)
		}
		done(int64(n))
		return nil
	})
}

// command zeroes a range by commands of the device, one after the other.
func command(ctx context.Context, d *disk.Disk, zero func(off, n int64) error, from, to int64, done func(int64)) (reached int64, err error) {
	for off := from; off < to; off += stride {
		if ctx.Err() != nil {
			return off, context.Cause(ctx)
		}
		n := min(stride, to-off)
		if err := zero(off, n); err != nil {
			return off, err
		}
		done(n)
	}
	return to, nil
}
