package image_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

const mib = 1 << 20

// firmware keeps what it is told.
type firmware struct {
	loader string
	part   system.Partition
	err    error
}

func (f *firmware) SetBootEntry(_ string, p system.Partition, loader string) error {
	f.loader, f.part = loader, p
	return f.err
}

// bench is a disk, a server and a writer.
type bench struct {
	t        testing.TB
	dev      *disktest.Device
	disk     *disk.Disk
	firmware *firmware
	writer   *image.Writer
	server   *httptest.Server
	handler  atomic.Pointer[http.HandlerFunc]
	requests atomic.Int64
}

func newBench(t testing.TB, size int64, serve http.HandlerFunc) *bench {
	t.Helper()
	return newSectors(t, size, 512, serve)
}

// newSectors makes a bench whose disk has sectors of that many bytes.
func newSectors(t testing.TB, size int64, sector int, serve http.HandlerFunc) *bench {
	t.Helper()
	b := &bench{t: t, firmware: &firmware{}}
	m := disktest.New(t)
	b.dev = m.Add(disktest.Spec{Kernel: "nvme0n1", Serial: "N1", WWN: "eui.1", Size: size, Align: sector, Class: inventory.NVMePCIe})
	g := &disk.Guard{Root: m.FS(), Layer: m, Log: slog.New(slog.DiscardHandler)}
	disks, err := g.Check(t.Context(), []inventory.DeviceID{b.dev.ID()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.disk = disks[0]
	b.handler.Store(&serve)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		(*b.handler.Load())(w, r)
	}))
	client := image.NewClient(nil, true)
	b.writer = &image.Writer{
		Client: client, Firmware: func() (image.Firmware, error) { return b.firmware, nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		b.server.Close()
		disk.Close(disks)
	})
	return b
}

func serve(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

func (b *bench) spec(path string, served []byte) image.Spec {
	sum := sha256.Sum256(served)
	return image.Spec{URL: b.server.URL + path, Algorithm: "sha256", Digest: hex.EncodeToString(sum[:])}
}

func (b *bench) write(s image.Spec) (image.Written, error) {
	return b.writer.Write(b.t.Context(), s, b.disk, func(step.Progress) {})
}

func compress(t testing.TB, b []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderLevel(zstd.SpeedFastest))...)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(b, nil)
}

// gz and xzs compress as gzip and xz do.
func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func xzs(t testing.TB, b []byte, dictionary int) []byte {
	t.Helper()
	type key struct {
		sum        [sha256.Size]byte
		dictionary int
	}
	k := key{sha256.Sum256(b), dictionary}
	if made, ok := xzed.Load(k); ok {
		return bytes.Clone(made.([]byte))
	}
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: dictionary}.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	xzed.Store(k, bytes.Clone(out.Bytes()))
	return out.Bytes()
}

// xzed is what xzs has made: it is slow, under the race detector above all, and tests pack the same image again and again.
var xzed sync.Map

// notBootable fails if firmware or kernel could find anything to boot on the disk.
func (b *bench) notBootable() {
	b.t.Helper()
	if head := b.dev.Bytes(b.t, 0, mib); !bytes.Equal(head, make([]byte, mib)) {
		b.t.Error("the first MiB is not empty")
	}
	tail := b.dev.Bytes(b.t, b.dev.Size-mib, mib)
	if bytes.Contains(tail, []byte("EFI PART")) {
		b.t.Error("a backup partition table is at the disk's end")
	}
	if b.firmware.loader != "" {
		b.t.Error("the firmware was told of a boot loader")
	}
}

// old makes the disk look as a previous user left it: bootable, and full.
func (b *bench) old() {
	b.dev.Fill(b.t, 0xa5)
	parts := []disktest.Part{{Start: mib, Size: mib, Kind: disktest.ESP}}
	head, tail := disktest.GPT(512, b.dev.Size, parts), disktest.GPTBackup(512, b.dev.Size, parts)
	b.dev.File.WriteAt(head, 0)
	b.dev.File.WriteAt(tail, b.dev.Size-int64(len(tail)))
}
