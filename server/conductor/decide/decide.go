// Package decide is the heart of the conductor: what happens next to a node. Decide takes a node's Snapshot and an Event,
// and gives the node's next state, step records and Effects as one Decision, or a refusal. It is pure: it knows no clock,
// and does nothing.
//
// verbs.go and instance.go begin what callers ask for, flow.go and agent.go carry it on from step to step, offer.go hands a
// step to an agent.
package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Decide is the heart of the conductor: what happens next to a node. It is pure; the same snapshot, event and time
// give the same decision. An event that does not fit (late, repeated, of an older run) changes nothing.
func Decide(s conductor.Snapshot, e conductor.Event, now time.Time) conductor.Decision {
	d := &decider{s: s, now: now, Decision: conductor.Decision{Node: clone(s.Node)}}
	d.n = &d.Node
	if d.overtaken(e) {
		return d.Decision
	}
	if d.Refuse = d.stranded(e); d.Refuse != nil {
		return d.Decision
	}
	switch e := e.(type) {
	case conductor.VerbAsked:
		d.who = &e.Caller
		d.verb(e)
	case conductor.PowerAsked:
		d.who = &e.Caller
		d.power(e)
	case conductor.EffectDone:
		d.effectDone(e)
	case conductor.EffectEvidence:
		d.evidence(e)
	case conductor.MediumFetched:
		d.mediumFetched(e)
	case conductor.LookedUp:
		d.lookedUp(e)
	case conductor.AgentReady:
		d.agentReady(e)
	case conductor.StepClaimed:
		d.stepClaimed(e)
	case conductor.StepBegan:
		d.stepBegan(e)
	case conductor.StepEnded:
		d.stepEnded(e)
	case conductor.AgentHeard:
		d.agentHeard()
	case conductor.ProgressTold:
		d.progressTold(e)
	case conductor.DeadlinePassed:
		d.deadline()
	case conductor.AgentSilent:
		d.silent(e)
	case conductor.ServerRestarted:
		if e.Away.By != 0 {
			d.shifted(e.Away)
		}
		d.restarted()
	case conductor.RecordsDoubted:
		d.doubted(e)
	case conductor.RecordsConfirmed:
		d.confirmed(e)
	case conductor.ClockShifted:
		d.shifted(e)
	case conductor.OutOfService:
		d.who = &e.Caller
		d.outOfService(e)
	case conductor.InspectionTold:
		d.inspectionTold(e)
	case conductor.PowerRead:
		d.powerRead(e)
	case conductor.PowerLost:
		d.powerLost(e)
	case conductor.ActAsked:
		d.who = &e.Caller
		d.act(e)
	case conductor.ActGivenUp:
		d.who = &e.Caller
		d.giveUp(e)
	}
	if d.illegal {
		return conductor.Decision{Node: s.Node, Refuse: d.Refuse}
	}
	if d.Changed {
		d.hold()
	}
	return d.Decision
}

// decider is one run of Decide: the snapshot, and the decision as it grows.
type decider struct {
	conductor.Decision
	s        conductor.Snapshot
	now      time.Time
	n        *conductor.Node
	who      *conductor.Caller // who asks; nil for what happens by itself
	illegal  bool              // a move the state table does not know: nothing of this decision counts
	tearDown bool              // the flow begun next ends powered off
}

// clone copies what Decide may change in place.
func clone(n conductor.Node) conductor.Node {
	if n.Flow != nil {
		f := *n.Flow
		if f.Wait != nil {
			w := *f.Wait
			f.Wait = &w
		}
		n.Flow = &f
	}
	if n.Boot != nil {
		b := *n.Boot
		n.Boot = &b
	}
	return n
}

// open is the flow at work, or nil.
func (d *decider) open() *conductor.Flow {
	if d.n.Flow == nil || d.n.Flow.Phase == conductor.PhaseEnded {
		return nil
	}
	return d.n.Flow
}

// enter moves the node by an event of the state table and writes the line of history. An illegal move is a mistake in
// this package: it is refused and changes nothing (I10).
func (d *decider) enter(e state.Event) bool {
	to, ok := state.Next(d.n.State, e)
	if !ok {
		d.illegal = true
		d.Refuse = fault.New(fault.StateVerb, "%s is not possible in state %q", e.Command(), d.n.State).
			WithHint("possible here: %s", verbs(d.n.State)).At(string(d.n.UUID), "")
		return false
	}
	from, since := d.n.State, d.n.StateSince
	d.n.State, d.n.StateSince, d.Changed = to, d.now, true
	took := time.Duration(0)
	if !since.IsZero() {
		took = d.now.Sub(since)
	}
	d.note("INFO", "provisioning", took, "moved from %s to %s", from, to)
	return true
}

// verbs lists for a person what may be asked for in a state.
func verbs(s state.State) string {
	out := ""
	for _, e := range state.Legal(s) {
		switch e {
		case state.Wait, state.Resume, state.Hold, state.Fail, state.Done:
			continue
		}
		if out != "" {
			out += ", "
		}
		out += e.Command()
	}
	if out == "" {
		return "nothing, until the current work ends"
	}
	return out
}

func (d *decider) note(severity, kind string, took time.Duration, format string, args ...any) {
	e := conductor.Entry{
		Node: d.n.UUID, Time: d.now, Severity: severity, Type: kind, Event: fmt.Sprintf(format, args...),
		State: d.n.State, Target: d.n.Target, Duration: took,
	}
	if f := d.n.Flow; f != nil {
		e.Run, e.Log = f.Run, d.logLink()
	}
	e.Actor, e.Request = d.by().Name, d.by().Request
	d.History = append(d.History, e)
}

func (d *decider) audit(act string, detail map[string]any) {
	who := d.by()
	d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Node: d.n.UUID, Act: act, Detail: detail, Actor: cmp.Or(who.Name, "server"), Request: who.Request})
}

// by is on whose behalf this is decided: of the caller who asks now, else of the one whose flow it is.
func (d *decider) by() conductor.Caller {
	switch {
	case d.who != nil:
		return *d.who
	case d.n.Flow != nil:
		return conductor.Caller{Name: d.n.Flow.Actor, Request: d.n.Flow.Request}
	}
	return conductor.Caller{}
}

// about adds to the line of history just written which step it is about, and why.
func (d *decider) about(step string, reason fault.Reason) {
	e := &d.History[len(d.History)-1]
	e.Step, e.Reason = step, reason
}

// lastError shows a failure on the node: its reason in front, and behind it where the log of the boot in which it
// happened is read, if an agent came up in it.
func (d *decider) lastError(f *fault.Fault) {
	d.n.LastError, d.n.LastReason = f.Report(), f.Reason
	if link := d.logLink(); link != "" {
		d.n.LastError += " [log: " + link + "]"
	}
}

// logLink is the API's path of the agent's log of this run; "" when no agent came up in it.
func (d *decider) logLink() string {
	f, b := d.n.Flow, d.n.Boot
	if f == nil || !f.Booted || b == nil || b.Redeemed.IsZero() {
		return ""
	}
	return fmt.Sprintf("/v1/nodes/%s/logs?generation=%d", d.n.UUID, b.Generation)
}

func (d *decider) effect(e conductor.Effect) {
	e.Node, e.Created = d.n.UUID, d.now
	if d.n.Flow != nil && e.Run == "" {
		e.Run = d.n.Flow.Run
	}
	d.Effects = append(d.Effects, e)
	d.Changed = true
	d.unread(e)
	if e.Kind == conductor.EffectFinish {
		// The server's own power acts are audited as an operator's are (I27).
		d.audit("power.finish", map[string]any{"power": e.Power, "generation": e.Generation})
	}
}

// wait says what the flow waits for from now on.
func (d *decider) wait(owner, what string, limit time.Duration, r fault.Reason) {
	d.n.Flow.Wait = &conductor.Wait{For: what, Owner: owner, Since: d.now, Deadline: d.now.Add(limit), Reason: r}
	d.Changed = true
}

func (d *decider) seen(format string, args ...any) {
	if f := d.open(); f != nil && f.Wait != nil {
		f.Wait.Evidence, f.Wait.Seen, d.Changed = fmt.Sprintf(format, args...), d.now, true
	}
}

// put keeps a changed record both in the decision and in the snapshot that the rest of this decision reads.
func (d *decider) put(r conductor.StepRecord) {
	d.s.Steps = replace(d.s.Steps, r)
	d.Steps = replace(d.Steps, r)
	d.Changed = true
}

func replace(list []conductor.StepRecord, r conductor.StepRecord) []conductor.StepRecord {
	list = slices.Clone(list)
	for i := range list {
		if list[i].ID == r.ID {
			list[i] = r
			return list
		}
	}
	return append(list, r)
}
