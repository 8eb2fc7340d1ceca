package ovmf

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
)

// Override is the number of the boot option that the emulated BMC writes for its own use. It stands in no BootOrder.
const Override uint16 = 0xBE55

// Option is one Boot#### (UEFI 2.10 §3.1.3).
type Option struct {
	Number      uint16
	Active      bool
	Description string
	Path        Path
}

// Path is a UEFI device path (UEFI 2.10 §10), without its end node.
type Path []byte

// PCI is the path of a function on the only root bridge.
func PCI(device, function uint8) Path {
	root := node(2, 1, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x0a0341d0), 0))
	return append(root, node(1, 1, []byte{function, device})...)
}

// SCSI adds a target and unit.
func (p Path) SCSI(target, lun uint16) Path {
	return p.add(3, 2, binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, target), lun))
}

// NVMe adds a namespace; eui64 is its identifier as a number, most significant byte first.
func (p Path) NVMe(namespace uint32, eui64 uint64) Path {
	return p.add(3, 0x17, binary.BigEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, namespace), eui64))
}

// MAC adds a network card.
func (p Path) MAC(a net.HardwareAddr) Path {
	b := make([]byte, 33)
	copy(b, a)
	b[32] = 1 // Ethernet
	return p.add(3, 11, b)
}

// IPv4 adds the card's stack with an address by DHCP: PXE.
func (p Path) IPv4() Path { return p.add(3, 12, make([]byte, 23)) }

// URI adds the address of a file to boot over HTTP; "" lets DHCP name it.
func (p Path) URI(u string) Path { return p.add(3, 24, []byte(u)) }

// HasPrefix reports whether p is below q.
func (p Path) HasPrefix(q Path) bool { return len(q) > 0 && strings.HasPrefix(string(p), string(q)) }

// Partition reports whether p is the short form that names a partition by its GUID, as installed systems write it.
func (p Path) Partition() bool { return len(p) > 1 && p[0] == 4 && p[1] == 1 }

func (p Path) add(kind, sub byte, data []byte) Path {
	return append(p[:len(p):len(p)], node(kind, sub, data)...)
}

func node(kind, sub byte, data []byte) Path {
	return append(binary.LittleEndian.AppendUint16([]byte{kind, sub}, uint16(4+len(data))), data...)
}

func (o Option) encode() []byte {
	attributes := uint32(0)
	if o.Active {
		attributes = 1
	}
	b := binary.LittleEndian.AppendUint32(nil, attributes)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(o.Path)+4))
	b = append(b, encodeName(o.Description)...)
	b = append(b, o.Path...)
	return append(b, 0x7f, 0xff, 4, 0)
}

// SetBootNext makes the next boot, and no other, start from p.
func (s *Store) SetBootNext(description string, p Path) {
	o := Option{Number: Override, Active: true, Description: description, Path: p}
	s.Set(Global, optionName(o.Number), o.encode())
	s.SetBootNextNumber(o.Number)
}

// SetBootNextNumber makes the next boot start from an option that exists.
func (s *Store) SetBootNextNumber(n uint16) {
	s.Set(Global, "BootNext", binary.LittleEndian.AppendUint16(nil, n))
}

// ClearOverride takes away what SetBootNext wrote; a BootNext of the guest's own stays.
func (s *Store) ClearOverride() {
	s.Delete(Global, optionName(Override))
	if b, ok := s.Get(Global, "BootNext"); ok && len(b) == 2 && binary.LittleEndian.Uint16(b) == Override {
		s.Delete(Global, "BootNext")
	}
}

// BootOptions returns the options in BootOrder; numbers without an option are left out.
func (s *Store) BootOptions() ([]Option, error) {
	order, _ := s.Get(Global, "BootOrder")
	var options []Option
	for i := 0; i+1 < len(order); i += 2 {
		n := binary.LittleEndian.Uint16(order[i:])
		b, ok := s.Get(Global, optionName(n))
		if !ok {
			continue
		}
		o, err := decodeOption(n, b)
		if err != nil {
			return nil, err
		}
		options = append(options, o)
	}
	return options, nil
}

func decodeOption(n uint16, b []byte) (Option, error) {
	if len(b) < 8 {
		return Option{}, fmt.Errorf("%s has %d bytes, at least 8 expected", optionName(n), len(b))
	}
	o := Option{Number: n, Active: b[0]&1 != 0}
	pathSize := int(binary.LittleEndian.Uint16(b[4:]))
	o.Description = decodeName(b[6:])
	at := 6 + len(encodeName(o.Description))
	if at+pathSize > len(b) || pathSize < 4 {
		return Option{}, fmt.Errorf("%s: its device path of %d bytes runs over the end", optionName(n), pathSize)
	}
	o.Path = Path(b[at : at+pathSize-4])
	return o, nil
}

func optionName(n uint16) string { return fmt.Sprintf("Boot%04X", n) }
