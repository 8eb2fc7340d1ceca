package disk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Array is an array of software RAID as the superblocks of its members tell it. It does not run: this ramdisk runs an
// array only while a step needs it.
type Array struct {
	inventory.Disk
	Level int
	Disks []ArrayDisk // in the order of their roles
}

// ArrayDisk is a member's place: the disk and the part of it.
type ArrayDisk struct {
	Kernel string // "sda"
	At     content.Span
}

// Arrays finds the arrays that the superblocks on all tell of, by their UUIDs. Only one that is whole is listed: all its
// members are there, once, of one age, and on disks that can be told apart. What keeps an array off the list is told in
// problems; so is a disk that can't be read. Nothing is written, and nothing assembled.
func (g *Guard) Arrays(ctx context.Context, all []block.Disk) (arrays []Array, problems []string) {
	found := map[[16]byte][]member{}
	for _, d := range all {
		if ctx.Err() != nil {
			return nil, append(problems, "the search for arrays was stopped")
		}
		if d.Class == inventory.MDRAID { // it runs: what it is made of is held
			continue
		}
		seen, err := g.superblocks(d)
		if err != nil {
			problems = append(problems, fmt.Sprintf("whether %s is part of an array can't be told: %v", d.Name, err))
		}
		for _, m := range seen {
			found[m.UUID] = append(found[m.UUID], member{m, d})
		}
	}
	for _, group := range found {
		a, why := whole(group)
		if why != "" {
			problems = append(problems, fmt.Sprintf("RAID array %s (%s) is not used: %s", group[0].Name, group[0].ID(), why))
			continue
		}
		arrays = append(arrays, a)
	}
	slices.SortFunc(arrays, func(a, b Array) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Serial, b.Serial)) })
	slices.Sort(problems)
	return arrays, problems
}

type member struct {
	content.MDMember
	on block.Disk
}

// superblocks reads those of a disk, without holding it.
func (g *Guard) superblocks(d block.Disk) (_ []content.MDMember, err error) {
	dev, err := g.Layer.Open(d.Kernel, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	size, err := dev.Size()
	if err != nil {
		return nil, err
	}
	align, _, err := dev.Sectors()
	if err != nil || align < 512 || align > 64<<10 {
		return nil, fmt.Errorf("%s reports sectors of %d bytes: %w", path.Base(d.Name), align, err)
	}
	return content.MDMembers(func(off int64, n int) ([]byte, error) { return Read(dev, align, off, n) }, Partitions(d), size, align)
}

// whole makes an array of what was found of it, or says why that is none.
func whole(group []member) (Array, string) {
	slices.SortFunc(group, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), bytes.Compare([]byte(a.on.Kernel), []byte(b.on.Kernel)))
	})
	first := group[0]
	if len(group) != first.Members {
		return Array{}, fmt.Sprintf("%d of its %d members are there", len(group), first.Members)
	}
	a := Array{Level: first.Level}
	a.Serial, a.Class, a.Tran = first.ID(), inventory.MDRAID, string(inventory.MDRAID)
	a.Name = "/dev/md/" + cmp.Or(first.Name, first.ID())
	var blocks []content.MDMember
	for i, m := range group {
		id, ok := m.on.ID()
		switch {
		case m.Role != i:
			return a, fmt.Sprintf("%s on %s has the role %d, expected %d", m.At.Name, m.on.Name, m.Role, i)
		case m.Events != first.Events:
			return a, fmt.Sprintf("%s on %s is of another age than the other members", m.At.Name, m.on.Name)
		case !ok:
			return a, m.on.Name + " reports neither serial nor WWN"
		case m.Level != first.Level || m.Used != first.Used || m.Chunk != first.Chunk || m.Layout != first.Layout || m.Members != first.Members:
			return a, fmt.Sprintf("%s on %s tells of another array than the other members", m.At.Name, m.on.Name)
		}
		if !slices.Contains(a.Members, id) {
			a.Members = append(a.Members, id)
		}
		a.Rotational = a.Rotational || m.on.Rotational
		a.LogicalSectors = max(a.LogicalSectors, m.on.LogicalSectors)
		a.PhysicalSectors = max(a.PhysicalSectors, m.on.PhysicalSectors)
		a.Disks = append(a.Disks, ArrayDisk{m.on.Kernel, m.At})
		blocks = append(blocks, m.MDMember)
	}
	size, err := content.Size(blocks)
	if err != nil {
		return a, err.Error()
	}
	if size <= 0 {
		return a, fmt.Sprintf("its %d members of level %d leave it no size", len(group), a.Level)
	}
	a.Disk.Size = size
	return a, ""
}

// HoldArray opens an array that runs as the kernel's device with this name, after it was assembled of disks that Check had
// handed out: the same one as id says, of these parts and no others, not used by anything else.
func (g *Guard) HoldArray(id inventory.DeviceID, kernel string, parts []string) (*Disk, error) {
	d, err := block.New(g.Root).Disk(kernel)
	if err != nil {
		return nil, fault.New(fault.DiskMissing, "the array with %s does not run as %s: %v", id, kernel, err).Because(err)
	}
	changed := func(format string, args ...any) error {
		return fault.New(fault.DiskChanged, "%s, assembled as %s, %s", id, d.Name, fmt.Sprintf(format, args...))
	}
	if got, _ := d.ID(); got != id {
		return nil, changed("is %s with %d bytes, expected %d bytes", got, got.Size, id.Size)
	}
	want := slices.Sorted(slices.Values(parts))
	if !slices.Equal(d.Slaves, want) {
		return nil, changed("is built of %s, expected %s", strings.Join(d.Slaves, ", "), strings.Join(want, ", "))
	}
	if d.ReadOnly {
		return nil, fault.New(fault.DiskProtected, "%s (%s) is read-only", d.Name, id)
	}
	used, err := g.inUse()
	if err != nil {
		return nil, err
	}
	for _, p := range append([]block.Partition{{Kernel: d.Kernel, Number: d.Number, Holders: d.Holders}}, d.Partitions...) {
		if len(p.Holders) > 0 || used[p.Number] != "" || used[p.Kernel] != "" {
			return nil, fault.New(fault.DiskBusy, "%s (%s) is in use already", p.Kernel, id)
		}
	}
	return g.hold(id, d)
}
