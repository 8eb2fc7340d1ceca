package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/bessemer-metal/bessemer/agent/system"
)

// FindLoader looks for the boot loader on the disk's EFI system partition; "" when there is none. A distribution's own
// shim comes before the loader for removable media, which may only be its fallback.
func (d *Disk) FindLoader() (system.Partition, string, error) {
	t, err := ReadTable(d.Read, d.Bytes, d.Align)
	if err != nil {
		return system.Partition{}, "", d.Failure("read the partition table of", 0, err)
	}
	for _, p := range t.Partitions {
		if p.GUID != espType && p.Type != 0xef {
			continue
		}
		dir, err := d.openFAT(p)
		if err != nil {
			return system.Partition{}, "", fmt.Errorf("read the EFI system partition %d of %s: %w", p.Index, d, err)
		}
		if loader := findLoader(dir, runtime.GOARCH); loader != "" {
			where := system.Partition{
				Number: uint32(p.Index), GUID: guidText(p.Unique), Start: uint64(p.Start / int64(d.Align)), Count: uint64(p.Size / int64(d.Align)),
			}
			return where, loader, nil
		}
	}
	return system.Partition{}, "", nil
}

// directory lists a directory's names; one that is not there is empty.
type directory func(name string) (dirs, files []string)

func findLoader(list directory, arch string) string {
	suffix := map[string]string{"amd64": "x64", "arm64": "aa64"}[arch]
	vendors, _ := list("/EFI")
	find := func(dir, want string) string {
		_, files := list(dir)
		for _, f := range files {
			if strings.EqualFold(f, want) {
				return path.Join(dir, f)
			}
		}
		return ""
	}
	for _, want := range []string{"shim" + suffix + ".efi", "BOOT" + suffix + ".EFI", "grub" + suffix + ".efi", "systemd-boot" + suffix + ".efi"} {
		for _, v := range vendors {
			if l := find("/EFI/"+v, want); l != "" {
				return l
			}
		}
	}
	return find("/EFI/Microsoft/Boot", "bootmgfw.efi")
}

const maxFAT = 32 << 20 // bytes of an allocation table that is read into memory

// openFAT opens the FAT file system of a partition for listing.
func (d *Disk) openFAT(p Part) (_ directory, err error) {
	// The library trusts the boot sector's lengths: check them first, and let nothing of a hostile image end the agent.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed FAT file system: %v", r)
		}
	}()
	b, err := d.Read(p.Start, 512)
	if err != nil {
		return nil, err
	}
	if err := checkBPB(b, p.Size); err != nil {
		return nil, err
	}
	s := &storage{d: d}
	type reader interface {
		ReadDir(name string) ([]fs.DirEntry, error)
	}
	var dir reader
	var errs []error
	for _, try := range []func() (reader, error){
		func() (reader, error) { return fat32.Read(s, p.Size, p.Start, 512) },
		func() (reader, error) { return fat16.Read(s, p.Size, p.Start, 512) },
		func() (reader, error) { return fat12.Read(s, p.Size, p.Start, 512) },
	} {
		r, err := try()
		if err == nil {
			dir = r
			break
		}
		errs = append(errs, err)
	}
	if dir == nil {
		return nil, errors.Join(errs...)
	}
	return func(name string) (dirs, files []string) {
		defer func() {
			if recover() != nil {
				dirs, files = nil, nil
			}
		}()
		entries, err := dir.ReadDir(name)
		if err != nil {
			return nil, nil
		}
		for _, e := range entries {
			switch {
			case e.Name() == "." || e.Name() == "..":
			case e.IsDir():
				dirs = append(dirs, e.Name())
			default:
				files = append(files, e.Name())
			}
		}
		return dirs, files
	}, nil
}

func checkBPB(b []byte, size int64) error {
	le := binary.LittleEndian
	sector := int64(le.Uint16(b[11:]))
	cluster, reserved, fats := int64(b[13]), int64(le.Uint16(b[14:])), int64(b[16])
	length := int64(le.Uint16(b[22:]))
	if length == 0 {
		length = int64(le.Uint32(b[36:]))
	}
	switch {
	case b[510] != 0x55 || b[511] != 0xaa:
		return errors.New("no FAT file system")
	case sector < 512 || sector > 4096 || sector&(sector-1) != 0, cluster == 0 || cluster&(cluster-1) != 0, fats < 1 || fats > 2, reserved == 0:
		return errors.New("malformed FAT boot sector")
	case length == 0 || length*sector > maxFAT || (reserved+fats*length)*sector > size:
		return fmt.Errorf("FAT with a table of %d bytes in %d", length*sector, size)
	}
	return nil
}

// storage lets the FAT library read a disk; it refuses to write.
type storage struct {
	d   *Disk
	pos int64
}

func (s *storage) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.d.Bytes {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.d.Bytes-off))
	b, err := s.d.Read(off, n)
	if err != nil {
		return 0, err
	}
	copy(p, b)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *storage) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.pos)
	s.pos += int64(n)
	return n, err
}

func (s *storage) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += s.pos
	case io.SeekEnd:
		off += s.d.Bytes
	}
	if off < 0 {
		return 0, errors.New("seek before the start")
	}
	s.pos = off
	return off, nil
}

func (s *storage) Stat() (fs.FileInfo, error)              { return storageInfo{s}, nil }
func (s *storage) Close() error                            { return nil }
func (s *storage) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (s *storage) Writable() (backend.WritableFile, error) { return nil, backend.ErrIncorrectOpenMode }
func (s *storage) Path() string                            { return "" }

// storageInfo is what Stat tells of a storage.
type storageInfo struct{ s *storage }

func (i storageInfo) Name() string       { return i.s.d.Info.Kernel }
func (i storageInfo) Size() int64        { return i.s.d.Bytes }
func (i storageInfo) Mode() fs.FileMode  { return 0 }
func (i storageInfo) ModTime() time.Time { return time.Time{} }
func (i storageInfo) IsDir() bool        { return false }
func (i storageInfo) Sys() any           { return nil }
