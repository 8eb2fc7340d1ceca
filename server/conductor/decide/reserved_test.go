package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// cleaning begins a manual clean of these steps.
func (l *life) cleaning(names ...string) {
	l.t.Helper()
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: nodetest.Wanted(names...)}})
}

// outOfBand ends the step that the server runs.
func (l *life) outOfBand(p conductor.Power) {
	l.t.Helper()
	l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded, Power: p})
}

func TestHoldAndUnhold(t *testing.T) {
	l := newLife(t)
	l.cleaning("management.reset_bmc", "deploy.hold", "management.clear_job_queue")
	l.outOfBand("")
	l.want(state.CleanHold)
	if len(l.effects) != 0 || l.s.Node.Flow.Wait.Owner != "operator" {
		t.Fatalf("effects %v, wait %+v", l.kinds(), l.s.Node.Flow.Wait)
	}
	l.ok(conductor.ServerRestarted{})
	l.want(state.CleanHold)
	l.verb(state.VerbUnhold)
	l.want(state.CleanWait)
	l.outOfBand("")
	l.want(state.Manageable)
	for _, r := range l.s.Steps {
		if r.State != conductor.StepSucceeded {
			t.Errorf("%s is %s", r.Step.Name, r.State)
		}
	}
}

func TestF40_AbortAndPowerOffInHold(t *testing.T) {
	l := newLife(t)
	l.cleaning("deploy.hold", "deploy.erase_devices")
	l.want(state.CleanHold)
	l.verb(state.VerbAbort)
	l.want(state.CleanFail)
	if l.s.Steps[0].State != conductor.StepAborted || len(l.effects) != 0 || l.s.Node.LastReason != fault.FlowAborted || l.s.Node.Maintenance {
		t.Fatalf("%s, effects %v, %s", l.s.Steps[0].State, l.kinds(), l.s.Node.LastError)
	}

	// In maintenance a power off cuts off whatever goes on (docs/adr/0053-power-off-fences.md).
	l = newLife(t)
	l.available()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted("deploy.hold=90")}})
	l.want(state.DeployHold)
	l.s.Node.Maintenance = true
	l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}})
	l.want(state.DeployFail)
	l.take(conductor.EffectPower)
}

// TestF40_I12_PowerActsInAHold: who asked for the hold may switch the machine, as with Ironic, and the work stays where it is. What ran
// on a machine that lost its power is not taken for what goes on: the next step that needs the ramdisk boots it anew.
func TestF40_I12_PowerActsInAHold(t *testing.T) {
	const erase = "deploy.erase_devices_metadata"
	flows := map[string]func(l *life){
		"clean": func(l *life) { l.cleaning(erase, "deploy.hold", "deploy.erase_devices") },
		"deploy": func(l *life) {
			l.available()
			l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: nodetest.Wanted(erase+"=95", "deploy.hold=90")}})
		},
	}
	for flow, begin := range flows {
		for _, act := range []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"} {
			l := newLife(t)
			begin(l)
			l.boot()
			l.runStep(erase, nil)
			held := l.s.Node.State
			before := *l.s.Node.Flow.Wait
			if f, _ := state.FlowOf(held); held != f.Held {
				t.Fatalf("%s: %s", flow, held)
			}
			l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: act}})
			l.want(held)
			if w := *l.s.Node.Flow.Wait; w != before || l.running().State != conductor.StepStarted {
				t.Errorf("%s, %s: waits for %+v", flow, act, w)
			}
			on := act == "power on"
			if b := l.s.Node.Boot; b.Ended == on {
				t.Errorf("%s, %s: the boot has ended: %t", flow, act, b.Ended)
			}
			for _, v := range []state.Event{state.VerbUnhold, state.VerbAbort} {
				if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: v}}); !fault.Has(err, fault.NodeBusy) {
					t.Errorf("%s, %s: %s meanwhile: %v", flow, act, v, err)
				}
			}
			if err := l.do(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}}); !fault.Has(err, fault.NodeBusy) {
				t.Errorf("%s, %s: a second act meanwhile: %v", flow, act, err)
			}
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPower), Power: map[bool]conductor.Power{true: conductor.PowerOn, false: conductor.PowerOff}[l.s.Node.PowerTarget == conductor.PowerOn]})
			l.want(held)
			l.s.Heard = l.now
			generation := l.s.Node.Generation
			l.verb(state.VerbUnhold)
			if boots := l.s.Node.Generation == generation+1; boots == on {
				t.Errorf("%s, %s: the ramdisk is booted anew: %t", flow, act, boots)
			}
		}
	}
	l := newLife(t)
	l.s.Node.DisablePowerOff = true
	l.cleaning("deploy.hold")
	if err := l.do(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}}); err == nil || l.s.Node.PowerTarget != "" {
		t.Errorf("a machine that may not be powered off: %v", err)
	}
}

func TestI14_AHoldEndsInTheFailedState(t *testing.T) {
	l := newLife(t)
	l.cleaning("deploy.hold")
	l.now = l.s.Node.Flow.Wait.Deadline
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.FlowHeld {
		t.Fatal(l.s.Node.LastError)
	}
}

func TestWaitStep(t *testing.T) {
	l := newLife(t)
	l.cleaning("deploy.wait", "management.reset_bmc")
	l.want(state.Cleaning)
	l.now = l.now.Add(2 * time.Second)
	l.ok(conductor.DeadlinePassed{})
	if len(l.effects) != 0 {
		t.Fatal("the pause ended early")
	}
	l.now = l.now.Add(time.Second)
	l.ok(conductor.DeadlinePassed{})
	l.outOfBand("")
	l.want(state.Manageable)

	l = newLife(t)
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.erase_devices_metadata"}, {Name: "deploy.wait"}, {Name: "deploy.wait", Args: step.Args{"seconds": 0.0}}}}})
	l.ok(conductor.AgentHeard{})
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	l.want(state.CleanWait)
	if l.s.Node.Flow.Phase != conductor.PhaseBeat {
		t.Fatal(l.s.Node.Flow.Phase)
	}
	l.ok(conductor.AgentHeard{})
	l.take(conductor.EffectFinish)
}

// A power step fences the ramdisk before it is run: a step that the agent still holds can't start any more.
func TestI09_PowerStepsFenceTheRamdisk(t *testing.T) {
	for _, name := range []string{"power.power_off", "power.reboot"} {
		l := newLife(t)
		l.cleaning("deploy.erase_devices_metadata", name, "deploy.erase_devices")
		l.boot()
		gen := l.s.Node.Generation
		l.runStep("deploy.erase_devices_metadata", nil)
		l.want(state.CleanWait)
		if !l.s.Node.Boot.Ended {
			t.Fatalf("%s: the boot goes on", name)
		}
		l.outOfBand(conductor.PowerOff)
		if l.s.Node.Generation != gen+1 || l.s.Node.Power != "" { // the next boot has begun
			t.Fatalf("%s: generation %d, power %q", name, l.s.Node.Generation, l.s.Node.Power)
		}
		l.boot()
		l.runStep("deploy.erase_devices", records(nodetest.Disk0))
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOff})
		l.want(state.Manageable)
	}
}

// A server that died during a power act makes a new attempt: the acts are absolute.
func TestI13_APowerStepIsTriedAgain(t *testing.T) {
	l := newLife(t)
	l.cleaning("power.power_on")
	l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Interrupted})
	l.outOfBand(conductor.PowerOn)
	l.want(state.Manageable)
	if len(l.s.Steps) != 2 || l.s.Steps[0].State != conductor.StepInterrupted || l.s.Steps[1].State != conductor.StepSucceeded {
		t.Fatalf("%+v", l.s.Steps)
	}
}

// fast makes a node whose agent is up after a clean.
func fast(t *testing.T) *life {
	l := newLife(t)
	l.s.Node.DriverInfo = map[string]any{"fast_track": "true"}
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.s.Heard = l.now
	l.runStep("deploy.erase_devices_metadata", nil)
	l.runStep("deploy.erase_devices", records(nodetest.Disk0))
	l.want(state.Available)
	if len(l.effects) != 0 {
		t.Fatalf("the agent should stay up: %v", l.kinds())
	}
	return l
}

func TestFastTrack(t *testing.T) {
	l := fast(t)
	gen := l.s.Node.Generation
	l.now = l.now.Add(fresh)
	l.verb(state.VerbDeploy)
	l.want(state.DeployWait)
	if l.s.Node.Generation != gen {
		t.Fatal("the machine was booted anew")
	}
	l.runStep(catalog.WriteStep, l.left())
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
	l.want(state.Active)
	if !l.s.Node.Boot.Ended {
		t.Fatal("a deployment ends the ramdisk")
	}
}

func TestFastTrackBootsAnewWithoutAUsableAgent(t *testing.T) {
	for name, change := range map[string]func(*life){
		"silent":     func(l *life) { l.now = l.now.Add(fresh + time.Second) },
		"never":      func(l *life) { l.s.Heard = time.Time{} },
		"off":        func(l *life) { l.s.Node.Power = conductor.PowerOff },
		"not wanted": func(l *life) { l.s.Node.DriverInfo = map[string]any{"fast_track": false} },
		"powered off by an operator": func(l *life) {
			l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "rebooting"}})
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPower), Power: conductor.PowerOn})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := fast(t)
			gen := l.s.Node.Generation
			change(l)
			l.verb(state.VerbDeploy)
			if l.s.Node.Generation != gen+1 {
				t.Fatal("the agent was used")
			}
			l.boot()
			l.runStep(catalog.WriteStep, l.left())
		})
	}
}

func TestInspectionKeepsTheAgentButNeverStartsFast(t *testing.T) {
	l := newLife(t)
	l.s.Node.DriverInfo = map[string]any{"fast_track": true}
	l.manageable()
	l.verb(state.VerbInspect)
	e := l.take(conductor.EffectBoot)
	l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	l.take(conductor.EffectEject)
	l.s.Heard = l.now
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
	l.want(state.Manageable)
	if len(l.effects) != 0 {
		t.Fatal(l.kinds())
	}
	l.verb(state.VerbInspect)
	l.take(conductor.EffectBoot)
}
