package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/retry"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stoppable is a step out of band at work. It can be stopped for as long as its driver has not asked to change anything at the
// BMC: all before that only reads. From then on the BMC has work of its own, and to leave it alone in the middle of that would
// be worse than to wait; the step says so, and ends by itself, or where its driver says that nothing is under way any more.
type stoppable struct {
	eng  *Engine
	node conductor.NodeID
	id   step.ID
	can  bool // its row says that it can be stopped at all
	stop context.CancelCauseFunc
	ran  retry.Stopwatch
	took time.Duration // when it last succeeded on the node; 0: it never did

	mu      sync.Mutex
	acts    bool // something that the driver was allowed to change may be under way
	changed bool // the driver was allowed to change something
	asked   bool // to stop
	stopped bool
}

// told is what can't be cut off of a step that has acted.
const told = "what the BMC was told to do"

var errStopped = errors.New("the step was told to stop")

// stoppable makes a step out of band one that an abort finds; its context ends when it is stopped.
func (eng *Engine) stoppable(ctx context.Context, r conductor.StepRecord, took time.Duration) (*stoppable, context.Context) {
	ctx, stop := context.WithCancelCause(ctx)
	s := &stoppable{eng: eng, node: r.Node, id: r.ID, can: r.Step.Abortable, stop: stop, took: took}
	eng.mu.Lock()
	defer eng.mu.Unlock()
	eng.stops[r.ID] = s
	return s, ctx
}

// gone takes the step off what can be stopped.
func (eng *Engine) gone(s *stoppable) {
	s.stop(nil)
	eng.mu.Lock()
	defer eng.mu.Unlock()
	delete(eng.stops, s.id)
}

// stopStep stops a step out of band if that is safe; one that has ended, or acts, it leaves alone.
func (eng *Engine) stopStep(id step.ID) {
	eng.mu.Lock()
	s := eng.stops[id]
	eng.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = true
	if s.can && !s.acts {
		s.stopped = true
		s.stop(errStopped)
	}
}

// act is asked by the driver before each request that changes anything: not after the step was stopped.
func (s *stoppable) act() error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return errStopped
	}
	first := !s.acts
	s.acts, s.changed = true, true
	s.mu.Unlock()
	if first && s.can {
		s.retell()
	}
	return nil
}

// retell tells anew how far the step is, as it can be cut off now, or can't any more.
func (s *stoppable) retell() {
	var p step.Progress
	if last := s.eng.progress(s.node, s.id); last != nil {
		p = step.Progress{Percent: last.Percent, Item: last.Item}
	}
	s.report(p)
}

// settled is told by the driver where nothing that it changed is under way or half done: the step ends there if it was told to
// stop, and can be stopped again until the next act.
func (s *stoppable) settled() error {
	s.mu.Lock()
	over := s.acts
	s.acts, s.stopped = false, s.stopped || s.can && s.asked
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		return errStopped
	}
	if over && s.can {
		s.retell()
	}
	return nil
}

// acting tells whether something may be under way that was changed, acted whether anything was changed at all.
func (s *stoppable) acting() bool { return s.is(&s.acts) }
func (s *stoppable) acted() bool  { return s.is(&s.changed) }

func (s *stoppable) is(flag *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *flag
}

// report takes the step's progress, which tells how far it is; how fast, and what is left, is worked out here.
func (s *stoppable) report(p step.Progress) {
	if last := s.eng.progress(s.node, s.id); last != nil {
		p.Percent = max(p.Percent, last.Percent)
	}
	p = p.Paced(s.ran.Spent(), s.took)
	if s.can && s.acting() {
		p.Uncut = told
	}
	s.eng.report(s.node, s.id, p)
}

// end is how the step ended: aborted, if it was stopped and has not ended well all the same.
func (s *stoppable) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || !s.stopped {
		return err
	}
	if s.changed {
		return fault.New(fault.StepAborted, "it was stopped where nothing was under way at the BMC; what it had done by then stays").Because(err)
	}
	return stoppedFirst(err)
}

func stoppedFirst(err error) *fault.Fault {
	return fault.New(fault.StepAborted, "it was stopped before the BMC was told to change anything").Because(err)
}
