package decide

import (
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// plan makes the plan of a verb from the snapshot.
func (d *decider) plan(ask conductor.Provision) plan.Plan {
	in := d.planInput(ask)
	if b := d.n.Boot; b != nil && (in.Agent || ask.Verb == state.VerbClean || ask.Verb == state.VerbService) {
		// An operator's list may name what the node's ramdisk offered last; what a flow runs by itself waits for what
		// the ramdisk then offers.
		in.Offered = b.Steps
	}
	return plan.Build(in)
}

func (d *decider) planInput(ask conductor.Provision) plan.Input {
	return plan.Input{Node: *d.n, Ask: ask, Registry: d.s.Registry, Interfaces: d.s.Interfaces, Defaults: d.s.Defaults, Templates: d.s.Templates, Accepted: d.s.Accepted, Agent: d.reusable()}
}

// Preview is the plan that a verb would have now, made by the same code as the real one. took is how long steps took on
// this node, by name. What the node's ramdisk offered last is taken to be what it will offer.
func Preview(s conductor.Snapshot, ask conductor.Provision, now time.Time, took map[string]time.Duration) plan.Plan {
	d := &decider{s: s, now: now, Decision: conductor.Decision{Node: clone(s.Node)}}
	d.n = &d.Node
	in := d.planInput(ask)
	in.Took = took
	if d.n.Boot != nil {
		in.Offered = d.n.Boot.Steps
	}
	p := plan.Build(in)
	if _, ok := state.Next(d.n.State, ask.Verb); !ok {
		p.Blocked = "the node is " + string(d.n.State) + "; " + ask.Verb.Command() + " is possible from " + origins(ask.Verb)
	} else if f := d.forbidden(ask.Verb); f != nil {
		p.Blocked = fault.From(f).Message
	}
	return p
}

// origins lists the states a verb leads from.
func origins(v state.Event) string {
	var out []string
	for _, t := range state.Transitions() {
		if f, busy := state.FlowOf(t.From); t.Event == v && (!busy || t.From != f.Doing) {
			out = append(out, string(t.From))
		}
	}
	return strings.Join(out, ", ")
}

// begin opens a flow: the state moves, the old error goes, the steps are stored as planned, each with its id, order,
// vector, arguments, deadline and Repeat, before anything runs.
func (d *decider) begin(e conductor.VerbAsked, f state.Flow, via state.Event, plan plan.Plan) bool {
	if d.Refuse = d.impossible(f, plan); d.Refuse != nil {
		return false
	}
	reads := fit.Reads(d.s.Interfaces, f) // an agent that is up is no part of it
	if d.live() && !d.reusable() && !reads {
		d.n.Boot.Ended = true // nothing of an agent that can't be used is accepted any more
	}
	if f == state.Inspect && !reads {
		d.forget()
	}
	d.n.Flow = &conductor.Flow{
		Run: d.s.NewID(), Flow: f, Phase: conductor.PhaseSteps, Started: d.now, NoRamdisk: e.Ask.NoRamdisk,
		Actor: e.Caller.Name, Request: e.Caller.Request, TearDown: d.tearDown, Pretend: fit.Pretends(d.s.Interfaces, f),
		Booted: d.live() && !reads, // a ramdisk that runs already is this flow's from now on, and ends with it
	}
	if !d.enter(via) {
		return false
	}
	d.n.LastError, d.n.LastReason = "", ""
	d.n.Target = state.Row(f).Target
	if d.n.Owed.Overdue() && slices.Contains(needOffFlows, f) {
		d.collect(false) // before all else: it is the machine's fence
	}
	if (f == state.Clean || f == state.Deploy) && len(conductor.Left(*d.n)) > 0 {
		d.effect(conductor.Effect{Kind: conductor.EffectDetach}) // before the flow's own acts
	}
	d.s.Steps = nil
	for i, it := range plan.Items {
		d.put(d.record(it, i))
	}
	return true
}

// record makes the first attempt of an item.
func (d *decider) record(it plan.Item, order int) conductor.StepRecord {
	return conductor.StepRecord{
		ID: step.ID(d.s.NewID()), Node: d.n.UUID, Run: d.n.Flow.Run, Order: order, Attempt: 1,
		Step: it.Step, Args: it.Args, Children: it.Children, Priority: it.Priority.Value, State: conductor.StepPlanned,
	}
}

// run goes on with a flow that has begun, unless its plan is wrong: then it fails before anything is touched.
func (d *decider) run(plan plan.Plan) {
	if err := plan.Err(); err != nil {
		d.fail(fault.From(err))
		return
	}
	d.next()
}

// replan meets the plan with what this ramdisk offers: a planned step it lacks fails the flow; in an automated clean
// the steps of vendors' managers join by priority.
func (d *decider) replan() bool {
	if d.strange() {
		d.fail(d.unknownType())
		return false
	}
	offered, err := step.NewRegistry(d.n.Boot.Steps...)
	if err != nil {
		d.fail(fault.From(err))
		return false
	}
	for _, r := range d.s.Steps {
		if r.State != conductor.StepPlanned || r.Step.Where != step.InBand {
			continue
		}
		if _, ok := offered.Get(r.Step.Name); !ok {
			d.fail(fault.New(fault.StepVersion, "the booted ramdisk (agent %s) does not offer it", d.n.Boot.AgentVersion).At("", r.Step.Name))
			return false
		}
	}
	f := d.n.Flow
	if f.Flow != state.Clean || f.Manual || d.planned(catalog.EraseStep) == nil {
		return true
	}
	// Only what no step of this run has claimed yet is laid in order again; a new attempt keeps the old one's place.
	var order []conductor.StepRecord
	last := 0
	for _, r := range d.s.Steps {
		if r.State == conductor.StepPlanned && r.Step.Where == step.InBand && r.Attempt == 1 {
			order = append(order, r)
		} else {
			last = max(last, r.Order+1)
		}
	}
	items, problems := plan.Joining(d.s.Registry, d.n.Boot.Steps, f.Flow)
	if len(problems) > 0 {
		d.fail(problems[0])
		return false
	}
	for _, it := range items {
		if !slices.ContainsFunc(d.s.Steps, func(r conductor.StepRecord) bool { return r.Step.Name == it.Step.Name }) {
			order = append(order, d.record(it, 0))
		}
	}
	slices.SortStableFunc(order, func(a, b conductor.StepRecord) int {
		return step.Compare(a.Step, b.Step, ordered(a, f.Flow), ordered(b, f.Flow))
	})
	for i, r := range order {
		r.Order = last + i
		d.put(r)
	}
	slices.SortStableFunc(d.s.Steps, func(a, b conductor.StepRecord) int { return a.Order - b.Order })
	return true
}

// ordered is the priority that a record was planned by.
func ordered(r conductor.StepRecord, f state.Flow) int {
	if r.Priority != 0 {
		return r.Priority
	}
	return r.Step.Priority[f]
}
