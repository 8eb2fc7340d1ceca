package content_test

import (
	"errors"
	"io"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
)

// at reads from a disk that begins with b and holds zeros up to size.
func at(b []byte, size int64) func(off int64, n int) ([]byte, error) {
	return func(off int64, n int) ([]byte, error) {
		if off < 0 || n < 0 || n > 16<<20 || off+int64(n) > size {
			return nil, io.ErrUnexpectedEOF
		}
		out := make([]byte, n)
		if off < int64(len(b)) {
			copy(out, b[off:])
		}
		return out, nil
	}
}

const (
	mib      = 1 << 20
	fuzzSize = 256 << 20
)

func seeds(f *testing.F) {
	for _, b := range [][]byte{
		disktest.GPT(512, fuzzSize, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Linux, Name: "config-2"}, {Start: 4 * mib, Size: mib, Kind: disktest.VMFS}}),
		disktest.MBR(disktest.MBRPart{Kind: 0x83, Start: 2048, Count: 4096}, disktest.MBRPart{Kind: 0x05, Start: 8192, Count: 40960}), disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", ""),
		append(make([]byte, 4096), disktest.MD12("uuid")...), append(make([]byte, 64<<10), disktest.Btrfs(2)...),
	} {
		f.Add(b)
	}
}

// FuzzZ6_Tables: no partition table crashes the reader or names a partition outside the disk.
func FuzzZ6_Tables(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := content.ReadTable(at(b, fuzzSize), fuzzSize, 512)
		if err != nil {
			return
		}
		for _, p := range table.Partitions {
			if p.Start < 0 || p.Size <= 0 || p.Start+p.Size > fuzzSize {
				t.Fatalf("partition %+v on a disk of %d bytes", p, int64(fuzzSize))
			}
		}
	})
}

// FuzzZ6_Probes: no content of a disk crashes the probes or sends them beyond its end.
func FuzzZ6_Probes(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := content.Probe(at(b, fuzzSize), []content.Span{{Name: "vda1", Start: 512, Size: 1 << 40}}, fuzzSize, 512); errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("read beyond the disk: %v", err)
		}
	})
}

// FuzzZ6_FAT: no file system makes the lister crash, loop, or read beyond the partition.
func FuzzZ6_FAT(f *testing.F) {
	f.Add(disktest.SmallESP(f)[:32<<10]) // tables and directories; files are not read
	f.Fuzz(func(t *testing.T, b []byte) {
		var read int
		content.FindLoader(func(off int64, n int) ([]byte, error) {
			if read += n; read > 1<<31 {
				t.Fatal("reads without end")
			}
			return at(b, 4*mib)(off, n)
		}, 4*mib, "amd64")
	})
}

func TestFATOfThreeWidths(t *testing.T) {
	for name, b := range map[string][]byte{
		"FAT12": disktest.SmallESP(t), "FAT32": disktest.ESPImage(t, 40*mib, map[string]string{"/EFI/BOOT/BOOTX64.EFI": "x", "/EFI/a-long-name-of-a-vendor/shimx64.efi": "x"}),
	} {
		want := map[string]string{"FAT12": "/EFI/debian/shimx64.efi", "FAT32": "/EFI/a-long-name-of-a-vendor/shimx64.efi"}[name]
		if got, err := content.FindLoader(at(b, int64(len(b))), int64(len(b)), "amd64"); got != want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if got, err := content.FindLoader(at(b, int64(len(b))), int64(len(b)), "arm64"); got != "" || err != nil {
			t.Errorf("%s, another architecture: got %q, %v", name, got, err)
		}
	}
}

func TestFATChainThatBitesItsTail(t *testing.T) {
	b := disktest.SmallESP(t)
	err := content.Endless(b, func(off int64, n int) ([]byte, error) { return at(b, 4*mib)(off, n) }, 4*mib)
	if err == nil {
		t.Error("an endless directory was listed")
	}
}

// FuzzZ9_Superblocks: no superblock crashes the reader, or makes an array larger than its members could be.
func FuzzZ9_Superblocks(f *testing.F) {
	for _, level := range []int{0, 1, 5, 6, 10} {
		f.Add(disktest.Superblock(disktest.MD{Level: level, Members: 4, Role: 1, Chunk: 512 << 10, Used: 64 * mib, Data: 64 * mib, Layout: 0x102}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := content.MDMembers(at(b, fuzzSize), []content.Span{{Name: "p", Start: mib, Size: fuzzSize}}, fuzzSize, 512)
		if err != nil {
			return
		}
		for _, m := range got {
			size, err := content.Size([]content.MDMember{m})
			if m.Members < 1 || m.Used < 0 || m.Used > fuzzSize || m.Data < 0 || err == nil && (size < 0 || size > 2*fuzzSize*int64(m.Members)*256) {
				t.Errorf("%+v of %d bytes", m, size)
			}
		}
	})
}
