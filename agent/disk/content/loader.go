package content

import (
	"fmt"
	"slices"
	"strings"
)

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

// FindLoader looks in a FAT file system for the boot loader of an architecture (as runtime.GOARCH has it); "" when there
// is none. A distribution's own shim comes before the loader for removable media, which may only be its fallback.
func FindLoader(read Reader, size int64, arch string) (string, error) {
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
