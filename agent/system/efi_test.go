package system

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/efivarfs"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// store is a firmware's variables in memory; break makes it lose or refuse what it is given.
type store struct {
	vars          map[efivarfs.VariableDescriptor][]byte
	loses, refuse string
}

func (s *store) Get(d efivarfs.VariableDescriptor) (efivarfs.VariableAttributes, []byte, error) {
	b, ok := s.vars[d]
	if !ok {
		return 0, nil, efivarfs.ErrVarNotExist
	}
	return 7, b, nil
}

func (s *store) Set(d efivarfs.VariableDescriptor, a efivarfs.VariableAttributes, b []byte) error {
	switch {
	case d.Name == s.refuse:
		return efivarfs.ErrVarPermission
	case d.Name == s.loses:
		b = b[:len(b)-1]
	case a != 7:
		return errors.New("attributes")
	}
	s.vars[d] = bytes.Clone(b)
	return nil
}

func (s *store) Remove(d efivarfs.VariableDescriptor) error { delete(s.vars, d); return nil }

func (s *store) List() (out []efivarfs.VariableDescriptor, err error) {
	for d := range s.vars {
		out = append(out, d)
	}
	return out, nil
}

var esp = Partition{Number: 1, GUID: "0fc63daf-8483-4772-8e79-3d69d8477de4", Start: 2048, Count: 38912}

// Laid out by hand after UEFI 2.10 §3.1.3 and §10.3.5.
const wantOption = "01000000" + "5e00" + "4400650062006900" + "61006e000000" +
	"04012a0001000000" + "0008000000000000" + "0098000000000000" + "af3dc60f838472478e793d69d8477de4" + "0202" +
	"04043000" + "5c004500460049005c0042004f004f0054005c0042004f004f0054005800360034002e004500460049000000" + "7fff0400"

func TestLoadOption(t *testing.T) {
	got, err := loadOption("Debian", esp, "/EFI/BOOT/BOOTX64.EFI")
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got) != wantOption {
		t.Errorf("got  %x\nwant %s", got, wantOption)
	}
	if l := entryLabel(got); l != "Debian" {
		t.Errorf("label %q", l)
	}
	for name, bad := range map[string]func() error{
		"label":     func() error { _, err := loadOption("", esp, "/x"); return err },
		"loader":    func() error { _, err := loadOption("a", esp, "x"); return err },
		"guid":      func() error { _, err := loadOption("a", Partition{1, "?", 1, 1}, "/x"); return err },
		"partition": func() error { _, err := loadOption("a", Partition{0, esp.GUID, 1, 1}, "/x"); return err },
	} {
		if bad() == nil {
			t.Errorf("a wrong %s was accepted", name)
		}
	}
}

func TestBootEntry(t *testing.T) {
	s := &store{vars: map[efivarfs.VariableDescriptor][]byte{}}
	f := Firmware{s}
	old, err := loadOption("Old", esp, "/old")
	if err != nil {
		t.Fatal(err)
	}
	s.vars[variable("Boot0000")] = old
	s.vars[variable("Boot0001")] = old
	s.vars[variable("BootOrder")] = []byte{1, 0, 0, 0}
	s.vars[variable("BootNext")] = []byte{1, 0}
	check := func(when, order string, entries ...string) {
		t.Helper()
		if got := hex.EncodeToString(s.vars[variable("BootOrder")]); got != order {
			t.Errorf("%s: order %s, expected %s", when, got, order)
		}
		for _, e := range entries {
			name, label, _ := strings.Cut(e, "=")
			if got := entryLabel(s.vars[variable(name)]); got != label {
				t.Errorf("%s: %s is %q, expected %q", when, name, got, label)
			}
		}
	}
	if err := f.SetBootEntry("New", esp, "/EFI/BOOT/BOOTX64.EFI"); err != nil {
		t.Fatal(err)
	}
	check("new", "020001000000", "Boot0000=Old", "Boot0001=Old", "Boot0002=New")
	// Deploying again takes the same number; a label found twice is left once.
	for range 2 {
		if err := f.SetBootEntry("Old", esp, "/EFI/BOOT/BOOTX64.EFI"); err != nil {
			t.Fatal(err)
		}
	}
	if _, a := s.vars[variable("Boot0000")]; a {
		if _, b := s.vars[variable("Boot0001")]; b {
			t.Error("two entries of one label were left")
		}
	}
	if got := len(s.vars[variable("BootOrder")]); got != 4 {
		t.Errorf("order of %d bytes, expected two entries", got)
	}
}

func TestBootEntryTrouble(t *testing.T) {
	for _, broken := range []*store{{loses: "Boot0000"}, {loses: "BootOrder"}, {refuse: "Boot0000"}, {refuse: "BootOrder"}} {
		broken.vars = map[efivarfs.VariableDescriptor][]byte{}
		if err := (Firmware{broken}).SetBootEntry("A", esp, "/x"); !fault.Has(err, fault.BootEntry) {
			t.Errorf("firmware that loses %q or refuses %q: %v", broken.loses, broken.refuse, err)
		}
	}
	if _, err := OpenFirmware(t.TempDir()); !fault.Has(err, fault.BootEntry) {
		t.Errorf("a machine without UEFI: %v", err)
	}
}
