package disk_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/disktest"
	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

const mib = 1 << 20

func TestGuardHandsOutWhatIsAllowed(t *testing.T) {
	m, devices := disktest.World(t)
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices...), nil)
	if err != nil || len(got) != 4 {
		t.Fatalf("got %d disks, %v", len(got), err)
	}
	for i, d := range got {
		if d.ID != devices[i].ID() || d.Bytes != 80*mib || d.Align != devices[i].Align {
			t.Errorf("got %+v of %d bytes, sectors of %d", d.ID, d.Bytes, d.Align)
		}
	}
	if err := disk.Close(got); err != nil {
		t.Fatal(err)
	}
}

// refusal is a state of the machine in which a disk must not be written; every one is a guard of its own, and the test
// fails if that guard is taken away.
type refusal struct {
	name   string
	spoil  func(t *testing.T, m *disktest.Machine, d *disktest.Device) // d is the SATA disk, one of two targets
	node   map[string]any
	reason fault.Reason
	says   string // what the message must name
}

func refusals() map[string][]refusal {
	type m = *disktest.Machine
	type dev = *disktest.Device
	rule := func(name string, reason fault.Reason, says string, spoil func(*testing.T, m, dev)) refusal {
		return refusal{name: name, spoil: spoil, reason: reason, says: says}
	}
	with := func(r refusal, node map[string]any) refusal { r.node = node; return r }
	sign := func(name, says string, off int64, b []byte) refusal {
		return rule(name, fault.DiskProtected, says, func(t *testing.T, _ m, d dev) { d.Put(t, off, b) })
	}
	inPartition := func(r refusal) refusal {
		spoil := r.spoil
		r.name += " in a partition"
		r.spoil = func(t *testing.T, x m, d dev) {
			whole := make([]byte, 4*mib)
			spoil(t, x, d)
			copy(whole, d.Bytes(t, 0, len(whole)))
			d.Put(t, 0, make([]byte, len(whole)))
			d.Put(t, 20*mib, whole)
			d.Put(t, 0, disktest.GPT(512, d.Size, []disktest.Part{{Start: 20 * mib, Size: 40 * mib, Kind: disktest.Linux, Name: "data"}}))
		}
		return r
	}
	return map[string][]refusal{
		"I01 local": {
			rule("FC", fault.DiskRemote, "fc", func(t *testing.T, x m, d dev) { replace(t, x, d, inventory.FC) }),
			rule("iSCSI", fault.DiskRemote, "iscsi", func(t *testing.T, x m, d dev) { replace(t, x, d, inventory.ISCSI) }),
			rule("USB", fault.DiskRemote, "usb", func(t *testing.T, x m, d dev) { replace(t, x, d, inventory.USB) }),
			rule("unknown path", fault.DiskRemote, "unknown", func(t *testing.T, x m, d dev) { replace(t, x, d, inventory.ClassUnknown) }),
			with(rule("other class allowed", fault.DiskRemote, "fc", func(t *testing.T, x m, d dev) { replace(t, x, d, inventory.FC) }),
				map[string]any{"allow_device_classes": []any{"usb"}}),
		},
		"I02 protected": {
			rule("mounted disk", fault.DiskBusy, "/mnt", func(_ *testing.T, x m, d dev) {
				x.Write("proc/self/mountinfo", "30 22 "+d.Number+" / /mnt rw - ext4 /dev/xyz rw\n")
			}),
			rule("mounted partition", fault.DiskBusy, "sda1", func(_ *testing.T, x m, d dev) {
				x.Partition(d, "sda1", mib, mib)
				x.Write("proc/self/mountinfo", "30 22 "+d.Number+"0 / /mnt rw - ext4 /dev/xyz rw\n")
			}),
			rule("mounted by name, number of its own", fault.DiskBusy, "sda1", func(_ *testing.T, x m, d dev) {
				x.Partition(d, "sda1", mib, mib)
				x.Write("proc/self/mountinfo", "30 22 0:44 / /mnt rw - btrfs /dev/sda1 rw\n")
			}),
			rule("mounts unreadable", fault.DiskProtected, "mountinfo", func(t *testing.T, x m, d dev) {
				if err := os.Remove(filepath.Join(x.Root, "proc/self/mountinfo")); err != nil {
					t.Fatal(err)
				}
			}),
			rule("mounts malformed", fault.DiskProtected, "mountinfo", func(_ *testing.T, x m, d dev) { x.Write("proc/self/mountinfo", "what is this\n") }),
			rule("swap", fault.DiskBusy, "swap", func(_ *testing.T, x m, d dev) {
				x.Partition(d, "sda2", mib, mib)
				x.Write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
			}),
			rule("device-mapper on the disk", fault.DiskBusy, "dm-0", func(_ *testing.T, x m, d dev) { x.Write(d.Dir+"/holders/dm-0/dev", "") }),
			rule("md on a partition", fault.DiskBusy, "md127", func(_ *testing.T, x m, d dev) { x.Write(x.Partition(d, "sda1", mib, mib)+"/holders/md127/dev", "") }),
			rule("built on others", fault.DiskBusy, "sdz", func(_ *testing.T, x m, d dev) { x.Write(d.Dir+"/slaves/sdz/dev", "") }),
			rule("held exclusively", fault.DiskBusy, "held", func(_ *testing.T, _ m, d dev) { d.Held = true }),
			rule("read-only in sysfs", fault.DiskProtected, "read-only", func(_ *testing.T, x m, d dev) { x.Write(d.Dir+"/ro", "1\n") }),
			rule("read-only flag gone", fault.DiskProtected, "read-only", func(t *testing.T, x m, d dev) {
				if err := os.Remove(filepath.Join(x.Root, d.Dir, "ro")); err != nil {
					t.Fatal(err)
				}
			}),
			rule("read-only through the descriptor", fault.DiskProtected, "read-only", func(_ *testing.T, _ m, d dev) { d.ReadOnly = true }),
			rule("reserved", fault.DiskProtected, "reserv", func(_ *testing.T, _ m, d dev) { d.PR = true }),
			with(rule("skipped", fault.DiskProtected, "skip", func(*testing.T, m, dev) {}),
				map[string]any{"skip_block_devices": []any{map[string]any{"serial": "a1"}}}),
			with(rule("malformed skip list", fault.RequestInvalid, "skip", func(*testing.T, m, dev) {}),
				map[string]any{"skip_block_devices": []any{map[string]any{"serail": "x"}}}),
			sign("VMFS volume", "VMFS", mib, []byte{0x0d, 0xd0, 0x01, 0xc0}),
			inPartition(sign("VMFS volume", "VMFS", mib, []byte{0x0d, 0xd0, 0x01, 0xc0})),
			inPartition(sign("VMFS file system", "VMFS", 2*mib, []byte{0x5e, 0xf1, 0xab, 0x2f})),
			sign("GFS2", "GFS2", 64<<10, []byte{1, 0x16, 0x19, 0x70, 0, 0, 0, 1}),
			inPartition(sign("GFS2", "GFS2", 64<<10, []byte{1, 0x16, 0x19, 0x70, 0, 0, 0, 1})),
			inPartition(sign("OCFS2", "OCFS2", 8192, []byte("OCFSV2"))),
			sign("sanlock", "sanlock", 0, []byte{0x10, 0x20, 0x21, 0x12}),
			sign("GPFS type", "GPFS", 0, disktest.GPT(512, 80*mib, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.GPFS, Name: ""}})),
			sign("GPFS type, other byte order", "GPFS", 0, disktest.GPT(512, 80*mib, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Swapped(disktest.GPFS), Name: ""}})),
			sign("VMFS type", "VMFS", 0, disktest.GPT(512, 80*mib, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.VMFS, Name: ""}})),
			sign("VMFS type, other byte order", "VMFS", 0, disktest.GPT(512, 80*mib, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.Swapped(disktest.VMFS), Name: ""}})),
			sign("VMFS type in an MBR", "VMFS", 0, disktest.MBR(disktest.MBRPart{Kind: 0xfb, Start: 2048, Count: 2048})),
			rule("VMFS type in a backup GPT", fault.DiskProtected, "VMFS", func(t *testing.T, _ m, d dev) {
				b := disktest.GPTBackup(512, d.Size, []disktest.Part{{Start: mib, Size: mib, Kind: disktest.VMFS, Name: ""}})
				d.Put(t, d.Size-int64(len(b)), b)
			}),
			rule("VMFS on a logical partition", fault.DiskProtected, "VMFS", func(t *testing.T, _ m, d dev) {
				d.Put(t, 0, disktest.MBR(disktest.MBRPart{Kind: 0x05, Start: 2048, Count: 40960}))
				d.Put(t, 2048*512, disktest.MBR(disktest.MBRPart{Kind: 0xfb, Start: 2048, Count: 8192}))
			}),
			rule("signature only where the kernel sees a partition", fault.DiskProtected, "GFS2", func(t *testing.T, x m, d dev) {
				x.Partition(d, "sda1", 8*mib, 8*mib)
				d.Put(t, 8*mib+64<<10, []byte{1, 0x16, 0x19, 0x70, 0, 0, 0, 1})
			}),
			rule("unreadable content", fault.DiskProtected, "input/output", func(_ *testing.T, _ m, d dev) {
				d.Fail = func(op string, off int64, n int) error {
					if op == "read" && off >= mib {
						return syscall.EIO
					}
					return nil
				}
			}),
			rule("RAID with a disk left alone", fault.DiskProtected, "RAID", func(t *testing.T, x m, d dev) {
				d.Put(t, 4096, disktest.MD12("same-array-uuid!"))
				o := x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA})
				o.Put(t, 4096, disktest.MD12("same-array-uuid!"))
			}),
			rule("old RAID format with a disk left alone", fault.DiskProtected, "RAID", func(t *testing.T, x m, d dev) {
				d.Put(t, d.Size-65536, disktest.MD09())
				o := x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA})
				o.Put(t, o.Size-65536, disktest.MD09())
			}),
			rule("RAID with an unreadable disk left alone", fault.DiskProtected, "sdq", func(t *testing.T, x m, d dev) {
				d.Put(t, 4096, disktest.MD12("same-array-uuid!"))
				x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA}).Fail = func(op string, _ int64, _ int) error {
					return errors.New("no answer")
				}
			}),
			rule("LVM group over a disk left alone", fault.DiskProtected, "LVM", func(t *testing.T, x m, d dev) {
				d.Put(t, 0, disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", ""))
				o := x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA})
				o.Put(t, 0, disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", ""))
			}),
			rule("LVM without metadata, a disk left alone", fault.DiskProtected, "LVM", func(t *testing.T, x m, d dev) {
				b := disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", "")
				d.Put(t, 0, b[:1024])
				x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA})
			}),
			sign("LVM group shared by hosts", "LVM", 0, disktest.LVM("VGAAAA-aaaa-bbbb-cccc-dddd-eeee-ffffff", `lock_type = "sanlock"`)),
			rule("btrfs over a disk left alone", fault.DiskProtected, "btrfs", func(t *testing.T, x m, d dev) {
				d.Put(t, 64<<10, disktest.Btrfs(2))
				o := x.Add(disktest.Spec{Kernel: "sdq", Serial: "Q", Size: 80 * mib, Class: inventory.SATA})
				o.Put(t, 64<<10, disktest.Btrfs(2))
			}),
		},
		"I04 identity": {
			rule("gone", fault.DiskMissing, "A1", func(_ *testing.T, x m, d dev) { x.Remove(d) }),
			rule("two of one identity", fault.DiskAmbiguous, "sdq", func(_ *testing.T, x m, d dev) {
				x.Add(disktest.Spec{Kernel: "sdq", Serial: d.Serial, WWN: d.WWN, Size: d.Size, Class: d.Class})
			}),
			rule("other size", fault.DiskChanged, "A1", func(_ *testing.T, x m, d dev) { x.Write(d.Dir+"/size", "4096\n") }),
			rule("other size through the descriptor", fault.DiskChanged, "A1", func(_ *testing.T, _ m, d dev) { d.Shrunk = d.Size - 512 }),
			rule("descriptor of another disk", fault.DiskChanged, "B1", func(_ *testing.T, _ m, d dev) { d.Fakes = "259:3" }),
			rule("descriptor of nothing known", fault.DiskChanged, "not known to the kernel any more", func(_ *testing.T, _ m, d dev) { d.Fakes = "7:7" }),
			rule("vanishes when opened", fault.DiskMissing, "A1", func(_ *testing.T, _ m, d dev) {
				d.Fail = func(op string, _ int64, _ int) error {
					if op == "open" {
						return syscall.ENXIO
					}
					return nil
				}
			}),
			rule("WWN of another", fault.DiskMissing, "A1", func(_ *testing.T, x m, d dev) {
				x.Write(filepath.Dir(filepath.Dir(d.Dir))+"/wwid", "naa.5000000000000001\n")
			}),
		},
	}
}

// replace swaps the disk for one of another class with the same names.
func replace(t *testing.T, m *disktest.Machine, d *disktest.Device, c inventory.Class) {
	t.Helper()
	m.Remove(d)
	s := d.Spec
	s.Class = c
	n := m.Add(s)
	d.Spec, d.Number, d.Dir, d.File = n.Spec, n.Number, n.Dir, n.File
}

func checkRefusals(t *testing.T, list []refusal) {
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			m, devices := disktest.World(t)
			want := disktest.IDs(devices[0], devices[1])
			r.spoil(t, m, devices[1])
			if r.reason == fault.DiskRemote {
				want[1] = devices[1].ID()
			}
			got, err := m.Guard().Check(t.Context(), want, r.node)
			if got != nil || !fault.Has(err, r.reason) || !strings.Contains(err.Error(), r.says) {
				t.Fatalf("got %d disks and %v, want %s naming %q", len(got), err, r.reason, r.says)
			}
			if fault.From(err).Hint == "" {
				t.Error("the operator is not told what to do")
			}
			// I3: the other disk was fine, yet no byte of it changed, and nothing stays open.
			for _, d := range devices {
				if d.Writes.Load() != 0 || d.Opened() != 0 {
					t.Errorf("%s: %d bytes written, %d descriptors left open", d.Kernel, d.Writes.Load(), d.Opened())
				}
			}
		})
	}
}

func TestI01_OnlyLocalDisks(t *testing.T) { checkRefusals(t, refusals()["I01 local"]) }
func TestI02_I03_F19_ProtectedDisksAndTheirRelatives(t *testing.T) {
	checkRefusals(t, refusals()["I02 protected"])
}
func TestI04_StableIdentityThroughDescriptor(t *testing.T) {
	checkRefusals(t, refusals()["I04 identity"])
}

func TestI01_AllowedClassIsWritten(t *testing.T) {
	m, devices := disktest.World(t)
	replace(t, m, devices[1], inventory.USB)
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1]), map[string]any{"allow_device_classes": []any{"usb"}})
	if err != nil {
		t.Fatal(err)
	}
	disk.Close(got)
}

func TestI02_BootMediumIsNeverWritten(t *testing.T) {
	m, devices := disktest.World(t)
	g := m.Guard()
	g.BootMedium = "sda"
	if _, err := g.Check(t.Context(), disktest.IDs(devices[1]), nil); !fault.Has(err, fault.DiskProtected) {
		t.Fatalf("got %v", err)
	}
}

func TestI02_OverridesAndWholeVolumes(t *testing.T) {
	array := func(t *testing.T) (*disktest.Machine, []*disktest.Device) {
		m, devices := disktest.World(t)
		devices[1].Put(t, 4096, disktest.MD12("same-array-uuid!"))
		devices[2].Put(t, 4096, disktest.MD12("same-array-uuid!"))
		return m, devices
	}
	t.Run("all members together", func(t *testing.T) {
		m, devices := array(t)
		got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1], devices[2]), nil)
		if err != nil {
			t.Fatal(err)
		}
		disk.Close(got)
	})
	t.Run("one member, allowed", func(t *testing.T) {
		m, devices := array(t)
		got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1]), map[string]any{disk.AllowRAID: true})
		if err != nil {
			t.Fatal(err)
		}
		disk.Close(got)
	})
	t.Run("shared storage, allowed", func(t *testing.T) {
		m, devices := disktest.World(t)
		devices[1].Put(t, 64<<10, []byte{1, 0x16, 0x19, 0x70, 0, 0, 0, 1})
		got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1]), map[string]any{disk.AllowShared: true})
		if err != nil {
			t.Fatal(err)
		}
		disk.Close(got)
	})
}

func TestI03_LastDiskRefusedLeavesTheFirstUntouched(t *testing.T) {
	m, devices := disktest.World(t)
	devices[3].Held = true
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices...), nil)
	if got != nil || !fault.Has(err, fault.DiskBusy) {
		t.Fatalf("got %d disks, %v", len(got), err)
	}
	for _, d := range devices {
		if d.Writes.Load() != 0 || d.Opened() != 0 {
			t.Errorf("%s: %d bytes written, %d descriptors open", d.Kernel, d.Writes.Load(), d.Opened())
		}
	}
}

func TestI04_EmptyDoubleAndNamelessSets(t *testing.T) {
	m, devices := disktest.World(t)
	for name, c := range map[string]struct {
		ids  []inventory.DeviceID
		want fault.Reason
	}{
		"empty":    {nil, fault.DiskNone},
		"twice":    {disktest.IDs(devices[0], devices[0]), fault.DiskAmbiguous},
		"nameless": {[]inventory.DeviceID{{Size: 80 * mib, Class: inventory.VirtIO}}, fault.DiskAmbiguous},
	} {
		if _, err := m.Guard().Check(t.Context(), c.ids, nil); !fault.Has(err, c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestI04_IdentityIsReadAgainBeforeWriting(t *testing.T) {
	m, devices := disktest.World(t)
	got, err := m.Guard().Check(t.Context(), disktest.IDs(devices[1]), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close(got)
	if err := got[0].Confirm(); err != nil {
		t.Fatal(err)
	}
	m.Write(devices[1].Dir+"/size", "2048\n")
	if err := got[0].Confirm(); !fault.Has(err, fault.DiskChanged) {
		t.Fatalf("got %v", err)
	}
}

func TestI05_EraseMustCoverTheMachine(t *testing.T) {
	m, devices := disktest.World(t)
	skip := map[string]any{"skip_block_devices": []any{map[string]any{"serial": "N1"}}}
	for name, c := range map[string]struct {
		ids  []inventory.DeviceID
		node map[string]any
		want fault.Reason
	}{
		"all":                    {disktest.IDs(devices...), nil, ""},
		"all but skipped":        {disktest.IDs(devices[:3]...), skip, ""},
		"one left out":           {disktest.IDs(devices[:3]...), nil, fault.DiskChanged},
		"one that is gone":       {append(disktest.IDs(devices...), inventory.DeviceID{Serial: "X", Size: mib, Class: inventory.SATA}), nil, fault.DiskMissing},
		"none":                   {nil, nil, fault.DiskChanged},
		"a list that is no list": {disktest.IDs(devices...), map[string]any{"skip_block_devices": "sda"}, fault.RequestInvalid},
		"everything skipped":     {nil, map[string]any{"skip_block_devices": []any{map[string]any{"size": "< 100"}, map[string]any{"serial": "<in> 1"}}}, fault.DiskNone},
	} {
		err := m.Guard().Covers(t.Context(), c.ids, c.node)
		if c.want == "" && err != nil || c.want != "" && !fault.Has(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestGuardStopsWhenAsked(t *testing.T) {
	m, devices := disktest.World(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Guard().Check(ctx, disktest.IDs(devices...), nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestI02_FailedProbesCountAsProtected fails the n-th operation on the disk in turn: whatever breaks, nothing is
// handed out but a fault, until nothing breaks any more.
func TestI02_FailedProbesCountAsProtected(t *testing.T) {
	for n := 1; ; n++ {
		m, devices := disktest.World(t)
		count, failed := 0, ""
		devices[1].Fail = func(op string, _ int64, _ int) error {
			if count++; count == n {
				failed = op
				return &fs.PathError{Op: op, Path: "/dev/sda", Err: syscall.EIO}
			}
			return nil
		}
		got, err := m.Guard().Check(t.Context(), disktest.IDs(devices...), nil)
		if count < n { // it did not come to the n-th operation: all of them went well
			if err != nil {
				t.Fatal(err)
			}
			disk.Close(got)
			if n < 5 {
				t.Fatalf("only %d operations were made: the test proves nothing", n-1)
			}
			return
		}
		// A SATA disk need not be able to tell of reservations; everything else must be told.
		if err == nil {
			if failed != "reserved" {
				t.Errorf("operation %d, %s, fails, and the disk is handed out", n, failed)
			}
			disk.Close(got)
			continue
		}
		if got != nil || fault.From(err).Reason == fault.InternalError {
			t.Errorf("operation %d fails: got %d disks and %v", n, len(got), err)
		}
		for _, d := range devices {
			if d.Writes.Load() != 0 || d.Opened() != 0 {
				t.Errorf("operation %d fails: %s has %d bytes written, %d descriptors open", n, d.Kernel, d.Writes.Load(), d.Opened())
			}
		}
	}
}
