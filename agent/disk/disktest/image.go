package disktest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// Part is a partition of a GPT to make; Start and Size are in bytes, Kind is its type in the order of the disk.
type Part struct {
	Start, Size int64
	Kind        [16]byte
	Name        string
}

// Types of partitions.
var (
	Linux = [16]byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
	ESP   = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	GPFS  = [16]byte{0x90, 0xfc, 0xaf, 0x37, 0x7d, 0xef, 0x96, 0x4e, 0x91, 0xc3, 0x2d, 0x7a, 0xe0, 0x55, 0xb1, 0x74}
	VMFS  = [16]byte{0x2a, 0xe0, 0x31, 0xaa, 0x0f, 0x40, 0xdb, 0x11, 0x95, 0x90, 0x00, 0x0c, 0x29, 0x11, 0xd1, 0xb8}
)

// Swapped is a type in the order of its text.
func Swapped(b [16]byte) [16]byte {
	return [16]byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
}

func entries(sector int64, parts []Part) []byte {
	b := make([]byte, 128*128)
	for i, p := range parts {
		e := b[i*128:]
		copy(e, p.Kind[:])
		e[16], e[31] = byte(i+1), 0x77
		binary.LittleEndian.PutUint64(e[32:], uint64(p.Start/sector))
		binary.LittleEndian.PutUint64(e[40:], uint64((p.Start+p.Size)/sector-1))
		for j, c := range p.Name {
			binary.LittleEndian.PutUint16(e[56+2*j:], uint16(c))
		}
	}
	return b
}

func header(sector, size, mine, other, table int64, body []byte) []byte {
	h := make([]byte, sector)
	le := binary.LittleEndian
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], uint64(mine))
	le.PutUint64(h[32:], uint64(other))
	span := (int64(len(body)) + sector - 1) / sector
	le.PutUint64(h[40:], uint64(2+span))
	le.PutUint64(h[48:], uint64(size/sector-2-span))
	le.PutUint64(h[72:], uint64(table))
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(body))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return h
}

// GPT makes a protective MBR with boot code and a primary table.
func GPT(sector, size int64, parts []Part) []byte {
	b := make([]byte, 2*sector)
	copy(b, "boot code")
	b[450] = 0xee
	binary.LittleEndian.PutUint32(b[454:], 1)
	binary.LittleEndian.PutUint32(b[458:], uint32(size/sector-1))
	b[510], b[511] = 0x55, 0xaa
	body := entries(sector, parts)
	copy(b[sector:], header(sector, size, 1, size/sector-1, 2, body))
	return append(b, body...)
}

// GPTBackup makes the copy at the end of the disk.
func GPTBackup(sector, size int64, parts []Part) []byte {
	body := entries(sector, parts)
	last := size/sector - 1
	span := (int64(len(body)) + sector - 1) / sector
	return append(bytes.Clone(body), header(sector, size, last, 1, last-span, body)...)
}

// ESPImage makes a FAT32 file system with these files, by a library of others', so that our reader has an
// independent judge.
func ESPImage(t testing.TB, size int64, files map[string]string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "esp")
	store, err := file.CreateFromPath(name, size)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fs, err := fat32.Create(store, size, 0, 512, "ESP", true)
	if err != nil {
		t.Fatal(err)
	}
	return fill(t, name, fs, files)
}

// SmallESP makes a FAT12 file system of 4 MiB with a distribution's boot loader and one for removable media.
func SmallESP(t testing.TB) []byte {
	t.Helper()
	const size = 4 << 20
	name := filepath.Join(t.TempDir(), "esp")
	store, err := file.CreateFromPath(name, size)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	fs, err := fat12.Create(store, size, 0, 512, "ESP", true)
	if err != nil {
		t.Fatal(err)
	}
	return fill(t, name, fs, map[string]string{"/EFI/BOOT/BOOTX64.EFI": "boot", "/EFI/debian/shimx64.efi": "shim"})
}

// fileSystem is what both widths of the library share.
type fileSystem interface {
	Mkdir(name string) error
	OpenFile(name string, flag int) (filesystem.File, error)
}

func fill(t testing.TB, image string, fs fileSystem, files map[string]string) []byte {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := fs.Mkdir(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
		f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[name]); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Bootable makes a whole-disk image of at least 22 MiB: a GPT, a system partition of 4 MiB with a boot loader, a root
// partition of 16 MiB of random data with holes, and further partitions.
func Bootable(t testing.TB, size int64, more ...Part) []byte {
	t.Helper()
	const mib = 1 << 20
	b := make([]byte, size)
	parts := append([]Part{{Start: mib, Size: 4 * mib, Kind: ESP, Name: "esp"}, {Start: 5 * mib, Size: 16 * mib, Kind: Linux, Name: "root"}}, more...)
	copy(b, GPT(512, size, parts))
	back := GPTBackup(512, size, parts)
	copy(b[size-int64(len(back)):], back)
	copy(b[mib:], SmallESP(t))
	r := rand.NewChaCha8([32]byte{1})
	root := b[5*mib : 21*mib]
	for off := 0; off < len(root); off += mib { // every other half MiB is a hole
		r.Read(root[off : off+mib/2])
	}
	return b
}
