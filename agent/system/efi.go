package system

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

const efiVars = "sys/firmware/efi/efivars"

// globalVariable is the vendor GUID of the boot manager's variables (UEFI 2.10 §3.3).
var globalVariable = uuid.MustParse("8be4df61-93ca-11d2-aa0d-00e098032b8c")

// Partition is where a boot loader lies: the partition's number in its GPT, its unique GUID as text, and first block
// and length in logical blocks of its disk.
type Partition struct {
	Number       uint32
	GUID         string // "0fc63daf-8483-4772-8e79-3d69d8477de4"
	Start, Count uint64
}

// OpenFirmware opens the firmware's variables below root; on a machine that did not boot by UEFI it is a boot.entry
// fault. The variables are mounted by MountEFI.
func OpenFirmware(root string) (Firmware, error) {
	vars, err := efivarfs.NewPath(filepath.Join(root, efiVars))
	if err != nil {
		return Firmware{}, fault.New(fault.BootEntry, "the firmware's variables are not there: the ramdisk was not booted by UEFI").Because(err)
	}
	return Firmware{vars}, nil
}

// Firmware is the machine's boot manager.
type Firmware struct{ vars efivarfs.EFIVar }

// SetBootEntry makes the firmware start loader (a path on the partition, "/EFI/BOOT/BOOTX64.EFI") under this label, before
// everything else, and reads back what it wrote. An older entry of the same label is replaced. Faults: boot.entry.
func (f Firmware) SetBootEntry(label string, p Partition, loader string) error {
	option, err := loadOption(label, p, loader)
	if err != nil {
		return fault.New(fault.BootEntry, "%v", err)
	}
	number, stale, err := f.slot(label)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("Boot%04X", number)
	if err := f.put(name, option); err != nil {
		return err
	}
	order, err := f.order()
	if err != nil {
		return err
	}
	order = slices.DeleteFunc(order, func(n uint16) bool { return n == number || slices.Contains(stale, n) })
	order = append([]uint16{number}, order...)
	raw := make([]byte, 0, 2*len(order))
	for _, n := range order {
		raw = binary.LittleEndian.AppendUint16(raw, n)
	}
	if err := f.put("BootOrder", raw); err != nil {
		return err
	}
	for _, n := range stale {
		// Left behind it would do no harm: nothing in the order names it.
		_ = f.vars.Remove(variable(fmt.Sprintf("Boot%04X", n)))
	}
	return nil
}

// slot is the number to write: that of the first entry with this label, else the lowest free one. stale are further
// entries with the label.
func (f Firmware) slot(label string) (number uint16, stale []uint16, err error) {
	all, err := f.vars.List()
	if err != nil {
		return 0, nil, fault.New(fault.BootEntry, "the firmware's boot entries can't be listed: %v", err).Because(err)
	}
	used := map[uint16]bool{}
	found := false
	for _, v := range all {
		n, ok := entryNumber(v)
		if !ok {
			continue
		}
		used[n] = true
		_, data, err := f.vars.Get(v)
		if err != nil || entryLabel(data) != label {
			continue
		}
		if !found {
			number, found = n, true
		} else {
			stale = append(stale, n)
		}
	}
	for !found && used[number] {
		number++
	}
	return number, stale, nil
}

func entryNumber(v efivarfs.VariableDescriptor) (n uint16, ok bool) {
	if v.GUID != globalVariable || len(v.Name) != 8 || !strings.HasPrefix(v.Name, "Boot") {
		return 0, false
	}
	_, err := fmt.Sscanf(v.Name, "Boot%04X", &n)
	return n, err == nil && fmt.Sprintf("Boot%04X", n) == v.Name
}

func (f Firmware) order() ([]uint16, error) {
	_, raw, err := f.vars.Get(variable("BootOrder"))
	if errors.Is(err, efivarfs.ErrVarNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.BootEntry, "the firmware's boot order can't be read: %v", err).Because(err)
	}
	var out []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		out = append(out, binary.LittleEndian.Uint16(raw))
	}
	return out, nil
}

// put writes a variable and reads it back.
func (f Firmware) put(name string, data []byte) error {
	const attrs = efivarfs.AttributeNonVolatile | efivarfs.AttributeBootserviceAccess | efivarfs.AttributeRuntimeAccess
	if err := f.vars.Set(variable(name), attrs, data); err != nil {
		return fault.New(fault.BootEntry, "the firmware refuses to store %s: %v", name, err).Because(err)
	}
	_, got, err := f.vars.Get(variable(name))
	if err != nil {
		return fault.New(fault.BootEntry, "%s was written but can't be read back: %v", name, err).Because(err)
	}
	if !bytes.Equal(got, data) {
		return fault.New(fault.BootEntry, "%s was written but reads back differently: the firmware keeps its own", name)
	}
	return nil
}

func variable(name string) efivarfs.VariableDescriptor {
	return efivarfs.VariableDescriptor{Name: name, GUID: globalVariable}
}

// loadOption is an EFI_LOAD_OPTION (UEFI 2.10 §3.1.3): attributes, length of the path, label, device path.
func loadOption(label string, p Partition, loader string) ([]byte, error) {
	if label == "" || strings.ContainsRune(label, 0) || !strings.HasPrefix(loader, "/") || strings.ContainsRune(loader, 0) {
		return nil, fmt.Errorf("boot entry %q with loader %q makes no sense", label, loader)
	}
	guid, err := uuid.Parse(p.GUID)
	if err != nil || p.Number == 0 || p.Count == 0 || guid == uuid.Nil {
		return nil, fmt.Errorf("boot entry %q: partition %d (%s) of %d blocks makes no sense", label, p.Number, p.GUID, p.Count)
	}
	const active = 1
	path := append(hardDrive(p, guid), filePath(loader)...)
	path = append(path, 0x7f, 0xff, 4, 0) // the end
	out := binary.LittleEndian.AppendUint32(nil, active)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path)))
	out = append(out, utf16z(label)...)
	return append(out, path...), nil
}

// hardDrive is a Hard Drive media device path node (§10.3.5.1): GPT, named by the partition's GUID.
func hardDrive(p Partition, guid uuid.UUID) []byte {
	b := []byte{4, 1, 42, 0}
	b = binary.LittleEndian.AppendUint32(b, p.Number)
	b = binary.LittleEndian.AppendUint64(b, p.Start)
	b = binary.LittleEndian.AppendUint64(b, p.Count)
	b = append(b, mixed(guid)...)
	const gpt, byGUID = 2, 2
	return append(b, gpt, byGUID)
}

// filePath is a File Path media device path node (§10.3.5.4).
func filePath(loader string) []byte {
	name := utf16z(strings.ReplaceAll(loader, "/", `\`))
	b := []byte{4, 4}
	b = binary.LittleEndian.AppendUint16(b, uint16(4+len(name)))
	return append(b, name...)
}

// mixed is a GUID as EFI stores it: the first three fields little-endian.
func mixed(u uuid.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

func utf16z(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// entryLabel reads the label of a load option, "" if it is none.
func entryLabel(option []byte) string {
	if len(option) < 6 {
		return ""
	}
	var u []uint16
	for b := option[6:]; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			return string(utf16.Decode(u))
		}
		u = append(u, c)
	}
	return ""
}
