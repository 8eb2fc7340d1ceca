package media

import (
	"bytes"
	"debug/pe"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func bootISO(t *testing.T, uki []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "uki"), filepath.Join(dir, "boot.iso")
	if err := os.WriteFile(in, uki, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := BootISO(out, in); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBootISOHasARegionAndIsReproducible(t *testing.T) {
	uki := bytes.Repeat([]byte("kernel"), 100_000)
	iso := bootISO(t, uki)
	off, n, err := api.FindRegion(bytes.NewReader(iso))
	if err != nil {
		t.Fatal(err)
	}
	if n != api.RegionSize || len(bytes.TrimRight(iso[off:off+n], "\x00")) != 0 {
		t.Errorf("region of %d bytes at %d, expected %d zeros", n, off, api.RegionSize)
	}
	if !bytes.Contains(iso, uki) {
		t.Error("the program is not in the image in one piece")
	}
	// FAT stamps have steps of two seconds, ISO 9660 ones of a hundredth of one.
	for second := time.Now().Unix() / 2; time.Now().Unix()/2 == second; {
		runtime.Gosched()
	}
	if !bytes.Equal(iso, bootISO(t, uki)) {
		t.Error("the same program gave two different images")
	}
}

func TestRegionISO(t *testing.T) {
	want := api.BootConfig{Version: 1, Server: "https://192.0.2.1:6386",
		Pins: []string{base64.StdEncoding.EncodeToString(make([]byte, 32))}}
	region, err := api.EncodeBootConfig(want, api.RegionSize)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "region.iso")
	if err := RegionISO(out, region); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := api.ReadBootConfig(f)
	if err != nil || got.Server != want.Server {
		t.Errorf("read %v, %v", got, err)
	}
}

// stub is a PE executable small enough to write by hand: one section, room for headers.
func stub() []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ")
	b[0x3c] = 0x40
	copy(b[0x40:], "PE\x00\x00\x64\x86\x01\x00") // x86-64, one section
	b[0x40+4+16] = 240                           // size of the optional header
	opt := 0x40 + 4 + 20
	copy(b[opt:], "\x0b\x02")
	put := func(at int, v uint32) {
		for i := range 4 {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	put(opt+32, 0x1000) // section alignment
	put(opt+36, 0x200)
	put(opt+56, 0x2000)
	put(opt+60, 0x200)
	put(opt+108, 16)
	s := opt + 240
	copy(b[s:], ".text")
	put(s+8, 0x123)
	put(s+12, 0x1000)
	put(s+16, 0x200)
	put(s+20, 0x200)
	copy(b[0x200:], "code")
	return append(b, "symbols"...)
}

func TestUKI(t *testing.T) {
	sections := []Section{{".cmdline", []byte("quiet")}, {".linux", bytes.Repeat([]byte("L"), 5000)}}
	var out bytes.Buffer
	if err := UKI(&out, stub(), sections[:1]); err != nil {
		t.Fatal(err)
	}
	if err := UKI(&out, stub(), nil); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := UKI(&out, stub(), append(sections, sections...)); err == nil {
		t.Fatal("more headers than the stub has room for were accepted")
	}
	roomy := stub()
	roomy = append(append(bytes.Clone(roomy[:0x200]), make([]byte, 0x200)...), roomy[0x200:]...)
	roomy[0x40+24+61] = 4     // headers up to 0x400
	roomy[0x40+24+240+21] = 4 // the section's bytes moved
	if err := UKI(&out, roomy, sections); err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	end := f.Section(".text").VirtualAddress + f.Section(".text").VirtualSize
	for _, s := range sections {
		got := f.Section(s.Name)
		if got == nil {
			t.Fatalf("no section %s", s.Name)
		}
		data, err := got.Data()
		if err != nil || !bytes.Equal(data[:got.VirtualSize], s.Data) {
			t.Errorf("%s: %v, %d bytes", s.Name, err, len(data))
		}
		if got.VirtualAddress < end || got.VirtualAddress%4096 != 0 {
			t.Errorf("%s at %#x, expected a page of its own from %#x on", s.Name, got.VirtualAddress, end)
		}
		end = got.VirtualAddress + got.VirtualSize
	}
	if size := f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage; size < end || size%0x1000 != 0 {
		t.Errorf("size of image %#x, sections end at %#x", size, end)
	}
	if bytes.Contains(out.Bytes(), []byte("symbols")) {
		t.Error("the symbol table was kept")
	}
	for name, bad := range map[string][]byte{"nothing": nil, "no program": []byte("hello"), "cut": stub()[:0x300]} {
		if err := UKI(&out, bad, sections[:1]); err == nil {
			t.Errorf("%s: accepted as a stub", name)
		}
	}
}

// A label padded with zeros is read as another one by readers that take off spaces only.
func TestVolumeIdentifierIsPaddedWithSpaces(t *testing.T) {
	image, err := ConfigDrive(map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")}, ConfigDriveLabel)
	if err != nil {
		t.Fatal(err)
	}
	const descriptor = 16 * 2048
	if got, want := string(image[descriptor+40:descriptor+72]), fmt.Sprintf("%-32s", ConfigDriveLabel); got != want {
		t.Fatalf("volume identifier %q, want %q", got, want)
	}
}
