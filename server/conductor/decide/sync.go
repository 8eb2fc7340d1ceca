package decide

import (
	"cmp"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// faultClean is Node.Fault of a node that the server put into maintenance because a cleaning that had begun failed.
const faultClean = "clean failure"

// Synced tells whether a periodic look may touch the node's record: nobody else acts upon it (I16), its BMC was taken
// under management, and it is not in an operator's maintenance, unless something is owed to the machine.
func Synced(n conductor.Node) bool {
	_, busy := state.FlowOf(n.State)
	open := n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded
	return n.State != state.Enroll && !busy && !open && n.PowerTarget == "" && n.Act == nil && (!n.Maintenance || n.Fault == conductor.FaultPower || n.Owed != nil)
}

// powerRead takes over what a periodic look found, and ends the maintenance that the server itself set. It acts upon the
// machine only to do what is owed to it: a power state that changed is its user's business (I15).
func (d *decider) powerRead(e conductor.PowerRead) {
	if e.Version != d.n.Version || !Synced(*d.n) {
		return
	}
	if d.n.Fault == conductor.FaultPower {
		d.entry("INFO", "the BMC answers again; the maintenance that the server had set is ended")
		d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Actor: "server", Node: d.n.UUID, Act: "maintenance", Detail: map[string]any{"on": false, "fault": conductor.FaultPower}})
		d.n.Maintenance, d.n.MaintenanceReason, d.n.Fault = false, "", ""
		d.n.LastError, d.n.LastReason, d.Changed = "", "", true
	}
	if e.Power != "" && e.Power != d.n.Power {
		d.entry("INFO", "the BMC says %s; the record said %s", e.Power, cmp.Or(d.n.Power, "nothing"))
		d.n.Power, d.Changed = e.Power, true
	}
	d.status(e.Status)
	d.due()
}

// powerLost puts the node into maintenance until its BMC answers again.
func (d *decider) powerLost(e conductor.PowerLost) {
	if e.Version != d.n.Version || !Synced(*d.n) || d.n.Maintenance {
		return
	}
	why := fmt.Sprintf("the power state could not be read %d times in a row since %s: %s", e.Tries, e.Since.UTC().Format(time.RFC3339), e.Fault.Message)
	d.n.Maintenance, d.n.Fault, d.n.MaintenanceReason = true, conductor.FaultPower, why
	d.n.Power, d.n.LastError, d.n.LastReason, d.Changed = conductor.PowerError, e.Fault.Error(), e.Fault.Reason, true
	d.entry("ERROR", "maintenance is set by the server (%s): %s", conductor.FaultPower, why)
	d.History[len(d.History)-1].Reason = e.Fault.Reason
	d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Actor: "server", Node: d.n.UUID, Act: "maintenance", Detail: map[string]any{"on": true, "fault": conductor.FaultPower}})
}

// entry is a line of history that belongs to no flow.
func (d *decider) entry(severity, format string, args ...any) {
	d.History = append(d.History, conductor.Entry{
		Node: d.n.UUID, Time: d.now, Severity: severity, Type: "power", Event: fmt.Sprintf(format, args...), State: d.n.State, Actor: "server",
	})
}
