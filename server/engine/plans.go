package engine

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Plan shows what a verb would do to a node, by the code that makes the real plan. Nothing is written and nobody is
// asked. What is wrong with it stands in its Problems.
func (eng *Engine) Plan(ctx context.Context, ident string, p conductor.Provision) (plan conductor.Plan, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := find(tx, ident)
		if err != nil {
			return err
		}
		s, err := eng.snapshot(tx, n, true)
		if err != nil {
			return err
		}
		if s.Defaults, err = tx.Defaults(conductor.NodeScopes(n)...); err != nil {
			return err
		}
		all, err := tx.Steps(n.UUID, "")
		if err != nil {
			return err
		}
		plan = conductor.Preview(s, p, eng.cfg.Now(), took(n, all))
		return nil
	})
	return plan, err
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
