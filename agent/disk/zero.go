package disk

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/bessemer-metal/bessemer/agent/system"
)

// chunk is how much is written or read at once, depth how many such pieces are under way on one disk.
const (
	chunk = 4 << 20
	depth = 4
	// stride is how much one command zeroes, so that an abort and progress come through.
	stride = 64 << 20
)

// zeros is shared by all writers and never written to.
type zeros struct{ b []byte }

func newZeros() zeros { return zeros{Buffer(chunk)} }

// each runs fn over [from, to) in pieces of at most size bytes, depth of them at once, until all are done, one fails
// or ctx ends. It returns when no piece is under way any more.
func each(ctx context.Context, from, to, size int64, fn func(off int64, n int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	next.Store(from)
	var wg sync.WaitGroup
	for range depth {
		wg.Go(func() {
			for ctx.Err() == nil {
				off := next.Add(size) - size
				if off >= to {
					return
				}
				if err := fn(off, int(min(size, to-off))); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// overwrite writes zeros over a range and returns after the flush.
func (d *Disk) overwrite(ctx context.Context, z zeros, from, to int64, done func(int64)) error {
	err := each(ctx, from, to, chunk, func(off int64, n int) error {
		if _, err := d.WriteAt(z.b[:n], off); err != nil {
			return d.Failure("write zeros to", off, err)
		}
		done(int64(n))
		return nil
	})
	if err != nil {
		return err
	}
	return d.Failure("flush", to, d.Sync())
}

// command zeroes a range by commands of the device, one after the other.
func (d *Disk) command(ctx context.Context, zero func(off, n int64) error, from, to int64, done func(int64)) error {
	for off := from; off < to; off += stride {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n := min(stride, to-off)
		if err := zero(off, n); err != nil {
			return err
		}
		done(n)
	}
	return d.Failure("flush", to, d.Sync())
}

// Clear makes an aligned range read as zeros, by the quickest way the device promises. The range may hold old data;
// nothing of it can be read afterwards.
func (d *Disk) Clear(off, n int64) error {
	err := d.PunchHole(off, n)
	if errors.Is(err, system.ErrUnsupported) {
		return d.blank(off, n)
	}
	return d.Failure("clear", off, err)
}

// blank writes zeros over an aligned range.
func (d *Disk) blank(off, n int64) error {
	b := Buffer(int(min(n, 1<<20)))
	for n > 0 {
		k := min(n, int64(len(b)))
		if _, err := d.WriteAt(b[:k], off); err != nil {
			return d.Failure("write zeros to", off, err)
		}
		off, n = off+k, n-k
	}
	return nil
}
