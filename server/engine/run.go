package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	tick       = time.Second      // between looks at the deadlines
	stampEvery = 10 * time.Second // between liveness stamps
	jump       = 3 * time.Second  // a tick longer or shorter than this is time that does not count
	stampKey   = "conductor.alive"
)

// Run, called once, goes on with what the store holds, then carries out effects and watches deadlines until ctx ends; it returns
// when all its goroutines have ended. An effect under way stays in the store for the next Run.
func (eng *Engine) Run(ctx context.Context) error {
	run, end := context.WithCancel(ctx)
	defer end()
	eng.wg.Go(func() { eng.clock.Run(run) })
	err := eng.recover(run)
	if err == nil {
		close(eng.ready)
		eng.wg.Go(func() { eng.looks.Run(run) })
		eng.wg.Go(func() { eng.allocator.Run(run) })
		eng.watchDeadlines(run)
	}
	end()
	eng.mu.Lock()
	eng.run = nil
	eng.mu.Unlock()
	eng.wg.Wait()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("go on with stored work: %w", err)
	}
	return nil // also when it was told to end before it had begun
}

// Ready is closed once Run has gone on with all stored work: from then on verbs are granted.
func (eng *Engine) Ready() <-chan struct{} { return eng.ready }

// recover makes every node whole after a stop at any point (I13): deadlines move by the time the server was away,
// out-of-band steps that were cut off are interrupted, stored effects start, offers are made again. Many nodes share a
// transaction, so that a fleet is at work again within seconds.
func (eng *Engine) recover(ctx context.Context) error {
	if err := eng.doubt(ctx); err != nil {
		return err
	}
	var effects []conductor.Effect
	var away conductor.ClockShifted
	inLine := map[step.ID]bool{} // steps out of band whose turn had not come: nothing was asked of their BMC
	err := retry.View(ctx, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) error {
		var err error
		if effects, err = tx.Effects(); err != nil {
			return err
		}
		for _, e := range effects {
			if e.Kind != conductor.EffectRunStep {
				continue
			}
			r, err := tx.Step(e.Step)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			inLine[e.Step] = r.State == conductor.StepOffered
		}
		stamp, err := tx.Setting(stampKey)
		if err != nil {
			return err
		}
		if last, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			now := eng.cfg.Now().Round(0)
			away = conductor.ClockShifted{By: now.Sub(last), Since: last, At: now}
		}
		return nil
	})
	if err != nil {
		return err
	}
	every, open, err := eng.nodeIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range every {
		eng.looks.Add(id)
	}
	eng.mu.Lock()
	eng.run = ctx
	eng.mu.Unlock()

	if away.By >= 0 && away.By <= jump {
		away = conductor.ClockShifted{}
	}
	events := []conductor.Event{conductor.ServerRestarted{Away: away}}
	all := make([]change, len(open))
	for i, id := range open {
		all[i] = change{node: id, events: events}
	}
	err = eng.recoverAll(ctx, all, func(c change, err error) {
		// A node that can't go on must not keep the others from it.
		eng.cfg.Log.Error("go on with a node", "uuid", c.node, "err", err)
	})
	if err != nil {
		return err
	}
	var cut, dropped []change
	var rest []conductor.Effect
	for _, e := range effects {
		if e.Kind != conductor.EffectRunStep || inLine[e.Step] {
			rest = append(rest, e)
			continue
		}
		cut = append(cut, change{node: e.Node, events: []conductor.Event{conductor.StepEnded{ID: e.Step, Outcome: api.Interrupted}},
			more: func(tx conductor.Tx) error { return tx.DoneEffect(e.ID) }})
	}
	// Those that are stored come first: what follows from a step that was cut off is decided, and due, after them. A newer
	// run's act must not overtake the fence of the run before (I11, I13).
	for part := range slices.Chunk(rest, together) {
		var wg sync.WaitGroup
		for _, of := range byNode(part) {
			wg.Go(func() { // orders to agents are transactions, and those that come together share one
				for _, e := range of {
					eng.start(e)
				}
			})
		}
		wg.Wait()
	}
	err = eng.recoverAll(ctx, cut, func(c change, err error) {
		// The step is of a run that another has replaced: what became of it is told there already.
		eng.cfg.Log.Info("an effect of an older run is dropped", "node", c.node, "err", err)
		dropped = append(dropped, change{node: c.node, more: c.more})
	})
	if err == nil {
		err = eng.recoverAll(ctx, dropped, func(c change, err error) {
			eng.cfg.Log.Error("drop an effect of an older run", "node", c.node, "err", err)
		})
	}
	if err != nil {
		return err
	}
	// Only now is the time away dealt with; a stop before this goes by the old stamp again, and Decide by what it has
	// taken out already.
	return eng.stored(ctx, func() error { return eng.stamp(ctx, eng.cfg.Now()) })
}

// nodeIDs lists all nodes, and those with open work.
func (eng *Engine) nodeIDs(ctx context.Context) (every, open []conductor.NodeID, err error) {
	err = retry.View(ctx, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) error {
		every, open = nil, nil // the store may call again
		return tx.EachNode(func(id conductor.NodeID, working bool) {
			if every = append(every, id); working {
				open = append(open, id)
			}
		})
	})
	return every, open, err
}

// byNode keeps the order of each node's effects.
func byNode(all []conductor.Effect) map[conductor.NodeID][]conductor.Effect {
	m := map[conductor.NodeID][]conductor.Effect{}
	for _, e := range all {
		m[e.Node] = append(m[e.Node], e)
	}
	return m
}

// recoverAll is applyAll that stands still while the store is away (I30). A node that was done before the store went
// away may come again: the time that is taken out already is not taken out twice, and its orders are the same.
func (eng *Engine) recoverAll(ctx context.Context, all []change, failed func(change, error)) error {
	for part := range slices.Chunk(all, together) {
		if err := eng.stored(ctx, func() error { return eng.applyAll(ctx, part, failed) }); err != nil {
			return err
		}
	}
	return nil
}

// stored tries again while the store is away.
func (eng *Engine) stored(ctx context.Context, act func() error) error {
	for try := 1; ; try++ {
		err := act()
		if !fault.Has(err, fault.StorageUnavailable) || !retry.Pause(ctx, retry.Backoff(try)) {
			return err
		}
	}
}

// stamp says that the server lives, and clears what was done since the last time.
func (eng *Engine) stamp(ctx context.Context, now time.Time) error {
	eng.mu.Lock()
	given := slices.Clone(eng.given)
	eng.mu.Unlock()
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		if err := eng.forget(tx, given); err != nil {
			return err
		}
		return tx.PutSetting(stampKey, now.UTC().Format(time.RFC3339Nano))
	})
	if err == nil {
		eng.alive = now.UTC().Round(0)
		eng.mu.Lock()
		eng.given = slices.Delete(eng.given, 0, len(given)) // others were added behind them
		eng.mu.Unlock()
	}
	return err
}

// watchDeadlines looks once a second at the waits in memory. Time that went on without the process shifts all deadlines
// instead of letting them pass (I14, F28, F30), and so does time in which nothing could be written.
func (eng *Engine) watchDeadlines(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	eng.clock.Take() // what went by before is dealt with
	last, stamped := eng.cfg.Now(), time.Time{}
	tried := map[conductor.NodeID]again{}
	listening := last // since when silence is the agent's and not this server's
	away := false     // the last look could write nothing
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		by, odd := eng.clock.Take()
		now := eng.cfg.Now()
		late := now.Round(0).Sub(last.Round(0))
		if away {
			by, odd = late-tick, true
		}
		// Deadlines move before the new stamp is written: a stop in between moves those that were left at the start.
		var err error
		if odd {
			eng.cfg.Log.Warn("time went on without the server; deadlines are moved", "by", by)
			err = eng.shift(ctx, by, now)
		}
		if odd || late > jump { // whoever kept this waiting may have kept agents waiting
			listening = now
		}
		if err == nil && (odd || now.Round(0).Sub(stamped.Round(0)) >= stampEvery) {
			err = eng.stamp(ctx, now)
			stamped = now
		}
		if away = err != nil; away {
			// Time in which nothing can be written does not count: last stays where it is, and the first good tick
			// shifts by all of it.
			eng.cfg.Log.Error("the store can't be written; deadlines stand still", "err", err)
			stamped = time.Time{}
			continue
		}
		last = now
		tried = eng.due(ctx, now, listening, tried)
	}
}

// shift moves the deadlines of all open work. It gives the store's error; calling it again is harmless.
func (eng *Engine) shift(ctx context.Context, by time.Duration, now time.Time) error {
	shifted := []conductor.Event{conductor.ClockShifted{By: by, Since: eng.alive, At: now.Round(0)}}
	eng.mu.Lock()
	all := make([]change, 0, len(eng.waits))
	for id := range eng.waits {
		all = append(all, change{node: id, events: shifted})
	}
	eng.mu.Unlock()
	return eng.applyAll(ctx, all, func(c change, err error) {
		eng.cfg.Log.Error("move a deadline", "node", c.node, "err", err)
	})
}

// again bounds how often a node is looked at whose wait is over by the index and not by the store, or which can't be
// changed: a second's tick must not hammer.
type again struct {
	wait  time.Duration
	until time.Time
}

const longestWait = time.Minute

// due applies what has passed. Decide looks again at the stored deadline before it acts on it. Time before listening is
// no silence: the server was away, or stood still, and could not hear. tried is what the last call gave back.
func (eng *Engine) due(ctx context.Context, now, listening time.Time, tried map[conductor.NodeID]again) map[conductor.NodeID]again {
	type candidate struct {
		id conductor.NodeID
		waitIndex
	}
	var late []candidate
	silent := func(since time.Time) bool { return now.Sub(since) > eng.cfg.Timeouts.Silent }
	eng.mu.Lock()
	for id, w := range eng.waits {
		if !now.Before(w.deadline) || w.phase == conductor.PhaseAgent && !w.silent && silent(w.since) && silent(listening) {
			late = append(late, candidate{id, w})
		}
	}
	eng.mu.Unlock()
	over := map[conductor.NodeID]again{}
	var all []change
	for _, w := range late {
		id := w.id
		var e conductor.Event = conductor.DeadlinePassed{}
		if now.Before(w.deadline) {
			heard := eng.cfg.Dispatcher.Heard(id, w.generation)
			if !silent(heard) {
				continue
			}
			for _, since := range []time.Time{w.since, listening} {
				if heard.Before(since) {
					heard = since
				}
			}
			gone := conductor.AgentSilent{Since: heard}
			gone.Step, gone.Progress = eng.toldLast(id, w.generation)
			e = gone
		}
		if t, ok := tried[id]; ok && now.Before(t.until) && t.until.Sub(now) <= longestWait {
			over[id] = t
			continue
		}
		wait := min(max(2*tried[id].wait, tick), longestWait)
		over[id] = again{wait, now.Add(wait)}
		all = append(all, change{node: id, events: []conductor.Event{e}})
	}
	err := eng.applyAll(ctx, all, func(c change, err error) {
		if fault.Is(err, fault.NotFound) { // deleted while it was put here
			eng.mu.Lock()
			delete(eng.waits, c.node)
			eng.mu.Unlock()
			return
		}
		eng.cfg.Log.Error("end a wait that is over", "node", c.node, "err", err)
	})
	if err != nil && ctx.Err() == nil {
		eng.cfg.Log.Error("end waits that are over", "err", err)
	}
	return over
}
