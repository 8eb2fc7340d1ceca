package disks

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI04_TheRootDiskIsTheLastDeployments while the hints are those that chose it; other hints choose anew (requirements row 135).
func TestI04_TheRootDiskIsTheLastDeployments(t *testing.T) {
	first, second := nodetest.Disk0, nodetest.Disk1
	first.Name, second.Name = second.Name, first.Name // the kernel counts them the other way since
	both := inventory.Inventory{Disks: []inventory.Disk{second, first}}
	id, _ := nodetest.Disk0.ID()
	byName, bySerial := map[string]any{"name": "/dev/nvme0n1"}, map[string]any{"serial": "S1"}
	for name, c := range map[string]struct {
		root     *conductor.Root
		property map[string]any
		instance map[string]any
		inv      inventory.Inventory
		want     string
		fails    fault.Reason
		moved    string // what the plan says of it
	}{
		"never deployed":                 {property: byName, inv: both, want: "S1"},
		"the same hints":                 {root: &conductor.Root{Disk: id, Hints: byName}, property: byName, inv: both, want: "S0", moved: "S1"},
		"the same, of the instance":      {root: &conductor.Root{Disk: id, Hints: byName}, instance: byName, property: bySerial, inv: both, want: "S0", moved: "S1"},
		"other hints":                    {root: &conductor.Root{Disk: id, Hints: byName}, property: bySerial, inv: both, want: "S1"},
		"hints where there were none":    {root: &conductor.Root{Disk: id}, property: byName, inv: both, want: "S1"},
		"none, as before, and two disks": {root: &conductor.Root{Disk: id}, inv: both, want: "S0", moved: "no root device hints"},
		"none, as before: an empty one":  {root: &conductor.Root{Disk: id}, property: map[string]any{}, inv: both, want: "S0", moved: "no root device hints"},
		"none any more, and two disks":   {root: &conductor.Root{Disk: id, Hints: byName}, inv: both, fails: fault.DiskAmbiguous},
		"gone":                           {root: &conductor.Root{Disk: id, Hints: byName}, property: byName, inv: inventory.Inventory{Disks: []inventory.Disk{second}}, fails: fault.DiskMissing},
	} {
		n := nodetest.Snapshot().Node
		n.Root = c.root
		if c.property != nil {
			n.Properties["root_device"] = c.property
		}
		if c.instance != nil {
			n.InstanceInfo["root_device"] = c.instance
		}
		d, err := Root(n, c.inv)
		if c.fails == "" && (err != nil || d.Serial != c.want) || c.fails != "" && !fault.Has(err, c.fails) {
			t.Errorf("%s: %q, %v; want %q %s", name, d.Serial, err, c.want, c.fails)
		}
		if moved := Kept(n, c.inv); c.fails == "" && ((moved == "") != (c.moved == "") || !strings.Contains(moved, c.moved)) {
			t.Errorf("%s: the plan says %q, expected %q", name, moved, c.moved)
		}
	}
}

// TestI04_ADeploymentRemembersItsDisk: the one that its last attempt to write was given. One that writes none changes nothing.
func TestI04_ADeploymentRemembersItsDisk(t *testing.T) {
	id0, _ := nodetest.Disk0.ID()
	id1, _ := nodetest.Disk1.ID()
	wrote := func(id inventory.DeviceID) conductor.StepRecord {
		return conductor.StepRecord{Step: step.Step{Name: catalog.WriteStep}, State: conductor.StepSucceeded, Command: &api.Command{Devices: []inventory.DeviceID{id}}}
	}
	n := nodetest.Snapshot().Node
	n.Properties["root_device"] = map[string]any{"serial": "S1"}
	if r := Chosen(n, []conductor.StepRecord{wrote(id0), wrote(id1)}); r == nil || r.Disk != id1 || r.Hints["serial"] != "S1" {
		t.Errorf("remembered is %+v", r)
	}
	n.Root = &conductor.Root{Disk: id0}
	if r := Chosen(n, []conductor.StepRecord{{Step: step.Step{Name: catalog.EraseStep}, State: conductor.StepSucceeded}}); r != n.Root {
		t.Errorf("a deployment that writes nothing remembers %+v", r)
	}
}
