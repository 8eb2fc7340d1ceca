package decide

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What is done to a machine that has an instance, or gets one without a deployment: service, rescue, unrescue, adopt. Its
// disks hold data that somebody needs: nothing here writes to them (I1).

// Node.Fault of nodes that the server put into maintenance in these flows.
const (
	faultService     = "service failure"      // a step of a service failed, and how far it came is unknown
	faultRescueAbort = "rescue abort failure" // a rescue was aborted, and the machine could not be powered off
)

// service runs an operator's list in its order. The ramdisk is booted only if a step needs it. A wrong list is accepted
// and fails before any boot, as upstream has it.
func (d *decider) service(e conductor.VerbAsked) {
	plan := d.plan(e.Ask)
	if d.Refuse = d.impossible(state.Service, plan); d.Refuse != nil {
		return
	}
	if d.Refuse = d.runs(); d.Refuse != nil {
		return
	}
	d.withdrawOffers(conductor.AttemptAbort, nil)
	d.leaveHold(fault.New(fault.FlowAborted, "another list of service steps takes the held one's place"))
	f := d.n.Flow
	booted := d.n.State != state.Active && f != nil && f.Flow == state.Service && f.Booted
	if d.begin(e, state.Service, state.VerbService, plan) {
		if booted { // the machine is in that service's ramdisk, or off: it is for this one's end to start its disk
			d.n.Flow.Booted = true
		}
		d.run(plan)
	}
}

// runs refuses what would leave a step that runs without its owner (F40).
func (d *decider) runs() error {
	for _, r := range d.s.Steps {
		if r.State == conductor.StepStarted && !pauses(r) && d.open() != nil {
			return fault.New(fault.NodeBusy, "step %s is running", r.Step.Name).
				WithHint("wait until it ends, or abort it: bessemer node abort %s", cmp.Or(d.n.Name, string(d.n.UUID))).At(string(d.n.UUID), r.Step.Name)
		}
	}
	return nil
}

// leaveHold ends the hold or wait step at work: nothing runs on the machine for it.
func (d *decider) leaveHold(why *fault.Fault) {
	for _, r := range d.s.Steps {
		if d.open() != nil && r.State == conductor.StepStarted && pauses(r) {
			d.move(&r, conductor.AttemptAbort)
			r.Fault, r.Ended = why, d.now
			d.put(r)
		}
	}
}

// serviceAborted ends a service by request. The machine was active before it, and is so again: if the ramdisk was
// booted, its disk is booted now.
func (d *decider) serviceAborted(ft *fault.Fault) {
	d.n.Flow.Aborting = true
	d.withdrawOffers(conductor.AttemptAbort, ft)
	d.leaveHold(ft)
	if d.n.State == state.ServiceHold && !d.enter(state.VerbUnhold) {
		return
	}
	d.lastError(ft)
	d.note("INFO", "provisioning", d.now.Sub(d.n.Flow.Started), "%s", ft.Message)
	d.about("", ft.Reason)
	d.finish()
}

// serviceAbandoned leads a node whose service failed back to active. What the ramdisk was booted for is over, so the
// machine's disk is booted; on a record that may be older than the machine nothing is done to it (I15).
func (d *decider) serviceAbandoned(e conductor.VerbAsked) {
	f := d.n.Flow
	booted := f != nil && f.Flow == state.Service && f.Booted && d.n.Unverified == nil
	if !booted {
		if d.enter(state.VerbAbort) {
			if f != nil && f.Flow == state.Service {
				f.Aborting = true // it did not come to its end
			}
			d.n.Target = ""
			d.lastError(fault.New(fault.FlowAborted, "Service was aborted by request."))
		}
		return
	}
	d.n.Flow = &conductor.Flow{
		Run: d.s.NewID(), Flow: state.Service, Phase: conductor.PhaseSteps, Started: d.now, Booted: true, Aborting: true,
		Actor: e.Caller.Name, Request: e.Caller.Request,
	}
	d.s.Steps = nil
	if d.enter(state.Wait) {
		d.n.Target = state.Row(state.Service).Target
		d.serviceAborted(fault.New(fault.FlowAborted, "Service was aborted by request."))
	}
}

// rescue boots the ramdisk and leaves it up for a person to log in at the machine's console.
func (d *decider) rescue(e conductor.VerbAsked) {
	plan := d.plan(e.Ask)
	if d.Refuse = plan.Err(); d.Refuse != nil {
		return
	}
	if d.begin(e, state.RescueFlow, state.VerbRescue, plan) {
		d.run(plan)
	}
}

// unrescue boots the machine's disk again.
func (d *decider) unrescue(e conductor.VerbAsked) {
	if d.begin(e, state.UnrescueFlow, state.VerbUnrescue, plan.Plan{}) {
		d.next()
	}
}

// rescueAbortFailed keeps everybody off a machine that the ramdisk of an aborted rescue may still run on.
func (d *decider) rescueAbortFailed(e conductor.EffectDone) {
	f := d.n.Flow
	if d.n.State != state.RescueFail || f == nil || !f.Aborting || f.Run != e.Effect.Run || d.n.Maintenance {
		return
	}
	d.n.Maintenance, d.n.Fault, d.Changed = true, faultRescueAbort, true
	d.n.MaintenanceReason = "the machine could not be powered off after the rescue was aborted: " + e.Fault.Message
}

// adopt takes over a machine that runs its instance already. Its BMC is read; the machine is neither booted nor written
// to, and its power stays as it is.
func (d *decider) adopt(e conductor.VerbAsked) {
	if !d.begin(e, state.Adopt, state.VerbAdopt, plan.Plan{}) {
		return
	}
	if d.live() {
		d.n.Boot.Ended = true
	}
	d.n.Flow.Booted = false // what ends this flow must not power the machine off
	d.n.Flow.Phase = conductor.PhaseVerify
	d.wait("bmc", "the BMC to say how the machine is", d.s.Timeouts.BMC+d.s.Timeouts.Power, fault.BMCUnreachable)
	d.effect(conductor.Effect{Kind: conductor.EffectVerify})
}

// adopted takes what the BMC said. A machine that does not boot from its own disk needs a BMC that can boot it.
func (d *decider) adopted(e conductor.EffectDone) {
	d.learn(e.Facts)
	iso := ""
	if fit.BootsISO(d.s.Interfaces) {
		var err error
		if iso, err = fit.BootISO(d.n.InstanceInfo); err != nil {
			d.n.Power = ""
			d.fail(fault.From(err))
			return
		}
	}
	if !fit.BootsDisk(*d.n, d.s.Interfaces) {
		if f := fit.For(*d.n, d.s.Interfaces, state.Adopt); f != nil {
			d.n.Power = ""
			d.fail(f)
			return
		}
	}
	d.lives(iso)
	d.note("INFO", "provisioning", 0, "the machine was adopted as it is: it was not booted, and nothing was written to it")
	d.complete()
}

// lives keeps what the instance boots from now on: an ISO, by the node's boot interface, or with "" the disk.
func (d *decider) lives(iso string) {
	d.n.LiveISO, d.n.LiveHTTP = iso, iso != "" && d.s.Interfaces[drivers.Boot] == drivers.HTTPBoot
}

// lease gives a deployment's node to the project that its instance belongs to, as Ironic does by default. A lessee that
// somebody set stays; one that an earlier deployment gave, which failed, goes with it.
func (d *decider) lease() {
	project, _ := d.n.InstanceInfo["project_id"].(string)
	was := d.n.Lessee
	if was != "" && !d.n.AutomaticLessee || was == project {
		return
	}
	d.n.Lessee, d.n.AutomaticLessee, d.Changed = project, project != "", true
	d.audit("node.lessee", map[string]any{"lessee": project, "was": was})
}

// forgetInstance clears all that belongs to the instance. What is kept beside the node (secrets, network attachments)
// goes in the same transaction.
func (d *decider) forgetInstance() {
	d.audit("instance.delete", map[string]any{"instance_uuid": d.n.InstanceUUID})
	for _, k := range slices.Sorted(maps.Keys(d.n.InstanceInfo)) {
		if d.n.InstanceInfo[k] == conductor.Masked && k != "configdrive" {
			d.DropSecrets = append(d.DropSecrets, conductor.InstanceSecret(k))
		}
	}
	d.n.InstanceInfo, d.n.InstanceUUID, d.n.InstanceName = map[string]any{}, "", ""
	d.n.Media = leftMedia(d.n.Media)
	d.lives("")
	if d.n.AutomaticLessee {
		d.n.Lessee, d.n.AutomaticLessee = "", false
	}
	d.DropSecrets = append(d.DropSecrets, "configdrive", conductor.SecretRescue)
	d.DropAllocation, d.n.Allocation = d.n.Allocation, ""
	d.InstanceGone = true
}

// Allowed says why a verb can't be asked for in the node's state, nil when it can: the checks that upstream makes before
// it looks at a request's arguments. The faults are node.maintenance, node.busy and state.verb_not_possible.
func Allowed(n conductor.Node, v state.Event) error {
	d := &decider{Decision: conductor.Decision{Node: n}}
	d.n = &d.Node
	if n.Maintenance && (v == state.VerbDeploy || v == state.VerbRebuild) {
		return d.inMaintenance(v)
	}
	return d.reachable(v)
}

// reachable applies the table of states.
func (d *decider) reachable(v state.Event) error {
	f, busy := state.FlowOf(d.n.State)
	// Two rows lead out of a busy state (the end of a manual clean, the clean after a deletion): they are the
	// server's own, no caller's.
	if _, ok := state.Next(d.n.State, v); !ok || busy && d.n.State == f.Doing {
		return d.notHere(v)
	}
	return nil
}

func (d *decider) inMaintenance(v state.Event) error {
	return fault.New(fault.NodeMaintenance, "%s is not possible: the node is in maintenance (%s)", v.Command(), cmp.Or(d.n.MaintenanceReason, "no reason given")).
		At(string(d.n.UUID), "")
}

// abortedFault is the end of work that somebody asked to end. Clients look for the word "aborted".
func (d *decider) abortedFault() *fault.Fault {
	what := map[state.Flow]string{
		state.Inspect: "Inspection", state.Clean: "Cleaning", state.Deploy: "Deployment", state.Service: "Service", state.RescueFlow: "Rescue",
	}[d.n.Flow.Flow]
	f := fault.New(fault.FlowAborted, "%s was aborted by request.", cmp.Or(what, "The work"))
	for _, r := range d.s.Steps {
		if r.State == conductor.StepAborted && r.Fault != nil && !r.Started.IsZero() {
			f.Message += fmt.Sprintf(" Step %s: %s.", r.Step.Name, strings.TrimSuffix(r.Fault.Message, "."))
		}
	}
	return f
}

// outOfService leads an active node to service failed without touching the machine. Ironic has no such verb: it is a
// service that fails at once, so that all that leads out of a failed service leads out of it.
func (d *decider) outOfService(e conductor.OutOfService) {
	if d.Refuse = conductor.Confirmed(*d.n); d.Refuse != nil {
		return
	}
	if d.n.State != state.Active {
		if d.Refuse = d.reachable("out of service"); d.Refuse == nil {
			d.Refuse = d.notHere("out of service")
		}
		return
	}
	if d.Refuse = d.forbidden("out of service"); d.Refuse != nil {
		return
	}
	if !d.begin(conductor.VerbAsked{Caller: e.Caller}, state.Service, state.VerbService, plan.Plan{}) {
		return
	}
	d.n.Flow.Booted = false
	d.fail(fault.New(fault.NodeOutOfService, "%s", cmp.Or(e.Reason, "no reason given")))
	d.audit("node.out_of_service", map[string]any{"reason": e.Reason})
}
