package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// begin has it committed that an out-of-band step begins, once the BMC may be asked: before that none of the step's own time
// counts. false: the step is not to be run; its effect is dealt with, or stays in the store for the next Run.
func (eng *Engine) begin(ctx, run context.Context, n conductor.Node, e conductor.Effect) bool {
	said := ""
	for try := 1; ctx.Err() == nil; try++ {
		why, until := eng.notYet(n)
		if why == "" {
			err := eng.apply(run, e.Node, conductor.StepBegan{ID: e.Step}, nil)
			switch {
			case err == nil:
				return true
			case run.Err() != nil || fault.Is(err, fault.NotFound):
				return false
			case !fault.Has(err, fault.StorageUnavailable):
				eng.notBegun(run, e, err)
				return false
			}
			eng.cfg.Log.Error("store the beginning of a step", "node", e.Node, "step", e.Step, "err", err)
		} else if why != said {
			said = why
			if err := eng.apply(run, e.Node, conductor.EffectEvidence{Effect: e, Text: why}, nil); err != nil {
				eng.cfg.Log.Warn("note what a step waits for", "node", n.Name, "err", err)
			}
		}
		retry.Pause(ctx, max(until, retry.Backoff(try)))
	}
	if run.Err() == nil {
		// Its work has ended meanwhile, or was aborted. Should it have begun all the same, by a commit whose answer was lost, this is its end.
		eng.endStep(run, e, conductor.StepEnded{ID: e.Step, Outcome: api.Aborted, Fault: stoppedFirst(nil)}, nil)
	}
	return false
}

// notYet tells why nothing may be asked of a node's BMC now, "" if it may, and for how long that is known to last.
func (eng *Engine) notYet(n conductor.Node) (why string, until time.Duration) {
	if err := eng.machines.Held(); err != nil {
		return fault.From(err).Message, 0
	}
	h := eng.machines.Health(n)
	if left := h.Next.Sub(eng.cfg.Now()); left > 0 {
		return fmt.Sprintf("the BMC did not answer %d times in a row (%s); it is asked again at %s", h.Failed, h.Last, h.Next.UTC().Format(time.RFC3339)), left
	}
	return "", 0
}

// notBegun deals with a step that can't begin. It was taken back meanwhile, or has begun already by a commit whose answer was
// lost: nothing was asked of the BMC for it, and it counts as cut off. Anything else, such as a record that can't be read, ends
// the work with that.
func (eng *Engine) notBegun(run context.Context, e conductor.Effect, why error) {
	eng.cfg.Log.Info("a step does not begin", "node", e.Node, "step", e.Step, "err", why)
	end := conductor.StepEnded{ID: e.Step, Outcome: api.Interrupted}
	if !fault.Has(why, fault.StepNotOffered) {
		end.Outcome, end.Fault = api.Failed, unread(why)
	}
	eng.endStep(run, e, end, nil)
}

// unread says that a step was not begun for want of what the store has of it.
func unread(why error) *fault.Fault {
	f := fault.From(why)
	return fault.New(f.Reason, "the step was not begun, as its record can't be read: %s", f.Message).WithHint("%s", f.Hint).Because(why)
}
