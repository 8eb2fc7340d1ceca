package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// powerStep carries out a reserved power step: the same absolute acts as an operator's, confirmed by re-reading.
func (eng *Engine) powerStep(ctx context.Context, b conductor.BMC, r conductor.StepRecord) (conductor.Power, error) {
	e := conductor.Effect{Kind: conductor.EffectPower, Node: r.Node, Step: r.ID}
	switch r.Step.Short() {
	case "power_on":
		e.Power = conductor.On
	case "power_off":
		e.Power = conductor.ForceOff
	case "reboot":
		e.Power, e.Reboot = conductor.ForceOff, true
	default:
		return "", fault.New(fault.StepUnknown, "the server has no act for it").At(string(r.Node), r.Step.Name)
	}
	return eng.powerAct(ctx, b, e)
}

// beat tells a node whose step waits for a heartbeat that there was one.
func (eng *Engine) beat(ctx context.Context, s conductor.Session) error {
	eng.mu.Lock()
	waits := eng.waits[s.Claims.Node].phase == conductor.PhaseBeat
	eng.mu.Unlock()
	if !waits {
		return nil
	}
	return eng.applyAs(ctx, s, conductor.AgentHeard{})
}

// ran is what became of a step that the server ran.
type ran struct {
	result step.Result
	power  conductor.Power // of a power act; "" otherwise
}
