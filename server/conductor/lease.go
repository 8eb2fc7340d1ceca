package conductor

import (
	"cmp"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
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

// Short tells that an act which no flow does holds the node. A flow that begins meanwhile takes the lease over and waits
// for the end of the act before its own.
func (l *Lease) Short(now time.Time) bool {
	return l != nil && l.Brief() && now.Sub(l.Since) <= shortest && !now.Before(l.Since)
}

// Brief tells that the caller of what holds the node waits for its end.
func (l *Lease) Brief() bool { return l.Holder == HolderBootDevice || l.Holder == HolderNow }

// HoldBriefly gives a node that nothing holds to an operator's act that no flow does, HolderBootDevice or HolderNow. The
// fault is node.busy.
func HoldBriefly(n *Node, holder string, now time.Time) error {
	if n.Lease != nil && (!n.Lease.Brief() || n.Lease.Short(now)) {
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

// Busy tells whether the server itself is at work on the node, as Ironic's reservation does.
func Busy(n Node) bool {
	f, ok := state.FlowOf(n.State)
	return ok && n.State == f.Doing || n.PowerTarget != "" || n.Act != nil || n.Lease != nil && n.Lease.Brief()
}
