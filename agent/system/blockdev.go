package system

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that a device has no such command. The data is untouched.
var ErrUnsupported = errors.New("not supported by the device")

// ioctl numbers that x/sys does not name.
const (
	ioctlNVMeAdmin = 0xC0484E41
	ioctlNVMeIO    = 0xC0484E43
	ioctlNVMeID    = 0x4E40
	ioctlSG        = 0x2285
)

// Block is an open block device. Reads and writes at several places may run at once; Close ends them all. With
// Direct, offsets, lengths and the buffers' addresses are multiples of the logical sector size.
type Block struct {
	f    *os.File
	path string
}

// BlockFlags say how a device is opened.
type BlockFlags struct {
	Write     bool
	Exclusive bool // refused (EBUSY) while anything else holds the device or a part of it: a mount, swap, md, dm
	Direct    bool // past the page cache
}

// OpenBlock opens a block device; a path that is anything else is refused.
func OpenBlock(path string, flags BlockFlags) (*Block, error) {
	mode := os.O_RDONLY | unix.O_CLOEXEC
	if flags.Write {
		mode = os.O_RDWR | unix.O_CLOEXEC
	}
	if flags.Exclusive {
		mode |= os.O_EXCL
	}
	if flags.Direct {
		mode |= unix.O_DIRECT
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "stat", Path: path, Err: err}, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil, errors.Join(fmt.Errorf("%s is not a block device", path), f.Close())
	}
	return &Block{f, path}, nil
}

// Close closes the device.
func (b *Block) Close() error { return b.f.Close() }

// Number is the device number of the open descriptor, not of the path it was opened by.
func (b *Block) Number() (major, minor uint32, err error) {
	var st unix.Stat_t
	err = b.control("stat", func(fd uintptr) error { return unix.Fstat(int(fd), &st) })
	return unix.Major(st.Rdev), unix.Minor(st.Rdev), err
}

// Size is the device's size now, in bytes.
func (b *Block) Size() (int64, error) {
	var n uint64
	err := b.ioctl("BLKGETSIZE64", unix.BLKGETSIZE64, unsafe.Pointer(&n))
	return int64(n), err
}

// Sectors gives the logical and the physical sector size in bytes.
func (b *Block) Sectors() (logical, physical int, err error) {
	var l int32
	var p uint32
	if err := b.ioctl("BLKSSZGET", unix.BLKSSZGET, unsafe.Pointer(&l)); err != nil {
		return 0, 0, err
	}
	if err := b.ioctl("BLKPBSZGET", unix.BLKPBSZGET, unsafe.Pointer(&p)); err != nil {
		return 0, 0, err
	}
	return int(l), int(p), nil
}

// ReadOnly tells whether the kernel holds the device read-only.
func (b *Block) ReadOnly() (bool, error) {
	var ro int32
	err := b.ioctl("BLKROGET", unix.BLKROGET, unsafe.Pointer(&ro))
	return ro != 0, err
}

// ReadAt fills p from the offset; a short read is io.ErrUnexpectedEOF.
func (b *Block) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.f.ReadAt(p, off)
	if err == io.EOF && n < len(p) {
		return n, fmt.Errorf("read %d bytes of %s at %d, got %d: %w", len(p), b.path, off, n, io.ErrUnexpectedEOF)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteAt writes all of p at the offset or returns an error.
func (b *Block) WriteAt(p []byte, off int64) (int, error) { return b.f.WriteAt(p, off) }

// Sync returns once everything written is on stable storage.
func (b *Block) Sync() error { return b.f.Sync() }

// PunchHole makes a range read as zeros without writing them; ErrUnsupported when the device can't promise that
// quickly, and then nothing was changed.
func (b *Block) PunchHole(off, n int64) error {
	return unsupported(b.control("punch hole", func(fd uintptr) error {
		return unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	}))
}

// ZeroOut makes a range read as zeros; the kernel writes them where the device has no command for it.
func (b *Block) ZeroOut(off, n int64) error {
	r := [2]uint64{uint64(off), uint64(n)}
	return unsupported(b.ioctl("BLKZEROOUT", unix.BLKZEROOUT, unsafe.Pointer(&r)))
}

// Discard tells the device that a range is not needed. It promises nothing about what is read afterwards.
func (b *Block) Discard(off, n int64) error {
	r := [2]uint64{uint64(off), uint64(n)}
	return unsupported(b.ioctl("BLKDISCARD", unix.BLKDISCARD, unsafe.Pointer(&r)))
}

// RereadPartitions makes the kernel look at the partition table anew.
func (b *Block) RereadPartitions() error { return b.ioctl("BLKRRPART", unix.BLKRRPART, nil) }

func unsupported(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

// control runs fn on the descriptor; the file can't be closed or collected meanwhile.
func (b *Block) control(what string, fn func(fd uintptr) error) error {
	c, err := b.f.SyscallConn()
	if err != nil {
		return &os.PathError{Op: what, Path: b.path, Err: err}
	}
	var inner error
	if err := c.Control(func(fd uintptr) {
		for {
			if inner = fn(fd); inner != unix.EINTR {
				return
			}
		}
	}); err != nil {
		inner = err
	}
	runtime.KeepAlive(b.f)
	if inner != nil {
		return &os.PathError{Op: what, Path: b.path, Err: inner}
	}
	return nil
}

func (b *Block) ioctl(what string, request uintptr, arg unsafe.Pointer) error {
	return b.control(what, func(fd uintptr) error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg)); e != 0 {
			return e
		}
		return nil
	})
}

// nvmeCommand is struct nvme_passthru_cmd of the kernel.
type nvmeCommand struct {
	opcode, flags           uint8
	rsvd                    uint16
	nsid, cdw2, cdw3        uint32
	metadata, addr          uint64
	metadataLen, dataLen    uint32
	cdw10, cdw11, cdw12     uint32
	cdw13, cdw14, cdw15     uint32
	timeoutMS, resultStatus uint32
}

// NVMeStatusError is a command that the device refused: the NVMe status field.
type NVMeStatusError struct {
	Opcode uint8
	Status int
}

func (e *NVMeStatusError) Error() string {
	return fmt.Sprintf("NVMe command 0x%02x failed with status 0x%04x", e.Opcode, e.Status)
}

// nvme sends an admin or I/O command; data may be empty.
func (b *Block) nvme(request uintptr, cmd nvmeCommand, data []byte) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(data) > 0 {
		pin.Pin(&data[0])
		cmd.addr, cmd.dataLen = uint64(uintptr(unsafe.Pointer(&data[0]))), uint32(len(data))
	}
	return b.control("NVMe command", func(fd uintptr) error {
		status, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&cmd)))
		if e != 0 {
			return e
		}
		if status != 0 {
			return &NVMeStatusError{cmd.opcode, int(status)}
		}
		return nil
	})
}

// NVMeNamespace is the namespace id behind the device; ErrUnsupported when it is no NVMe device.
func (b *Block) NVMeNamespace() (uint32, error) {
	var id uintptr
	err := b.control("NVMe id", func(fd uintptr) error {
		n, _, e := unix.Syscall(unix.SYS_IOCTL, fd, ioctlNVMeID, 0)
		if e != 0 {
			return e
		}
		id = n
		return nil
	})
	if errors.Is(err, unix.EINVAL) { // what some drivers say to an ioctl they don't know
		return 0, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return uint32(id), unsupported(err)
}

// NVMeIdentify reads a 4096-byte Identify structure: cns 0 is the namespace, 1 the controller.
func (b *Block) NVMeIdentify(nsid uint32, cns uint8) ([]byte, error) {
	data := make([]byte, 4096)
	err := b.nvme(ioctlNVMeAdmin, nvmeCommand{opcode: 0x06, nsid: nsid, cdw10: uint32(cns), timeoutMS: 10_000}, data)
	return data, unsupported(err)
}

// NVMeReservations reads the head of a namespace's Reservation Report (NVM Express Base 2.0 §7.5): byte 4 is the type of
// the reservation that is held, 0 for none.
func (b *Block) NVMeReservations(nsid uint32) ([]byte, error) {
	data := make([]byte, 64)
	report := func(extended uint32) error {
		return b.nvme(ioctlNVMeIO, nvmeCommand{opcode: 0x0e, nsid: nsid, cdw10: uint32(len(data)/4 - 1), cdw11: extended, timeoutMS: 10_000}, data)
	}
	err := report(0)
	// A controller whose hosts have names of 128 bits tells it in the longer form only.
	const codes, inconsistentFormat = 0x7ff, 0x24
	if status := (*NVMeStatusError)(nil); errors.As(err, &status) && status.Status&codes == inconsistentFormat {
		err = report(1)
	}
	return data, unsupported(err)
}

// NVMeFormat runs Format NVM on a namespace with command dword 10 as given. It returns when the device is done, which
// may take hours; it can't be stopped.
func (b *Block) NVMeFormat(nsid, cdw10 uint32) error {
	const limit = 12 * 60 * 60 * 1000 // longer than any drive says it takes
	return unsupported(b.nvme(ioctlNVMeAdmin, nvmeCommand{opcode: 0x80, nsid: nsid, cdw10: cdw10, timeoutMS: limit}, nil))
}

// sgHeader is struct sg_io_hdr of the kernel.
type sgHeader struct {
	interfaceID    int32
	direction      int32
	cmdLen         uint8
	maxSense       uint8
	iovecs         uint16
	transferLen    uint32
	transfer       uintptr
	command        uintptr
	sense          uintptr
	timeout, flags uint32
	packID         int32
	user           uintptr
	status         uint8
	maskedStatus   uint8
	msgStatus      uint8
	senseWritten   uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	duration, info uint32
}

// Reserved tells whether a SCSI persistent reservation is held on the device, by whomever. ErrUnsupported when the
// device knows none, which most do not.
func (b *Block) Reserved() (bool, error) {
	data, sense := make([]byte, 24), make([]byte, 32)
	cdb := []byte{0x5e, 0x01, 0, 0, 0, 0, 0, 0, byte(len(data)), 0} // PERSISTENT RESERVE IN, READ RESERVATION
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&data[0])
	pin.Pin(&sense[0])
	pin.Pin(&cdb[0])
	h := sgHeader{
		interfaceID: 'S', direction: -3, cmdLen: uint8(len(cdb)), maxSense: uint8(len(sense)), transferLen: uint32(len(data)),
		transfer: uintptr(unsafe.Pointer(&data[0])), command: uintptr(unsafe.Pointer(&cdb[0])), sense: uintptr(unsafe.Pointer(&sense[0])),
		timeout: 10_000,
	}
	if err := b.ioctl("SG_IO", ioctlSG, unsafe.Pointer(&h)); err != nil {
		if errors.Is(err, unix.EINVAL) { // no SCSI device
			return false, ErrUnsupported
		}
		return false, unsupported(err)
	}
	const checkCondition, reservationConflict, illegalRequest = 0x02, 0x18, 0x05
	switch {
	case h.status == reservationConflict:
		return true, nil
	case h.status == checkCondition && h.senseWritten > 2 && senseKey(sense) == illegalRequest:
		return false, ErrUnsupported
	case h.status != 0 || h.hostStatus != 0 || h.driverStatus&0x07 != 0:
		return false, fmt.Errorf("read reservation of %s: SCSI status 0x%02x, host 0x%04x, driver 0x%04x", b.path, h.status, h.hostStatus, h.driverStatus)
	}
	return binary.BigEndian.Uint32(data[4:]) > 0, nil
}

func senseKey(sense []byte) byte {
	if sense[0]&0x7f >= 0x72 { // descriptor format
		return sense[1] & 0x0f
	}
	return sense[2] & 0x0f
}
