package image_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// qemuImg runs QEMU's own program on files of a directory.
func qemuImg(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qemu-img", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// qcow makes a qcow2 file of a disk, as qemu-img convert does with further arguments.
func qcow(t testing.TB, img []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raw"), img, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, dir, slices.Concat([]string{"convert", "-f", "raw", "-O", "qcow2"}, args, []string{"raw", "q"})...)
	b, err := os.ReadFile(filepath.Join(dir, "q"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holes is an image with data here and there, and with what does not compress.
func holes(t testing.TB) []byte {
	img := disktest.Bootable(t, 24*mib)
	r := rand.NewChaCha8([32]byte{7})
	for _, at := range []int{9 * mib, 11*mib + 4096, 13*mib + 65536, 20 * mib} {
		r.Read(img[at : at+300_000])
	}
	copy(img[15*mib:16*mib], bytes.Repeat([]byte("what compresses well "), mib/21))
	return img
}

// same holds the disk against the image: all but the tables, which are moved, and zeros where the image has none.
func (b *bench) same(img []byte) {
	b.t.Helper()
	got := b.dev.Bytes(b.t, 0, len(img))
	if from, end := 17<<10, len(img)-17<<10; !bytes.Equal(got[from:end], img[from:end]) {
		for from < end && got[from] == img[from] {
			from++
		}
		b.t.Fatalf("byte %d of the disk is %#x, expected %#x", from, got[from], img[from])
	}
	if !bytes.Equal(got[:446], img[:446]) {
		b.t.Error("the boot code is not the image's")
	}
	if string(b.dev.Bytes(b.t, b.dev.Size-512, 8)) != "EFI PART" || b.firmware.loader == "" {
		b.t.Error("the disk can't be booted")
	}
}

// TestI06_QCOW2 writes what qemu-img makes onto a dirty disk, and compares with the raw image that it was made of.
func TestI06_QCOW2(t *testing.T) {
	img := holes(t)
	for name, args := range map[string][]string{
		"version 3":          nil,
		"version 2":          {"-o", "compat=0.10"},
		"deflate":            {"-c"},
		"deflate, version 2": {"-c", "-o", "compat=0.10"},
		"zstd":               {"-c", "-o", "compression_type=zstd"},
		"out of order":       {"-W", "-m", "8"},
		"4 KiB clusters":     {"-o", "cluster_size=4096"},
		"2 MiB clusters":     {"-o", "cluster_size=2M"},
		"2 MiB, deflate":     {"-c", "-o", "cluster_size=2M"},
		"4 KiB, zstd":        {"-c", "-o", "cluster_size=4096,compression_type=zstd"},
		"preallocated":       {"-o", "preallocation=metadata"},
		"every zero stored":  {"-S", "0"},
		"lazy counts":        {"-o", "lazy_refcounts=on"},
	} {
		t.Run(name, func(t *testing.T) {
			file := qcow(t, img, args...)
			b := newBench(t, 40*mib, serve(file))
			b.old()
			w, err := b.write(b.spec("/jammy.img", file))
			if err != nil {
				t.Fatal(err)
			}
			b.same(img)
			if w.Format != "qcow2" || w.Bytes != int64(len(img)) || w.Served != int64(len(file)) || len(w.SHA256) != 64 || w.ReadBack == 0 || w.Restarted+w.Resumed != 0 {
				t.Errorf("written %+v", w)
			}
			if name != "every zero stored" && w.Zeroed < 4*mib {
				t.Errorf("%d bytes were cleared", w.Zeroed)
			}
			again, err := b.write(b.spec("/jammy.qcow2", file))
			if err != nil || again.SHA256 != w.SHA256 {
				t.Errorf("the same file again: %v, %s and %s", err, w.SHA256, again.SHA256)
			}
		})
	}
}

// TestF33_QCOW2OddSizes: the disk's end lies within a cluster, and within what is held back.
func TestF33_QCOW2OddSizes(t *testing.T) {
	for _, size := range []int{24*mib + 512, 24*mib + 65536 + 4096 + 512, 24*mib - 512} {
		img := disktest.Bootable(t, int64(size))
		rand.NewChaCha8([32]byte{9}).Read(img[len(img)-40<<10 : len(img)-34<<10])
		for _, args := range [][]string{nil, {"-c"}, {"-o", "cluster_size=2M"}, {"-c", "-o", "cluster_size=2M"}} {
			file := qcow(t, img, args...)
			b := newBench(t, 40*mib, serve(file))
			b.old()
			if _, err := b.write(b.spec("/a.qcow2", file)); err != nil {
				t.Fatalf("%d bytes, %v: %v", size, args, err)
			}
			b.same(img)
		}
	}
}

// put writes a number into a copy of a file.
func put(b []byte, at int, v any) []byte {
	b = bytes.Clone(b)
	if _, err := binary.Encode(b[at:], binary.BigEndian, v); err != nil {
		panic(err)
	}
	return b
}

func be64(b []byte, at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }

// table is where the file's first table of clusters is, and entry the place of the n-th entry in it that has something.
func table(file []byte) int { return int(be64(file, int(be64(file, 40))) & (1<<56 - 1<<9)) }

func entry(file []byte, n int) int {
	for at := table(file); ; at += 8 {
		if be64(file, at) != 0 {
			if n--; n < 0 {
				return at
			}
		}
	}
}

// packedEntry is the place of the first entry whose cluster is compressed.
func packedEntry(file []byte) int {
	for n := 0; ; n++ {
		if at := entry(file, n); be64(file, at)&(1<<62) != 0 {
			return at
		}
	}
}

// TestT09_F33_HostileQCOW2: what is wrong with a file is found before the disk is touched, but for what only its bytes tell.
func TestT09_F33_HostileQCOW2(t *testing.T) {
	img := holes(t)
	plain, flat, small := qcow(t, img), qcow(t, img, "-c"), qcow(t, img, "-o", "cluster_size=4096")
	l1, l2 := int(be64(plain, 40)), table(plain)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "raw"), img, 0o600); err != nil {
		t.Fatal(err)
	}
	made := func(args ...string) []byte {
		qemuImg(t, dir, args...)
		b, err := os.ReadFile(filepath.Join(dir, "made"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		file    []byte
		want    fault.Reason
		says    string
		written bool // the disk was cleared before
	}{
		"backing file":          {made("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "raw", "made"), fault.ImageFormat, "backing", false},
		"external data":         {made("create", "-q", "-f", "qcow2", "-o", "data_file=data", "made", "24M"), fault.ImageFormat, "another file", false},
		"extended L2":           {made("create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "made", "24M"), fault.ImageFormat, "extended", false},
		"encrypted":             {put(plain, 32, uint32(2)), fault.ImageFormat, "encrypted", false},
		"encryption header":     {put(plain, 104+8, uint32(0x0537be77)), fault.ImageFormat, "encrypted", false},
		"external data by name": {put(plain, 104+8, uint32(0x44415441)), fault.ImageFormat, "another file", false},
		"dirty":                 {put(plain, 72, uint64(1)), fault.ImageFormat, "not closed", false},
		"corrupt":               {put(plain, 72, uint64(2)), fault.ImageFormat, "corrupt", false},
		"unknown feature":       {put(plain, 72, uint64(1)<<40), fault.ImageFormat, "bit 40", false},
		"compression by type":   {put(plain, 104, uint8(1)), fault.ImageCorrupt, "compression type", false},
		"compression by bit":    {put(plain, 72, uint64(8)), fault.ImageCorrupt, "compression type", false},
		"unknown compression":   {put(put(plain, 104, uint8(2)), 72, uint64(8)), fault.ImageFormat, "compression type", false},
		"version 1":             {put(plain, 4, uint32(1)), fault.ImageFormat, "version", false},
		"version 4":             {put(plain, 4, uint32(4)), fault.ImageFormat, "version", false},
		"tiny clusters":         {put(plain, 20, uint32(9)), fault.ImageFormat, "clusters", false},
		"huge clusters":         {put(plain, 20, uint32(22)), fault.ImageFormat, "clusters", false},
		"no size":               {put(plain, 24, uint64(0)), fault.ImageCorrupt, "whole sectors", false},
		"odd size":              {put(plain, 24, uint64(len(img)+1)), fault.ImageCorrupt, "whole sectors", false},
		"size of the sky":       {put(plain, 24, uint64(1)<<63), fault.ImageCorrupt, "whole sectors", false},
		"larger than the disk":  {put(plain, 24, uint64(33*mib)), fault.DiskTooSmall, "the image has", false},
		"many tables":           {put(small, 24, uint64(1)<<40), fault.ImageFormat, "tables", false},
		"small first table":     {put(plain, 36, uint32(0)), fault.ImageCorrupt, "first table", false},
		"first table nowhere":   {put(plain, 40, uint64(1)<<62), fault.ImageCorrupt, "first table", false},
		"first table at 0":      {put(plain, 40, uint64(0)), fault.ImageCorrupt, "first table", false},
		"first table astray":    {put(plain, 40, uint64(l1+512)), fault.ImageCorrupt, "first table", false},
		"counts outside":        {put(plain, 56, uint32(1<<31)), fault.ImageCorrupt, "reference counts", false},
		"long header":           {put(plain, 100, uint32(1<<20)), fault.ImageCorrupt, "header", false},
		"long extension":        {put(plain, 104+12, uint32(0xfffffff8)), fault.ImageCorrupt, "extension", false},
		"table outside":         {put(plain, l1, uint64(1)<<50), fault.ImageCorrupt, "table of clusters", false},
		"table is the header":   {put(plain, l1, uint64(0x200)), fault.ImageCorrupt, "table of clusters", false},
		"table is the first":    {put(plain, l1, uint64(l1)), fault.ImageCorrupt, "", false},
		"table of odd bits":     {put(plain, l1, be64(plain, l1)|1), fault.ImageCorrupt, "reserved", false},
		"table used twice":      {put(small, int(be64(small, 40))+8, be64(small, int(be64(small, 40)))), fault.ImageCorrupt, "twice", false},
		"cluster twice":         {put(plain, entry(plain, 1), be64(plain, entry(plain, 0))), fault.ImageCorrupt, "twice", false},
		"cluster is a table":    {put(plain, entry(plain, 1), uint64(l2)), fault.ImageCorrupt, "twice", false},
		"cluster is the header": {put(plain, entry(plain, 1), uint64(1)<<9), fault.ImageCorrupt, "cluster", false},
		"cluster outside":       {put(plain, entry(plain, 1), uint64(1)<<50), fault.ImageCorrupt, "cluster", false},
		"cluster at the end":    {put(plain, entry(plain, 1), uint64(len(plain)+65535)&^65535), fault.ImageCorrupt, "cluster", false},
		"cluster astray":        {put(plain, entry(plain, 1), be64(plain, entry(plain, 1))+512), fault.ImageCorrupt, "cluster", false},
		"cluster of odd bits":   {put(plain, entry(plain, 1), be64(plain, entry(plain, 1))|2), fault.ImageCorrupt, "reserved", false},
		"beyond the disk":       {put(plain, l2+8*len(img)/65536, uint64(be64(plain, entry(plain, 0)))), fault.ImageCorrupt, "", false},
		"packed twice":          {put(flat, entry(flat, 1), be64(flat, entry(flat, 0))), fault.ImageCorrupt, "twice", false},
		"packed outside":        {put(flat, entry(flat, 1), uint64(1)<<62|1<<53), fault.ImageCorrupt, "packed", false},
		"packed header":         {put(flat, entry(flat, 1), uint64(1)<<62), fault.ImageCorrupt, "packed", false},
		"packed and large":      {put(flat, entry(flat, 1), uint64(1)<<62|uint64(255)<<54|be64(flat, entry(flat, 1))), fault.ImageCorrupt, "packed", false},
		"cut off":               {plain[:len(plain)-70_000], fault.ImageCorrupt, "", false},
		"header alone":          {plain[:72], fault.ImageCorrupt, "header", false},
		"magic alone":           {plain[:8], fault.ImageCorrupt, "header", false},
		"rubbish in a packed":   {put(flat, int(be64(flat, packedEntry(flat))&(1<<54-1)), ^uint64(0)), fault.ImageCorrupt, "unpacked", true},
		"another file":          {put(plain, len(plain)-1000, ^uint64(0)), fault.ImageDigest, "digest", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 32*mib, serve(c.file))
			b.old()
			before := b.dev.Writes.Load()
			s := b.spec("/a.qcow2", c.file)
			if c.want == fault.ImageDigest {
				s = b.spec("/a.qcow2", plain)
			}
			_, err := b.write(s)
			if !fault.Has(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %s and %q", err, c.want, c.says)
			}
			if fault.From(err).Hint == "" {
				t.Errorf("no hint: %v", err)
			}
			if c.written {
				b.notBootable()
			} else if b.dev.Writes.Load() != before {
				t.Error("bytes were written")
			}
		})
	}
}

// TestF31_F34_QCOW2Servers: servers that can't be relied upon.
func TestF31_F34_QCOW2Servers(t *testing.T) {
	img := holes(t)
	file := qcow(t, img)
	other := put(file, entry(file, 5), be64(file, entry(file, 6)))
	other = put(other, entry(file, 6), be64(file, entry(file, 5))) // the same clusters, elsewhere
	ranged := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	for name, c := range map[string]struct {
		serve              http.HandlerFunc
		resumed, restarted int
		want               fault.Reason
		untouched          bool
	}{
		"no ranges": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			serve(file)(w, r)
		}, 0, 0, fault.ImageFormat, true},
		"no length": {func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(file)
		}, 0, 0, fault.ImageFormat, true},
		"other tables in parts": {func(w http.ResponseWriter, r *http.Request) {
			if ranged(r) {
				serve(other)(w, r)
			} else {
				serve(file)(w, r)
			}
		}, 0, 0, fault.ImageDigest, false},
		"another file in parts, honestly": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if ranged(r) {
				w.Header().Set("ETag", `"v2"`)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		}, 0, 4, fault.ImageTruncated, true},
		"breaks off": {func() http.HandlerFunc {
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") == "" && n.Add(1) == 2 {
					w.Header().Set("ETag", `"v1"`)
					w.Header().Set("Content-Length", fmt.Sprint(len(file)))
					w.Write(file[:len(file)/2])
					panic(http.ErrAbortHandler)
				}
				serve(file)(w, r)
			}
		}(), 1, 0, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 32*mib, c.serve)
			b.old()
			before := b.dev.Writes.Load()
			w, err := b.write(b.spec("/a.qcow2", file))
			switch {
			case c.want == "" && err != nil, c.want != "" && !fault.Has(err, c.want):
				t.Fatalf("got %v, want %s", err, c.want)
			case c.want == "":
				b.same(img)
			case c.untouched && b.dev.Writes.Load() != before:
				t.Error("bytes were written")
			case !c.untouched:
				b.notBootable()
			}
			if w.Resumed != c.resumed || w.Restarted != c.restarted {
				t.Errorf("resumed %d and restarted %d times, want %d and %d", w.Resumed, w.Restarted, c.resumed, c.restarted)
			}
		})
	}
}

// TestI06_F18_BrokenDiskUnderQCOW2 fails an operation on the disk: never is an image that is not whole bootable.
func TestI06_F18_BrokenDiskUnderQCOW2(t *testing.T) {
	img := holes(t)
	file := qcow(t, img, "-c")
	for _, op := range []string{"write", "sync", "read", "punch"} {
		for n := int64(1); ; n++ {
			b := newBench(t, 28*mib, serve(file))
			var count atomic.Int64
			b.dev.Fail = func(o string, _ int64, _ int) error {
				if o == op && count.Add(1) == n {
					return syscall.EIO
				}
				return nil
			}
			_, err := b.write(b.spec("/a.qcow2", file))
			b.dev.Fail = nil
			if count.Load() < n {
				if err != nil || n == 1 {
					t.Fatalf("%s: %v after %d", op, err, n)
				}
				break
			}
			if err == nil || fault.From(err).Reason == fault.InternalError {
				t.Fatalf("%s %d fails: got %v", op, n, err)
			}
			if whole := bytes.Equal(b.dev.Bytes(t, mib, 22*mib), img[mib:23*mib]); string(b.dev.Bytes(t, 512, 8)) == "EFI PART" && !whole || b.firmware.loader != "" {
				t.Fatalf("%s %d fails: the disk can be booted", op, n)
			}
		}
	}
}

// TestI06_LyingDiskUnderQCOW2: a disk that does not keep what it says that it cleared or wrote is found.
func TestI06_LyingDiskUnderQCOW2(t *testing.T) {
	img := holes(t)
	file := qcow(t, img)
	for _, pattern := range []byte{0, 0xa5} {
		b := newBench(t, 32*mib, serve(file))
		syncs := 0
		b.dev.Fail = func(op string, _ int64, _ int) error {
			if op == "sync" {
				if syncs++; syncs == 2 {
					b.dev.Fill(t, pattern)
				}
			}
			return nil
		}
		if _, err := b.write(b.spec("/a.qcow2", file)); !fault.Has(err, fault.ImageReadBack) {
			t.Errorf("%#x: got %v", pattern, err)
		}
	}
}

func TestQCOW2ProgressIsTold(t *testing.T) {
	img := holes(t)
	file := qcow(t, img)
	b := newBench(t, 32*mib, serve(file))
	var mu sync.Mutex
	var stages []string
	var last step.Progress
	_, err := b.writer.Write(t.Context(), b.spec("/a.qcow2", file), b.disk, func(p step.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if s := p.Devices[0].Stage; len(stages) == 0 || stages[len(stages)-1] != s {
			stages = append(stages, s)
		}
		last = p
	})
	if err != nil || last.Percent != 100 || last.Done != last.Total || last.Devices[0].Method != "write-qcow2" {
		t.Fatalf("got %v, %+v", err, last)
	}
	if got := strings.Join(stages, " "); got != "fetch clear write verify partitions done" {
		t.Errorf("stages %q", got)
	}
}
