// Package media makes the file system images that machines read: the EFI system partition and ISO 9660 image of a
// boot medium, the config drive, and the unified kernel image that a medium starts. It knows bytes only: what goes
// into them is said by initramfs and by the agent's image step. Start at BootISO, then UKI and ConfigDrive.
package media

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Epoch is the time stamp of everything inside an image: same inputs, same bytes. FAT knows no time before 1980.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	sector   = 2048
	espName  = "ESP.IMG"
	espLabel = "BESSEMER" // of the FAT volume
	pvdAt    = 16 * sector
	fatExtra = 2 << 20  // room for FAT tables and directories
	fatMin   = 34 << 20 // below, FAT32 is not what every firmware takes
)

// BootISO writes an ISO 9660 image that UEFI firmware boots from a virtual or real CD: an EFI system partition with
// uki as its default program, and the boot region (see api.FindRegion), zeros for now. Nothing is left behind on an
// error. The same uki gives the same bytes.
func BootISO(out, uki string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(out), "iso")
	if err != nil {
		return fmt.Errorf("make boot ISO: %w", err)
	}
	defer os.RemoveAll(work)
	tree := filepath.Join(work, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return fmt.Errorf("make boot ISO: %w", err)
	}
	if err := esp(filepath.Join(tree, espName), uki); err != nil {
		return fmt.Errorf("make EFI system partition: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tree, api.RegionFile), make([]byte, api.RegionSize), 0o644); err != nil {
		return fmt.Errorf("make boot ISO: %w", err)
	}
	part := filepath.Join(work, "out.iso")
	if err := writeISO(part, tree, iso9660.FinalizeOptions{
		VolumeIdentifier: api.MediumLabel,
		ElTorito: &iso9660.ElTorito{
			HideBootCatalog: true,
			Entries:         []*iso9660.ElToritoEntry{{Platform: iso9660.EFI, Emulation: iso9660.NoEmulation, BootFile: "/" + espName}},
		},
	}, recordRegion); err != nil {
		return fmt.Errorf("make boot ISO: %w", err)
	}
	return os.Rename(part, out)
}

// RegionISO writes a boot medium that carries a region and nothing to boot, for a machine whose kernel is started
// in another way (tests; a kernel given by hand).
func RegionISO(out string, region []byte) error {
	work, err := os.MkdirTemp(filepath.Dir(out), "iso")
	if err != nil {
		return fmt.Errorf("make region ISO: %w", err)
	}
	defer os.RemoveAll(work)
	tree := filepath.Join(work, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return fmt.Errorf("make region ISO: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tree, api.RegionFile), region, 0o644); err != nil {
		return fmt.Errorf("make region ISO: %w", err)
	}
	if err := writeISO(out, tree, iso9660.FinalizeOptions{VolumeIdentifier: api.MediumLabel}, recordRegion); err != nil {
		return fmt.Errorf("make region ISO: %w", err)
	}
	return nil
}

// esp makes a FAT32 volume with the program at the path firmware tries on removable media.
func esp(out, program string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	size := max(fatMin, (int64(len(data))+int64(len(data))/64+fatExtra)/sector*sector)
	disk, err := create(out, size)
	if err != nil {
		return err
	}
	defer disk.Close()
	fs, err := fat32.Create(disk, size, 0, 512, espLabel, true)
	if err != nil {
		return err
	}
	if err := fs.Mkdir("/EFI/BOOT"); err != nil {
		return err
	}
	const name = "/EFI/BOOT/BOOTX64.EFI"
	f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, p := range []string{"/" + espLabel, "/EFI", "/EFI/.", "/EFI/..", "/EFI/BOOT", "/EFI/BOOT/.", "/EFI/BOOT/..", name} {
		if err := fs.Chtimes(p, epoch, epoch, epoch); err != nil {
			return err
		}
	}
	return nil
}

// writeISO turns a directory into an image; finish may change it afterwards.
func writeISO(out, tree string, o iso9660.FinalizeOptions, finish func(*os.File) error) error {
	var size int64 = 64 * sector
	err := filepath.WalkDir(tree, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		size += (fi.Size()+sector-1)/sector*sector + 2*sector
		return os.Chtimes(p, epoch, epoch)
	})
	if err != nil {
		return err
	}
	// The identifier is padded with spaces (ECMA-119 §8.4.8); the library would leave zeros, which not every reader of
	// the label takes off.
	o.VolumeIdentifier = fmt.Sprintf("%-32s", o.VolumeIdentifier)
	disk, err := create(out, size)
	if err != nil {
		return err
	}
	defer disk.Close()
	fs, err := iso9660.Create(disk, size, 0, sector, tree)
	if err != nil {
		return err
	}
	if err := fs.Finalize(o); err != nil {
		return err
	}
	f, err := disk.Sys()
	if err != nil {
		return err
	}
	if err := stampVolumes(f); err != nil {
		return err
	}
	if finish != nil {
		if err := finish(f); err != nil {
			return err
		}
	}
	// The image is as long as its volume says, rounded to 32 KiB, as drives read ahead.
	var n [4]byte
	if _, err := f.ReadAt(n[:], pvdAt+80); err != nil {
		return err
	}
	used := int64(binary.LittleEndian.Uint32(n[:])) * sector
	return f.Truncate((used + 32<<10 - 1) / (32 << 10) * (32 << 10))
}

// stampVolumes replaces the time of writing in the volume descriptors by the epoch.
func stampVolumes(f *os.File) error {
	stamp := append([]byte(epoch.Format("2006010215040500")), 0)
	var kind [1]byte
	for at := int64(pvdAt); kind[0] != 255; at += sector {
		if _, err := f.ReadAt(kind[:], at); err != nil {
			return err
		}
		if kind[0] != 1 && kind[0] != 2 { // primary, supplementary
			continue
		}
		for i := range int64(4) {
			if _, err := f.WriteAt(stamp, at+813+17*i); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordRegion notes where the region's file lies.
func recordRegion(f *os.File) error {
	off, n, err := rootFile(f, api.RegionFile)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(api.RegionRecord(off, n), api.RegionRecordAt); err != nil {
		return err
	}
	_, _, err = api.FindRegion(f)
	return err
}

// rootFile finds the extent of a file in the root directory of an ISO 9660 image, in bytes.
func rootFile(r io.ReaderAt, name string) (offset, length int64, err error) {
	pvd := make([]byte, sector)
	if _, err := r.ReadAt(pvd, pvdAt); err != nil {
		return 0, 0, err
	}
	root := pvd[156:]
	dir := make([]byte, binary.LittleEndian.Uint32(root[10:]))
	if _, err := r.ReadAt(dir, int64(binary.LittleEndian.Uint32(root[2:]))*sector); err != nil {
		return 0, 0, err
	}
	for at := 0; at < len(dir); {
		n := int(dir[at])
		if n == 0 { // records don't cross sectors
			at = (at/sector + 1) * sector
			continue
		}
		rec := dir[at : at+n]
		if string(rec[33:33+int(rec[32])]) == name+";1" {
			return int64(binary.LittleEndian.Uint32(rec[2:])) * sector, int64(binary.LittleEndian.Uint32(rec[10:])), nil
		}
		at += n
	}
	return 0, 0, fmt.Errorf("%s is not in the image", name)
}

func create(path string, size int64) (backend.Storage, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return file.New(f, false), nil
}
