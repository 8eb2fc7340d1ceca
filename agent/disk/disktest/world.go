package disktest

import (
	"log/slog"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

const mib = 1 << 20

// Guard is a guard over the machine's disks.
func (m *Machine) Guard() *disk.Guard {
	return &disk.Guard{Root: m.FS(), Layer: m, Log: slog.New(slog.DiscardHandler)}
}

// World is a machine with a disk of 80 MiB of each local class: VirtIO, SATA, SAS, NVMe.
func World(t testing.TB) (*Machine, []*Device) {
	m := New(t)
	return m, []*Device{
		m.Add(Spec{Kernel: "vda", Serial: "V1", Size: 80 * mib, Class: inventory.VirtIO}),
		m.Add(Spec{Kernel: "sda", Serial: "A1", WWN: "naa.5000c500a1b2c3d4", Size: 80 * mib, Class: inventory.SATA}),
		m.Add(Spec{Kernel: "sdb", Serial: "B1", WWN: "naa.5000c500a1b2c3d5", Size: 80 * mib, Class: inventory.SAS, Align: 4096}),
		m.Add(Spec{Kernel: "nvme0n1", Serial: "N1", WWN: "eui.0025385b11", Size: 80 * mib, Class: inventory.NVMePCIe}),
	}
}

// IDs are the devices' identities.
func IDs(devices ...*Device) []inventory.DeviceID {
	var out []inventory.DeviceID
	for _, d := range devices {
		out = append(out, d.ID())
	}
	return out
}

// Held checks the devices and lets them go at the end of the test.
func (m *Machine) Held(t testing.TB, devices ...*Device) []*disk.Disk {
	t.Helper()
	got, err := m.Guard().Check(t.Context(), IDs(devices...), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close(got) })
	return got
}

// Put writes bytes where they are.
func (d *Device) Put(t testing.TB, off int64, b []byte) {
	t.Helper()
	if _, err := d.File.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}
