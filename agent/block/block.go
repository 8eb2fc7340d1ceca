// Package block reads what the kernel's sysfs tells of block devices: names, identity, path class, partitions and
// who holds them. The inventory and the check before a write both use this one reading, so that they can't differ.
// It only reads files below a given root, never a device; start at Reader.Disks.
package block

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Reader reads below a root that is laid out like "/".
type Reader struct{ root fs.FS }

// New makes a reader.
func New(root fs.FS) Reader { return Reader{root} }

// Disk is a whole disk as the kernel sees it now.
type Disk struct {
	inventory.Disk
	Kernel     string   // "sda"; valid for this boot only
	Number     string   // "8:0"
	Controller string   // what the disk hangs on, as a sysfs path: namespaces of one NVMe controller share it
	Holders    []string // kernel names of what is built on the disk: "dm-0", "md127"
	Slaves     []string // kernel names of what it is built on
	Partitions []Partition
}

// Partition is a part of a disk that the kernel knows.
type Partition struct {
	Kernel  string // "sda1"
	Number  string // "8:1"
	Start   int64  // bytes
	Size    int64  // bytes
	Holders []string
}

// Bounds: a machine with more is not one this was written for (safety.md I25).
const (
	maxDevices = 4096
	maxValue   = 4096
)

// Disks lists every disk that could hold data, by name. Left out are RAM disks, loop devices, floppies, optical
// drives, device-mapper volumes, hidden NVMe paths, boot areas of eMMC, and devices without a medium. What can't be
// read of a disk is told in problems; a disk is listed even so.
func (r Reader) Disks() (disks []Disk, problems []string, err error) {
	entries, err := fs.ReadDir(r.root, "sys/block")
	if err != nil {
		return nil, nil, fmt.Errorf("list block devices: %w", err)
	}
	if len(entries) > maxDevices {
		return nil, nil, fmt.Errorf("list block devices: %d entries, at most %d are read", len(entries), maxDevices)
	}
	for _, e := range entries {
		if ignored(e.Name()) || r.value(path.Join("sys/block", e.Name(), "hidden")) == "1" {
			continue
		}
		d, err := r.Disk(e.Name())
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if d.Size == 0 {
			continue
		}
		if _, ok := d.ID(); !ok {
			problems = append(problems, fmt.Sprintf("%s reports neither serial nor WWN", d.Name))
		}
		disks = append(disks, d)
	}
	return disks, problems, nil
}

func ignored(name string) bool {
	for _, p := range []string{"ram", "zram", "loop", "fd", "sr", "dm-"} {
		if rest, ok := strings.CutPrefix(name, p); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return true
		}
	}
	// mmcblk0boot0 and mmcblk0rpmb are areas of the chip for firmware, read-only unless unlocked.
	return strings.HasPrefix(name, "mmcblk") && (strings.Contains(name, "boot") || strings.HasSuffix(name, "rpmb"))
}

// Disk reads one disk by its kernel name.
func (r Reader) Disk(name string) (Disk, error) {
	dir := path.Join("sys/block", name)
	if !fs.ValidPath(dir) || path.Base(dir) != name {
		return Disk{}, fmt.Errorf("%q is no name of a block device", name)
	}
	sectors, err := r.number(path.Join(dir, "size"))
	if err != nil || sectors < 0 || sectors > 1<<53 {
		return Disk{}, fmt.Errorf("read the size of %s: %w", name, cmp.Or(err, fmt.Errorf("%d sectors", sectors)))
	}
	where := r.devicePath(dir)
	d := Disk{Kernel: name, Number: r.value(dir + "/dev"), Holders: r.names(dir + "/holders"), Slaves: r.names(dir + "/slaves")}
	d.Name = "/dev/" + strings.ReplaceAll(name, "!", "/")
	d.Disk.Size = sectors * 512
	d.Model = r.value(dir + "/device/model")
	d.Vendor = r.value(dir + "/device/vendor")
	d.Rotational = r.value(dir+"/queue/rotational") == "1"
	d.LogicalSectors, _ = r.number(dir + "/queue/logical_block_size")
	d.PhysicalSectors, _ = r.number(dir + "/queue/physical_block_size")
	d.ReadOnly = r.value(dir+"/ro") != "0" // a flag that can't be read counts as set (safety.md I2)
	d.Class, d.Tran = r.class(name, dir, where)
	d.Controller = controllerOf(name, where)
	r.identity(&d, dir)
	if link := path.Base(r.link(dir + "/device")); isHCTL(link) {
		d.HCTL = link
	}
	d.ByPath = r.byPath(&d, dir, where)
	if d.Partitions, err = r.partitions(name, dir); err != nil {
		return Disk{}, err
	}
	return d, nil
}

// ByNumber finds the whole disk with a device number ("8:0"), which an open descriptor tells.
func (r Reader) ByNumber(number string) (Disk, error) {
	link := r.link("sys/dev/block/" + number)
	name := path.Base(link)
	if link == "" || name == "." {
		return Disk{}, fmt.Errorf("no block device has the number %s", number)
	}
	d, err := r.Disk(name)
	if err == nil && d.Number != number {
		err = fmt.Errorf("%s has the number %s, not %s", name, d.Number, number)
	}
	return d, err
}

func (r Reader) identity(d *Disk, dir string) {
	switch {
	case d.Class == inventory.MDRAID:
		d.Serial = r.value(dir + "/md/uuid")
	case strings.HasPrefix(d.Kernel, "vd"):
		d.Serial = r.value(dir + "/serial")
	case strings.HasPrefix(d.Kernel, "nvme"), strings.HasPrefix(d.Kernel, "mmcblk"):
		d.Serial = r.value(dir + "/device/serial")
		d.Model = cmp.Or(d.Model, r.value(dir+"/device/name"))
		d.WWN = r.value(dir + "/wwid")
	default:
		d.Serial = r.page80(dir + "/device/vpd_pg80")
		wwid := r.value(dir + "/device/wwid")
		if hex, ok := strings.CutPrefix(wwid, "naa."); ok && len(hex) >= 16 {
			d.WWN, d.WWNWithExtension = "0x"+hex[:16], "0x"+hex
			if len(hex) > 16 {
				d.WWNVendorExtension = "0x" + hex[16:]
			}
		} else if strings.HasPrefix(wwid, "eui.") {
			d.WWN, d.WWNWithExtension = wwid, wwid
		}
	}
}

// page80 reads a SCSI Unit Serial Number page: 4 bytes of header with the length, then text.
func (r Reader) page80(name string) string {
	b := r.bytes(name)
	if len(b) < 4 || b[1] != 0x80 {
		return ""
	}
	n := int(b[2])<<8 | int(b[3])
	return clean(string(b[4:min(4+n, len(b))]))
}

func (r Reader) partitions(disk, dir string) ([]Partition, error) {
	entries, err := fs.ReadDir(r.root, dir)
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", disk, err)
	}
	var out []Partition
	for _, e := range entries {
		sub := path.Join(dir, e.Name())
		if !strings.HasPrefix(e.Name(), disk) || r.value(sub+"/partition") == "" {
			continue
		}
		start, err1 := r.number(sub + "/start")
		size, err2 := r.number(sub + "/size")
		if err := cmp.Or(err1, err2); err != nil || start < 0 || size < 0 || start > 1<<53 || size > 1<<53 {
			return nil, fmt.Errorf("read where %s lies: %w", e.Name(), cmp.Or(err, fmt.Errorf("start %d, size %d", start, size)))
		}
		out = append(out, Partition{e.Name(), r.value(sub + "/dev"), start * 512, size * 512, r.names(sub + "/holders")})
	}
	return out, nil
}

// names lists a directory of links; one that can't be read, though it is there, lists itself as "?", so that the
// device counts as held.
func (r Reader) names(dir string) []string {
	entries, err := fs.ReadDir(r.root, dir)
	if err != nil {
		if _, e := fs.Stat(r.root, dir); e != nil {
			return nil
		}
		return []string{"?"}
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out
}

func (r Reader) bytes(name string) []byte {
	f, err := r.root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxValue))
	if err != nil {
		return nil
	}
	return b
}

// value is a file's text without white space around it; "" when it can't be read.
func (r Reader) value(name string) string { return clean(string(r.bytes(name))) }

func (r Reader) number(name string) (int64, error) {
	s := r.value(name)
	if s == "" {
		return 0, fmt.Errorf("read %s: not there or empty", name)
	}
	return strconv.ParseInt(s, 10, 64)
}

// clean makes text of what a device says of itself: printable ASCII without blanks at its ends.
func clean(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == 0 || c == '\n' || c == '\t':
			return ' '
		case c < 0x20 || c > 0x7e:
			return -1
		}
		return c
	}, s)
	return strings.TrimSpace(s)
}

func (r Reader) link(name string) string {
	target, err := fs.ReadLink(r.root, name)
	if err != nil {
		return ""
	}
	return path.Join(path.Dir(name), target)
}

// devicePath is the real place of /sys/block/X: sys/devices/pci0000:00/…/block/X.
func (r Reader) devicePath(dir string) string { return cmp.Or(r.link(dir), dir) }

func isHCTL(s string) bool {
	parts := strings.Split(s, ":")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 64); err != nil {
			return false
		}
	}
	return len(parts) == 4
}
