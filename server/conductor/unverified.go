package conductor

import (
	"cmp"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Settings of the store by which it tells that its records may be older than the machines (I15).
const (
	SettingEpoch = "records.epoch" // how often that was so; "" is never
	SettingDoubt = "records.doubt" // why, until every node is unverified; "" when there is none, or no more
)

// PerEpoch is what the boot generations of each node grow by with an epoch: more than anybody boots a machine, so that a
// number given out before a backup was restored never comes again (F35).
const PerEpoch = 1_000_000_000

// Unverified says that the node's record may be older than the machine. Nothing destructive is done to the machine, nor
// is its power touched, until an operator has looked and confirmed the record (I15).
type Unverified struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// The events about records that may be too old.
type (
	// RecordsDoubted says that the node's record may be older than the machine; no boot generation up to Floor may be
	// given out again.
	RecordsDoubted struct {
		Why   string
		Floor uint64
	}
	// RecordsConfirmed is an operator's word that the record is right.
	RecordsConfirmed struct{ Caller Caller }
)

func (RecordsDoubted) event()   {}
func (RecordsConfirmed) event() {}

// doubted ends the node's work without an act upon the machine, and keeps it from new work. Twice is once.
func (d *decider) doubted(e RecordsDoubted) {
	n := d.n
	if n.Unverified != nil && n.Generation >= e.Floor {
		return
	}
	d.Changed = true
	n.Generation = max(n.Generation, e.Floor)
	n.Unverified = &Unverified{Since: d.now, Why: e.Why}
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
	if n.Act != nil && n.Act.Kind == ActAttach {
		d.attached(*n.Act) // it may be under way
	}
	n.PowerTarget, n.Act = "", nil
	d.audit("node.unverified", map[string]any{"why": e.Why, "generation": n.Generation})
}

func (d *decider) confirmed(e RecordsConfirmed) {
	n := d.n
	if n.Unverified == nil {
		return
	}
	n.Unverified, d.Changed = nil, true
	if n.LastReason == fault.NodeUnverified {
		n.LastError, n.LastReason = "", ""
	}
	d.History = append(d.History, Entry{
		Node: n.UUID, Time: d.now, Severity: "INFO", Type: "records", Event: "the record was confirmed by " + cmp.Or(e.Caller.Name, "an operator"),
		State: n.State, Target: n.Target, Actor: e.Caller.Name, Request: e.Caller.Request,
	})
	d.Audit = append(d.Audit, Audit{Time: d.now, Actor: e.Caller.Name, Request: e.Caller.Request, Node: n.UUID, Act: "node.confirm"})
}

// unverified refuses what could act upon the machine of an unverified node: all but what only moves the record. The
// check of the BMC that manage makes in enroll only reads.
func (d *decider) unverified(v state.Event) error {
	if d.n.Unverified == nil || v == state.VerbManage || v == state.VerbAbort {
		return nil
	}
	return Confirmed(*d.n)
}

// Confirmed is nil, or the node.unverified fault that says why nothing may be done to the machine and what to do.
func Confirmed(n Node) error {
	if n.Unverified == nil {
		return nil
	}
	return fault.New(fault.NodeUnverified, "%s", n.Unverified.Why).
		WithHint("see that the machine is what the record says, then: bessemer node confirm %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
}
