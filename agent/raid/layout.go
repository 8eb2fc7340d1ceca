package raid

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/softraid"
)

const (
	mebibyte = 1 << 20
	espStart = 1 * mebibyte
	espSize  = 550 * mebibyte // as Ironic leaves it
	biosHead = 8 * mebibyte   // room for a boot loader on a machine without UEFI
	tail     = 1 * mebibyte   // the backup table's
	smallest = 4 * mebibyte   // of a part: below it a superblock and its bitmap leave nothing
)

// array is one that is to be made: a volume, or the mirror of the EFI system partition.
type array struct {
	name   string
	level  int
	volume *softraid.Volume // nil for the mirror
	on     []*disk.Disk
	parts  []string // kernel names, known once the tables are written
}

// slot is one partition that is to be made.
type slot struct {
	array       *array
	start, size int64 // bytes
	kind        gpt.Type
	name        string
}

// layout is what is to be written: for each disk its partitions in the order of their places.
type layout struct {
	arrays []*array
	disks  []*disk.Disk
	slots  map[*disk.Disk][]slot
}

var levels = map[string]int{"0": 0, "1": 1, "1+0": 10, "5": 5, "6": 6}

// plan chooses each volume's members among the disks and places its parts on them. Nothing is read or written.
// Faults: disk.hint_no_match, disk.none, disk.too_small.
func plan(volumes []softraid.Volume, disks []*disk.Disk, uefi bool) (*layout, error) {
	l := &layout{slots: map[*disk.Disk][]slot{}}
	for i := range volumes {
		v := &volumes[i]
		on, err := choose(*v, disks)
		if err != nil {
			return nil, err
		}
		l.arrays = append(l.arrays, &array{name: v.Name, level: levels[v.Level], volume: v, on: on})
		for _, d := range on {
			if !slices.Contains(l.disks, d) {
				l.disks = append(l.disks, d)
			}
		}
	}
	var esp *array
	if uefi {
		esp = &array{name: softraid.ESP, level: 1, on: l.arrays[0].on} // of the disks of the volume that the machine starts from
		l.arrays = append(l.arrays, esp)
	}
	for _, d := range l.disks {
		if err := l.place(d, esp, uefi); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// choose finds a volume's members: for each of its hints the first disk that no other hint of it took, or all disks.
func choose(v softraid.Volume, disks []*disk.Disk) ([]*disk.Disk, error) {
	var on []*disk.Disk
	for i, h := range v.Hints {
		j := slices.IndexFunc(disks, func(d *disk.Disk) bool { return !slices.Contains(on, d) && h.Match(d.Info.Disk) })
		if j < 0 {
			return nil, fault.New(fault.DiskHint, "volume %s: no disk is left that meets physical_disks[%d], %s", v.Name, i, h)
		}
		on = append(on, disks[j])
	}
	if len(v.Hints) == 0 {
		on = slices.Clone(disks)
	}
	if n := v.Least(); len(on) < n {
		return nil, fault.New(fault.DiskNone, "volume %s of raid_level %s needs %d disks, there are %d", v.Name, v.Level, n, len(on)).
			WithHint("those of properties.skip_block_devices are not used")
	}
	return on, nil
}

// place lays a disk's partitions out: the firmware's first, those with a size in order, the one without to the end.
func (l *layout) place(d *disk.Disk, esp *array, uefi bool) error {
	at := int64(biosHead)
	if uefi {
		at = espStart + espSize
		if slices.Contains(esp.on, d) {
			l.slots[d] = append(l.slots[d], slot{esp, espStart, espSize, gpt.EFISystemPartition, "esp"})
		}
	}
	end := (d.Bytes - tail) / mebibyte * mebibyte
	var rest *array
	add := func(a *array, size int64) error {
		if size < smallest || at+size > end {
			return fault.New(fault.DiskTooSmall, "%s (%s) has no room for volume %s: it needs %s from %s on, the disk has %s",
				d.Info.Name, d, a.name, inventory.Bytes(max(size, smallest)), inventory.Bytes(at), inventory.Bytes(d.Bytes))
		}
		l.slots[d] = append(l.slots[d], slot{a, at, size, gpt.LinuxRAID, "raid " + a.name})
		at += size
		return nil
	}
	for _, a := range l.arrays {
		switch {
		case a.volume == nil || !slices.Contains(a.on, d):
		case a.volume.Bytes == 0:
			rest = a
		default:
			if err := add(a, a.volume.Bytes); err != nil {
				return err
			}
		}
	}
	if rest != nil {
		return add(rest, end-at)
	}
	return nil
}

// mark is the id that a disk's table gets in one run of a step: an attempt after an interruption knows by it what the
// attempts before it began, and nothing else.
func mark(run string) [16]byte {
	sum := sha256.Sum256([]byte("software RAID of " + run))
	m := [16]byte(sum[:16])
	m[6], m[8] = m[6]&0x0f|0x80, m[8]&0x3f|0x80 // a UUID of one's own making: version 8
	return m
}

// marked tells whether the disk's table was begun in this run. A table that was cut off before its head was written has
// its backup already.
func marked(d *disk.Disk, run string) (bool, error) {
	want := mark(run)
	for _, at := range []int64{int64(d.Align), d.Bytes - int64(d.Align)} {
		b, err := d.Read(at, 72)
		if err != nil {
			return false, d.Failure("read the partition table of", at, err)
		}
		if bytes.Equal(b[:8], content.GPTMagic) && content.GUIDText([16]byte(b[56:72])) == uuidText(want) {
			return true, nil
		}
	}
	return false, nil
}

// free refuses a disk that has partitions, or is a member itself.
func free(d *disk.Disk) error {
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	var damaged *content.DamagedError
	inUse := func(format string, args ...any) error {
		return fault.New(fault.DiskProtected, "%s (%s) %s", d.Info.Name, d, fmt.Sprintf(format, args...)).
			WithHint("run raid.delete_configuration or an erase before, or set delete_existing")
	}
	switch {
	case errors.Is(err, content.ErrNoTable):
	case errors.As(err, &damaged):
		return inUse("has a %v", damaged)
	case err != nil:
		return d.Failure("read the partition table of", 0, err)
	case t.Kind == "mbr" && len(t.Partitions) == 1 && t.Partitions[0].Type == 0xee: // it stands for a GPT, and there is none
	case len(t.Partitions) > 0:
		return inUse("has %d partitions already", len(t.Partitions))
	}
	f, err := content.Probe(d.Read, disk.Partitions(d.Info), d.Bytes, d.Align)
	if err != nil {
		return d.Failure("read", 0, err)
	}
	if len(f.Members) > 0 {
		return inUse("is part of a %s already", f.Members[0])
	}
	return nil
}

// table writes a disk's partition table, with the mark of this run.
func (l *layout) table(d *disk.Disk, run string) error {
	t := gpt.Table{
		LogicalSectorSize: d.Align, PhysicalSectorSize: d.Align, ProtectiveMBR: true, GUID: uuidText(mark(run)),
	}
	for i, s := range l.slots[d] {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1, Start: uint64(s.start / int64(d.Align)), End: uint64((s.start+s.size)/int64(d.Align)) - 1, Type: s.kind, Name: s.name,
		})
	}
	if err := t.Write(whole{d}, d.Bytes); err != nil {
		return d.Failure("write the partition table of", 0, err)
	}
	if err := d.Failure("flush", 0, d.Sync()); err != nil {
		return err
	}
	got, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil || got.Backup || len(got.Partitions) != len(t.Partitions) {
		return fault.New(fault.DiskIO, "the partition table of %s (%s) reads back differently from what was written: %d partitions, %v", d.Info.Name, d, len(got.Partitions), err)
	}
	return d.Failure("make known the partitions of", 0, d.RereadPartitions())
}

func uuidText(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// whole is a disk as the library that writes tables wants one: any range may be written.
type whole struct{ d *disk.Disk }

func (w whole) WriteAt(p []byte, off int64) (int, error) {
	if err := w.d.Write(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w whole) ReadAt(p []byte, off int64) (int, error) {
	b, err := w.d.Read(off, len(p))
	return copy(p, b), err
}

func (w whole) Sync() error { return w.d.Sync() }

// What the library's interface has beside it, and does not use when it writes a table.
func (w whole) Close() error                   { return nil }
func (w whole) Stat() (fs.FileInfo, error)     { return nil, fs.ErrInvalid }
func (w whole) Read([]byte) (int, error)       { return 0, fs.ErrInvalid }
func (w whole) Seek(int64, int) (int64, error) { return 0, fs.ErrInvalid }

var _ io.ReaderAt = whole{}
