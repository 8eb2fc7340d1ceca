package decide

import (
	"encoding/json"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
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
	devices, err := d.devices(r.Step.Touches)
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
	d.put(r)
	d.wait("agent", "the agent to start step "+r.Step.Name, d.s.Timeouts.Start, fault.FlowSilent)
	d.effect(conductor.Effect{Kind: conductor.EffectOffer, Step: r.ID, Generation: d.n.Boot.Generation})
}

// devices are the disks a step may touch, from what this boot's lookup brought. A disk that the last inspection saw
// and that is gone now is a failure (I5), not less work.
func (d *decider) devices(t step.Touch) ([]inventory.DeviceID, error) {
	if t == step.Nothing {
		return nil, nil
	}
	if d.s.Seen == nil {
		return nil, fault.New(fault.DiskNone, "the ramdisk brought no inventory")
	}
	if t == step.RootDisk {
		disk, err := fit.RootDisk(*d.n, *d.s.Seen)
		if err != nil {
			return nil, err
		}
		id, _ := disk.ID()
		return []inventory.DeviceID{id}, nil
	}
	disks, err := inventory.Targets(*d.s.Seen, d.n.Properties)
	if err != nil {
		return nil, err
	}
	var out []inventory.DeviceID
	for _, disk := range disks {
		id, _ := disk.ID()
		out = append(out, id)
	}
	if d.s.Accepted != nil {
		before, err := inventory.Targets(*d.s.Accepted, d.n.Properties)
		if err != nil {
			return nil, err
		}
		for _, disk := range before {
			if id, _ := disk.ID(); !slices.Contains(out, id) {
				return nil, fault.New(fault.DiskMissing, "the disk with %s, seen by the last inspection, is not there now", id)
			}
		}
	}
	return out, nil
}

// erased checks that every device to be erased has a verified record of this run (I5). A run that erases nothing was
// audited when it began.
func (d *decider) erased() error {
	i := slices.IndexFunc(d.s.Steps, func(r conductor.StepRecord) bool {
		return r.Step.Name == catalog.EraseStep && r.State == conductor.StepSucceeded
	})
	if i < 0 {
		if d.n.Flow.Excluded {
			return nil
		}
		return fault.New(fault.DiskNotErased, "no step of this cleaning erased the disks")
	}
	want, err := d.devices(step.AllDisks)
	if err != nil {
		return err
	}
	var records []catalog.Erased
	if r := d.s.Steps[i].Result; r != nil {
		raw, err := json.Marshal(r.Data["devices"])
		if err == nil {
			err = json.Unmarshal(raw, &records)
		}
		if err != nil {
			return fault.New(fault.DiskNotErased, "the erase step's record can't be read").Because(err)
		}
	}
	for _, id := range want {
		if !slices.ContainsFunc(records, func(r catalog.Erased) bool { return r.ID == id && r.Whole() }) {
			return fault.New(fault.DiskNotErased, "no verified erase record for the disk with %s", id)
		}
	}
	return nil
}
