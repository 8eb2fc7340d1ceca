package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	chunk   = 4 << 20
	buffers = 9        // of a chunk each: held back, being read, hashed and written
	writers = 4        // pieces under way on the disk
	run     = 64 << 10 // a run of zeros of this length is cleared, not written
	held    = 1 << 20  // of the start: LBA 0 to 2047, written last
	sampled = 32       // chunks read back
)

// pipeline writes decoded bytes to a disk: one reader, a goroutine for each hash, several writers. The first MiB and the
// last chunks are kept in memory; complete writes them.
type pipeline struct {
	to     *disk.Disk
	sums   []hash.Hash // SHA-256 first
	size   int64
	zeroed atomic.Int64
	head   []byte
	tail   []*piece // not written yet, in order
	zero   []byte

	table  *crc32.Table
	seen   int     // chunks handed to the writers
	sample []int64 // offsets of the chunks to read back, each chunk as likely as any other
	mu     sync.Mutex
	crcs   map[int64]uint32 // of those, by offset
}

// piece is a chunk on its way; it is free again when the hashers and a writer are through with it.
type piece struct {
	off    int64
	b      []byte
	full   []byte
	sample bool
	uses   atomic.Int32
}

// newPipeline makes a pipeline that, besides SHA-256, makes further hashes of the bytes written.
func newPipeline(to *disk.Disk, more ...hash.Hash) *pipeline {
	return &pipeline{
		to: to, sums: append([]hash.Hash{sha256.New()}, more...), zero: make([]byte, run),
		table: crc32.MakeTable(crc32.Castagnoli), crcs: map[int64]uint32{},
	}
}

// run reads src to its end and closes it. When a write fails it calls stop, which must end ctx and any read of src
// under way. It returns when no goroutine of it is left; what is on the disk then can't be booted.
func (p *pipeline) run(ctx context.Context, stop context.CancelCauseFunc, src io.ReadCloser) (err error) {
	free, toWrite := make(chan *piece, buffers), make(chan *piece, buffers)
	for range buffers {
		free <- &piece{full: disk.Buffer(chunk)}
	}
	release := func(x *piece) {
		if x.uses.Add(-1) == 0 {
			free <- x
		}
	}
	var wg sync.WaitGroup
	toHash := make([]chan *piece, len(p.sums))
	for i, h := range p.sums {
		toHash[i] = make(chan *piece, buffers)
		wg.Go(func() {
			for x := range toHash[i] {
				h.Write(x.b)
				release(x)
			}
		})
	}
	for range writers {
		wg.Go(func() {
			for x := range toWrite {
				if ctx.Err() == nil {
					if err := p.put(x); err != nil {
						stop(err)
					}
				}
				release(x)
			}
		})
	}
	err = p.feed(ctx, src, free, toHash, toWrite)
	for _, c := range toHash {
		close(c)
	}
	close(toWrite)
	wg.Wait()
	err = errors.Join(err, src.Close())
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// feed reads chunks and hands them on. Two are always held back: the last MiB may reach over both.
func (p *pipeline) feed(ctx context.Context, src io.Reader, free chan *piece, toHash []chan *piece, toWrite chan *piece) error {
	for {
		var x *piece
		select {
		case x = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n, err := fill(src, x.full)
		if err != nil && err != io.EOF {
			return err
		}
		if n > 0 {
			if p.size+int64(n) > p.to.Bytes {
				return fault.New(fault.DiskTooSmall, "the image has more than the %d bytes of %s", p.to.Bytes, p.to)
			}
			x.off, x.b = p.size, x.full[:n]
			x.uses.Store(int32(len(toHash)) + 1)
			if x.off == 0 {
				p.head = bytes.Clone(x.b[:min(held, n)])
			}
			p.size += int64(n)
			p.tail = append(p.tail, x)
			for _, c := range toHash {
				c <- x
			}
			if len(p.tail) > 2 {
				p.choose(p.tail[0])
				toWrite <- p.tail[0]
				p.tail = p.tail[1:]
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// choose decides whether a chunk is one of those to read back: a sample of a stream whose length is not known.
func (p *pipeline) choose(x *piece) {
	x.sample = false
	if x.off == 0 { // not all of it is written before the end
		return
	}
	p.seen++
	if len(p.sample) < sampled {
		p.sample, x.sample = append(p.sample, x.off), true
	} else if i := rand.IntN(p.seen); i < sampled {
		p.sample[i], x.sample = x.off, true
	}
}

// fill reads until b is full. Unlike io.ReadFull it leaves the reader's error as it is: io.EOF is a clean end.
func fill(src io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = src.Read(b[n:])
		n += k
	}
	return n, err
}

// put writes one chunk but the first MiB of the disk.
func (p *pipeline) put(x *piece) error {
	from := max(x.off, held) - x.off
	if from >= int64(len(x.b)) {
		return nil
	}
	if x.sample {
		sum := crc32.Checksum(x.b, p.table)
		p.mu.Lock()
		p.crcs[x.off] = sum
		p.mu.Unlock()
	}
	return p.sparse(x.b[from:], x.full[from:], x.off+from)
}

// sparse writes b, clearing long runs of zeros instead: what stood there before must be gone. full is b's buffer, so
// that a last odd sector can be filled up with zeros.
func (p *pipeline) sparse(b, full []byte, off int64) error {
	if odd := len(b) % p.to.Align; odd != 0 {
		end := len(b) + p.to.Align - odd
		clear(full[len(b):end])
		b = full[:end]
	}
	for len(b) > 0 {
		n, zero := stretch(b, p.zero)
		if zero {
			if err := p.to.Clear(off, int64(n)); err != nil {
				return err
			}
			p.zeroed.Add(int64(n))
		} else if _, err := p.to.WriteAt(b[:n], off); err != nil {
			return p.to.Failure("write the image to", off, err)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// stretch measures how far b goes on as it begins, in steps of a run: all zeros or not.
func stretch(b, zeros []byte) (n int, zero bool) {
	is := func(at int) bool { return len(b)-at >= len(zeros) && bytes.Equal(b[at:at+len(zeros)], zeros) }
	zero = is(0)
	for n < len(b) && is(n) == zero {
		n = min(n+len(zeros), len(b))
	}
	return n, zero
}

// readBack flushes and compares some of what was written with what was meant.
func (p *pipeline) readBack(ctx context.Context) (int64, error) {
	if err := p.to.Failure("flush", 0, p.to.Sync()); err != nil {
		return 0, err
	}
	buf := disk.Buffer(chunk)
	var read int64
	for _, off := range p.sample {
		if err := ctx.Err(); err != nil {
			return read, context.Cause(ctx)
		}
		if _, err := p.to.ReadAt(buf, off); err != nil {
			return read, p.to.Failure("read back", off, err)
		}
		if crc32.Checksum(buf, p.table) != p.crcs[off] {
			return read, fault.New(fault.ImageReadBack, "%s reads back differently from what was written, somewhere in the 4 MiB from byte %d on", p.to, off)
		}
		read += chunk
	}
	return read, nil
}

// complete writes what was held back, the end first and the start last, each flushed and read back. Only the last
// write makes the disk bootable.
func (p *pipeline) complete() error {
	for _, x := range p.tail {
		if err := p.put(x); err != nil {
			return err
		}
	}
	if err := p.to.Failure("flush", p.size, p.to.Sync()); err != nil {
		return err
	}
	for _, x := range p.tail {
		from := max(x.off, held) - x.off
		if from >= int64(len(x.b)) {
			continue
		}
		if err := p.same(x.b[from:], x.off+from); err != nil {
			return err
		}
	}
	if err := p.to.Write(p.head, 0); err != nil {
		return err
	}
	if err := p.to.Failure("flush", 0, p.to.Sync()); err != nil {
		return err
	}
	return p.same(p.head, 0)
}

func (p *pipeline) same(want []byte, off int64) error {
	got, err := p.to.Read(off, len(want))
	if err != nil {
		return p.to.Failure("read back", off, err)
	}
	if !bytes.Equal(got, want) {
		return fault.New(fault.ImageReadBack, "%s reads back differently from what was written in the %d bytes from %d on", p.to, len(want), off)
	}
	return nil
}
