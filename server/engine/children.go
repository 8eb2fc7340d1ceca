package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// onChildren carries out a step on the nodes below its node, one after the other in order of creation. On each it is a power
// act asked for like an operator's, by who asked for the flow: what the child's own record forbids is not done, and the first
// child that fails ends it. Result.Data tells by step.ChildrenDone and step.ChildFailed on which nodes; who reads it is shown those
// that he may see. What failed is told in full only of a child that is the same project's as the node: the text stands on the node,
// whose owner and lessee read it (I26). The acts are absolute, so that an
// attempt after a restart of the server does them again (F25). docs/adr/0304-steps-on-child-nodes.md.
func (eng *Engine) onChildren(ctx context.Context, n conductor.Node, r conductor.StepRecord) (step.Result, error) {
	done := []string{}
	children, err := eng.childrenOf(ctx, n.UUID)
	if err != nil {
		return step.Result{}, err
	}
	who := conductor.Caller{Name: n.Flow.Actor, Request: n.Flow.Request}
	for _, c := range children {
		if !r.Children.All && !slices.Contains(r.Children.Only, string(c.UUID)) {
			continue
		}
		if err := eng.onChild(ctx, who, c, r); err != nil {
			if ctx.Err() != nil {
				return step.Result{}, err
			}
			return step.Result{Data: map[string]any{step.ChildrenDone: done, step.ChildFailed: []string{string(c.UUID)}}}, childFailed(n, c, err)
		}
		done = append(done, string(c.UUID))
	}
	return step.Result{Data: map[string]any{step.ChildrenDone: done}}, nil
}

// childFailed tells on a node why a step failed on a child of it.
func childFailed(n, c conductor.Node, err error) error {
	f := fault.From(err)
	if c.Owner != n.Owner || n.Lessee != "" && n.Lessee != c.Lessee {
		return fault.New(f.Reason, "the step failed on a child node that is another project's").
			WithHint("whoever may see that node finds it in the step's result, and in its own record what failed").Because(err)
	}
	return fault.New(f.Reason, "child node %s: %s", cmp.Or(c.Name, string(c.UUID)), f.Message).WithHint("%s", f.Hint).Because(err)
}

// childrenOf lists the nodes directly below a node.
func (eng *Engine) childrenOf(ctx context.Context, id conductor.NodeID) (all []conductor.Node, err error) {
	const page = 500
	f := conductor.NodeFilter{Parent: id, Limit: page}
	for {
		var some []conductor.Node
		err := retry.View(ctx, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) { some, err = tx.Nodes(f); return err })
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < page {
			return all, nil
		}
		f.After = some[len(some)-1].UUID
	}
}

// onChild does the step on one node and waits for its end.
func (eng *Engine) onChild(ctx context.Context, who conductor.Caller, c conductor.Node, r conductor.StepRecord) error {
	target, want := "", conductor.PowerOn
	switch r.Step.Short() {
	case "power_on":
		target = "power on"
	case "power_off":
		target, want = "power off", conductor.PowerOff
	case "reboot":
		target = "rebooting"
	case "wait":
		if !retry.Pause(ctx, time.Duration(r.Args.Int("seconds"))*time.Second) {
			return ctx.Err()
		}
		return nil
	default:
		return fault.New(fault.StepUnknown, "the server has no act for it")
	}
	n, err := eng.settled(ctx, c.UUID) // an act of an earlier attempt, or of an operator, comes to its end first
	if err != nil {
		return err
	}
	if n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded { // which an operator may cut off, and would have to name the node for it
		return fault.New(fault.NodeBusy, "the node is busy (%s)", n.State).WithHint("wait until that has ended, and ask for the step again")
	}
	if err := eng.SetPower(ctx, who, string(c.UUID), conductor.PowerRequest{Target: target}); err != nil {
		return err
	}
	n, err = eng.settled(ctx, c.UUID)
	switch {
	case err != nil:
		return err
	case n.LastError != "":
		return fault.New(fault.StepFailed, "%s", n.LastError)
	case n.Power != want:
		return fault.New(fault.StepFailed, "it should be %q, but is %q", want, cmp.Or(string(n.Power), "unknown"))
	}
	return nil
}

// settled waits until no power act is under way on a node, and gives the node as it is then.
func (eng *Engine) settled(ctx context.Context, id conductor.NodeID) (n conductor.Node, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := eng.watch(ctx, &subscription{quiet: true, ch: make(chan struct{}, 1)}, string(id))
	for {
		err := retry.View(ctx, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) { n, err = tx.Node(id); return err })
		if err != nil || n.PowerTarget == "" {
			return n, err
		}
		if _, open := <-changes; !open {
			return n, context.Cause(ctx)
		}
	}
}
