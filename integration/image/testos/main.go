// Testos is the whole operating system of the small test image: the init of a Linux kernel that says on the serial
// line that it booted, under which host name (from the config drive) and from which image (its marker), and then
// stays. A test that sees
//
//	bessemer-test-os: booted host=node-1 marker=small
//
// knows that the disk is bootable and that the config drive arrived. It never writes to a disk.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long disks may take to show up before the machine is said to have no config drive.
const patience = 10 * time.Second

func main() {
	host, err := boot()
	if err != nil {
		fmt.Printf("bessemer-test-os: problem: %v\n", err)
	}
	fmt.Printf("bessemer-test-os: booted host=%s marker=%s\n", host, marker())
	for {
		time.Sleep(time.Hour) // the kernel panics when init ends
	}
}

// boot makes the machine usable and gives the host name, "none" without a config drive.
func boot() (host string, err error) {
	host = "none"
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return host, err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return host, fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := loadModules("/modules"); err != nil {
		return host, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		device, err := configDrive("/sys/class/block", "/dev")
		switch {
		case err == nil:
			name, err := hostname(device)
			if err != nil {
				return host, err
			}
			return name, unix.Sethostname([]byte(name))
		case !errors.Is(err, os.ErrNotExist) || time.Now().After(end):
			return host, err
		}
	}
}

// loadModules loads the modules that the file order names, in that order.
func loadModules(dir string) error {
	order, err := os.ReadFile(filepath.Join(dir, "order"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// configDrive finds the block device with a file system labelled config-2: ISO 9660 or FAT, in any case.
func configDrive(sys, dev string) (string, error) {
	entries, err := os.ReadDir(sys)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if label := label(filepath.Join(dev, e.Name())); strings.EqualFold(label, "config-2") {
			return filepath.Join(dev, e.Name()), nil
		}
	}
	return "", fmt.Errorf("no file system is labelled config-2: %w", os.ErrNotExist)
}

// label reads a device's label: of ISO 9660 in its primary volume descriptor, of FAT in its boot sector.
func label(device string) string {
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	volume := make([]byte, 72)
	if _, err := f.ReadAt(volume, 16*2048); err == nil && string(volume[1:6]) == "CD001" {
		return strings.Trim(string(volume[40:72]), " \x00") // some writers pad with zeros
	}
	sector := make([]byte, 512)
	if _, err := f.ReadAt(sector, 0); err != nil || sector[510] != 0x55 || sector[511] != 0xaa {
		return ""
	}
	switch {
	case string(sector[54:57]) == "FAT":
		return strings.TrimSpace(string(sector[43:54]))
	case string(sector[82:85]) == "FAT":
		return strings.TrimSpace(string(sector[71:82]))
	}
	return ""
}

// hostname mounts the config drive, reads the name and unmounts it again.
func hostname(device string) (string, error) {
	const at = "/config"
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "none", err
	}
	err := unix.Mount(device, at, "iso9660", unix.MS_RDONLY, "")
	if err != nil {
		err = unix.Mount(device, at, "vfat", unix.MS_RDONLY, "")
	}
	if err != nil {
		return "none", fmt.Errorf("mount %s: %w", device, err)
	}
	defer unix.Unmount(at, 0)
	b, err := os.ReadFile(filepath.Join(at, "openstack/latest/meta_data.json"))
	if err != nil {
		return "none", err
	}
	return nameIn(b)
}

func nameIn(metadata []byte) (string, error) {
	var m struct {
		Hostname string `json:"hostname"`
		Name     string `json:"name"`
	}
	if err := json.Unmarshal(metadata, &m); err != nil {
		return "none", fmt.Errorf("read meta_data.json: %w", err)
	}
	for _, n := range []string{m.Hostname, m.Name} {
		if n != "" {
			return n, nil
		}
	}
	return "none", errors.New("meta_data.json names no host")
}

// marker is the word that the image's kernel command line carries.
func marker() string {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err.Error()
	}
	return markerIn(string(b))
}

func markerIn(cmdline string) string {
	for _, w := range strings.Fields(cmdline) {
		if m, ok := strings.CutPrefix(w, "marker="); ok {
			return m
		}
	}
	return "none"
}
