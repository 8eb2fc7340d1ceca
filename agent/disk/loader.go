package disk

import (
	"errors"

	"github.com/bessemer-metal/bessemer/agent/disk/content"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// BootPlace is where firmware finds a boot loader.
type BootPlace struct {
	Partition system.Partition
	Loader    string // "/EFI/BOOT/BOOTX64.EFI"
}

// FindLoader looks for the boot loader of an architecture (as runtime.GOARCH has it) on the disk's EFI system
// partition; "" when there is none. A distribution's own shim comes before the loader for removable media, which may
// only be its fallback. Faults: boot.entry, disk.io.
func (d *Disk) FindLoader(arch string) (system.Partition, string, error) {
	t, err := content.ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil {
		return system.Partition{}, "", d.Failure("read the partition table of", 0, err)
	}
	for _, p := range t.Partitions {
		if p.GUID != content.SystemEFI && p.Type != 0xef {
			continue
		}
		loader, err := content.FindLoader(func(off int64, n int) ([]byte, error) {
			if off < 0 || int64(n) > p.Size || off > p.Size-int64(n) {
				return nil, errors.New("beyond the partition's end")
			}
			return d.Read(p.Start+off, n)
		}, p.Size, arch)
		if err != nil {
			return system.Partition{}, "", fault.New(fault.BootEntry, "the EFI system partition %d of %s can't be read: %v", p.Index, d, err).
				WithHint("use an image whose EFI system partition is a FAT file system").Because(err)
		}
		if loader != "" {
			return system.Partition{
				Number: uint32(p.Index), GUID: content.GUIDText(p.Unique), Start: uint64(p.Start / int64(d.Align)), Count: uint64(p.Size / int64(d.Align)),
			}, loader, nil
		}
	}
	return system.Partition{}, "", nil
}
