package inventory

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func plain(name, serial string, class Class) Disk {
	return Disk{Name: "/dev/" + name, Serial: serial, Size: 100, Class: class}
}

func arrayed(name, uuid string, of ...Disk) Disk {
	a := Disk{Name: "/dev/md/" + name, Serial: uuid, Size: 90, Class: MDRAID}
	for _, d := range of {
		id, _ := d.ID()
		a.Members = append(a.Members, id)
	}
	return a
}

// The image goes to the array and never to a member of one (safety.md I2, I4).
func TestI04_AnArrayIsTheRootDiskAndItsMembersAreNot(t *testing.T) {
	a, b, c := plain("sda", "A", SATA), plain("sdb", "B", SATA), plain("sdc", "C", SATA)
	os, esp := arrayed("os", "u1", a, b), arrayed("esp", "u2", a, b)
	if got, err := Root([]Disk{a, b, os, esp}, nil, nil); err != nil || got.Serial != "u1" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Root([]Disk{a, b, c, os, esp}, nil, nil); !fault.Has(err, fault.DiskAmbiguous) {
		t.Errorf("an array beside a disk: %v, %v", got, err)
	}
	if got, err := Root([]Disk{a, b, c, os, esp}, map[string]any{"serial": "u1"}, nil); err != nil || got.Serial != "u1" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Root([]Disk{a, b, c, os}, map[string]any{"serial": "A"}, nil); !fault.Has(err, fault.DiskHint) {
		t.Errorf("a member got the image: %v, %v", got, err)
	}
	for name, spoil := range map[string]func(d *Disk){
		"read-only": func(d *Disk) { d.ReadOnly = true }, "not local": func(d *Disk) { d.Class = USB }, "boot medium": func(d *Disk) { d.BootMedium = true },
	} {
		bad := b
		spoil(&bad)
		if got, err := Root([]Disk{a, bad, arrayed("os", "u1", a, bad)}, nil, nil); !fault.Has(err, fault.DiskNone) || !strings.Contains(err.Error(), "sdb") {
			t.Errorf("an array with a member that is %s: %v, %v", name, got, err)
		}
	}
	if got, err := Root([]Disk{a, os}, nil, nil); !fault.Has(err, fault.DiskNone) {
		t.Errorf("an array with a member that is gone: %v, %v", got, err)
	}
}

// A skipped array keeps its disks, and a skipped disk its arrays.
func TestI02_SkippingReachesOverArrays(t *testing.T) {
	a, b, c := plain("sda", "A", SATA), plain("sdb", "B", SATA), plain("sdc", "C", SATA)
	one, two := arrayed("one", "u1", a, b), arrayed("two", "u2", b, c)
	all := []Disk{a, b, c, one, two, plain("sdd", "D", SATA)}
	for _, skip := range []string{"u1", "C", "u2", "A"} {
		kept, skipped, _, err := Skipped(all, []any{map[string]any{"serial": skip}})
		if err != nil || len(kept) != 1 || kept[0].Serial != "D" || len(skipped) != 5 {
			t.Errorf("%s skipped: kept %v, %v", skip, kept, err)
		}
	}
}

// An erase covers an array by its members, and one whose members are not known not at all (safety.md I5).
func TestI05_AnArrayIsErasedWithItsMembers(t *testing.T) {
	a, b := plain("sda", "A", SATA), plain("sdb", "B", SATA)
	got, err := Targets(Inventory{Disks: []Disk{a, b, arrayed("os", "u1", a, b)}}, nil)
	if err != nil || len(got) != 2 || got[0].Serial != "A" || got[1].Serial != "B" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Targets(Inventory{Disks: []Disk{a, b, arrayed("os", "u1")}}, nil); !fault.Has(err, fault.DiskRemote) {
		t.Errorf("a running array: %v, %v", got, err)
	}
}

// A disk that is kept from an erase only because its array reaches over a skipped disk is told, never left out in silence: who
// used the machine before made that array (safety.md I5).
func TestI05_AnArrayOverASkippedDiskHidesNoOther(t *testing.T) {
	a, b, c := plain("sda", "A", SATA), plain("sdb", "B", SATA), plain("sdc", "C", SATA)
	all := Inventory{Disks: []Disk{a, b, c, arrayed("theirs", "u1", a, b)}}
	skip := func(serials ...string) map[string]any {
		var out []any
		for _, s := range serials {
			out = append(out, map[string]any{"serial": s})
		}
		return map[string]any{"skip_block_devices": out}
	}
	if got, err := Targets(all, skip("B")); !fault.Has(err, fault.DiskProtected) || !strings.Contains(err.Error(), "sda") || !strings.Contains(err.Error(), "theirs") {
		t.Errorf("one member is skipped: %v, %v", got, err)
	}
	named := map[string]any{"skip_block_devices": []any{map[string]any{"name": "/dev/md/theirs"}}}
	if got, err := Targets(all, named); !fault.Has(err, fault.DiskProtected) {
		t.Errorf("an array that is named as its maker liked: %v, %v", got, err)
	}
	for _, s := range []map[string]any{skip("A", "B"), skip("u1")} { // the operator's own words
		if got, err := Targets(all, s); err != nil || len(got) != 1 || got[0].Serial != "C" {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
}

// The disk of the last deployment gets no image when it has become a member of an array (safety.md I2, I4).
func TestI04_AKeptRootDiskThatIsAMemberIsRefused(t *testing.T) {
	a, b := plain("sda", "A", SATA), plain("sdb", "B", SATA)
	last, _ := a.ID()
	for _, of := range [][]Disk{{a, b}, {a}} {
		if got, ok, err := Again([]Disk{a, b, arrayed("os", "u1", of...)}, nil, nil, last); !fault.Has(err, fault.DiskProtected) || !strings.Contains(err.Error(), "/dev/md/os") {
			t.Errorf("an array of %d: %v, %v, %v", len(of), got, ok, err)
		}
	}
}

// However a machine strings its arrays together, what a skipped disk means is found in one look at each (safety.md I25): the
// longest string that a lookup can hold, in the order that is the worst for looking again and again, ends before the test's time does.
func TestI25_AStringOfArraysIsFollowedOnce(t *testing.T) {
	const n = 2000
	var disks, arrays []Disk
	for i := range n {
		disks = append(disks, plain("x", fmt.Sprint("S", i), SATA))
		if i > 0 {
			arrays = append([]Disk{arrayed("a", fmt.Sprint("u", i), disks[i-1], disks[i])}, arrays...)
		}
	}
	kept, skipped, _, err := Skipped(append(arrays, disks...), []any{map[string]any{"serial": "S0"}})
	if err != nil || len(kept) != 0 || len(skipped) != 2*n-1 {
		t.Errorf("%d kept, %d skipped, %v", len(kept), len(skipped), err)
	}
}
