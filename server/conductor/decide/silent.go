package decide

import (
	"cmp"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// silent takes that the agent is gone, unless what it told last can't be cut off. A step that may be repeated is, after a
// boot; else the flow fails, and the power-off that follows fences whatever still runs there (F16).
func (d *decider) silent(e conductor.AgentSilent) {
	f := d.open()
	if f == nil || f.Phase != conductor.PhaseAgent {
		return
	}
	ft := fault.New(fault.FlowSilent, "the agent was last heard %s ago", d.now.Sub(e.Since).Round(1e9))
	if r := d.running(); r != nil {
		if d.unheard(*r, e) {
			return
		}
		ft.Step = r.Step.Name
	}
	if !d.cutOff(ft) {
		d.fail(ft)
	}
}

// unheard waits for as long as the step may take at all when the agent fell silent while it did something that can't be cut
// off: it may be the network that is gone, and a drive that formats itself may not survive the power's end (I7).
func (d *decider) unheard(r conductor.StepRecord, e conductor.AgentSilent) bool {
	if d.n.Flow.Wait != nil && d.n.Flow.Wait.Silent && d.now.Before(r.Deadline) {
		return true // nothing was heard since
	}
	told := r.Progress
	if e.Step == r.ID && e.Progress != nil && r.State == conductor.StepStarted {
		p := e.Progress.After(r.Progress)
		told = &p
	}
	if told == nil || told.Uncut == "" || !d.now.Before(r.Deadline) {
		return false
	}
	r.Progress = told
	d.put(r)
	d.wait("agent", fmt.Sprintf("%s to end, which can't be cut off; the agent was last heard at %s", told.Uncut, e.Since.UTC().Format(time.TimeOnly)),
		r.Deadline.Sub(d.now), fault.FlowSilent)
	d.n.Flow.Wait.Silent = true
	d.note("ERROR", "step", d.now.Sub(r.Started), "the agent was last heard %s ago, while step %s did what can't be cut off (%s): the machine keeps its power until %s",
		d.now.Sub(e.Since).Round(1e9), r.Step.Name, told.Uncut, r.Deadline.UTC().Format(time.RFC3339))
	return true
}

// contestedUncut waits for as long as the running step may take at all when it was told last to do something that can't be cut
// off: the token is gone, so that nothing new begins, and the power's end might cost the drive (I7). Nothing that either machine
// says ends the wait.
func (d *decider) contestedUncut(f *fault.Fault) bool {
	r := d.running()
	if d.open() == nil || r == nil || r.State != conductor.StepStarted || r.Progress == nil || r.Progress.Uncut == "" || !d.now.Before(r.Deadline) {
		return false
	}
	d.put(*r) // what was told may be in memory only
	d.wait("operator", fmt.Sprintf("%s to end, which can't be cut off; two machines claim to be this node, and neither is believed. Or find the second one, then: bessemer node maintenance set %s and bessemer node power off %[2]s",
		r.Progress.Uncut, cmp.Or(d.n.Name, string(d.n.UUID))), r.Deadline.Sub(d.now), fault.NodeContested)
	d.n.Flow.Wait.Silent = true
	d.seen("%s", f.Message)
	d.lastError(f)
	d.note("ERROR", "identity", d.now.Sub(r.Started), "%s; step %s does what can't be cut off (%s): the machine keeps its power until %s",
		f.Message, r.Step.Name, r.Progress.Uncut, r.Deadline.UTC().Format(time.RFC3339))
	return true
}

// agentHeard ends the waits for a heartbeat: that of a reserved step, and that for a silent agent.
func (d *decider) agentHeard() {
	f := d.open()
	switch {
	case f == nil || d.n.Boot != nil && d.n.Boot.Contested: // which machine is it?
	case f.Phase == conductor.PhaseBeat:
		d.reservedEnds()
	case f.Wait != nil && f.Wait.Silent:
		r := d.running()
		if r == nil {
			return
		}
		if !f.Aborting {
			d.wait("agent", "step "+r.Step.Name+" to end", r.Deadline.Sub(d.now), fault.StepTimeout)
		} else if !d.uncut(*r) {
			d.stopping(*r)
		}
		d.seen("the agent was heard again")
	}
}
