package crash

import (
	"fmt"
	"slices"

	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Promises are answers of the server that reached a caller: what they say must never be lost (I29).
type Promises struct {
	Verbs   []Promise
	Tallies map[string]int // node name to the highest number that a PATCH of extra.tally was confirmed for
}

// Promise is an accepted verb.
type Promise struct {
	Node, Verb, Request string
}

// Evidence is all that a verdict rests on. The ledger is read before the database and once more after it, the promises
// are taken before: so each holds what the next must know of.
type Evidence struct {
	Before   []ledger.Line
	Promises Promises
	Stored   Stored
	After    []ledger.Line
	Earlier  Earlier
	// Rest says that nothing is at work any more: then every success in the ledger is one in the database as well.
	Rest bool
}

// Earlier is what former looks found in the database: what is gone since then may have been pruned, and nothing else.
type Earlier struct {
	Steps    map[step.ID]conductor.StepRecord
	Requests map[string]conductor.NodeID // of lines of history
}

// Violation is one broken promise.
type Violation struct {
	Invariant string // "I8"
	What      string
}

func (v Violation) String() string { return v.Invariant + ": " + v.What }

// Check judges. It is pure.
func Check(e Evidence) []Violation {
	c := &checker{Evidence: e, steps: slices.Clone(e.Stored.Steps), records: map[step.ID]conductor.StepRecord{}}
	for _, r := range e.Stored.Steps {
		c.records[r.ID] = r
	}
	for id, r := range e.Earlier.Steps {
		if _, there := c.records[id]; !there && pruned(e.Stored, r) {
			c.steps, c.records[id] = append(c.steps, r), r
		}
	}
	c.once()
	c.alone()
	c.known()
	c.successes()
	c.order()
	c.outOfBand()
	c.nodes()
	c.kept()
	return c.out
}

type checker struct {
	Evidence
	steps   []conductor.StepRecord // also those that were pruned
	records map[step.ID]conductor.StepRecord
	out     []Violation
}

func (c *checker) broken(invariant, format string, args ...any) {
	c.out = append(c.out, Violation{invariant, fmt.Sprintf(format, args...)})
}

// work is one step id on one device.
type work struct {
	id     step.ID
	device string
}

// once: at most one execution of a step id on each device, and one of the step on all of them (I8).
func (c *checker) once() {
	begun := map[work]int{}
	for _, l := range c.After {
		if l.Kind != ledger.Begin {
			continue
		}
		w := work{l.Step, l.Device}
		if begun[w]++; begun[w] == 2 {
			c.broken("I8", "step %s (%s) of %s was begun twice on %s", l.Step, l.Name, l.Machine, l.Device)
		}
	}
}

// alone: a machine works on one device of one step at a time, and on nothing without power (I8, I16).
func (c *checker) alone() {
	type busy struct{ work }
	at := map[string]*busy{}
	for _, l := range c.After {
		switch l.Kind {
		case ledger.Begin:
			if b := at[l.Machine]; b != nil {
				c.broken("I16", "%s began step %s while step %s was at work on %s", l.Machine, l.Step, b.id, b.device)
			}
			at[l.Machine] = &busy{work{l.Step, l.Device}}
		case ledger.End:
			if b := at[l.Machine]; b == nil || b.work != (work{l.Step, l.Device}) {
				c.broken("I8", "%s ended step %s on %s, which was not at work", l.Machine, l.Step, l.Device)
			}
			delete(at, l.Machine)
		case ledger.Kill, ledger.Off:
			delete(at, l.Machine)
		}
	}
}

// known: what was begun, answered or told is in the database in a state that fits (I8: only what is recorded as
// started runs; I29: no answer is lost).
func (c *checker) known() {
	for _, l := range c.Before {
		switch l.Kind {
		case ledger.Begin, ledger.Started, ledger.Told:
		default:
			continue
		}
		r, ok := c.records[l.Step]
		switch {
		case !ok:
			c.broken("I29", "step %s of %s is in the ledger (%s), but not in the database", l.Step, l.Machine, l.Kind)
		case l.Kind == ledger.Begin && r.Started.IsZero():
			c.broken("I8", "step %s (%s) of %s was begun, but the database never let it start: it is %s", l.Step, l.Name, l.Machine, r.State)
		case l.Kind == ledger.Started && r.Started.IsZero():
			c.broken("I29", "the start of step %s of %s was answered, but the database has it as %s", l.Step, l.Machine, r.State)
		case l.Kind == ledger.Told && (!over(r.State) || l.Outcome == api.Succeeded && r.State != conductor.StepSucceeded):
			c.broken("I29", "the end of step %s of %s was taken (%s), but the database has it as %s", l.Step, l.Machine, l.Outcome, r.State)
		}
	}
}

// pruned tells whether the server may have forgotten a step: it had ended when it was last seen, and its node has had so
// many runs since.
func pruned(now Stored, r conductor.StepRecord) bool {
	runs := map[string]bool{}
	for _, other := range now.Steps {
		if other.Node == r.Node {
			runs[other.Run] = true
		}
	}
	return over(r.State) && len(runs) >= conductor.KeptRuns
}

func over(s conductor.StepState) bool {
	return slices.Contains([]conductor.StepState{conductor.StepSucceeded, conductor.StepFailed, conductor.StepInterrupted, conductor.StepAborted}, s)
}

// successes: the database and the ledger tell of the same successes. A step that ended well on all its devices may
// lack its success only if its agent's process was killed before the server had taken the end; that the machine lost
// power is no excuse, as only the server takes it.
func (c *checker) successes() {
	ended, excused, fresh := map[work]bool{}, map[step.ID]bool{}, map[string][]step.ID{}
	for _, l := range c.After {
		switch l.Kind {
		case ledger.End:
			ended[work{l.Step, l.Device}] = true
			fresh[l.Machine] = append(fresh[l.Machine], l.Step)
		case ledger.Kill:
			for _, id := range fresh[l.Machine] {
				excused[id] = true
			}
			fresh[l.Machine] = nil
		case ledger.Told:
			fresh[l.Machine] = nil
		}
	}
	for _, r := range c.steps {
		if r.Step.Where != step.InBand || r.Command == nil {
			continue
		}
		all := true
		for _, d := range r.Command.Devices {
			all = all && ended[work{r.ID, d.Serial}]
		}
		switch {
		case r.State == conductor.StepSucceeded && !all:
			c.broken("I10", "step %s (%s) succeeded in the database, but not in the ledger", r.ID, r.Step.Name)
		case c.Rest && all && r.State != conductor.StepSucceeded && !excused[r.ID]:
			c.broken("I10", "step %s (%s) ended well in the ledger, no kill came in between, and the database has it as %s", r.ID, r.Step.Name, r.State)
		}
	}
}

// order: a step starts only when those before it in its run have succeeded, and one node has one step at work (I10).
func (c *checker) order() {
	open := map[conductor.NodeID]step.ID{}
	runs := map[string][]conductor.StepRecord{}
	for _, r := range c.Stored.Steps {
		runs[r.Run] = append(runs[r.Run], r)
		if r.State != conductor.StepOffered && r.State != conductor.StepStarted {
			continue
		}
		if other, two := open[r.Node]; two {
			c.broken("I16", "steps %s and %s of one node are at work at once", other, r.ID)
		}
		open[r.Node] = r.ID
	}
	for _, steps := range runs {
		for _, r := range steps {
			if r.Offered.IsZero() && r.Started.IsZero() {
				continue
			}
			for _, b := range steps {
				done := slices.ContainsFunc(steps, func(x conductor.StepRecord) bool { return x.Order == b.Order && x.State == conductor.StepSucceeded })
				if b.Order < r.Order && !done {
					c.broken("I10", "step %s (%s) was given out before step %s (%s) had succeeded", r.ID, r.Step.Name, b.ID, b.Step.Name)
				}
			}
		}
	}
}

// nodes: every node is in a legal state with an owner, a deadline and a way out (I13).
func (c *checker) nodes() {
	for _, n := range c.Stored.Nodes {
		row, flowing := state.FlowOf(n.State)
		open := n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded
		switch {
		case !slices.Contains(state.All(), n.State):
			c.broken("I13", "%s is in state %q, which there is not", n.Name, n.State)
			continue
		case open != flowing:
			c.broken("I13", "%s is in state %q, and its flow says %+v", n.Name, n.State, n.Flow)
			continue
		case !wayOut(n.State):
			c.broken("I13", "nothing leads out of state %q, in which %s is", n.State, n.Name)
		case !flowing:
			continue
		case n.Flow.Flow != row.Flow:
			c.broken("I13", "%s is in state %q, and its flow is %s", n.Name, n.State, n.Flow.Flow)
		}
		w := n.Flow.Wait
		if w == nil || w.For == "" || w.Reason == "" || !w.Deadline.After(w.Since) || !slices.Contains([]string{"bmc", "agent", "server", "operator"}, w.Owner) {
			c.broken("I13", "%s is in state %q without owner, reason or deadline: %+v", n.Name, n.State, w)
			continue
		}
		// Who waits for the server's own act must find that act on its list.
		mine := func(e conductor.Effect) bool { return e.Node == n.UUID && e.Run == n.Flow.Run }
		if w.Owner == "bmc" && !slices.ContainsFunc(c.Stored.Effects, mine) {
			c.broken("I13", "%s waits for %s, and no effect is stored that would do it", n.Name, w.For)
		}
	}
}

// wayOut tells whether an operator has a verb in this state, or in the one to which its flow's failure leads.
func wayOut(s state.State) bool {
	verb := func(s state.State) bool {
		return slices.ContainsFunc(state.Legal(s), func(e state.Event) bool {
			return !slices.Contains([]state.Event{state.Wait, state.Resume, state.Hold, state.Fail, state.Done}, e)
		})
	}
	failed, ok := state.Next(s, state.Fail)
	return verb(s) || ok && verb(failed)
}

// kept: what a caller was told is accepted is in the database (I29).
func (c *checker) kept() {
	known, lines := map[string]bool{}, map[conductor.NodeID]int{}
	for _, h := range c.Stored.History {
		known[h.Request] = true
		lines[h.Node]++
	}
	for request, node := range c.Earlier.Requests {
		if lines[node] >= conductor.KeptLines {
			known[request] = true
		}
	}
	for _, p := range c.Promises.Verbs {
		if !known[p.Request] {
			c.broken("I29", "%s of %s was accepted (%s), and the history knows nothing of it", p.Verb, p.Node, p.Request)
		}
	}
	for _, n := range c.Stored.Nodes {
		tally, _ := n.Extra["tally"].(float64)
		if promised := c.Promises.Tallies[n.Name]; int(tally) < promised {
			c.broken("I29", "extra.tally of %s was confirmed as %d, and is %v", n.Name, promised, tally)
		}
	}
}
