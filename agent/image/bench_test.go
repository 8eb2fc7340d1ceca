package image_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
)

// benchImage is 256 MiB, a quarter of it data.
func benchImage(b *testing.B) []byte {
	img := make([]byte, 256*mib)
	copy(img, disktest.Bootable(b, 24*mib))
	copy(img, disktest.GPT(512, int64(len(img)), []disktest.Part{{Start: mib, Size: 4 * mib, Kind: disktest.ESP}, {Start: 5 * mib, Size: 236 * mib, Kind: disktest.Linux}}))
	back := disktest.GPTBackup(512, int64(len(img)), []disktest.Part{{Start: mib, Size: 4 * mib, Kind: disktest.ESP}, {Start: 5 * mib, Size: 236 * mib, Kind: disktest.Linux}})
	copy(img[len(img)-len(back):], back)
	r := rand.NewChaCha8([32]byte{2})
	for off := 24 * mib; off < 240*mib; off += 4 * mib {
		r.Read(img[off : off+mib])
	}
	return img
}

// BenchmarkWriteImage is the whole step, verified; BenchmarkPlainCopy is what to compare it with: fetch, hash and write
// in turn, without clearing, reading back or keeping the disk unbootable.
func BenchmarkWriteImage(b *testing.B) {
	img := benchImage(b)
	files := qcows(b, img)
	files["raw"], files["zst"], files["gz"] = img, compress(b, img), gz(b, img)
	for name, served := range files {
		b.Run(name, func(b *testing.B) {
			x := newBench(b, 256*mib, serve(served))
			b.SetBytes(int64(len(img)))
			for b.Loop() {
				if _, err := x.write(x.spec("/a."+name, served)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// qcows are the forms of qcow2, by the end of their names.
func qcows(b *testing.B, img []byte) map[string][]byte {
	return map[string][]byte{"qcow2": qcow(b, img), "deflate.qcow2": qcow(b, img, "-c"), "zstd.qcow2": qcow(b, img, "-c", "-o", "compression_type=zstd")}
}

// BenchmarkFetchAndConvert is how Ironic's agent writes qcow2: the whole file first, then its digest, then qemu-img.
func BenchmarkFetchAndConvert(b *testing.B) {
	img := benchImage(b)
	for name, served := range qcows(b, img) {
		b.Run(name, func(b *testing.B) {
			x := newBench(b, 256*mib, serve(served))
			dir := b.TempDir()
			disk, err := os.Create(filepath.Join(dir, "disk"))
			if err != nil {
				b.Fatal(err)
			}
			defer disk.Close()
			if err := disk.Truncate(256 * mib); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(img)))
			for b.Loop() {
				resp, err := x.writer.Client.Get(x.server.URL)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp, err)
				}
				f, err := os.Create(filepath.Join(dir, "file"))
				if err != nil {
					b.Fatal(err)
				}
				h := sha256.New()
				if _, err := io.CopyBuffer(f, io.TeeReader(resp.Body, h), make([]byte, mib)); err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
				qemuImg(b, dir, "convert", "-n", "-W", "-S", "0", "-f", "qcow2", "-O", "raw", "file", "disk")
				if err := disk.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPlainCopy(b *testing.B) {
	img := benchImage(b)
	x := newBench(b, 256*mib, serve(img))
	f, err := os.Create(filepath.Join(b.TempDir(), "disk"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.SetBytes(int64(len(img)))
	for b.Loop() {
		resp, err := x.writer.Client.Get(x.server.URL)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		f.Seek(0, io.SeekStart)
		h := sha256.New()
		if _, err := io.CopyBuffer(f, io.TeeReader(resp.Body, h), make([]byte, mib)); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
