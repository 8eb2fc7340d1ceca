package decide

import (
	"cmp"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// doubted ends the node's work without an act upon the machine, and keeps it from new work. Twice is once.
func (d *decider) doubted(e conductor.RecordsDoubted) {
	n := d.n
	if n.Unverified != nil && n.Generation >= e.Floor {
		return
	}
	d.Changed = true
	n.Generation = max(n.Generation, e.Floor)
	n.Unverified = &conductor.Unverified{Since: d.now, Why: e.Why}
	f := fault.New(fault.NodeUnverified, "%s", e.Why).
		WithHint("see that the machine is what the record says, then: bessemer node confirm %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
	if flow := d.open(); flow != nil {
		flow.Booted = false // its end must not power the machine off
		d.fail(f)
		d.Refuse = nil // nobody refuses a doubt: not for a record either in which work is open in a state without any
	} else {
		n.LastError, n.LastReason = f.Error(), f.Reason
		d.note("ERROR", "records", 0, "%s", f.Error())
	}
	if n.Boot != nil {
		n.Boot.Ended = true // what agents of older boots hold is worth nothing
	}
	if n.Act != nil && n.Act.Kind == conductor.ActAttach {
		d.attached(*n.Act) // it may be under way
	}
	if n.Owed != nil && !n.Owed.Overdue() {
		n.Owed = n.Owed.Missed(f, d.now) // what is stored is dropped: the first try will not be made
	}
	n.PowerTarget, n.Act = "", nil
	d.audit("node.unverified", map[string]any{"why": e.Why, "generation": n.Generation})
}

func (d *decider) confirmed(e conductor.RecordsConfirmed) {
	n := d.n
	switch o := n.Owed; {
	case n.Unverified != nil:
	case o.Overdue() && o.Reason != fault.BMCOtherMachine: // that one is about which machine it is: what is owed stays
		d.vouched(e)
		return
	default:
		d.unknow(e)
		return
	}
	n.Unverified, d.Changed = nil, true
	if n.LastReason == fault.NodeUnverified {
		n.LastError, n.LastReason = "", ""
	}
	d.History = append(d.History, conductor.Entry{
		Node: n.UUID, Time: d.now, Severity: "INFO", Type: "records", Event: "the record was confirmed by " + cmp.Or(e.Caller.Name, "an operator"),
		State: n.State, Target: n.Target, Actor: e.Caller.Name, Request: e.Caller.Request,
	})
	d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Actor: e.Caller.Name, Request: e.Caller.Request, Node: n.UUID, Act: "node.confirm"})
}

// unknow takes an operator's word that the machine behind the BMC is the node's although the record tells it from that one:
// its board was replaced. Which one it is is learnt at the next look. Not while work goes on: what is under way would go on
// at whatever machine is at the path (F24).
func (d *decider) unknow(e conductor.RecordsConfirmed) {
	n := d.n
	if (n.Machine == conductor.Identity{}) {
		return
	}
	if f := d.open(); f != nil || n.PowerTarget != "" || n.Act != nil {
		d.Refuse = fault.New(fault.NodeBusy, "the machine can't be confirmed as the node's while work on it is under way").
			WithHint("wait until it has ended, or abort it: bessemer node abort %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
		return
	}
	was := n.Machine
	n.Machine, d.Changed = conductor.Identity{}, true
	if n.LastReason == fault.BMCOtherMachine {
		n.LastError, n.LastReason = "", ""
	}
	d.History = append(d.History, conductor.Entry{
		Node: n.UUID, Time: d.now, Severity: "INFO", Type: "records", Event: "the machine behind the BMC was confirmed as the node's by " + cmp.Or(e.Caller.Name, "an operator") + "; it was the one with " + was.String(),
		State: n.State, Target: n.Target, Actor: e.Caller.Name, Request: e.Caller.Request,
	})
	d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Actor: e.Caller.Name, Request: e.Caller.Request, Node: n.UUID, Act: "node.confirm", Detail: map[string]any{"machine": was.String()}})
}

// unverified refuses what could act upon the machine of an unverified node: all but what only moves the record. The
// check of the BMC that manage makes in enroll only reads.
func (d *decider) unverified(v state.Event) error {
	if d.n.Unverified == nil || v == state.VerbManage || v == state.VerbAbort {
		return nil
	}
	return conductor.Confirmed(*d.n)
}
