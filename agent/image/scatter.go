package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/image/qcow2"
	"github.com/bessemer-metal/bessemer/agent/meter"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	clusters  = 2 << 20  // bytes of a piece of a qcow2 file, unpacked: a cluster is no larger
	clearStep = 64 << 20 // cleared between two looks at the context
)

// scattered is what a piece has beside its bytes when pieces come in a file's order and not in the disk's.
type scattered struct {
	cluster int           // bytes; 0: the piece is the next of the disk
	packed  []byte        // the clusters that are still to be unpacked, one behind the other
	parts   []part        // which of them is where
	ready   chan struct{} // closed when all are unpacked; nil when none was to be
}

// part is a packed cluster: where it belongs in the piece's bytes, and where it lies in packed.
type part struct{ at, from, to int }

// hash adds the bytes to a digest. Of a piece of a qcow2 file each cluster goes in behind its place on the disk, 8 bytes, the most
// significant first (docs/adr/0316-qcow2.md).
func (x *piece) hash(h hash.Hash) {
	if x.cluster == 0 {
		h.Write(x.b)
		return
	}
	if x.ready != nil {
		<-x.ready
	}
	for at := 0; at < len(x.b); at += x.cluster {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(x.off)+uint64(at)))
		h.Write(x.b[at:min(len(x.b), at+x.cluster)])
	}
}

// unpacked lets the hashers go on.
func (x *piece) unpacked() {
	if x.ready != nil {
		close(x.ready)
	}
}

// qcow2 makes a pass over a qcow2 file: first its tables, by requests of their own, then everything that they leave empty is cleared,
// and then the file as a stream, whose clusters go where they belong.
func (w *Writer) qcow2(ctx context.Context, stop context.CancelCauseFunc, s Spec, first *stream, to *disk.Disk, track *meter.Track, out *Written) error {
	if first.size < 0 {
		return fault.New(fault.ImageFormat, "the server of %s does not tell its length, and a qcow2 file is read in parts", out.Source).
			WithHint("serve it by a server that tells it, or as raw compressed with zstd")
	}
	first.shut()
	h, err := qcow2.ReadHeader(first.part, first.size)
	if err != nil {
		return err
	}
	if h.Size > to.Bytes {
		return tooSmall(h.Size, to)
	}
	m, err := h.Load(ctx, first.part)
	if err != nil {
		return err
	}
	total := first.size
	for _, r := range m.Zeros {
		total += r.Length
	}
	track.Total(total)
	if err := unbootable(to, track, out); err != nil {
		return err
	}
	p := newScatter(to, m)
	if err := p.clearGaps(ctx, m, track); err != nil {
		return err
	}
	track.Stage("write")
	src, err := first.again()
	if err != nil {
		return err
	}
	defer src.Close()
	defer func() { out.Resumed += src.Resumed }()
	sum, err := newHash(s.Algorithm)
	if err != nil {
		return err
	}
	file := newServed(&counted{src, track}, sum)
	err = p.run(ctx, stop, io.NopCloser(file), clusters, func(ctx context.Context, r io.Reader, l lanes) error {
		return p.scatter(ctx, r, l, m, out.Source)
	})
	file.close()
	out.Served = src.off
	if err != nil {
		return w.explain(err, src, out)
	}
	p.sums[0].Write(binary.BigEndian.AppendUint64(nil, uint64(m.Size)))
	return w.conclude(ctx, s, p, sum.Sum(nil), to, track, out)
}

// newScatter makes the pipeline for a qcow2 file. What is held back of the disk's two ends is all zeros until clusters fill it.
func newScatter(to *disk.Disk, m *qcow2.Map) *pipeline {
	p := newPipeline(to)
	p.size, p.unpacker = m.Size, m.Unpacker
	p.head = make([]byte, min(held, m.Size))
	p.limit = max(held, (m.Size-held)&^4095)
	if n := m.Size - p.limit; n > 0 {
		full := disk.Buffer(int(n+4095) &^ 4095)
		p.tail = []*piece{{off: p.limit, b: full[:n], full: full}}
	}
	return p
}

// clearGaps clears what the file has nothing for, but the disk's two ends, which are cleared already.
func (p *pipeline) clearGaps(ctx context.Context, m *qcow2.Map, track *meter.Track) error {
	seen := 0
	for _, r := range m.Zeros {
		from, until := max(r.Off, held), min(r.Off+r.Length, p.limit)
		track.Add(r.Length - max(0, until-from))
		for ; from < until; from += clearStep {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n := min(clearStep, until-from)
			if err := p.to.Clear(from, n); err != nil {
				return err
			}
			p.zeroed.Add(n)
			track.Add(n)
			piece := qcow2.Range{Off: from, Length: n}
			if spare := n - chunk; spare > 0 {
				piece.Off += rand.Int64N(spare) &^ 4095
				piece.Length = chunk
			}
			if seen++; len(p.blank) < sampled {
				p.blank = append(p.blank, piece)
			} else if i := rand.IntN(seen); i < sampled {
				p.blank[i] = piece
			}
		}
	}
	return nil
}

// scatter reads the file from its start to its end, so that all of it is hashed, and hands its clusters on. What the map was made of
// must be there again.
func (p *pipeline) scatter(ctx context.Context, src io.Reader, l lanes, m *qcow2.Map, source string) error {
	f := &follower{src: src, last: make([]byte, 0, 512)}
	var x *piece
	send := func() {
		if x == nil {
			return
		}
		if x.off >= held && x.off+int64(len(x.b)) <= p.limit {
			p.choose(x)
		}
		if len(x.parts) > 0 {
			x.ready = make(chan struct{})
		}
		l.hash(x)
		l.toWrite <- x
		x = nil
	}
	// next gives the place for n bytes of the disk at guest, in the piece under way if they follow on what is there.
	next := func(guest int64, n int) (_ []byte, at int, err error) {
		if x != nil && (x.off+int64(len(x.b)) != guest || len(x.b)+n > len(x.full)) {
			send()
		}
		if x == nil {
			if x, err = l.take(ctx); err != nil {
				x = nil
				return nil, 0, err
			}
			x.off, x.b, x.sample = guest, x.full[:0], false
			x.scattered = scattered{cluster: int(m.Cluster), packed: x.packed[:0], parts: x.parts[:0]}
		}
		at = len(x.b)
		x.b = x.full[:at+n]
		return x.b[at:], at, nil
	}
	for e := range m.Extents() {
		if err := f.to(e.Host); err != nil {
			return err
		}
		switch e.Kind {
		case qcow2.Table:
			sum := sha256.New()
			if err := f.copy(sum, e.Length); err != nil {
				return err
			}
			if !bytes.Equal(sum.Sum(nil), e.Sum) {
				return fault.New(fault.ImageDigest, "%s changed while it was read, in the %d bytes from %d on", source, e.Length, e.Host).
					WithHint("its server gives different bytes for one URL: publish an image under a name of its own")
			}
		case qcow2.Data:
			for done := int64(0); done < e.Length; {
				n := min(e.Length-done, m.Cluster)
				b, _, err := next(e.Guest+done, int(n))
				if err == nil {
					err = f.read(b)
				}
				if err != nil {
					return err
				}
				done += n
			}
		case qcow2.Packed:
			n := int(min(m.Cluster, m.Size-e.Guest))
			_, at, err := next(e.Guest, n)
			if err != nil {
				return err
			}
			from := len(x.packed)
			if x.packed, err = f.packed(x.packed, e); err != nil {
				return err
			}
			x.parts = append(x.parts, part{at, from, len(x.packed)})
		}
	}
	send()
	_, err := io.Copy(io.Discard, f.src) // what no table names is a part of the file that is hashed
	return err
}

// putScattered gives a function for one writer that unpacks pieces and writes them, keeping what belongs to the disk's two ends; end
// lets its memory go.
func (p *pipeline) putScattered() (write func(*piece) error, end func()) {
	var u *qcow2.Unpacker
	spare := []byte(nil) // for the one cluster that the disk's end cuts
	write = func(x *piece) (err error) {
		if u == nil && len(x.parts) > 0 {
			if u, err = p.unpacker(); err != nil {
				return err
			}
		}
		for _, part := range x.parts {
			into := x.b[part.at:min(len(x.b), part.at+x.cluster)]
			if len(into) < x.cluster {
				if spare == nil {
					spare = make([]byte, x.cluster)
				}
				if err := u.Unpack(spare, x.packed[part.from:part.to]); err != nil {
					return err
				}
				copy(into, spare)
			} else if err := u.Unpack(into, x.packed[part.from:part.to]); err != nil {
				return err
			}
		}
		return p.place(x)
	}
	return write, func() {
		if u != nil {
			u.Close()
		}
	}
}

// place keeps what of a piece belongs to the disk's two ends, and writes the rest.
func (p *pipeline) place(x *piece) error {
	end := x.off + int64(len(x.b))
	if x.off < held {
		copy(p.head[x.off:], x.b)
	}
	if end > p.limit && len(p.tail) > 0 {
		tail := p.tail[0]
		from := max(x.off, p.limit)
		copy(tail.b[from-tail.off:], x.b[from-x.off:])
	}
	from, until := max(x.off, held), min(end, p.limit)
	if from >= until {
		return nil
	}
	b := x.b[from-x.off : until-x.off]
	if x.sample {
		p.mu.Lock()
		p.crcs[x.off] = sample{crc32.Checksum(b, p.table), len(b)}
		p.mu.Unlock()
	}
	return p.sparse(b, x.full[from-x.off:], from)
}

// follower reads a file on and on. It keeps the last sector's bytes, which two packed clusters may share.
type follower struct {
	src  io.Reader
	pos  int64
	last []byte
}

func (f *follower) read(b []byte) error {
	n, err := fill(f.src, b)
	f.pos += int64(n)
	if n < len(b) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// copy passes the next n bytes on.
func (f *follower) copy(to io.Writer, n int64) error {
	got, err := io.CopyN(to, f.src, n)
	f.pos += got
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// to goes on to a place of the file that is not behind.
func (f *follower) to(off int64) error {
	if off <= f.pos {
		return nil // the map is sorted: these are packed clusters that share a sector
	}
	return f.copy(io.Discard, off-f.pos)
}

// packed appends the bytes of a packed cluster, the first of which may have been read with the one before.
func (f *follower) packed(b []byte, e qcow2.Extent) ([]byte, error) {
	again := int(f.pos - e.Host)
	if again > len(f.last) {
		return b, fmt.Errorf("a packed cluster at byte %d, expected from %d on", e.Host, f.pos)
	}
	b = append(b, f.last[len(f.last)-again:]...)
	at := len(b)
	b = append(b, make([]byte, max(0, e.Length-int64(again)))...)
	if err := f.read(b[at:]); err != nil {
		return b, err
	}
	f.last = append(f.last[:0], b[max(len(b)-512, len(b)-int(e.Length)):]...)
	return b, nil
}
