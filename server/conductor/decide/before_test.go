package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestADiskStepMayFollowAnyOther: whatever event ends the step in front of one that touches disks, the disks are read for
// it. life.do decides each event without them, too, where LooksAtDisks says that they are not needed.
func TestADiskStepMayFollowAnyOther(t *testing.T) {
	ends := map[string]func(l *life){
		"hold": func(l *life) { l.s.Heard = l.now; l.verb(state.VerbUnhold) },
		"wait": func(l *life) { l.ok(conductor.AgentHeard{}) },
		"wait for seconds": func(l *life) {
			l.now = l.now.Add(3 * time.Second)
			l.ok(conductor.DeadlinePassed{})
		},
		"power_on": func(l *life) { l.outOfBand(conductor.PowerOn) },
		"in band":  func(l *life) { l.runStep("deploy.erase_devices_metadata", nil) },
		"out of band": func(l *life) {
			l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded})
		},
	}
	lists := map[string]step.Wanted{
		"hold": {Name: "deploy.hold"}, "wait": {Name: "deploy.wait"}, "wait for seconds": {Name: "deploy.wait", Args: step.Args{"seconds": 3.0}},
		"power_on": {Name: "power.power_on"}, "in band": {Name: "deploy.erase_devices_metadata"}, "out of band": {Name: "management.clear_job_queue"},
	}
	for _, s := range catalog.Reserved {
		if ends[s.Name] == nil && s.Name != "power_off" && s.Name != "reboot" { // those two end the boot: the next step boots anew
			t.Errorf("no case for the reserved step %s", s.Name)
		}
	}
	for name, between := range lists {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.manageable()
			l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean,
				CleanSteps: []step.Wanted{{Name: "deploy.erase_devices_metadata"}, between, {Name: "deploy.erase_devices"}}}})
			l.boot()
			l.runStep("deploy.erase_devices_metadata", nil)
			ends[name](l)
			l.runStep("deploy.erase_devices", records(nodetest.Disk0))
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
			l.want(state.Manageable)
		})
	}
}
