package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/disks"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// next goes on with the plan: the first planned step, or the end. The ramdisk is booted only when a step needs it.
func (d *decider) next() {
	f := d.open()
	if f.Aborting {
		d.aborted()
		return
	}
	if d.strange() {
		d.fail(d.unknownType())
		return
	}
	i := slices.IndexFunc(d.s.Steps, func(r conductor.StepRecord) bool { return r.State == conductor.StepPlanned })
	if i < 0 {
		if f.Flow == state.Deploy && !f.Pretend && d.prepare() { // no step was in need of it: an ISO is booted next
			return
		}
		d.finish()
		return
	}
	if r := d.s.Steps[i]; d.unprepared(r) && d.prepare() {
		return
	}
	switch r := d.s.Steps[i]; {
	case r.Step.Where == step.OutOfBand, r.Children != nil:
		d.runOutOfBand(r)
	case r.Step.Where == step.Server:
		d.runReserved(r)
	case d.live() && d.n.Boot.Rebuilt && r.Step.Touches == step.RootDisk: // its lookup knew other arrays
		d.n.Boot.Ended = true
		d.boot()
	case d.live() && !d.n.Boot.Ready.IsZero():
		d.offer(r)
	case d.live() && !d.n.Boot.Redeemed.IsZero():
		d.awaitAgent()
	default:
		d.boot()
	}
}

// doing takes the node from its wait state back to the busy one, because the server acts.
func (d *decider) doing() {
	if f, ok := state.FlowOf(d.n.State); ok && d.n.State == f.Waiting {
		d.enter(state.Resume)
	}
}

// waiting is the opposite: somebody else acts.
func (d *decider) waiting() {
	if f, ok := state.FlowOf(d.n.State); ok && d.n.State == f.Doing && f.Waiting != "" {
		d.enter(state.Wait)
	}
}

// runOutOfBand puts the step in line: its act waits behind others upon the BMC, and for a BMC that does not answer. That
// wait has a deadline of its own; the step's begins when its turn has come. It is the BMC that acts, so the node waits, and the
// work can be aborted.
func (d *decider) runOutOfBand(r conductor.StepRecord) {
	if !d.mayDestroy(r) {
		return
	}
	d.waiting()
	d.n.Flow.Phase = conductor.PhaseSteps
	if r.Step.Reboot {
		d.forget()
	}
	if r.Step.Reboot && d.live() {
		d.n.Boot.Ended = true // the step restarts the machine under the ramdisk
	}
	d.move(&r, conductor.AttemptOffer)
	turn := d.s.Timeouts.Turn()
	r.Offered, r.Deadline = d.now, d.now.Add(turn)
	if r.Step.Reboot && r.Attempt == 1 {
		r.Recorded = d.n.Power
	}
	d.put(r)
	d.wait("bmc", "the turn of step "+r.Step.Name+" at the BMC", turn, fault.BMCBusy)
	d.effect(conductor.Effect{Kind: conductor.EffectRunStep, Step: r.ID})
}

// stepBegan records the step as started before anything is asked of the BMC (I8). From now on its own time counts.
func (d *decider) stepBegan(e conductor.StepBegan) {
	r, ok := d.attempt(e.ID)
	f := d.open()
	switch id := string(d.n.UUID); {
	case !ok || f == nil:
		d.Refuse = fault.New(fault.StepNotOffered, "no such step is in line").At(id, "")
	case r.Step.Where == step.InBand || r.State != conductor.StepOffered:
		d.Refuse = fault.New(fault.StepNotOffered, "the step is not in line for the BMC: it is %s, %s", r.Step.Where, r.State).At(id, r.Step.Name)
	case d.strange():
		d.fail(d.unknownType().At("", r.Step.Name))
		d.Refuse = d.unknownType()
	default:
		d.move(&r, conductor.AttemptRun)
		r.Started, r.Deadline = d.now, d.now.Add(r.Step.Timeout)
		if r.Step.Reboot && r.Attempt == 1 && d.n.Power != "" { // read while it stood in line
			r.Recorded = d.n.Power
		}
		d.put(r)
		d.volumes(r)
		d.unread(conductor.Effect{Kind: conductor.EffectRunStep, Step: r.ID})
		d.wait("bmc", "step "+r.Step.Name+" to end", r.Step.Timeout+d.s.Timeouts.Abort, fault.StepTimeout)
		d.audit("step.start", map[string]any{"step": r.Step.Name, "id": r.ID})
	}
}

// boot opens a new generation and asks for the ramdisk. The intent is recorded before any act (safety.md §2.2).
func (d *decider) boot() {
	d.doing()
	t := d.s.Timeouts
	d.forget()
	d.n.Generation++
	d.n.Boot = &conductor.Boot{
		Generation: d.n.Generation, Salt: d.s.NewSalt(), Opened: d.now, Closes: d.now.Add(t.BMC + t.Lookup), Level: api.A1,
		HTTP: d.s.Interfaces[drivers.Boot] == drivers.HTTPBoot,
	}
	d.n.Flow.Phase, d.n.Flow.Booted = conductor.PhaseBoot, true
	d.wait("bmc", "the BMC to start the machine from the ramdisk's medium", t.BMC+3*t.Power, fault.BMCUnreachable)
	d.effect(conductor.Effect{Kind: conductor.EffectBoot, Generation: d.n.Generation})
	d.audit("boot", map[string]any{"generation": d.n.Generation, "level": api.A1})
}

func (d *decider) awaitAgent() {
	d.n.Flow.Phase = conductor.PhaseAgent
	d.wait("agent", "the agent's list of steps", d.s.Timeouts.Ready, fault.FlowSilent)
}

// finish ends the work on the machine: ramdisk down, medium out, and after a deployment the disk booted.
func (d *decider) finish() {
	f := d.n.Flow
	if f.Flow == state.Clean && !f.Manual {
		if err := disks.Erased(*d.n, d.s.Seen, d.s.Accepted, d.s.Steps); err != nil {
			d.fail(fault.From(err))
			return
		}
	}
	if f.Flow == state.Deploy {
		if err := disks.Written(d.s.Steps); err != nil {
			d.fail(fault.From(err))
			return
		}
		d.n.Root = disks.Chosen(*d.n, d.s.Steps)
	}
	if d.keeps() {
		d.note("INFO", "provisioning", 0, "the agent stays up for the next work (fast_track)")
		d.complete()
		return
	}
	if f.Pretend && !f.Booted {
		d.complete()
		return
	}
	e := conductor.Effect{Kind: conductor.EffectFinish, Power: conductor.ForceOff, Generation: d.n.Generation}
	what := "the machine to power off"
	switch {
	case f.Flow == state.RescueFlow:
		d.note("INFO", "provisioning", 0, "the ramdisk stays up; log in at the machine's console as rescue")
		d.complete()
		return
	case f.Flow == state.Deploy, f.Flow == state.UnrescueFlow, f.Flow == state.Service && f.Booted:
		e.Power, e.Disk, e.Reboot = conductor.On, true, true
		what = "the machine to start from its disk"
		if d.n.LiveISO != "" {
			what = "the machine to start from the ISO of its instance"
		}
	case f.Booted, f.TearDown:
	default:
		d.complete()
		return
	}
	d.doing()
	if d.n.Boot != nil {
		d.n.Boot.Ended = true
	}
	d.forget()
	f.Phase = conductor.PhaseFinish
	d.wait("bmc", what, d.s.Timeouts.BMC+3*d.s.Timeouts.Power, fault.BMCPower)
	d.effect(e)
}

// complete moves the node to the flow's end.
func (d *decider) complete() {
	f := d.n.Flow
	d.doing()
	via := state.Done
	if f.Flow == state.Clean && (f.Manual || d.n.Retired) {
		via = state.VerbManage // the end of a manual clean, and of a retired node's
	}
	if !d.enter(via) {
		return
	}
	if f.Flow == state.Inspect {
		d.n.InspectionFinished = d.now
	}
	if f.Flow == state.Clean && d.n.Fault == faultClean {
		d.n.Maintenance, d.n.MaintenanceReason, d.n.Fault = false, "", ""
	}
	d.n.Target = ""
	d.end()
}

func (d *decider) end() {
	f := d.n.Flow
	switch f.Flow {
	case state.RescueFlow:
		d.DropSecrets = append(d.DropSecrets, conductor.SecretRescue)
	case state.Inspect:
		d.n.InspectionStarted = time.Time{} // Ironic's clients read it as of one that goes on
	}
	f.Phase, f.Wait, f.Ended = conductor.PhaseEnded, nil, d.now
}

// fail ends the flow in its failed state. The boot generation ends with it, and the machine is powered off so that
// nothing goes on without an owner (F16).
func (d *decider) fail(f *fault.Fault) {
	flow := d.n.Flow
	starting := flow.Phase == conductor.PhaseFinish && flow.Flow == state.Deploy && d.n.Unverified == nil // the instance may run already
	d.forget()
	f = d.logged(f)
	ran := slices.ContainsFunc(d.s.Steps, func(r conductor.StepRecord) bool { return !r.Started.IsZero() })
	aborted := f.Reason == fault.FlowAborted
	cut := conductor.AttemptInterrupt
	if aborted {
		cut = conductor.AttemptAbort
	}
	d.withdrawOffers(cut, f)
	for _, r := range d.s.Steps {
		if r.State == conductor.StepStarted {
			d.move(&r, cut)
			r.Fault, r.Ended = f, d.now
			d.put(r)
			if r.Step.Touches == step.Volumes {
				d.redrawn(r)
			}
			if r.Step.Where == step.InBand { // what runs at the BMC is called off as not wanted any more
				d.effect(conductor.Effect{Kind: conductor.EffectWithdraw, Step: r.ID})
			}
		}
	}
	via := state.Fail
	if row, ok := state.FlowOf(d.n.State); ok && d.n.State == row.Held {
		via = state.VerbAbort // what leads from a hold to the failed state
	}
	if _, ok := state.Next(d.n.State, via); !ok {
		d.Refuse = fault.New(fault.StateVerb, "a failure in state %q leads nowhere: %s", d.n.State, f.Error())
		return
	}
	d.enter(via)
	if d.n.State == state.Enroll { // no failed state, in which the target stays
		d.n.Target = ""
	}
	d.lastError(f)
	if ran && !aborted && !d.n.Maintenance { // an operator's own is never touched
		switch flow.Flow {
		case state.Clean:
			d.n.Maintenance, d.n.Fault, d.n.MaintenanceReason = true, faultClean, "cleaning failed: "+f.Message
		case state.Service:
			d.n.Maintenance, d.n.Fault, d.n.MaintenanceReason = true, faultService, "service failed: "+f.Message
		}
	}
	d.note("ERROR", "provisioning", d.now.Sub(flow.Started), "%s", f.Error())
	d.about(f.Step, f.Reason)
	d.end()
	if b := d.n.Boot; b != nil && flow.Booted {
		b.Ended = true
	}
	if flow.Booted || starting {
		d.owe(d.n.Generation)
	}
}

// logged is f on this node, with the place where what the machine said about the failed step is kept.
func (d *decider) logged(f *fault.Fault) *fault.Fault {
	out := *f
	out.Node = string(d.n.UUID)
	for _, r := range slices.Backward(d.s.Steps) {
		if r.Step.Name == f.Step && r.Generation > 0 && !r.Started.IsZero() {
			hint := fmt.Sprintf("what the machine said: bessemer node logs %s --boot %d", cmp.Or(d.n.Name, out.Node), r.Generation)
			out.Hint = strings.TrimPrefix(out.Hint+"; "+hint, "; ")
			break
		}
	}
	return &out
}

// withdrawOffers takes back what no agent has claimed yet, and what waits for its turn at the BMC: a later start of it is
// refused.
func (d *decider) withdrawOffers(as conductor.AttemptEvent, f *fault.Fault) {
	for _, r := range d.s.Steps {
		if r.State == conductor.StepOffered {
			d.move(&r, as)
			r.Fault, r.Ended = f, d.now
			d.put(r)
			if r.Step.Where == step.InBand {
				d.effect(conductor.Effect{Kind: conductor.EffectWithdraw, Step: r.ID})
			}
		}
	}
}

// effectDone takes the end of an effect. An effect of an older run or generation only tells the power state.
func (d *decider) effectDone(e conductor.EffectDone) {
	if e.Power != "" && d.n.Power != e.Power {
		d.n.Power, d.Changed = e.Power, true
	}
	first := !d.n.Owed.Overdue() || e.Fault != nil && e.Fault.Reason != d.n.Owed.Reason
	d.settle(e)
	f := d.open()
	current := f != nil && f.Run == e.Effect.Run
	switch k := e.Effect.Kind; {
	case k == conductor.EffectPower:
		d.powerDone(e)
	case k == conductor.EffectAct:
		d.actDone(e)
	case k == conductor.EffectDetach:
		d.detached(e, current)
	case k == conductor.EffectLook:
		d.looked(e)
	case !current:
		if e.Fault != nil && k == conductor.EffectFinish {
			if first { // a try that comes to the same as the one before is told by what is owed
				d.note("ERROR", "power", 0, "after the work ended: %s", e.Fault.Error())
				d.Changed = true
			}
			d.rescueAbortFailed(e)
			d.unfenced()
		}
	case k == conductor.EffectVerify && f.Phase == conductor.PhaseVerify:
		d.verified(e)
	case k == conductor.EffectPrepare && f.Phase == conductor.PhasePrepare:
		d.prepared(e)
	case k == conductor.EffectInspect && f.Phase == conductor.PhaseRead:
		d.found(e)
	case k == conductor.EffectBoot && f.Phase == conductor.PhaseBoot && e.Effect.Generation == d.n.Generation:
		if e.Fault != nil {
			d.fail(e.Fault)
			return
		}
		f.Phase = conductor.PhaseLookup
		d.waiting()
		d.wait("agent", "the ramdisk to look itself up", d.s.Timeouts.Lookup, fault.FlowLookup)
		d.seen("powered on by the BMC")
	case k == conductor.EffectFinish && f.Phase == conductor.PhaseFinish:
		if e.Fault != nil {
			d.fail(e.Fault)
			return
		}
		if f.Flow == state.Deploy && d.n.LiveISO != "" {
			where := "the ISO in the drive, the boot device"
			if d.n.LiveHTTP {
				where = "the ISO's address, the boot device"
			}
			d.note("INFO", "provisioning", 0, "the machine was started from the ISO of its instance: its BMC shows %s and the power", where)
		}
		d.complete()
	case k == conductor.EffectEject && e.Fault != nil:
		what := "the medium could not be taken out"
		if d.n.Boot != nil && d.n.Boot.HTTP {
			what = "the BMC's boot override could not be taken away"
		}
		d.note("ERROR", "boot", 0, "%s: %s", what, e.Fault.Error())
		d.Changed = true
	}
}

func (d *decider) verified(e conductor.EffectDone) {
	adopts := d.n.Flow.Flow == state.Adopt
	if e.Fault != nil {
		if adopts {
			d.n.Power = "" // what the record says was never read from this machine
		}
		d.fail(e.Fault)
		return
	}
	d.meet(e.Facts)
	if adopts {
		d.adopted(e)
		return
	}
	d.learn(e.Facts)
	if k := d.n.BMC; k != nil {
		d.warn(k.Doubts...)
		if f := fit.For(*d.n, d.s.Interfaces, state.Verify); f != nil {
			d.fail(f)
			return
		}
	}
	d.complete()
}

func (d *decider) evidence(e conductor.EffectEvidence) {
	if f := d.open(); f != nil && f.Run == e.Effect.Run {
		d.seen("%s", e.Text)
	}
}

// deadline ends a wait that took too long.
func (d *decider) deadline() {
	f := d.open()
	if f == nil || f.Wait == nil || d.now.Before(f.Wait.Deadline) {
		return
	}
	if f.Phase == conductor.PhasePause {
		d.reservedEnds()
		return
	}
	w := f.Wait
	if r := d.running(); r != nil && f.Aborting && d.uncut(*r) {
		return
	}
	reason := w.Reason
	if f.Phase == conductor.PhaseLookup && d.n.Boot != nil && d.n.Boot.MediumRead.IsZero() {
		reason = fault.FlowMediaTimeout
	}
	ft := fault.New(reason, "waited %s for %s%s", d.now.Sub(w.Since).Round(time.Second), w.For, d.lastSeen(w))
	if reason == fault.FlowMediaTimeout && d.n.Boot.HTTP {
		ft.WithHint("the machine's firmware needs an address by DHCP, a way to the server's TLS boot address, and trust in the certificate there")
	}
	if r := d.running(); r != nil {
		ft.Step = r.Step.Name
	}
	d.fail(ft)
}

// lastSeen is the last sign of whoever was waited for, and how far the step told that it had come, which is kept in memory
// only (I29).
func (d *decider) lastSeen(w *conductor.Wait) string {
	text := ""
	if sign, at := w.Last(d.s.Heard, d.running()); sign != "" {
		text = fmt.Sprintf("; last sign: %s at %s", sign, at.UTC().Format(time.RFC3339))
	}
	if r := d.running(); r != nil && r.Progress != nil {
		text += fmt.Sprintf("; the step told of %.0f %%", r.Progress.Percent)
	}
	return cmp.Or(text, "; nothing was heard meanwhile")
}

// running is the record of the step at work, or nil.
func (d *decider) running() *conductor.StepRecord {
	for i := range d.s.Steps {
		if s := d.s.Steps[i].State; s == conductor.StepStarted || s == conductor.StepOffered {
			return &d.s.Steps[i]
		}
	}
	return nil
}

// atBMC is the record of the step that the server runs at the BMC, or is about to; nil when there is none.
func (d *decider) atBMC() *conductor.StepRecord {
	r := d.running()
	if d.open() == nil || r == nil || r.Step.Where == step.InBand || pauses(*r) {
		return nil
	}
	return r
}

// pauses tells of a hold or a wait, for which nothing runs on any machine.
func pauses(r conductor.StepRecord) bool {
	return r.Step.Where == step.Server && r.Children == nil && (r.Step.Short() == "hold" || r.Step.Short() == "wait")
}

// shifted moves every open deadline by time that must not count: the server was away, or a clock was set (I14, F28).
func (d *decider) shifted(e conductor.ClockShifted) {
	f := d.open()
	if f == nil {
		return
	}
	by := e.By
	if !e.Since.IsZero() {
		if s := f.Shifted; s != nil && s.Since.Equal(e.Since) {
			by = e.At.Sub(s.At)
		}
		f.Shifted = &conductor.Shift{Since: e.Since, At: e.At}
	}
	d.Changed = true
	if f.Wait != nil {
		// Since moves along: how long something was waited for is told without the time that does not count.
		f.Wait.Since, f.Wait.Deadline = f.Wait.Since.Add(by), f.Wait.Deadline.Add(by)
	}
	if b := d.n.Boot; b != nil && !b.Ended {
		b.Closes = b.Closes.Add(by)
	}
	for _, r := range d.s.Steps {
		if r.State == conductor.StepOffered || r.State == conductor.StepStarted {
			r.Deadline = r.Deadline.Add(by)
			d.put(r)
		}
	}
}

// restarted goes on after the server was away: orders to the agent are given again, as the dispatcher has forgotten
// them; effects that were left are in the store.
func (d *decider) restarted() {
	if l := d.n.Lease; l != nil && l.Brief() { // whoever held it is dead
		d.n.Lease, d.Changed = nil, true
	}
	f := d.open()
	if f == nil {
		return
	}
	for _, r := range d.s.Steps {
		switch {
		case r.State == conductor.StepOffered && r.Step.Where == step.InBand: // one out of band is in line by its stored act
			d.effect(conductor.Effect{Kind: conductor.EffectOffer, Step: r.ID, Generation: r.Generation})
		case r.State == conductor.StepStarted && f.Aborting && r.Step.Abortable && r.Step.Where == step.InBand:
			d.effect(conductor.Effect{Kind: conductor.EffectWithdraw, Step: r.ID})
		}
	}
}
