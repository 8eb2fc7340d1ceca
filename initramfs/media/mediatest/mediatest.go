// Package mediatest makes what tests serve in place of a built ramdisk. It is for tests only.
//
// Start at Program.
package mediatest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Program is an EFI program of one section, an initramfs: first these bytes, then an archive with a boot region of so many bytes,
// zeros; 0 is none. It starts on no machine.
func Program(first []byte, region int) []byte {
	const coff, opt, table, raw = 0x44, 0x44 + 20, 0x44 + 20 + 240, 0x200
	initrd := string(first)
	if region > 0 {
		name := api.RegionFile + "\x00"
		initrd += strings.Repeat("\x00", (4-len(initrd)%4)%4) + "070701"
		for i := range 13 {
			initrd += fmt.Sprintf("%08x", map[int]int{6: region, 11: len(name)}[i])
		}
		initrd += name
		initrd += strings.Repeat("\x00", (4-len(initrd)%4)%4) + strings.Repeat("\x00", region)
	}
	b := make([]byte, raw, raw+len(initrd))
	copy(b, "MZ")
	b[0x3c] = coff - 4
	copy(b[coff-4:], "PE\x00\x00\x64\x86\x01\x00") // x86-64, one section
	b[coff+16] = 240                               // of the optional header
	copy(b[opt:], "\x0b\x02")
	b[opt+108] = 16 // data directories
	copy(b[table:], ".initrd")
	binary.LittleEndian.PutUint32(b[table+8:], uint32(len(initrd)))
	binary.LittleEndian.PutUint32(b[table+12:], 0x1000)
	binary.LittleEndian.PutUint32(b[table+16:], uint32(len(initrd)))
	binary.LittleEndian.PutUint32(b[table+20:], raw)
	return append(b, initrd...)
}
