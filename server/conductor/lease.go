package conductor

import (
	"cmp"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Lease says which piece of work holds a node. It is stored with the node and renewed by nobody: it holds as long as the
// server's own lease of the store, under which all work is done (30 s without a renewal), and the server that takes the
// store over goes on with the work or ends it. Its number only grows; what was set going under an older one changes
// nothing any more (I16).
type Lease struct {
	Number uint64    `json:"number"`
	Holder string    `json:"holder"`        // a flow's name, or one of those below
	Run    string    `json:"run,omitempty"` // of a flow
	Since  time.Time `json:"since"`
}

// The holders that are no flows.
const (
	HolderPower      = "power"       // an operator's power act
	HolderAct        = "management"  // another act upon the BMC that was accepted
	HolderNow        = "an operator" // an act upon the BMC that its caller waits for
	HolderBootDevice = "boot device" // an operator sets the boot device
)

// shortest is how long an act that no flow does holds a node at most: the store's own lease, so that what a dead server
// left is no longer in the way than the server itself.
const shortest = 30 * time.Second

// short tells that an act which no flow does holds the node. A flow that begins meanwhile takes the lease over and waits
// for the end of the act before its own.
func (l *Lease) short(now time.Time) bool {
	return l != nil && l.brief() && now.Sub(l.Since) <= shortest && !now.Before(l.Since)
}

// brief tells that the caller of what holds the node waits for its end.
func (l *Lease) brief() bool { return l.Holder == HolderBootDevice || l.Holder == HolderNow }

// Idle tells that no work holds the node, and that its record is believed: periodic work may look at it and correct it
// (I16).
func Idle(n Node) bool { return n.Lease == nil && n.Unverified == nil }

// hold gives the node's lease to the work that the decision leaves it with, and marks what is set going with its number.
func (d *decider) hold() {
	n := d.n
	holder, run := "", ""
	switch f := d.open(); {
	case f != nil:
		holder, run = string(f.Flow), f.Run
	case n.PowerTarget != "":
		holder = HolderPower
	case n.Act != nil:
		holder = HolderAct
	case n.Lease.short(d.now):
		return
	}
	switch l := n.Lease; {
	case holder == "":
		n.Lease = nil
	case l == nil || l.Holder != holder || l.Run != run:
		n.Leases++
		n.Lease = &Lease{Number: n.Leases, Holder: holder, Run: run, Since: d.now}
	}
	for i := range d.Effects {
		d.Effects[i].Lease = n.Leases
	}
}

// late tells that an effect was set going under a lease that is not the node's any more. The end of a boot, a power
// act and media taken out are told in any case: a node's acts are done in order, so they say how the machine is now.
func (d *decider) late(e Effect) bool {
	return e.Lease != 0 && e.Lease < d.n.Leases && e.Kind != EffectFinish && e.Kind != EffectPower && e.Kind != EffectDetach
}

// overtaken tells that an event is the outcome of such an effect.
func (d *decider) overtaken(e Event) bool {
	switch e := e.(type) {
	case EffectDone:
		return d.late(e.Effect)
	case EffectEvidence:
		return d.late(e.Effect)
	}
	return false
}

// HoldBriefly gives a node that nothing holds to an operator's act that no flow does, HolderBootDevice or HolderNow. The
// fault is node.busy.
func HoldBriefly(n *Node, holder string, now time.Time) error {
	if n.Lease != nil && (!n.Lease.brief() || n.Lease.short(now)) {
		return heldBy(*n)
	}
	n.Leases++
	n.Lease = &Lease{Number: n.Leases, Holder: holder, Since: now}
	return nil
}

func heldBy(n Node) error {
	return fault.New(fault.NodeBusy, "%s holds the node since %s (lease %d)", n.Lease.Holder, n.Lease.Since.UTC().Format(time.RFC3339), n.Lease.Number).
		WithHint("wait until it ends: bessemer node show %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
}
