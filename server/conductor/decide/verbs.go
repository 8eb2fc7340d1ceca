package decide

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// verb answers a caller's verb: refuse it, or start what it asks for.
func (d *decider) verb(e conductor.VerbAsked) {
	ask := e.Ask
	if d.Refuse = d.reachable(ask.Verb); d.Refuse != nil {
		return
	}
	if d.Refuse = d.unverified(ask.Verb); d.Refuse != nil {
		return
	}
	if d.Refuse = d.forbidden(ask.Verb); d.Refuse != nil {
		return
	}
	from := d.n.State
	defer func() {
		if d.Refuse == nil {
			d.audit("verb."+string(ask.Verb), map[string]any{"from": from, "to": d.n.State})
		}
	}()
	switch ask.Verb {
	case state.VerbManage:
		d.manage(e)
	case state.VerbProvide:
		d.provide(e)
	case state.VerbClean:
		d.manualClean(e)
	case state.VerbInspect:
		d.inspect(e)
	case state.VerbDeploy, state.VerbRebuild:
		d.deploy(e)
	case state.VerbDelete:
		d.undeploy(e)
	case state.VerbAbort:
		d.abort(e)
	case state.VerbUnhold:
		d.unhold(e)
	case state.VerbService:
		d.service(e)
	case state.VerbRescue:
		d.rescue(e)
	case state.VerbUnrescue:
		d.unrescue(e)
	case state.VerbAdopt:
		d.adopt(e)
	default:
		d.Refuse = d.notHere(ask.Verb)
	}
}

// notHere refuses a verb; while a worker is busy with the node the same verb may be right later.
func (d *decider) notHere(v state.Event) error {
	id := string(d.n.UUID)
	if f, ok := state.FlowOf(d.n.State); ok && d.n.State == f.Doing {
		busy := fault.New(fault.NodeBusy, "the node is %s; %s has to wait until that ends", d.n.State, v.Command()).At(id, "")
		if flow := d.open(); flow != nil && flow.Wait != nil {
			busy.WithHint("it waits for %s, until %s at the latest: bessemer node show %s",
				flow.Wait.For, flow.Wait.Deadline.UTC().Format(time.RFC3339), cmp.Or(d.n.Name, id))
			if v == state.VerbAbort && !d.strange() {
				busy.Hint += fmt.Sprintf("; to cut it off now: bessemer node maintenance set %s, then bessemer node power off %[1]s", cmp.Or(d.n.Name, id))
			}
		}
		return busy
	}
	return fault.New(fault.StateVerb, "%s is not possible in state %q", v.Command(), d.n.State).
		WithHint("possible here: %s", verbs(d.n.State)).At(id, "")
}

// keptOff are the verbs that maintenance keeps off a node.
var keptOff = []state.Event{state.VerbDeploy, state.VerbRebuild, state.VerbClean, state.VerbService, state.VerbRescue, state.VerbUnrescue}

// forbidden applies the flags an operator sets on a node, as Ironic does.
func (d *decider) forbidden(v state.Event) error {
	n, id := d.n, string(d.n.UUID)
	destroys := v == state.VerbDelete || v == state.VerbRebuild
	switch {
	case n.Maintenance && slices.Contains(keptOff, v):
		return d.inMaintenance(v)
	case n.Maintenance && v == state.VerbAbort && n.State == state.ServiceFail:
		return fault.New(fault.NodeInUse, "abort of a failed service is not possible: the node is in maintenance (%s)", cmp.Or(n.MaintenanceReason, "no reason given")).
			WithHint("when the machine is well, end the maintenance: bessemer node maintenance unset %s", cmp.Or(n.Name, id)).At(id, "")
	case n.Protected && destroys:
		return fault.New(fault.NodeProtected, "%s is not possible: the node is protected (%s)", v.Command(), cmp.Or(n.ProtectedReason, "no reason given")).At(id, "")
	case n.Retired && v == state.VerbProvide:
		return fault.New(fault.NodeRetired, "provide is not possible: the node is retired (%s)", cmp.Or(n.RetiredReason, "no reason given")).At(id, "")
	}
	if slices.Contains(needOff, v) {
		if err := conductor.Fenced(*n); err != nil {
			return err
		}
	}
	if d.n.PowerTarget != "" {
		return fault.New(fault.NodeBusy, "%s has to wait until the power act (%s) has ended", v.Command(), d.n.PowerTarget).At(id, "")
	}
	return d.acting()
}

func (d *decider) manage(e conductor.VerbAsked) {
	if d.n.State != state.Enroll {
		if d.enter(state.VerbManage) {
			d.n.Target, d.n.LastError, d.n.LastReason = "", "", ""
		}
		return
	}
	if !d.begin(e, state.Verify, state.VerbManage, plan.Plan{}) {
		return
	}
	d.n.Flow.Phase = conductor.PhaseVerify
	d.wait("bmc", "the BMC to answer and to accept the credentials", d.s.Timeouts.BMC+d.s.Timeouts.Power, fault.BMCUnreachable)
	d.effect(conductor.Effect{Kind: conductor.EffectVerify})
}

func (d *decider) inspect(e conductor.VerbAsked) {
	if d.begin(e, state.Inspect, state.VerbInspect, plan.Plan{}) {
		d.n.InspectionStarted, d.n.InspectionFinished = d.now, time.Time{}
		if fit.Reads(d.s.Interfaces, state.Inspect) {
			d.read()
		} else if !d.prepare() {
			d.boot()
		}
	}
}

func (d *decider) provide(e conductor.VerbAsked) {
	d.clean(e, state.VerbProvide)
}

// clean starts an automated clean, from provide or after a deletion.
func (d *decider) clean(e conductor.VerbAsked, via state.Event) {
	plan := d.plan(e.Ask)
	if !d.begin(e, state.Clean, via, plan) {
		return
	}
	if plan.Exclusion != "" {
		d.n.Flow.Excluded = true
		d.note("INFO", "provisioning", 0, "%s", plan.Exclusion)
		why := map[string]any{"why": plan.Exclusion}
		if off := d.n.AutomatedClean; off != nil {
			why["automated_clean"] = *off
		}
		d.audit("clean.skipped", why)
	}
	d.run(plan)
}

// manualClean runs an operator's list in its order. A wrong list is accepted and fails before any boot, as upstream
// has it.
func (d *decider) manualClean(e conductor.VerbAsked) {
	plan := d.plan(e.Ask)
	if !d.begin(e, state.Clean, state.VerbClean, plan) {
		return
	}
	d.n.Flow.Manual, d.n.Target = true, state.Manageable
	d.run(plan)
}

// deploy refuses at once what can be checked before.
func (d *decider) deploy(e conductor.VerbAsked) {
	iso := fit.BootsISO(d.s.Interfaces)
	if iso && e.ConfigDrive {
		d.Refuse = fault.New(fault.ConfigDrive, "a config drive can't go with the deploy interface ramdisk: the machine boots the ISO of instance_info.boot_iso as it is").
			WithHint("leave configdrive out, and put what the machine is to know into the ISO").At(string(d.n.UUID), "")
		return
	}
	if iso { // one that an image was to get before
		d.n.InstanceInfo = maps.Clone(d.n.InstanceInfo)
		delete(d.n.InstanceInfo, "configdrive")
		d.DropSecrets = append(d.DropSecrets, "configdrive")
	}
	if e.ConfigDrive {
		d.n.InstanceInfo = maps.Clone(d.n.InstanceInfo)
		d.n.InstanceInfo["configdrive"] = conductor.Masked
	}
	plan := d.plan(e.Ask)
	if d.Refuse = plan.Err(); d.Refuse != nil {
		return
	}
	if e.Ask.Verb == state.VerbDeploy {
		d.lease()
	}
	if d.begin(e, state.Deploy, e.Ask.Verb, plan) {
		d.lives("")
		if iso {
			url, _ := fit.BootISO(d.n.InstanceInfo) // the plan found it well
			d.lives(url)
		}
		d.run(plan)
	}
}

// undeploy forgets the instance and goes on to clean. A step that runs is not cut off (F40): abort it first.
func (d *decider) undeploy(e conductor.VerbAsked) {
	if d.Refuse = d.runs(); d.Refuse != nil {
		return
	}
	d.withdrawOffers(conductor.AttemptAbort, nil)
	d.leaveHold(nil)
	if !d.enter(state.VerbDelete) {
		return
	}
	d.forgetInstance()
	d.tearDown = true
	d.clean(e, state.VerbClean)
}

// abort ends a waiting flow. A running step is told to stop if it may be stopped, else it ends first.
func (d *decider) abort(e conductor.VerbAsked) {
	f := d.open()
	if f == nil {
		d.serviceAbandoned(e)
		return
	}
	for _, r := range d.s.Steps {
		if r.State != conductor.StepStarted || pauses(r) {
			continue // nobody has to stop a hold or a wait
		}
		again, was := f.Aborting, f.Wait
		f.Aborting = true
		if r.Step.Abortable {
			if !d.uncut(r) {
				d.stopping(r)
				if again && was != nil && was.Deadline.Before(f.Wait.Deadline) {
					f.Wait = was // to be asked again gives it no more time (I14)
				}
			}
			d.effect(conductor.Effect{Kind: conductor.EffectWithdraw, Step: r.ID})
		} else {
			d.seen("abort asked for; %s can't be stopped and ends first", r.Step.Name)
		}
		d.note("INFO", "provisioning", 0, "abort asked for while %s runs", r.Step.Name)
		return
	}
	d.aborted()
}

// stopping waits for a step that was told to stop.
func (d *decider) stopping(r conductor.StepRecord) {
	reason := fault.FlowSilent
	if r.Step.Where != step.InBand {
		reason = fault.StepTimeout
	}
	d.wait(acts(r), "step "+r.Step.Name+" to stop at a safe point", d.s.Timeouts.Abort, reason)
}

// acts is who runs a step.
func acts(r conductor.StepRecord) string {
	if r.Step.Where == step.InBand {
		return "agent"
	}
	return "bmc"
}

// uncut waits for as long as the step may take at all while it does something that can't be cut off, such as a drive's
// own format: cutting the power under it could leave the drive unusable (I7).
func (d *decider) uncut(r conductor.StepRecord) bool {
	if r.Progress == nil || r.Progress.Uncut == "" || !d.now.Before(r.Deadline) {
		return false
	}
	d.wait(acts(r), fmt.Sprintf("%s to end, which can't be cut off; step %s then stops", r.Progress.Uncut, r.Step.Name), r.Deadline.Sub(d.now), fault.StepTimeout)
	return true
}

func (d *decider) aborted() {
	f := d.abortedFault()
	if d.n.Flow.Flow == state.Service {
		d.serviceAborted(f)
		return
	}
	d.n.Flow.Aborting = true
	d.fail(f)
}
