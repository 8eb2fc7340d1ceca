package conductor

import (
	"cmp"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
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

// Confirmed is nil, or the node.unverified fault that says why nothing may be done to the machine and what to do.
func Confirmed(n Node) error {
	if n.Unverified == nil {
		return nil
	}
	return fault.New(fault.NodeUnverified, "%s", n.Unverified.Why).
		WithHint("see that the machine is what the record says, then: bessemer node confirm %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
}
