package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// lookTries is how often a BMC that is busy or away is asked for the power before a step.
const lookTries = 8

// powerBefore is the power that a step which restarts the machine has to leave it with: that before the first attempt in
// the run. It is stored before the step begins. A later attempt finds what the one before left in the middle, so it does
// not ask (F1). Empty when neither the BMC nor the record knows.
func (eng *Engine) powerBefore(ctx context.Context, b conductor.BMC, r conductor.StepRecord) (conductor.Power, error) {
	if !r.Step.Reboot || r.Power != "" {
		return r.Power, nil
	}
	p, err := b.Power(ctx)
	for try := 1; err != nil && fault.From(err).Code.Retriable() && try < lookTries && retry.Pause(ctx, retry.Backoff(try)); try++ {
		p, err = b.Power(ctx)
	}
	if err != nil {
		return "", err
	}
	if p == "" {
		p = r.Recorded // it is between two states
	}
	if p != conductor.PowerOn && p != conductor.PowerOff {
		return "", nil
	}
	keep := func(tx conductor.Tx) error {
		now, err := tx.Step(r.ID)
		if err != nil {
			return err
		}
		now.Power = p
		return tx.PutStep(&now)
	}
	err = eng.cfg.Store.Update(ctx, keep)
	for try := 1; fault.Has(err, fault.StorageUnavailable) && retry.Pause(ctx, retry.Backoff(try)); try++ {
		err = eng.cfg.Store.Update(ctx, keep)
	}
	return p, err
}
