package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// attempt is the step that runs.
type attempt struct {
	command  api.Command
	log      *slog.Logger
	progress *progress
	stop     context.CancelCauseFunc // tells it to stop at the next safe point
}

// run sets a claimed step going. Its context ends by StopStep alone: that the process is to end is the core's to say.
// Its goroutine ends with the step; one that was given up may outlive Run.
func (s *shell) run(c api.Command) {
	ctx, stop := context.WithCancelCause(context.WithoutCancel(s.ctx))
	a := &attempt{command: c, log: s.Log.With("step", c.Step, "command", c.ID), progress: &progress{uncut: func() { signal(s.changed) }}, stop: stop}
	s.mu.Lock()
	s.attempt = a
	s.mu.Unlock()
	a.log.Info("step starts", "timeout", c.Timeout)
	began := s.Now()
	go func() {
		failpoint.Here("run.before")
		o := s.call(ctx, a)
		failpoint.Here("run.after")
		stop(nil)
		a.log.Info("step ended", "duration", s.Now().Sub(began), "err", o.err)
		s.post(Done{ID: c.ID, Result: o.result, Err: o.err, Progress: a.progress.latest()})
	}()
}

// progress is that of the step that runs, or ran last.
func (s *shell) progress() *step.Progress {
	if s.attempt == nil {
		return nil
	}
	return s.attempt.progress.latest()
}

// outcome is what came out of Manager.Run.
type outcome struct {
	result step.Result
	err    error
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

// left is what a stopped step tells of what it left, for the end of a sentence; "" when it tells nothing.
func left(err error) string {
	if s, ok := errors.AsType[*step.Stopped](err); ok && s.Left != "" {
		return ": " + s.Left
	}
	return ""
}

// stopped tells whether err may come of the step's context having ended, and not of a cause that the step names.
func stopped(err error) bool {
	return !isFault(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func isFault(err error) bool { _, ok := errors.AsType[*fault.Fault](err); return ok }

// progress is the latest report of a step. Whatever the step says, no percentage goes back and a heartbeat can carry it: one
// that the server refuses for a text would leave the running step's machine silent, and its power cut.
type progress struct {
	uncut func() // what can't be cut off has begun: the server should know before it can't be told any more
	mu    sync.Mutex
	last  *step.Progress
}

func (p *progress) report(now step.Progress) {
	p.mu.Lock()
	now = api.FitProgress(now).After(p.last)
	begins := now.Uncut != "" && (p.last == nil || p.last.Uncut == "")
	p.last = &now
	p.mu.Unlock()
	if begins && p.uncut != nil {
		p.uncut()
	}
}

func (p *progress) latest() *step.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}
