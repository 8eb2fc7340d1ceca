package disks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func named(t *testing.T, name string) step.Step {
	t.Helper()
	for _, s := range catalog.InBand {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no step %s", name)
	return step.Step{}
}

const volumes = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": 100, "is_root_volume": true}, {"controller": "software", "raid_level": "0", "size_gb": "MAX"}]}`

func TestWhatAStepIsToBuild(t *testing.T) {
	n := conductor.Node{TargetRAID: object(t, volumes)}
	count := func(want map[string]any) int { list, _ := want["logical_disks"].([]any); return len(list) }
	for _, c := range []struct {
		step string
		args step.Args
		n    int
		says string
	}{
		{catalog.CreateRAID, nil, 2, ""},
		{catalog.CreateRAID, step.Args{"create_nonroot_volumes": false}, 1, ""},
		{catalog.CreateRAID, step.Args{"create_root_volume": false}, 0, "first logical disk must have raid_level 1"},
		{catalog.CreateRAID, step.Args{"create_root_volume": false, "create_nonroot_volumes": false}, 0, "nothing of the target"},
		{catalog.ApplyRAID, step.Args{"raid_config": object(t, volumes)}, 2, ""},
		{catalog.ApplyRAID, step.Args{"raid_config": map[string]any{}}, 0, "no target RAID configuration"},
		{catalog.ApplyRAID, step.Args{"raid_config": object(t, `{"logical_disks": [{"raid_level": "1"}]}`)}, 0, "size_gb is required"},
		{catalog.DeleteRAID, nil, 0, ""},
		{catalog.EraseStep, nil, 0, ""},
	} {
		got, err := Wanted(n, named(t, c.step), c.args)
		if (err != nil) != (c.says != "") || err != nil && (!fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s %v: %v, expected %q", c.step, c.args, err, c.says)
		} else if err == nil && count(got) != c.n {
			t.Errorf("%s %v: %v", c.step, c.args, got)
		}
	}
	// What a BMC builds is settled elsewhere.
	s := named(t, catalog.CreateRAID)
	s.Where = step.OutOfBand
	n.TargetRAID = object(t, `{"logical_disks": [{"raid_level": "6+0", "size_gb": 100}]}`)
	if _, err := Wanted(n, s, nil); err != nil {
		t.Error(err)
	}
}

// The root volume gets the image, whatever the hints say; a volume that is none never does (safety.md I4).
func TestI04_TheRootVolumeGetsTheImage(t *testing.T) {
	a := inventory.Disk{Name: "/dev/sda", Serial: "A", Size: 9, Class: inventory.SATA}
	b := inventory.Disk{Name: "/dev/sdb", Serial: "B", Size: 9, Class: inventory.SATA}
	id := func(d inventory.Disk) inventory.DeviceID { x, _ := d.ID(); return x }
	array := func(name, uuid string) inventory.Disk {
		return inventory.Disk{Name: "/dev/md/" + name, Serial: uuid, Size: 8, Class: inventory.MDRAID, Members: []inventory.DeviceID{id(a), id(b)}}
	}
	all := inventory.Inventory{Disks: []inventory.Disk{a, b, array("os", "u1"), array("data", "u2"), {Name: "/dev/sdc", Serial: "C", Size: 9, Class: inventory.SATA}}}
	n := conductor.Node{
		Properties: map[string]any{"root_device": map[string]any{"serial": "C"}},
		RAID:       object(t, `{"logical_disks": [{"controller": "software", "uuid": "u1", "is_root_volume": true}, {"controller": "software", "uuid": "u2"}]}`),
	}
	if d, err := Root(n, all); err != nil || d.Serial != "u1" {
		t.Errorf("got %v, %v", d, err)
	}
	ids, err := Of(n, &all, &all, step.AllDisks)
	if err != nil || len(ids) != 3 {
		t.Errorf("an erase covers %v, %v", ids, err)
	}
	gone := inventory.Inventory{Disks: []inventory.Disk{a, b, array("data", "u2")}}
	if d, err := Root(n, gone); !fault.Has(err, fault.DiskHint) || !strings.Contains(err.Error(), "u1") {
		t.Errorf("the root volume is gone: %v, %v", d, err)
	}
	n.Properties = nil
	n.RAID = object(t, `{"logical_disks": [{"controller": "software", "uuid": "u1"}, {"controller": "software", "uuid": "u2", "is_root_volume": false}]}`)
	two := inventory.Inventory{Disks: all.Disks[:4]}
	if d, err := Root(n, two); err != nil || d.Serial != "u1" {
		t.Errorf("the only volume that may: %v, %v", d, err)
	}
	n.RAID = object(t, `{"logical_disks": [{"controller": "RAID.1", "is_root_volume": true}]}`) // what a controller built shows as a disk
	n.Properties = map[string]any{"root_device": map[string]any{"serial": "C"}}
	if d, err := Root(n, all); err != nil || d.Serial != "C" {
		t.Errorf("a controller's volume: %v, %v", d, err)
	}
}

func TestAnInventoryFromBeforeTheArraysDecidesNothing(t *testing.T) {
	a := inventory.Disk{Name: "/dev/sda", Serial: "A", Size: 9, Class: inventory.SATA}
	ids := []inventory.DeviceID{{Serial: "A"}}
	os, esp := inventory.Disk{Name: "/dev/md/os", Serial: "u1", Class: inventory.MDRAID, Members: ids}, inventory.Disk{Name: "/dev/md/esp", Serial: "u2", Class: inventory.MDRAID, Members: ids}
	before, after := inventory.Inventory{Disks: []inventory.Disk{a}}, inventory.Inventory{Disks: []inventory.Disk{a, os, esp}}
	built := conductor.Node{RAID: object(t, `{"logical_disks": [{"controller": "software", "uuid": "u1"}]}`)}
	bare := conductor.Node{RAID: object(t, `{"logical_disks": [{"controller": "RAID.1"}]}`)}
	for i, c := range []struct {
		n    conductor.Node
		inv  inventory.Inventory
		want bool
	}{{built, before, true}, {built, after, false}, {bare, before, false}, {bare, after, true}} {
		if got := Restacked(c.n, c.inv); got != c.want {
			t.Errorf("case %d: %v", i, got)
		}
	}
}

// Where the operator built arrays of the disk of the last deployment, the image goes to one of them: its members are none.
func TestI04_ArraysThatWereBuiltSinceAreChosenAnew(t *testing.T) {
	a := inventory.Disk{Name: "/dev/sda", Serial: "A", Size: 9, Class: inventory.SATA}
	b := inventory.Disk{Name: "/dev/sdb", Serial: "B", Size: 9, Class: inventory.SATA}
	id, _ := a.ID()
	other, _ := b.ID()
	os := inventory.Disk{Name: "/dev/md/os", Serial: "u1", Size: 8, Class: inventory.MDRAID, Members: []inventory.DeviceID{id, other}}
	inv := inventory.Inventory{Disks: []inventory.Disk{a, b, os}}
	n := conductor.Node{Root: &conductor.Root{Disk: id}, RAID: object(t, `{"logical_disks": [{"controller": "software", "uuid": "u1"}]}`)}
	if d, err := Root(n, inv); err != nil || d.Serial != "u1" {
		t.Errorf("the array was built by the node's own step: %v, %v", d, err)
	}
	n.RAID = nil
	if d, err := Root(n, inv); !fault.Has(err, fault.DiskProtected) {
		t.Errorf("a stranger's array: %v, %v", d, err)
	}
}
