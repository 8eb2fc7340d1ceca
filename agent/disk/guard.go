package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Guard decides whether disks may be written and hands them out. Its answer rests on what the kernel says now, never
// on an earlier inventory.
type Guard struct {
	Root       fs.FS  // laid out like "/": its /sys and /proc are read
	Layer      Layer  // opens the devices
	BootMedium string // kernel name of the disk that the ramdisk came from, or ""
	Log        *slog.Logger
}

// Properties of a node by which an operator vouches for what the guard can't prove. docs/adr/0020 says why these.
const (
	AllowClasses = "allow_device_classes"      // list of classes that are local here though not provably so
	AllowRAID    = "erase_raid_members"        // true: write disks whose array or volume group reaches over other disks
	AllowShared  = "erase_shared_file_systems" // true: write disks with VMFS, GPFS, GFS2 or OCFS2 on them
)

// Check proves that every one of the devices may be written and opens them all, or opens none: all checks of all
// devices pass before the caller can change a byte (safety.md I3). Each id must fit exactly one disk (I4) that is local
// or of an allowed class (I1) and neither it nor anything above or below it is skipped, mounted, swapped to, held,
// read-only, reserved, the boot medium, a part of a volume over other disks, or storage shared with other machines
// (I2). A check that can't be made counts as failed. The caller closes the disks.
//
// Faults: disk.none, disk.missing, disk.hint_ambiguous, disk.identity_changed, disk.not_local, disk.protected,
// disk.in_use, disk.io, request.invalid for malformed properties.
func (g *Guard) Check(ctx context.Context, ids []inventory.DeviceID, node map[string]any) (_ []*Disk, err error) {
	if len(ids) == 0 {
		return nil, fault.New(fault.DiskNone, "the step names no disk")
	}
	all, err := g.Disks()
	if err != nil {
		return nil, err
	}
	r, err := g.readRules(ctx, all, node)
	if err != nil {
		return nil, err
	}
	var chosen []block.Disk
	for _, id := range ids {
		d, err := resolve(id, all)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(chosen, func(o block.Disk) bool { return o.Kernel == d.Kernel }) {
			return nil, fault.New(fault.DiskAmbiguous, "the step names %s twice", id)
		}
		chosen = append(chosen, d)
	}
	used, err := g.inUse()
	if err != nil {
		return nil, err
	}
	for _, d := range chosen {
		if err := r.permit(d, used); err != nil {
			return nil, err
		}
	}
	var out []*Disk
	defer func() {
		if err != nil {
			err = errors.Join(err, Close(out))
		}
	}()
	for i, info := range chosen {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := g.hold(ids[i], info)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			if o.Controller == info.Controller && o.Kernel != info.Kernel {
				d.Siblings = append(d.Siblings, o.Kernel)
			}
		}
		out = append(out, d)
	}
	if err := g.content(ctx, out, all, r); err != nil {
		return nil, err
	}
	return out, nil
}

// Disks lists the machine's disks now.
func (g *Guard) Disks() ([]block.Disk, error) {
	all, problems, err := block.New(g.Root).Disks()
	if err != nil {
		return nil, fault.New(fault.DiskProtected, "the machine's disks can't be listed: %v", err).Because(err)
	}
	for _, p := range problems {
		g.Log.Warn("disk not understood", "problem", p)
	}
	for i := range all {
		all[i].BootMedium = g.BootMedium != "" && all[i].Kernel == g.BootMedium
	}
	return all, nil
}

// Covers compares the disks a step was started for with those that an erase of this machine must cover now. A disk
// more or less is a fault: an erase that leaves one out is none (safety.md I5).
func (g *Guard) Covers(ctx context.Context, ids []inventory.DeviceID, node map[string]any) error {
	all, err := g.Disks()
	if err != nil {
		return err
	}
	skip, _ := inventory.List(node, "skip_block_devices") // what is wrong with it, Targets tells
	known := g.known(ctx, all, skip)
	for _, id := range ids {
		if _, err := resolve(id, all); err != nil {
			return err
		}
	}
	want, err := inventory.Targets(inventory.Inventory{Disks: known}, node)
	if err != nil {
		return err
	}
	for _, d := range want {
		if id, _ := d.ID(); !slices.Contains(ids, id) {
			return fault.New(fault.DiskChanged, "%s (%s) is not among the %d disks that this step was started for; nothing was written", d.Name, id, len(ids)).
				WithHint("inspect the node again, so that the disk is known, or skip it in properties.skip_block_devices")
		}
	}
	return nil
}

// known are all disks and, where the operator skips some, the arrays on them: who skips an array skips its disks.
func (g *Guard) known(ctx context.Context, all []block.Disk, skip []any) []inventory.Disk {
	out := make([]inventory.Disk, len(all))
	for i, d := range all {
		out[i] = d.Disk
	}
	if len(skip) == 0 {
		return out
	}
	arrays, problems := g.Arrays(ctx, all)
	for _, a := range arrays {
		out = append(out, a.Disk)
	}
	for _, p := range problems {
		g.Log.Info("array", "problem", p)
	}
	return out
}

// resolve finds the one disk that has the identity.
func resolve(id inventory.DeviceID, all []block.Disk) (block.Disk, error) {
	if id.Serial == "" && id.WWN == "" {
		return block.Disk{}, fault.New(fault.DiskAmbiguous, "the step names a disk without serial or WWN: %s", id)
	}
	var fit, near []block.Disk
	for _, d := range all {
		switch got, _ := d.ID(); {
		case got == id:
			fit = append(fit, d)
		case got.Serial == id.Serial && got.WWN == id.WWN:
			near = append(near, d)
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) > 1:
		return block.Disk{}, fault.New(fault.DiskAmbiguous, "%s is both %s and %s", id, fit[0].Name, fit[1].Name).
			WithHint("disks, or paths to one, that can't be told apart are never written")
	case len(near) > 0:
		got, _ := near[0].ID()
		return block.Disk{}, fault.New(fault.DiskChanged, "expected %s (%d bytes), but %s is now %s (%d bytes)", id, id.Size, near[0].Name, got, got.Size)
	}
	return block.Disk{}, fault.New(fault.DiskMissing, "%s is not in the machine", id)
}

// rules are an operator's words on what may be written.
type rules struct {
	skipped      []string // kernel names
	allow        []inventory.Class
	raid, shared bool
}

func (g *Guard) readRules(ctx context.Context, all []block.Disk, node map[string]any) (rules, error) {
	var r rules
	skip, err := inventory.List(node, "skip_block_devices")
	if err != nil {
		return r, err
	}
	if r.allow, err = inventory.Allowed(node); err != nil {
		return r, err
	}
	_, skipped, _, err := inventory.Skipped(g.known(ctx, all, skip), skip)
	if err != nil {
		return r, err
	}
	for _, d := range all {
		if slices.ContainsFunc(skipped, func(s inventory.Disk) bool { return s.Name == d.Name }) {
			r.skipped = append(r.skipped, d.Kernel)
		}
	}
	r.raid, _ = node[AllowRAID].(bool)
	r.shared, _ = node[AllowShared].(bool)
	return r, nil
}

// permit judges a disk by what the kernel says of it, without opening it.
func (r rules) permit(d block.Disk, used map[string]string) error {
	id, _ := d.ID()
	protected := func(format string, args ...any) *fault.Fault {
		return fault.New(fault.DiskProtected, "%s (%s) %s", d.Name, id, fmt.Sprintf(format, args...))
	}
	switch {
	case d.BootMedium:
		return protected("is the medium this ramdisk was booted from").WithHint("nothing may write it")
	case slices.Contains(r.skipped, d.Kernel):
		return protected("is skipped by properties.skip_block_devices").WithHint("remove it from the list if it may be written")
	case d.ReadOnly:
		return protected("is read-only").WithHint("unlock it, or skip it in properties.skip_block_devices")
	case !d.Class.Local() && !slices.Contains(r.allow, d.Class):
		return fault.New(fault.DiskRemote, "%s (%s) is of class %s, not provably inside the machine", d.Name, id, d.Class).
			WithHint("list %q in properties.%s if it is", d.Class, AllowClasses)
	}
	busy := func(what, by string) error {
		return fault.New(fault.DiskBusy, "%s (%s) is in use: %s %s", d.Name, id, what, by)
	}
	if len(d.Slaves) > 0 {
		return busy("it is built on", strings.Join(d.Slaves, ", "))
	}
	parts := append([]block.Partition{{Kernel: d.Kernel, Number: d.Number, Holders: d.Holders}}, d.Partitions...)
	for _, p := range parts {
		if len(p.Holders) > 0 {
			return busy(p.Kernel+" is part of", strings.Join(p.Holders, ", "))
		}
		for _, key := range []string{p.Number, p.Kernel} {
			if by := used[key]; by != "" {
				return busy(p.Kernel+" is", by)
			}
		}
	}
	return nil
}

// inUse maps device numbers and kernel names to what uses them: mounts and swap.
func (g *Guard) inUse() (map[string]string, error) {
	out := map[string]string{}
	unknown := func(file string, err error) error {
		return fault.New(fault.DiskProtected, "whether disks are in use can't be told: read /%s: %v", file, err).Because(err)
	}
	const mounts, swaps = "proc/self/mountinfo", "proc/swaps"
	err := g.lines(mounts, func(f []string) error {
		i := slices.Index(f, "-") // behind six fields and any number of optional ones
		if i < 6 || i+2 >= len(f) {
			return fmt.Errorf("malformed line %q", strings.Join(f, " "))
		}
		out[f[2]] = "mounted on " + f[4]
		// A file system over several devices has a number of its own; its source names one of them.
		if source := f[i+2]; strings.HasPrefix(source, "/dev/") {
			out[kernelName(source)] = "mounted on " + f[4]
		}
		return nil
	})
	if err != nil {
		return nil, unknown(mounts, err)
	}
	err = g.lines(swaps, func(f []string) error {
		if len(f) > 0 { // the head of the table and files are no kernel's names
			out[kernelName(f[0])] = "used for swap"
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without swap has no such file
		return nil, unknown(swaps, err)
	}
	return out, nil
}

// kernelName is what the kernel calls the device at a path below /dev.
func kernelName(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "/dev/"), "/", "!")
}

func (g *Guard) lines(name string, fn func(fields []string) error) error {
	f, err := g.Root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(io.LimitReader(f, 16<<20))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if err := fn(strings.Fields(s.Text())); err != nil {
			return err
		}
	}
	return s.Err()
}

// hold opens a disk exclusively and reads its identity through the descriptor.
func (g *Guard) hold(id inventory.DeviceID, info block.Disk) (_ *Disk, err error) {
	dev, err := g.Layer.Open(info.Kernel, true)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return nil, fault.New(fault.DiskBusy, "%s (%s) is held by something else: a mount, swap, RAID or device-mapper", info.Name, id).Because(err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES):
		return nil, fault.New(fault.DiskProtected, "%s (%s) is read-only", info.Name, id).Because(err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return nil, fault.New(fault.DiskMissing, "%s (%s) went away: %v", info.Name, id, err).Because(err)
	case err != nil:
		return nil, fault.New(fault.DiskIO, "open %s (%s): %v", info.Name, id, err).Because(err)
	}
	d := &Disk{Device: dev, ID: id, Info: info, guard: g}
	defer func() {
		if err != nil {
			err = errors.Join(err, dev.Close())
		}
	}()
	if err := g.identify(d); err != nil {
		return nil, err
	}
	ro, err := dev.ReadOnly()
	if err != nil || ro {
		return nil, fault.New(fault.DiskProtected, "%s (%s) is read-only", info.Name, id).Because(err)
	}
	d.Align, _, err = dev.Sectors()
	if err != nil || d.Align < 512 || d.Align > 64<<10 || d.Align&(d.Align-1) != 0 || d.Bytes%int64(d.Align) != 0 {
		return nil, fault.New(fault.DiskIO, "%s (%s) reports sectors of %d bytes", info.Name, id, d.Align).Because(err)
	}
	return d, g.reservation(d)
}

// identify compares the disk behind the open descriptor with the one that was asked for.
func (g *Guard) identify(d *Disk) error {
	changed := func(format string, args ...any) *fault.Fault {
		return fault.New(fault.DiskChanged, "%s, opened as %s, %s", d.ID, d.Info.Name, fmt.Sprintf(format, args...))
	}
	major, minor, err := d.Number()
	if err != nil {
		return changed("can't be identified: %v", err).Because(err)
	}
	now, err := block.New(g.Root).ByNumber(fmt.Sprintf("%d:%d", major, minor))
	if err != nil {
		return changed("is not known to the kernel any more: %v", err).Because(err)
	}
	if got, _ := now.ID(); got != d.ID {
		return changed("is %s with %d bytes, expected %d bytes", got, got.Size, d.ID.Size)
	}
	size, err := d.Size()
	if err != nil {
		return changed("does not tell its size: %v", err).Because(err)
	}
	if size != d.ID.Size {
		return changed("has %d bytes, expected %d", size, d.ID.Size)
	}
	d.Bytes = size
	return nil
}

// content refuses disks that carry storage shared with other machines, or a part of a volume that reaches over disks
// that are not written with them.
func (g *Guard) content(ctx context.Context, disks []*Disk, all []block.Disk, r rules) error {
	groups := map[content.Member]*Disk{}
	for _, d := range disks {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := content.Probe(d.Read, Partitions(d.Info), d.Bytes, d.Align)
		if err != nil {
			return fault.New(fault.DiskProtected, "what %s (%s) holds can't be told: %v", d.Info.Name, d, err).
				WithHint("replace the disk, or skip it in properties.skip_block_devices").Because(err)
		}
		if len(f.Shared) > 0 && !r.shared {
			return fault.New(fault.DiskProtected, "%s (%s) carries storage that several machines may share: %s", d.Info.Name, d, strings.Join(f.Shared, ", ")).
				WithHint("set properties.%s to true if it may be destroyed, or skip the disk in properties.skip_block_devices", AllowShared)
		}
		for _, m := range f.Members {
			m.Where = ""
			groups[m] = d
		}
	}
	if r.raid || len(groups) == 0 {
		return nil
	}
	for _, o := range all {
		if slices.ContainsFunc(disks, func(d *Disk) bool { return d.Info.Kernel == o.Kernel }) {
			continue
		}
		f, err := g.peek(o)
		for m, d := range groups {
			refuse := func(format string, args ...any) error {
				return fault.New(fault.DiskProtected, "%s (%s) is part of a %s, %s", d.Info.Name, d, m.Kind, fmt.Sprintf(format, args...)).
					WithHint("write or skip all disks of the volume together, or set properties.%s to true if it may be destroyed", AllowRAID)
			}
			switch {
			case err != nil:
				return refuse("and whether %s, which this step leaves alone, is as well can't be told: %v", o.Name, err)
			case m.Group == "":
				return refuse("and to which one can't be told, while this step leaves %s alone", o.Name)
			case slices.ContainsFunc(f.Members, func(x content.Member) bool { return x.Kind == m.Kind && (x.Group == m.Group || x.Group == "") }):
				return refuse("which reaches over %s, which this step leaves alone", o.Name)
			}
		}
	}
	return nil
}

// peek probes a disk that is not to be written.
func (g *Guard) peek(info block.Disk) (_ content.Found, err error) {
	dev, err := g.Layer.Open(info.Kernel, false)
	if err != nil {
		return content.Found{}, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	size, err := dev.Size()
	if err != nil {
		return content.Found{}, err
	}
	align, _, err := dev.Sectors()
	if err != nil || align < 512 || align > 64<<10 {
		return content.Found{}, fmt.Errorf("%s reports sectors of %d bytes: %w", path.Base(info.Name), align, err)
	}
	return content.Probe(func(off int64, n int) ([]byte, error) { return Read(dev, align, off, n) }, Partitions(info), size, align)
}

// Partitions are those that the kernel knows on a disk.
func Partitions(d block.Disk) []content.Span {
	var out []content.Span
	for _, p := range d.Partitions {
		out = append(out, content.Span{Name: p.Kernel, Start: p.Start, Size: p.Size})
	}
	return out
}
