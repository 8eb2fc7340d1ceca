package raid

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/softraid"
)

// Opened is an array that runs and is held, so that an image can be written to it, and the mirror that its machine starts
// from. Close ends both.
type Opened struct {
	Disk    *disk.Disk
	mirror  *disk.Disk         // of the EFI system partition
	places  []system.Partition // of the mirror's members: where firmware finds it
	builder *Builder
	running []string
}

// Open runs the array with this identity and holds it. Its members, and the members of all arrays on the same disks, are
// examined first, as those of every step are: all of them, before any is touched (safety.md I3).
//
// Faults: those of the guard, disk.missing when there is no such array, or it is not whole, boot.entry when firmware could not
// start the machine from it.
func (b *Builder) Open(ctx context.Context, id inventory.DeviceID, node map[string]any) (_ *Opened, err error) {
	m := mdadm{b.Exec}
	if err := m.there(ctx); err != nil {
		return nil, err
	}
	if err := b.Release(ctx); err != nil {
		return nil, err
	}
	all, err := b.Guard.Disks()
	if err != nil {
		return nil, err
	}
	arrays, problems := b.Guard.Arrays(ctx, all)
	i := slices.IndexFunc(arrays, func(a disk.Array) bool { got, _ := a.ID(); return got == id })
	if i < 0 {
		return nil, fault.New(fault.DiskMissing, "the array with %s is not in the machine: %s", id, strings.Join(problems, "; "))
	}
	opening := []disk.Array{arrays[i]}
	for _, a := range arrays {
		if strings.HasSuffix(a.Name, "/"+softraid.ESP) && overlap(a, arrays[i]) {
			opening = append(opening, a)
		}
	}
	if len(opening) > 2 {
		return nil, fault.New(fault.DiskAmbiguous, "%d arrays named %s lie on the disks of %s", len(opening)-1, softraid.ESP, arrays[i].Name)
	}
	o := &Opened{builder: b}
	disks, err := b.Guard.Check(ctx, reach(arrays[i], arrays), node)
	if err != nil {
		return nil, err
	}
	if len(opening) == 2 {
		o.places, err = places(opening[1], disks)
	} else { // a machine that could not be made to boot is not written at all
		err = fault.New(fault.BootEntry, "the arrays have no mirrored EFI system partition: they were built on a machine that was not booted by UEFI").
			WithHint("boot the machine by UEFI and build them again: raid.create_configuration with delete_existing")
	}
	if err := errors.Join(err, disk.Close(disks)); err != nil { // the kernel can't hold the parts while the whole is held
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close(context.WithoutCancel(ctx)))
		}
	}()
	for n, a := range opening {
		d, err := b.start(ctx, m, o, a, "md"+strconv.Itoa(n))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			o.Disk = d
		} else {
			o.mirror = d
		}
	}
	return o, nil
}

func overlap(a, b disk.Array) bool {
	return slices.ContainsFunc(a.Members, func(id inventory.DeviceID) bool { return slices.Contains(b.Members, id) })
}

// reach are the disks of an array and of every array that shares a disk with them.
func reach(a disk.Array, all []disk.Array) []inventory.DeviceID {
	ids := slices.Clone(a.Members)
	for grown := true; grown; {
		grown = false
		for _, o := range all {
			if !slices.ContainsFunc(o.Members, func(id inventory.DeviceID) bool { return slices.Contains(ids, id) }) {
				continue
			}
			for _, id := range o.Members {
				if !slices.Contains(ids, id) {
					ids, grown = append(ids, id), true
				}
			}
		}
	}
	return ids
}

// places are the partitions that the mirror lies on, as the tables of its disks name them.
func places(mirror disk.Array, disks []*disk.Disk) (out []system.Partition, _ error) {
	for _, m := range mirror.Disks {
		i := slices.IndexFunc(disks, func(d *disk.Disk) bool { return d.Info.Kernel == m.Kernel })
		if i < 0 {
			return nil, fault.New(fault.DiskMissing, "a member of the mirrored EFI system partition is on %s, which was not examined", m.Kernel)
		}
		d := disks[i]
		t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
		if err != nil {
			return nil, d.Failure("read the partition table of", 0, err)
		}
		j := slices.IndexFunc(t.Partitions, func(p content.Part) bool { return p.Start == m.At.Start && p.GUID == content.SystemEFI })
		if j < 0 {
			return nil, fault.New(fault.BootEntry, "the mirrored EFI system partition lies on no such partition of %s (%s)", d.Info.Name, d).
				WithHint("build the arrays again: raid.create_configuration with delete_existing")
		}
		p := t.Partitions[j]
		out = append(out, system.Partition{
			Number: uint32(p.Index), GUID: content.GUIDText(p.Unique), Start: uint64(p.Start / int64(d.Align)), Count: uint64(p.Size / int64(d.Align)),
		})
	}
	return out, nil
}

// start runs an array and holds it.
func (b *Builder) start(ctx context.Context, m mdadm, o *Opened, a disk.Array, kernel string) (*disk.Disk, error) {
	var parts []string
	for _, x := range a.Disks {
		now, err := block.New(b.Root).Disk(x.Kernel)
		if err != nil {
			return nil, fault.New(fault.DiskMissing, "a member of %s went away: %v", a.Name, err).Because(err)
		}
		i := slices.IndexFunc(now.Partitions, func(p block.Partition) bool { return p.Start == x.At.Start && p.Size == x.At.Size })
		switch {
		case i >= 0:
			parts = append(parts, now.Partitions[i].Kernel)
		case x.At.Start == 0 && x.At.Size == now.Disk.Size:
			parts = append(parts, now.Kernel)
		default:
			return nil, fault.New(fault.DiskChanged, "%s of %s, a member of %s, is not known to the kernel", x.At.Name, now.Name, a.Name)
		}
	}
	if err := m.modules(ctx, a.Level); err != nil {
		return nil, err
	}
	if err := b.note(kernel); err != nil {
		return nil, err
	}
	o.running = append(o.running, kernel)
	if err := m.assemble(ctx, kernel, a.Serial, parts); err != nil {
		return nil, fault.New(fault.StepFailed, "the array %s can't be assembled of %s: %v", a.Name, strings.Join(parts, ", "), err).Because(err)
	}
	id, _ := a.ID()
	return b.Guard.HoldArray(id, kernel, parts)
}

// Close lets the array and the mirror go, and stops them.
func (o *Opened) Close(ctx context.Context) error {
	var errs []error
	for _, d := range []*disk.Disk{o.Disk, o.mirror} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	for _, kernel := range o.running {
		errs = append(errs, o.builder.stop(ctx, kernel))
	}
	return errors.Join(errs...)
}

// Boot puts the EFI system partition of the image on the array where firmware finds it, which knows no arrays: on the mirror,
// whose members look like it. It tells of each. The one within the image is made none after that, so that the system finds
// its own by what it is called. Faults: boot.entry, disk.too_small, image.read_back, disk.io.
func (o *Opened) Boot(context.Context) ([]disk.BootPlace, error) {
	inner, loader, err := o.Disk.FindLoader(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	if loader == "" {
		return nil, fault.New(fault.BootEntry, "the image written to %s has no EFI system partition with a boot loader", o.Disk).
			WithHint("use an image that boots by UEFI")
	}
	from, size := int64(inner.Start)*int64(o.Disk.Align), int64(inner.Count)*int64(o.Disk.Align)
	if size > o.mirror.Bytes {
		return nil, fault.New(fault.DiskTooSmall, "the image's EFI system partition has %s, the mirrored one %s", inventory.Bytes(size), inventory.Bytes(o.mirror.Bytes))
	}
	if err := o.mirror.Confirm(); err != nil {
		return nil, err
	}
	const piece = 1 << 20
	var written, kept [sha256.Size]byte
	sum := sha256.New()
	for off := int64(0); off < size; off += piece {
		b, err := o.Disk.Read(from+off, int(min(piece, size-off)))
		if err != nil {
			return nil, o.Disk.Failure("read", from+off, err)
		}
		sum.Write(b)
		if err := o.mirror.Write(b, off); err != nil {
			return nil, err
		}
	}
	if err := o.mirror.Failure("flush", 0, o.mirror.Sync()); err != nil {
		return nil, err
	}
	sum.Sum(written[:0])
	sum.Reset()
	for off := int64(0); off < size; off += piece {
		b, err := o.mirror.Read(off, int(min(piece, size-off)))
		if err != nil {
			return nil, o.mirror.Failure("read back", off, err)
		}
		sum.Write(b)
	}
	if sum.Sum(kept[:0]); !bytes.Equal(written[:], kept[:]) {
		return nil, fault.New(fault.ImageReadBack, "the mirrored EFI system partition reads back differently from what was written")
	}
	if err := o.Disk.Blank(from, min(size, piece)/int64(o.Disk.Align)*int64(o.Disk.Align)); err != nil {
		return nil, err
	}
	if err := o.Disk.Failure("flush", from, o.Disk.Sync()); err != nil {
		return nil, err
	}
	var out []disk.BootPlace
	for _, p := range o.places {
		out = append(out, disk.BootPlace{Partition: p, Loader: loader})
	}
	return out, nil
}
