// Package doctor says what a node waits for, what is wrong with it, and every legal way on. It is pure: Diagnose reads what
// the store has of one node and what the server knows of it beside.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Case is all that Diagnose looks at: one node as the store has it, and what the server knows of it beside.
type Case struct {
	Node       conductor.Node
	Steps      []conductor.StepRecord // of the node's current run
	Open       []conductor.StepRecord // offered or started, of any run
	Effects    []conductor.Effect     // stored and not done
	Heard      time.Time              // the agent's last sign of life in the current boot; zero: none
	Listening  time.Time              // since when this server can have heard one
	Strange    bool                   // the node's hardware type is not known to this server
	Interfaces map[string]string      // the node's implementations
	Acting     conductor.EffectKind   // what is being done to the node's BMC now; "" nothing
	BMC        conductor.Health       // how its BMC has answered lately
	Timeouts   conductor.Timeouts
}

// late is what a wait may be over its deadline before somebody must be told: the server looks once a second.
const late = 30 * time.Second

// Diagnose says what a node waits for, what is wrong with it, and every legal way on, from the table of states. It is
// pure. Fix is the way that needs no judgement of an operator's, or the one that ends what is stuck: it never destroys
// data, and says by Ends that it must not be taken unasked.
func Diagnose(f Case, now time.Time) api.Diagnosis {
	n := f.Node
	d := api.Diagnosis{
		Node: n.UUID, Name: n.Name, Verdict: api.VerdictWell, State: n.State, Target: n.Target, Since: api.Time{Time: n.StateSince},
		Lease: held(f), Heard: api.Time{Time: f.Heard}, Problems: []api.Problem{}, Exits: exits(f),
	}
	wrong := func(r fault.Reason, format string, args ...any) *api.Problem {
		p := api.Problem{Reason: string(r), Message: fmt.Sprintf(format, args...)}
		if row, ok := fault.Lookup(r); ok {
			p.Hint = row.Hint
		}
		d.Problems = append(d.Problems, p)
		return &d.Problems[len(d.Problems)-1]
	}
	stuck := false
	flow := n.Flow
	if flow != nil && flow.Phase == conductor.PhaseEnded {
		flow = nil
	}
	switch w := (*conductor.Wait)(nil); {
	case flow == nil:
	case flow.Wait == nil:
		stuck = true
		wrong(fault.InternalError, "work is in progress, but nothing says what it waits for")
	default:
		w = flow.Wait
		d.Verdict = api.VerdictWaits
		d.Wait = WaitOf(w, f.Heard, f.Open)
		if over := now.Sub(w.Deadline); over > late {
			stuck = true
			wrong(w.Reason, "the wait for %s is over since %s, and nobody has ended it", w.For, over.Round(time.Second)).
				Hint = "can the server write its database? bessemer doctor says so"
		}
		switch silence := quiet(f, now); {
		case silence <= f.Timeouts.Silent/2:
		case w.Silent && n.Boot != nil && n.Boot.Contested: // told below
		case w.Silent:
			wrong(fault.FlowSilent, "the agent is not heard; it told of what can't be cut off, so that the machine keeps its power until %s",
				w.Deadline.UTC().Format(time.RFC3339))
		default:
			stuck = true
			wrong(fault.FlowSilent, "the agent was last heard %s ago; after %s the work fails and the machine is powered off",
				silence.Round(time.Second), f.Timeouts.Silent)
		}
		if w.Owner == "bmc" && w.Evidence != "" && now.Sub(w.Since) > f.Timeouts.BMC/2 {
			p := wrong(cmp.Or(w.Reason, fault.BMCUnreachable), "the BMC has not done what it was asked for %s; last sign: %s", now.Sub(w.Since).Round(time.Second), w.Evidence)
			if p.Evidence, p.Seen = w.Evidence, (api.Time{Time: w.Seen}); f.BMC.Last.At.After(w.Seen) {
				prove(p, f.BMC.Last)
			}
		}
	}
	for _, r := range f.Open {
		if flow == nil || r.Run != flow.Run {
			wrong(fault.InternalError, "step %s is %s, but belongs to no work in progress", r.Step.Name, r.State)
			continue
		}
		d.Step = &api.StepBrief{Step: r.Step.Name, State: string(r.State), Deadline: api.Time{Time: r.Deadline}, Abort: AbortOf(n, f.Open)}
	}
	if flow == nil && n.LastReason != "" && (state.IsFailed(n.State) || n.State == state.Enroll) {
		p := wrong(n.LastReason, "%s", n.LastError)
		p.Hint = cmp.Or(p.Hint, "bessemer node history "+cmp.Or(n.Name, string(n.UUID)))
		if strings.HasPrefix(p.Reason, "bmc.") {
			prove(p, f.BMC.Last)
		}
	}
	if n.Fault != "" {
		p := wrong(fault.NodeMaintenance, "the server found a fault (%s) and put the node in maintenance: %s", n.Fault, n.MaintenanceReason)
		p.Hint = "when the cause is gone, end the maintenance: bessemer node maintenance unset " + cmp.Or(n.Name, string(n.UUID))
		if n.Fault == conductor.FaultPower {
			prove(p, f.BMC.Last)
		}
	}
	if u := n.Unverified; u != nil {
		wrong(fault.NodeUnverified, "since %s nothing is done to the machine: %s", u.Since.UTC().Format(time.RFC3339), u.Why)
	}
	if o := n.Owed; o.Overdue() {
		wrong(fault.NodeNotOff, "what ran on the machine may still run: %s", o)
	}
	if f.Strange {
		wrong(fault.DriverUnknown, "hardware type %q is not enabled on this server: nothing is done to the machine, and nothing new is begun; what runs already may end, and is given up at its deadline", n.Driver).
			Hint = "add it to enabled_hardware_types and restart the server, or end the work: bessemer node abort " + cmp.Or(n.Name, string(n.UUID))
	}
	if h := f.BMC; h.Failed >= ailing {
		prove(wrong(fault.BMCUnreachable, "the last %d requests to the BMC came to nothing: %s%s", h.Failed, cmp.Or(h.Last.Came, "no answer"), until(h.Next, now)), h.Last)
	}
	if u := f.BMC.Unsent; now.Sub(u.At) < lately {
		p := wrong(fault.BMCUnreachable, "the BMC has more to do than the server may ask of it at a time; what had waited too long was not sent")
		p.Hint = "does it answer slowly, or serve many machines that are at work at once? Start less at a time on those"
		prove(p, u)
	}
	if n.BMC != nil {
		for _, doubt := range n.BMC.Doubts {
			row, _ := fault.Lookup(doubt.Reason)
			d.Doubts = append(d.Doubts, api.Problem{Reason: string(doubt.Reason), Message: doubt.Message, Hint: row.Hint})
		}
	}
	if b := n.Boot; b != nil && b.Contested {
		wrong(fault.NodeContested, "two machines claimed to be this node in boot %d", b.Generation)
	}
	if lost := conductor.LostAct(n, f.Effects); lost != "" {
		wrong(fault.NodeActLost, "%s was begun, but nothing is stored that would carry it out: nothing new can begin on the node", lost)
	}
	if len(d.Problems) > 0 {
		d.Verdict = api.VerdictWrong
		d.Fix = fix(n, d.Exits, stuck)
	}
	return d
}

// WaitOf tells of a wait, with the newest sign that the server has of whoever is to act. heard is as in Case, steps are the
// run's, or those of them that are open.
func WaitOf(w *conductor.Wait, heard time.Time, steps []conductor.StepRecord) *api.Wait {
	var running *conductor.StepRecord
	if i := slices.IndexFunc(steps, func(r conductor.StepRecord) bool { return r.State == conductor.StepStarted }); i >= 0 {
		running = &steps[i]
	}
	sign, at := w.Last(heard, running)
	return &api.Wait{For: w.For, Owner: w.Owner, Since: api.Time{Time: w.Since}, Deadline: api.Time{Time: w.Deadline},
		Evidence: sign, Seen: api.Time{Time: at}, Reason: string(w.Reason)}
}

// ailing is how many requests in a row a BMC must leave unanswered to be called out of order: one may be lost.
const ailing = 3

// lately is for how long it is a problem that the budget of a BMC had no room for a request.
const lately = 5 * time.Minute

// prove puts beside a problem what a BMC was asked, when, and what came of it.
func prove(p *api.Problem, x conductor.Exchange) {
	if !x.At.IsZero() {
		p.Evidence, p.Seen = x.String(), api.Time{Time: x.At}
	}
}

func until(next, now time.Time) string {
	if !next.After(now) {
		return ""
	}
	return "; the next try is in " + next.Sub(now).Round(time.Second).String()
}

// held says which work has the node's lease, and what the server does for it right now.
func held(f Case) string {
	l := f.Node.Lease
	if l == nil {
		return ""
	}
	text := fmt.Sprintf("%s, number %d, since %s", l.Holder, l.Number, l.Since.UTC().Format(time.RFC3339))
	if f.Acting != "" {
		text += "; now: " + string(f.Acting)
	}
	return text
}

// quiet is for how long nothing was heard of an agent that should be there.
func quiet(f Case, now time.Time) time.Duration {
	if f.Node.Flow.Phase != conductor.PhaseAgent {
		return 0
	}
	heard := f.Heard
	for _, t := range []time.Time{f.Node.Flow.Wait.Since, f.Listening} {
		if heard.Before(t) {
			heard = t
		}
	}
	return now.Sub(heard)
}
