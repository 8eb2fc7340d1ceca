package qemu

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/ovmf"
)

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	c := Config{CPUs: 2, NICs: []net.HardwareAddr{mac}, Maker: "Acme, Inc.", Serial: "S1", UUID: "9d3f1f0e-64d8-4a55-a7a1-0d9a4f2b7c11", Disks: []Disk{
		{Path: filepath.Join(dir, "a"), SizeMB: 1, Serial: "A", WWN: "0x5254000000000001"},
		{Path: filepath.Join(dir, "b"), SizeMB: 1, Bus: "scsi", Serial: "B", WWN: "5000c50015ea71ac"},
		{Path: filepath.Join(dir, "c"), SizeMB: 1, Bus: "virtio", Serial: "C"},
	}}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(c.Disks[0].Path); err != nil || st.Size() != 1<<20 {
		t.Errorf("the disk was not made: %v, %v", st, err)
	}
	line := strings.Join(c.args("tcg", "vars.fd"), " ")
	for _, want := range []string{
		"-accel tcg,thread=multi -cpu max -smp 2 -m 1024", "manufacturer=Acme,, Inc.,", "serial=S1,uuid=9d3f1f0e-",
		"mac=52:54:00:00:00:01,romfile=", "nvme,id=nvme0,serial=A", "eui64=0x5254000000000001",
		"scsi-id=0,lun=0,serial=B,wwn=0x5000c50015ea71ac", "virtio-blk-pci,drive=disk2,serial=C",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is missing in %s", want, line)
		}
	}
	if strings.Contains(line, "bootindex") {
		t.Error("bootindex makes the firmware delete the guest's boot entries")
	}
	if line := strings.Join(c.args("kvm", "v"), " "); !strings.Contains(line, "-accel kvm -cpu host") {
		t.Errorf("with KVM: %s", line)
	}
}

func TestRefusedMachines(t *testing.T) {
	disk := func(d Disk) Config {
		if d.Path == "" {
			d.Path = "/dev/null"
		}
		return Config{Disks: []Disk{d}}
	}
	for want, c := range map[string]Config{
		"none of nvme":    disk(Disk{Bus: "floppy"}),
		"no wwn":          disk(Disk{Bus: "virtio", WWN: "1"}),
		"16 hex digits":   disk(Disk{WWN: "disk"}),
		"longer than 20":  disk(Disk{Serial: strings.Repeat("x", 21)}),
		"no size_mb":      disk(Disk{Path: filepath.Join(t.TempDir(), "absent")}),
		"at most 5 fit":   {NICs: make([]net.HardwareAddr, 6)},
		"path is missing": {Disks: []Disk{{}}},
	} {
		if err := c.complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, err := NewHost("warp", "", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an unknown accelerator was accepted")
	}
}

// What a BMC orders is in the NVRAM for one boot, and what the guest wrote stays.
func TestOverridesInTheNVRAM(t *testing.T) {
	mac, _ := net.ParseMAC("52:54:00:00:00:01")
	c := Config{NICs: []net.HardwareAddr{mac}, Disks: []Disk{{Bus: "nvme"}}}
	s, err := ovmf.Open(debianDir + "OVMF_VARS_4M.fd")
	if err != nil {
		t.Fatalf("%v; `make setup` installs it (Debian: ovmf)", err)
	}
	next := func(b Boot) string {
		t.Helper()
		if err := c.prepare(s, b); err != nil {
			t.Fatal(err)
		}
		n, _ := s.Get(ovmf.Global, "BootNext")
		return string(n)
	}
	const ours = "\x55\xbe"
	for _, target := range []Target{CD, Disk0, PXE, UEFIHTTP} {
		if got := next(Boot{Target: target}); got != ours {
			t.Errorf("%s: BootNext %x", target, got)
		}
	}
	if got := next(Boot{Target: Default}); got != "" {
		t.Errorf("without an override: BootNext %x", got)
	}
	installed := ovmf.Path{4, 1, 4, 0}
	s.SetBootNext("Installed", installed) // borrow its encoder for the guest's entry
	entry, _ := s.Get(ovmf.Global, "BootBE55")
	s.ClearOverride()
	s.Set(ovmf.Global, "Boot0007", entry)
	s.Set(ovmf.Global, "BootOrder", []byte{7, 0})
	if got := next(Boot{Target: Disk0}); got != "\x07\x00" {
		t.Errorf("Hdd prefers the installed system's entry: BootNext %x", got)
	}
	next(Boot{Target: CD})
	if o, err := s.BootOptions(); err != nil || len(o) != 1 || o[0].Description != "Installed" {
		t.Errorf("boot order: %v, %v", o, err)
	}
	for _, b := range []Boot{{Target: "Floppy"}} {
		if err := c.prepare(s, b); err == nil {
			t.Errorf("%s was accepted", b.Target)
		}
	}
	if err := (&Config{}).prepare(s, Boot{Target: PXE}); err == nil {
		t.Error("PXE without a card was accepted")
	}
	if err := (&Config{}).prepare(s, Boot{Target: Disk0}); err == nil {
		t.Error("Hdd without a disk was accepted")
	}
}
