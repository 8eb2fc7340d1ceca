package image_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestI06_WriteEveryForm(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	clear(img[9*mib : 20*mib]) // to pack with xz what is left takes seconds under the race detector, all of it a minute
	packed := compress(t, img)
	twoFrames := append(compress(t, img[:10*mib]), compress(t, img[10*mib:])...)
	for name, c := range map[string]struct {
		path   string
		served []byte
		sha512 bool
	}{
		"raw":              {"/image.raw", img, false},
		"raw, SHA-512":     {"/image.img", img, true},
		"zstd":             {"/image.raw.zst", packed, false},
		"zstd, SHA-512":    {"/image.zst?token=secret", packed, true},
		"zstd, two frames": {"/image.zst", twoFrames, false},
		"zstd, by content": {"/image?name=debian.qcow2", packed, false},
		"gzip":             {"/image.raw.gz", gz(t, img), false},
		"gzip, SHA-512":    {"/image.img", gz(t, img), true},
		"gzip, members":    {"/image.gz", append(gz(t, img[:10*mib+1]), gz(t, img[10*mib+1:])...), false},
		"xz":               {"/image.raw.xz", xzs(t, img, 0), false},
		"xz, SHA-512":      {"/image", slices.Concat(xzs(t, img[:513], 64<<20), xzs(t, img[513:], 0)), true},
		"xz, streams":      {"/image.xz", slices.Concat(xzs(t, img[:513], 0), make([]byte, 8), xzs(t, img[513:], 0)), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 40*mib, serve(c.served))
			b.old()
			s := b.spec(c.path, c.served)
			if c.sha512 {
				sum := sha512.Sum512(c.served)
				s.Algorithm, s.Digest = "sha512", strings.ToUpper(hex.EncodeToString(sum[:]))
			}
			w, err := b.write(s)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(img)
			if w.SHA256 != hex.EncodeToString(sum[:]) || w.Bytes != int64(len(img)) || w.Served != int64(len(c.served)) || w.Zeroed == 0 || w.ReadBack == 0 {
				t.Errorf("written %+v", w)
			}
			if strings.Contains(w.Source, "secret") {
				t.Error("the URL's query is kept") // I22
			}
			// All but the table is exactly the image, the holes included; the backup table moved to the disk's end.
			got := b.dev.Bytes(t, 0, len(img))
			if !bytes.Equal(got[17<<10:len(img)-17<<10], img[17<<10:len(img)-17<<10]) {
				t.Error("what is on the disk is not the image")
			}
			if !bytes.Equal(got[:446], img[:446]) {
				t.Error("the boot code changed")
			}
			tail := b.dev.Bytes(t, b.dev.Size-512, 8)
			if string(tail) != "EFI PART" {
				t.Error("no backup table at the disk's end")
			}
			if string(b.dev.Bytes(t, int64(len(img))-512, 8)) == "EFI PART" {
				t.Error("the old backup table is still where the image ends")
			}
			if b.firmware.loader != "/EFI/debian/shimx64.efi" || b.firmware.part.Number != 1 || b.firmware.part.Start != 2048 || b.firmware.part.Count != 4*2048 ||
				b.firmware.part.GUID != "00000001-0000-0000-0000-000000000077" {
				t.Errorf("boot entry %q on %+v", b.firmware.loader, b.firmware.part)
			}
			if w.Table != "gpt" || w.Partitions != 2 || w.Loader != b.firmware.loader {
				t.Errorf("written %+v", w)
			}
		})
	}
}

// TestI06_T09_F32_F33_BadImages: whatever is wrong with what is served, the disk ends without anything to boot.
func TestI06_T09_F32_F33_BadImages(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	clear(img[9*mib : 20*mib]) // to pack with xz what is left takes seconds under the race detector, all of it a minute
	packed := compress(t, img)
	packedXZ, hugeXZ := xzs(t, img, 0), xzs(t, img[:512], 65<<20)
	bad := bytes.Clone(packed)
	bad[len(bad)/2] ^= 1
	other := bytes.Clone(img)
	other[20*mib] ^= 1
	noTable := bytes.Clone(img)
	clear(noTable[:34*512])
	empty := bytes.Clone(img)
	copy(empty, disktest.GPT(512, int64(len(img)), nil))
	for name, c := range map[string]struct {
		path       string
		served     []byte
		digestOf   []byte
		want       fault.Reason
		alter      func(*image.Spec)
		untouched  bool // nothing at all may have been written
		afterTable bool // the image itself was as asked for; it just can't be booted
	}{
		"another image":            {"/a.raw", other, img, fault.ImageDigest, nil, false, false},
		"another packed image":     {"/a.zst", compress(t, other), packed, fault.ImageDigest, nil, false, false},
		"damaged packing":          {"/a.zst", bad, bad, fault.ImageCorrupt, nil, false, false},
		"cut off packing":          {"/a.zst", packed[:len(packed)-100], packed, fault.ImageCorrupt, nil, false, false},
		"not packed":               {"/a.zst", img, img, fault.ImageFormat, nil, true, false},
		"packed, and not to be":    {"/a.raw", packed, packed, fault.ImageFormat, nil, true, false},
		"packed otherwise":         {"/a.gz", packed, packed, fault.ImageFormat, nil, true, false},
		"another gzip file":        {"/a.gz", gz(t, other), gz(t, img), fault.ImageDigest, nil, false, false},
		"damaged gzip":             {"/a.gz", flip(gz(t, img)), nil, fault.ImageCorrupt, nil, false, false},
		"cut off gzip":             {"/a.gz", cut(gz(t, img), 100), nil, fault.ImageCorrupt, nil, false, false},
		"gzip without its end":     {"/a.gz", cut(gz(t, img), 8), nil, fault.ImageCorrupt, nil, false, false},
		"rubbish after gzip":       {"/a.gz", append(gz(t, img), "rubbish!"...), nil, fault.ImageCorrupt, nil, false, false},
		"gzip bomb":                {"/a.gz", bytes.Repeat(gz(t, make([]byte, 20*mib)), 3), nil, fault.DiskTooSmall, nil, false, false},
		"another xz file":          {"/a.xz", append(xzs(t, img[:512], 0), packedXZ...), bytes.Clone(packedXZ), fault.ImageDigest, nil, false, false},
		"damaged xz":               {"/a.xz", flip(bytes.Clone(packedXZ)), nil, fault.ImageCorrupt, nil, false, false},
		"cut off xz":               {"/a.xz", cut(bytes.Clone(packedXZ), 100), nil, fault.ImageCorrupt, nil, false, false},
		"xz without its end":       {"/a.xz", cut(bytes.Clone(packedXZ), 4), nil, fault.ImageCorrupt, nil, false, false},
		"rubbish after xz":         {"/a.xz", append(bytes.Clone(packedXZ), "rubbish!"...), nil, fault.ImageCorrupt, nil, false, false},
		"xz bomb":                  {"/a.xz", bytes.Repeat(xzs(t, make([]byte, 20*mib), 0), 3), nil, fault.DiskTooSmall, nil, false, false},
		"xz of a huge dictionary":  {"/a.xz", hugeXZ, nil, fault.ImageFormat, nil, true, false},
		"xz that turns huge":       {"/a.xz", append(bytes.Clone(packedXZ), hugeXZ...), nil, fault.ImageFormat, nil, false, false},
		"gzip in gzip":             {"/a.gz", gz(t, gz(t, img)), nil, fault.ImageFormat, nil, true, false},
		"qcow2 in gzip":            {"/a.gz", gz(t, []byte("QFI\xfb\x00\x00\x00\x03")), nil, fault.ImageFormat, nil, true, false},
		"qcow2 in xz":              {"/a.xz", xzs(t, []byte("QFI\xfb\x00\x00\x00\x03"), 0), nil, fault.ImageFormat, nil, true, false},
		"qcow2 in zstd":            {"/a.zst", compress(t, []byte("QFI\xfb\x00\x00\x00\x03")), nil, fault.ImageFormat, nil, true, false},
		"vmdk":                     {"/a.img", []byte("KDMV\x01\x00\x00\x00"), nil, fault.ImageFormat, nil, true, false},
		"rubbish after the end":    {"/a.zst", append(bytes.Clone(packed), "rubbish!"...), packed, fault.ImageCorrupt, nil, false, false},
		"one more byte":            {"/a.raw", append(bytes.Clone(img), 0), img, fault.ImageDigest, nil, false, false},
		"empty":                    {"/a.raw", nil, nil, fault.ImageSize, nil, true, false},
		"too large":                {"/a.raw", make([]byte, 40*mib), nil, fault.DiskTooSmall, nil, true, false},
		"too large when unpacked":  {"/a.zst", compress(t, make([]byte, 40*mib)), nil, fault.DiskTooSmall, nil, false, false},
		"bomb":                     {"/a.zst", bytes.Repeat(compress(t, make([]byte, 60*mib)), 20), nil, fault.DiskTooSmall, nil, false, false},
		"needs much memory":        {"/a.zst", compressLong(t), nil, fault.ImageFormat, nil, true, false},
		"digest of a wrong length": {"/a.raw", img, img, fault.RequestInvalid, func(s *image.Spec) { s.Digest = s.Digest[:10] }, true, false},
		"unknown algorithm":        {"/a.raw", img, img, fault.RequestInvalid, func(s *image.Spec) { s.Algorithm = "md5" }, true, false},
		"unknown format":           {"/a.raw", img, img, fault.ImageFormat, func(s *image.Spec) { s.Format = "vhd" }, true, false},
		"no qcow2":                 {"/a.qcow2", img, img, fault.ImageFormat, nil, true, false},
		"no URL":                   {"/a.raw", img, img, fault.RequestInvalid, func(s *image.Spec) { s.URL = "file:///etc/passwd" }, true, false},
		"no table":                 {"/a.raw", noTable, noTable, fault.ImageFormat, nil, false, true},
		"table without partitions": {"/a.raw", empty, empty, fault.ImageFormat, nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 32*mib, serve(c.served))
			b.old()
			before := b.dev.Writes.Load()
			s := b.spec(c.path, c.digestOf)
			if c.digestOf == nil {
				s = b.spec(c.path, c.served)
			}
			if c.alter != nil {
				c.alter(&s)
			}
			_, err := b.write(s)
			if !fault.Has(err, c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "goroutine") || fault.From(err).Hint == "" {
				t.Errorf("message %q", err)
			}
			switch {
			case c.untouched && b.dev.Writes.Load() != before:
				t.Error("bytes were written")
			case c.afterTable && b.firmware.loader != "":
				t.Error("the firmware was told of a boot loader")
			case !c.untouched && !c.afterTable:
				b.notBootable()
			}
		})
	}
}

// flip damages the middle of a file, and cut takes some of its end away.
func flip(b []byte) []byte       { b[len(b)/2] ^= 1; return b }
func cut(b []byte, n int) []byte { return b[:len(b)-n] }

// compressLong makes a frame whose window is larger than the agent allows.
func compressLong(t testing.TB) []byte {
	var buf bytes.Buffer
	e, err := zstd.NewWriter(&buf, zstd.WithWindowSize(128<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	e.Write(make([]byte, 24*mib))
	e.Flush()
	e.Write(make([]byte, 8*mib))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestI06_F18_BrokenDiskWhileWriting fails the n-th operation on the disk, for every n: never is an image that is not
// whole bootable, and never is success told.
func TestI06_F18_BrokenDiskWhileWriting(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	packed := compress(t, img)
	for _, op := range []string{"write", "sync", "read", "punch", "size"} {
		t.Run(op, func(t *testing.T) {
			for n := int64(1); ; n++ {
				b := newBench(t, 28*mib, serve(packed))
				var count atomic.Int64
				b.dev.Fail = func(o string, _ int64, _ int) error {
					if o == op && count.Add(1) == n {
						return syscall.EIO
					}
					return nil
				}
				_, err := b.write(b.spec("/a.zst", packed))
				b.dev.Fail = nil
				if count.Load() < n {
					if err != nil {
						t.Fatal(err)
					}
					if n == 1 {
						t.Fatalf("no %s was made", op)
					}
					return
				}
				if err == nil || fault.From(err).Reason == fault.InternalError || !strings.Contains(err.Error(), "N1") {
					t.Fatalf("%s %d fails: got %v", op, n, err)
				}
				head := b.dev.Bytes(t, 512, 8)
				whole := bytes.Equal(b.dev.Bytes(t, mib, 22*mib), img[mib:23*mib])
				if string(head) == "EFI PART" && !whole {
					t.Fatalf("%s %d fails: the disk has a table over half an image", op, n)
				}
				if b.firmware.loader != "" {
					t.Fatalf("%s %d fails: the firmware was told of a boot loader", op, n)
				}
				if n > 24 && op != "sync" && op != "size" {
					return // the rest is more of the same
				}
			}
		})
	}
}

func TestI06_LyingDiskIsFound(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	t.Run("data", func(t *testing.T) {
		b := newBench(t, 32*mib, serve(img))
		b.dev.Fail = func(op string, off int64, n int) error {
			if op == "sync" && b.dev.Writes.Load() > 8*mib {
				b.dev.Fill(t, 0) // says flushed, has lost all
			}
			return nil
		}
		if _, err := b.write(b.spec("/a.raw", img)); !fault.Has(err, fault.ImageReadBack) {
			t.Fatalf("got %v", err)
		}
		b.notBootable()
	})
	t.Run("old tables stay", func(t *testing.T) {
		b := newBench(t, 32*mib, serve(img))
		b.old()
		b.dev.Fail = func(op string, off int64, n int) error {
			if op == "sync" {
				b.dev.File.WriteAt([]byte("EFI PART"), 512)
			}
			return nil
		}
		if _, err := b.write(b.spec("/a.raw", img)); !fault.Has(err, fault.DiskNotErased) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestHolesAreClearedByDisksWithoutACommandForIt(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	b := newBench(t, 24*mib, serve(img)) // as large as the image: the table stays where it is
	b.old()
	b.dev.NoZero = true
	if _, err := b.write(b.spec("/a.raw", img)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.dev.Bytes(t, 0, len(img)), img) {
		t.Error("what is on the disk is not the image")
	}
}

func TestWriteStopsWhenAsked(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	b := newBench(t, 32*mib, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(img)))
		w.Write(img[:10*mib])
		w.(http.Flusher).Flush()
		cancel()
		select { // stalls
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	began := time.Now()
	_, err := b.writer.Write(ctx, b.spec("/a.raw", img), b.disk, func(step.Progress) {})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("took %s to stop", d)
	}
	b.notBootable()
}

func TestNoUEFIMeansNothingIsWritten(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	b := newBench(t, 32*mib, serve(img))
	b.writer.Firmware = func() (image.Firmware, error) { return nil, fault.New(fault.BootEntry, "not booted by UEFI") }
	if _, err := b.write(b.spec("/a.raw", img)); !fault.Has(err, fault.BootEntry) || b.dev.Writes.Load() != 0 || b.requests.Load() != 0 {
		t.Fatalf("got %v, %d bytes written", err, b.dev.Writes.Load())
	}
}

func TestProgressIsTold(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	b := newBench(t, 32*mib, serve(img))
	var mu sync.Mutex
	var stages []string
	var last step.Progress
	_, err := b.writer.Write(t.Context(), b.spec("/a.raw", img), b.disk, func(p step.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Percent < last.Percent {
			t.Errorf("went back from %v to %v", last.Percent, p.Percent)
		}
		if s := p.Devices[0].Stage; len(stages) == 0 || stages[len(stages)-1] != s {
			stages = append(stages, s)
		}
		last = p
	})
	if err != nil || last.Percent != 100 || last.Total != int64(len(img)) {
		t.Fatalf("got %v, %+v", err, last)
	}
	if got := strings.Join(stages, " "); got != "fetch clear write verify partitions done" {
		t.Errorf("stages %q", got)
	}
}

// iso makes something with the look of an ISO 9660 file system.
func iso(n int) []byte {
	b := bytes.Repeat([]byte("config drive "), n/13+1)[:n]
	copy(b[32<<10:], "\x01CD001")
	copy(b[32<<10+40:], "config-2        ")
	return b
}

func TestConfigDrive(t *testing.T) {
	named := disktest.Part{Start: 21 * mib, Size: 2 * mib, Kind: disktest.Linux, Name: "config-2"}
	for name, c := range map[string]struct {
		img     []byte
		size    int64
		drive   []byte
		want    fault.Reason
		at      int64
		isFirst bool
	}{
		"a partition of that name": {disktest.Bootable(t, 24*mib, named), 100 * mib, iso(380_000), "", 21 * mib, false},
		"a new partition":          {disktest.Bootable(t, 24*mib), 100 * mib, iso(380_001), "", (100*mib - 33*512 - 64*mib) / mib * mib, false},
		"too large for the one":    {disktest.Bootable(t, 24*mib, named), 100 * mib, iso(5 * mib), "", (100*mib - 33*512 - 64*mib) / mib * mib, false},
		"no room":                  {disktest.Bootable(t, 24*mib), 80 * mib, iso(380_000), fault.DiskTooSmall, 0, false},
		"too large at all":         {disktest.Bootable(t, 24*mib), 100 * mib, iso(65 * mib), fault.ConfigDrive, 0, true},
		"not a file system":        {disktest.Bootable(t, 24*mib), 100 * mib, make([]byte, 100_000), fault.ConfigDrive, 0, true},
		"empty":                    {disktest.Bootable(t, 24*mib), 100 * mib, nil, fault.ConfigDrive, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.size, serve(c.img))
			b.old()
			before := b.dev.Writes.Load()
			s := b.spec("/a.raw", c.img)
			s.ConfigDrive = func(context.Context) ([]byte, error) { return c.drive, nil }
			w, err := b.write(s)
			if c.want != "" {
				if !fault.Has(err, c.want) {
					t.Fatalf("got %v, want %s", err, c.want)
				}
				if c.isFirst && b.dev.Writes.Load() != before {
					t.Error("bytes were written before the config drive was checked")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := b.dev.Bytes(t, c.at, len(c.drive)); !bytes.Equal(got, c.drive) {
				t.Errorf("%s: not at %d", w.ConfigDrive, c.at)
			}
			if rest := b.dev.Bytes(t, c.at+int64(len(c.drive)), 4096); bytes.Contains(rest, []byte{0xa5}) {
				t.Error("old data is left behind the config drive")
			}
			table, err := content.ReadTable(func(off int64, n int) ([]byte, error) { return b.dev.Bytes(t, off, n), nil }, c.size, 512)
			if err != nil {
				t.Fatal(err)
			}
			last := table.Partitions[len(table.Partitions)-1]
			if last.Name != "config-2" || last.Start != c.at {
				t.Errorf("table %+v", table)
			}
		})
	}
	t.Run("secret refused", func(t *testing.T) {
		img := disktest.Bootable(t, 24*mib)
		b := newBench(t, 100*mib, serve(img))
		s := b.spec("/a.raw", img)
		s.ConfigDrive = func(context.Context) ([]byte, error) { return nil, fault.New(fault.ChannelToken, "no") }
		if _, err := b.write(s); !fault.Has(err, fault.ChannelToken) || b.dev.Writes.Load() != 0 {
			t.Fatalf("got %v", err)
		}
	})
}

func TestI22_SecretsInTheURLStayHome(t *testing.T) {
	b := newBench(t, 32*mib, http.NotFound)
	var log bytes.Buffer
	b.writer.Log = slog.New(slog.NewJSONHandler(&log, nil))
	for _, url := range []string{
		strings.Replace(b.server.URL, "http://", "http://user:hunter2@", 1) + "/a.raw?sig=hunter2#hunter2", "http://user:hunter2@%zz/?hunter2", "ftp://u:hunter2@h/?hunter2",
	} {
		s := b.spec("", nil)
		s.URL = url
		w, err := b.write(s)
		if err == nil || strings.Contains(err.Error()+fmt.Sprint(w)+log.String(), "hunter2") {
			t.Errorf("%s: got %v, %+v, %s", url, err, w, &log)
		}
	}
}

func TestI23_OwnAddressesAreNotFetchedFrom(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	b := newBench(t, 32*mib, serve(img))
	b.writer.Client = image.NewClient(nil, false)
	if _, err := b.write(b.spec("/a.raw", img)); !fault.Has(err, fault.ImageUnreachable) || b.requests.Load() != 0 {
		t.Fatalf("got %v after %d requests", err, b.requests.Load())
	}
}

// fromMemory serves without sockets, so that it works in a bubble.
type fromMemory struct{ h http.HandlerFunc }

func (m fromMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.h(w, r)
	res := w.Result()
	res.Request, res.ContentLength = r, int64(w.Body.Len())
	return res, nil
}

// TestF15_WriteCutInTheMiddle: a disk that does no more than 2 MB/s is being written when the step is aborted. It stops
// within ten seconds, tells what is on the disk, and nothing there can be booted (I6). The next attempt writes from the
// start.
func TestF15_WriteCutInTheMiddle(t *testing.T) {
	junk := make([]byte, 40*mib)
	rand.NewChaCha8([32]byte{2}).Read(junk)
	for i, after := range []time.Duration{50 * time.Millisecond, 5 * time.Second, 12 * time.Second, 5 * time.Second, 12 * time.Second} {
		served := junk
		if i > 2 {
			served = qcow(t, junk)
		}
		synctest.Test(t, func(t *testing.T) {
			b := &bench{t: t, firmware: &firmware{}}
			m := disktest.New(t)
			b.dev = m.Add(disktest.Spec{Kernel: "sda", Serial: "S1", Size: 48 * mib, Class: inventory.SATA})
			b.old()
			g := &disk.Guard{Root: m.FS(), Layer: m, Log: slog.New(slog.DiscardHandler)}
			disks, err := g.Check(t.Context(), []inventory.DeviceID{b.dev.ID()}, map[string]any{"erase_raid_members": true})
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close(disks)
			b.disk = disks[0]
			client := &http.Client{Transport: fromMemory{func(w http.ResponseWriter, r *http.Request) { serve(served)(w, r) }}}
			b.writer = &image.Writer{Client: client, Firmware: func() (image.Firmware, error) { return b.firmware, nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
			spec := func() image.Spec {
				sum := sha256.Sum256(served)
				return image.Spec{URL: "http://images/a.img", Algorithm: "sha256", Digest: hex.EncodeToString(sum[:])}
			}
			var mu sync.Mutex
			var free time.Time
			b.dev.Fail = func(op string, _ int64, n int) error {
				if op != "write" {
					return nil
				}
				mu.Lock()
				if now := time.Now(); free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(n) * time.Second / 2_000_000)
				wait := time.Until(free)
				mu.Unlock()
				<-time.After(wait)
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			began := time.Now()
			_, err = b.writer.Write(ctx, spec(), b.disk, func(step.Progress) {})
			if took := time.Since(began) - after; took > 10*time.Second {
				t.Errorf("after %s it took %s to stop", after, took)
			}
			var s *step.Stopped
			if !errors.As(err, &s) || !strings.Contains(s.Left, "S1") {
				t.Fatalf("after %s: %v", after, err)
			}
			if after > time.Second && !strings.Contains(s.Left, "can't be booted") {
				t.Errorf("after %s: %s", after, s.Left)
			}
			if after > time.Second {
				b.notBootable()
			}
			b.dev.Fail = nil
			served = disktest.Bootable(t, 24*mib)
			if _, err := b.write(spec()); err != nil || !bytes.Equal(b.dev.Bytes(t, mib, len(served)-2*mib), served[mib:len(served)-mib]) || b.firmware.loader == "" {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}
