package generic_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/managers"
	"github.com/bessemer-metal/bessemer/agent/raid"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/hardware-managers/generic"
	"github.com/bessemer-metal/bessemer/hardware-managers/managertest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

type firmware struct {
	loader  string
	entries []string
}

func (f *firmware) SetBootEntry(label string, p system.Partition, loader string) error {
	f.loader, f.entries = loader, append(f.entries, fmt.Sprint(label, " ", p.Number, " ", p.GUID))
	return nil
}

// machine is a node with two disks and the generic manager on it.
type machine struct {
	*managers.Set
	x        *disktest.Machine
	one, two *disktest.Device
	firmware firmware
	rescue   rescue
	mdadm    *disktest.Mdadm
}

// rescue notes who may log in.
type rescue struct{ hash string }

func (r *rescue) Admit(_ context.Context, hash string) error { r.hash = hash; return nil }

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := machineOf(t, 80*mib)
	m.one.Fill(t, 0xa5)
	m.two.Fill(t, 0xa5)
	return m
}

// machineOf has two blank disks of this size.
func machineOf(t *testing.T, size int64) *machine {
	t.Helper()
	x := disktest.New(t)
	m := &machine{
		x:   x,
		one: x.Add(disktest.Spec{Kernel: "vda", Serial: "S1", Size: size, Class: inventory.VirtIO}),
		two: x.Add(disktest.Spec{Kernel: "sda", Serial: "S2", Size: size, Class: inventory.SATA}),
	}
	log := slog.New(slog.DiscardHandler)
	client := image.NewClient(nil, true)
	t.Cleanup(client.CloseIdleConnections)
	mgr := generic.New(
		&disk.Guard{Root: x.FS(), Layer: x, Log: log},
		&erase.Eraser{Now: time.Now, Log: log},
		&image.Writer{Client: client, Firmware: func() (image.Firmware, error) { return &m.firmware, nil }, Now: time.Now, Log: log},
		m.builder(t, x, log),
		&m.rescue,
	)
	set, err := managers.Load(t.Context(), &hardware.Machine{Root: x.FS(), Log: log}, []hardware.Manager{mgr})
	if err != nil {
		t.Fatal(err)
	}
	m.Set = set
	return m
}

// builder is what builds arrays on the machine's disks.
func (m *machine) builder(t *testing.T, x *disktest.Machine, log *slog.Logger) *raid.Builder {
	m.mdadm = disktest.NewMdadm(t, x, m.one, m.two)
	eraser := &erase.Eraser{Now: time.Now, Log: log}
	return &raid.Builder{
		Guard: x.Guard(), Exec: m.mdadm, Root: x.FS(), Notes: filepath.Join(t.TempDir(), "raid"), Log: log,
		Clear: func(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) error {
			_, err := eraser.Metadata(ctx, disks, report)
			return err
		},
	}
}

func call(devices ...*disktest.Device) step.Call {
	c := step.Call{
		ID: "1", Report: func(step.Progress) {}, Log: slog.New(slog.DiscardHandler),
		Secret: func(context.Context, string) ([]byte, error) { return nil, fault.New(fault.ChannelToken, "none") },
	}
	for _, d := range devices {
		c.Devices = append(c.Devices, d.ID())
	}
	return c
}

func TestContract(t *testing.T) {
	managertest.Run(t, managertest.Contract{New: func() hardware.Manager { return generic.New(nil, nil, nil, nil, nil) }})
}

func TestI05_EraseStepsCoverTheMachine(t *testing.T) {
	for _, name := range []string{"deploy.erase_devices_metadata", "deploy.erase_devices"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if _, err := m.Run(t.Context(), name, call(m.one)); !fault.Has(err, fault.DiskChanged) {
				t.Fatalf("one disk left out: got %v", err)
			}
			if m.one.Writes.Load()+m.two.Writes.Load() != 0 {
				t.Fatal("bytes were written")
			}
			res, err := m.Run(t.Context(), name, call(m.one, m.two))
			if err != nil {
				t.Fatal(err)
			}
			wire, err := json.Marshal(res)
			if err != nil {
				t.Fatal(err)
			}
			var back struct {
				Data struct{ Devices []erase.Record }
			}
			if err := json.Unmarshal(wire, &back); err != nil || len(back.Data.Devices) != 2 || back.Data.Devices[1].ID != m.two.ID() || back.Data.Devices[1].Verify.Bytes == 0 {
				t.Errorf("result %s, %v", wire, err)
			}
			if m.one.Opened()+m.two.Opened() != 0 {
				t.Error("disks are still held")
			}
		})
	}
}

func TestI05_SkippedDiskIsKept(t *testing.T) {
	m := newMachine(t)
	c := call(m.one)
	c.Node = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "S2"}}}
	if _, err := m.Run(t.Context(), "deploy.erase_devices", c); err != nil {
		t.Fatal(err)
	}
	if m.two.Writes.Load() != 0 || m.two.Bytes(t, 0, 1)[0] != 0xa5 {
		t.Error("the skipped disk was touched")
	}
	if b := m.one.Bytes(t, 0, 80*mib); !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("the other disk was not erased")
	}
}

func TestWriteImage(t *testing.T) {
	img := disktest.Bootable(t, 24*mib)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(img) }))
	defer srv.Close()
	sum := sha256.Sum256(img)
	args := step.Args{"url": srv.URL + "/a.raw", "digest_algorithm": "sha256", "digest": hex.EncodeToString(sum[:])}
	m := newMachine(t)

	c := call(m.one, m.two)
	c.Args = args
	if _, err := m.Run(t.Context(), "deploy.write_image", c); !fault.Has(err, fault.DiskAmbiguous) {
		t.Fatalf("two disks: got %v", err)
	}
	c = call(m.two)
	c.Args = args
	res, err := m.Run(t.Context(), "deploy.write_image", c)
	if err != nil {
		t.Fatal(err)
	}
	if res.Data["digest"] != args["digest"] || res.Data["written_sha256"] != args["digest"] || m.firmware.loader == "" {
		t.Errorf("result %v, loader %q", res.Data, m.firmware.loader)
	}
	var written catalog.Written // as the server reads it (I6)
	raw, err := json.Marshal(res.Data)
	if err == nil {
		err = json.Unmarshal(raw, &written)
	}
	if lacks := written.Lacks(args, c.Devices[0]); err != nil || lacks != "" {
		t.Errorf("the record proves nothing: %s, %v", lacks, err)
	}
	if m.one.Writes.Load() != 0 {
		t.Error("the other disk was touched") // I1
	}

	c.Args = step.Args{"configdrive": true}
	for k, v := range args {
		c.Args[k] = v
	}
	if _, err := m.Run(t.Context(), "deploy.write_image", c); !fault.Has(err, fault.ChannelToken) {
		t.Fatalf("config drive refused: got %v", err)
	}
	c.Args = step.Args{"url": "x"}
	if _, err := m.Run(t.Context(), "deploy.write_image", c); !fault.Has(err, fault.StepArgument) {
		t.Fatalf("arguments missing: got %v", err)
	}
}

func TestFinalizeRescueTakesTheHashAndNoDisk(t *testing.T) {
	m := newMachine(t)
	c := call()
	c.Secret = func(_ context.Context, name string) ([]byte, error) { return []byte("$6$ of " + name), nil }
	if _, err := m.Run(t.Context(), "rescue.finalize_rescue", c); err != nil {
		t.Fatal(err)
	}
	if m.rescue.hash != "$6$ of rescue_password" || m.one.Opened()+m.two.Opened() != 0 || m.one.Writes.Load()+m.two.Writes.Load() != 0 {
		t.Errorf("hash %q, or a disk was opened", m.rescue.hash)
	}
	if _, err := m.Run(t.Context(), "rescue.finalize_rescue", call()); !fault.Has(err, fault.ChannelToken) {
		t.Errorf("without the secret: %v", err)
	}
}

const mirrored = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": "MAX", "is_root_volume": true}]}`

// mirror is a call that builds an array of both disks.
func (m *machine) mirror(t *testing.T) step.Call {
	t.Helper()
	for _, d := range []*disktest.Device{m.one, m.two} { // what filled them before is no partition table
		d.Put(t, 0, make([]byte, mib))
		d.Put(t, d.Size-mib, make([]byte, mib))
	}
	var config map[string]any
	if err := json.Unmarshal([]byte(mirrored), &config); err != nil {
		t.Fatal(err)
	}
	c := call(m.one, m.two)
	c.Node = map[string]any{catalog.TargetRAID: config, catalog.RunOf: "r/0"}
	return c
}

// The steps build what the server gives them, tell what was built, and remove it.
func TestRAIDSteps(t *testing.T) {
	m := newMachine(t)
	if res, err := m.Run(t.Context(), catalog.CreateRAID, call(m.one, m.two)); err != nil || res.Data != nil || len(m.mdadm.Said) != 0 {
		t.Errorf("nothing to build: %v, %v, %v", res, err, m.mdadm.Said)
	}
	c := m.mirror(t)
	for _, name := range []string{catalog.CreateRAID, catalog.ApplyRAID} {
		if name == catalog.ApplyRAID {
			c.Node[catalog.RunOf] = "r/1"
			c.Args = step.Args{"raid_config": c.Node[catalog.TargetRAID]} // it removes what is there, if not told otherwise
		}
		res, err := m.Run(t.Context(), name, c)
		if err != nil {
			t.Fatal(err)
		}
		built, _ := res.Data[catalog.BuiltRAID].(map[string]any)
		if list, _ := built["logical_disks"].([]any); len(list) != 1 {
			t.Errorf("%s built %v", name, res.Data)
		}
	}
	c.Node[catalog.RunOf] = "r/2"
	c.Args = nil
	if _, err := m.Run(t.Context(), catalog.CreateRAID, c); !fault.Has(err, fault.DiskProtected) {
		t.Errorf("arrays are there: %v", err)
	}
	res, err := m.Run(t.Context(), catalog.DeleteRAID, call(m.one, m.two))
	if list, there := res.Data[catalog.BuiltRAID].(map[string]any)["logical_disks"].([]any); err != nil || !there || len(list) != 0 || len(res.Data["deleted"].([]any)) != 1 {
		t.Errorf("deleted %v, %v", res, err)
	}
	if m.one.Opened()+m.two.Opened() != 0 || len(m.mdadm.Running()) != 0 {
		t.Error("disks are still held")
	}
}

// An array does not keep its disks from being erased, whole as they are (safety.md I5): not one that a step left running either.
func TestI05_MembersOfArraysAreErased(t *testing.T) {
	m := newMachine(t)
	stuck := true
	m.mdadm.Fail = func(a []string) error {
		if stuck && len(a) > 1 && a[1] == "--stop" {
			stuck = false
			return context.DeadlineExceeded
		}
		return nil
	}
	if _, err := m.Run(t.Context(), catalog.CreateRAID, m.mirror(t)); err == nil || len(m.mdadm.Running()) != 1 {
		t.Fatalf("%v, running %v", err, m.mdadm.Running())
	}
	if _, err := m.Run(t.Context(), "deploy.erase_devices", call(m.one)); !fault.Has(err, fault.DiskChanged) {
		t.Errorf("one member left out: %v", err)
	}
	if _, err := m.Run(t.Context(), "deploy.erase_devices", call(m.one, m.two)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*disktest.Device{m.one, m.two} {
		if b := d.Bytes(t, 0, 80*mib); !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s was not erased", d.Kernel)
		}
	}
}

// imageCall is a call that writes img to the disk, and the arguments it has.
func (m *machine) imageCall(t *testing.T, img []byte, id inventory.DeviceID) step.Call {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(img) }))
	t.Cleanup(srv.Close)
	sum := sha256.Sum256(img)
	c := call()
	c.Devices = []inventory.DeviceID{id}
	c.Args = step.Args{"url": srv.URL + "/a.raw", "digest_algorithm": "sha256", "digest": hex.EncodeToString(sum[:])}
	return c
}

// An image goes to an array by its members, all of them examined; its EFI system partition goes to the mirror, and firmware
// learns of each member's.
func TestImageGoesToAnArray(t *testing.T) {
	m := machineOf(t, 700*mib)
	m.x.Write("sys/firmware/efi/runtime", "")
	res, err := m.Run(t.Context(), catalog.CreateRAID, m.mirror(t))
	if err != nil {
		t.Fatal(err)
	}
	v := res.Data[catalog.BuiltRAID].(map[string]any)["logical_disks"].([]any)[0].(map[string]any)
	id := inventory.DeviceID{Serial: v["uuid"].(string), Size: int64(v["size_bytes"].(float64)), Class: inventory.MDRAID}
	img := disktest.Bootable(t, 24*mib)
	c := m.imageCall(t, img, id)
	res, err = m.Run(t.Context(), catalog.WriteStep, c)
	if err != nil {
		t.Fatal(err)
	}
	var written catalog.Written
	raw, err := json.Marshal(res.Data)
	if err == nil {
		err = json.Unmarshal(raw, &written)
	}
	if lacks := written.Lacks(c.Args, id); err != nil || lacks != "" {
		t.Errorf("the record proves nothing: %s, %v", lacks, err)
	}
	array, mirror := m.mdadm.Arrays["md0"], m.mdadm.Arrays["md1"]
	table, err := content.ReadTable(func(off int64, n int) ([]byte, error) { return img[off : off+int64(n)], nil }, int64(len(img)), 512)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table.Partitions, func(p content.Part) bool { return p.GUID == content.SystemEFI })
	esp := table.Partitions[i]
	if !bytes.Equal(mirror.Bytes(t, 0, int(esp.Size)), img[esp.Start:esp.Start+esp.Size]) {
		t.Error("the mirror does not hold the image's EFI system partition")
	}
	if b := array.Bytes(t, esp.Start, 4096); !bytes.Equal(b, make([]byte, len(b))) {
		t.Error("the image's own EFI system partition is still one")
	}
	if e := m.firmware.entries; len(e) != 2 || !strings.HasPrefix(e[0], "Bessemer 2 1 ") || !strings.HasPrefix(e[1], "Bessemer 1 ") || e[0][11:] == e[1][9:] {
		t.Errorf("firmware's entries are %q, the first one last", e)
	}
	if m.one.Opened()+m.two.Opened()+array.Opened()+mirror.Opened() != 0 || len(m.mdadm.Running()) != 0 {
		t.Error("something is still held")
	}
}

// No array is run, and no byte written, when one of its disks may not be, or it is not the one that was asked for
// (safety.md I1, I2, I3, I4).
func TestI02_NoImageGoesToAnArrayOfAProtectedDisk(t *testing.T) {
	for name, spoil := range map[string]func(m *machine, c *step.Call){
		"mounted member": func(m *machine, _ *step.Call) {
			m.x.Write("proc/self/mountinfo", "30 22 "+m.two.Number+" / /mnt rw - ext4 /dev/x rw\n")
		},
		"skipped member": func(_ *machine, c *step.Call) {
			c.Node = map[string]any{"skip_block_devices": []any{map[string]any{"serial": "S2"}}}
		},
		"skipped array": func(_ *machine, c *step.Call) {
			c.Node = map[string]any{"skip_block_devices": []any{map[string]any{"serial": c.Devices[0].Serial}}}
		},
		"missing member": func(m *machine, _ *step.Call) { m.x.Remove(m.two) },
		"another size":   func(_ *machine, c *step.Call) { c.Devices[0].Size++ },
		"another array":  func(_ *machine, c *step.Call) { c.Devices[0].Serial = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			m := machineOf(t, 80*mib)
			res, err := m.Run(t.Context(), catalog.CreateRAID, m.mirror(t))
			if err != nil {
				t.Fatal(err)
			}
			v := res.Data[catalog.BuiltRAID].(map[string]any)["logical_disks"].([]any)[0].(map[string]any)
			c := m.imageCall(t, make([]byte, mib), inventory.DeviceID{Serial: v["uuid"].(string), Size: int64(v["size_bytes"].(float64)), Class: inventory.MDRAID})
			spoil(m, &c)
			before, said := m.one.Writes.Load()+m.two.Writes.Load(), len(m.mdadm.Said)
			if _, err := m.Run(t.Context(), catalog.WriteStep, c); err == nil || fault.From(err).Reason == fault.InternalError {
				t.Errorf("got %v", err)
			}
			for _, s := range m.mdadm.Said[said:] {
				if s != "mdadm --version" {
					t.Errorf("%s", s)
				}
			}
			if m.one.Writes.Load()+m.two.Writes.Load() != before || m.one.Opened()+m.two.Opened() != 0 {
				t.Error("bytes were written, or a disk is still held")
			}
		})
	}
}

// Arrays that were built without a mirror can't be started from: nothing is written to them.
func TestI06_AnArrayThatFirmwareCannotReadIsRefused(t *testing.T) {
	m := machineOf(t, 80*mib)
	res, err := m.Run(t.Context(), catalog.CreateRAID, m.mirror(t))
	if err != nil {
		t.Fatal(err)
	}
	v := res.Data[catalog.BuiltRAID].(map[string]any)["logical_disks"].([]any)[0].(map[string]any)
	c := m.imageCall(t, disktest.Bootable(t, 24*mib), inventory.DeviceID{Serial: v["uuid"].(string), Size: int64(v["size_bytes"].(float64)), Class: inventory.MDRAID})
	before := m.one.Writes.Load() + m.two.Writes.Load()
	if _, err := m.Run(t.Context(), catalog.WriteStep, c); !fault.Has(err, fault.BootEntry) || m.one.Writes.Load()+m.two.Writes.Load() != before {
		t.Errorf("got %v", err)
	}
	if len(m.firmware.entries) != 0 || len(m.mdadm.Running()) != 0 || m.one.Opened()+m.two.Opened() != 0 {
		t.Errorf("entries %v, or something is still held", m.firmware.entries)
	}
}
