package conductor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Snapshot is all that Decide may look at: one node as the store has it at one moment.
type Snapshot struct {
	Node     Node
	Steps    []StepRecord         // of the node's current run, by order, then attempt
	Seen     *inventory.Inventory // what the current boot's lookup brought; nil before it
	Accepted *inventory.Inventory // what the last inspection stored; nil before one
	Registry *step.Registry       // every step the node's hardware type and the stock ramdisk offer
	// Interfaces are the node's implementations, by interface, defaults filled in. An interface that is not there is taken
	// for one that works.
	Interfaces map[string]string
	Defaults   []Default  // of default_config, those that hold for the node, weakest first; read for events that plan
	Templates  []Template // deploy templates that the instance's traits name, in its order; read for deployments
	Heard      time.Time  // when the agent of the current boot was last heard; zero: never, or not by this server
	Timeouts   Timeouts
	NewID      func() string // a fresh UUID at each call
	NewSalt    func() []byte // fresh random bytes for a boot generation
}

// Timeouts bound every wait (I14).
type Timeouts struct {
	BMC    time.Duration // a BMC that is busy or away, until the flow fails
	Power  time.Duration // a power act, until it must be seen
	Soft   time.Duration // a graceful shutdown
	Lookup time.Duration // power on until the ramdisk's lookup: the window of safety.md §2.2
	Ready  time.Duration // lookup until the first heartbeat
	Start  time.Duration // offer until the agent claims the step
	Silent time.Duration // between signs of life of an agent that runs a step
	Abort  time.Duration // order to abort until the step has stopped
	Beat   time.Duration // heartbeats that are not held
}

// DefaultTimeouts are those of a server without other settings.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		BMC: 10 * time.Minute, Power: 2 * time.Minute, Soft: 10 * time.Minute, Lookup: 30 * time.Minute,
		Ready: 5 * time.Minute, Start: 5 * time.Minute, Silent: 5 * time.Minute, Abort: 2 * time.Minute, Beat: 30 * time.Second,
	}
}

// Event is something that happened to a node. The set is closed: the types below.
type Event interface{ event() }

// The events.
type (
	// VerbAsked is a caller's verb, its form already checked. ConfigDrive says that one is stored with it.
	VerbAsked struct {
		Caller      Caller
		Ask         Provision
		ConfigDrive bool
	}
	// PowerAsked is a caller's power act.
	PowerAsked struct {
		Caller Caller
		Ask    PowerRequest
	}
	// EffectDone is the end of an effect; Fault nil means it was carried out. Facts come with verify, Power with
	// power, boot and finish.
	EffectDone struct {
		Effect Effect
		Fault  *fault.Fault
		Facts  *Facts
		Power  Power
		Status *Status // after an act
		Parts  *Parts  // with verify; kept beside the decision
	}
	// EffectEvidence is a sign of life of an effect that is still being tried.
	EffectEvidence struct {
		Effect Effect
		Text   string
	}
	// MediumFetched is the BMC's first read of the boot medium.
	MediumFetched struct{ Generation uint64 }
	// LookedUp is an agent's claim; Proven says that its secret is that of the current boot.
	LookedUp struct {
		Peer   Peer
		Ask    api.LookupRequest
		Proven bool
	}
	// AgentReady is the first heartbeat of an agent process, with the steps it offers.
	AgentReady struct{ Steps []step.Step }
	// StepClaimed is an agent's start.
	StepClaimed struct{ Ask api.StartRequest }
	// StepEnded is the end of an attempt, told by the agent (Nonce set) or by the run_step effect (Nonce empty).
	// Power is what a power act reached; "" otherwise.
	StepEnded struct {
		ID       step.ID
		Nonce    string
		Outcome  api.Outcome
		Result   *step.Result
		Fault    *fault.Fault
		Progress *step.Progress
		Power    Power
	}
	// AgentHeard is a heartbeat, told while a step waits for one.
	AgentHeard struct{}
	// ProgressTold is what a running step says that a later attempt could go on from; it is kept beside the record.
	ProgressTold struct {
		ID       step.ID
		Progress step.Progress
	}
	// DeadlinePassed says that the current wait is over.
	DeadlinePassed struct{}
	// AgentSilent says that the agent of the current boot was not heard for Timeouts.Silent.
	AgentSilent struct{ Since time.Time }
	// ServerRestarted asks a node with open work to go on from its records. Away is the time that the server was not
	// there, zero when that was short: one event for both, as a fleet's records are read and written for each.
	ServerRestarted struct{ Away ClockShifted }
	// ClockShifted says that By of the wall clock's time was none for the node. Since is the liveness stamp that the
	// server goes by, At the wall clock's time: a server that is stopped before it has written a new stamp tells of
	// the same time again, and Decide takes away only what it has not taken away yet. A zero Since: no such check.
	ClockShifted struct {
		By        time.Duration
		Since, At time.Time
	}
)

func (VerbAsked) event()       {}
func (PowerAsked) event()      {}
func (EffectDone) event()      {}
func (EffectEvidence) event()  {}
func (MediumFetched) event()   {}
func (LookedUp) event()        {}
func (AgentReady) event()      {}
func (StepClaimed) event()     {}
func (StepEnded) event()       {}
func (AgentHeard) event()      {}
func (ProgressTold) event()    {}
func (DeadlinePassed) event()  {}
func (AgentSilent) event()     {}
func (ServerRestarted) event() {}
func (ClockShifted) event()    {}

// LooksAtDisks tells whether Decide may look at Snapshot's inventories for this event; for the others they need not be
// read. They are the largest things that a node has, and most events concern no disk.
func LooksAtDisks(e Event) bool {
	switch e := e.(type) {
	case EffectEvidence, MediumFetched, LookedUp, StepClaimed, DeadlinePassed, AgentSilent, ServerRestarted, ClockShifted, InspectionTold:
		return false
	case EffectDone:
		return e.Effect.Kind != EffectBoot && e.Effect.Kind != EffectEject
	}
	return true
}

// Decision is what follows from an event. It is committed whole, then the effects are carried out. Refuse is the
// answer to whoever caused the event; a refusal may still change the node (a contested claim does).
type Decision struct {
	Node    Node
	Changed bool
	Steps   []StepRecord // new or changed records
	Effects []Effect
	History []Entry
	Audit   []Audit
	Refuse  error
	// DropSecrets are fields to forget in the same transaction.
	DropSecrets []string
	// InstanceGone says that the node's instance was taken away: its network attachments go in the same transaction.
	InstanceGone bool
	// DropAllocation is the allocation to delete in the same transaction: its instance is gone.
	DropAllocation string
}

// Decide is the heart of the conductor: what happens next to a node. It is pure; the same snapshot, event and time
// give the same decision. An event that does not fit (late, repeated, of an older run) changes nothing.
func Decide(s Snapshot, e Event, now time.Time) Decision {
	d := &decider{s: s, now: now, Decision: Decision{Node: clone(s.Node)}}
	d.n = &d.Node
	if d.overtaken(e) {
		return d.Decision
	}
	switch e := e.(type) {
	case VerbAsked:
		d.who = &e.Caller
		d.verb(e)
	case PowerAsked:
		d.who = &e.Caller
		d.power(e)
	case EffectDone:
		d.effectDone(e)
	case EffectEvidence:
		d.evidence(e)
	case MediumFetched:
		d.mediumFetched(e)
	case LookedUp:
		d.lookedUp(e)
	case AgentReady:
		d.agentReady(e)
	case StepClaimed:
		d.stepClaimed(e)
	case StepEnded:
		d.stepEnded(e)
	case AgentHeard:
		if f := d.open(); f != nil && f.Phase == PhaseBeat {
			d.reservedEnds()
		}
	case ProgressTold:
		d.progressTold(e)
	case DeadlinePassed:
		d.deadline()
	case AgentSilent:
		d.silent(e)
	case ServerRestarted:
		if e.Away.By != 0 {
			d.shifted(e.Away)
		}
		d.restarted()
	case RecordsDoubted:
		d.doubted(e)
	case RecordsConfirmed:
		d.confirmed(e)
	case ClockShifted:
		d.shifted(e)
	case OutOfService:
		d.who = &e.Caller
		d.outOfService(e)
	case InspectionTold:
		d.inspectionTold(e)
	case PowerRead:
		d.powerRead(e)
	case PowerLost:
		d.powerLost(e)
	case ActAsked:
		d.who = &e.Caller
		d.act(e)
	}
	if d.illegal {
		return Decision{Node: s.Node, Refuse: d.Refuse}
	}
	if d.Changed {
		d.hold()
	}
	return d.Decision
}

// decider is one run of Decide: the snapshot, and the decision as it grows.
type decider struct {
	Decision
	s        Snapshot
	now      time.Time
	n        *Node
	who      *Caller // who asks; nil for what happens by itself
	illegal  bool    // a move the state table does not know: nothing of this decision counts
	tearDown bool    // the flow begun next ends powered off
}

// clone copies what Decide may change in place.
func clone(n Node) Node {
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
func (d *decider) open() *Flow {
	if d.n.Flow == nil || d.n.Flow.Phase == PhaseEnded {
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
	e := Entry{
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
	d.Audit = append(d.Audit, Audit{Time: d.now, Node: d.n.UUID, Act: act, Detail: detail, Actor: cmp.Or(who.Name, "server"), Request: who.Request})
}

// by is on whose behalf this is decided: of the caller who asks now, else of the one whose flow it is.
func (d *decider) by() Caller {
	switch {
	case d.who != nil:
		return *d.who
	case d.n.Flow != nil:
		return Caller{Name: d.n.Flow.Actor, Request: d.n.Flow.Request}
	}
	return Caller{}
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

func (d *decider) effect(e Effect) {
	e.Node, e.Created = d.n.UUID, d.now
	if d.n.Flow != nil && e.Run == "" {
		e.Run = d.n.Flow.Run
	}
	d.Effects = append(d.Effects, e)
	d.Changed = true
	if e.Kind == EffectFinish {
		// The server's own power acts are audited as an operator's are (I27).
		d.audit("power.finish", map[string]any{"power": e.Power, "generation": e.Generation})
	}
}

// wait says what the flow waits for from now on.
func (d *decider) wait(owner, what string, limit time.Duration, r fault.Reason) {
	d.n.Flow.Wait = &Wait{For: what, Owner: owner, Since: d.now, Deadline: d.now.Add(limit), Reason: r}
	d.Changed = true
}

func (d *decider) seen(format string, args ...any) {
	if f := d.open(); f != nil && f.Wait != nil {
		f.Wait.Evidence, f.Wait.Seen, d.Changed = fmt.Sprintf(format, args...), d.now, true
	}
}

// put keeps a changed record both in the decision and in the snapshot that the rest of this decision reads.
func (d *decider) put(r StepRecord) {
	d.s.Steps = replace(d.s.Steps, r)
	d.Steps = replace(d.Steps, r)
	d.Changed = true
}

func replace(list []StepRecord, r StepRecord) []StepRecord {
	list = slices.Clone(list)
	for i := range list {
		if list[i].ID == r.ID {
			list[i] = r
			return list
		}
	}
	return append(list, r)
}
