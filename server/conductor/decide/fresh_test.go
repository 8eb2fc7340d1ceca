package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// known makes the record say what a BMC said of the machine some time ago.
func (l *life) known() {
	on := true
	n := &l.s.Node
	n.Power, n.BootMode, n.SecureBoot, n.BMC = conductor.PowerOn, "uefi", &on, &conductor.Known{VirtualMedia: true}
}

// What was read of a machine's power before an act that may change it began is no evidence after that: only what is read
// later is (F23, F25).
func TestF23_PowerReadBeforeAnActIsForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		begin  func(l *life)
		effect conductor.EffectKind
	}{
		"power off": {func(l *life) { l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}}) }, conductor.EffectPower},
		"reboot":    {func(l *life) { l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "rebooting"}}) }, conductor.EffectPower},
		"a boot": {func(l *life) {
			l.byHand = true
			l.verb(state.VerbInspect)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: capable()})
		}, conductor.EffectBoot},
		"the end of a boot": {func(l *life) {
			l.verb(state.VerbInspect)
			l.take(conductor.EffectBoot)
			l.known()
			l.now = l.s.Node.Flow.Wait.Deadline
			l.ok(conductor.DeadlinePassed{})
		}, conductor.EffectFinish},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.manageable()
			l.known()
			c.begin(l)
			if got := l.s.Node.Power; got != "" {
				t.Errorf("once it has begun the machine is said to be %q", got)
			}
			e := l.take(c.effect)
			failed := *l
			failed.ok(conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCUnreachable, "no route")})
			if got := failed.s.Node.Power; got != "" {
				t.Errorf("after it came to nothing anybody knows of, the machine is said to be %q", got)
			}
			l.ok(conductor.EffectDone{Effect: e, Power: conductor.PowerOff})
			if got := l.s.Node.Power; got != conductor.PowerOff {
				t.Errorf("after a newer reading the machine is said to be %q", got)
			}
		})
	}
}

// So it is with a step out of band that restarts the machine or switches it, and with what the BMC can do and is set to. The
// power that was before such a step stays with the attempt, as what it is to leave the machine with.
func TestF23_FactsReadBeforeAStepAreForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		ended conductor.StepEnded
		power bool // it changes the power
		mode  bool // and how the machine boots
	}{
		"bios.factory_reset":         {conductor.StepEnded{Power: conductor.PowerOff, Status: &conductor.Status{Power: conductor.PowerOff, BootMode: "bios"}}, true, true},
		"power.power_off":            {conductor.StepEnded{Power: conductor.PowerOff}, true, false},
		"management.clear_job_queue": {conductor.StepEnded{}, false, false},
	} {
		for _, outcome := range []api.Outcome{api.Succeeded, api.Failed} {
			t.Run(name+" "+string(outcome), func(t *testing.T) {
				l := newLife(t)
				l.manageable()
				l.known()
				l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: name}}}})
				l.take(conductor.EffectRunStep)
				n, r := l.s.Node, l.running()
				if (n.Power == "") != c.power || (n.BootMode == "" && n.SecureBoot == nil) != c.mode || (n.BMC == nil) != (r.Step.Where == step.OutOfBand) {
					t.Errorf("once it has begun: power %q, boot mode %q, secure boot %v, BMC %+v", n.Power, n.BootMode, n.SecureBoot, n.BMC)
				}
				if r.Step.Reboot && r.Recorded != conductor.PowerOn {
					t.Errorf("the attempt keeps %q of the power before it", r.Recorded)
				}
				c.ended.ID, c.ended.Outcome = r.ID, outcome
				if outcome == api.Failed {
					c.ended.Power, c.ended.Status = "", nil
				}
				l.ok(c.ended)
				want := conductor.PowerOn
				if c.power {
					want = c.ended.Power
				}
				if n := l.s.Node; n.Power != want || c.mode && outcome == api.Succeeded && n.BootMode != "bios" || c.mode && outcome == api.Failed && n.BootMode != "" {
					t.Errorf("after its end: power %q, boot mode %q", n.Power, n.BootMode)
				}
			})
		}
	}
}

// An act that sets how the machine boots leaves nothing that was read before it, also when it fails.
func TestF23_HowAMachineBootsIsForgottenWhenItIsChanged(t *testing.T) {
	for _, ask := range []conductor.Act{{Kind: conductor.ActBootMode, Mode: "bios"}, {Kind: conductor.ActSecureBoot, On: false}} {
		l := newLife(t)
		l.manageable()
		l.known()
		l.ok(conductor.ActAsked{Ask: ask})
		e := l.take(conductor.EffectAct)
		l.ok(conductor.EffectDone{Effect: e, Fault: fault.New(fault.BMCUnreachable, "no route")})
		if n := l.s.Node; n.BootMode != "" || n.SecureBoot != nil || n.BMC != nil || n.Power != conductor.PowerOn {
			t.Errorf("%s: boot mode %q, secure boot %v, BMC %+v, power %q", ask, n.BootMode, n.SecureBoot, n.BMC, n.Power)
		}
	}
}
