package image_test

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/system"
)

// TestI06_QCOW2IsWhatRawIs puts a disk's whole life through qemu-img and qemu-io (a _ is a space), writes the file to a full disk, and the raw image
// that QEMU reads out of the same file to another one: the two disks are the same to the last byte.
func TestI06_QCOW2IsWhatRawIs(t *testing.T) {
	const convert = "qemu-img convert -f raw -O qcow2 "
	for name, c := range map[string]struct {
		size   int
		disk   int64 // 0: more than the image has
		sector int   // 0: 512
		made   string
	}{
		"internal snapshots": {24 * mib, 0, 0, convert + `raw q; qemu-img snapshot -c one q; qemu-io -c write_-P_7_6M_3M q; qemu-img snapshot -c two q;
			qemu-io -c write_-P_8_7M_64k -c write_-z_-u_7168k_128k -c discard_12M_1M q; qemu-img snapshot -d one q`},
		"a snapshot that was gone back to": {24 * mib, 0, 0, convert + `-c raw q; qemu-img snapshot -c one q; qemu-io -c write_-P_7_6M_3M q; qemu-img snapshot -a one q`},
		"grown":                            {23 * mib, 0, 0, convert + `raw q; qemu-img resize -q q 30M; qemu-io -c write_-P_9_29M_100k q`},
		"grown by more than a table, then shrunk": {24 * mib, 0, 0, convert + `-o cluster_size=4096 raw q; qemu-img resize -q q 40M; qemu-io -c write_-P_9_24M_12M q;
			qemu-img resize -q --shrink q 24M`},
		"shrunk within a cluster":                     {24 * mib, 0, 0, convert + `raw q; qemu-io -c write_-P_9_23M_1M q; qemu-img resize -q --shrink q 24640000`},
		"preallocated whole":                          {24 * mib, 0, 0, `qemu-img create -q -f qcow2 -o preallocation=full q 24M; qemu-img convert -n -f raw -O qcow2 raw q`},
		"preallocated by fallocate, and written once": {24*mib + 512, 0, 0, `qemu-img create -q -f qcow2 -o preallocation=falloc q 25166336; qemu-img convert -n -f raw -O qcow2 raw q`},
		"packed over plain and back":                  {24 * mib, 0, 0, convert + `-c raw q; qemu-io -c write_-P_5_5M_1M -c write_-P_6_20000k_3k q`},
		"1 bit reference counts":                      {24 * mib, 0, 0, convert + `-o refcount_bits=1 raw q`},
		"64 bit reference counts, lazy":               {24 * mib, 0, 0, convert + `-c -o refcount_bits=64,lazy_refcounts=on raw q`},
		"bitmaps":                                     {24 * mib, 0, 0, convert + `raw q; qemu-img bitmap --add q one; qemu-io -c write_-P_5_5M_1M q; qemu-img bitmap --add q two`},
		"zeros that were data, kept and not":          {24 * mib, 0, 0, convert + `raw q; qemu-io -c write_-z_5M_1M -c write_-z_-u_6M_1M -c write_-P_3_6M_64k q`},
		"amended to the old version":                  {24 * mib, 0, 0, convert + `raw q; qemu-img amend -o compat=0.10 q`},
		"zstd, odd clusters":                          {24*mib + 512, 0, 0, convert + `-c -o compression_type=zstd,cluster_size=128k raw q`},
		"zstd, the largest":                           {24*mib - 512, 0, 0, convert + `-c -o compression_type=zstd,cluster_size=2M raw q`},
		"16 KiB, packed and out of order":             {24 * mib, 0, 0, convert + `-c -W -m 16 -o cluster_size=16k raw q`},
		"as large as the disk":                        {24 * mib, 24 * mib, 0, convert + `-c raw q`},
		"as large as the disk, but for a sector":      {24*mib - 512, 24 * mib, 0, convert + `-o cluster_size=2M raw q`},
		"sectors of 4 KiB":                            {24 * mib, 0, 4096, convert + `-c -o cluster_size=4096 raw q`},
		"sectors of 4 KiB, cut in one":                {24*mib + 512, 0, 4096, convert + `-o cluster_size=2M raw q`},
		"a disk of 1 MiB and a sector":                {mib + 512, 0, 0, convert + `raw q`},
		"a disk of 1 MiB":                             {mib, 0, 0, convert + `-c raw q`},
		"a disk of 64 KiB":                            {65536, 0, 0, convert + `raw q`},
		"a disk of 36 KiB":                            {36 << 10, 0, 0, convert + `-c -o cluster_size=2M raw q`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "raw"), start(t, c.size, max(c.sector, 512)), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(c.made+"; qemu-img check -q q; qemu-img convert -f qcow2 -O raw q out", ";") {
				words := strings.Fields(line)
				if words[0] == "qemu-img" {
					qemuImg(t, dir, words[1:]...)
					continue
				}
				cmd := exec.CommandContext(t.Context(), "qemu-io", words[1:]...)
				for i, w := range cmd.Args {
					cmd.Args[i] = strings.ReplaceAll(w, "_", " ")
				}
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", line, err, out)
				}
			}
			files := map[string][]byte{}
			for _, f := range []string{"q", "out"} {
				b, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil {
					t.Fatal(err)
				}
				files[f] = b
			}
			written := func(served []byte) ([]byte, string) {
				b := newSectors(t, cmp.Or(c.disk, 48*mib), max(c.sector, 512), serve(served))
				b.old()
				s := b.spec("/a.img", served)
				s.Boot = func(context.Context) ([]disk.BootPlace, error) {
					return []disk.BootPlace{{Partition: system.Partition{Number: 1}, Loader: "/a"}}, nil
				}
				w, err := b.write(s)
				if err == nil && w.Bytes != int64(len(files["out"])) {
					t.Errorf("%d bytes are said to be written, expected %d", w.Bytes, len(files["out"]))
				}
				if err != nil {
					return nil, err.Error()
				}
				return b.dev.Bytes(t, 0, int(b.dev.Size)), ""
			}
			want, why := written(files["out"])
			if why != "" {
				t.Fatalf("the raw image: %s", why)
			}
			got, why := written(files["q"])
			if why != "" {
				t.Fatal(why)
			}
			for at := range want {
				if got[at] != want[at] {
					t.Fatalf("byte %d of the disk is %#x, expected %#x", at, got[at], want[at])
				}
			}
		})
	}
}

// start is a disk of any size with a table for its sectors; what has room for them has data and holes.
func start(t testing.TB, size, sector int) []byte {
	b := make([]byte, size)
	part := disktest.Part{Start: int64(size) / 2 &^ 4095, Size: 4096, Kind: disktest.Linux}
	copy(b, disktest.GPT(int64(sector), int64(size), []disktest.Part{part}))
	if size >= mib {
		back := disktest.GPTBackup(int64(sector), int64(size)&^int64(sector-1), []disktest.Part{part})
		copy(b[size&^(sector-1)-len(back):], back)
	}
	r := rand.NewChaCha8([32]byte{3})
	for at := 64 << 10; at+300_000 < size-64<<10; at += 1_100_000 {
		r.Read(b[at : at+250_000])
		copy(b[at+250_000:], bytes.Repeat([]byte("packs"), 10_000))
	}
	return b
}
