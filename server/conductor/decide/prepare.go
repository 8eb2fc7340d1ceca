package decide

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// learn takes over what a BMC has just said.
func (d *decider) learn(f *conductor.Facts) {
	if f == nil {
		return
	}
	d.n.BMC, d.Changed = fit.Known(*d.n, *f), true
	if f.Power != "" {
		d.n.Power = f.Power
	}
	d.n.BootMode, d.n.SecureBoot, d.n.Health = f.BootMode, f.SecureBoot, f.Health
	d.n.Vendor, d.n.Model = f.Vendor, f.Model
}

// meet takes the machine that the BMC shows for the node's, whichever it was before: an operator asked to look (F24).
func (d *decider) meet(f *conductor.Facts) {
	if f != nil {
		d.n.Machine, d.Changed = identity(f), true
	}
}

func identity(f *conductor.Facts) conductor.Identity { return conductor.IdentityOf(f.UUID, f.Serial) }

// firstAid tells a step that makes a BMC well from one that needs a BMC that is well.
func firstAid(s step.Step) bool {
	return s.Where == step.OutOfBand && strings.HasPrefix(s.Name, "management.")
}

// prepare asks the BMC what it can do before the first act of a flow that boots the machine, and not again in the same
// run. It is true while the answer is waited for.
func (d *decider) prepare() bool {
	f := d.n.Flow
	if f.Prepared {
		return false
	}
	d.doing()
	f.Phase = conductor.PhasePrepare
	d.wait("bmc", "the BMC to say whether it can do what the work needs", d.s.Timeouts.BMC+d.s.Timeouts.Power, fault.BMCUnreachable)
	d.effect(conductor.Effect{Kind: conductor.EffectPrepare})
	return true
}

// impossible refuses a verb whose flow the BMC is known not to be able to carry out. A deletion is not held up by that:
// the cleaning after it says so.
func (d *decider) impossible(f state.Flow, plan plan.Plan) error {
	if d.tearDown || plan.Boots == 0 && f != state.Deploy && f != state.Inspect {
		return nil
	}
	if err := fit.For(*d.n, d.s.Interfaces, f); err != nil {
		return err.At(string(d.n.UUID), "")
	}
	return nil
}

// unprepared tells whether the flow has yet to ask the BMC before it goes on with r. A step of first aid goes first: the
// BMC may be of no use before it. What is left of a clean whose ramdisk runs already needs no further boot.
func (d *decider) unprepared(r conductor.StepRecord) bool {
	f := d.n.Flow
	if f.Prepared || f.Pretend || firstAid(r.Step) || f.Flow != state.Deploy && r.Step.Where == step.InBand && d.live() {
		return false
	}
	return f.Flow == state.Deploy || slices.ContainsFunc(d.s.Steps, func(s conductor.StepRecord) bool {
		return s.State == conductor.StepPlanned && s.Step.Where == step.InBand
	})
}

// prepared goes on when the BMC can do what the flow needs. Nothing has been done to the machine so far.
func (d *decider) prepared(e conductor.EffectDone) {
	if e.Fault != nil {
		d.fail(e.Fault)
		return
	}
	if e.Facts != nil {
		is, err := conductor.Recognise(*d.n, identity(e.Facts))
		if err != nil {
			d.fail(fault.From(err))
			return
		}
		d.n.Machine = is
	}
	d.learn(e.Facts)
	f := d.n.Flow
	if err := fit.For(*d.n, d.s.Interfaces, f.Flow); err != nil {
		d.fail(err)
		return
	}
	f.Prepared, d.Changed = true, true
	if k := d.n.BMC; k != nil && d.s.Interfaces[drivers.Boot] == drivers.HTTPBoot && !f.Pretend && (f.Flow != state.Deploy || d.n.LiveISO == "") {
		// The boot interface may have been chosen since the node was taken under management, and this is why the boot will fail.
		for _, w := range k.Doubts {
			if w.Reason == fault.BootNotTrusted {
				d.warn(w)
			}
		}
	}
	if f.Flow == state.Inspect && f.Pretend {
		d.finish()
		return
	}
	if f.Flow == state.Inspect {
		d.boot()
		return
	}
	f.Phase = conductor.PhaseSteps
	d.next()
}

// warn tells of what the BMC is doubted for.
func (d *decider) warn(doubts ...conductor.Doubt) {
	for _, w := range doubts {
		d.note("WARNING", "verify", 0, "%s", w.Message)
		d.History[len(d.History)-1].Reason = w.Reason
	}
}
