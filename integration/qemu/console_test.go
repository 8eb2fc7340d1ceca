package qemu

import (
	"slices"
	"testing"
)

// The lines are OVMF's and Linux's, with the cursor codes that firmware puts around them.
func TestProgressOfABoot(t *testing.T) {
	const esc = "\x1b[2J\x1b[01;01H\x1b[=3h"
	for name, c := range map[string]struct {
		output []string
		want   []string
	}{
		"from CD to login": {
			[]string{esc + "BdsDxe: loading Boot", "BE55 \"Virtual CD\" from PciRoot(0x0)/Pci(0x2,0x0)/Scsi(0x0,0x0)\r\nBdsDxe: starting BootBE55 \"Virtual CD\" from Pci\r\n",
				"[    0.000000] Linux version 6.1.0-50-cloud-amd64\r\n", "\r\nDebian GNU/Linux 12 node-7 ttyS0\r\n\r\nnode-7 login: "},
			[]string{"firmware chose a boot option: Virtual CD", "loader started: Virtual CD", "operating system runs: Linux version 6.1.0-50-cloud-amd64", "operating system runs: node-7 login:"},
		},
		"nothing there": {
			[]string{esc + "BdsDxe: failed to load Boot0001 \"UEFI Misc Device \" from Pci: Not Found\r\n>>Start PXE over IPv4.\r\n",
				"BdsDxe: loading Boot0002 \"EFI Internal Shell\" from Fv(x)\r\nBdsDxe: starting Boot0002 \"EFI Internal Shell\" from Fv(x)\r\nUEFI Interactive Shell v2.2\r\nShell> "},
			[]string{"firmware chose a boot option: UEFI Misc Device", "firmware chose a boot option: Start PXE over IPv4", "nothing to boot: EFI Internal Shell", "nothing to boot: UEFI Interactive Shell"},
		},
		"a system that only talks": {[]string{"hello\r\nloading everything\r\n"}, nil},
	} {
		var got []string
		w := &watcher{report: func(p Progress, detail string) { got = append(got, string(p)+": "+detail) }}
		for _, s := range c.output {
			w.write([]byte(s))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}
