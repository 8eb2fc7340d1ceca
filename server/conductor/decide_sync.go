package conductor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// FaultPower is Node.Fault of a node that the server put into maintenance because its BMC does not answer.
const FaultPower = "power failure"

// faultClean is Node.Fault of a node that the server put into maintenance because a cleaning that had begun failed.
const faultClean = "clean failure"

// PowerRead is the power state that a periodic look at an idle node found. Version is the node's when it was looked at.
type PowerRead struct {
	Version int64
	Power   Power   // empty: between two states
	Status  *Status // what else the look told; nil: nothing
}

// PowerLost says that periodic looks at an idle node have failed too often: Tries times in a row since Since.
type PowerLost struct {
	Version int64
	Fault   *fault.Fault
	Tries   int
	Since   time.Time
}

func (PowerRead) event() {}
func (PowerLost) event() {}

// Synced tells whether a periodic look may touch the node's record: nobody else acts upon it (I16), its BMC was taken
// under management, and it is not in an operator's maintenance.
func Synced(n Node) bool {
	_, busy := state.FlowOf(n.State)
	open := n.Flow != nil && n.Flow.Phase != PhaseEnded
	return n.State != state.Enroll && !busy && !open && n.PowerTarget == "" && n.Act == nil && (!n.Maintenance || n.Fault == FaultPower)
}

// powerRead takes over what a periodic look found, and ends the maintenance that the server itself set. It never acts
// upon the machine: a power state that changed is its user's business (I15).
func (d *decider) powerRead(e PowerRead) {
	if e.Version != d.n.Version || !Synced(*d.n) {
		return
	}
	if d.n.Fault == FaultPower {
		d.entry("INFO", "the BMC answers again; the maintenance that the server had set is ended")
		d.Audit = append(d.Audit, Audit{Time: d.now, Actor: "server", Node: d.n.UUID, Act: "maintenance", Detail: map[string]any{"on": false, "fault": FaultPower}})
		d.n.Maintenance, d.n.MaintenanceReason, d.n.Fault = false, "", ""
		d.n.LastError, d.n.LastReason, d.Changed = "", "", true
	}
	if e.Power != "" && e.Power != d.n.Power {
		d.entry("INFO", "the BMC says %s; the record said %s", e.Power, cmp.Or(d.n.Power, "nothing"))
		d.n.Power, d.Changed = e.Power, true
	}
	d.status(e.Status)
}

// powerLost puts the node into maintenance until its BMC answers again.
func (d *decider) powerLost(e PowerLost) {
	if e.Version != d.n.Version || !Synced(*d.n) || d.n.Fault == FaultPower {
		return
	}
	why := fmt.Sprintf("the power state could not be read %d times in a row since %s: %s", e.Tries, e.Since.UTC().Format(time.RFC3339), e.Fault.Message)
	d.n.Maintenance, d.n.Fault, d.n.MaintenanceReason = true, FaultPower, why
	d.n.Power, d.n.LastError, d.n.LastReason, d.Changed = PowerError, e.Fault.Error(), e.Fault.Reason, true
	d.entry("ERROR", "maintenance is set by the server (%s): %s", FaultPower, why)
	d.History[len(d.History)-1].Reason = e.Fault.Reason
	d.Audit = append(d.Audit, Audit{Time: d.now, Actor: "server", Node: d.n.UUID, Act: "maintenance", Detail: map[string]any{"on": true, "fault": FaultPower}})
}

// entry is a line of history that belongs to no flow.
func (d *decider) entry(severity, format string, args ...any) {
	d.History = append(d.History, Entry{
		Node: d.n.UUID, Time: d.now, Severity: severity, Type: "power", Event: fmt.Sprintf(format, args...), State: d.n.State, Actor: "server",
	})
}
