package decide

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
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

const (
	mirrored = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": "MAX", "is_root_volume": true}]}`
	wasBuilt = `{"logical_disks": [{"controller": "software", "raid_level": "1", "size_gb": 7, "is_root_volume": true, "uuid": "u1", "volume_name": "md0"}]}`
)

// software makes a node's RAID interface agent.
func (l *life) software() {
	l.t.Helper()
	l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"raid": "agent"})
	t, _ := drivers.Named("redfish")
	var offered []step.Step
	for _, s := range slices.Concat(catalog.Redfish, catalog.InBand) {
		if t.Offers(l.s.Interfaces, s) {
			offered = append(offered, s)
		}
	}
	reg, err := step.NewRegistry(offered...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.s.Registry = reg
}

// mirror is the array that wasBuilt tells of.
func mirror() inventory.Disk {
	id0, _ := nodetest.Disk0.ID()
	id1, _ := nodetest.Disk1.ID()
	return inventory.Disk{Name: "/dev/md/md0", Serial: "u1", Size: 7 << 30, Class: inventory.MDRAID, Members: []inventory.DeviceID{id0, id1}}
}

// A cleaning builds the node's target, filtered, of all its disks; each attempt is told of the same run. What was built is
// recorded, and no echo of what was asked for.
func TestF15_SoftwareRAIDIsBuiltAndRecorded(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.software()
	l.s.Node.TargetRAID = object(t, mirrored)
	l.s.Node.Properties = map[string]any{"skip_block_devices": []any{}, catalog.TargetRAID: "somebody's own"}
	l.cleaning(catalog.DeleteRAID, catalog.CreateRAID)
	l.boot()
	if c := l.running().Command; len(c.Devices) != 2 || !c.Destroys || c.Node[catalog.TargetRAID] != nil || c.Node["skip_block_devices"] == nil {
		t.Errorf("the deletion is told %+v", c)
	}
	l.s.Node.RAID = object(t, wasBuilt)
	l.runStep(catalog.DeleteRAID, map[string]any{catalog.BuiltRAID: map[string]any{"logical_disks": []any{}}})
	if list := l.s.Node.RAID["logical_disks"].([]any); len(list) != 0 {
		t.Errorf("after the deletion raid_config is %v", l.s.Node.RAID)
	}
	first := l.claim()
	if list := first.Command.Node[catalog.TargetRAID].(map[string]any)["logical_disks"].([]any); len(list) != 1 || len(first.Command.Devices) != 2 {
		t.Errorf("it is told %+v", first.Command)
	}
	l.silence()
	l.boot()
	second := l.running()
	if second.Attempt != 2 || second.ID == first.ID || second.Command.Node[catalog.RunOf] != first.Command.Node[catalog.RunOf] || first.Command.Node[catalog.RunOf] == nil {
		t.Errorf("the second attempt is told %v after %v", second.Command.Node[catalog.RunOf], first.Command.Node[catalog.RunOf])
	}
	l.runStep(catalog.CreateRAID, map[string]any{catalog.BuiltRAID: object(t, wasBuilt)})
	n := l.s.Node
	if list := n.RAID["logical_disks"].([]any); len(list) != 1 || list[0].(map[string]any)["uuid"] != "u1" || n.RAID["last_updated"] == nil || n.Properties["local_gb"] != 7.0 {
		t.Errorf("raid_config %v, properties %v", n.RAID, n.Properties)
	}
	l.take(conductor.EffectFinish)
}

// A target that can't be built fails before anything is booted.
func TestSoftwareRAIDIsCheckedBeforeTheBoot(t *testing.T) {
	for text, says := range map[string]string{
		`{}`: "no target RAID configuration",
		`{"logical_disks": [{"raid_level": "0", "size_gb": 1, "controller": "software"}]}`: "first logical disk",
	} {
		l := newLife(t)
		l.software()
		l.s.Node.TargetRAID = object(t, text)
		l.cleaning(catalog.CreateRAID)
		l.want(state.CleanFail)
		if len(l.effects) != 0 || !strings.Contains(l.s.Node.LastError, says) || l.s.Node.LastReason != fault.RequestInvalid {
			t.Errorf("%s; effects %v", l.s.Node.LastError, l.kinds())
		}
	}
}

// A deployment that builds arrays boots anew before it writes the image, and only the array gets it (safety.md I1, I4).
func TestI04_TheImageGoesToTheArrayThatWasBuilt(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1) // and no hints: two disks alone would be refused
	l.software()
	l.manageable()
	l.s.Node.State = state.Available
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: []step.Wanted{
		{Name: catalog.ApplyRAID, Priority: 90, Args: step.Args{"raid_config": object(t, mirrored)}},
	}}})
	l.boot()
	generation := l.s.Node.Generation
	l.runStep(catalog.ApplyRAID, map[string]any{catalog.BuiltRAID: object(t, wasBuilt)})
	l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0, nodetest.Disk1, mirror()}}
	l.boot()
	r := l.running()
	want, _ := mirror().ID()
	if l.s.Node.Generation != generation+1 || r.Step.Name != catalog.WriteStep || len(r.Command.Devices) != 1 || r.Command.Devices[0] != want {
		t.Fatalf("boot %d after %d offers %s on %v", l.s.Node.Generation, generation, r.Step.Name, r.Command.Devices)
	}
	l.runStep(catalog.WriteStep, l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)
	if l.s.Node.Flow == nil || l.s.Node.RAID == nil {
		t.Error("raid_config is gone")
	}
}

// An automated cleaning erases the arrays with their disks (safety.md I5) and builds them anew for the next instance.
func TestI05_ArraysAreErasedAndBuiltAnew(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.software()
	l.manageable()
	l.s.Node.TargetRAID, l.s.Node.RAID = object(t, mirrored), object(t, wasBuilt)
	l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0, nodetest.Disk1, mirror()}}
	l.s.Accepted = l.s.Seen
	l.verb(state.VerbProvide)
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	if d := l.running().Command.Devices; len(d) != 2 {
		t.Errorf("the erase covers %v", d)
	}
	l.runStep(catalog.EraseStep, records(nodetest.Disk0, nodetest.Disk1))
	anew := object(t, wasBuilt)
	anew["logical_disks"].([]any)[0].(map[string]any)["uuid"] = "u2"
	l.runStep(catalog.CreateRAID, map[string]any{catalog.BuiltRAID: anew})
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
	l.want(state.Available)
	if got := l.s.Node.RAID["logical_disks"].([]any)[0].(map[string]any)["uuid"]; got != "u2" {
		t.Errorf("raid_config tells of %v", got)
	}
	for name, none := range map[string]func(n *conductor.Node){
		"no arrays": func(n *conductor.Node) { n.RAID = nil },
		"no target": func(n *conductor.Node) { n.TargetRAID = nil },
	} {
		l := newLife(t)
		l.software()
		l.manageable()
		l.s.Node.TargetRAID, l.s.Node.RAID = object(t, mirrored), object(t, wasBuilt)
		none(&l.s.Node)
		l.verb(state.VerbProvide)
		for _, r := range l.s.Steps {
			if r.Step.Name == catalog.CreateRAID {
				t.Errorf("%s: arrays are built", name)
			}
		}
	}
}

// An array whose members were erased is told of no more, where no target has it built anew: the next image would be looked a place
// for on it. With a target the record stays, since a cleaning that is cut off before the arrays are built again must know of them.
func TestI05_ErasedArraysAreNotRecordedAnyMore(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		array  func(*inventory.Disk)
		left   int
	}{
		"no target":         {"", func(*inventory.Disk) {}, 0},
		"a target":          {mirrored, func(*inventory.Disk) {}, 1},
		"a member was kept": {"", func(d *inventory.Disk) { d.Members = append(d.Members, inventory.DeviceID{Serial: "kept"}) }, 1},
		"not seen":          {"", func(d *inventory.Disk) { d.Serial = "u2" }, 1},
	} {
		l := newLife(t, nodetest.Disk0, nodetest.Disk1)
		l.software()
		l.manageable()
		l.s.Node.RAID = object(t, wasBuilt)
		array := mirror()
		c.array(&array)
		l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{nodetest.Disk0, nodetest.Disk1, array}}
		l.s.Accepted = l.s.Seen
		l.verb(state.VerbProvide)
		l.boot()
		if l.s.Node.TargetRAID = nil; c.target != "" {
			l.s.Node.TargetRAID = object(t, c.target)
		}
		l.runStep("deploy.erase_devices_metadata", nil)
		l.runStep(catalog.EraseStep, records(nodetest.Disk0, nodetest.Disk1))
		if list, ok := l.s.Node.RAID["logical_disks"].([]any); !ok || len(list) != c.left {
			t.Errorf("%s: raid_config tells of %v", name, l.s.Node.RAID)
		}
	}
}
