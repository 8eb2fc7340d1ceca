package decide

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// mayDestroy fails the flow when a step that destroys data through the BMC may not run now (I1): in no other state than one
// that permits it, and on no node whose machine two claim to be.
func (d *decider) mayDestroy(r conductor.StepRecord) bool {
	if r.Step.Touches == step.Nothing {
		return true
	}
	switch b := d.n.Boot; {
	case !state.Destroys(d.n.State):
		d.fail(fault.New(fault.StepNotOffered, "state %q does not permit writing to disks", d.n.State).At("", r.Step.Name))
	case b != nil && b.Contested && !b.Ended:
		d.fail(fault.New(fault.NodeContested, "two machines claimed to be this node in boot %d: nothing is destroyed until that is settled", b.Generation).At("", r.Step.Name))
	default:
		return true
	}
	return false
}

// raided takes what a step of the RAID interface has left: raid_config is what the step read back, never what was asked for. What
// an erase has taken is told of no more, either.
func (d *decider) raided(r conductor.StepRecord) {
	if left, changed := disks.AfterErase(*d.n, d.s.Seen, r); changed {
		was := d.n.RAID
		d.n.RAID = raid.Built(left, d.now)
		d.n.Properties = raid.Describe(d.n.Properties, was, d.n.RAID)
	}
	if r.Step.Interface() != "raid" {
		return
	}
	data := map[string]any{}
	if r.Result != nil {
		data = r.Result.Data
	}
	built, _ := data[catalog.BuiltRAID].(map[string]any)
	if list, told := built["logical_disks"].([]any); told {
		was := d.n.RAID
		d.n.RAID = raid.Built(list, d.now)
		d.n.Properties = raid.Describe(d.n.Properties, was, d.n.RAID)
	}
	if config, ok := r.Args[catalog.ArgRAID].(map[string]any); ok && r.Step.Name == catalog.ApplyRAID {
		d.n.TargetRAID = config
	}
	same := r.State == conductor.StepAborted || r.State == conductor.StepSucceeded && data["created"] == 0.0 && data["deleted"] == 0.0
	if r.Step.Touches == step.Volumes && !same {
		d.redrawn(r)
	}
}

// redrawn says that the machine has other disks now, or may have: those of the inventories before are not missed, and none of
// them is written to (docs/adr/0287-other-disks-after-a-volume.md).
func (d *decider) redrawn(r conductor.StepRecord) {
	if d.n.DisksChanged {
		return
	}
	d.n.DisksChanged = true
	d.note("WARNING", "step", 0, "step %s changed which disks there are: the disks that were accepted before are not compared with any more; the next boot of the ramdisk brings those that are", r.Step.Name)
	d.audit("disks.changed", map[string]any{"step": r.Step.Name, "id": r.ID})
}
