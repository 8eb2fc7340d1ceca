package qcow2

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"slices"
)

// Kind says what an extent of the file is.
type Kind uint8

// Kinds of extents.
const (
	Data   Kind = iota // bytes of the disk
	Packed             // one cluster of the disk, compressed
	Table              // bytes that the map was made of
	unread             // a table that is not used: nothing else may lie there
)

// extent is how an Extent is kept: of Table, guest is its number among the sums.
type extent struct {
	host, guest int64
	n           uint32
	kind        Kind
}

const maxRun = 1 << 30 // bytes of one extent

// Extent is a range of the file, and what it is for. A packed one may reach up to 511 bytes into the next packed one, since its
// length is told in sectors; no others overlap.
type Extent struct {
	Kind   Kind
	Host   int64  // where it is in the file
	Length int64  // bytes of the file
	Guest  int64  // where it goes on the disk: Data and Packed
	Sum    []byte // SHA-256 of what was read there: Table
}

// Range is a range of the disk.
type Range struct{ Off, Length int64 }

// Map is all of a file.
type Map struct {
	Header
	Zeros []Range // of the disk, in order: what the file has nothing for; with the clusters it covers the disk exactly

	extents []extent
	sums    [][sha256.Size]byte
}

// Extents gives those of the file in its order.
func (m *Map) Extents() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for _, e := range m.extents {
			out := Extent{Kind: e.kind, Host: e.host, Length: int64(e.n), Guest: e.guest}
			switch e.kind {
			case Table:
				out.Guest, out.Sum = 0, m.sums[e.guest][:]
			case unread:
				continue
			}
			if !yield(out) {
				return
			}
		}
	}
}

// Load reads the tables. Faults: image.format, image.corrupt, and what read returns.
func (h Header) Load(ctx context.Context, read Reader) (*Map, error) {
	m := &Map{Header: h}
	m.table(0, h.first)
	if h.skip.n > 0 {
		m.extents = append(m.extents, h.skip)
	}
	l1, err := read(h.l1, int(h.count*8))
	if err != nil {
		return nil, err
	}
	m.table(h.l1, l1)
	covers := h.Cluster / 8 * h.Cluster
	at := int64(0) // of the disk: what is before is known
	for i := range h.count {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		entry := binary.BigEndian.Uint64(l1[i*8:])
		if entry&^(copied|offset) != 0 {
			return nil, broken("has %#x in its first table, whose reserved bits are not zero", entry)
		}
		if entry&offset == 0 {
			continue
		}
		place, err := h.place(entry&offset, h.Cluster, "table of clusters")
		if err != nil {
			return nil, err
		}
		l2, err := read(place, int(h.Cluster))
		if err != nil {
			return nil, err
		}
		m.table(place, l2)
		if at, err = m.clusters(l2, i*covers, at); err != nil {
			return nil, err
		}
	}
	m.gap(at, h.Size)
	return m, m.sort()
}

// Parts of an entry of a table.
const (
	copied  = 1 << 63
	packed  = 1 << 62
	offset  = 1<<56 - 1<<9
	allZero = 1
)

// clusters reads a table that begins at guest. It returns up to where the disk is known then.
func (m *Map) clusters(l2 []byte, guest, at int64) (int64, error) {
	shift := 62 - (m.bits - 8)
	for ; len(l2) > 0; l2, guest = l2[8:], guest+m.Cluster {
		entry := binary.BigEndian.Uint64(l2)
		if entry == 0 {
			continue
		}
		e := extent{guest: guest, n: uint32(m.Cluster)}
		switch {
		case entry&packed != 0:
			if entry&copied != 0 {
				return at, broken("has a packed cluster with %#x in its table", entry)
			}
			e.kind, e.host = Packed, int64(entry&(1<<shift-1))
			sectors := int64(entry &^ packed >> shift)
			n := (sectors+1)*512 - e.host%512
			if e.host < m.Cluster || e.host >= m.file || n > m.Cluster+512 {
				return at, broken("has a packed cluster of %d bytes at byte %d, in a file of %d bytes with clusters of %d", n, e.host, m.file, m.Cluster)
			}
			e.n = uint32(min(n, m.file-e.host)) // its last sector need not be whole
		case entry&^(copied|offset|allZero) != 0, entry&allZero != 0 && m.Version == 2:
			return at, broken("has %#x in a table of clusters, whose reserved bits are not zero", entry)
		case entry&allZero != 0, entry&offset == 0:
			continue
		default:
			host, err := m.data(entry & offset)
			if err != nil {
				return at, err
			}
			e.host, e.n = host, uint32(min(m.Cluster, m.file-host))
			if int64(e.n) < min(m.Cluster, max(0, m.Size-guest)) {
				return at, broken("ends in the cluster at byte %d", host)
			}
		}
		if guest >= m.Size {
			return at, broken("has a cluster at byte %d of a disk of %d bytes", guest, m.Size)
		}
		m.gap(at, guest)
		at = min(guest+m.Cluster, m.Size)
		if e.kind == Data {
			e.n = uint32(at - guest)
		}
		if err := m.add(e); err != nil {
			return at, err
		}
	}
	return at, nil
}

// data checks the place of a cluster. The last one of a file may be cut where the disk ends.
func (m *Map) data(off uint64) (int64, error) {
	if off >= uint64(m.file) {
		return 0, broken("has a cluster at byte %d, and %d bytes in all", off, m.file)
	}
	return m.place(off, 1, "cluster")
}

// add keeps an extent, joined with the one before where both file and disk go on.
func (m *Map) add(e extent) error {
	if n := len(m.extents); n > 0 {
		last := &m.extents[n-1]
		if last.kind == Data && e.kind == Data && last.host+int64(last.n) == e.host && last.guest+int64(last.n) == e.guest && int64(last.n)+int64(e.n) <= maxRun {
			last.n += e.n
			return nil
		}
	}
	if len(m.extents) >= maxExtents {
		return unsupported("is in more than %d pieces: publish it as raw compressed with zstd, or with larger clusters", maxExtents)
	}
	m.extents = append(m.extents, e)
	return nil
}

// table notes what the map was made of.
func (m *Map) table(host int64, b []byte) {
	m.extents = append(m.extents, extent{host: host, guest: int64(len(m.sums)), n: uint32(len(b)), kind: Table})
	m.sums = append(m.sums, sha256.Sum256(b))
}

func (m *Map) gap(from, to int64) {
	if from < to {
		m.Zeros = append(m.Zeros, Range{from, to - from})
	}
}

// sort brings the extents into the file's order, and refuses a byte of the file that would be used twice.
func (m *Map) sort() error {
	slices.SortFunc(m.extents, func(a, b extent) int { return cmp.Compare(a.host, b.host) })
	for i := 1; i < len(m.extents); i++ {
		a, b := m.extents[i-1], m.extents[i]
		end := a.host + int64(a.n)
		if b.host >= end || a.kind == Packed && b.kind == Packed && b.host > a.host && end-b.host < 512 {
			continue
		}
		return broken("uses its byte %d twice", b.host)
	}
	return nil
}
