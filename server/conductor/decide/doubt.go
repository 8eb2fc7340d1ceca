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
	n.PowerTarget, n.Act = "", nil
	d.audit("node.unverified", map[string]any{"why": e.Why, "generation": n.Generation})
}

func (d *decider) confirmed(e conductor.RecordsConfirmed) {
	n := d.n
	if n.Unverified == nil {
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

// unverified refuses what could act upon the machine of an unverified node: all but what only moves the record. The
// check of the BMC that manage makes in enroll only reads.
func (d *decider) unverified(v state.Event) error {
	if d.n.Unverified == nil || v == state.VerbManage || v == state.VerbAbort {
		return nil
	}
	return conductor.Confirmed(*d.n)
}
