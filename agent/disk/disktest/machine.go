// Package disktest is a machine for tests: a sysfs and procfs in a directory and disks that are plain files, with
// faults to inject. It needs no root and touches no device. Start at New.
package disktest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/bessemer-metal/bessemer/agent/disk"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Machine is a machine's disks. It is the disk.Layer over them.
type Machine struct {
	t       testing.TB
	Root    string
	mu      sync.Mutex
	devices map[string]*Device
	next    int
}

// Spec describes a disk.
type Spec struct {
	Kernel   string // "vda"
	Serial   string
	WWN      string // "naa.5000c500…" or "eui.…"
	Size     int64
	Class    inventory.Class
	Align    int // 0 is 512
	ReadOnly bool
}

// Device is one disk. Its fields may be set before it is opened.
type Device struct {
	Spec
	Number string // "259:1"
	File   *os.File
	Dir    string // in sysfs, below Root

	// Fail is asked before each operation ("read", "write", "sync", "punch", "zero", "format", "open", "reserved", …).
	Fail   func(op string, off int64, n int) error
	NoZero bool         // has no command that zeroes
	Lies   bool         // commands that zero succeed and do nothing
	Shrunk int64        // what the device says of its size; 0 is the truth
	Held   bool         // something else has it
	PR     bool         // is reserved
	Fakes  string       // number that an opened descriptor has, though the name says another
	NVMe   *NVMe        // commands of an NVMe drive
	Writes atomic.Int64 // bytes that were written, zeroed or formatted
	open   atomic.Int64
}

// NVMe is what a drive answers.
type NVMe struct {
	OACS    uint16
	FNA     byte
	ONCS    uint16   // optional commands; bit 5: reservations
	RESCAP  byte     // kinds of reservation that the namespace knows
	Type    byte     // of the reservation that is held; 0: none
	Short   string   // the answer that is cut short: "controller", "namespace" or "report"
	Formats []uint32 // command dwords 10 that came
	// Format is what a format does; nil zeroes the data.
	Format func(cdw10 uint32) error
}

// New makes an empty machine: no disks, no mounts, no swap.
func New(t testing.TB) *Machine {
	m := &Machine{t: t, Root: t.TempDir(), devices: map[string]*Device{}}
	for _, d := range []string{"sys/block", "sys/dev/block", "proc/self"} {
		m.mkdir(d)
	}
	m.Write("proc/self/mountinfo", "22 1 0:21 / / rw - rootfs rootfs rw\n")
	m.Write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
	return m
}

// FS is the machine's root.
func (m *Machine) FS() fs.FS { return os.DirFS(m.Root) }

func (m *Machine) mkdir(name string) {
	if err := os.MkdirAll(filepath.Join(m.Root, name), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// Write writes a file below the root.
func (m *Machine) Write(name, text string) {
	m.t.Helper()
	m.mkdir(filepath.Dir(name))
	if err := os.WriteFile(filepath.Join(m.Root, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// Link makes a symbolic link below the root; target is relative to the root, too.
func (m *Machine) Link(name, target string) {
	m.t.Helper()
	m.mkdir(filepath.Dir(name))
	rel, err := filepath.Rel(filepath.Dir(name), target)
	if err == nil {
		err = os.Symlink(rel, filepath.Join(m.Root, name))
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

var paths = map[inventory.Class]string{
	inventory.VirtIO:       "sys/devices/pci0000:00/0000:00:05.0/virtio%d",
	inventory.SATA:         "sys/devices/pci0000:00/0000:00:1f.2/ata%[1]d/host%[1]d/target%[1]d:0:0/%[1]d:0:0:0",
	inventory.SAS:          "sys/devices/pci0000:00/0000:01:00.0/host%[1]d/port-%[1]d:0/end_device-%[1]d:0/target%[1]d:0:0/%[1]d:0:0:0",
	inventory.NVMePCIe:     "sys/devices/pci0000:00/0000:02:00.0/nvme/nvme%d",
	inventory.NVMeOF:       "sys/devices/virtual/nvme-fabrics/ctl/nvme%d",
	inventory.USB:          "sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host%[1]d/target%[1]d:0:0/%[1]d:0:0:0",
	inventory.FC:           "sys/devices/pci0000:00/0000:03:00.0/host%[1]d/rport-%[1]d:0-1/target%[1]d:0:0/%[1]d:0:0:0",
	inventory.ISCSI:        "sys/devices/platform/host%[1]d/session1/target%[1]d:0:0/%[1]d:0:0:0",
	inventory.MDRAID:       "sys/devices/virtual/%d",
	inventory.ClassUnknown: "sys/devices/odd/%d",
}

// Add puts a disk into the machine. Namespaces of one NVMe controller share the number in their names (nvme0n1, nvme0n2).
func (m *Machine) Add(s Spec) *Device {
	m.t.Helper()
	m.mu.Lock()
	m.next++
	n := m.next
	m.mu.Unlock()
	if s.Align == 0 {
		s.Align = 512
	}
	d := &Device{Spec: s, Number: fmt.Sprintf("259:%d", n)}
	parent := fmt.Sprintf(paths[s.Class], n)
	nvme := strings.HasPrefix(s.Kernel, "nvme")
	if nvme {
		var c int
		fmt.Sscanf(s.Kernel, "nvme%dn", &c)
		parent = fmt.Sprintf(paths[s.Class], c)
		d.Dir = parent + "/" + s.Kernel
		m.Write(parent+"/transport", map[inventory.Class]string{inventory.NVMePCIe: "pcie\n", inventory.NVMeOF: "tcp\n"}[s.Class])
		m.Write(parent+"/serial", s.Serial+"\n")
		m.Write(d.Dir+"/wwid", s.WWN+"\n")
		d.NVMe = &NVMe{}
	} else {
		if s.Class == inventory.VirtIO && strings.HasPrefix(s.Kernel, "sd") { // a SCSI disk behind virtio
			parent += fmt.Sprintf("/host%[1]d/target%[1]d:0:0/%[1]d:0:0:0", n)
		}
		d.Dir = parent + "/block/" + s.Kernel
		m.Write(parent+"/wwid", s.WWN+"\n")
		m.Write(parent+"/vpd_pg80", string(append([]byte{0, 0x80, 0, byte(len(s.Serial))}, s.Serial...)))
	}
	m.Write(d.Dir+"/size", fmt.Sprintln(s.Size/512))
	m.Write(d.Dir+"/dev", d.Number+"\n")
	m.Write(d.Dir+"/ro", map[bool]string{false: "0\n", true: "1\n"}[s.ReadOnly])
	m.Write(d.Dir+"/queue/logical_block_size", fmt.Sprintln(s.Align))
	if s.Class == inventory.VirtIO {
		m.Write(d.Dir+"/serial", s.Serial+"\n")
	}
	m.mkdir(d.Dir + "/holders")
	m.mkdir(d.Dir + "/slaves")
	up := strings.Repeat("../", strings.Count(strings.TrimPrefix(d.Dir, filepath.Dir(parent)+"/"), "/")+1)
	if err := os.Symlink(up+filepath.Base(parent), filepath.Join(m.Root, d.Dir, "device")); err != nil { // as the kernel writes it
		m.t.Fatal(err)
	}
	m.Link("sys/block/"+s.Kernel, d.Dir)
	m.Link("sys/dev/block/"+d.Number, d.Dir)
	f, err := os.Create(filepath.Join(m.t.TempDir(), s.Kernel))
	if err == nil {
		err = f.Truncate(s.Size)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { f.Close() })
	d.File = f
	m.mu.Lock()
	m.devices[s.Kernel] = d
	m.mu.Unlock()
	return d
}

// Remove takes a disk out of the machine.
func (m *Machine) Remove(d *Device) {
	m.mu.Lock()
	delete(m.devices, d.Kernel)
	m.mu.Unlock()
	for _, name := range []string{"sys/block/" + d.Kernel, "sys/dev/block/" + d.Number, d.Dir} {
		if err := os.RemoveAll(filepath.Join(m.Root, name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// Partition lets the kernel know a partition of a disk; start and size are in bytes.
func (m *Machine) Partition(d *Device, name string, start, size int64) (dir string) {
	dir = d.Dir + "/" + name
	m.Write(dir+"/partition", "1\n")
	m.Write(dir+"/start", fmt.Sprintln(start/512))
	m.Write(dir+"/size", fmt.Sprintln(size/512))
	m.Write(dir+"/dev", d.Number+"0\n")
	m.mkdir(dir + "/holders")
	return dir
}

// ID is the disk's identity as an inventory has it.
func (d *Device) ID() inventory.DeviceID {
	wwn := d.WWN
	if hex, ok := strings.CutPrefix(wwn, "naa."); ok {
		wwn = "0x" + hex[:16]
	}
	return inventory.DeviceID{Serial: d.Serial, WWN: wwn, Size: d.Size, Class: d.Class}
}

// Fill writes a pattern all over the disk, as a previous user's data.
func (d *Device) Fill(t testing.TB, pattern byte) {
	t.Helper()
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = pattern
	}
	for off := int64(0); off < d.Size; off += int64(len(b)) {
		if _, err := d.File.WriteAt(b[:min(int64(len(b)), d.Size-off)], off); err != nil {
			t.Fatal(err)
		}
	}
}

// Bytes reads what is on the disk.
func (d *Device) Bytes(t testing.TB, off int64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := d.File.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b
}

// Opened is how many descriptors of the disk are open now.
func (d *Device) Opened() int64 { return d.open.Load() }

// Open opens a disk.
func (m *Machine) Open(kernel string, write bool) (disk.Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[kernel]
	switch {
	case d == nil:
		return nil, &fs.PathError{Op: "open", Path: "/dev/" + kernel, Err: syscall.ENOENT}
	case write && d.Held:
		return nil, &fs.PathError{Op: "open", Path: "/dev/" + kernel, Err: syscall.EBUSY}
	}
	if err := d.fail("open", 0, 0); err != nil {
		return nil, err
	}
	d.open.Add(1)
	return &handle{d: d, write: write}, nil
}

func (d *Device) fail(op string, off int64, n int) error {
	if d.Fail == nil {
		return nil
	}
	return d.Fail(op, off, n)
}

// handle is an open descriptor; like the kernel's it refuses what is not aligned.
type handle struct {
	d      *Device
	write  bool
	closed atomic.Bool
}

var errClosed = errors.New("device is closed")

func (h *handle) check(op string, off int64, b []byte) error {
	a := int64(h.d.Align)
	switch {
	case h.closed.Load():
		return errClosed
	case off%a != 0 || int64(len(b))%a != 0 || len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%uintptr(a) != 0:
		return fmt.Errorf("%s of %d bytes at %d: %w", op, len(b), off, syscall.EINVAL)
	case op != "read" && !h.write:
		return syscall.EBADF
	}
	return h.d.fail(op, off, len(b))
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check("read", off, p); err != nil {
		return 0, err
	}
	return h.d.File.ReadAt(p, off)
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check("write", off, p); err != nil {
		return 0, err
	}
	if off+int64(len(p)) > h.d.Size {
		return 0, syscall.ENOSPC
	}
	h.d.Writes.Add(int64(len(p)))
	return h.d.File.WriteAt(p, off)
}

func (h *handle) Close() error {
	if h.closed.Swap(true) {
		return errClosed
	}
	h.d.open.Add(-1)
	return nil
}

func (h *handle) Number() (major, minor uint32, err error) {
	n := h.d.Number
	if h.d.Fakes != "" {
		n = h.d.Fakes
	}
	_, err = fmt.Sscanf(n, "%d:%d", &major, &minor)
	return major, minor, errors.Join(err, h.d.fail("number", 0, 0))
}

func (h *handle) Size() (int64, error) {
	if h.d.Shrunk != 0 {
		return h.d.Shrunk, nil
	}
	return h.d.Size, h.d.fail("size", 0, 0)
}

func (h *handle) Sectors() (logical, physical int, err error) {
	return h.d.Align, max(h.d.Align, 4096), h.d.fail("sectors", 0, 0)
}

func (h *handle) ReadOnly() (bool, error)    { return h.d.ReadOnly, h.d.fail("readonly", 0, 0) }
func (h *handle) Sync() error                { return h.check("sync", 0, nil) }
func (h *handle) RereadPartitions() error    { return h.d.fail("reread", 0, 0) }
func (h *handle) PunchHole(o, n int64) error { return h.zero("punch", o, n) }
func (h *handle) ZeroOut(o, n int64) error   { return h.zero("zero", o, n) }

func (h *handle) zero(op string, off, n int64) error {
	if h.d.NoZero {
		return system.ErrUnsupported
	}
	if err := h.check(op, off, nil); err != nil {
		return err
	}
	if off+n > h.d.Size || n%int64(h.d.Align) != 0 {
		return syscall.EINVAL
	}
	h.d.Writes.Add(n)
	if h.d.Lies {
		return nil
	}
	return syscall.Fallocate(int(h.d.File.Fd()), 0x3, off, n) // punch a hole, keep the size
}

func (h *handle) Reserved() (bool, error) {
	if err := h.d.fail("reserved", 0, 0); err != nil {
		return false, err
	}
	return h.d.PR, nil
}

func (h *handle) NVMeNamespace() (uint32, error) {
	var c, n uint32
	if h.d.NVMe == nil {
		return 0, system.ErrUnsupported
	}
	if err := h.d.fail("nsid", 0, 0); err != nil {
		return 0, err
	}
	_, err := fmt.Sscanf(h.d.Kernel, "nvme%dn%d", &c, &n)
	return n, err
}

func (h *handle) NVMeIdentify(_ uint32, cns uint8) ([]byte, error) {
	if h.d.NVMe == nil {
		return nil, system.ErrUnsupported
	}
	if err := h.d.fail("identify", int64(cns), 0); err != nil {
		return nil, err
	}
	b := make([]byte, 4096)
	if cns == 1 {
		binary.LittleEndian.PutUint16(b[256:], h.d.NVMe.OACS)
		binary.LittleEndian.PutUint16(b[520:], h.d.NVMe.ONCS)
		b[524] = h.d.NVMe.FNA
	} else {
		b[31] = h.d.NVMe.RESCAP
	}
	if h.d.NVMe.Short == map[bool]string{true: "controller", false: "namespace"}[cns == 1] {
		b = b[:4095]
	}
	return b, nil
}

func (h *handle) NVMeReservations(uint32) ([]byte, error) {
	if h.d.NVMe == nil {
		return nil, system.ErrUnsupported
	}
	if err := h.d.fail("report", 0, 0); err != nil {
		return nil, err
	}
	b := make([]byte, 64)
	if b[4] = h.d.NVMe.Type; h.d.NVMe.Short == "report" {
		b = b[:4]
	}
	return b, nil
}

func (h *handle) NVMeFormat(_, cdw10 uint32) error {
	n := h.d.NVMe
	n.Formats = append(n.Formats, cdw10)
	if err := h.d.fail("format", 0, 0); err != nil {
		return err
	}
	h.d.Writes.Add(h.d.Size)
	if n.Format != nil {
		return n.Format(cdw10)
	}
	return syscall.Fallocate(int(h.d.File.Fd()), 0x3, 0, h.d.Size)
}
