package run

import (
	"errors"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Event is something that happened to the executor. The set is closed: the types below.
type Event interface{ event() }

// The events.
type (
	// Booted begins the work of a process, once.
	Booted struct{}
	// Commanded is a command of the server. Nonce is made for it by this process; it is used if the id is claimed.
	Commanded struct {
		Command api.Command
		Nonce   string
	}
	// AbortAsked is the server's order to stop a step, or to forget its command.
	AbortAsked struct{ ID step.ID }
	// Written says how WriteJournal ended.
	Written struct{ Err error }
	// Answered is what came of CallStart. An answer counts only for the claim that asked (safety.md §2.7).
	Answered struct {
		ID      step.ID
		Nonce   string
		Verdict Verdict
	}
	// Told is what came of CallResult.
	Told struct {
		ID      step.ID
		Nonce   string
		Verdict Verdict
		Why     string // of Unfit: the server's words
	}
	// Done says that the step returned.
	Done struct {
		ID       step.ID
		Result   step.Result
		Err      error
		Progress *step.Progress
	}
	// Fired is the end of a timer; Progress is that of the step that runs.
	Fired struct {
		Timer    int
		Progress *step.Progress
	}
	// Ending says that the process is to end.
	Ending struct{}
)

func (Booted) event()     {}
func (Commanded) event()  {}
func (AbortAsked) event() {}
func (Written) event()    {}
func (Answered) event()   {}
func (Told) event()       {}
func (Done) event()       {}
func (Fired) event()      {}
func (Ending) event()     {}

// Verdict is what a call to the server brought.
type Verdict int

// Unsure: no answer, or one that a repeat may change. Yes: granted, or taken. No: an answer that stays. Unfit: the server
// can't read the message, so it says nothing of what stands in it.
const (
	Unsure Verdict = iota
	Yes
	No
	Unfit
)

// Effect is something the shell is asked to do. Effects of one Step are done in order, before the next event.
type Effect interface{ effect() }

// The effects.
type (
	// WriteJournal makes a line durable; Written follows before anything else.
	WriteJournal struct{ Line Line }
	// CallStart claims a step at the server; Answered follows.
	CallStart struct {
		ID    step.ID
		Nonce string
	}
	// CallResult tells an end; Told follows.
	CallResult struct{ Ended Ended }
	// CancelCall gives up the call that is open: its answer does not matter any more.
	CancelCall struct{}
	// RunStep runs a step; Done follows.
	RunStep struct{ Command api.Command }
	// StopStep tells the running step to stop at the next safe point.
	StopStep struct{ Cause error }
	// SetTimer asks for Fired with this number; an earlier timer may be forgotten.
	SetTimer struct {
		Timer int
		After time.Duration
	}
	// TellChange says that a heartbeat would have news.
	TellChange struct{}
	// Halt is the last effect: the process may end.
	Halt struct{}
)

func (WriteJournal) effect() {}
func (CallStart) effect()    {}
func (CallResult) effect()   {}
func (CancelCall) effect()   {}
func (RunStep) effect()      {}
func (StopStep) effect()     {}
func (SetTimer) effect()     {}
func (TellChange) effect()   {}
func (Halt) effect()         {}

// Rules are the times a core goes by.
type Rules struct {
	Grace time.Duration             // for a step to stop after it was told to
	Retry func(n int) time.Duration // before the n-th repeat of a call, from 1
}

// Core is the executor without goroutines, clock, randomness or I/O: a value that Step takes from one event to the
// next. NewCore makes the one of a new process.
type Core struct {
	rules   Rules
	memory  Memory
	untold  []Ended    // what earlier processes of this boot left to tell
	waiting *Commanded // the next command; nil: none
	phase   phase
	job     job
	stuck   string // the step that was given up: nothing else runs in this boot
	ending  bool
	timer   int // the number of the newest timer
	effects []Effect
}

// phase is what the core waits for.
type phase int

const (
	fresh     phase = iota // Booted
	idle                   // a command
	claiming               // the claim's line to be written
	asking                 // the answer to start
	askAgain               // the pause before asking again
	running                // the step to return
	stopping               // the step to return, after it was told to stop
	recording              // the end's line to be written
	telling                // the answer to the result
	tellAgain              // the pause before telling again
	closing                // the last line to be written
	resting                // the pause after a claim that could not be written
	halted                 // nothing
)

// job is the one attempt at work. It is a value but for end, which is not changed once made.
type job struct {
	command api.Command
	nonce   string
	granted bool
	aborted bool
	late    bool
	bare    bool // the end was refused by its form, and is told without what the step left
	try     int
	end     *Ended
}

// NewCore makes the core of a process that finds this memory in the journal.
func NewCore(m Memory, r Rules) Core { return Core{rules: r, memory: m, untold: m.Untold()} }

// Running is the step that the server let start and whose end it has not taken; "" when none.
func (c Core) Running() step.ID {
	if !c.job.granted {
		return ""
	}
	return c.job.command.ID
}

// Idle tells whether nothing is at work and nothing waits.
func (c Core) Idle() bool { return c.phase == idle }

// Step is what follows from an event: the core after it, and what is to be done. It is pure. An event that does not
// fit (late, repeated, of another claim) changes nothing.
func (c Core) Step(e Event) (Core, []Effect) {
	c.effects = nil
	switch e := e.(type) {
	case Booted:
		if c.phase == fresh {
			c.next()
		}
	case Commanded:
		c.commanded(e)
	case AbortAsked:
		c.abort(e.ID)
	case Written:
		c.written(e)
	case Answered:
		c.answered(e)
	case Told:
		c.told(e)
	case Done:
		c.done(e)
	case Fired:
		c.fired(e)
	case Ending:
		c.end()
	}
	out := c.effects
	c.effects = nil
	return c, out
}

func (c *Core) do(e Effect) { c.effects = append(c.effects, e) }

func (c *Core) after(d time.Duration) {
	c.timer++
	c.do(SetTimer{Timer: c.timer, After: d})
}

// next begins what is due: first what an earlier process left untold, then the command that waits.
func (c *Core) next() {
	c.phase, c.job = idle, job{}
	switch {
	case c.ending:
		c.halt()
	case len(c.untold) > 0:
		end := c.untold[0]
		c.untold = c.untold[1:]
		c.job.end = &end
		c.tell()
	case c.waiting != nil:
		w := *c.waiting
		c.waiting = nil
		c.job = job{command: w.Command, nonce: w.Nonce}
		c.do(TellChange{})
		c.phase = claiming
		c.do(WriteJournal{Line{Claim: &ClaimLine{ID: w.Command.ID, Step: w.Command.Step, Nonce: w.Nonce}}})
	}
}

func (c *Core) halt() {
	c.phase = halted
	c.do(Halt{})
}

// commanded takes a command unless its id is known in this boot; one that waits already is replaced.
func (c *Core) commanded(e Commanded) {
	if c.memory.Known(e.Command.ID) || c.job.command.ID == e.Command.ID || c.phase == halted {
		return
	}
	c.waiting = &e
	if c.phase == idle {
		c.next()
	}
}

// abort stops the step with this id, or forgets its command. Before the server's answer it is not known whether the
// claim was recorded: it is not asked for any more, and an end is told.
func (c *Core) abort(id step.ID) {
	if c.waiting != nil && c.waiting.Command.ID == id {
		c.waiting = nil
	}
	if c.job.command.ID != id || id == "" {
		return
	}
	c.job.aborted = true
	switch c.phase {
	case asking, askAgain:
		c.do(CancelCall{})
		c.record(c.job.failed(nil, nil))
	case running:
		c.stop(errAborted)
	}
}

// stop tells the step to stop, and gives it the grace to do so.
func (c *Core) stop(cause error) {
	c.phase = stopping
	c.do(StopStep{Cause: cause})
	c.after(c.rules.Grace)
}

func (c *Core) written(e Written) {
	switch c.phase {
	case claiming:
		if e.Err != nil {
			// Not claimed, so not run: the server offers it again, or its deadline tells the operator.
			c.phase, c.job = resting, job{}
			if c.ending {
				c.halt()
				return
			}
			c.after(c.rules.Retry(1))
			return
		}
		c.remember(Line{Claim: &ClaimLine{ID: c.job.command.ID, Step: c.job.command.Step, Nonce: c.job.nonce}})
		switch {
		case c.ending:
			c.halt()
		case c.job.aborted:
			c.record(c.job.failed(nil, nil))
		default:
			c.ask()
		}
	case recording:
		if e.Err == nil {
			c.remember(Line{Ended: c.job.end})
		}
		if c.ending {
			c.halt() // the next process tells it
			return
		}
		c.tell()
	case closing:
		// If that can't be written the next process tells the end again, which changes nothing.
		if e.Err == nil {
			c.remember(Line{Over: c.id()})
		}
		c.do(TellChange{})
		c.next()
	}
}

// remember takes in a line that the journal holds. The journal has checked it by the same table.
func (c *Core) remember(l Line) {
	if m, err := c.memory.With(l); err == nil {
		c.memory = m
	}
}

func (c *Core) id() step.ID {
	if c.job.end != nil {
		return c.job.end.ID
	}
	return c.job.command.ID
}

func (c *Core) ask() {
	c.phase = asking
	c.job.try++
	c.do(CallStart{ID: c.job.command.ID, Nonce: c.job.nonce})
}

// answered runs the step only if the server has recorded this very claim.
func (c *Core) answered(e Answered) {
	if c.phase != asking || e.ID != c.job.command.ID || e.Nonce != c.job.nonce {
		return
	}
	switch e.Verdict {
	case Unsure:
		c.phase = askAgain
		c.after(c.rules.Retry(c.job.try))
	case No, Unfit:
		c.close()
	case Yes:
		m, ok := c.memory.granted(e.ID)
		if !ok {
			return
		}
		c.memory, c.job.granted, c.job.try = m, true, 0
		c.do(TellChange{})
		if c.stuck != "" {
			c.record(c.job.failed(fault.New(fault.StepFailed, "step %s was told to stop, did not, and may still be working", c.stuck).
				WithHint("power the node off, then repeat the verb"), nil))
			return
		}
		c.phase = running
		c.do(RunStep{Command: c.job.command})
		if t := c.job.command.Timeout; t > 0 {
			c.after(t)
		}
	}
}

// done takes the end of the step as it returned it.
func (c *Core) done(e Done) {
	if c.phase != running && c.phase != stopping || e.ID != c.job.command.ID {
		return
	}
	switch {
	case e.Err == nil:
		c.record(c.job.succeeded(e.Result, e.Progress))
	case c.ending:
		c.halt() // no end to tell: the next process tells that it was interrupted
	case c.job.aborted && stopped(e.Err):
		end := c.job.failed(nil, e.Progress)
		end.Fault.Message += left(e.Err)
		c.record(end)
	case c.job.late && stopped(e.Err):
		c.record(c.job.failed(fault.New(fault.StepTimeout, "the step did not end within %s: %v", c.job.command.Timeout, e.Err), e.Progress))
	default:
		c.record(c.job.failed(e.Err, e.Progress))
	}
}

func (c *Core) fired(e Fired) {
	if e.Timer != c.timer {
		return
	}
	switch c.phase {
	case resting:
		c.next()
	case askAgain:
		c.ask()
	case tellAgain:
		c.tell()
	case running:
		c.job.late = true
		c.stop(errLate)
	case stopping:
		if p := e.Progress; p != nil && p.Uncut != "" && !c.ending {
			c.after(c.rules.Grace) // it begins when that has ended
			return
		}
		c.stuck = c.job.command.Step
		if c.ending {
			c.halt()
			return
		}
		c.record(c.job.failed(fault.New(fault.StepTimeout, "the step did not stop within %s of being told to, and may still be working", c.rules.Grace).
			WithHint("power the node off before anything else"), e.Progress))
	}
}

// end lets a running step stop; what is open otherwise, the next process goes on with.
func (c *Core) end() {
	c.ending = true
	switch c.phase {
	case running:
		c.stop(errEnding)
	case stopping, claiming, recording, closing, halted:
	default:
		c.halt()
	}
}

// record writes an end down before it is told.
func (c *Core) record(e *Ended) {
	if e.Fault != nil {
		*e.Fault = api.FitFault(*e.Fault)
	}
	c.job.end, c.phase = e, recording
	c.do(WriteJournal{Line{Ended: e}})
}

func (c *Core) tell() {
	c.phase = telling
	c.job.try++
	c.do(CallResult{Ended: *c.job.end})
}

func (c *Core) told(e Told) {
	if c.phase != telling || e.ID != c.job.end.ID || e.Nonce != c.job.end.Nonce {
		return
	}
	switch {
	case e.Verdict == Unfit && !c.job.bare:
		c.job.bare, c.job.end = true, c.job.end.bare(e.Why)
		c.tell()
	case e.Verdict == Unfit, e.Verdict == Unsure:
		c.phase = tellAgain
		c.after(c.rules.Retry(c.job.try))
	default:
		c.close()
	}
}

func (c *Core) close() {
	c.phase = closing
	c.do(WriteJournal{Line{Over: c.id()}})
}

var (
	errAborted = errors.New("the step was aborted")
	errLate    = errors.New("the step took too long")
	errEnding  = errors.New("the agent ends")
)

func (j job) succeeded(r step.Result, p *step.Progress) *Ended {
	if err := api.CheckResult(r); err != nil {
		return j.failed(err, p)
	}
	return &Ended{ID: j.command.ID, Nonce: j.nonce, Outcome: api.Succeeded, Result: &r, Progress: p}
}

// failed is the end of an attempt that did not succeed; nil means that it was aborted.
func (j job) failed(err error, p *step.Progress) *Ended {
	end := &Ended{ID: j.command.ID, Nonce: j.nonce, Outcome: api.Failed, Progress: p}
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

// interrupted is the end of an attempt that another process of this boot claimed and did not end.
func interrupted(id step.ID, name, nonce string) Ended {
	f := fault.New(fault.StepInterrupted, "the agent restarted while the step ran").At("", name)
	wire := api.FaultOf(f)
	return Ended{ID: id, Nonce: nonce, Outcome: api.Interrupted, Fault: &wire}
}

// bare is an end of which the server could not read the whole: without what the step left, so that at least the end is
// known. A success without its evidence is none.
func (e Ended) bare(why string) *Ended {
	out := Ended{ID: e.ID, Nonce: e.Nonce, Outcome: e.Outcome}
	f := api.FaultOf(fault.New(fault.StepResult, "the step's work is done, but the server can't read what it left: %s", why))
	if e.Outcome == api.Succeeded {
		out.Outcome = api.Failed
	} else if e.Fault != nil {
		f = *e.Fault
	}
	f = api.FitFault(f)
	out.Fault = &f
	return &out
}

// VerdictOf is what an answer or a failure of a call means. A refused token, source or node is no answer that stays:
// an operator can set that right, and the end of a step must not be lost over it.
func VerdictOf(err error) Verdict {
	if err == nil {
		return Yes
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return Unsure
	}
	if f.Reason == fault.RequestInvalid || f.Reason == fault.RequestTooLarge {
		return Unfit
	}
	final := []fault.Code{fault.Invalid, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Unsupported}
	lifted := []fault.Reason{fault.ChannelStale, fault.ChannelSource, fault.ChannelWindow, fault.NodeContested}
	if slices.Contains(final, f.Code) && !slices.Contains(lifted, f.Reason) {
		return No
	}
	return Unsure
}
