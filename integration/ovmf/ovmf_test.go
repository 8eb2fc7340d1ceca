package ovmf

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// blank is a flash image as OVMF_VARS begins: a firmware volume header and an empty store of the given size.
func blank(size int) []byte {
	const head = 0x48
	b := bytes.Repeat([]byte{0xff}, head+size+0x100)
	copy(b, make([]byte, head+storeHeader))
	copy(b[40:], volumeSignature)
	binary.LittleEndian.PutUint16(b[48:], head)
	copy(b[head:], authenticated[:])
	binary.LittleEndian.PutUint32(b[head+16:], uint32(size))
	b[head+20], b[head+21] = 0x5a, 0xfe
	return b
}

func parse(t *testing.T, b []byte) *Store {
	t.Helper()
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVariablesSurviveSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vars.fd")
	s := parse(t, blank(4096))
	other := GUID{1, 2, 3}
	s.Set(Global, "Boot0001", Option{Number: 1, Active: true, Description: "Debian", Path: Path{4, 1, 4, 0}}.encode())
	s.Set(other, "Odd", []byte{1, 2, 3}) // not a multiple of the alignment
	s.Set(Global, "BootOrder", []byte{1, 0, 9, 0})
	s.Set(Global, "Gone", []byte{1})
	s.Delete(Global, "Gone")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Names(Global), []string{"Boot0001", "BootOrder"}; !slices.Equal(got, want) {
		t.Errorf("global variables: got %v, want %v", got, want)
	}
	if got, _ := again.Get(other, "Odd"); !bytes.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("Odd: got %v", got)
	}
	options, err := again.BootOptions()
	if err != nil || len(options) != 1 || options[0].Description != "Debian" || !options[0].Path.Partition() {
		t.Errorf("boot options: got %+v, %v", options, err)
	}
}

func TestOverrideLeavesTheGuestsEntriesAlone(t *testing.T) {
	s := parse(t, blank(4096))
	s.Set(Global, "Boot0000", []byte("guest"))
	s.Set(Global, "BootOrder", []byte{0, 0})
	s.SetBootNext("CD", PCI(2, 0).SCSI(0, 0))
	if next, _ := s.Get(Global, "BootNext"); !bytes.Equal(next, []byte{0x55, 0xbe}) {
		t.Errorf("BootNext: got %x", next)
	}
	s.ClearOverride()
	if got, want := s.Names(Global), []string{"Boot0000", "BootOrder"}; !slices.Equal(got, want) {
		t.Errorf("after the override: got %v, want %v", got, want)
	}
	s.SetBootNextNumber(0) // the guest's own choice
	s.ClearOverride()
	if _, ok := s.Get(Global, "BootNext"); !ok {
		t.Error("the guest's BootNext was taken away")
	}
}

func TestTrustIsReplaced(t *testing.T) {
	s := parse(t, blank(4096))
	s.SetTrust([][]byte{[]byte("one"), []byte("three")})
	got, _ := s.Get(tlsCA, tlsCAName)
	if want := 2*(28+16) + len("one") + len("three"); len(got) != want || !bytes.HasSuffix(got, []byte("three")) || got[16] != 28+16+3 || got[24] != 16+3 {
		t.Errorf("two certificates: %d bytes, expected %d: %x", len(got), want, got)
	}
	s.SetTrust([][]byte{[]byte("other")})
	if got, _ := s.Get(tlsCA, tlsCAName); len(got) != 28+16+len("other") {
		t.Errorf("another one: %x", got)
	}
	s.SetTrust(nil)
	if got, there := s.Get(tlsCA, tlsCAName); there {
		t.Errorf("none: %x", got)
	}
}

func TestReplacedVariable(t *testing.T) {
	s := parse(t, blank(4096))
	s.Set(Global, "Both", []byte("old"))
	s.Set(GUID{9}, "Both", []byte("new"))
	s.Set(Global, "Alone", []byte("kept"))
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	first := s.start
	b[first+2] = stateReplaced
	second := align(first + variableHeader + len(encodeName("Both")) + 3)
	copy(b[second+44:], Global[:]) // now the successor of the first
	third := align(second + variableHeader + len(encodeName("Both")) + 3)
	b[third+2] = stateReplaced // its successor was never written
	again := parse(t, b)
	if got, _ := again.Get(Global, "Both"); string(got) != "new" {
		t.Errorf("Both: got %q, want the successor", got)
	}
	if got, _ := again.Get(Global, "Alone"); string(got) != "kept" {
		t.Errorf("Alone: got %q, want the value without successor", got)
	}
}

func TestPathEncoding(t *testing.T) {
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	for name, c := range map[string]struct {
		got  Path
		want []byte
	}{
		"scsi": {PCI(2, 0).SCSI(1, 0), []byte{2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 2, 3, 2, 8, 0, 1, 0, 0, 0}},
		"nvme": {Path{}.NVMe(1, 0x0102030405060708), []byte{3, 0x17, 16, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"mac":  {Path{}.MAC(mac)[:10], []byte{3, 11, 37, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56}},
		"uri":  {Path{}.URI("http://a"), append([]byte{3, 24, 12, 0}, "http://a"...)},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s: got % x, want % x", name, []byte(c.got), c.want)
		}
	}
}

func TestDamagedImagesAreRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty": nil, "no volume": make([]byte, 4096),
		"store too large": func() []byte { b := blank(4096); binary.LittleEndian.PutUint32(b[0x48+16:], 1<<30); return b }(),
		"variable too long": func() []byte {
			s, _ := Parse(blank(4096))
			s.Set(Global, "V", []byte{1})
			b, _ := s.Bytes()
			binary.LittleEndian.PutUint32(b[s.start+40:], 1<<20)
			return b
		}(),
	} {
		if _, err := Parse(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s := parse(t, blank(200))
	s.Set(Global, "Large", make([]byte, 300))
	path := filepath.Join(t.TempDir(), "vars.fd")
	if err := s.Save(path); err == nil {
		t.Error("more variables than there is room for were accepted")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzParse(f *testing.F) {
	s, _ := Parse(blank(512))
	s.SetBootNext("CD", PCI(2, 0).SCSI(0, 0))
	b, _ := s.Bytes()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		s.BootOptions()
		if out, err := s.Bytes(); err == nil && len(out) != len(b) {
			t.Errorf("size changed from %d to %d", len(b), len(out))
		}
	})
}
