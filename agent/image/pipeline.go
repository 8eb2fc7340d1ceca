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
	"github.com/bessemer-metal/bessemer/agent/image/qcow2"
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
	limit  int64    // what is from here on goes into tail; for pieces that come in any order
	zero   []byte
	// unpacker makes what unpacks pieces before they are written; nil: they come as they are.
	unpacker func() (*qcow2.Unpacker, error)
	blank    []qcow2.Range // cleared ranges to read back

	table  *crc32.Table
	seen   int     // chunks handed to the writers
	sample []int64 // offsets of the chunks to read back, each chunk as likely as any other
	mu     sync.Mutex
	crcs   map[int64]sample // of those, by offset
}

// sample is what a chunk must read back as.
type sample struct {
	crc    uint32
	length int
}

// lanes are how pieces go: from free, through the hashers and a writer, back into free.
type lanes struct {
	free, toWrite chan *piece
	toHash        []chan *piece
}

// hash gives a piece to the hashers, in order.
func (l lanes) hash(x *piece) {
	x.uses.Store(int32(len(l.toHash)) + 1)
	for _, c := range l.toHash {
		c <- x
	}
}

// take waits for a free piece.
func (l lanes) take(ctx context.Context) (*piece, error) {
	select {
	case x := <-l.free:
		return x, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// piece is a chunk on its way; it is free again when the hashers and a writer are through with it.
type piece struct {
	off    int64
	b      []byte
	full   []byte
	sample bool
	uses   atomic.Int32
	scattered
}

// newPipeline makes a pipeline that, besides SHA-256, makes further hashes of the bytes written.
func newPipeline(to *disk.Disk, more ...hash.Hash) *pipeline {
	return &pipeline{
		to: to, sums: append([]hash.Hash{sha256.New()}, more...), zero: make([]byte, run),
		table: crc32.MakeTable(crc32.Castagnoli), crcs: map[int64]sample{},
	}
}

// run lets feed read src, in chunks of size bytes, and closes src. When a write fails it calls stop, which must end ctx and any
// read of src under way. It returns when no goroutine of it is left; what is on the disk then can't be booted.
func (p *pipeline) run(ctx context.Context, stop context.CancelCauseFunc, src io.ReadCloser, size int, feed func(context.Context, io.Reader, lanes) error) (err error) {
	l := lanes{make(chan *piece, buffers), make(chan *piece, buffers), make([]chan *piece, len(p.sums))}
	for range buffers {
		l.free <- &piece{full: disk.Buffer(size)}
	}
	release := func(x *piece) {
		if x.uses.Add(-1) == 0 {
			l.free <- x
		}
	}
	var wg sync.WaitGroup
	for i, h := range p.sums {
		l.toHash[i] = make(chan *piece, buffers)
		wg.Go(func() {
			for x := range l.toHash[i] {
				x.hash(h)
				release(x)
			}
		})
	}
	for range writers {
		wg.Go(func() {
			write := p.put
			if p.unpacker != nil {
				var end func()
				write, end = p.putScattered()
				defer end()
			}
			for x := range l.toWrite {
				if ctx.Err() == nil {
					if err := write(x); err != nil {
						stop(err)
					}
				}
				x.unpacked()
				release(x)
			}
		})
	}
	err = feed(ctx, src, l)
	for _, c := range l.toHash {
		close(c)
	}
	close(l.toWrite)
	wg.Wait()
	err = errors.Join(err, src.Close())
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// feed reads chunks and hands them on. Two are always held back: the last MiB may reach over both.
func (p *pipeline) feed(ctx context.Context, src io.Reader, l lanes) error {
	for {
		x, err := l.take(ctx)
		if err != nil {
			return err
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
			if x.off == 0 {
				p.head = bytes.Clone(x.b[:min(held, n)])
			}
			p.size += int64(n)
			p.tail = append(p.tail, x)
			l.hash(x)
			if len(p.tail) > 2 {
				p.choose(p.tail[0])
				l.toWrite <- p.tail[0]
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
		p.crcs[x.off] = sample{sum, len(x.b)}
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
	back := func(off int64, want sample) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := buf[:want.length]
		if _, err := p.to.ReadAt(b, off); err != nil {
			return p.to.Failure("read back", off, err)
		}
		if crc32.Checksum(b, p.table) != want.crc {
			return fault.New(fault.ImageReadBack, "%s reads back differently from what was written, somewhere in the %d bytes from byte %d on", p.to, want.length, off)
		}
		read += int64(want.length)
		return nil
	}
	for _, off := range p.sample {
		if err := back(off, p.crcs[off]); err != nil {
			return read, err
		}
	}
	for _, r := range p.blank {
		n := int(min(r.Length, chunk))
		clear(buf)
		if err := back(r.Off, sample{crc32.Checksum(buf[:n], p.table), n}); err != nil {
			return read, err
		}
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
