package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI04_ARebuildWritesTheSameDisk though the kernel counts the disks the other way round now; a failed deployment is not
// remembered, and what changes volumes forgets (requirements row 135).
func TestI04_ARebuildWritesTheSameDisk(t *testing.T) {
	l := newLife(t, nodetest.Disk0, nodetest.Disk1)
	l.s.Node.Properties["root_device"] = map[string]any{"name": nodetest.Disk1.Name}
	l.available()
	l.verb(state.VerbDeploy)
	l.bootWith(blink)
	if l.s.Node.Root != nil {
		t.Errorf("before a deployment has ended %+v is remembered", l.s.Node.Root)
	}
	l.runStep("deploy.write_image", l.left())
	id, _ := nodetest.Disk1.ID()
	if r := l.s.Node.Root; r == nil || r.Disk != id || r.Hints["name"] != nodetest.Disk1.Name {
		t.Fatalf("the deployment remembers %+v", r)
	}
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)

	x, y := nodetest.Disk0, nodetest.Disk1
	x.Name, y.Name = y.Name, x.Name
	l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{x, y}}
	l.s.Accepted = l.s.Seen
	l.verb(state.VerbRebuild)
	l.bootWith(blink)
	if r := l.running(); len(r.Command.Devices) != 1 || r.Command.Devices[0] != id {
		t.Errorf("the rebuild is to write %v, expected %v", r.Command.Devices, id)
	}
	l.runStep("deploy.write_image", l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)

	l.s.Seen = &inventory.Inventory{Disks: []inventory.Disk{x}}
	l.s.Accepted = l.s.Seen
	if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbRebuild}}); !fault.Has(err, fault.DiskMissing) {
		t.Errorf("a rebuild without the disk: %v", err)
	}
	l.want(state.Active)
}

// TestI04_VolumesThatChangeAreForgotten as soon as a step of theirs begins, however it ends; other steps change nothing.
func TestI04_VolumesThatChangeAreForgotten(t *testing.T) {
	for name, forgets := range map[string]bool{"raid.make_volumes": true, "vendor.blink": false} {
		l := newLife(t)
		l.active()
		if l.s.Node.Root == nil {
			t.Fatal("the deployment remembers no disk")
		}
		l.serve("vendor.blink")
		l.bootWith(blink)
		l.take(conductor.EffectOffer)
		r := l.running()
		r.Step.Name = name
		l.s.Steps = replace(l.s.Steps, r)
		if l.s.Node.Root == nil {
			t.Errorf("%s has not begun and the disk is forgotten", name)
		}
		l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
		if (l.s.Node.Root == nil) != forgets {
			t.Errorf("when %s has begun %v is remembered", name, l.s.Node.Root)
		}
	}
	l := newLife(t)
	l.available()
	l.s.Node.Root = &conductor.Root{}
	l.verb(state.VerbManage)
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}}})
	l.ok(conductor.StepBegan{ID: l.running().ID})
	if l.s.Node.Root == nil {
		t.Error("a step at the BMC that changes no volume forgets the disk")
	}
}
