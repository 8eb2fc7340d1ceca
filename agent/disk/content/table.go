// Package content reads what stands on a disk that nobody vouches for: partition tables, directories of FAT file systems,
// and the signatures of storage that must not be written without asking. It only reads, through a function that it is
// given, and every length and chain is bounded (safety.md Z6). Start at ReadTable and Probe.
package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf16"
)

// Table is a partition table as it stands on a disk. Reading it trusts nothing: every length is checked, and no input
// makes it crash or ask for much memory (safety.md Z6).
type Table struct {
	Kind       string // "gpt", "mbr"
	Backup     bool   // GPT: the primary copy is damaged, this is the one at the disk's end
	LastUsable int64  // GPT: first byte after the area for partitions
	Partitions []Part
}

// Part is one entry of a table.
type Part struct {
	Index  int      // 1-based, as in the table
	Start  int64    // bytes
	Size   int64    // bytes
	GUID   [16]byte // GPT type, in the byte order of the disk
	Type   byte     // MBR type
	Unique [16]byte // GPT id of this partition
	Name   string   // GPT name
}

// ErrNoTable says that a disk has no partition table.
var ErrNoTable = errors.New("no partition table")

// Types of partitions of a GPT.
var (
	LinuxData = GUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
	SystemEFI = GUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
)

const (
	maxEntries   = 1024
	maxEntrySize = 512
	maxLogical   = 128 // partitions of an MBR's extended partition
)

// GPTMagic begins both headers of a GPT.
var GPTMagic = []byte("EFI PART")

// Reader reads n bytes at an offset, aligned or not, of a device or partition of a known size.
type Reader func(off int64, n int) ([]byte, error)

// ReadTable reads the partition table of a device. A GPT whose primary copy is damaged is read from its backup.
func ReadTable(read Reader, size int64, sector int) (Table, error) {
	if size < int64(sector)*4 {
		return Table{}, ErrNoTable
	}
	t, err := readGPT(read, size, sector, int64(sector))
	if err == nil {
		return t, nil
	}
	var damaged *DamagedError
	if !errors.As(err, &damaged) && !errors.Is(err, ErrNoTable) {
		return Table{}, err
	}
	b, err := readGPT(read, size, sector, size/int64(sector)*int64(sector)-int64(sector))
	if err == nil {
		b.Backup = true
		return b, nil
	}
	if other := (*DamagedError)(nil); !errors.As(err, &other) && !errors.Is(err, ErrNoTable) {
		return Table{}, err // a place that can't be read may hold a table (safety.md I2)
	}
	if damaged != nil {
		return Table{}, damaged
	}
	return readMBR(read, size, sector)
}

// DamagedError is a table that is there but can't be used.
type DamagedError struct{ why string }

func (e *DamagedError) Error() string { return "damaged partition table: " + e.why }

func damagedf(format string, args ...any) error { return &DamagedError{fmt.Sprintf(format, args...)} }

func readGPT(read Reader, size int64, sector int, at int64) (Table, error) {
	h, err := read(at, sector)
	if err != nil {
		return Table{}, err
	}
	if !bytes.Equal(h[:8], GPTMagic) {
		return Table{}, ErrNoTable
	}
	le := binary.LittleEndian
	n := le.Uint32(h[12:])
	if n < 92 || int(n) > sector {
		return Table{}, damagedf("GPT header of %d bytes", n)
	}
	sum := le.Uint32(h[16:])
	c := bytes.Clone(h[:n])
	clear(c[16:20])
	if crc32.ChecksumIEEE(c) != sum {
		return Table{}, damagedf("GPT header checksum")
	}
	lbas := uint64(size) / uint64(sector)
	if le.Uint64(h[24:])*uint64(sector) != uint64(at) {
		return Table{}, damagedf("GPT header names block %d as its place", le.Uint64(h[24:]))
	}
	last := le.Uint64(h[48:])
	entries, count, width := le.Uint64(h[72:]), le.Uint32(h[80:]), le.Uint32(h[84:])
	if count == 0 || count > maxEntries || width < 128 || width > maxEntrySize || width%8 != 0 {
		return Table{}, damagedf("GPT with %d entries of %d bytes", count, width)
	}
	length := int(count * width)
	if last >= lbas || entries >= lbas || int64(entries)*int64(sector)+int64(length) > size {
		return Table{}, damagedf("GPT reaches beyond the disk's %d blocks", lbas)
	}
	b, err := read(int64(entries)*int64(sector), length)
	if err != nil {
		return Table{}, err
	}
	if crc32.ChecksumIEEE(b) != le.Uint32(h[88:]) {
		return Table{}, damagedf("GPT entries checksum")
	}
	t := Table{Kind: "gpt", LastUsable: int64(last+1) * int64(sector)}
	for i := range int(count) {
		e := b[i*int(width):][:width]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		first, end := le.Uint64(e[32:]), le.Uint64(e[40:])
		if first > end || end >= lbas {
			return Table{}, damagedf("GPT partition %d lies from block %d to %d of %d", i+1, first, end, lbas)
		}
		t.Partitions = append(t.Partitions, Part{
			Index: i + 1, Start: int64(first) * int64(sector), Size: int64(end-first+1) * int64(sector),
			GUID: [16]byte(e[:16]), Unique: [16]byte(e[16:32]), Name: utf16Text(e[56:128]),
		})
	}
	return t, nil
}

func utf16Text(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

func readMBR(read Reader, size int64, sector int) (Table, error) {
	b, err := read(0, sector)
	if err != nil {
		return Table{}, err
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return Table{}, ErrNoTable
	}
	t := Table{Kind: "mbr"}
	var extended int64 = -1
	for i := range 4 {
		e := b[446+16*i:][:16]
		if e[0]&0x7f != 0 { // not a boot flag: this is a file system's boot sector, not a table
			return Table{}, ErrNoTable
		}
		p, ok := entry(e, 0, size, sector)
		if !ok {
			continue
		}
		p.Index = i + 1
		t.Partitions = append(t.Partitions, p)
		if isExtended(p.Type) && extended < 0 {
			extended = p.Start
		}
	}
	if extended >= 0 {
		logical, err := readLogical(read, extended, size, sector)
		if err != nil {
			return Table{}, err
		}
		t.Partitions = append(t.Partitions, logical...)
	}
	if len(t.Partitions) == 0 {
		return Table{}, ErrNoTable
	}
	return t, nil
}

// readLogical follows the chain of an extended partition, each link of which lies after the one before.
func readLogical(read Reader, extended, size int64, sector int) ([]Part, error) {
	var out []Part
	for at, next := extended, int64(0); len(out) < maxLogical; at = next {
		b, err := read(at, sector)
		if err != nil {
			return nil, err
		}
		if b[510] != 0x55 || b[511] != 0xaa {
			return out, nil
		}
		if p, ok := entry(b[446:462], at, size, sector); ok {
			p.Index = 5 + len(out)
			out = append(out, p)
		}
		link, ok := entry(b[462:478], extended, size, sector)
		if !ok || !isExtended(link.Type) || link.Start <= at {
			return out, nil
		}
		next = link.Start
	}
	return nil, damagedf("more than %d logical partitions", maxLogical)
}

func isExtended(t byte) bool { return t == 0x05 || t == 0x0f || t == 0x85 }

func entry(e []byte, base, size int64, sector int) (Part, bool) {
	start, n := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
	p := Part{Start: base + start*int64(sector), Size: n * int64(sector), Type: e[4]}
	if p.Type == 0 || n == 0 || p.Start >= size {
		return Part{}, false
	}
	p.Size = min(p.Size, size-p.Start)
	return p, true
}

// GUID is a GUID's text in the byte order in which a GPT stores it: the first three fields little-endian.
func GUID(text string) [16]byte {
	var b [16]byte
	hex := strings.ReplaceAll(text, "-", "")
	for i := range b {
		fmt.Sscanf(hex[2*i:2*i+2], "%02x", &b[i])
	}
	return mixed(b)
}

// mixed turns a GUID between the order of its text and that of a GPT.
func mixed(b [16]byte) [16]byte {
	b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	b[4], b[5] = b[5], b[4]
	b[6], b[7] = b[7], b[6]
	return b
}

// GUIDText writes a GUID of a GPT as people read it.
func GUIDText(b [16]byte) string {
	b = mixed(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
