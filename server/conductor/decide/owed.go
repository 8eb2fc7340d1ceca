package decide

import (
	"cmp"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What is owed to a machine whose work has failed: the power off that fences what still runs there, and the medium out.

// needOff are the verbs whose work may begin with something else than the machine's power off, or that take its record for
// one at rest. A deletion is taken: the power off goes before its clean's own acts.
var needOff = []state.Event{state.VerbProvide, state.VerbClean, state.VerbAdopt, state.VerbDeploy, state.VerbRebuild, state.VerbService}

// needOffFlows are the flows that such verbs begin, and the clean of a deletion.
var needOffFlows = []state.Flow{state.Clean, state.Adopt, state.Deploy, state.Service}

// owe begins the end of a failed work's boot, and keeps in mind that it is yet to be done.
func (d *decider) owe(generation uint64) {
	o := conductor.Owed{Since: d.now, Run: d.n.Flow.Run, Generation: generation}
	if was := d.n.Owed; was != nil { // what was owed before is not forgotten by what is owed now
		o = *was
		o.Run, o.Generation = d.n.Flow.Run, generation
	}
	d.n.Owed = &o
	d.effect(conductor.Effect{Kind: conductor.EffectFinish, Power: conductor.ForceOff, Generation: generation})
}

// collect tries what is owed again.
func (d *decider) collect(once bool) {
	// Of the present generation: the act of an older one is not wanted (conductor.Wanted), and a doubt raises it.
	d.effect(conductor.Effect{Kind: conductor.EffectFinish, Power: conductor.ForceOff, Generation: d.n.Generation, Run: d.n.Owed.Run, Once: once})
}

// settle takes what an effect that ends with the machine off, or begins with it, came to. A start of the failed work's own may be
// told of after its failure, and says that the machine runs.
func (d *decider) settle(e conductor.EffectDone) {
	o := d.n.Owed
	if o == nil || e.Effect.Generation < o.Generation {
		return
	}
	switch k := e.Effect.Kind; {
	case k != conductor.EffectFinish && k != conductor.EffectBoot:
	case e.Fault == nil && e.Effect.Run == o.Run && (k == conductor.EffectBoot || e.Effect.Power == conductor.On):
	case e.Fault == nil:
		d.settled()
	case k == conductor.EffectFinish:
		d.n.Owed, d.Changed = o.Missed(e.Fault, d.now), true
	}
}

// settled tells that the machine was powered off since.
func (d *decider) settled() {
	o := d.n.Owed
	if o == nil {
		return
	}
	if o.Overdue() {
		d.note("INFO", "power", d.now.Sub(o.Since), "the machine was powered off, as it was to be since work on it had failed")
	}
	d.n.Owed, d.Changed = nil, true
}

// unfenced ends the work that has begun since, and relies on a machine that could not be powered off.
func (d *decider) unfenced() {
	f := d.open()
	if f == nil || !slices.Contains(needOffFlows, f.Flow) {
		return
	}
	if err := conductor.Fenced(*d.n); err != nil {
		d.fail(fault.From(err))
	}
}

// due tries what is owed again when the BMC has just answered, and nobody else acts upon the node (I16). A machine that is given
// to somebody is not switched off unasked: there it is for an operator to power it off, or to confirm that nothing is owed.
func (d *decider) due() {
	n := d.n
	if !n.Owed.Due(d.now) || n.State == state.Active || n.Unverified != nil || n.Lease != nil && n.Lease.Short(d.now) {
		return
	}
	d.collect(true)
}

// vouched takes an operator's word that the machine is off.
func (d *decider) vouched(e conductor.RecordsConfirmed) {
	n := d.n
	if f := d.open(); f != nil || n.PowerTarget != "" || n.Act != nil {
		d.Refuse = fault.New(fault.NodeBusy, "that the machine is off can't be confirmed while work on it is under way").
			WithHint("wait until it has ended: bessemer node show %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
		return
	}
	owed := n.Owed.String()
	n.Owed, n.Power, d.Changed = nil, "", true
	d.History = append(d.History, conductor.Entry{
		Node: n.UUID, Time: d.now, Severity: "INFO", Type: "power", Event: "that the machine is off was confirmed by " + cmp.Or(e.Caller.Name, "an operator") + ": " + owed,
		State: n.State, Target: n.Target, Actor: e.Caller.Name, Request: e.Caller.Request,
	})
	d.Audit = append(d.Audit, conductor.Audit{Time: d.now, Actor: e.Caller.Name, Request: e.Caller.Request, Node: n.UUID, Act: "node.confirm", Detail: map[string]any{"off": true, "owed": owed}})
}
