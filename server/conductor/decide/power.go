package decide

import (
	"cmp"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// power takes an operator's power act. It never cuts a step off unseen: the step is fenced first.
func (d *decider) power(e conductor.PowerAsked) {
	id := string(d.n.UUID)
	ef, target := conductor.Effect{Kind: conductor.EffectPower, Timeout: time.Duration(e.Ask.Timeout) * time.Second}, conductor.PowerOff
	switch e.Ask.Target {
	case "power on":
		ef.Power, target = conductor.On, conductor.PowerOn
	case "power off":
		ef.Power = conductor.ForceOff
	case "soft power off":
		ef.Power = conductor.GracefulShutdown
	case "rebooting":
		ef.Power, ef.Reboot, target = conductor.ForceOff, true, conductor.PowerOn
	case "soft rebooting":
		ef.Power, ef.Reboot, target = conductor.GracefulShutdown, true, conductor.PowerOn
	default:
		d.Refuse = fault.New(fault.RequestInvalid, "power target %q is not known", e.Ask.Target).
			WithHint("one of: power on, power off, rebooting, soft power off, soft rebooting")
		return
	}
	if d.Refuse = conductor.Confirmed(*d.n); d.Refuse != nil {
		return
	}
	if f := drivers.Check(d.n.Driver, drivers.Power, d.s.Interfaces[drivers.Power]); f != nil {
		d.Refuse = f.At(id, "")
		return
	}
	if d.Refuse = d.acting(); d.Refuse != nil {
		return
	}
	if target == conductor.PowerOn {
		if d.Refuse = conductor.Fenced(*d.n); d.Refuse != nil {
			return
		}
	}
	flow, busy := state.FlowOf(d.n.State)
	// An operator who has taken the node out of service may cut it off whatever it does: that is how a step that can't
	// be aborted is ended. Without maintenance Ironic's refusals stand, which clients know (F40).
	cut := e.Ask.Target == "power off" && d.n.Maintenance && d.open() != nil
	node := cmp.Or(d.n.Name, id)
	switch {
	case cut && d.n.PowerTarget == "" && !d.n.DisablePowerOff:
	case busy && flow.Flow == state.Clean && !d.held():
		d.Refuse = fault.New(fault.StateVerb, "power can't be changed while the node is %s", d.n.State).
			WithHint("abort the cleaning first: bessemer node abort %s; or cut it off: bessemer node maintenance set %[1]s, then bessemer node power off %[1]s", node).At(id, "")
		return
	case busy && (d.n.State == flow.Doing || d.atBMC() != nil), d.n.PowerTarget != "":
		d.Refuse = fault.New(fault.NodeBusy, "the node is busy (%s)", cmp.Or(string(d.n.PowerTarget), string(d.n.State))).At(id, "")
		return
	case d.n.DisablePowerOff && target == conductor.PowerOff:
		d.Refuse = fault.New(fault.NodeInUse, "power off is disabled for this node").
			WithHint("bessemer node set %s --disable-power-off false first", node).At(id, "")
		return
	}
	// last_error goes at once, as upstream's does; a failed state keeps the reason code until a verb leads out of it.
	d.n.LastError = ""
	if !state.IsFailed(d.n.State) {
		d.n.LastReason = ""
	}
	if d.open() != nil && (cut || !d.held()) && (target == conductor.PowerOff || ef.Reboot) {
		f := fault.New(fault.StepInterrupted, "the machine was powered off on request of %s", cmp.Or(e.Caller.Name, "an operator"))
		if r := d.running(); r != nil {
			f.Step = r.Step.Name
		}
		d.fail(f)
	}
	if b := d.n.Boot; b != nil && (target == conductor.PowerOff || ef.Reboot) {
		b.Ended = true // an agent that fast-track kept ends with the machine's power
	}
	if target == conductor.PowerOff || ef.Reboot {
		d.forget()
	}
	d.n.PowerTarget = target
	d.note("INFO", "power", 0, "%s asked for by %s", e.Ask.Target, cmp.Or(e.Caller.Name, "an operator"))
	d.effect(ef)
	d.audit("power."+strings.ReplaceAll(e.Ask.Target, " ", "_"), nil)
}

// held tells whether a hold keeps the node, in which nothing runs on any machine.
func (d *decider) held() bool {
	f, _ := state.FlowOf(d.n.State)
	r := d.running()
	return f.Held != "" && d.n.State == f.Held && d.open() != nil && r != nil && pauses(*r)
}

func (d *decider) powerDone(e conductor.EffectDone) {
	if d.n.PowerTarget != "" {
		d.n.PowerTarget, d.Changed = "", true
	}
	if e.Fault == nil {
		if d.n.Owed.Overdue() && e.Power == conductor.PowerOff {
			d.collect(true) // the BMC does what it is told again
		}
		return
	}
	d.lastError(e.Fault)
	d.note("ERROR", "power", 0, "%s", e.Fault.Error())
}
