// Package qcow2 reads what a qcow2 file says about a disk: which of its bytes go where. It trusts nothing: whatever the file says is
// checked against the file's own length and against bounds, no name in it is followed, and a feature that is not known here is
// refused. It writes nothing and fetches nothing. Start at ReadHeader and Header.Load.
//
// The format is that of docs/interop/qcow2.txt of QEMU.
package qcow2

import (
	"encoding/binary"
	"math/bits"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Bounds. A file beyond them may be sound; it has to be published in another form.
const (
	minCluster = 12      // bits: a sector of a disk is at most 4 KiB, and a cluster is written as a whole
	maxCluster = 21      // bits: as QEMU's own
	maxTables  = 1 << 16 // L2 tables: each is a request
	maxExtents = 1 << 20 // of 24 bytes, held while the image is written
	headerRead = 4 << 10
)

// Header is what the file says of itself.
type Header struct {
	Version int
	Size    int64 // of the disk, in bytes
	Cluster int64 // bytes
	Zstd    bool  // what packed clusters are packed by; otherwise deflate

	file  int64
	bits  int
	l1    int64 // where the first table is
	count int64 // of its entries, as many as the disk's size needs
	skip  extent
	first []byte // the bytes that all this was read from
}

// Reader reads n bytes of the file from off on. Nothing outside the file is asked for.
type Reader func(off int64, n int) ([]byte, error)

// Incompatible features, by their bits.
const (
	dirty = 1 << iota
	corrupt
	externalData
	compression
	extendedL2
)

// Header extensions that change what the file's bytes mean.
const (
	externalName = 0x44415441
	encryption   = 0x0537be77
)

func be32(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }

func unsupported(format string, args ...any) error {
	return fault.New(fault.ImageFormat, "the qcow2 file "+format, args...).
		WithHint("qemu-img convert -O qcow2 FILE makes a plain one that needs no other file")
}

func broken(format string, args ...any) error {
	return fault.New(fault.ImageCorrupt, "the qcow2 file "+format, args...).WithHint("look at it with qemu-img check, and publish it again")
}

// ReadHeader reads and judges the header of a file of that many bytes. Faults: image.format, image.corrupt, and what read returns.
func ReadHeader(read Reader, file int64) (Header, error) {
	if file < 72 {
		return Header{}, broken("ends in its header, after %d bytes", file)
	}
	b, err := read(0, int(min(file, headerRead)))
	if err != nil {
		return Header{}, err
	}
	if string(b[:4]) != "QFI\xfb" {
		return Header{}, broken("does not begin as one")
	}
	h := Header{Version: int(be32(b[4:])), bits: int(be32(b[20:])), file: file, first: b}
	if h.Version != 2 && h.Version != 3 {
		return h, unsupported("has version %d, expected 2 or 3", h.Version)
	}
	if binary.BigEndian.Uint64(b[8:]) != 0 || be32(b[16:]) != 0 {
		return h, unsupported("rests on another file, a backing file")
	}
	if method := be32(b[32:]); method != 0 {
		return h, unsupported("is encrypted, by method %d", method)
	}
	if h.bits < minCluster || h.bits > maxCluster {
		return h, unsupported("has clusters of 2^%d bytes, expected 2^%d to 2^%d", h.bits, minCluster, maxCluster)
	}
	h.Cluster = 1 << h.bits
	size := binary.BigEndian.Uint64(b[24:])
	if size == 0 || size > 1<<56 || size%512 != 0 {
		return h, broken("says that its disk has %d bytes, expected whole sectors", size)
	}
	h.Size = int64(size)
	if err := h.features(b); err != nil {
		return h, err
	}
	return h, h.places(b)
}

// features judges what only version 3 has, and the header's extensions.
func (h *Header) features(b []byte) error {
	length := int64(72)
	if h.Version == 3 {
		if len(b) < 104 {
			return broken("ends in its header, after %d bytes", len(b))
		}
		f := binary.BigEndian.Uint64(b[72:])
		for _, c := range []struct {
			bit  uint64
			what string
		}{
			{dirty, "was not closed: its reference counts may be wrong"}, {corrupt, "is marked as corrupt"},
			{externalData, "keeps its data in another file"}, {extendedL2, "has extended L2 entries"},
		} {
			if f&c.bit != 0 {
				return unsupported("%s", c.what)
			}
		}
		if f &^= compression; f != 0 {
			return unsupported("has an incompatible feature that is not known here, bit %d", bits.TrailingZeros64(f))
		}
		if length = be32(b[100:]); length < 104 || length%8 != 0 || length > int64(len(b)) {
			return broken("has a header of %d bytes", length)
		}
		named := binary.BigEndian.Uint64(b[72:])&compression != 0
		kind := byte(0)
		if length > 104 {
			kind = b[104]
		}
		switch {
		case named != (kind != 0):
			return broken("has compression type %d, and its feature bits say otherwise", kind)
		case kind > 1:
			return unsupported("has compression type %d, expected deflate or zstd", kind)
		}
		h.Zstd = kind == 1
	}
	return extensions(b[length:min(int64(len(b)), h.Cluster)])
}

// extensions looks through the header's extensions for one that may not be passed over. They are optional in a file of version 2.
func extensions(b []byte) error {
	for len(b) >= 8 {
		kind, length := be32(b), be32(b[4:])
		switch kind {
		case 0:
			return nil
		case externalName:
			return unsupported("keeps its data in another file")
		case encryption:
			return unsupported("is encrypted")
		}
		next := 8 + (length+7)&^7
		if next > int64(len(b)) {
			return broken("has a header extension %#x of %d bytes, more than the header has room for", kind, length)
		}
		b = b[next:]
	}
	return nil
}

// places checks where the header says that tables are.
func (h *Header) places(b []byte) error {
	var err error
	covers := h.Cluster / 8 * h.Cluster // by an entry of the first table
	h.count = (h.Size + covers - 1) / covers
	if h.count > maxTables {
		return unsupported("needs %d tables for its disk of %d bytes, at most %d are read: larger clusters need fewer", h.count, h.Size, maxTables)
	}
	if said := be32(b[36:]); said < h.count {
		return broken("has %d entries in its first table, its size needs %d", said, h.count)
	}
	if h.l1, err = h.place(binary.BigEndian.Uint64(b[40:]), h.count*8, "first table"); err != nil {
		return err
	}
	counts := be32(b[56:]) * h.Cluster
	at, err := h.place(binary.BigEndian.Uint64(b[48:]), counts, "table of reference counts")
	if err != nil {
		return err
	}
	if counts > 1<<31 {
		return broken("has a table of reference counts of %d bytes", counts)
	}
	h.skip = extent{host: at, n: uint32(counts), kind: unread}
	return nil
}

// place checks that n bytes at off are clusters of the file behind its header.
func (h *Header) place(off uint64, n int64, what string) (int64, error) {
	if off > uint64(h.file) || int64(off)%h.Cluster != 0 || int64(off) < h.Cluster || int64(off) > h.file-n {
		return 0, broken("has its %s at byte %d, %d bytes long, which is no place for it in a file of %d bytes", what, off, n, h.file)
	}
	return int64(off), nil
}
