package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// runStep runs an out-of-band step whose turn has come and commits its end with what follows.
func (eng *Engine) runStep(ctx, run context.Context, e conductor.Effect) {
	var r conductor.StepRecord
	var n conductor.Node
	var before time.Duration // that the step took when it last succeeded
	err := retry.View(run, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) {
		if n, err = tx.Node(e.Node); err != nil {
			return err
		}
		if r, err = tx.Step(e.Step); err != nil {
			return err
		}
		all, err := tx.Steps(e.Node, "")
		before = took(n, all)[r.Step.Name]
		return err
	})
	if err != nil {
		if run.Err() == nil {
			eng.notBegun(run, e, err)
		}
		return
	}
	s, ctx := eng.stoppable(ctx, r, before)
	defer eng.gone(s)
	if !eng.begin(ctx, run, n, e) {
		return
	}
	s.ran = eng.clock.Start()
	s.report(step.Progress{Item: "asking the BMC"})
	var out ran
	failpoint.Here("step.before")
	// As it began: what was read while it stood in line is in its record.
	err = retry.View(run, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) { r, err = tx.Step(e.Step); return err })
	if err == nil {
		out, err = eng.runBound(ctx, n, r, s)
	}
	err = s.end(err)
	failpoint.Here("step.after")
	end := conductor.StepEnded{ID: e.Step, Outcome: api.Succeeded, Result: &out.result, Power: out.power, Status: out.status}
	if run.Err() != nil {
		return // the server stops: what became of the step is unknown, and said so after the restart
	}
	switch {
	case fault.Has(err, fault.StorageUnavailable): // in the middle of it
		end.Outcome, end.Result = api.Interrupted, nil
		end.Fault = fault.New(fault.StepInterrupted, "the step was cut off: %s", fault.From(err).Message).Because(err)
	case fault.Has(err, fault.StepAborted):
		end.Outcome, end.Result, end.Fault = api.Aborted, nil, fault.From(err)
	case err != nil:
		end.Outcome, end.Fault = api.Failed, fault.From(err)
		if len(end.Result.Data) == 0 { // what a failed step tells is how far it came
			end.Result = nil
		}
		if errors.Is(err, context.DeadlineExceeded) {
			end.Fault = fault.New(fault.StepTimeout, "the step did not end within %s", r.Step.Timeout)
		}
		if end.Fault.Cause != nil {
			eng.cfg.Log.Warn("step failed", "node", n.Name, "step", r.Step.Name, "err", end.Fault.Cause)
		}
	}
	if p := eng.progress(e.Node, e.Step); p != nil {
		end.Progress = p
	}
	var parts *conductor.Parts
	if machines.ChangesParts(r.Step.Name) && end.Outcome != api.Aborted { // what came of it, also of a failed one
		parts = eng.machines.Parts(run, n)
	}
	eng.endStep(run, e, end, parts)
}

// endStep commits the end of a step together with what follows from it, as soon as the store takes it.
func (eng *Engine) endStep(run context.Context, e conductor.Effect, end conductor.StepEnded, parts *conductor.Parts) {
	for try := 1; ; try++ {
		err := eng.apply(run, e.Node, end, func(tx conductor.Tx) error {
			if err := nodes.KeepParts(tx, e.Node, parts, eng.cfg.Now()); err != nil {
				return err
			}
			return tx.DoneEffect(e.ID)
		})
		if fault.Has(err, fault.StepNotOffered) { // of a run that another has replaced meanwhile
			eng.done(run, conductor.EffectDone{Effect: e}, false)
			return
		}
		if err == nil || run.Err() != nil || fault.Is(err, fault.NotFound) {
			return
		}
		eng.cfg.Log.Error("store the end of a step", "node", e.Node, "step", e.Step, "err", err)
		if !retry.Pause(run, retry.Backoff(try)) {
			return
		}
	}
}

// runBound runs the step to its end. While the store is away or the server's lease of it in doubt nothing is begun (I30),
// and none of the step's own acts leaves (I16, F30). What was cut off in the middle by that ends with storage.unavailable:
// how far it came is unknown, as after a restart. A power act is absolute, and is done again. So it goes with a step whose
// time ran out while the process stood still (I14, F30).
func (eng *Engine) runBound(ctx context.Context, n conductor.Node, r conductor.StepRecord, s *stoppable) (ran, error) {
	for try := 1; ; try++ {
		watch := eng.clock.Start()
		out, err := eng.runOnce(ctx, n, r, s)
		if err != nil && ctx.Err() == nil && watch.StoodStill() && (errors.Is(err, context.DeadlineExceeded) || fault.Is(err, fault.Timeout) || fault.Is(err, fault.Unavailable)) {
			s.act() //nolint:errcheck // as far as anybody knows
			err = fault.New(fault.StorageUnavailable, "the server stood still meanwhile").Because(err)
		}
		if !fault.Has(err, fault.StorageUnavailable) || s.acted() && r.Step.Where != step.Server || !retry.Pause(ctx, retry.Backoff(try)) {
			return out, err
		}
	}
}

func (eng *Engine) runOnce(ctx context.Context, n conductor.Node, r conductor.StepRecord, s *stoppable) (ran, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Step.Timeout)
	defer cancel()
	if r.Children != nil {
		result, err := eng.onChildren(ctx, n, r)
		return ran{result: result}, err
	}
	b, err := eng.machines.ForStep(ctx, n, s.act)
	if err != nil {
		return ran{}, err
	}
	if r.Step.Where == step.Server {
		power, err := eng.machines.PowerStep(ctx, b, r)
		return ran{power: power}, err
	}
	bound, err := b.Steps(ctx)
	if err != nil {
		return ran{}, err
	}
	i := slices.IndexFunc(bound, func(s step.Bound) bool { return s.Name == r.Step.Name })
	if i < 0 {
		return ran{}, fault.New(fault.StepUnknown, "the BMC offers no step %s", r.Step.Name)
	}
	before, err := eng.powerBefore(ctx, b, r)
	if err != nil {
		return ran{}, err
	}
	result, err := bound[i].Run(ctx, step.Call{
		ID: r.ID, Flow: n.Flow.Flow, Args: r.Args, Node: n.Properties, Power: string(before), Noted: r.Noted,
		Note:   func(ctx context.Context, v any) error { return eng.noted(ctx, r.ID, v) },
		Report: s.report, Settled: s.settled,
		Log: eng.cfg.Log.With("node", n.Name, "step", r.Step.Name),
		Secret: func(context.Context, string) ([]byte, error) {
			return nil, fault.New(fault.RequestForbidden, "out-of-band steps have no secrets")
		},
	})
	out := ran{result: result}
	if err == nil && r.Step.Reboot {
		// What was read before the step counts no more. That it can't be read now is no failure of the step's.
		if out.power, out.status, err = eng.machines.Look(ctx, n); err != nil {
			eng.cfg.Log.Warn("how the machine is after a step could not be read", "node", n.Name, "step", r.Step.Name, "err", err)
		}
		err = nil
	}
	return out, err
}

// ran is what became of a step that the server ran.
type ran struct {
	result step.Result
	power  conductor.Power   // of a power act, or read after a step that restarts the machine; "" otherwise
	status *conductor.Status // read with it; nil when it was not
}
