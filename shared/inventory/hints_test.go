package inventory

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

const gib = 1 << 30

func disks() []Disk {
	return []Disk{
		{Name: "/dev/nvme0n1", Model: "Samsung SSD 980 PRO", Serial: "S1", WWN: "eui.0025385b11", Size: 100 * gib, Class: NVMePCIe, Tran: "nvme"},
		{Name: "/dev/sda", Model: "ST4000", Vendor: "SEAGATE", Serial: "Z1", WWN: "0x5000c500a1", Size: 400 * gib, Rotational: true, Class: SATA, Tran: "sata", HCTL: "0:0:0:0"},
		{Name: "/dev/sdb", Model: "ST4000", Vendor: "SEAGATE", Serial: "Z2", WWN: "0x5000c500a2", Size: 400*gib + 1, Rotational: true, Class: SATA, Tran: "sata", HCTL: "1:0:0:0"},
	}
}

func TestHintGrammar(t *testing.T) {
	for _, c := range []struct {
		hint  string
		value any
		want  string // the disks' letters: n, a, b
	}{
		{"serial", "S1", "n"}, {"serial", " s1 ", "n"}, {"serial", "s== Z1", "a"}, {"serial", "s!= Z1", "nb"},
		{"serial", "s< z1", "n"}, {"serial", "s<= z1", "na"}, {"serial", "s> z1", "b"}, {"serial", "s>= z1", "ab"},
		{"model", "samsung ssd 980 pro", "n"}, {"model", "<in> st4", "ab"}, {"model", "<all-in> pro 980", "n"},
		{"model", "<all-in> pro 99", ""}, {"serial", "<or> S1 <or> Z2", "nb"},
		{"vendor", "seagate", "ab"}, {"vendor", "s!= seagate", ""}, // an empty vendor never matches
		{"wwn", "0x5000c500a1", "a"}, {"wwn", "5000C500A1", "a"}, {"wwn", "eui.0025385b11", "n"}, {"wwn", "0025385b11", "n"},
		{"wwn", "s!= 5000c500a1", "nb"},
		{"size", 100, "n"}, {"size", 100.0, "n"}, {"size", "400", "a"}, {"size", "== 400", "a"}, {"size", "!= 400", "nb"},
		{"size", ">= 400", "ab"}, {"size", "= 400", "ab"}, {"size", "> 400", "b"}, {"size", "<400", "n"}, {"size", "<= 400", "na"},
		{"size", "<or> 100 <or> 400", "na"}, {"size", "<range-in> [ 100 400 ]", "na"}, {"size", "<range-in> (100 400]", "a"},
		{"size", "<range-in> [100 400)", "n"},
		{"rotational", true, "ab"}, {"rotational", "no", "n"}, {"name", "/dev/sda", "a"}, {"tran", "nvme", "n"}, {"hctl", "1:0:0:0", "b"},
	} {
		got, err := Select(disks(), map[string]any{c.hint: c.value})
		if err != nil {
			t.Errorf("%s=%v: %v", c.hint, c.value, err)
			continue
		}
		letters := ""
		for _, d := range got {
			letters += d.Name[strings.LastIndexAny(d.Name, "/d")+1:][:1]
		}
		if letters != c.want {
			t.Errorf("%s=%v: got %q, want %q", c.hint, c.value, letters, c.want)
		}
	}
}

func TestHintsRefused(t *testing.T) {
	for _, m := range []map[string]any{
		{"colour": "red"}, {"serial": 5}, {"serial": ""}, {"serial": "s=="}, {"serial": "<or>"}, {"model": ">= 5"},
		{"size": 0}, {"size": -1}, {"size": 1.5}, {"size": "ten"}, {"size": "<or>"}, {"size": "<range-in> 10 20"}, {"size": true},
		{"rotational": "maybe"}, {"rotational": 1.0}, {"serial": strings.Repeat("x", 2000)}, {"size": nil}, {"serial": nil},
	} {
		if _, err := ParseHints(m); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%v: got %v, want request.invalid", m, err)
		}
	}
}

func TestI04_RootNeedsExactlyOne(t *testing.T) {
	one := disks()[:1:1]
	usb := Disk{Name: "/dev/sdz", Serial: "U", Size: gib, Class: USB}
	boot := Disk{Name: "/dev/vda", Serial: "B", Size: gib, Class: VirtIO, BootMedium: true}
	ro := Disk{Name: "/dev/vdb", Serial: "R", Size: gib, Class: VirtIO, ReadOnly: true}
	twin := disks()[0]
	twin.Name = "/dev/nvme1n1"
	nameless := Disk{Name: "/dev/vdc", Size: gib, Class: VirtIO}
	for _, c := range []struct {
		name  string
		disks []Disk
		hints map[string]any
		skip  []any
		allow []Class
		want  string
		fails fault.Reason
	}{
		{"single, no hints", one, nil, nil, nil, "/dev/nvme0n1", ""},
		{"no disks", nil, nil, nil, nil, "", fault.DiskNone},
		{"several, no hints", disks(), nil, nil, nil, "", fault.DiskAmbiguous},
		{"several fit", disks(), map[string]any{"model": "st4000"}, nil, nil, "", fault.DiskAmbiguous},
		{"none fits", disks(), map[string]any{"serial": "nope"}, nil, nil, "", fault.DiskHint},
		{"all must fit", disks(), map[string]any{"serial": "Z1", "model": "other"}, nil, nil, "", fault.DiskHint},
		{"one fits", disks(), map[string]any{"model": "st4000", "size": "> 400"}, nil, nil, "/dev/sdb", ""},
		{"skip leaves one", disks(), nil, []any{map[string]any{"vendor": "seagate"}}, nil, "/dev/nvme0n1", ""},
		{"skipped is no candidate", one, map[string]any{"serial": "S1"}, []any{map[string]any{"serial": "S1"}}, nil, "", fault.DiskNone},
		{"usb, boot and read-only are none", append(one, usb, boot, ro), nil, nil, nil, "/dev/nvme0n1", ""},
		{"usb not even by hint", append(one, usb), map[string]any{"serial": "U"}, nil, nil, "", fault.DiskHint},
		{"usb allowed", append(one, usb), map[string]any{"serial": "U"}, nil, []Class{USB}, "/dev/sdz", ""},
		{"boot medium never", []Disk{boot}, map[string]any{"serial": "B"}, nil, []Class{VirtIO}, "", fault.DiskNone},
		{"twins", append(one, twin), map[string]any{"name": "/dev/nvme0n1"}, nil, nil, "", fault.DiskAmbiguous},
		{"nameless", []Disk{nameless}, nil, nil, nil, "", fault.DiskAmbiguous},
		{"malformed hint", one, map[string]any{"x": 1}, nil, nil, "", fault.RequestInvalid},
		{"malformed skip", one, nil, []any{"S1"}, nil, "", fault.RequestInvalid},
	} {
		d, err := Root(c.disks, c.hints, c.skip, c.allow...)
		if c.fails != "" && !fault.Has(err, c.fails) || c.fails == "" && (err != nil || d.Name != c.want) {
			t.Errorf("%s: got %q, %v; want %q %s", c.name, d.Name, err, c.want, c.fails)
		}
	}
	_, err := Root(disks(), map[string]any{"model": "st4000"}, nil)
	for _, want := range []string{"/dev/sda", "serial=Z1", "serial=Z2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("message lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "nvme") {
		t.Errorf("message names a disk that does not fit: %v", err)
	}
}

// TestI04_ARootDiskDoesNotMoveByChance: by the same hints it is the disk that it was, however the kernel counts now and whatever
// came; where it is gone, can't be written or was put elsewhere, none is named.
func TestI04_ARootDiskDoesNotMoveByChance(t *testing.T) {
	a := Disk{Name: "/dev/sda", Serial: "A", Size: gib, Class: SATA, HCTL: "0:0:0:0", ByPath: "/dev/disk/by-path/1", Model: "m"}
	b := Disk{Name: "/dev/sdb", Serial: "B", Size: gib, Class: SATA, HCTL: "1:0:0:0", ByPath: "/dev/disk/by-path/2", Model: "m"}
	id, _ := a.ID()
	swapped := func() []Disk { // the kernel found them in the other order, at the same places
		x, y := a, b
		x.Name, y.Name, x.HCTL, y.HCTL = b.Name, a.Name, b.HCTL, a.HCTL
		return []Disk{y, x}
	}
	changed := func(change func(*Disk)) []Disk { x := a; change(&x); return []Disk{x, b} }
	byName := map[string]any{"name": "/dev/sda"}
	for name, c := range map[string]struct {
		disks []Disk
		hints map[string]any
		skip  []any
		allow []Class
		want  string // its serial; "" with no fault: it is to be chosen anew
		fails fault.Reason
	}{
		"as it was":                     {disks: []Disk{a, b}, hints: byName, want: "A"},
		"counted anew, by name":         {disks: swapped(), hints: byName, want: "A"},
		"counted anew, by address":      {disks: swapped(), hints: map[string]any{"hctl": "0:0:0:0"}, want: "A"},
		"a second one came, no hints":   {disks: []Disk{b, a}, want: "A"},
		"a second one came that fits":   {disks: []Disk{b, a}, hints: map[string]any{"model": "m"}, want: "A"},
		"gone":                          {disks: []Disk{b}, hints: map[string]any{"model": "m"}, fails: fault.DiskMissing},
		"gone, and it was the only one": {fails: fault.DiskMissing},
		"another size":                  {disks: changed(func(d *Disk) { d.Size *= 2 }), fails: fault.DiskMissing},
		"put into another slot":         {disks: changed(func(d *Disk) { d.ByPath = "/dev/disk/by-path/9" }), hints: map[string]any{"by_path": a.ByPath}, fails: fault.DiskAmbiguous},
		"read-only":                     {disks: changed(func(d *Disk) { d.ReadOnly = true }), fails: fault.DiskProtected},
		"twice":                         {disks: append(swapped(), a), hints: byName, fails: fault.DiskAmbiguous},
		"skipped since":                 {disks: []Disk{a, b}, skip: []any{map[string]any{"serial": "A"}}},
		"gone and skipped since":        {disks: []Disk{b}, skip: []any{map[string]any{"serial": "A"}}},
		"its class not allowed since":   {disks: changed(func(d *Disk) { d.Class = USB })},
		"its class allowed":             {disks: changed(func(d *Disk) { d.Class = USB }), allow: []Class{USB}, want: "A"},
		"a malformed hint":              {disks: []Disk{a}, hints: map[string]any{"x": 1}, fails: fault.RequestInvalid},
		"a malformed skip":              {disks: []Disk{a}, skip: []any{"A"}, fails: fault.RequestInvalid},
	} {
		last := id
		if len(c.disks) > 0 && c.disks[0].Class == USB {
			last, _ = c.disks[0].ID()
		}
		d, ok, err := Again(c.disks, c.hints, c.skip, last, c.allow...)
		if c.fails != "" && !fault.Has(err, c.fails) || c.fails == "" && (err != nil || ok != (c.want != "") || d.Serial != c.want) {
			t.Errorf("%s: got %q %t, %v; want %q %s", name, d.Serial, ok, err, c.want, c.fails)
		}
		if err != nil && c.fails != fault.RequestInvalid && (!strings.Contains(err.Error(), "A") || fault.From(err).Hint == "") {
			t.Errorf("%s: the fault does not name the disk, or not what to do: %v", name, err)
		}
	}
}

func TestI05_TargetsLeaveNothingOut(t *testing.T) {
	usb := Disk{Name: "/dev/sdz", Serial: "U", Size: gib, Class: USB}
	ro := Disk{Name: "/dev/vdb", Serial: "R", Size: gib, Class: VirtIO, ReadOnly: true}
	boot := Disk{Name: "/dev/sr9", Serial: "B", Size: gib, Class: USB, BootMedium: true}
	nameless := Disk{Name: "/dev/vdc", Size: gib, Class: VirtIO}
	empty := Disk{Name: "/dev/vdd", Serial: "E", Class: VirtIO}
	twin := disks()[0]
	twin.Name = "/dev/nvme1n1"
	skip := func(serial string) []any { return []any{map[string]any{"serial": serial}} }
	for _, c := range []struct {
		name  string
		disks []Disk
		node  map[string]any
		want  int
		fails fault.Reason
	}{
		{"all", disks(), nil, 3, ""},
		{"boot medium is left out", append(disks(), boot), nil, 3, ""},
		{"skip", disks(), map[string]any{"skip_block_devices": skip("Z1")}, 2, ""},
		{"all skipped", disks()[:1], map[string]any{"skip_block_devices": skip("S1")}, 0, fault.DiskNone},
		{"no disks", nil, nil, 0, fault.DiskNone},
		{"usb", append(disks(), usb), nil, 0, fault.DiskRemote},
		{"usb skipped", append(disks(), usb), map[string]any{"skip_block_devices": skip("U")}, 3, ""},
		{"usb allowed", append(disks(), usb), map[string]any{"allow_device_classes": []any{"usb"}}, 4, ""},
		{"read-only", append(disks(), ro), nil, 0, fault.DiskProtected},
		{"read-only skipped", append(disks(), ro), map[string]any{"skip_block_devices": skip("R")}, 3, ""},
		{"no size", append(disks(), empty), nil, 0, fault.DiskProtected},
		{"nameless", append(disks(), nameless), nil, 0, fault.DiskAmbiguous},
		{"nameless skipped", append(disks(), nameless), map[string]any{"skip_block_devices": []any{map[string]any{"name": "/dev/vdc"}}}, 3, ""},
		{"twins", append(disks(), twin), nil, 0, fault.DiskAmbiguous},
		{"twin of a skipped disk", append(disks(), twin), map[string]any{"skip_block_devices": []any{map[string]any{"name": "/dev/nvme1n1"}}}, 0, fault.DiskAmbiguous},
		{"malformed skip list", disks(), map[string]any{"skip_block_devices": "Z1"}, 0, fault.RequestInvalid},
		{"malformed skip entry", disks(), map[string]any{"skip_block_devices": []any{map[string]any{"seriel": "Z1"}}}, 0, fault.RequestInvalid},
		{"empty skip entry", disks(), map[string]any{"skip_block_devices": []any{map[string]any{}}}, 0, fault.RequestInvalid},
		{"volume", disks(), map[string]any{"skip_block_devices": []any{map[string]any{"volume_name": "x"}}}, 0, fault.RequestInvalid},
		{"unknown class", disks(), map[string]any{"allow_device_classes": []any{"floppy"}}, 0, fault.RequestInvalid},
		{"malformed classes", disks(), map[string]any{"allow_device_classes": "usb"}, 0, fault.RequestInvalid},
	} {
		got, err := Targets(Inventory{Disks: c.disks}, c.node)
		if c.fails != "" && !fault.Has(err, c.fails) || c.fails == "" && (err != nil || len(got) != c.want) {
			t.Errorf("%s: got %d disks, %v; want %d %s", c.name, len(got), err, c.want, c.fails)
		}
	}
}

func TestSkippedWarnsOfEntriesWithoutDisk(t *testing.T) {
	kept, skipped, warnings, err := Skipped(disks(), []any{map[string]any{"serial": "Z1"}, map[string]any{"serial": "gone"}})
	if err != nil || len(kept) != 2 || len(skipped) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "serial=gone") {
		t.Fatalf("got %v %v %q %v", kept, skipped, warnings, err)
	}
}

func FuzzZ7_Hints(f *testing.F) {
	for _, s := range []string{
		`{"serial":"S1"}`, `{"size":">= 100","rotational":"yes"}`, `{"model":"<or> a <or> b c"}`, `{"size":"<range-in> ( 1 2 ]"}`,
		`{"wwn":"s!= 0x5"}`, `{"model":"<all-in> a b"}`, `{"size":"= 4"}`, `{"serial":"s== s== x"}`,
	} {
		f.Add(s)
	}
	all := disks()
	f.Fuzz(func(t *testing.T, s string) {
		var m map[string]any
		if json.Unmarshal([]byte(s), &m) != nil {
			return
		}
		hs, err := ParseHints(m)
		if err != nil {
			if !fault.Has(err, fault.RequestInvalid) {
				t.Fatalf("%s: %v", s, err)
			}
			return
		}
		again, err := ParseHints(hs.Map())
		if err != nil || !reflect.DeepEqual(hs, again) {
			t.Fatalf("%s: %#v became %#v, %v", s, hs, again, err)
		}
		for _, d := range all {
			if hs.Match(d) != again.Match(d) {
				t.Fatalf("%s: %s matches differently", s, d.Name)
			}
		}
		if d, err := Root(all, m, nil); err == nil && !hs.Match(d) {
			t.Fatalf("%s: root is %s, which does not match", s, d.Name)
		}
	})
}
