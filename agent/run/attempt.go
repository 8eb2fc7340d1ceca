package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// maxResult bounds what a step may leave, so that telling it fits into a message.
const maxResult = api.MaxBody / 2

var errAborted = errors.New("the step was aborted")

// attempt is one command on its way.
type attempt struct {
	id       step.ID
	command  api.Command
	nonce    string
	log      *slog.Logger
	progress *progress
	ctx      context.Context // ends with the process, by abort, and at the deadline
	cancel   context.CancelFunc
	abort    func()

	mu      sync.Mutex
	started bool
}

func newAttempt(ctx context.Context, c api.Command, nonce string, log *slog.Logger) *attempt {
	ctx, cause := context.WithCancelCause(ctx)
	return &attempt{
		id: c.ID, command: c, nonce: nonce, log: log, progress: &progress{}, ctx: ctx,
		cancel: func() { cause(nil) }, abort: func() { cause(errAborted) },
	}
}

func (a *attempt) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = true
}

func (a *attempt) isStarted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.started
}

func (a *attempt) aborted() bool { return errors.Is(context.Cause(a.ctx), errAborted) }

// outcome is what came out of Manager.Run.
type outcome struct {
	result step.Result
	err    error
}

// run runs a claimed attempt and gives its end; nil when the process is to end and there is none to tell.
func (e *Executor) run(ctx context.Context, a *attempt) *Ended {
	e.mu.Lock()
	stuck := e.stuck
	e.mu.Unlock()
	switch {
	case a.aborted():
		return a.failed(nil)
	case stuck != "":
		return a.failed(fault.New(fault.StepFailed, "step %s was told to stop, did not, and may still be working", stuck).
			WithHint("power the node off, then repeat the verb"))
	}
	limited, cancel := context.WithCancel(a.ctx)
	defer cancel()
	if t := a.command.Timeout; t > 0 {
		limited, cancel = context.WithTimeout(a.ctx, t)
		defer cancel()
	}
	a.log.Info("step starts", "timeout", a.command.Timeout)
	began := e.Now()
	done := make(chan outcome, 1) // one slot: a step that was given up can still end
	go func() { done <- e.call(limited, a) }()
	var o outcome
	select {
	case o = <-done:
	case <-limited.Done():
		t := time.NewTimer(e.Grace)
		defer t.Stop()
		select {
		case o = <-done:
		case <-t.C:
			e.mu.Lock()
			e.stuck = a.command.Step
			e.mu.Unlock()
			o.err = fault.New(fault.StepTimeout, "the step did not stop within %s of being told to, and may still be working", e.Grace).
				WithHint("power the node off before anything else")
			a.log.Error("step is given up; nothing else runs in this boot", "err", o.err)
			if ctx.Err() != nil {
				return nil
			}
			return a.failed(o.err)
		}
	}
	a.log.Info("step ended", "duration", e.Now().Sub(began), "err", o.err)
	switch {
	case o.err == nil:
		return a.succeeded(o.result)
	case ctx.Err() != nil:
		return nil
	case a.aborted() && stopped(o.err):
		return a.failed(nil)
	case errors.Is(limited.Err(), context.DeadlineExceeded) && stopped(o.err):
		return a.failed(fault.New(fault.StepTimeout, "the step did not end within %s: %v", a.command.Timeout, o.err))
	}
	return a.failed(o.err)
}

// call runs the step; a panic becomes step.panic (a panic in a goroutine of the step's own ends the process, and the
// next one tells that the step was interrupted).
func (e *Executor) call(ctx context.Context, a *attempt) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			a.log.Error("step panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			o = outcome{err: fault.New(fault.StepPanic, "the step's code crashed: %v", r)}
		}
	}()
	c := a.command
	var secrets []string
	for _, s := range e.Manager.Steps() {
		if s.Name == c.Step {
			secrets = s.Secrets
		}
	}
	o.result, o.err = e.Manager.Run(ctx, c.Step, step.Call{
		ID: c.ID, Flow: c.Flow, Args: c.Args, Devices: c.Devices, Node: c.Node, Resume: c.Resume, Report: a.progress.report, Log: a.log,
		Secret: func(ctx context.Context, name string) ([]byte, error) {
			if !slices.Contains(secrets, name) {
				return nil, fault.New(fault.RequestForbidden, "step %s does not say that it needs the secret %q", c.Step, name)
			}
			v, err := e.Server.Secret(ctx, c.ID, name)
			if err != nil {
				return nil, fmt.Errorf("fetch secret %s: %w", name, err)
			}
			return v, nil
		},
	})
	return o
}

func (a *attempt) succeeded(r step.Result) *Ended {
	raw, err := json.Marshal(r)
	if err != nil {
		return a.failed(fault.New(fault.StepFailed, "the step's work is done, but what it left can't be told: %v", err))
	}
	if len(raw) > maxResult {
		return a.failed(fault.New(fault.StepFailed, "the step's work is done, but it left %d bytes to tell, at most %d can be", len(raw), maxResult))
	}
	return &Ended{ID: a.id, Nonce: a.nonce, Outcome: api.Succeeded, Result: &r, Progress: a.progress.latest()}
}

// failed is the end of an attempt that did not succeed; nil means that it was aborted.
func (a *attempt) failed(err error) *Ended {
	end := &Ended{ID: a.id, Nonce: a.nonce, Outcome: api.Failed, Progress: a.progress.latest()}
	if err == nil {
		end.Outcome, err = api.Aborted, fault.New(fault.StepAborted, "the step was aborted")
	}
	if !isFault(err) {
		err = fault.New(fault.StepFailed, "%v", err)
	}
	wire := api.FaultOf(err)
	end.Fault = &wire
	return end
}

// stopped tells whether err may come of the step's context having ended, and not of a cause that the step names.
func stopped(err error) bool {
	return !isFault(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func isFault(err error) bool { _, ok := errors.AsType[*fault.Fault](err); return ok }

// progress is the latest report of a step. No percentage goes back, whatever the step says.
type progress struct {
	mu   sync.Mutex
	last *step.Progress
}

func (p *progress) report(now step.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = now.After(p.last)
	p.last = &now
}

func (p *progress) latest() *step.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
