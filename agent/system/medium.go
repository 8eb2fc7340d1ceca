package system

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// MediumMax is the size from which a removable disk can't be the boot medium.
const MediumMax = 4 << 30

// Medium is the boot medium and what it carries.
type Medium struct {
	Name   string // "sr0"; "" for the ramdisk itself (Carried)
	Config api.BootConfig
}

// ErrNoMedium says that no device that may be the boot medium is one, and that the ramdisk carries no configuration.
var ErrNoMedium = errors.New("no boot medium found")

// AmbiguousError says that several devices look like the boot medium; none of them is believed.
type AmbiguousError struct{ Names []string }

func (e *AmbiguousError) Error() string {
	return "several boot media found (" + strings.Join(e.Names, ", ") + "); leave in only the one this machine was booted from"
}

// FindMedium reads the boot configuration from the one boot medium below root. Only CD drives and removable USB disks
// smaller than MediumMax are looked at: what lies on a hard disk was put there by whoever used the machine before
// (safety.md T13). ErrNoMedium and errors about a medium's content may be gone at the next try; *AmbiguousError needs
// a person.
func FindMedium(root string) (Medium, error) {
	var found []Medium
	var names []string
	var bad error
	entries, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if err != nil {
		return Medium{}, fmt.Errorf("list block devices: %w", err)
	}
	for _, e := range entries {
		if !maybeMedium(root, e.Name()) {
			continue
		}
		c, err := readMedium(filepath.Join(root, "dev", e.Name()))
		var foreign *api.NoRegionError
		switch {
		case err == nil:
			found = append(found, Medium{e.Name(), c})
			names = append(names, e.Name())
		case errors.As(err, &foreign), errors.Is(err, unix.ENOMEDIUM), errors.Is(err, os.ErrNotExist):
			// an empty drive, or a CD of somebody else
		default:
			bad = fmt.Errorf("boot medium %s: %w", e.Name(), err)
			names = append(names, e.Name())
		}
	}
	switch {
	case len(names) > 1:
		slices.Sort(names)
		return Medium{}, &AmbiguousError{names}
	case bad != nil:
		return Medium{}, bad
	case len(found) == 0:
		return Medium{}, ErrNoMedium
	}
	return found[0], nil
}

// Carried is the boot configuration in the ramdisk itself, which brings one when firmware loaded it over the network: then
// there is no medium, and whatever lies in a drive is somebody else's (safety.md T13). Its Name is "". ErrNoMedium when the
// ramdisk brings none; any other error is about what was loaded, and goes away with another boot only.
func Carried(root string) (Medium, error) {
	region, err := os.ReadFile(filepath.Join(root, api.RegionFile))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(bytes.TrimRight(region, "\x00")) == 0 {
		return Medium{}, ErrNoMedium
	}
	if err != nil {
		return Medium{}, fmt.Errorf("the ramdisk's own boot configuration: %w", err)
	}
	c, err := api.DecodeBootConfig(region)
	if err != nil {
		return Medium{}, fmt.Errorf("the ramdisk's own boot configuration: %w", err)
	}
	return Medium{Config: c}, nil
}

// maybeMedium tells a CD drive or small removable USB disk from everything else.
func maybeMedium(root, name string) bool {
	dir := filepath.Join(root, "sys/block", name)
	const scsiCD = "5"
	if ReadWord(dir, "device/type") == scsiCD {
		return true
	}
	sectors, err := strconv.ParseUint(ReadWord(dir, "size"), 10, 64)
	if err != nil || sectors == 0 || sectors >= MediumMax/512 || ReadWord(dir, "removable") != "1" {
		return false
	}
	device, err := os.Readlink(dir) // "../devices/pci0000:00/0000:00:14.0/usb1/…"
	return err == nil && strings.Contains(device, "/usb")
}

func readMedium(dev string) (api.BootConfig, error) {
	f, err := os.Open(dev)
	if err != nil {
		return api.BootConfig{}, err
	}
	defer f.Close()
	return api.ReadBootConfig(f)
}

// Eject opens the tray of a CD drive, or tells a virtual one to drop its medium.
func Eject(root, name string) error {
	f, err := os.OpenFile(filepath.Join(root, "dev", name), os.O_RDONLY|nonblock, 0)
	if err != nil {
		return fmt.Errorf("eject %s: %w", name, err)
	}
	defer f.Close()
	const lockDoor, eject = 0x5329, 0x5309 // CDROM_LOCKDOOR, CDROMEJECT
	if err := unix.IoctlSetInt(int(f.Fd()), lockDoor, 0); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unlock %s: %w", name, err)
	}
	if err := unix.IoctlSetInt(int(f.Fd()), eject, 0); err != nil {
		return fmt.Errorf("eject %s: %w", name, err)
	}
	return nil
}

const keptMedium = RunDir + "/medium"

// KeepMedium stores what the boot medium said for the agent's next process: the medium itself is gone after the
// lookup. The file is in tmpfs and readable by root only (safety.md §2.4).
func KeepMedium(root string, m Medium) error {
	b, err := api.EncodeBootConfig(m.Config, api.RegionSize)
	if err != nil {
		return err
	}
	file := filepath.Join(root, keptMedium)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep boot medium: %w", err)
	}
	if err := os.WriteFile(file+".new", append([]byte(m.Name+"\n"), b...), 0o600); err != nil {
		return fmt.Errorf("keep boot medium: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("keep boot medium: %w", err)
	}
	return nil
}

// KeptMedium is what an earlier process of this boot kept; os.ErrNotExist if there is none.
func KeptMedium(root string) (Medium, error) {
	b, err := os.ReadFile(filepath.Join(root, keptMedium))
	if err != nil {
		return Medium{}, fmt.Errorf("kept boot medium: %w", err)
	}
	name, region, _ := bytes.Cut(b, []byte("\n"))
	c, err := api.DecodeBootConfig(region)
	if err != nil {
		return Medium{}, fmt.Errorf("kept boot medium: %w", err)
	}
	return Medium{Name: string(name), Config: c}, nil
}

// ReadWord is a small file's content without white space around it, or "".
func ReadWord(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}
