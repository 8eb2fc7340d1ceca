// Package run is the executor: one command at a time, claimed in a journal and from the server before it runs, its
// result told until the server takes it (safety.md §2.7). It knows no wire and no hardware: Server and Manager are
// its seams. It never runs an id twice, whatever crashes, and never decides what to run.
//
// Start at Executor.Run; journal.go is what survives a restart of the process; attempt.go runs one step.
package run

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Server is who gives the commands. Each call is one try; an error whose fault says that trying again can't help
// (final) is an answer, any other means that the answer is not known.
type Server interface {
	// Start claims a step. Nil means that the server has recorded it as started by this nonce.
	Start(ctx context.Context, id step.ID, nonce string) error
	// Result tells how a step ended.
	Result(ctx context.Context, e Ended) error
	// Secret fetches a secret of a started step.
	Secret(ctx context.Context, id step.ID, name string) ([]byte, error)
}

// Manager runs steps by name. A step it does not offer is step.not_in_ramdisk.
type Manager interface {
	Run(ctx context.Context, name string, c step.Call) (step.Result, error)
	Steps() []step.Step
}

// Ended is how an attempt ended.
type Ended struct {
	ID       step.ID        `json:"id"`
	Nonce    string         `json:"nonce"`
	Outcome  api.Outcome    `json:"outcome"`
	Result   *step.Result   `json:"result,omitempty"`
	Fault    *api.Fault     `json:"fault,omitempty"`
	Progress *step.Progress `json:"progress,omitempty"`
}

// Config is what an Executor is made of.
type Config struct {
	Server  Server
	Manager Manager
	Journal *Journal
	Now     func() time.Time
	Log     *slog.Logger
	// Grace is how long a step may take to stop after it was told to; 0 is a minute. A step that takes longer is
	// given up: its end is told, and nothing else runs until the machine is booted again.
	Grace time.Duration
	// Retry is the pause before the n-th try (from 1) of telling the server something; nil is 1 s to 15 s.
	Retry func(n int) time.Duration
}

// Executor runs commands. Its methods may be called from several goroutines.
type Executor struct {
	Config
	news    chan struct{} // one slot: something is to be done
	changed chan struct{} // one slot: see Changed

	mu      sync.Mutex
	waiting *api.Command
	current *attempt
	stuck   string // the step that was given up
}

// New makes an executor; Run makes it work.
func New(cfg Config) *Executor {
	if cfg.Grace == 0 {
		cfg.Grace = time.Minute
	}
	if cfg.Retry == nil {
		cfg.Retry = func(n int) time.Duration { return min(time.Duration(n)*time.Second, 15*time.Second) }
	}
	return &Executor{Config: cfg, news: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// Run tells what an earlier process of this boot left untold, then runs commands one after the other until ctx ends.
// It returns after the running step has stopped, or was given up; what that step left untold, the next process tells.
func (e *Executor) Run(ctx context.Context) error {
	for _, end := range e.Journal.Untold() {
		if err := e.tell(ctx, end); err != nil {
			return err
		}
	}
	for {
		if c := e.take(); c != nil {
			if err := e.execute(ctx, *c); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.news:
		}
	}
}

// Command hands over a command. One that was claimed before in this boot is ignored; one that waits is replaced.
func (e *Executor) Command(c api.Command) {
	if e.Journal.Known(c.ID) {
		return
	}
	e.mu.Lock()
	e.waiting = &c
	e.mu.Unlock()
	signal(e.news)
}

// Abort stops the step with this id, or forgets the command. Any other id is ignored.
func (e *Executor) Abort(id step.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting != nil && e.waiting.ID == id {
		e.waiting = nil
	}
	if e.current != nil && e.current.id == id {
		e.current.abort()
	}
}

// Running is the step that the server let start and whose end it has not taken, with its progress; "" when none.
func (e *Executor) Running() (step.ID, *step.Progress) {
	e.mu.Lock()
	a := e.current
	e.mu.Unlock()
	if a == nil || !a.isStarted() {
		return "", nil
	}
	return a.id, a.progress.latest()
}

// Changed has a token after a step started or ended: time for a heartbeat.
func (e *Executor) Changed() <-chan struct{} { return e.changed }

func (e *Executor) take() *api.Command {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.waiting
	e.waiting = nil
	return c
}

func (e *Executor) set(a *attempt) {
	e.mu.Lock()
	e.current = a
	e.mu.Unlock()
	signal(e.changed)
}

// execute takes one command from claim to told end. Its error is ctx's.
func (e *Executor) execute(ctx context.Context, c api.Command) error {
	if e.Journal.Known(c.ID) {
		return nil
	}
	log := e.Log.With("step", c.Step, "command", c.ID)
	nonce := rand.Text()
	if err := e.Journal.Claim(c.ID, c.Step, nonce); err != nil {
		// Not claimed, so not run: the server offers it again, or its deadline tells the operator.
		log.Error("step is not claimed", "err", err)
		return pause(ctx, e.Retry(1))
	}
	a := newAttempt(ctx, c, nonce, log)
	e.set(a)
	defer e.set(nil)
	defer a.cancel()
	started, err := e.start(ctx, a)
	if err != nil {
		return err
	}
	if !started {
		return e.over(c.ID)
	}
	failpoint.Here("run.before")
	end := e.run(ctx, a)
	failpoint.Here("run.after")
	if end == nil {
		return ctx.Err() // no end to tell: the next process tells that it was interrupted
	}
	if err := e.Journal.End(*end); err != nil {
		log.Error("the step's end is not journaled", "err", err)
	}
	return e.tell(ctx, *end)
}

// start claims a at the server until it answers, with the one nonce. A step that is aborted meanwhile is claimed no
// more: whether the server has recorded the claim is not known then, so its end is told.
func (e *Executor) start(ctx context.Context, a *attempt) (started bool, err error) {
	for n := 1; ; n++ {
		failpoint.Here("start.before")
		err := e.Server.Start(a.ctx, a.id, a.nonce)
		failpoint.Here("start.after")
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case a.ctx.Err() != nil:
			return true, nil
		case err == nil:
			a.start()
			signal(e.changed)
			return true, nil
		case final(err):
			a.log.Info("the server does not let the step start", "err", err)
			return false, nil
		}
		a.log.Warn("claim of the step is not answered; it is tried again", "err", err)
		if pause(a.ctx, e.Retry(n)) != nil && ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// tell repeats an end until the server has taken it, or does not want it.
func (e *Executor) tell(ctx context.Context, end Ended) error {
	log := e.Log.With("command", end.ID, "outcome", end.Outcome)
	for n := 1; ; n++ {
		failpoint.Here("result.before")
		err := e.Server.Result(ctx, end)
		failpoint.Here("result.after")
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			log.Info("the step's end is told")
			return e.over(end.ID)
		case final(err):
			log.Warn("the server does not want the step's end", "err", err)
			return e.over(end.ID)
		}
		log.Warn("the step's end is not told yet; it is tried again", "err", err)
		if err := pause(ctx, e.Retry(n)); err != nil {
			return err
		}
	}
}

// over closes an id. If that can't be journaled the next process tells its end again, which changes nothing.
func (e *Executor) over(id step.ID) error {
	if err := e.Journal.Over(id); err != nil {
		e.Log.Error("a told end is not journaled", "command", id, "err", err)
	}
	return nil
}

// final tells whether err is the server's answer that a repeat would not change. A refused token, source or node is
// not: an operator can set that right, and the end of a step must not be lost over it.
func final(err error) bool {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return false
	}
	switch f.Code {
	case fault.Invalid, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Unsupported:
		switch f.Reason {
		case fault.ChannelStale, fault.ChannelSource, fault.ChannelWindow, fault.NodeContested:
			return false
		}
		return true
	}
	return false
}

func interrupted(id step.ID, name, nonce string) Ended {
	f := fault.New(fault.StepInterrupted, "the agent restarted while the step ran").At("", name)
	wire := api.FaultOf(f)
	return Ended{ID: id, Nonce: nonce, Outcome: api.Interrupted, Fault: &wire}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("pause: %w", ctx.Err())
	case <-t.C:
		return nil
	}
}
