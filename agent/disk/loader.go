package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// FindLoader looks for the boot loader of an architecture (as runtime.GOARCH has it) on the disk's EFI system
// partition; "" when there is none. A distribution's own shim comes before the loader for removable media, which may
// only be its fallback. Faults: boot.entry, disk.io.
func (d *Disk) FindLoader(arch string) (system.Partition, string, error) {
	t, err := ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil {
		return system.Partition{}, "", d.Failure("read the partition table of", 0, err)
	}
	for _, p := range t.Partitions {
		if p.GUID != espType && p.Type != 0xef {
			continue
		}
		loader, err := findLoader(func(off int64, n int) ([]byte, error) {
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
				Number: uint32(p.Index), GUID: guidText(p.Unique), Start: uint64(p.Start / int64(d.Align)), Count: uint64(p.Size / int64(d.Align)),
			}, loader, nil
		}
	}
	return system.Partition{}, "", nil
}

// suffixes of loaders, by architecture.
func suffix(arch string) string {
	switch arch {
	case "arm64":
		return "aa64"
	case "amd64":
		return "x64"
	}
	return arch
}

const maxVendors = 64

func findLoader(read reader, size int64, arch string) (string, error) {
	f, err := openFAT(read, size)
	if err != nil {
		return "", err
	}
	root, err := f.list(0)
	if err != nil {
		return "", err
	}
	var found []string // every loader, by its path
	for _, efi := range root {
		if !efi.dir || !strings.EqualFold(efi.name, "EFI") {
			continue
		}
		vendors, err := f.list(efi.cluster)
		if err != nil {
			return "", err
		}
		for _, v := range vendors[:min(len(vendors), maxVendors)] {
			if !v.dir || v.cluster == 0 {
				continue
			}
			files, err := f.list(v.cluster)
			if err != nil {
				return "", err
			}
			for _, file := range files {
				if !file.dir && strings.HasSuffix(strings.ToLower(file.name), ".efi") {
					found = append(found, "/EFI/"+v.name+"/"+file.name)
				}
			}
		}
	}
	for _, want := range []string{"/shim%s.efi", "/boot/boot%s.efi", "/grub%s.efi", "/systemd-boot%s.efi"} {
		want = fmt.Sprintf(want, suffix(arch))
		if i := slices.IndexFunc(found, func(l string) bool { return strings.HasSuffix(strings.ToLower(l), want) }); i >= 0 {
			return found[i], nil
		}
	}
	return "", nil
}
