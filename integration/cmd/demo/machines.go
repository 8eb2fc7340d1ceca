package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// What the demo's machines are. The ramdisk works in 512 MB, so that is what they have.
const (
	memoryMB = 512
	rootMB   = 1024 // the disk that gets Debian: NVMe, since its kernel needs no initramfs to find that
	secondMB = 256
)

// pattern is what the tenant before left on the disks: at the start of every MiB, and at the end.
const pattern = "the previous tenant's secret"

// machine is one of the demo's servers.
type machine struct {
	name, host string // host is the name that the deployed system gets
	root       string // serial number of the disk for the operating system
	config     emulator.MachineConfig
}

// machines makes their disks, full of old data.
func machines(dir string) ([]machine, error) {
	all := []machine{
		{name: "rack1-a", host: "web1", root: "A-NVME-0", config: config(qemu.Disk{SizeMB: rootMB, Serial: "A-NVME-0"})},
		{name: "rack1-b", host: "db1", root: "B-NVME-0", config: config(qemu.Disk{SizeMB: rootMB, Serial: "B-NVME-0"},
			qemu.Disk{SizeMB: secondMB, Serial: "B-SCSI-1", Bus: "scsi", WWN: "5000c50015ea71aa"})},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for i := range all {
		m := &all[i]
		m.config.Name = m.name
		for j := range m.config.QEMU.Disks {
			d := &m.config.QEMU.Disks[j]
			d.Path = filepath.Join(dir, strings.ToLower(d.Serial)+".raw")
			if err := leaveData(d.Path, d.SizeMB<<20); err != nil {
				return nil, fmt.Errorf("make disk %s: %w", d.Serial, err)
			}
		}
	}
	return all, nil
}

func config(disks ...qemu.Disk) emulator.MachineConfig {
	return emulator.MachineConfig{QEMU: &qemu.Config{CPUs: 2, MemoryMB: memoryMB, Disks: disks}}
}

// leaveData makes a disk as a machine that was in use has it.
func leaveData(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	block := bytes.Repeat([]byte(pattern), 4096/len(pattern))
	for at := int64(0); at < size; at += 1 << 20 {
		if _, err := f.WriteAt(block, at); err != nil {
			return err
		}
	}
	_, err = f.WriteAt([]byte(pattern), size-int64(len(pattern)))
	return err
}

// holds counts the pattern on all disks of a machine, reading their files behind the machine's back.
func (m machine) holds() (found int, err error) {
	for _, d := range m.config.QEMU.Disks {
		n, err := count(d.Path)
		if err != nil {
			return found, fmt.Errorf("look for old data on disk %s: %w", d.Serial, err)
		}
		found += n
	}
	return found, nil
}

// Where data begins and where it ends, for lseek: what lies in a hole of a file is zeros.
const (
	seekData = 3
	seekHole = 4
)

// count looks at all data of a file.
func count(path string) (found int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for at := int64(0); ; {
		begin, err := f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // none behind
			return found, nil
		}
		if err != nil {
			return found, err
		}
		if at, err = f.Seek(begin, seekHole); err != nil {
			return found, err
		}
		n, err := countIn(io.NewSectionReader(f, begin, at-begin))
		found += n
		if err != nil {
			return found, err
		}
	}
}

func countIn(r io.Reader) (found int, err error) {
	keep := len(pattern) - 1 // of each piece, in front of the next
	buf := make([]byte, keep+1<<20)
	for kept := 0; ; {
		n, err := io.ReadFull(r, buf[kept:])
		have := buf[:kept+n]
		found += bytes.Count(have, []byte(pattern))
		switch err {
		case nil:
			kept = copy(buf, have[len(have)-keep:])
		case io.EOF, io.ErrUnexpectedEOF:
			return found, nil
		default:
			return found, err
		}
	}
}

// nodesFile is what an operator would write about these machines: where their BMCs are, how to log in, which disk is
// the operating system's.
func nodesFile(all []machine, rack *lab.Lab) string {
	var b strings.Builder
	b.WriteString("nodes:\n")
	for _, m := range all {
		e := rack.Emulator.Machine(m.name)
		fmt.Fprintf(&b, `- name: %s
  driver: redfish
  driver_info:
    redfish_address: %s
    redfish_system_id: %s
    redfish_username: %s
    redfish_password: "@bmc-password.txt"
  properties:
    root_device: {serial: %s}
  ports:
`, m.name, e.URL(), e.SystemPath(), lab.Username, m.root)
		for _, mac := range e.MACs() {
			fmt.Fprintf(&b, "  - %q\n", mac)
		}
	}
	return b.String()
}
