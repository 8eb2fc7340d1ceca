package erase_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

const mib = 1 << 20

var quiet = slog.New(slog.DiscardHandler)

func eraser() *erase.Eraser { return &erase.Eraser{Now: time.Now, Log: quiet} }

func isZero(t testing.TB, d *disktest.Device) bool {
	t.Helper()
	b := d.Bytes(t, 0, int(d.Size))
	return bytes.Equal(b, make([]byte, len(b)))
}

func none(step.Progress) {}

func TestI05_EraseEveryClassAndProveIt(t *testing.T) {
	m, devices := disktest.World(t)
	for _, d := range devices {
		d.Fill(t, 0xa5)
	}
	devices[3].NVMe.OACS = 2
	disks := m.Held(t, devices...)
	var mu sync.Mutex
	var last step.Progress
	records, err := eraser().Erase(t.Context(), disks, erase.Options{}, func(p step.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Percent < last.Percent {
			t.Errorf("progress went back from %v to %v", last.Percent, p.Percent)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{erase.MethodPunch, erase.MethodWrite, erase.MethodWrite, erase.MethodFormat}
	for i, r := range records {
		if r.Method != want[i] || r.From != 0 || r.To != devices[i].Size || r.ID != devices[i].ID() || r.Error != "" {
			t.Errorf("record %+v, want method %s", r, want[i])
		}
		if v := r.Verify; v.Mode != "sample" || v.Windows != 2002 || v.Bytes < r.To/10 || v.Bytes > r.To/4 || v.Digest == "" || v.Seed == "" {
			t.Errorf("%s: proof %+v", r.Device, v)
		}
		if !isZero(t, devices[i]) {
			t.Errorf("%s still holds data", r.Device)
		}
	}
	if last.Percent != 100 || len(last.Devices) != 4 || last.Devices[0].Stage != "done" {
		t.Errorf("last progress %+v", last)
	}
	if b, err := json.Marshal(records); err != nil || !bytes.Contains(b, []byte(`"verify"`)) {
		t.Errorf("records as JSON: %s, %v", b, err)
	}
}

func TestEraseOptions(t *testing.T) {
	m, devices := disktest.World(t)
	devices[3].NVMe.OACS = 2
	disks := m.Held(t, devices[0], devices[3])
	records, err := eraser().Erase(t.Context(), disks, erase.Options{Overwrite: true, Full: true}, none)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Method != erase.MethodWrite || r.Verify.Mode != "full" || r.Verify.Bytes != r.To {
			t.Errorf("record %+v", r)
		}
	}
	if len(devices[3].NVMe.Formats) != 0 {
		t.Error("formatted though only overwriting was allowed")
	}
}

func TestSmallDiskIsReadInFull(t *testing.T) {
	m := disktest.New(t)
	d := m.Add(disktest.Spec{Kernel: "vda", Serial: "S", Size: 3*mib + 512, Class: inventory.VirtIO})
	d.Fill(t, 1)
	records, err := eraser().Erase(t.Context(), m.Held(t, d), erase.Options{}, none)
	if err != nil || records[0].Verify.Mode != "full" || records[0].Verify.Bytes != d.Size || !isZero(t, d) {
		t.Fatalf("got %+v, %v", records, err)
	}
}

// TestF20_SecureEraseLadder: the recorded method is the one whose result held.
func TestF20_SecureEraseLadder(t *testing.T) {
	garble := func(d *disktest.Device) func(uint32) error { // a cryptographic erase leaves noise
		return func(uint32) error { d.Fill(t, 0x3c); return nil }
	}
	for _, c := range []struct {
		name    string
		spoil   func(d *disktest.Device)
		method  string
		formats []uint32
		tried   string
	}{
		{"crypto", func(d *disktest.Device) { d.NVMe.FNA = 4; d.NVMe.Format = garble(d) }, erase.MethodFormatCrypto, []uint32{2 << 9}, ""},
		{"user data", func(*disktest.Device) {}, erase.MethodFormat, []uint32{1 << 9}, ""},
		{"no format command", func(d *disktest.Device) { d.NVMe.OACS = 0 }, erase.MethodWrite, nil, "not supported"},
		{"identify fails", func(d *disktest.Device) {
			asked := 0
			d.Fail = func(op string, _ int64, _ int) error {
				if op != "identify" {
					return nil
				}
				if asked++; asked <= 2 { // the guard asks for reservations first, and takes no failure
					return nil
				}
				return syscall.EIO
			}
		}, erase.MethodWrite, nil, "input/output"},
		{"crypto fails, user data does it", func(d *disktest.Device) {
			d.NVMe.FNA = 4
			d.NVMe.Format = func(cdw10 uint32) error {
				if cdw10>>9 == 2 {
					return errors.New("status 0x2002")
				}
				d.Fill(t, 0)
				return nil
			}
		}, erase.MethodFormat, []uint32{2 << 9, 1 << 9}, "0x2002"},
		{"format fails", func(d *disktest.Device) { fails(d, "format", syscall.EIO) }, erase.MethodWrite, []uint32{1 << 9}, "input/output"},
		{"format lies", func(d *disktest.Device) { d.NVMe.Format = func(uint32) error { return nil } }, erase.MethodWrite, []uint32{1 << 9}, "still holds data"},
		{"crypto lies", func(d *disktest.Device) { d.NVMe.FNA = 4; d.NVMe.Format = func(uint32) error { return nil } },
			erase.MethodWrite, []uint32{2 << 9, 1 << 9}, "still holds data"},
		{"user data leaves noise", func(d *disktest.Device) { d.NVMe.Format = garble(d) }, erase.MethodWrite, []uint32{1 << 9}, "still holds data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, devices := disktest.World(t)
			d := devices[3]
			d.Fill(t, 0xa5)
			d.NVMe.OACS = 2
			c.spoil(d)
			records, err := eraser().Erase(t.Context(), m.Held(t, d), erase.Options{}, none)
			if err != nil {
				t.Fatal(err)
			}
			r := records[0]
			if r.Method != c.method || !strings.Contains(strings.Join(r.Tried, ";"), c.tried) || (c.tried == "") != (len(r.Tried) == 0) {
				t.Errorf("method %s after %q, want %s after %q", r.Method, r.Tried, c.method, c.tried)
			}
			if !slicesEqual(d.NVMe.Formats, c.formats) {
				t.Errorf("formats %x, want %x", d.NVMe.Formats, c.formats)
			}
			if c.method != erase.MethodFormatCrypto && !isZero(t, d) {
				t.Error("data is left")
			}
			if c.method == erase.MethodFormatCrypto && r.Verify.Expect != "changed" {
				t.Errorf("proof %+v", r.Verify)
			}
		})
	}
}

func slicesEqual(a, b []uint32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func fails(d *disktest.Device, op string, err error) {
	d.Fail = func(o string, _ int64, _ int) error {
		if o == op {
			return err
		}
		return nil
	}
}

// TestI01_FormatThatReachesOtherNamespaces: a drive whose erase covers all namespaces is overwritten instead while one
// of them is not to be erased.
func TestI01_FormatThatReachesOtherNamespaces(t *testing.T) {
	m := disktest.New(t)
	add := func(kernel, wwn string) *disktest.Device {
		d := m.Add(disktest.Spec{Kernel: kernel, Serial: "N", WWN: wwn, Size: 4 * mib, Class: inventory.NVMePCIe})
		d.NVMe.OACS, d.NVMe.FNA = 2, 2
		d.Fill(t, 0xa5)
		return d
	}
	a, b := add("nvme0n1", "eui.1"), add("nvme0n2", "eui.2")
	records, err := eraser().Erase(t.Context(), m.Held(t, a), erase.Options{}, none)
	if err != nil || records[0].Method != erase.MethodWrite || len(a.NVMe.Formats) != 0 || b.Writes.Load() != 0 {
		t.Fatalf("got %+v, %v, formats %v", records, err, a.NVMe.Formats)
	}
	if both, err := m.Guard().Check(t.Context(), disktest.IDs(b), nil); err != nil {
		t.Fatal(err)
	} else {
		disk.Close(both)
	}
	m2 := disktest.New(t)
	m = m2
	a, b = add("nvme0n1", "eui.1"), add("nvme0n2", "eui.2")
	records, err = eraser().Erase(t.Context(), m.Held(t, a, b), erase.Options{}, none)
	if err != nil || records[0].Method != erase.MethodFormat || records[1].Method != erase.MethodFormat {
		t.Fatalf("got %+v, %v", records, err)
	}
}

func TestVirtualDiskLadder(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*disktest.Device)
		method string
	}{
		"no zeroing command": {func(d *disktest.Device) { d.NoZero = true }, erase.MethodWrite},
		"commands lie":       {func(d *disktest.Device) { d.Lies = true }, erase.MethodWrite},
		"punching fails":     {func(d *disktest.Device) { fails(d, "punch", syscall.EIO) }, erase.MethodZeroOut},
	} {
		t.Run(name, func(t *testing.T) {
			m, devices := disktest.World(t)
			d := devices[0]
			d.Fill(t, 0xa5)
			c.spoil(d)
			records, err := eraser().Erase(t.Context(), m.Held(t, d), erase.Options{}, none)
			if err != nil || records[0].Method != c.method || !isZero(t, d) {
				t.Fatalf("got %+v, %v", records, err)
			}
		})
	}
}

// TestI05_F18_BrokenDisks: whatever a disk does while it is erased, it is never reported as erased, it is named, and the
// other disk is finished all the same.
func TestI05_F18_BrokenDisks(t *testing.T) {
	after := func(d *disktest.Device, op string, bytes int64, do func() error) {
		var done atomic.Int64
		d.Fail = func(o string, _ int64, n int) error {
			if o == op && done.Add(int64(n)) > bytes {
				return do()
			}
			return nil
		}
	}
	for name, spoil := range map[string]func(m *disktest.Machine, d *disktest.Device){
		"medium error on write": func(_ *disktest.Machine, d *disktest.Device) {
			after(d, "write", 20*mib, func() error { return syscall.EIO })
		},
		"medium error on read back": func(_ *disktest.Machine, d *disktest.Device) {
			after(d, "read", 8*mib, func() error { return syscall.EIO })
		},
		"vanishes": func(_ *disktest.Machine, d *disktest.Device) {
			after(d, "write", 20*mib, func() error { return syscall.ENXIO })
		},
		"turns read-only": func(_ *disktest.Machine, d *disktest.Device) {
			after(d, "write", 20*mib, func() error { return syscall.EPERM })
		},
		"flush fails":          func(_ *disktest.Machine, d *disktest.Device) { fails(d, "sync", syscall.EIO) },
		"shrinks before":       func(_ *disktest.Machine, d *disktest.Device) { d.Shrunk = d.Size / 2 },
		"becomes another disk": func(m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/size", "512\n") },
		"shrinks while being read": func(_ *disktest.Machine, d *disktest.Device) {
			after(d, "read", 4*mib, func() error { return d.File.Truncate(mib) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, devices := disktest.World(t)
			bad, good := devices[1], devices[2]
			bad.Fill(t, 0xa5)
			good.Fill(t, 0xa5)
			disks := m.Held(t, bad, good)
			spoil(m, bad)
			records, err := eraser().Erase(t.Context(), disks, erase.Options{}, none)
			f := fault.From(err)
			if err == nil || f.Reason == fault.InternalError || !strings.Contains(f.Message, "A1") {
				t.Fatalf("got %v", err)
			}
			if records[0].Error == "" || records[0].Method != "" || records[1].Method != erase.MethodWrite || records[1].Error != "" {
				t.Errorf("records %+v", records)
			}
			if !isZero(t, good) {
				t.Error("the good disk was not finished")
			}
		})
	}
}

func TestI05_DataThatCannotBeErasedIsFound(t *testing.T) {
	m, devices := disktest.World(t)
	d := devices[1]
	disks := m.Held(t, d)
	// One place in a hundred keeps what it held: writes there succeed and do nothing.
	d.Fail = func(op string, off int64, n int) error {
		if op == "read" {
			d.File.WriteAt([]byte("old data"), 41*mib)
			d.File.WriteAt(bytes.Repeat([]byte{7}, 2*mib), 60*mib)
		}
		return nil
	}
	if _, err := eraser().Erase(t.Context(), disks, erase.Options{}, none); !fault.Has(err, fault.DiskNotErased) {
		t.Fatalf("got %v", err)
	}
}

// TestI07_InterruptedEraseCanBeRepeated: no way to erase that is used here can leave a disk locked. Whichever operation
// an erase breaks off at, the next one needs nothing from it and finishes.
func TestI07_InterruptedEraseCanBeRepeated(t *testing.T) {
	for n := int64(1); ; n++ {
		m, devices := disktest.World(t)
		d := devices[3]
		d.Fill(t, 0xa5)
		d.NVMe.OACS, d.NVMe.FNA = 2, 4
		disks, err := m.Guard().Check(t.Context(), disktest.IDs(d), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var count atomic.Int64
		d.Fail = func(op string, _ int64, _ int) error {
			if count.Add(1) >= n { // from here on nothing works: the power is gone
				cancel()
				return syscall.EIO
			}
			return nil
		}
		_, err = eraser().Erase(ctx, disks, erase.Options{}, none)
		disk.Close(disks)
		cancel()
		d.Fail = nil
		if again, e := eraser().Erase(t.Context(), m.Held(t, d), erase.Options{}, none); e != nil || again[0].Error != "" {
			t.Fatalf("broken off at operation %d, then: %+v, %v", n, again, e)
		}
		if err == nil {
			return
		}
		if n > 40 {
			n += 500 // the samples: more of the same
		}
	}
}

func TestEraseStopsWhenAskedAndSaysHowFar(t *testing.T) {
	m, devices := disktest.World(t)
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	devices[1].Fail = func(op string, _ int64, _ int) error {
		if op == "write" && n.Add(1) == 6 {
			cancel()
		}
		return nil
	}
	disks := m.Held(t, devices[1])
	_, err := eraser().Erase(ctx, disks, erase.Options{}, none)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "A1") || !strings.Contains(err.Error(), "%") {
		t.Fatalf("got %v", err)
	}
	if w := devices[1].Writes.Load(); w >= devices[1].Size {
		t.Errorf("went on to the end: %d bytes", w)
	}
}

func TestMetadataRemovesEverySignature(t *testing.T) {
	m, devices := disktest.World(t)
	d := devices[1]
	d.Fill(t, 0xa5)
	parts := []disktest.Part{{Start: 4 * mib, Size: 8 * mib, Kind: disktest.Linux, Name: "a"}, {Start: 20 * mib, Size: 30 * mib, Kind: disktest.Linux, Name: "b"}}
	d.Put(t, 0, disktest.GPT(512, d.Size, parts))
	back := disktest.GPTBackup(512, d.Size, parts)
	d.Put(t, d.Size-int64(len(back)), back)
	m.Partition(d, "sda1", 12*mib, 4*mib) // what the kernel still believes
	records, err := eraser().Metadata(t.Context(), m.Held(t, d), none)
	if err != nil || records[0].Method != erase.MethodMetadata || records[0].Verify.Mode != "full" || records[0].Verify.Bytes == 0 {
		t.Fatalf("got %+v, %v", records, err)
	}
	for _, area := range [][2]int64{
		{0, 4 * mib}, {d.Size - 4*mib, 4 * mib}, // tables
		{4 * mib, 2 * mib}, {11 * mib, mib}, {20 * mib, 2 * mib}, {49 * mib, mib}, // the table's partitions
		{12 * mib, 2 * mib}, {15 * mib, mib}, // the kernel's
		{64 * mib, 64 << 10},
	} {
		if b := d.Bytes(t, area[0], int(area[1])); !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("something is left in the %d bytes from %d on", area[1], area[0])
		}
	}
	if b := d.Bytes(t, 30*mib, 512); b[0] != 0xa5 {
		t.Error("data between was touched: this step is the quick one")
	}
}

func TestI05_MetadataThatComesBackIsFound(t *testing.T) {
	m, devices := disktest.World(t)
	d := devices[1]
	disks := m.Held(t, d)
	fails(d, "nothing", nil)
	synced := false
	d.Fail = func(op string, _ int64, _ int) error {
		if op == "sync" && !synced {
			synced = true
			d.Put(t, 512, []byte("EFI PART"))
		}
		return nil
	}
	if _, err := eraser().Metadata(t.Context(), disks, none); !fault.Has(err, fault.DiskNotErased) {
		t.Fatalf("got %v", err)
	}
}
