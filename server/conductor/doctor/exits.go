package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Acts of exits that are no verbs.
const (
	ActVerb        = "verb." // and the verb
	ActMaintenance = "maintenance.unset"
	ActPowerOff    = "power.off"
	ActConfirm     = "confirm"
	ActGiveUp      = "act.give_up"
)

// words are the verbs an operator may ask for; what destroys data on disks is never done unasked.
var words = []struct {
	verb           state.Event
	needs          string // what must be typed with it
	ends, destroys bool
}{
	{state.VerbUnhold, "", false, false},
	{state.VerbManage, "", false, false},
	{state.VerbInspect, "", false, false},
	{state.VerbUnrescue, "", false, false},
	{state.VerbAdopt, "", false, false},
	{state.VerbAbort, "", true, false},
	{state.VerbService, "--step STEP", true, false},
	{state.VerbRescue, "--rescue-password-file FILE", true, false},
	{state.VerbProvide, "", false, true},
	{state.VerbClean, "--step STEP", false, true},
	{state.VerbDeploy, needsImage, false, true},
	{state.VerbRebuild, needsImage, false, true},
	{state.VerbDelete, "", true, true},
}

// needsImage goes with a deployment of a node that does not say yet what is to be written.
const needsImage = "--image IMAGE"

// exits reads the legal ways on from the table of states.
func exits(f Case) []api.Exit {
	n, out := f.Node, []api.Exit{}
	name := cmp.Or(n.Name, string(n.UUID))
	if n.Unverified != nil || n.Owed.Overdue() && !working(n) {
		out = append(out, api.Exit{Act: ActConfirm, Command: "bessemer node confirm " + name})
	}
	if conductor.LostAct(n, f.Effects) != "" {
		out = append(out, api.Exit{Act: ActGiveUp, Command: "bessemer doctor " + name + " --fix"})
	}
	if n.Fault != "" {
		out = append(out, api.Exit{Act: ActMaintenance, Command: "bessemer node maintenance unset " + name})
	}
	if row, busy := state.FlowOf(n.State); !busy || n.State != row.Doing { // the table's rows from there are the server's own
		for _, w := range words {
			to, ok := state.Next(n.State, w.verb)
			if !ok || f.Strange && !conductor.NeedsNoDriver(n, w.verb) {
				continue
			}
			e := api.Exit{Act: ActVerb + string(w.verb), Command: "bessemer node " + w.verb.Command() + " " + name, To: to, Ends: w.ends, Destroys: w.destroys}
			if w.needs != "" && (w.needs != needsImage || n.InstanceInfo["image_source"] == nil) {
				e.Act, e.Command = "", e.Command+" "+w.needs
			}
			out = append(out, e)
		}
	}
	if n.Boot != nil && n.Boot.Contested && !uncut(n) && !f.Strange {
		out = append(out, api.Exit{Act: ActPowerOff, Command: "bessemer node power off " + name, Ends: true})
	} else if cut, can := cutOff(f); can {
		out = append(out, cut)
	} else if n.Owed.Overdue() && !working(n) && mayCut(f) {
		out = append(out, api.Exit{Act: ActPowerOff, Command: "bessemer node power off " + name, Ends: true})
	}
	return out
}

// cutOff is the way that is there in every state in which work is in progress, also where no abort is: a hard power off in
// maintenance (docs/adr/0053-power-off-fences.md). Of the two requests that it takes the doctor makes none for an operator
// who has not made the first.
func cutOff(f Case) (api.Exit, bool) {
	n, name := f.Node, cmp.Or(f.Node.Name, string(f.Node.UUID))
	row, _ := state.FlowOf(n.State)
	if !working(n) || !mayCut(f) {
		return api.Exit{}, false
	}
	via := state.Fail
	if n.State == row.Held {
		via = state.VerbAbort
	}
	to, ok := state.Next(n.State, via)
	if !ok {
		return api.Exit{}, false
	}
	e := api.Exit{Act: ActPowerOff, Command: "bessemer node power off " + name, To: to, Ends: true}
	if !n.Maintenance {
		e.Act, e.Command = "", "bessemer node maintenance set "+name+" && "+e.Command
	}
	return e, true
}

// mayCut tells whether a power off would be taken, as far as the state does not refuse it.
func mayCut(f Case) bool {
	n := f.Node
	return !f.Strange && n.Unverified == nil && !n.DisablePowerOff && n.PowerTarget == "" && n.Act == nil && drivers.Check(n.Driver, drivers.Power, f.Interfaces[drivers.Power]) == nil
}

// working tells whether work is in progress on the node.
func working(n conductor.Node) bool { return n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded }

// uncut tells whether the machine keeps its power for what can't be cut off, though its agent is not heard or not believed.
func uncut(n conductor.Node) bool { return working(n) && n.Flow.Wait != nil && n.Flow.Wait.Silent }

// fix chooses among the exits: first what is in the way of all others, then what only clears what the server itself has set, then the way out of a failed
// state, then the end of what is stuck. To confirm a doubted record, or that a machine is off, somebody has to look
// at it (I15): that is never chosen.
func fix(n conductor.Node, all []api.Exit, stuck bool) *api.Exit {
	for _, act := range []string{ActGiveUp, ActMaintenance, ActPowerOff, ActVerb + string(state.VerbManage), ActVerb + string(state.VerbAbort)} {
		i := slices.IndexFunc(all, func(e api.Exit) bool { return e.Act == act })
		if i < 0 || act == ActVerb+string(state.VerbAbort) && !stuck ||
			act == ActPowerOff && (uncut(n) || !stuck && !n.Owed.Overdue() && (n.Boot == nil || !n.Boot.Contested)) ||
			act == ActVerb+string(state.VerbManage) && n.State != state.Enroll && !state.IsFailed(n.State) {
			continue
		}
		return &all[i]
	}
	return nil
}

// AbortOf says in words what an abort would do to a node right now.
func AbortOf(n conductor.Node, open []conductor.StepRecord) string {
	row, busy := state.FlowOf(n.State)
	flow := n.Flow
	if flow != nil && flow.Phase == conductor.PhaseEnded {
		flow = nil
	}
	if _, ok := state.Next(n.State, state.VerbAbort); !ok || busy && n.State == row.Doing {
		if busy {
			name := cmp.Or(n.Name, string(n.UUID))
			return fmt.Sprintf("an abort is refused while the server acts (%s); it is possible once the node waits for its BMC or its ramdisk; to cut the work off before: bessemer node maintenance set %s, then bessemer node power off %[2]s", n.State, name)
		}
		return "there is nothing to abort"
	}
	for _, r := range open {
		if r.State != conductor.StepStarted || flow == nil || r.Run != flow.Run {
			continue
		}
		switch {
		case n.State == row.Held:
			return fmt.Sprintf("step %s ends at once: nothing runs while the node is held", r.Step.Name)
		case r.Step.Abortable && r.Progress != nil && r.Progress.Uncut != "":
			return fmt.Sprintf("step %s can't be stopped now (%s) and ends that first, at the latest at %s; no other step starts", r.Step.Name, r.Progress.Uncut, r.Deadline.UTC().Format(time.RFC3339))
		case flow.Aborting && r.Step.Abortable:
			return fmt.Sprintf("step %s was told to stop already", r.Step.Name)
		case r.Step.Abortable:
			return fmt.Sprintf("step %s stops at a safe point within 10s; the device's state is told", r.Step.Name)
		}
		return fmt.Sprintf("step %s can't be stopped and ends first, at the latest at %s; no other step starts", r.Step.Name, r.Deadline.UTC().Format(time.RFC3339))
	}
	return "nothing runs: the work ends at once"
}
