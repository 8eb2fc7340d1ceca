package engine

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Plan shows what a verb would do to a node, by the code that makes the real plan. Nothing is written, and neither
// machine nor BMC is asked; a file of checksums is read. What is wrong with it stands in its Problems.
func (eng *Engine) Plan(ctx context.Context, ident string, p conductor.Provision) (out plan.Plan, err error) {
	n, err := eng.Node(ctx, ident)
	if err != nil {
		return out, err
	}
	if err := eng.readDigest(ctx, n, &p); err != nil && ctx.Err() != nil {
		return out, err // else the plan shows it at its step
	}
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		s, err := eng.snapshot(tx, n, true)
		if err != nil {
			return err
		}
		if err := plansWith(tx, &s, p.Verb); err != nil {
			return err
		}
		all, err := tx.Steps(n.UUID, "")
		if err != nil {
			return err
		}
		out = decide.Preview(s, p, eng.cfg.Now(), took(n, all))
		return nil
	})
	return out, err
}

// plansWith reads into a snapshot what only plans are made of: the defaults of the node's scopes and, of a deployment, the
// deploy templates that the instance's traits name.
func plansWith(tx conductor.Tx, s *conductor.Snapshot, v state.Event) (err error) {
	if s.Defaults, err = tx.Defaults(defaults.Scopes(s.Node)...); err != nil {
		return err
	}
	if v != state.VerbDeploy && v != state.VerbRebuild {
		return nil
	}
	for _, trait := range fit.InstanceTraits(s.Node) {
		t, err := conductor.RecordOf[conductor.Template](tx, trait)
		if fault.Is(err, fault.NotFound) {
			continue // most traits are no template's name
		}
		if err != nil {
			return err
		}
		s.Templates = append(s.Templates, t)
	}
	return nil
}

// took is how long each step took when it last succeeded on the node, and, under "", the last boot of the ramdisk.
func took(n conductor.Node, all []conductor.StepRecord) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, r := range all { // the oldest run first
		if r.State == conductor.StepSucceeded && !r.Started.IsZero() {
			out[r.Step.Name] = r.Ended.Sub(r.Started)
		}
	}
	if b := n.Boot; b != nil && b.Ready.After(b.Opened) {
		out[""] = b.Ready.Sub(b.Opened)
	}
	return out
}
