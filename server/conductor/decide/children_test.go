package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// below begins a clean of one step on the nodes below the node.
func (l *life) below(name string, args step.Args) {
	l.t.Helper()
	l.manageable()
	l.s.Node.Power = conductor.PowerOn
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: name, Args: args, Children: &step.Children{All: true}}}}})
	l.want(state.CleanWait)
}

// Nothing that is known of the node's own machine is forgotten for a step on others, and a wait there is no pause here.
func TestStepsOnChildNodesLeaveTheNodeAlone(t *testing.T) {
	for name, args := range map[string]step.Args{"power.power_off": nil, "power.reboot": nil, "deploy.wait": {"seconds": 5.0}} {
		l := newLife(t)
		l.below(name, args)
		l.take(conductor.EffectRunStep)
		if l.s.Node.Power != conductor.PowerOn || l.s.Node.BMC == nil || l.s.Node.Flow.Phase != conductor.PhaseSteps {
			t.Errorf("%s: power %q, BMC %v, phase %s", name, l.s.Node.Power, l.s.Node.BMC, l.s.Node.Flow.Phase)
		}
		l.ok(conductor.StepEnded{ID: l.running().ID, Outcome: api.Succeeded})
		l.want(state.Manageable)
		if l.s.Node.Power != conductor.PowerOn || len(l.effects) != 0 {
			t.Errorf("%s: power %q, effects %v", name, l.s.Node.Power, l.kinds())
		}
	}
}

// TestI12_AStepOnChildNodesIsRepeatedOnThem cuts one off: the next attempt must not be made on the node itself.
func TestI12_AStepOnChildNodesIsRepeatedOnThem(t *testing.T) {
	l := newLife(t)
	l.below("power.power_off", nil)
	first := l.take(conductor.EffectRunStep).Step
	l.ok(conductor.StepEnded{ID: first, Outcome: api.Interrupted, Fault: fault.New(fault.StepInterrupted, "cut off")})
	second := l.take(conductor.EffectRunStep).Step
	for _, r := range l.s.Steps {
		if r.ID == second && (r.ID == first || r.Attempt != 2 || r.Children == nil || !r.Children.All) {
			t.Errorf("the second attempt is %+v", r)
		}
	}
}
