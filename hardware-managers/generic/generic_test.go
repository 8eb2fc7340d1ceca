package generic_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/disk/erase"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/managers"
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

type firmware struct{ loader string }

func (f *firmware) SetBootEntry(_ string, _ system.Partition, loader string) error {
	f.loader = loader
	return nil
}

// machine is a node with two disks and the generic manager on it.
type machine struct {
	*managers.Set
	one, two *disktest.Device
	firmware firmware
	rescue   rescue
}

// rescue notes who may log in.
type rescue struct{ hash string }

func (r *rescue) Admit(_ context.Context, hash string) error { r.hash = hash; return nil }

func newMachine(t *testing.T) *machine {
	t.Helper()
	x := disktest.New(t)
	m := &machine{
		one: x.Add(disktest.Spec{Kernel: "vda", Serial: "S1", Size: 80 * mib, Class: inventory.VirtIO}),
		two: x.Add(disktest.Spec{Kernel: "sda", Serial: "S2", Size: 80 * mib, Class: inventory.SATA}),
	}
	m.one.Fill(t, 0xa5)
	m.two.Fill(t, 0xa5)
	log := slog.New(slog.DiscardHandler)
	client := image.NewClient(nil, true)
	t.Cleanup(client.CloseIdleConnections)
	mgr := generic.New(
		&disk.Guard{Root: x.FS(), Layer: x, Log: log},
		&erase.Eraser{Now: time.Now, Log: log},
		&image.Writer{Client: client, Firmware: func() (image.Firmware, error) { return &m.firmware, nil }, Now: time.Now, Log: log},
		&m.rescue,
	)
	set, err := managers.Load(t.Context(), &hardware.Machine{Root: x.FS(), Log: log}, []hardware.Manager{mgr})
	if err != nil {
		t.Fatal(err)
	}
	m.Set = set
	return m
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
	managertest.Run(t, managertest.Contract{New: func() hardware.Manager { return generic.New(nil, nil, nil, nil) }})
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
