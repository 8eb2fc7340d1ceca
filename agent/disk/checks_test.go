package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Each test here is of one check of the guard, and fails when that check is gone.

// failing lets one kind of operation of a disk fail.
func failing(d *disktest.Device, what string, err error) {
	d.Fail = func(op string, _ int64, _ int) error {
		if op == what {
			return err
		}
		return nil
	}
}

// remove deletes a file or directory of the machine, unreadable puts a directory in a file's place.
func remove(t *testing.T, m *disktest.Machine, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(m.Root, name)); err != nil {
		t.Fatal(err)
	}
}

func unreadable(t *testing.T, m *disktest.Machine, name string) {
	t.Helper()
	remove(t, m, name)
	if err := os.Mkdir(filepath.Join(m.Root, name), 0o755); err != nil {
		t.Fatal(err)
	}
}

// verdict asks the guard for the SATA disk; want is "" when it is to be handed out.
func verdict(t *testing.T, name string, m *disktest.Machine, devices []*disktest.Device, node map[string]any, want fault.Reason, says string) {
	t.Helper()
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1]), node)
	if want == "" && err != nil || want != "" && (got != nil || !fault.Has(err, want) || !strings.Contains(err.Error(), says)) {
		t.Errorf("%s: %d disks, %v; want %q and %q", name, len(got), err, want, says)
	}
	disk.Close(got)
	for _, d := range devices {
		if d.Opened() != 0 {
			t.Errorf("%s: %d descriptors of %s are left open", name, d.Opened(), d.Kernel)
		}
	}
}

// TestI02_WhatTheKernelSaysOfUse: mounts and swap are read whole or not at all, and name the disk or they don't.
func TestI02_WhatTheKernelSaysOfUse(t *testing.T) {
	const mounts, swaps = "proc/self/mountinfo", "proc/swaps"
	for name, c := range map[string]struct {
		spoil func(t *testing.T, m *disktest.Machine)
		want  fault.Reason
		says  string
	}{
		"another disk is mounted": {func(_ *testing.T, m *disktest.Machine) {
			m.Write(mounts, "30 22 9:9 / /mnt rw shared:1 - ext4 /dev/sdz1 rw\n")
		}, "", ""},
		"a source that is named so": {func(_ *testing.T, m *disktest.Machine) { m.Write(mounts, "30 22 0:44 / /mnt rw - tmpfs sda rw\n") }, "", ""},
		"a mount with optional fields": {func(_ *testing.T, m *disktest.Machine) {
			m.Write(mounts, "30 22 0:44 / /mnt rw shared:1 master:2 - btrfs /dev/sda rw\n")
		}, fault.DiskBusy, "/mnt"},
		"a mount without the separator": {func(_ *testing.T, m *disktest.Machine) {
			m.Write(mounts, "30 /dev/nothing 0:44 / /mnt rw ext4 /dev/sdz rw\n")
		}, fault.DiskProtected, mounts},
		"a separator too early":      {func(_ *testing.T, m *disktest.Machine) { m.Write(mounts, "30 - 0:44 / /mnt rw ext4 /dev/sdz rw\n") }, fault.DiskProtected, mounts},
		"a mount without its source": {func(_ *testing.T, m *disktest.Machine) { m.Write(mounts, "30 22 0:44 / /mnt rw - ext4\n") }, fault.DiskProtected, mounts},
		"mounts that can't be read":  {func(t *testing.T, m *disktest.Machine) { unreadable(t, m, mounts) }, fault.DiskProtected, mounts},
		"another disk swaps": {func(_ *testing.T, m *disktest.Machine) {
			m.Write(swaps, "Filename Type\n/dev/sdz2 partition\n/swap file\n\n")
		}, "", ""},
		"the disk swaps":             {func(_ *testing.T, m *disktest.Machine) { m.Write(swaps, "Filename Type\n\n/dev/sda partition\n") }, fault.DiskBusy, "swap"},
		"a kernel without swap":      {func(t *testing.T, m *disktest.Machine) { remove(t, m, swaps) }, "", ""},
		"swap that can't be read":    {func(t *testing.T, m *disktest.Machine) { unreadable(t, m, swaps) }, fault.DiskProtected, swaps},
		"disks that can't be listed": {func(t *testing.T, m *disktest.Machine) { remove(t, m, "sys/block") }, fault.DiskProtected, "can't be listed"},
	} {
		m, devices := disktest.World(t)
		c.spoil(t, m)
		verdict(t, name, m, devices, nil, c.want, c.says)
	}
}

// TestI02_AnOperatorsWordsAreUnderstoodOrRefused: a list that is none does not count as an empty one.
func TestI02_AnOperatorsWordsAreUnderstoodOrRefused(t *testing.T) {
	for name, c := range map[string]struct {
		node map[string]any
		want fault.Reason
	}{
		"a skip list that is no list":           {map[string]any{"skip_block_devices": "all"}, fault.RequestInvalid},
		"classes that are no list":              {map[string]any{disk.AllowClasses: 7}, fault.RequestInvalid},
		"another disk is skipped":               {map[string]any{"skip_block_devices": []any{map[string]any{"serial": "N1"}}}, ""},
		"a permission that is no yes or no":     {map[string]any{disk.AllowRAID: "true", disk.AllowShared: 1}, ""},
		"a class of which there is no disk":     {map[string]any{disk.AllowClasses: []any{"usb"}}, ""},
		"the disk is skipped by another's name": {map[string]any{"skip_block_devices": []any{map[string]any{"serial": "A1"}, map[string]any{"serial": "N1"}}}, fault.DiskProtected},
	} {
		m, devices := disktest.World(t)
		verdict(t, name, m, devices, c.node, c.want, "")
	}
}

// TestI02_OpeningADiskSaysWhatIsWrong, by the kernel's error.
func TestI02_OpeningADiskSaysWhatIsWrong(t *testing.T) {
	for err, want := range map[syscall.Errno]struct {
		reason fault.Reason
		says   string
	}{
		syscall.EBUSY: {fault.DiskBusy, "held by something else"}, syscall.EROFS: {fault.DiskProtected, "read-only"}, syscall.EACCES: {fault.DiskProtected, "read-only"},
		syscall.ENOENT: {fault.DiskMissing, "went away"}, syscall.ENXIO: {fault.DiskMissing, "went away"}, syscall.ENODEV: {fault.DiskMissing, "went away"},
		syscall.EIO: {fault.DiskIO, "open /dev/sda"},
	} {
		m, devices := disktest.World(t)
		failing(devices[1], "open", err)
		verdict(t, err.Error(), m, devices, nil, want.reason, want.says)
	}
}

// TestI04_AnOpenDiskTellsItsIdentity, its size, its sectors and that it may be written, or is not handed out.
func TestI04_AnOpenDiskTellsItsIdentity(t *testing.T) {
	for op, want := range map[string]struct {
		reason fault.Reason
		says   string
	}{
		"number": {fault.DiskChanged, "can't be identified"}, "size": {fault.DiskChanged, "does not tell its size"},
		"readonly": {fault.DiskProtected, "read-only"}, "sectors": {fault.DiskIO, "sectors"},
	} {
		m, devices := disktest.World(t)
		failing(devices[1], op, syscall.EIO)
		verdict(t, op, m, devices, nil, want.reason, want.says)
	}
	m, devices := disktest.World(t)
	only := m.Add(disktest.Spec{Kernel: "sdw", WWN: "naa.5000c500a1b2c3d9", Size: 80 * mib, Class: inventory.SAS})
	devices[1] = only
	verdict(t, "a disk with a WWN alone", m, devices, nil, "", "")
}

// TestI02_SectorsOfAnOddSize are refused: of the disk that is to be written, and of one that is left alone.
func TestI02_SectorsOfAnOddSize(t *testing.T) {
	for _, align := range []int{256, 1536, 128 << 10, 4096} {
		size := int64(80 * mib)
		switch align {
		case 1536:
			size = 1536 * 50000
		case 4096:
			size += 512 // no whole number of them
		}
		m, devices := disktest.World(t)
		devices[1] = m.Add(disktest.Spec{Kernel: "sdx", Serial: "X", Size: size, Class: inventory.SATA, Align: align})
		verdict(t, "the disk", m, devices, nil, fault.DiskIO, "reports sectors of")
	}
	for _, align := range []int{256, 128 << 10} {
		m, devices := disktest.World(t)
		devices[1].Put(t, 4096, disktest.MD12("same-array-uuid!"))
		m.Add(disktest.Spec{Kernel: "sdx", Serial: "X", Size: 80 * mib, Class: inventory.SATA, Align: align})
		verdict(t, "one left alone", m, devices, nil, fault.DiskProtected, "reports sectors of")
	}
}

// TestI02_ReservationsAreAskedWhereThereCanBeAny: an answer that can't be had counts as one, but for disks that need not
// know the question.
func TestI02_ReservationsAreAskedWhereThereCanBeAny(t *testing.T) {
	scsi := func(class inventory.Class) disktest.Spec {
		return disktest.Spec{Kernel: "sdx", Serial: "X", Size: 80 * mib, Class: class}
	}
	nvme := disktest.Spec{Kernel: "nvme9n1", Serial: "X", Size: 80 * mib, Class: inventory.NVMePCIe}
	vd := disktest.Spec{Kernel: "vdx", Serial: "X", Size: 80 * mib, Class: inventory.VirtIO}
	for _, c := range []struct {
		spec disktest.Spec
		err  error
		want fault.Reason
	}{
		{scsi(inventory.SAS), nil, ""}, {scsi(inventory.SATA), nil, ""}, {scsi(inventory.VirtIO), nil, ""},
		{scsi(inventory.SAS), system.ErrUnsupported, ""}, {scsi(inventory.SATA), system.ErrUnsupported, ""},
		{scsi(inventory.SAS), syscall.EIO, fault.DiskProtected}, {scsi(inventory.SATA), syscall.EIO, ""}, {scsi(inventory.VirtIO), syscall.EIO, ""},
	} {
		m, devices := disktest.World(t)
		devices[1] = m.Add(c.spec)
		failing(devices[1], "reserved", c.err)
		verdict(t, string(c.spec.Class), m, devices, nil, c.want, "")
	}
	for _, class := range []inventory.Class{inventory.SAS, inventory.SATA, inventory.VirtIO} {
		m, devices := disktest.World(t)
		devices[1] = m.Add(scsi(class))
		devices[1].PR = true
		verdict(t, "reserved "+string(class), m, devices, nil, fault.DiskProtected, "is reserved by a host")
	}
	for _, spec := range []disktest.Spec{nvme, vd} {
		m, devices := disktest.World(t)
		devices[1] = m.Add(spec)
		devices[1].Fail = func(op string, _ int64, _ int) error {
			if op == "reserved" {
				t.Errorf("%s, which speaks no SCSI, is asked", spec.Kernel)
			}
			return nil
		}
		verdict(t, spec.Kernel, m, devices, nil, "", "")
	}
}

// TestI02_VolumesOverDisksLeftAlone: of the same kind and group, or of a kind whose group can't be told; and a disk left
// alone that can't be asked counts as one.
func TestI02_VolumesOverDisksLeftAlone(t *testing.T) {
	const id = "same-array-uuid!"
	other := disktest.Btrfs(2)
	copy(other[0x20:], id)
	vg := disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", "")
	for name, c := range map[string]struct {
		mine, theirs     []byte
		atMine, atTheirs int64
		want             fault.Reason
	}{
		"the same array":                   {disktest.MD12(id), disktest.MD12(id), 4096, 4096, fault.DiskProtected},
		"another array":                    {disktest.MD12(id), disktest.MD12("other-array-uuid"), 4096, 4096, ""},
		"another kind under the same name": {disktest.MD12(id), other, 4096, 64 << 10, ""},
		"a group that can't be told there": {vg, vg[:1024], 0, 0, fault.DiskProtected},
		"a group that can't be told here":  {vg[:1024], nil, 0, 0, fault.DiskProtected},
		"an array and plain data":          {disktest.MD12(id), nil, 4096, 0, ""},
	} {
		m, devices := disktest.World(t)
		devices[1].Put(t, c.atMine, c.mine)
		m.Add(disktest.Spec{Kernel: "sdx", Serial: "X", Size: 80 * mib, Class: inventory.SATA}).Put(t, c.atTheirs, c.theirs)
		verdict(t, name, m, devices, nil, c.want, "")
	}
	for _, op := range []string{"open", "size", "sectors", "read"} {
		m, devices := disktest.World(t)
		devices[1].Put(t, 4096, disktest.MD12(id))
		failing(m.Add(disktest.Spec{Kernel: "sdx", Serial: "X", Size: 80 * mib, Class: inventory.SATA}), op, syscall.EIO)
		verdict(t, op+" of a disk left alone", m, devices, nil, fault.DiskProtected, "sdx")
	}
	m, devices := disktest.World(t)
	for _, d := range []*disktest.Device{devices[0], devices[2], devices[3]} {
		d.Fail = func(op string, _ int64, _ int) error {
			t.Errorf("%s of %s, though no volume is touched", op, d.Kernel)
			return nil
		}
	}
	verdict(t, "no volume", m, devices, nil, "", "")
}

// TestI02_SiblingsShareAController: the other namespaces of an NVMe controller, and of no other disk any.
func TestI02_SiblingsShareAController(t *testing.T) {
	m, devices := disktest.World(t)
	m.Add(disktest.Spec{Kernel: "nvme0n2", Serial: "N1", WWN: "eui.0025385b12", Size: 40 * mib, Class: inventory.NVMePCIe})
	m.Add(disktest.Spec{Kernel: "nvme1n1", Serial: "N2", WWN: "eui.0025385b13", Size: 40 * mib, Class: inventory.NVMePCIe})
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices...), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close(got)
	for _, d := range got {
		var want []string
		if d.Info.Kernel == "nvme0n1" {
			want = []string{"nvme0n2"}
		}
		if s := d.Siblings; !slices.Equal(s, want) {
			t.Errorf("%s: siblings %q, want %q", d.Info.Kernel, s, want)
		}
	}
}

// TestGuardStopsAtOnce: before it opens a disk, and between opening and reading.
func TestGuardStopsAtOnce(t *testing.T) {
	for _, last := range []string{"", "reserved"} {
		m, devices := disktest.World(t)
		ctx, cancel := context.WithCancel(t.Context())
		var after []string
		devices[1].Fail = func(op string, _ int64, _ int) error {
			if ctx.Err() != nil {
				after = append(after, op)
			}
			if op == last {
				cancel()
			}
			return nil
		}
		if last == "" {
			cancel()
		}
		got, err := m.Guard().Check(ctx, disktest.IDs(devices[1]), nil)
		if !errors.Is(err, context.Canceled) || got != nil || len(after) != 0 || devices[1].Opened() != 0 {
			t.Errorf("told to stop after %q: %v, then %q, %d open", last, err, after, devices[1].Opened())
		}
		cancel()
	}
}

// TestI05_EraseMustSeeTheMachine: without a list of its disks nothing is covered.
func TestI05_EraseMustSeeTheMachine(t *testing.T) {
	m, _ := disktest.World(t)
	remove(t, m, "sys/block")
	if err := m.Guard().Covers(t.Context(), nil, nil); !fault.Has(err, fault.DiskProtected) {
		t.Errorf("got %v", err)
	}
}
