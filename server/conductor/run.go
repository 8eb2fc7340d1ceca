package conductor

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	tick       = time.Second      // between looks at the deadlines
	stampEvery = 10 * time.Second // between liveness stamps
	jump       = 3 * time.Second  // a tick longer or shorter than this is time that does not count
	stampKey   = "conductor.alive"
)

// Run, called once, goes on with what the store holds, then carries out effects and watches deadlines until ctx ends; it returns
// when all its goroutines have ended. An effect under way stays in the store for the next Run.
func (c *Conductor) Run(ctx context.Context) error {
	run, end := context.WithCancel(ctx)
	defer end()
	err := c.recover(run)
	if err == nil {
		close(c.ready)
		c.watchDeadlines(run)
	}
	end()
	c.mu.Lock()
	c.run = nil
	c.mu.Unlock()
	c.wg.Wait()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("go on with stored work: %w", err)
	}
	return nil // also when it was told to end before it had begun
}

// recover makes every node whole after a stop at any point (I13): deadlines move by the time the server was away,
// out-of-band steps that were cut off are interrupted, stored effects start, offers are made again.
func (c *Conductor) recover(ctx context.Context) error {
	var nodes []Node
	var effects []Effect
	var away time.Duration
	err := c.view(ctx, func(tx Tx) error {
		var err error
		if nodes, err = tx.Nodes(NodeFilter{}); err != nil {
			return err
		}
		if effects, err = tx.Effects(); err != nil {
			return err
		}
		stamp, err := tx.Setting(stampKey)
		if err != nil {
			return err
		}
		if last, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			away = c.cfg.Now().Sub(last)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.run = ctx
	c.mu.Unlock()
	// While the store is away the start stands still (I30).
	stored := func(act func() error) error {
		for try := 1; ; try++ {
			err := act()
			if !fault.Has(err, fault.StorageUnavailable) || !pause(ctx, backoff(try)) {
				return err
			}
		}
	}
	now := func(id NodeID, e Event, more func(Tx) error) error {
		return stored(func() error {
			return c.applyNow(ctx, id, func(Node) (Event, error) { return e, nil }, more)
		})
	}
	for _, n := range nodes {
		if n.Flow == nil || n.Flow.Phase == PhaseEnded {
			continue
		}
		if away > jump || away < 0 {
			err = now(n.UUID, ClockShifted{By: away}, nil)
		}
		if err == nil {
			err = now(n.UUID, ServerRestarted{}, nil)
		}
		if fault.Has(err, fault.StorageUnavailable) {
			return err
		}
		if err != nil {
			// A node that can't go on here (its hardware type is gone) must not keep the others from it.
			c.cfg.Log.Error("go on with a node", "node", n.Name, "uuid", n.UUID, "err", err)
			err = nil
			continue
		}
		err = c.view(ctx, func(tx Tx) (err error) { n, err = tx.Node(n.UUID); return err })
		if err != nil {
			return err
		}
		c.index(n)
	}
	for _, e := range effects {
		if e.Kind != EffectRunStep {
			c.start(e)
			continue
		}
		done := func(tx Tx) error { return tx.DoneEffect(e.ID) }
		err := now(e.Node, StepEnded{ID: e.Step, Outcome: api.Interrupted}, done)
		switch {
		case fault.Has(err, fault.StorageUnavailable):
			return err
		case err != nil && !fault.Is(err, fault.NotFound):
			// The step is of a run that another has replaced: what became of it is told there already.
			c.cfg.Log.Info("an effect of an older run is dropped", "node", e.Node, "step", e.Step, "err", err)
			if err := stored(func() error { return c.cfg.Store.Update(ctx, done) }); err != nil {
				return err
			}
		}
	}
	// Only now is the time away dealt with: a stop before this moves the deadlines once more, which only extends them.
	return stored(func() error { return c.stamp(ctx, c.cfg.Now()) })
}

func (c *Conductor) stamp(ctx context.Context, now time.Time) error {
	return c.cfg.Store.Update(ctx, func(tx Tx) error {
		return tx.PutSetting(stampKey, now.UTC().Format(time.RFC3339Nano))
	})
}

// watchDeadlines looks once a second at the waits in memory. A tick that took too long, because the process stood
// still or the clock was set, shifts all deadlines instead of letting them pass (I14, F28, F30).
func (c *Conductor) watchDeadlines(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	last, stamped := c.cfg.Now(), time.Time{}
	listening := last // since when silence is the agent's and not this server's
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := c.cfg.Now()
		// Round(0) drops the monotonic reading: what counts is the wall clock the deadlines are written in.
		gone := now.Round(0).Sub(last.Round(0))
		odd := gone > jump || gone < 0
		if odd || now.Round(0).Sub(stamped.Round(0)) >= stampEvery {
			if err := c.stamp(ctx, now); err != nil {
				// Time in which nothing can be written does not count: last stays where it is, and the first
				// good tick shifts by all of it.
				c.cfg.Log.Error("the store can't be written; deadlines stand still", "err", err)
				stamped = time.Time{}
				continue
			}
			stamped = now
		}
		if odd {
			c.cfg.Log.Warn("time went on without the server; deadlines are moved", "by", gone)
			c.shift(ctx, gone-tick)
			listening = now
		}
		last = now
		c.due(ctx, now, listening)
	}
}

func (c *Conductor) shift(ctx context.Context, by time.Duration) {
	c.mu.Lock()
	var open []NodeID
	for id := range c.waits {
		open = append(open, id)
	}
	c.mu.Unlock()
	for _, id := range open {
		if err := c.apply(ctx, id, ClockShifted{By: by}, nil); err != nil {
			c.cfg.Log.Error("move a deadline", "node", id, "err", err)
		}
	}
}

// due applies what has passed. Decide looks again at the stored deadline before it acts on it. Time before listening is
// no silence: the server was away, or stood still, and could not hear.
func (c *Conductor) due(ctx context.Context, now, listening time.Time) {
	c.mu.Lock()
	waits := maps.Clone(c.waits)
	c.mu.Unlock()
	for id, w := range waits {
		var e Event = DeadlinePassed{}
		if now.Before(w.deadline) {
			if w.phase != PhaseAgent {
				continue
			}
			heard := c.cfg.Dispatcher.Heard(id, w.generation)
			for _, since := range []time.Time{w.since, listening} {
				if heard.Before(since) {
					heard = since
				}
			}
			if now.Sub(heard) <= c.cfg.Timeouts.Silent {
				continue
			}
			e = AgentSilent{Since: heard}
		}
		err := c.apply(ctx, id, e, nil)
		if fault.Is(err, fault.NotFound) { // deleted while it was put here
			c.mu.Lock()
			delete(c.waits, id)
			c.mu.Unlock()
			continue
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("end a wait that is over", "node", id, "err", err)
		}
	}
}
