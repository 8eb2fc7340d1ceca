package disk_test

import (
	"os"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// paired is a machine with an array over two whole disks, of level 1, as change leaves its superblocks.
func paired(t *testing.T, change func(i int, m *disktest.MD)) (*disktest.Machine, []*disktest.Device) {
	t.Helper()
	m := disktest.New(t)
	disks := []*disktest.Device{
		m.Add(disktest.Spec{Kernel: "vda", Serial: "S1", Size: 80 * mib, Class: inventory.VirtIO}),
		m.Add(disktest.Spec{Kernel: "vdb", Serial: "S2", Size: 80 * mib, Class: inventory.VirtIO}),
	}
	for i, d := range disks {
		at := (d.Size>>9 - 16) &^ 7 << 9
		md := disktest.MD{UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Name: "host:os", Level: 1, Members: 2, Role: i, Used: 64 * mib, Data: at, At: at, Events: 7}
		change(i, &md)
		d.Put(t, at, disktest.Superblock(md))
	}
	return m, disks
}

const pairID = "01020304-0506-0708-090a-0b0c0d0e0f10"

func TestArraysAreKnownByTheirSuperblocks(t *testing.T) {
	m, disks := paired(t, func(int, *disktest.MD) {})
	got, problems := m.Guard().Arrays(t.Context(), known(t, m))
	if len(got) != 1 || len(problems) != 0 || got[0].Name != "/dev/md/os" || got[0].Serial != pairID || got[0].Disk.Size != 64*mib || got[0].Level != 1 ||
		got[0].Class != inventory.MDRAID || len(got[0].Members) != 2 || got[0].Members[1] != disks[1].ID() || !got[0].Array() {
		t.Errorf("got %+v, %v", got, problems)
	}
	if disks[0].Opened()+disks[1].Opened() != 0 || disks[0].Writes.Load() != 0 {
		t.Error("a disk is held, or was written")
	}
}

// An array that is not whole beyond doubt is none: an image would go to half of it, or to another one's disk (safety.md I4).
func TestI04_OnlyAWholeArrayIsKnown(t *testing.T) {
	second := func(fn func(m *disktest.MD)) func(int, *disktest.MD) {
		return func(i int, m *disktest.MD) {
			if i == 1 {
				fn(m)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(int, *disktest.MD)
		says   string
	}{
		"a member missing":     {second(func(m *disktest.MD) { m.UUID[0] = 9 }), "1 of its 2 members"},
		"a member too many":    {func(_ int, m *disktest.MD) { m.Members = 1; m.Role = 0 }, "2 of its 1 members"},
		"one role twice":       {second(func(m *disktest.MD) { m.Role = 0 }), "has the role 0, expected 1"},
		"another age":          {second(func(m *disktest.MD) { m.Events = 6 }), "of another age"},
		"another level":        {second(func(m *disktest.MD) { m.Level = 0 }), "of another array"},
		"another size":         {second(func(m *disktest.MD) { m.Used = 32 * mib }), "of another array"},
		"a level that is none": {func(_ int, m *disktest.MD) { m.Level = 4 }, "level 4"},
		"chunks of no size":    {func(_ int, m *disktest.MD) { m.Level = 0 }, "chunks of 0 bytes"},
		"no size":              {func(_ int, m *disktest.MD) { m.Used = 0 }, "leave it no size"},
		"parity alone":         {func(_ int, m *disktest.MD) { m.Level, m.Chunk = 6, 65536 }, "leave it no size"},
		"no layout":            {func(_ int, m *disktest.MD) { m.Level, m.Chunk = 10, 65536 }, "layout"},
	} {
		m, _ := paired(t, c.change)
		if got, problems := m.Guard().Arrays(t.Context(), known(t, m)); len(got) != 0 || !strings.Contains(strings.Join(problems, ";"), c.says) {
			t.Errorf("%s: got %+v, %v", name, got, problems)
		}
	}
	m, disks := paired(t, func(int, *disktest.MD) {})
	disks[1].Serial = ""
	m.Write(disks[1].Dir+"/serial", "\n")
	m.Write(disks[1].Dir+"/device/vpd_pg80", "")
	if got, problems := m.Guard().Arrays(t.Context(), known(t, m)); len(got) != 0 || !strings.Contains(strings.Join(problems, ";"), "neither serial nor WWN") {
		t.Errorf("a member that can't be named: %+v, %v", got, problems)
	}
	m, disks = paired(t, func(int, *disktest.MD) {})
	disks[1].Fail = func(op string, _ int64, _ int) error { return map[bool]error{true: os.ErrPermission}[op == "read"] }
	if got, problems := m.Guard().Arrays(t.Context(), known(t, m)); len(got) != 0 || len(problems) != 2 {
		t.Errorf("a disk that can't be read: %+v, %v", got, problems)
	}
}

// Who skips an array keeps its disks, whatever the server names (safety.md I2).
func TestI02_ASkippedArrayProtectsItsDisks(t *testing.T) {
	m, disks := paired(t, func(int, *disktest.MD) {})
	node := map[string]any{"skip_block_devices": []any{map[string]any{"serial": pairID}}}
	if _, err := m.Guard().Check(t.Context(), disktest.IDs(disks...), node); !fault.Has(err, fault.DiskProtected) {
		t.Errorf("got %v", err)
	}
	if err := m.Guard().Covers(t.Context(), disktest.IDs(disks...), node); !fault.Has(err, fault.DiskNone) {
		t.Errorf("an erase of nothing: %v", err)
	}
}

// What runs must be the array that was asked for, of the parts that were examined, and nobody else's (safety.md I2, I4).
func TestI04_HoldArrayTakesNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, m *disktest.Machine, d *disktest.Device)
		reason fault.Reason
	}{
		"as it should be": {func(*testing.T, *disktest.Machine, *disktest.Device) {}, ""},
		"another one":     {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/md/uuid", "x\n") }, fault.DiskChanged},
		"another size":    {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/size", "8\n") }, fault.DiskChanged},
		"a part missing":  {func(t *testing.T, m *disktest.Machine, d *disktest.Device) { remove(t, m, d.Dir+"/slaves/vdb1") }, fault.DiskChanged},
		"a part too many": {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/slaves/vdc1", "") }, fault.DiskChanged},
		"read-only":       {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/ro", "1\n") }, fault.DiskProtected},
		"something on it": {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Write(d.Dir+"/holders/dm-0", "") }, fault.DiskBusy},
		"mounted": {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) {
			m.Write("proc/self/mountinfo", "30 22 "+d.Number+" / /mnt rw - ext4 /dev/x rw\n")
		}, fault.DiskBusy},
		"a mounted part": {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) {
			m.Partition(d, "md0p1", mib, mib)
			m.Write("proc/self/mountinfo", "30 22 0:44 / /mnt rw - btrfs /dev/md0p1 rw\n")
		}, fault.DiskBusy},
		"mounts unreadable": {func(t *testing.T, m *disktest.Machine, _ *disktest.Device) { remove(t, m, "proc/self/mountinfo") }, fault.DiskProtected},
		"held":              {func(_ *testing.T, _ *disktest.Machine, d *disktest.Device) { d.Held = true }, fault.DiskBusy},
		"gone":              {func(_ *testing.T, m *disktest.Machine, d *disktest.Device) { m.Remove(d) }, fault.DiskMissing},
	} {
		m := disktest.New(t)
		d := m.Add(disktest.Spec{Kernel: "md0", Serial: pairID, Size: 64 * mib, Class: inventory.MDRAID})
		m.Write(d.Dir+"/md/uuid", pairID+"\n")
		m.Write(d.Dir+"/md/array_state", "clean\n")
		for _, p := range []string{"vda1", "vdb1"} {
			m.Write(d.Dir+"/slaves/"+p, "")
		}
		c.spoil(t, m, d)
		got, err := m.Guard().HoldArray(inventory.DeviceID{Serial: pairID, Size: 64 * mib, Class: inventory.MDRAID}, "md0", []string{"vdb1", "vda1"})
		switch {
		case c.reason == "" && err != nil, c.reason != "" && !fault.Has(err, c.reason):
			t.Errorf("%s: got %v, expected %s", name, err, c.reason)
		case err == nil:
			if err := got.Confirm(); err != nil {
				t.Error(err)
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
		}
		if d.Opened() != 0 {
			t.Errorf("%s: it is still held", name)
		}
	}
}

func known(t *testing.T, m *disktest.Machine) []block.Disk {
	t.Helper()
	all, err := m.Guard().Disks()
	if err != nil {
		t.Fatal(err)
	}
	return all
}
