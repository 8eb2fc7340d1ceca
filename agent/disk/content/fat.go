package content

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// fat lists directories of a FAT file system and nothing more. It is our own because the system partition comes out of
// an image that nobody vouches for: every length is checked and every chain is bounded (docs/adr/0020).
type fat struct {
	read           Reader // of the partition
	sector         int64
	cluster        int64 // bytes
	table          int64 // first byte of the allocation table
	width          int   // bits of its entries: 12, 16, 32
	clusters       int64
	data           int64 // first byte of cluster 2
	root, rootSize int64 // FAT12 and 16: the root directory's place and length
	rootCluster    uint32
}

// Bounds of one directory.
const (
	maxDirBytes = 4 << 20
	dirEntry    = 32
)

// dirent is a name in a directory.
type dirent struct {
	name    string
	dir     bool
	cluster uint32
}

var errNoFAT = errors.New("no FAT file system")

func openFAT(read Reader, size int64) (*fat, error) {
	b, err := read(0, 512)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if b[510] != 0x55 || b[511] != 0xaa {
		return nil, errNoFAT
	}
	f := &fat{read: read, sector: int64(le.Uint16(b[11:]))}
	perCluster, reserved, copies := int64(b[13]), int64(le.Uint16(b[14:])), int64(b[16])
	rootEntries, sectors, length := int64(le.Uint16(b[17:])), int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(b[32:]))
	}
	if f.width = 16; length == 0 {
		f.width, length, f.rootCluster = 32, int64(le.Uint32(b[36:])), le.Uint32(b[44:])
	}
	if f.sector < 512 || f.sector > 4096 || f.sector&(f.sector-1) != 0 || perCluster == 0 || perCluster&(perCluster-1) != 0 ||
		reserved == 0 || copies < 1 || copies > 2 || length == 0 {
		return nil, errNoFAT
	}
	f.cluster, f.table = perCluster*f.sector, reserved*f.sector
	f.root = f.table + copies*length*f.sector
	f.rootSize = rootEntries * dirEntry
	f.data = f.root + (f.rootSize+f.sector-1)/f.sector*f.sector
	if f.data >= size || sectors*f.sector > size {
		return nil, fmt.Errorf("FAT file system of %d bytes in a partition of %d", sectors*f.sector, size)
	}
	f.clusters = (sectors*f.sector - f.data) / f.cluster
	if f.width == 16 && f.clusters < 4085 {
		f.width = 12
	}
	if f.clusters < 1 || (f.clusters+2)*int64(f.width)/8 > length*f.sector {
		return nil, fmt.Errorf("FAT with a table too short for its %d clusters", f.clusters)
	}
	return f, nil
}

// next is the cluster after c in its chain; ok is false at the end or where the chain is broken.
func (f *fat) next(c uint32) (_ uint32, ok bool, err error) {
	var v uint32
	at := int64(c) * int64(f.width) / 8
	b, err := f.read(f.table+at, max(2, f.width/8))
	if err != nil {
		return 0, false, err
	}
	switch f.width {
	case 12:
		v = uint32(binary.LittleEndian.Uint16(b))
		if c%2 == 1 {
			v >>= 4
		}
		v &= 0xfff
	case 16:
		v = uint32(binary.LittleEndian.Uint16(b))
	default:
		v = binary.LittleEndian.Uint32(b) & 0x0fffffff
	}
	return v, v >= 2 && int64(v) < f.clusters+2, nil
}

// content reads a directory's bytes; cluster 0 is the root.
func (f *fat) content(c uint32) ([]byte, error) {
	if c == 0 {
		if f.width != 32 {
			return f.read(f.root, int(f.rootSize))
		}
		c = f.rootCluster
	}
	var out []byte
	for ok := c >= 2 && int64(c) < f.clusters+2; ok; {
		b, err := f.read(f.data+int64(c-2)*f.cluster, int(f.cluster))
		if err != nil {
			return nil, err
		}
		if out = append(out, b...); len(out) > maxDirBytes { // a chain that bites its tail ends here, too
			return nil, fmt.Errorf("FAT directory of more than %d bytes", maxDirBytes)
		}
		if c, ok, err = f.next(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// list reads one directory by its first cluster; 0 is the root.
func (f *fat) list(c uint32) ([]dirent, error) {
	b, err := f.content(c)
	if err != nil {
		return nil, err
	}
	var out []dirent
	var long []uint16
	for ; len(b) >= dirEntry && b[0] != 0; b = b[dirEntry:] {
		e := b[:dirEntry]
		const longName, volume, directory = 0x0f, 0x08, 0x10
		switch {
		case e[0] == 0xe5:
			long = nil
		case e[11] == longName:
			if e[0]&0x40 != 0 {
				long = nil
			}
			long = append(longPart(e), long...)
		case e[11]&volume != 0:
			long = nil
		default:
			name := shortName(e)
			if len(long) > 0 && len(long) <= 255 {
				name = string(utf16.Decode(long))
			}
			long = nil
			if name == "." || name == ".." {
				continue
			}
			hi, lo := binary.LittleEndian.Uint16(e[20:]), binary.LittleEndian.Uint16(e[26:])
			out = append(out, dirent{name, e[11]&directory != 0, uint32(hi)<<16 | uint32(lo)})
		}
	}
	return out, nil
}

// longPart is the up to 13 characters of one long-name entry.
func longPart(e []byte) []uint16 {
	var out []uint16
	for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := span[0]; i < span[1]; i += 2 {
			c := binary.LittleEndian.Uint16(e[i:])
			if c == 0 || c == 0xffff {
				return out
			}
			out = append(out, c)
		}
	}
	return out
}

func shortName(e []byte) string {
	name, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if ext != "" {
		name += "." + ext
	}
	return name
}
