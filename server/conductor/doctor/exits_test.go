package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestF40_EveryBusyStateHasAWayOut: also where the table knows no abort the doctor names what ends the work, and never
// takes it by itself while nothing is stuck.
func TestF40_EveryBusyStateHasAWayOut(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range state.All() {
		row, busy := state.FlowOf(s)
		if !busy {
			continue
		}
		for _, maintenance := range []bool{false, true} {
			c := Case{Timeouts: conductor.DefaultTimeouts(), Heard: now, Node: conductor.Node{UUID: "u", Name: "n1", Driver: "redfish", State: s, Maintenance: maintenance,
				Flow: &conductor.Flow{Run: "r", Flow: row.Flow, Phase: conductor.PhaseSteps, Wait: &conductor.Wait{For: "x", Owner: "bmc", Since: now, Deadline: now.Add(time.Hour)}}}}
			d := Diagnose(c, now)
			found := false
			for _, e := range d.Exits {
				if !strings.Contains(e.Command, "bessemer node power off n1") {
					continue
				}
				found = true
				if e.To == "" || e.To == s || !e.Ends || (e.Act == ActPowerOff) != maintenance || strings.Contains(e.Command, "maintenance set n1") == maintenance {
					t.Errorf("%s: %+v", s, e)
				}
			}
			if !found || d.Fix != nil {
				t.Errorf("%s (maintenance %v): exits %+v, fix %+v", s, maintenance, d.Exits, d.Fix)
			}
			c.Strange = true
			for _, e := range Diagnose(c, now).Exits {
				if strings.Contains(e.Command, "power off") {
					t.Errorf("%s without its hardware type: %+v", s, e)
				}
			}
		}
	}
}

// A heartbeat renews what was last heard.
func TestTheDoctorShowsTheLastHeartbeat(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &conductor.Wait{For: "step x to end", Owner: "agent", Since: now.Add(-time.Hour), Deadline: now.Add(time.Hour), Evidence: "the agent started it", Seen: now.Add(-time.Hour)}
	d := Diagnose(Case{Timeouts: conductor.DefaultTimeouts(), Heard: now.Add(-time.Second), Node: conductor.Node{State: state.CleanWait,
		Flow: &conductor.Flow{Flow: state.Clean, Phase: conductor.PhaseAgent, Wait: w}}}, now)
	if d.Wait.Evidence != "the agent's heartbeat" || !d.Wait.Seen.Equal(now.Add(-time.Second)) {
		t.Errorf("%+v", d.Wait)
	}
}

// A machine that could not be powered off is told with its reason and ways out. Its power off is the fix, and cuts something
// off, so that it is asked for; that the machine is off is an operator's word, which is never the fix (I15).
func TestI8_I15_TheDoctorTellsThatAMachineIsToBeOff(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := Case{Timeouts: conductor.DefaultTimeouts(), Node: conductor.Node{UUID: "u", Name: "n1", Driver: "redfish", State: state.Manageable,
		Owed: &conductor.Owed{Since: now.Add(-time.Hour), Run: "r", Generation: 1, Tries: 3, Tried: now, Reason: fault.BMCUnreachable, Cause: "no route"}}}
	d := Diagnose(c, now)
	if d.Verdict != api.VerdictWrong || d.Problems[0].Reason != string(fault.NodeNotOff) || !strings.Contains(d.Problems[0].Message, "no route") || d.Problems[0].Hint == "" {
		t.Errorf("%+v", d.Problems)
	}
	if d.Exits[0].Act != ActConfirm || d.Fix == nil || d.Fix.Act != ActPowerOff || !d.Fix.Ends || d.Fix.Destroys {
		t.Errorf("exits %+v, fix %+v", d.Exits, d.Fix)
	}
	c.Node.DisablePowerOff = true
	if d := Diagnose(c, now); d.Fix != nil && d.Fix.Act == ActPowerOff {
		t.Errorf("a power off that would be refused is the fix: %+v", d.Fix)
	}
	c.Node.Owed.Tries = 0
	if d := Diagnose(c, now); d.Verdict != api.VerdictWell {
		t.Errorf("while the first try goes on: %+v", d)
	}
}
