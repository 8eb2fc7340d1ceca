// Package raid builds, opens and deletes arrays of Linux software RAID on the disks that a step names. It chooses among
// those disks by the operator's hints, and asks the guard about all of them before it touches any. An array runs only while
// a step needs it: nothing is assembled at boot, so that no disk is written, or held, that no step named. Start at
// Builder.Create.
package raid

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/softraid"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Guard hands out disks that may be written and tells of the arrays on them; see disk.Guard.
type Guard interface {
	Check(ctx context.Context, ids []inventory.DeviceID, node map[string]any) ([]*disk.Disk, error)
	Disks() ([]block.Disk, error)
	Arrays(ctx context.Context, all []block.Disk) ([]disk.Array, []string)
	HoldArray(id inventory.DeviceID, kernel string, parts []string) (*disk.Disk, error)
}

// Builder builds arrays.
type Builder struct {
	Guard Guard
	Exec  hardware.Runner // of the programs mdadm and modprobe
	Root  fs.FS           // laid out like "/": its /sys is read
	Notes string          // folder where it stands which arrays run, so that a later process of the same boot stops them
	// Clear removes partition tables and signatures from disks and their partitions, and reads the places back.
	Clear func(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) error
	Log   *slog.Logger
}

// Order is what a step asks for.
type Order struct {
	Devices []inventory.DeviceID // all disks that may be used
	Node    map[string]any       // the node's properties
	Config  map[string]any       // what to build, in Ironic's form
	Run     string               // the step in its run, the same for each attempt; "" knows no earlier attempt
	Delete  bool                 // remove the arrays that are there before
	Report  func(step.Progress)
}

// Delete removes every array of the disks, in at most two passes: what one array hid may show when it is gone. Disks
// without a part of an array are left as they are. It is safe to run again. The names of the arrays are for people.
func (b *Builder) Delete(ctx context.Context, o Order) (_ []string, err error) {
	disks, err := b.check(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, disk.Close(disks)) }()
	return b.remove(ctx, disks, o.Report)
}

func (b *Builder) check(ctx context.Context, o Order) ([]*disk.Disk, error) {
	if err := b.Release(ctx); err != nil {
		return nil, err
	}
	return b.Guard.Check(ctx, o.Devices, o.Node)
}

// passes is how often arrays are looked for and removed.
const passes = 2

func (b *Builder) remove(ctx context.Context, disks []*disk.Disk, report func(step.Progress)) (names []string, _ error) {
	for pass := 0; ; pass++ {
		var hit []*disk.Disk
		var left []string
		for _, d := range disks {
			array, err := member(d)
			if err != nil {
				return names, err
			}
			if !array {
				continue
			}
			hit, left = append(hit, d), append(left, d.Info.Name)
			seen, err := content.MDMembers(d.Read, disk.Partitions(d.Info), d.Bytes, d.Align)
			if err != nil {
				return names, d.Failure("read", 0, err)
			}
			for _, m := range seen {
				if name := m.Name + " (" + m.ID() + ")"; !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if len(hit) == 0 {
			slices.Sort(names)
			return names, nil
		}
		if pass == passes {
			return names, fault.New(fault.DiskNotErased, "parts of RAID arrays are left on %s after they were removed %d times", strings.Join(left, ", "), passes)
		}
		if err := b.Clear(ctx, hit, report); err != nil {
			return names, err
		}
	}
}

// member tells whether a part of an array is on the disk.
func member(d *disk.Disk) (bool, error) {
	found, err := content.Probe(d.Read, disk.Partitions(d.Info), d.Bytes, d.Align)
	if err != nil {
		return false, d.Failure("read", 0, err)
	}
	return slices.ContainsFunc(found.Members, func(m content.Member) bool { return m.Kind == content.ArrayKind }), nil
}

// Create builds the arrays of the order, reads them back and stops them. Every disk of the order is examined before any is
// touched; a disk that holds partitions or a part of an array is refused, unless an earlier attempt of the same run began
// them. The result is what was built, in Ironic's form; nil when nothing was asked for.
//
// Faults: those of the guard, request.invalid, disk.hint_no_match, disk.none, disk.too_small, disk.protected, step.version.
func (b *Builder) Create(ctx context.Context, o Order) (_ map[string]any, err error) {
	volumes, err := softraid.Parse(o.Config)
	if err != nil || len(volumes) == 0 {
		return nil, err
	}
	m := mdadm{b.Exec}
	if err := m.there(ctx); err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if err := m.modules(ctx, levels[v.Level]); err != nil {
			return nil, err
		}
	}
	disks, err := b.check(ctx, o)
	if err != nil {
		return nil, err
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, disk.Close(disks))
		}
	}()
	l, err := b.prepare(ctx, o, volumes, disks)
	if err != nil {
		return nil, err
	}
	for _, d := range l.disks { // from here on they are written
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.Confirm(); err != nil {
			return nil, err
		}
		if err := l.table(d, o.Run); err != nil {
			return nil, err
		}
		b.Log.Info("partitions made", "device", d.String(), "partitions", len(l.slots[d]))
	}
	open = false // the kernel holds their partitions next, which it can't while their whole is held
	if err := disk.Close(disks); err != nil {
		return nil, err
	}
	return b.build(ctx, m, l)
}

// prepare makes the layout and the room for it.
func (b *Builder) prepare(ctx context.Context, o Order, volumes []softraid.Volume, disks []*disk.Disk) (*layout, error) {
	l, err := plan(volumes, disks, b.uefi())
	if err != nil {
		return nil, err
	}
	var begun []*disk.Disk
	for _, d := range l.disks {
		mine := false
		if o.Run != "" {
			if mine, err = marked(d, o.Run); err != nil {
				return nil, err
			}
		}
		if mine {
			b.Log.Info("an earlier attempt began it: it is cleared", "device", d.String())
			begun = append(begun, d)
		} else if err := free(d); err != nil {
			if array, e := member(d); e != nil || !o.Delete || !array { // what is no array stays: that it is in the way is known now
				return nil, errors.Join(err, e)
			}
		}
	}
	if o.Delete {
		if _, err := b.remove(ctx, disks, o.Report); err != nil {
			return nil, err
		}
	}
	if len(begun) > 0 {
		if err := b.Clear(ctx, begun, o.Report); err != nil {
			return nil, err
		}
	}
	for _, d := range l.disks {
		if err := free(d); err != nil { // what the arrays hid
			return nil, err
		}
	}
	return l, nil
}

func (b *Builder) uefi() bool {
	_, err := fs.Stat(b.Root, "sys/firmware/efi")
	return err == nil
}

// build makes the arrays of the partitions and reads them back.
func (b *Builder) build(ctx context.Context, m mdadm, l *layout) (map[string]any, error) {
	if err := b.parts(l); err != nil {
		return nil, err
	}
	var made []built
	for i, a := range l.arrays {
		x, err := b.make(ctx, m, a, "md"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		made = append(made, x)
	}
	return b.result(ctx, made)
}

// parts finds the kernel's names of the partitions that were made.
func (b *Builder) parts(l *layout) error {
	for _, d := range l.disks {
		now, err := block.New(b.Root).Disk(d.Info.Kernel)
		if id, _ := now.ID(); err != nil || id != d.ID {
			return fault.New(fault.DiskChanged, "%s is not %s any more: %v", d.Info.Name, d, err)
		}
		for _, s := range l.slots[d] {
			i := slices.IndexFunc(now.Partitions, func(p block.Partition) bool { return p.Start == s.start && p.Size == s.size })
			if i < 0 {
				return fault.New(fault.DiskIO, "the kernel does not know the partition for %s of %s (%s): it knows %d others", s.array.name, d.Info.Name, d, len(now.Partitions))
			}
			s.array.parts = append(s.array.parts, now.Partitions[i].Kernel)
		}
	}
	return nil
}

// built is an array as the kernel told of it while it ran.
type built struct {
	*array
	uuid string
	size int64
}

func (b *Builder) make(ctx context.Context, m mdadm, a *array, kernel string) (_ built, err error) {
	if err := b.note(kernel); err != nil {
		return built{}, err
	}
	defer func() { err = errors.Join(err, b.stop(context.WithoutCancel(ctx), kernel)) }()
	if err := m.create(ctx, kernel, a.name, a.level, a.parts); err != nil {
		return built{}, fault.New(fault.StepFailed, "the array %s can't be made of %s: %v", a.name, strings.Join(a.parts, ", "), err).Because(err)
	}
	dir := "sys/block/" + kernel
	level := map[int]string{0: "raid0", 1: "raid1", 5: "raid5", 6: "raid6", 10: "raid10"}[a.level]
	for file, want := range map[string]string{"level": level, "raid_disks": strconv.Itoa(len(a.parts)), "degraded": "0"} {
		got := text(b.Root, dir+"/md/"+file)
		if got == "" && file == "degraded" { // a level without redundancy has none
			continue
		}
		if got != want {
			return built{}, fault.New(fault.StepFailed, "the array %s was made with %s %q, expected %q", a.name, file, got, want)
		}
	}
	sectors, err := strconv.ParseInt(text(b.Root, dir+"/size"), 10, 64)
	if err != nil || sectors <= 0 || sectors > math.MaxInt64/512 {
		return built{}, fault.New(fault.StepFailed, "the array %s was made, and does not tell its size", a.name).Because(err)
	}
	return built{a, text(b.Root, dir+"/md/uuid"), sectors * 512}, nil
}

func text(root fs.FS, name string) string {
	b, _ := fs.ReadFile(root, name)
	return strings.TrimSpace(string(b))
}

// result reads back from the disks what was built: each array whole, of the size that it had while it ran.
func (b *Builder) result(ctx context.Context, made []built) (map[string]any, error) {
	all, err := b.Guard.Disks()
	if err != nil {
		return nil, err
	}
	arrays, problems := b.Guard.Arrays(ctx, all)
	list := []any{}
	for _, x := range made {
		i := slices.IndexFunc(arrays, func(a disk.Array) bool { return a.Serial == x.uuid })
		if i < 0 {
			return nil, fault.New(fault.StepFailed, "the array %s (%s) is not on the disks after it was made: %s", x.name, x.uuid, strings.Join(problems, "; "))
		}
		a := arrays[i]
		if a.Disk.Size != x.size || a.Level != x.level || len(a.Disks) != len(x.parts) {
			return nil, fault.New(fault.StepFailed, "the array %s was made with %d bytes of level %d, and its superblocks tell of %d bytes of level %d", x.name, x.size, x.level, a.Disk.Size, a.Level)
		}
		if x.volume == nil { // the mirror of the EFI system partition is nobody's volume
			continue
		}
		var on []any
		for _, id := range a.Members {
			on = append(on, id.String())
		}
		v := map[string]any{
			"controller": softraid.Controller, "raid_level": x.volume.Level, "size_gb": float64(a.Disk.Size >> 30), "volume_name": x.name,
			"uuid": a.Serial, "size_bytes": float64(a.Disk.Size), "physical_disks": on,
		}
		if x.volume.Root != nil {
			v["is_root_volume"] = *x.volume.Root
		}
		list = append(list, v)
	}
	return map[string]any{"logical_disks": list}, nil
}

// note writes down that an array is about to run; stop takes it back.
func (b *Builder) note(kernel string) error {
	if _, err := fs.Stat(b.Root, "sys/block/"+kernel+"/md/array_state"); err == nil {
		if state := text(b.Root, "sys/block/"+kernel+"/md/array_state"); state != "clear" {
			return fault.New(fault.DiskBusy, "%s runs already (%s), and no step of this ramdisk started it", kernel, state)
		}
	}
	if err := os.MkdirAll(b.Notes, 0o700); err != nil {
		return fmt.Errorf("note that %s runs: %w", kernel, err)
	}
	return os.WriteFile(filepath.Join(b.Notes, kernel), nil, 0o600)
}

func (b *Builder) stop(ctx context.Context, kernel string) error {
	if state := text(b.Root, "sys/block/"+kernel+"/md/array_state"); state != "" && state != "clear" {
		if err := (mdadm{b.Exec}).stop(ctx, kernel); err != nil {
			return fault.New(fault.DiskBusy, "the array %s can't be stopped: %v", kernel, err).Because(err)
		}
	}
	return os.Remove(filepath.Join(b.Notes, kernel))
}

// Release stops the arrays that a step of this boot left running because its process ended: they were of disks that the
// step was allowed to write. An array that somebody else runs is left alone, and the guard refuses its disks.
func (b *Builder) Release(ctx context.Context) error {
	entries, err := os.ReadDir(b.Notes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read which arrays run: %w", err)
	}
	for _, e := range entries {
		if err := b.stop(ctx, e.Name()); err != nil {
			return err
		}
		b.Log.Info("array stopped that an earlier step had left", "array", e.Name())
	}
	return nil
}

// maxListed and maxTold bound what an inventory says of arrays: whoever used the machine last may have written superblocks
// without end, and a server takes no inventory without end (safety.md I25). The guard knows them all.
const (
	maxListed = 256
	maxTold   = 64
)

// Inventory lists the arrays that are there as disks of an inventory, and tells what keeps others off the list.
func (b *Builder) Inventory(ctx context.Context) (disks []inventory.Disk, problems []string) {
	all, err := b.Guard.Disks()
	if err != nil {
		return nil, []string{fmt.Sprintf("arrays: %v", err)}
	}
	arrays, problems := b.Guard.Arrays(ctx, all)
	for _, a := range arrays[:min(len(arrays), maxListed)] {
		disks = append(disks, a.Disk)
	}
	if unlisted, untold := len(arrays)-len(disks), max(0, len(problems)-maxTold); unlisted+untold > 0 {
		problems = append(problems[:len(problems)-untold:len(problems)-untold],
			fmt.Sprintf("%d more arrays and %d more problems of arrays are not listed: erase the disks, or delete their arrays", unlisted, untold))
	}
	return disks, problems
}
