package erase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Proof is what reading a disk back after an erase showed.
type Proof struct {
	Mode    string `json:"mode"`    // "sample" or "full"
	Bytes   int64  `json:"bytes"`   // read back
	Windows int    `json:"windows"` // places read
	Seed    string `json:"seed"`    // hex; chooses the places of a sample; where an earlier attempt was gone on from is read too
	Digest  string `json:"digest"`  // SHA-256 over place, length and SHA-256 of each piece read
	Expect  string `json:"expect"`  // "zeros", or "changed": after a cryptographic erase nothing is as it was
}

const (
	sections  = 1000     // of a sample, each read at two places
	portion   = 20       // a place is one in so many bytes of its section: 5 %
	smallDisk = 64 << 20 // read in full: a sample would be all of it anyway
	headBytes = 4096     // of each piece, compared before and after a cryptographic erase
)

// place is a range that is read back.
type place struct{ off, n int64 }

// places chooses what is read of a disk: two places of 5 % in each of a thousand sections, anew for each seed, that do
// not overlap, and the first and last block. full chooses everything.
func places(size int64, align int, seed [32]byte, full bool) []place {
	if full || size < smallDisk {
		return []place{{0, size}}
	}
	r := rand.New(rand.NewChaCha8(seed))
	unit := max(int64(align), headBytes)
	out := []place{{0, unit}}
	for i := range int64(sections) {
		from, to := size/unit*i/sections, size/unit*(i+1)/sections // in units
		n := (to - from + portion - 1) / portion
		mid := from + (to-from)/2
		out = append(out, pick(r, from, mid, n, unit), pick(r, mid, to, n, unit))
	}
	return append(out, place{size - unit, unit})
}

// pieces cuts places into what is read at once.
func pieces(where []place) []place {
	var out []place
	for _, w := range where {
		for off := int64(0); off < w.n; off += chunk {
			out = append(out, place{w.off + off, min(chunk, w.n-off)})
		}
	}
	return out
}

// pick chooses n units in [from, to).
func pick(r *rand.Rand, from, to, n, unit int64) place {
	n = min(n, to-from)
	return place{(from + r.Int64N(to-from-n+1)) * unit, n * unit}
}

// heads reads the beginning of every piece, to tell after a cryptographic erase that it changed.
func heads(ctx context.Context, d *disk.Disk, where []place) ([][32]byte, error) {
	out := make([][32]byte, len(where))
	err := visit(ctx, d, where, headBytes, func(i int, b []byte) error {
		out[i] = sha256.Sum256(b)
		return nil
	})
	return out, err
}

// check reads the pieces back. With before nil all must read as zeros; else a piece that does not may hold anything
// but what it held before. done is told of the bytes read.
func check(ctx context.Context, d *disk.Disk, where []place, before [][32]byte, done func(int64)) (Proof, error) {
	p := Proof{Expect: "zeros"}
	if before != nil {
		p.Expect = "changed"
	}
	zero := make([]byte, chunk)
	sums := make([][32]byte, len(where))
	var mu sync.Mutex
	err := visit(ctx, d, where, 0, func(i int, b []byte) error {
		if !bytes.Equal(b, zero[:len(b)]) {
			head := b[:min(headBytes, len(b))]
			if before == nil || sha256.Sum256(head) == before[i] {
				at := where[i].off + int64(slices.IndexFunc(b, func(c byte) bool { return c != 0 }))
				return fault.New(fault.DiskNotErased, "%s (%s) still holds data at byte %d after erasing", d.Info.Name, d, at)
			}
		}
		sums[i] = sha256.Sum256(b)
		mu.Lock()
		p.Bytes += int64(len(b))
		mu.Unlock()
		done(int64(len(b)))
		return nil
	})
	if err != nil {
		return p, err
	}
	h := sha256.New()
	for i, s := range sums {
		var at [16]byte
		binary.LittleEndian.PutUint64(at[:], uint64(where[i].off))
		binary.LittleEndian.PutUint64(at[8:], uint64(where[i].n))
		h.Write(at[:])
		h.Write(s[:])
	}
	p.Digest = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// visit reads pieces, several at once; limit cuts each to so many bytes, 0 reads all of it.
func visit(ctx context.Context, d *disk.Disk, where []place, limit int64, fn func(i int, b []byte) error) error {
	var longest int64
	for _, w := range where {
		longest = max(longest, w.n)
	}
	if limit > 0 {
		longest = min(longest, limit)
	}
	pool := sync.Pool{New: func() any { b := disk.Buffer(int(longest)); return &b }}
	_, err := each(ctx, 0, int64(len(where)), 1, func(i int64, _ int) error {
		w := where[i]
		if limit > 0 {
			w.n = min(w.n, limit)
		}
		buf := pool.Get().(*[]byte)
		defer pool.Put(buf)
		b := (*buf)[:w.n]
		n, err := d.ReadAt(b, w.off)
		if err == nil && n < len(b) {
			err = fmt.Errorf("read %d of %d bytes", n, len(b))
		}
		if err != nil {
			return d.Failure("read back", w.off, err)
		}
		return fn(int(i), b)
	})
	return err
}
