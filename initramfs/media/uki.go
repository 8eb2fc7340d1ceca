package media

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Section is a part that UKI adds to the stub: its name (".linux") and bytes.
type Section struct {
	Name string
	Data []byte
}

// UKI writes a unified kernel image: the stub, a PE executable such as systemd's linuxx64.efi.stub, with sections
// added behind its own, each at the next free page of the image. The stub finds them by name; firmware loads and
// starts the whole as one program. The symbol table of the stub is dropped; signatures are not carried over.
func UKI(w io.Writer, stub []byte, sections []Section) error {
	if !bytes.HasPrefix(stub, []byte("MZ")) {
		return fmt.Errorf("read stub: no executable")
	}
	f, err := pe.NewFile(bytes.NewReader(stub))
	if err != nil {
		return fmt.Errorf("read stub: %w", err)
	}
	opt, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return fmt.Errorf("read stub: no 64-bit executable")
	}
	const (
		peOffsetAt  = 0x3c
		coffSize    = 20
		sectionSize = 40
		page        = 4096
		readOnly    = pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ
	)
	coff := int(binary.LittleEndian.Uint32(stub[peOffsetAt:])) + 4
	optional := coff + coffSize
	table := optional + int(f.SizeOfOptionalHeader)
	end := table + sectionSize*(len(f.Sections)+len(sections))
	if end > int(opt.SizeOfHeaders) || int(opt.SizeOfHeaders) > len(stub) {
		return fmt.Errorf("stub has no room for %d more section headers", len(sections))
	}

	var rawEnd, memEnd uint32
	for _, s := range f.Sections {
		rawEnd = max(rawEnd, s.Offset+s.Size)
		memEnd = max(memEnd, s.VirtualAddress+max(s.VirtualSize, s.Size))
	}
	if int64(rawEnd) > int64(len(stub)) {
		return fmt.Errorf("read stub: truncated")
	}
	out := bytes.NewBuffer(nil)
	out.Write(stub[:rawEnd])
	clear(out.Bytes()[table+sectionSize*len(f.Sections) : opt.SizeOfHeaders])
	pad(out, int(opt.FileAlignment))
	for i, s := range sections {
		if len(s.Name) > 8 || len(s.Data) == 0 {
			return fmt.Errorf("section %q of %d bytes can't be added", s.Name, len(s.Data))
		}
		at := align(memEnd, max(page, opt.SectionAlignment))
		offset := uint32(out.Len())
		out.Write(s.Data)
		pad(out, int(opt.FileAlignment))
		h := out.Bytes()[table+sectionSize*(len(f.Sections)+i):]
		copy(h[:8], s.Name)
		binary.LittleEndian.PutUint32(h[8:], uint32(len(s.Data)))
		binary.LittleEndian.PutUint32(h[12:], at)
		binary.LittleEndian.PutUint32(h[16:], uint32(out.Len())-offset)
		binary.LittleEndian.PutUint32(h[20:], offset)
		binary.LittleEndian.PutUint32(h[36:], readOnly)
		memEnd = at + uint32(len(s.Data))
	}
	b := out.Bytes()
	binary.LittleEndian.PutUint16(b[coff+2:], uint16(len(f.Sections)+len(sections)))
	clear(b[coff+8 : coff+16])                                                          // where the symbol table was, and how many symbols
	binary.LittleEndian.PutUint32(b[optional+56:], align(memEnd, opt.SectionAlignment)) // SizeOfImage
	binary.LittleEndian.PutUint32(b[optional+64:], 0)                                   // CheckSum: firmware ignores it for programs
	_, err = w.Write(b)
	return err
}

func align(n, to uint32) uint32 { return (n + to - 1) / to * to }

func pad(b *bytes.Buffer, to int) {
	if n := b.Len() % to; n != 0 {
		b.Write(make([]byte, to-n))
	}
}

// FindRegion finds where the boot region lies in a unified kernel image, in bytes: the file api.RegionFile of the last archive of
// its initramfs, which is not compressed. A program that carries none gives an *api.NoRegionError.
func FindRegion(program io.ReaderAt) (offset, length int64, err error) {
	f, err := pe.NewFile(program)
	if err != nil {
		return 0, 0, &api.NoRegionError{Why: "no EFI program"}
	}
	s := f.Section(".initrd")
	if s == nil {
		return 0, 0, &api.NoRegionError{Why: "no initramfs in the program"}
	}
	const (
		head   = 110 // of a newc archive's file: a magic and thirteen numbers of eight hex digits
		sizeAt = 6 + 6*8
		around = 4096 // what an archive has beside its one file
	)
	size := int64(min(s.VirtualSize, s.Size))
	from := max(0, size-api.RegionMax-around) &^ 3
	tail := make([]byte, size-from)
	if _, err := s.ReadAt(tail, from); err != nil && err != io.EOF {
		return 0, 0, fmt.Errorf("read the initramfs: %w", err)
	}
	name := []byte(api.RegionFile + "\x00")
	for at := len(tail); ; {
		if at = bytes.LastIndex(tail[:at], name); at < 0 {
			return 0, 0, &api.NoRegionError{Why: "no boot region in the initramfs"}
		}
		begin := at - head
		if begin < 0 || begin%4 != 0 || string(tail[begin:begin+6]) != "070701" {
			continue
		}
		n, err := strconv.ParseUint(string(tail[begin+sizeAt:begin+sizeAt+8]), 16, 32)
		data := (at + len(name) + 3) &^ 3
		if err != nil || n == 0 || n > api.RegionMax || int64(data)+int64(n) > int64(len(tail)) {
			return 0, 0, &api.NoRegionError{Why: "the boot region of the initramfs makes no sense"}
		}
		return int64(s.Offset) + from + int64(data), int64(n), nil
	}
}
