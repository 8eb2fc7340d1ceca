// Package disk says which disks a step may touch, with the proof of it (Guard), hands them out, and reads and mends what
// stands on them. It never touches a disk that the guard did not hand out, and never chooses one itself. Start at
// Guard.Check.
package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unsafe"

	"github.com/bessemer-metal/bessemer/agent/block"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Device is an open block device. Offsets, lengths and buffer addresses are multiples of the logical sector size.
// Reads and writes may run at once. system.Block is the real one; a command that a device lacks gives
// system.ErrUnsupported and changes nothing.
type Device interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Number() (major, minor uint32, err error)
	Size() (int64, error)
	Sectors() (logical, physical int, err error)
	ReadOnly() (bool, error)
	Sync() error
	PunchHole(off, n int64) error
	ZeroOut(off, n int64) error
	RereadPartitions() error
	Reserved() (bool, error)
	NVMeNamespace() (uint32, error)
	NVMeIdentify(nsid uint32, cns uint8) ([]byte, error)
	NVMeReservations(nsid uint32) ([]byte, error)
	NVMeFormat(nsid, cdw10 uint32) error
}

// Layer opens block devices by their kernel name, with direct I/O. A device opened for writing is opened exclusively.
type Layer interface {
	Open(kernel string, write bool) (Device, error)
}

// Kernel is the running machine's devices.
type Kernel struct{}

// Open opens /dev/NAME.
func (Kernel) Open(kernel string, write bool) (Device, error) {
	return system.OpenBlock("/dev/"+strings.ReplaceAll(kernel, "!", "/"), system.BlockFlags{Write: write, Exclusive: write, Direct: true})
}

// Disk is a disk that the guard handed out for writing. It stays held, so that nothing else can use it, until Close.
type Disk struct {
	Device
	ID    inventory.DeviceID
	Info  block.Disk
	Bytes int64 // size, checked against ID
	Align int   // logical sector size in bytes
	guard *Guard
	// Siblings are the other disks, by kernel name, that hang on the same NVMe controller
	Siblings []string
}

// String is the stable name for people and progress.
func (d *Disk) String() string { return d.ID.String() }

// Confirm reads the disk's identity anew through the open descriptor; a disk.identity_changed fault says that it is
// not the disk it was. It is called right before the first write (safety.md I4).
func (d *Disk) Confirm() error { return d.guard.identify(d) }

// Failure turns an error of the disk into a disk.io fault that names the disk, what was tried and where. A fault and
// the end of a context pass unchanged.
func (d *Disk) Failure(what string, off int64, err error) error {
	if f := (*fault.Fault)(nil); err == nil || errors.As(err, &f) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.DiskIO, "%s %s (%s) at byte %d: %v", what, d.Info.Name, d, off, err).Because(err)
}

// Close lets the disk go.
func (d *Disk) Close() error { return d.Device.Close() }

// Close closes disks and returns the first error.
func Close(disks []*Disk) error {
	var first error
	for _, d := range disks {
		first = cmp.Or(first, d.Close())
	}
	return first
}

// Buffer makes n bytes whose address fits direct I/O.
func Buffer(n int) []byte {
	const page = 4096
	b := make([]byte, n+page)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (page - 1))
	return b[off : off+n : off+n]
}

// Read reads any range of a device, aligned or not; beyond the end is an error.
func Read(d Device, align int, off int64, n int) ([]byte, error) {
	if off < 0 || n < 0 || off > math.MaxInt64-int64(n)-int64(align) {
		return nil, fmt.Errorf("read %d bytes at %d: not a range", n, off)
	}
	a := int64(align)
	from, to := off/a*a, (off+int64(n)+a-1)/a*a
	b := Buffer(int(to - from))
	if _, err := d.ReadAt(b, from); err != nil {
		return nil, err
	}
	return b[off-from:][:n:n], nil
}

// Read reads any range of the disk.
func (d *Disk) Read(off int64, n int) ([]byte, error) { return Read(d, d.Align, off, n) }

// Write writes any range; sectors that it covers in part are read first. It is for tables and small files, from one
// goroutine at a time.
func (d *Disk) Write(p []byte, off int64) error {
	a := int64(d.Align)
	from, to := off/a*a, (off+int64(len(p))+a-1)/a*a
	b := Buffer(int(to - from))
	if from != off || to != off+int64(len(p)) {
		if _, err := d.ReadAt(b, from); err != nil {
			return d.Failure("read", from, err)
		}
	}
	copy(b[off-from:], p)
	_, err := d.WriteAt(b, from)
	return d.Failure("write", from, err)
}
