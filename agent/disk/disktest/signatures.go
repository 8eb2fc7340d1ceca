package disktest

import "encoding/binary"

// MBRPart is an entry of an MBR.
type MBRPart struct {
	Kind         byte
	Start, Count uint32 // sectors
}

// MBR makes a first sector with a partition table.
func MBR(parts ...MBRPart) []byte {
	b := make([]byte, 512)
	for i, p := range parts {
		e := b[446+16*i:]
		e[4] = p.Kind
		binary.LittleEndian.PutUint32(e[8:], p.Start)
		binary.LittleEndian.PutUint32(e[12:], p.Count)
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

// MD12 makes a superblock of a RAID array, format 1.2.
func MD12(uuid string) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint32(b, 0xa92b4efc)
	b[4] = 1
	copy(b[16:32], uuid)
	return b
}

// MD09 makes a superblock of a RAID array, format 0.90.
func MD09() []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint32(b, 0xa92b4efc)
	copy(b[20:], "uuid")
	copy(b[52:], "of the array")
	return b
}

// LVM makes a physical volume: label in sector 1, metadata area at 4096.
func LVM(id, extra string) []byte {
	b := make([]byte, 16384)
	le := binary.LittleEndian
	l := b[512:]
	copy(l, "LABELONE")
	le.PutUint32(l[20:], 32)
	copy(l[24:], "LVM2 001")
	areas := l[32+40:]
	le.PutUint64(areas, 1<<20) // data
	le.PutUint64(areas[32:], 4096)
	le.PutUint64(areas[40:], 12288)
	m := b[4096:]
	copy(m[4:], " LVM2 x[5A%r0N*>")
	text := "vg0 {\nid = \"" + id + "\"\nseqno = 1\n" + extra + "\n}\n"
	le.PutUint64(m[40:], 512)
	le.PutUint64(m[48:], uint64(len(text)))
	copy(m[512:], text)
	return b
}

// Btrfs makes a superblock of a btrfs over so many devices.
func Btrfs(devices uint64) []byte {
	b := make([]byte, 4096)
	copy(b[0x20:], "file system id 1")
	copy(b[0x40:], "_BHRfS_M")
	binary.LittleEndian.PutUint64(b[0x88:], devices)
	return b
}
