package decide

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// live tells whether the current boot generation is still good.
func (d *decider) live() bool {
	b := d.n.Boot
	return b != nil && !b.Ended && !b.Contested
}

// offer names the devices of the step and hands it to the agent (I1, I4, I20).
func (d *decider) offer(r conductor.StepRecord) {
	if r.Step.Touches != step.Nothing {
		if d.n.Boot.Level < api.A1 {
			d.fail(fault.New(fault.StepLevel, "the ramdisk proved level A%d, the step needs A1", d.n.Boot.Level).At("", r.Step.Name))
			return
		}
		if !state.Destroys(d.n.State) {
			d.fail(fault.New(fault.StepNotOffered, "state %q does not permit writing to disks", d.n.State).At("", r.Step.Name))
			return
		}
	}
	want, err := disks.Wanted(*d.n, r.Step, r.Args)
	if err != nil {
		d.fail(fault.From(err).At("", r.Step.Name))
		return
	}
	devices, err := disks.Of(*d.n, d.s.Seen, d.s.Accepted, r.Step.Touches)
	if err != nil {
		d.fail(fault.From(err).At("", r.Step.Name))
		return
	}
	d.waiting()
	d.n.Flow.Phase = conductor.PhaseAgent
	d.move(&r, conductor.AttemptOffer)
	r.Offered, r.Generation, r.Deadline = d.now, d.n.Boot.Generation, d.now.Add(d.s.Timeouts.Start)
	r.Command = &api.Command{
		ID: r.ID, Step: r.Step.Name, Flow: d.n.Flow.Flow, Args: r.Args, Devices: devices, Node: d.n.Properties,
		Timeout: r.Step.Timeout, Destroys: r.Step.Touches != step.Nothing,
		Resume: slices.DeleteFunc(slices.Clone(r.Resume), func(c step.Checkpoint) bool { return !slices.Contains(devices, c.Disk) }),
	}
	if r.Step.Interface() == drivers.RAID {
		r.Command.Node = maps.Clone(d.n.Properties)
		if r.Command.Node == nil {
			r.Command.Node = map[string]any{}
		}
		r.Command.Node[catalog.RunOf] = fmt.Sprintf("%s/%d", r.Run, r.Order)
		delete(r.Command.Node, catalog.TargetRAID)
		if want != nil {
			r.Command.Node[catalog.TargetRAID] = want
		}
	}
	d.put(r)
	d.wait("agent", "the agent to start step "+r.Step.Name, d.s.Timeouts.Start, fault.FlowSilent)
	d.effect(conductor.Effect{Kind: conductor.EffectOffer, Step: r.ID, Generation: d.n.Boot.Generation})
}
