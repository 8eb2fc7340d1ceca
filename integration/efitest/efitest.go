// Package efitest makes what a test boots in place of an operating system: UEFI programs of a few instructions, and disks
// and CDs that hold one. It is for tests only. Start reading at Program.
package efitest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// End is what a program does when it is through.
type End int

// The ends; the numbers are those of the firmware's ResetSystem.
const (
	ColdReset End = 0
	WarmReset End = 1
	Shutdown  End = 2
	Halt      End = -1
)

// Variable is one that a program writes.
type Variable struct {
	Name string
	Data []byte
}

// Program is a UEFI application that prints a line, writes variables of the global vendor and ends the boot.
func Program(line string, vars []Variable, end End) []byte {
	var code, data []byte
	type fix struct{ at, to int } // a rip-relative operand, and where in data it points
	var fixes []fix
	load := func(opcode []byte, d []byte) {
		data = append(data, make([]byte, -len(data)&7)...)
		code = append(code, opcode...)
		fixes = append(fixes, fix{len(code), len(data)})
		code, data = append(code, 0, 0, 0, 0), append(data, d...)
	}
	wide := func(s string) []byte {
		var b []byte
		for _, c := range utf16.Encode([]rune(s + "\x00")) {
			b = binary.LittleEndian.AppendUint16(b, c)
		}
		return b
	}
	asm := func(b ...byte) { code = append(code, b...) }
	var rcx, rdx, rax = []byte{0x48, 0x8d, 0x0d}, []byte{0x48, 0x8d, 0x15}, []byte{0x48, 0x8d, 0x05} // lea reg, [rip+…]

	asm(0x53, 0x48, 0x83, 0xec, 0x40, 0x48, 0x89, 0xd3) // push rbx; sub rsp, 64; mov rbx, rdx (the system table)
	asm(0x48, 0x8b, 0x4b, 0x40)                         // mov rcx, [rbx+64]: ConOut
	load(rdx, wide("\r\n"+line+"\r\n"))
	asm(0xff, 0x51, 0x08) // call OutputString
	for _, v := range vars {
		load(rax, v.Data)
		asm(0x48, 0x89, 0x44, 0x24, 0x20) // fifth argument
		load(rcx, wide(v.Name))
		load(rdx, []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c})
		asm(0x41, 0xb8, 7, 0, 0, 0) // mov r8d, attributes
		asm(0x49, 0xc7, 0xc1)       // mov r9, size
		code = binary.LittleEndian.AppendUint32(code, uint32(len(v.Data)))
		asm(0x48, 0x8b, 0x43, 0x58, 0xff, 0x50, 0x58) // call SetVariable
	}
	if end != Halt {
		asm(0xb9, byte(end), 0, 0, 0, 0x31, 0xd2, 0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9)
		asm(0x48, 0x8b, 0x43, 0x58, 0xff, 0x50, 0x68) // call ResetSystem
	}
	asm(0xf4, 0xeb, 0xfd) // hlt, for ever
	code = append(code, make([]byte, -len(code)&7)...)
	for _, f := range fixes {
		binary.LittleEndian.PutUint32(code[f.at:], uint32(len(code)+f.to-f.at-4))
	}
	text := append(code, data...)

	var b bytes.Buffer
	w := func(v ...any) {
		for _, x := range v {
			binary.Write(&b, binary.LittleEndian, x)
		}
	}
	dos := make([]byte, 64)
	copy(dos, "MZ")
	dos[60] = 64
	w(dos, []byte("PE\x00\x00"), uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(0xf0), uint16(0x22))
	w(uint16(0x20b), uint16(0), uint32(len(text)), uint32(0), uint32(0), uint32(0x1000), uint32(0x1000), uint64(0), uint32(0x1000), uint32(0x200))
	w(make([]byte, 16), uint32(0x3000), uint32(0x200), uint32(0), uint16(10), uint16(0), make([]byte, 32), uint32(0), uint32(16), make([]byte, 128))
	w([]byte(".text\x00\x00\x00"), uint32(len(text)), uint32(0x1000), uint32(len(text)), uint32(0x200), make([]byte, 12), uint32(0xe0000020))
	w(make([]byte, 0x200-b.Len()), text)
	return b.Bytes()
}

func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s (`make setup` installs it): %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// of the partition that Disk makes
const partitionGUID = "5b1c5b5e-0a51-4b63-8a4a-0f5c0a6d7e10"

// espImage is a FAT file system with the program in the place where firmware looks for one.
func espImage(t testing.TB, program []byte) string {
	t.Helper()
	dir := t.TempDir()
	esp, efi := filepath.Join(dir, "esp.img"), filepath.Join(dir, "boot.efi")
	if err := os.WriteFile(efi, program, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(esp, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "mformat", "-i", esp, "::")
	tool(t, "mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
	tool(t, "mcopy", "-i", esp, efi, "::/EFI/BOOT/BOOTX64.EFI")
	return esp
}

// ISO is a CD image with the program where firmware looks for one.
func ISO(t testing.TB, program []byte) string {
	t.Helper()
	esp := espImage(t, program)
	iso := filepath.Join(filepath.Dir(esp), "cd.iso")
	tool(t, "xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-e", "esp.img", "-no-emul-boot", filepath.Dir(esp))
	return iso
}

// Disk is a disk image with one partition, the program in it.
func Disk(t testing.TB, program []byte) string {
	t.Helper()
	esp, err := os.ReadFile(espImage(t, program))
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	image := make([]byte, 8<<20)
	copy(image[1<<20:], esp)
	if err := os.WriteFile(disk, image, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sfdisk", "-q", disk)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("label: gpt\nstart=2048,size=8192,type=U,uuid=%s\n", partitionGUID))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk (`make setup` installs it): %v\n%s", err, out)
	}
	return disk
}

// PartitionPath is the device path of the program on Disk's partition, in the short form that installed systems write.
func PartitionPath() []byte {
	b := []byte{4, 1, 42, 0, 1, 0, 0, 0}
	b = binary.LittleEndian.AppendUint64(b, 2048)
	b = binary.LittleEndian.AppendUint64(b, 8192)
	b = append(b, 0x5e, 0x5b, 0x1c, 0x5b, 0x51, 0x0a, 0x63, 0x4b, 0x8a, 0x4a, 0x0f, 0x5c, 0x0a, 0x6d, 0x7e, 0x10, 2, 2)
	var name []byte
	for _, c := range utf16.Encode([]rune(`\EFI\BOOT\BOOTX64.EFI` + "\x00")) {
		name = binary.LittleEndian.AppendUint16(name, c)
	}
	b = append(b, 4, 4)
	b = binary.LittleEndian.AppendUint16(b, uint16(4+len(name)))
	return append(append(b, name...), 0x7f, 0xff, 4, 0)
}

// BootOption is the data of a Boot#### variable.
func BootOption(description string, path []byte) []byte {
	b := []byte{1, 0, 0, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	for _, c := range utf16.Encode([]rune(description + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return append(b, path...)
}
