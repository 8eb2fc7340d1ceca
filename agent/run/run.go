// Package run is the executor: one command at a time, claimed in a journal and from the server before it runs, its
// result told until the server takes it (safety.md §2.7). It knows no wire and no hardware: Server and Manager are
// its seams. It never runs an id twice, whatever crashes, and never decides what to run.
//
// Start at Core (core.go), which is pure: from one event to the next state and what is to be done. Executor is the shell
// around it, with clock, goroutines and calls. memory.go is the table of where an id stands, journal.go the file that
// survives a restart of the process, attempt.go the running of one step.
package run

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/failpoint"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Server is who gives the commands. Each call is one try; VerdictOf tells which errors are an answer.
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

// Request is the message that tells it.
func (e Ended) Request(seq uint64) api.ResultRequest {
	return api.ResultRequest{Seq: seq, ID: e.ID, Nonce: e.Nonce, Outcome: e.Outcome, Result: e.Result, Fault: e.Fault, Progress: e.Progress}
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

// Executor runs commands: the shell around a Core. Its methods may be called from several goroutines.
type Executor struct {
	Config
	news    chan struct{} // one slot: events wait
	changed chan struct{} // one slot: see Changed

	mu      sync.Mutex
	events  []Event
	core    Core
	attempt *attempt // the step that runs, or ran last
}

// New makes an executor; Run makes it work.
func New(cfg Config) *Executor {
	if cfg.Grace == 0 {
		cfg.Grace = time.Minute
	}
	if cfg.Retry == nil {
		cfg.Retry = func(n int) time.Duration { return min(time.Duration(n)*time.Second, 15*time.Second) }
	}
	return &Executor{
		Config: cfg, news: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		core: NewCore(cfg.Journal.Memory(), Rules{Grace: cfg.Grace, Retry: cfg.Retry}),
	}
}

// Run tells what an earlier process of this boot left untold, then runs commands one after the other until ctx ends.
// It returns after the running step has stopped, or was given up; what that step left untold, the next process tells.
func (e *Executor) Run(ctx context.Context) error {
	s := &shell{Executor: e, ctx: ctx, timer: time.NewTimer(0), cancel: func() {}}
	s.timer.Stop()
	defer s.calls.Wait()
	defer s.timer.Stop()
	ending := ctx.Done()
	for s.handle(Booted{}); !s.halted; {
		if ev, ok := e.pop(); ok {
			s.handle(ev)
			continue
		}
		select {
		case <-ending:
			ending = nil
			s.handle(Ending{})
		case <-e.news:
		case <-s.timer.C:
			s.handle(Fired{Timer: s.number, Progress: s.progress()})
		}
	}
	return ctx.Err()
}

// Command hands over a command. One that was claimed before in this boot is ignored; one that waits is replaced.
func (e *Executor) Command(c api.Command) { e.post(Commanded{Command: c, Nonce: rand.Text()}) }

// Abort stops the step with this id, or forgets the command. Any other id is ignored.
func (e *Executor) Abort(id step.ID) { e.post(AbortAsked{ID: id}) }

// Running is the step that the server let start and whose end it has not taken, with its progress; "" when none.
func (e *Executor) Running() (step.ID, *step.Progress) {
	e.mu.Lock()
	id, a := e.core.Running(), e.attempt
	e.mu.Unlock()
	if id == "" || a == nil || a.command.ID != id {
		return id, nil
	}
	return id, a.progress.latest()
}

// Changed has a token after a step started, ended or began what can't be cut off: time for a heartbeat.
func (e *Executor) Changed() <-chan struct{} { return e.changed }

func (e *Executor) post(ev Event) {
	e.mu.Lock()
	e.events = append(e.events, ev)
	e.mu.Unlock()
	signal(e.news)
}

func (e *Executor) pop() (Event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.events) == 0 {
		return nil, false
	}
	ev := e.events[0]
	e.events = e.events[1:]
	return ev, true
}

// shell is one Run. Only its goroutine touches it.
type shell struct {
	*Executor
	ctx    context.Context
	timer  *time.Timer
	number int // of the timer that is set
	cancel context.CancelFunc
	calls  sync.WaitGroup
	halted bool
}

// handle takes an event through the core and does what follows.
func (s *shell) handle(ev Event) {
	s.mu.Lock()
	core, effects := s.core.Step(ev)
	s.core = core
	s.mu.Unlock()
	for _, ef := range effects {
		s.do(ef)
	}
}

func (s *shell) do(ef Effect) {
	switch ef := ef.(type) {
	case WriteJournal:
		err := s.Journal.Write(ef.Line)
		if err != nil {
			s.Log.Error("the journal can't be written", "err", err)
		}
		s.handle(Written{Err: err})
	case CallStart:
		s.ask(func(ctx context.Context) {
			failpoint.Here("start.before")
			err := s.Server.Start(ctx, ef.ID, ef.Nonce)
			failpoint.Here("start.after")
			s.note("claim of the step", ef.ID, err)
			s.post(Answered{ID: ef.ID, Nonce: ef.Nonce, Verdict: VerdictOf(err)})
		})
	case CallResult:
		s.ask(func(ctx context.Context) {
			failpoint.Here("result.before")
			err := s.Server.Result(ctx, ef.Ended)
			failpoint.Here("result.after")
			s.note("the step's end: "+string(ef.Ended.Outcome), ef.Ended.ID, err)
			told := Told{ID: ef.Ended.ID, Nonce: ef.Ended.Nonce, Verdict: VerdictOf(err)}
			if told.Verdict == Unfit {
				told.Why = fault.From(err).Message
			}
			s.post(told)
		})
	case CancelCall:
		s.cancel()
	case RunStep:
		s.run(ef.Command)
	case StopStep:
		s.attempt.stop(ef.Cause)
	case SetTimer:
		s.number = ef.Timer
		s.timer.Reset(ef.After)
	case TellChange:
		signal(s.changed)
	case Halt:
		s.halted = true
		s.cancel()
	}
}

// ask makes the one call that is open at a time.
func (s *shell) ask(act func(context.Context)) {
	s.cancel()
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel = cancel
	s.calls.Go(func() { act(ctx) })
}

func (s *shell) note(what string, id step.ID, err error) {
	log := s.Log.With("command", id)
	switch VerdictOf(err) {
	case Yes:
		log.Info(what + " is told")
	case No:
		log.Warn(what+" is refused by the server", "err", err)
	case Unfit:
		log.Error(what+" can't be read by the server", "err", err)
	default:
		log.Warn(what+" is not answered; it is tried again", "err", err)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
