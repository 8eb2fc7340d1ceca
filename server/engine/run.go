package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
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
func (eng *Engine) Run(ctx context.Context) error {
	run, end := context.WithCancel(ctx)
	defer end()
	err := eng.recover(run)
	if err == nil {
		close(eng.ready)
		eng.wg.Go(func() { eng.looks.run(run) })
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

// recover makes every node whole after a stop at any point (I13): deadlines move by the time the server was away,
// out-of-band steps that were cut off are interrupted, stored effects start, offers are made again.
func (eng *Engine) recover(ctx context.Context) error {
	var nodes []conductor.Node
	var effects []conductor.Effect
	var away conductor.ClockShifted
	err := eng.view(ctx, func(tx conductor.Tx) error {
		var err error
		if nodes, err = tx.Nodes(conductor.NodeFilter{}); err != nil {
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
			now := eng.cfg.Now().Round(0)
			away = conductor.ClockShifted{By: now.Sub(last), Since: last, At: now}
		}
		return nil
	})
	if err != nil {
		return err
	}
	eng.mu.Lock()
	eng.run = ctx
	eng.mu.Unlock()
	// While the store is away the start stands still (I30).
	stored := func(act func() error) error {
		for try := 1; ; try++ {
			err := act()
			if !fault.Has(err, fault.StorageUnavailable) || !pause(ctx, backoff(try)) {
				return err
			}
		}
	}
	now := func(id conductor.NodeID, e conductor.Event, more func(conductor.Tx) error) error {
		return stored(func() error {
			return eng.applyNow(ctx, id, func(conductor.Node) (conductor.Event, error) { return e, nil }, more)
		})
	}
	for _, n := range nodes {
		eng.looks.add(n.UUID)
		if n.Flow == nil || n.Flow.Phase == conductor.PhaseEnded {
			continue
		}
		if away.By > jump || away.By < 0 {
			err = now(n.UUID, away, nil)
		}
		if err == nil {
			err = now(n.UUID, conductor.ServerRestarted{}, nil)
		}
		if fault.Has(err, fault.StorageUnavailable) {
			return err
		}
		if err != nil {
			// A node that can't go on here (its hardware type is gone) must not keep the others from it.
			eng.cfg.Log.Error("go on with a node", "node", n.Name, "uuid", n.UUID, "err", err)
			err = nil
			continue
		}
		err = eng.view(ctx, func(tx conductor.Tx) (err error) { n, err = tx.Node(n.UUID); return err })
		if err != nil {
			return err
		}
		eng.index(n)
	}
	for _, e := range effects {
		if e.Kind != conductor.EffectRunStep {
			eng.start(e)
			continue
		}
		done := func(tx conductor.Tx) error { return tx.DoneEffect(e.ID) }
		err := now(e.Node, conductor.StepEnded{ID: e.Step, Outcome: api.Interrupted}, done)
		switch {
		case fault.Has(err, fault.StorageUnavailable):
			return err
		case err != nil && !fault.Is(err, fault.NotFound):
			// The step is of a run that another has replaced: what became of it is told there already.
			eng.cfg.Log.Info("an effect of an older run is dropped", "node", e.Node, "step", e.Step, "err", err)
			if err := stored(func() error { return eng.cfg.Store.Update(ctx, done) }); err != nil {
				return err
			}
		}
	}
	// Only now is the time away dealt with; a stop before this goes by the old stamp again, and Decide by what it has
	// taken out already.
	return stored(func() error { return eng.stamp(ctx, eng.cfg.Now()) })
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

// watchDeadlines looks once a second at the waits in memory. A tick that took too long, because the process stood
// still or the clock was set, shifts all deadlines instead of letting them pass (I14, F28, F30).
func (eng *Engine) watchDeadlines(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	last, stamped := eng.cfg.Now(), time.Time{}
	listening := last // since when silence is the agent's and not this server's
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := eng.cfg.Now()
		// Round(0) drops the monotonic reading: what counts is the wall clock the deadlines are written in.
		gone := now.Round(0).Sub(last.Round(0))
		odd := gone > jump || gone < 0
		// Deadlines move before the new stamp is written: a stop in between moves those that were left at the start.
		var err error
		if odd {
			eng.cfg.Log.Warn("time went on without the server; deadlines are moved", "by", gone)
			err = eng.shift(ctx, gone-tick, now)
			listening = now
		}
		if err == nil && (odd || now.Round(0).Sub(stamped.Round(0)) >= stampEvery) {
			err = eng.stamp(ctx, now)
			stamped = now
		}
		if err != nil {
			// Time in which nothing can be written does not count: last stays where it is, and the first good tick
			// shifts by all of it.
			eng.cfg.Log.Error("the store can't be written; deadlines stand still", "err", err)
			stamped = time.Time{}
			continue
		}
		last = now
		eng.due(ctx, now, listening)
	}
}

// shift moves the deadlines of all open work. It gives the store's error; calling it again is harmless.
func (eng *Engine) shift(ctx context.Context, by time.Duration, now time.Time) error {
	eng.mu.Lock()
	var open []conductor.NodeID
	for id := range eng.waits {
		open = append(open, id)
	}
	eng.mu.Unlock()
	for _, id := range open {
		err := eng.apply(ctx, id, conductor.ClockShifted{By: by, Since: eng.alive, At: now.Round(0)}, nil)
		if fault.Has(err, fault.StorageUnavailable) {
			return err
		}
		if err != nil {
			eng.cfg.Log.Error("move a deadline", "node", id, "err", err)
		}
	}
	return nil
}

// due applies what has passed. Decide looks again at the stored deadline before it acts on it. Time before listening is
// no silence: the server was away, or stood still, and could not hear.
func (eng *Engine) due(ctx context.Context, now, listening time.Time) {
	type candidate struct {
		id conductor.NodeID
		waitIndex
	}
	var late []candidate
	silent := func(since time.Time) bool { return now.Sub(since) > eng.cfg.Timeouts.Silent }
	eng.mu.Lock()
	for id, w := range eng.waits {
		if !now.Before(w.deadline) || w.phase == conductor.PhaseAgent && silent(w.since) && silent(listening) {
			late = append(late, candidate{id, w})
		}
	}
	eng.mu.Unlock()
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
			e = conductor.AgentSilent{Since: heard}
		}
		err := eng.apply(ctx, id, e, nil)
		if fault.Is(err, fault.NotFound) { // deleted while it was put here
			eng.mu.Lock()
			delete(eng.waits, id)
			eng.mu.Unlock()
			continue
		}
		if err != nil && ctx.Err() == nil {
			eng.cfg.Log.Error("end a wait that is over", "node", id, "err", err)
		}
	}
}
