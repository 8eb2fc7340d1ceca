package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// maxNote bounds what a step may note, in bytes of JSON.
const maxNote = 64 << 10

// noted keeps what a step out of band notes before it acts. It returns when that is stored: what it is about may leave
// then, and no earlier (I8, I29). A store that is away is waited for.
func (eng *Engine) noted(ctx context.Context, id step.ID, v any) error {
	raw, err := json.Marshal(v)
	if err != nil || len(raw) > maxNote {
		return fault.New(fault.StepFailed, "a note of %d bytes can't be kept, at most %d can", len(raw), maxNote).Because(err)
	}
	keep := func(tx conductor.Tx) error {
		r, err := tx.Step(id)
		if err != nil {
			return err
		}
		if r.State != conductor.StepStarted {
			return fault.New(fault.StepNotOffered, "the step is %s by now", r.State)
		}
		r.Noted = raw
		return tx.PutStep(&r)
	}
	err = eng.cfg.Store.Update(ctx, keep)
	for try := 1; fault.Has(err, fault.StorageUnavailable) && retry.Pause(ctx, retry.Backoff(try)); try++ {
		err = eng.cfg.Store.Update(ctx, keep)
	}
	if err != nil {
		return fmt.Errorf("keep what the step notes: %w", err)
	}
	return nil
}
