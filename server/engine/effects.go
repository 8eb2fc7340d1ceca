package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// worker carries out one node's effects in order, so that acts upon one machine never overlap and a dead BMC delays
// only its own node (I28).
type worker struct {
	queue   []conductor.Effect
	current *conductor.Effect
	cancel  context.CancelFunc
}

// start carries out an effect: orders to an agent at once, acts upon a BMC in the node's worker.
func (eng *Engine) start(e conductor.Effect) {
	if e.Kind == conductor.EffectOffer || e.Kind == conductor.EffectWithdraw {
		eng.order(e)
		return
	}
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if eng.run == nil {
		return // it is in the store: Run starts it
	}
	w := eng.workers[e.Node]
	if w != nil {
		w.queue = append(w.queue, e)
		return
	}
	w = &worker{queue: []conductor.Effect{e}}
	eng.workers[e.Node] = w
	run := eng.run
	eng.wg.Go(func() { eng.work(run, e.Node, w) })
}

func (eng *Engine) work(run context.Context, id conductor.NodeID, w *worker) {
	for {
		eng.mu.Lock()
		if len(w.queue) == 0 || run.Err() != nil {
			delete(eng.workers, id)
			eng.mu.Unlock()
			return
		}
		e := w.queue[0]
		w.queue = w.queue[1:]
		ctx, cancel := context.WithCancel(run)
		w.current, w.cancel = &e, cancel
		eng.mu.Unlock()

		hand := eng.hand(id)
		select {
		case hand <- struct{}{}:
			eng.perform(ctx, run, e)
			<-hand
		case <-run.Done(): // the effect stays in the store
		}

		cancel()
		eng.mu.Lock()
		w.current, w.cancel = nil, nil
		eng.mu.Unlock()
	}
}

func (eng *Engine) hand(id conductor.NodeID) chan struct{} {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	if eng.hands[id] == nil {
		eng.hands[id] = make(chan struct{}, 1)
	}
	return eng.hands[id]
}

// busy tells whether somebody acts upon a node's BMC, or waits for something on the node.
func (eng *Engine) busy(id conductor.NodeID) bool {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	_, waits := eng.waits[id]
	return waits || len(eng.hands[id]) > 0
}

// recall cancels an effect under way that the node's record no longer wants.
func (eng *Engine) recall(n conductor.Node) {
	eng.mu.Lock()
	defer eng.mu.Unlock()
	w := eng.workers[n.UUID]
	if w == nil || w.current == nil || n.Version < eng.versions[n.UUID] {
		return
	}
	if !conductor.Wanted(n, *w.current) {
		w.cancel()
	}
}

// order hands a command to the dispatcher or takes it back. While the store is away it is tried again beside whoever
// waits for the decision's end (I30).
func (eng *Engine) order(e conductor.Effect) {
	if !fault.Has(eng.handOver(e), fault.StorageUnavailable) {
		return
	}
	eng.mu.Lock()
	defer eng.mu.Unlock()
	run := eng.run
	if run == nil {
		return // it is in the store: Run starts it
	}
	eng.wg.Go(func() {
		for try := 1; retry.Pause(run, retry.Backoff(try)); try++ {
			if !fault.Has(eng.handOver(e), fault.StorageUnavailable) {
				return
			}
		}
	})
}

// handOver reads the command from the store, which decides whether it is still offered.
func (eng *Engine) handOver(e conductor.Effect) error {
	var r conductor.StepRecord
	err := eng.cfg.Store.View(context.Background(), func(tx conductor.Tx) (err error) { r, err = tx.Step(e.Step); return err })
	switch {
	case err != nil:
		eng.cfg.Log.Error("hand over a command", "node", e.Node, "step", e.Step, "err", err)
	case e.Kind == conductor.EffectWithdraw && r.Step.Where != step.InBand:
		eng.stopStep(e.Step)
	case e.Kind == conductor.EffectWithdraw:
		failpoint.Here("order.withdraw.before")
		eng.cfg.Dispatcher.Withdraw(e.Node, e.Step)
		failpoint.Here("order.withdraw.after")
	case r.State == conductor.StepOffered && r.Command != nil:
		failpoint.Here("order.offer.before")
		eng.cfg.Dispatcher.Offer(e.Node, r.Generation, *r.Command)
		failpoint.Here("order.offer.after")
	}
	if err == nil {
		eng.mu.Lock()
		eng.given = append(eng.given, e.ID)
		eng.mu.Unlock()
	}
	return err
}

// forget clears given orders from the store. They go together with what is written anyway every few seconds: a commit
// of its own for each would stand between a step's end and the next one's start. An order that a crash leaves there is
// given once more, which changes nothing.
func (eng *Engine) forget(tx conductor.Tx, given []int64) error {
	for _, id := range given {
		if err := tx.DoneEffect(id); err != nil {
			return err
		}
	}
	return nil
}

// perform carries out one effect to its end and tells Decide. A retriable failure is tried again until Timeouts.BMC
// has passed; meanwhile the wait shows what the BMC said. Time without the store or without this process does not count
// (I14, I30). When run ends the effect stays in the store.
func (eng *Engine) perform(ctx, run context.Context, e conductor.Effect) {
	var n conductor.Node
	err := retry.View(run, eng.cfg.Store, eng.cfg.Log, func(tx conductor.Tx) (err error) { n, err = tx.Node(e.Node); return err })
	if fault.Is(err, fault.NotFound) {
		return // deleted with all that belonged to it
	}
	if err != nil {
		if run.Err() == nil {
			eng.cfg.Log.Error("an effect stays in the store", "node", e.Node, "effect", e.Kind, "err", err)
		}
		return
	}
	if !conductor.Wanted(n, e) {
		eng.done(run, conductor.EffectDone{Effect: e, Fault: fault.New(fault.FlowAborted, "not wanted any more")}, false)
		return
	}
	if e.Kind == conductor.EffectRunStep {
		eng.runStep(ctx, run, e)
		return
	}
	watch, away := eng.clock.Start(), time.Duration(0) // what the store was away does not count
	for try := 1; ; try++ {
		from := watch.Spent()
		failpoint.Here("effect.before")
		out, err := eng.act(ctx, n, e)
		failpoint.Here("effect.after")
		if run.Err() != nil {
			return
		}
		f := eng.unsaid(n, fault.From(err))
		if err == nil || !f.Code.Retriable() || f.Reason == fault.BMCPower || ctx.Err() != nil || f.Reason != fault.StorageUnavailable && (e.Once || watch.Spent()-away > eng.cfg.Timeouts.BMC) {
			out.Effect, out.Fault = e, f
			if f != nil && f.Cause != nil && ctx.Err() == nil {
				eng.cfg.Log.Warn("effect failed", "node", n.Name, "effect", e.Kind, "err", f.Error(), "cause", f.Cause)
			}
			if ctx.Err() != nil {
				out.Fault = fault.New(fault.FlowAborted, "not wanted any more")
			}
			eng.done(run, out, ctx.Err() == nil)
			return
		}
		text := fmt.Sprintf("try %d: %s", try, f.Message)
		if err := eng.apply(run, e.Node, conductor.EffectEvidence{Effect: e, Text: text}, nil); err != nil {
			eng.cfg.Log.Warn("note a BMC's answer", "node", n.Name, "err", err)
		}
		if !retry.Pause(ctx, retry.Backoff(try)) {
			continue // the next try sees ctx and ends
		}
		if f.Reason == fault.StorageUnavailable {
			away += watch.Spent() - from
		}
	}
}

// unsaid is f without the address of the node's medium, which BMCs repeat in their errors (I22).
func (eng *Engine) unsaid(n conductor.Node, f *fault.Fault) *fault.Fault {
	if f == nil || n.Boot == nil {
		return f
	}
	token, out := eng.media.Token(n), *f
	if token == "" {
		return f
	}
	out.Message = strings.ReplaceAll(f.Message, token, conductor.Masked)
	if f.Cause != nil && strings.Contains(f.Cause.Error(), token) {
		out.Cause = errors.New(strings.ReplaceAll(f.Cause.Error(), token, conductor.Masked))
	}
	return &out
}

// done commits the end of an effect together with what follows from it. decide false only clears the effect.
func (eng *Engine) done(ctx context.Context, e conductor.EffectDone, decide bool) {
	clear := func(tx conductor.Tx) error {
		if err := nodes.KeepParts(tx, e.Effect.Node, e.Parts, eng.cfg.Now()); err != nil {
			return err
		}
		return tx.DoneEffect(e.Effect.ID)
	}
	for try := 1; ; try++ {
		var err error
		if decide {
			err = eng.apply(ctx, e.Effect.Node, e, clear)
		} else {
			err = eng.cfg.Store.Update(ctx, clear)
		}
		if err == nil || ctx.Err() != nil || fault.Is(err, fault.NotFound) {
			return
		}
		// The store is away: nothing is granted until it is back (I30).
		eng.cfg.Log.Error("store the end of an effect", "node", e.Effect.Node, "effect", e.Effect.Kind, "err", err)
		if !retry.Pause(ctx, retry.Backoff(try)) {
			return
		}
	}
}
