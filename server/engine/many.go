package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// together is how many nodes share a transaction when many change at once: after a restart, after a step of the clock.
// One at a time, each with its own write to the disk, a fleet would take minutes.
const together = 256

// change is what happens to one node of many.
type change struct {
	node   conductor.NodeID
	events []conductor.Event
	more   func(conductor.Tx) error // in the same transaction, after the last decision; may be nil
}

// applyAll is applyNow for many nodes. What one of them can't do (failed is told) keeps no other from it. The error is
// the store's: what it says of the batch holds for all later ones, and those before it are done.
func (eng *Engine) applyAll(ctx context.Context, all []change, failed func(change, error)) error {
	for part := range slices.Chunk(all, together) {
		err := eng.applyPart(ctx, part, failed)
		switch {
		case err == nil:
			continue
		case storeAway(err) || ctx.Err() != nil || len(part) == 1:
			return err
		}
		// Something about one of them: each by itself.
		for _, c := range part {
			if err := eng.applyPart(ctx, []change{c}, failed); storeAway(err) || ctx.Err() != nil {
				return err
			} else if err != nil {
				failed(c, err)
			}
		}
	}
	return nil
}

// storeAway tells that the store took nothing, for whatever node.
func storeAway(err error) bool {
	return fault.Has(err, fault.StorageUnavailable) || fault.Has(err, fault.StorageLost)
}

func (eng *Engine) applyPart(ctx context.Context, part []change, failed func(change, error)) error {
	type outcome struct {
		decisions []conductor.Decision
		node      conductor.Node // as it was read last
		err       error
	}
	var out []outcome
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		out = make([]outcome, len(part)) // the store may call again
		for i, c := range part {
			o := &out[i]
			for _, e := range c.events {
				d, err := eng.judge(tx, c.node, func(conductor.Node) (conductor.Event, error) { return e, nil })
				if storeAway(err) {
					return err
				}
				if err == nil && d.Refuse != nil && !d.Changed {
					err = d.Refuse
				}
				if err != nil {
					o.err = err
					break
				}
				eng.witness(&d)
				if err := commit(tx, &d, eng.cfg.Now()); err != nil {
					return err
				}
				o.node = d.Node
				if d.Changed {
					o.decisions = append(o.decisions, d)
				}
			}
			if o.err == nil && c.more != nil {
				if err := c.more(tx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Side by side, as orders to agents are transactions too, and those that come together share one.
	var wg sync.WaitGroup
	for i, o := range out {
		if o.err != nil {
			failed(part[i], o.err)
		}
		wg.Go(func() {
			for _, d := range o.decisions {
				eng.after(d)
			}
			if len(o.decisions) == 0 && o.err == nil && len(part[i].events) > 0 {
				eng.index(o.node)
			}
		})
	}
	wg.Wait()
	return nil
}
