package pure

import (
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// rules are those that a test removes, to see that the simulation finds out (safety.md §8.2). The zero value removes none.
type rules struct {
	acknowledgement bool // the agent runs without waiting for the answer to start
	memory          bool // a new process does not know what the old one claimed
	binding         bool // an answer counts for whatever process gets it
	emptyIsCutOff   bool // an agent that comes up anew with nothing running counts as done
	claimant        bool // a result is taken from anybody, for any boot
	session         bool // a token of an older boot is taken
	secret          bool // a claim need not prove the secret of the medium
	compare         bool // a commit does not compare the version
	actBeforeCommit bool // effects are carried out before the commit
	commitFirst     bool // set: the answer to start leaves before the commit
	failureStops    bool // a failed step counts as done
	fence           bool // a failure does not power the machine off
	beginning       bool // a step out of band runs without a record that it begins
	shift           bool // the time the server was away counts
}

// waited is since when a node waits for the same thing, in real time and in time the server was up.
type waited struct {
	what   string
	began  time.Time // by the server's clock
	since  time.Duration
	uptime time.Duration
	limit  time.Duration
}

// mayRun checks a step that begins on a machine: recorded as started by this very claim, for this boot, in a state that
// permits it, with its devices named (I1); and either still wanted, or about to be cut off.
func (w *world) mayRun(x *execution, b *boot, c api.Command) {
	r, ok := w.db.rows[b.m.i].step(c.ID)
	n := w.db.rows[b.m.i].node
	switch {
	case !ok || r.Started.IsZero():
		w.breaks("I1", "step %s runs, but is recorded as %q", c.ID, r.State)
	case r.Nonce != x.nonce && !w.without.memory:
		w.breaks("I1", "step %s runs by claim %q, started was %q", c.ID, x.nonce, r.Nonce)
	case r.Generation != b.medium.generation:
		w.breaks("I1", "step %s of boot %d runs in boot %d", c.ID, r.Generation, b.medium.generation)
	case r.State == conductor.StepStarted && r.Step.Touches != step.Nothing && !state.Destroys(n.State):
		w.breaks("I1", "step %s runs in state %s", c.ID, n.State)
	case r.Step.Touches != step.Nothing && len(c.Devices) == 0:
		w.breaks("I1", "step %s names no devices", c.ID)
	}
}

// owned tells whether work on a machine's devices has an owner: the record of a step that is started, or an act in the
// store that will power the machine off (F16, F40).
func (w *world) owned(x *execution) bool {
	r := w.db.rows[x.node]
	if s, ok := r.step(x.id); ok && s.State == conductor.StepStarted {
		return true
	}
	for _, e := range w.db.effects {
		if e.Node == r.node.UUID && (e.Kind == conductor.EffectFinish || e.Kind == conductor.EffectBoot || e.Kind == conductor.EffectPower && e.Power != conductor.On) {
			return true
		}
	}
	return w.machines[x.node].unfenced
}

// committed checks one transaction, old row against new.
func (w *world) committed(i int, old, now *row, e conductor.Event) {
	n := now.node
	if n.Version != old.node.Version && n.Version != old.node.Version+1 {
		w.breaks("I11", "the commit of %T on node %d goes from version %d to %d", e, i, old.node.Version, n.Version)
	}
	if old.node.Description != n.Description {
		w.breaks("I11", "the commit of %T on node %d undoes what another writer stored", e, i)
	}
	if n.Generation < old.node.Generation || n.Boot != nil && n.Boot.Generation != n.Generation {
		w.breaks("I11", "boot %d of node %d after %d", n.Generation, i, old.node.Generation)
	}
	for _, was := range old.steps {
		is, ok := now.step(was.ID)
		if !ok {
			w.breaks("I10", "step %s of node %d is forgotten", was.ID, i)
		}
		if was.State == is.State {
			continue
		}
		legal := false
		for _, row := range conductor.Attempts {
			legal = legal || row.From == was.State && row.To == is.State
		}
		if !legal {
			w.breaks("I10", "step %s goes from %s to %s", was.ID, was.State, is.State)
		}
	}
	w.aborts(i, old, now, e)
	w.results(i, old, now, e)
	w.order(i, now)
	w.instances(i, now)
	w.deadlines(i, old, now, e)
	if f, g := old.node.Flow, n.Flow; f != nil && f.Phase != conductor.PhaseEnded && g.Run != f.Run {
		if v, ok := e.(conductor.VerbAsked); !ok || v.Ask.Verb != state.VerbDelete && v.Ask.Verb != state.VerbService {
			w.breaks("I13", "%T replaces the open work %s of node %d", e, f.Run, i)
		}
	}
}

// aborts checks that an abort which was granted ends the work, or lets one step end first and none begin (F40).
func (w *world) aborts(i int, old, now *row, e conductor.Event) {
	f := now.node.Flow
	if f == nil || !f.Aborting || old.node.Flow == nil || old.node.Flow.Run != f.Run {
		return
	}
	for _, r := range now.of(f.Run) {
		if was, _ := old.step(r.ID); r.State != was.State && (r.State == conductor.StepOffered || r.State == conductor.StepStarted) {
			w.breaks("F40", "step %s of node %d goes from %q to %s by %T, after its work was aborted", r.ID, i, was.State, r.State, e)
		}
	}
}

// results compares new ends of steps with what the machines did (I9, I10, I12).
func (w *world) results(i int, old, now *row, e conductor.Event) {
	for _, r := range now.steps {
		was, _ := old.step(r.ID)
		if r.State != conductor.StepSucceeded || was.State == r.State || r.Nonce == "guess" {
			continue
		}
		if r.Step.Where == step.Server { // a pause, which no machine runs
			if r.Ended.Before(r.Deadline) {
				w.breaks("I10", "the pause %s ended %s early", r.ID, r.Deadline.Sub(r.Ended))
			}
			continue
		}
		if did := w.worked(r.ID); did != "succeeded" && !strings.HasPrefix(r.Nonce, "evil") {
			switch did {
			case "cut":
				w.breaks("I12", "step %s counts as succeeded, but was cut off", r.ID)
			case "":
				w.breaks("I9", "step %s counts as succeeded and never ran", r.ID)
			}
			w.breaks("I10", "step %s counts as succeeded, but %s", r.ID, did)
		}
	}
}

// order checks that no step begins before all that are planned before it have succeeded, one at a time (I10, I16).
func (w *world) order(i int, now *row) {
	f := now.node.Flow
	if f == nil {
		return
	}
	done, open := map[int]bool{}, 0
	all := now.of(f.Run)
	for _, r := range all {
		if r.State == conductor.StepSucceeded {
			done[r.Order] = true
		}
	}
	for _, r := range all {
		if r.State == conductor.StepOffered || r.State == conductor.StepStarted {
			open++
		}
		if r.State == conductor.StepPlanned {
			continue
		}
		for k := range r.Order {
			if !done[k] {
				w.breaks("I10", "step %s (number %d) of node %d is %s before number %d succeeded", r.ID, r.Order, i, r.State, k)
			}
		}
	}
	if open > 1 {
		w.breaks("I16", "%d steps of node %d are open", open, i)
	}
	s := now.node.State
	served := s == state.Active && f.Phase == conductor.PhaseEnded && f.Flow == state.Service && !f.Aborting
	if served || s == state.Available && f.Phase == conductor.PhaseEnded && f.Flow == state.Clean || s == state.Active && f.Phase == conductor.PhaseEnded && f.Flow == state.Deploy {
		for _, r := range all {
			if !done[r.Order] {
				w.breaks("I10", "node %d is %s without step %s, which is %s", i, s, r.ID, r.State)
			}
		}
	}
}

// instances checks what holds of a machine with an instance: no step of its flows may write to a disk (I1), and what a
// person could log in to runs nothing else (I18). An active node has no agent that is still admitted.
func (w *world) instances(i int, now *row) {
	rescued := map[uint64]bool{}
	for _, r := range now.steps {
		if r.Step.Name == "rescue.finalize_rescue" && !r.Started.IsZero() {
			rescued[r.Generation] = true
		}
	}
	f := now.node.Flow
	for _, r := range now.steps {
		if r.Generation > 0 && rescued[r.Generation] && r.Step.Name != "rescue.finalize_rescue" {
			w.breaks("I18", "step %s of node %d is given to the ramdisk of a rescue, boot %d", r.ID, i, r.Generation)
		}
		if f != nil && r.Run == f.Run && r.Step.Touches != step.Nothing && r.State != conductor.StepPlanned && f.Flow != state.Clean && f.Flow != state.Deploy {
			w.breaks("I1", "step %s of node %d is %s in a flow of %s", r.ID, i, r.State, f.Flow)
		}
	}
	if b := now.node.Boot; now.node.State == state.Active && b != nil && !b.Ended {
		w.breaks("I18", "node %d is active, and the agent of boot %d is still admitted", i, b.Generation)
	}
}

// deadlines checks that a wait that runs out had its whole time with the server up (I14).
func (w *world) deadlines(i int, old, now *row, e conductor.Event) {
	id := now.node.UUID
	if _, passed := e.(conductor.DeadlinePassed); passed && old.node.Flow != nil && old.node.Flow.Wait != nil && now.node.Flow.Phase == conductor.PhaseEnded {
		if was := w.waits[id]; w.uptime-was.uptime+10*time.Second < was.limit {
			w.breaks("I14", "node %d was to wait %s for %s; it failed after %s with the server up", i, was.limit, old.node.Flow.Wait.For, w.uptime-was.uptime)
		}
	}
	f := now.node.Flow
	if f == nil || f.Wait == nil {
		delete(w.waits, id)
		return
	}
	was, ok := w.waits[id]
	_, shifted := e.(conductor.ClockShifted)
	if up, restarted := e.(conductor.ServerRestarted); restarted {
		shifted = up.Away.By != 0
	}
	if ok && (shifted || was.what == f.Wait.For && was.began.Equal(f.Wait.Since)) {
		was.began = f.Wait.Since
		w.waits[id] = was
		return
	}
	w.waits[id] = waited{what: f.Wait.For, began: f.Wait.Since, since: w.mono, uptime: w.uptime, limit: f.Wait.Deadline.Sub(f.Wait.Since)}
}

// admitted checks a message that the server is about to act on (I9, I18).
func (w *world) admitted(p *packet, e conductor.Event) {
	b := w.db.rows[p.node].node.Boot
	switch t := p.token; {
	case t == nil:
		w.breaks("I9", "%T of node %d is taken without a token", e, p.node)
	case t.node != p.node || b == nil || t.generation != b.Generation || b.Ended || b.Contested:
		w.breaks("I18", "%T of node %d is taken with a token of boot %d", e, p.node, t.generation)
	case t.key != p.peer.Key:
		w.breaks("I18", "%T of node %d is taken from another key", e, p.node)
	}
}

// redeemed checks a claim that was let in: one key for each boot (I17), and only with the secret (I20).
func (w *world) redeemed(p *packet, t *token) {
	if p.evil && !w.leaked {
		w.breaks("I17", "the attacker, who knows no secret, is admitted as node %d", p.node)
	}
	m := w.machines[p.node]
	for _, k := range m.keys(t.generation) {
		if k != t.key {
			w.breaks("I17", "boot %d of node %d is given to %s after %s", t.generation, p.node, t.key, k)
		}
	}
	w.granted = append(w.granted, *t)
}

// keys are those that were admitted for a boot.
func (m *machine) keys(generation uint64) (out []string) {
	for _, t := range m.w.granted {
		if t.node == m.i && t.generation == generation {
			out = append(out, t.key)
		}
	}
	return out
}

// attackerGets checks an answer to the attacker (I20).
func (w *world) attackerGets(p *packet, a any) {
	switch a := a.(type) {
	case admission:
		w.say("the attacker is admitted as node %d", p.node)
	case orders, granted, taken:
		w.breaks("I20", "the attacker gets %T of node %d", a, p.node)
	}
}

// acknowledged checks that a start that was answered is stored (I29).
func (w *world) acknowledged(i int, id step.ID) {
	if r, ok := w.db.rows[i].step(id); !ok || r.Started.IsZero() {
		w.breaks("I1", "the start of step %s is answered, but not stored", id)
	}
}

// acknowledgedEnd checks that a result that was answered is stored (I13, I29).
func (w *world) acknowledgedEnd(i int, id step.ID) {
	switch r, _ := w.db.rows[i].step(id); r.State {
	case conductor.StepPlanned, conductor.StepOffered, conductor.StepStarted:
		w.breaks("I13", "the end of step %s is acknowledged, but the store says %s", id, r.State)
	}
}

// acting checks an act of the server before it is done: it is in the store (I11), and it cuts no step off that is
// started and wanted (I16).
func (w *world) acting(i int, a *act) {
	stored := false
	for _, e := range w.db.effects {
		stored = stored || e.ID == a.effect.ID
	}
	if !stored {
		w.breaks("I11", "the act %s of node %d is not in the store", a.effect.Kind, i)
	}
	if n := w.db.rows[i].node; n.Flow != nil && n.Flow.Flow == state.Adopt && n.Flow.Phase != conductor.PhaseEnded && n.Flow.Run == a.effect.Run && a.effect.Kind != conductor.EffectVerify {
		w.breaks("I1", "the adoption of node %d does %s to the machine", i, a.effect.Kind)
	}
	if len(a.todo) == 0 || a.todo[0] != reachOff && a.todo[0] != reachSoft {
		return
	}
	r := w.db.rows[i]
	if r.node.Flow == nil {
		return
	}
	for _, s := range r.of(r.node.Flow.Run) {
		if s.State == conductor.StepStarted && s.Generation > 0 {
			w.breaks("I16", "%s of node %d switches the machine off under step %s", a.effect.Kind, i, s.ID)
		}
	}
}

// check looks at everything after a turn.
func (w *world) check() {
	for i, r := range w.db.rows {
		w.sane(i, r)
	}
	for _, x := range w.ledger {
		if x.state == "running" && x.boot > 0 && !w.owned(x) {
			w.breaks("F40", "step %s runs on machine %d without an owner; node: %s", x.id, x.node, brief(w.db.rows[x.node]))
		}
	}
}

// hasExit are the states out of which something leads.
var hasExit = func() map[state.State]bool {
	out := map[state.State]bool{}
	for _, t := range state.Transitions() {
		out[t.From] = true
	}
	return out
}()

// sane is what must hold of a node's record at any moment (I13, I14).
func (w *world) sane(i int, r *row) {
	n := r.node
	row, busy := state.FlowOf(n.State)
	open := n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded
	switch {
	case busy != open:
		w.breaks("I13", "node %d is %s, but its work is open: %v", i, n.State, open)
	case open && n.Flow.Flow != row.Flow:
		w.breaks("I13", "node %d is %s in a flow of %s", i, n.State, n.Flow.Flow)
	case open && (n.Flow.Wait == nil || n.Flow.Wait.Owner == "" || n.Flow.Wait.For == "" || n.Flow.Wait.Reason == ""):
		w.breaks("I14", "node %d (%s, %s) waits for nobody: %+v", i, n.State, n.Flow.Phase, n.Flow.Wait)
	case open && !n.Flow.Wait.Deadline.After(n.Flow.Wait.Since):
		w.breaks("I14", "node %d has a wait without time: %+v", i, n.Flow.Wait)
	case !busy && !hasExit[n.State]:
		w.breaks("I13", "nothing leads out of %s", n.State)
	}
	for _, s := range r.steps {
		opened := s.State == conductor.StepOffered || s.State == conductor.StepStarted
		if opened && (!open || s.Run != n.Flow.Run) {
			w.breaks("I13", "step %s of node %d is %s outside of any work", s.ID, i, s.State)
		}
		if opened && s.Deadline.IsZero() {
			w.breaks("I14", "step %s has no deadline", s.ID)
		}
		if s.Step.Where == step.OutOfBand {
			w.inLine(i, n, s)
		}
		if s.State == conductor.StepStarted && s.Step.Touches != step.Nothing && !state.Destroys(n.State) {
			w.breaks("I1", "step %s is started in state %s", s.ID, n.State)
		}
		if s.State == conductor.StepOffered && s.Step.Touches != step.Nothing && n.Boot.Level < api.A1 {
			w.breaks("I20", "step %s is offered at level A%d", s.ID, n.Boot.Level)
		}
	}
}

// inLine checks that a step out of band has no time of its own while it is in line for the BMC, which is a wait with an owner,
// and all of it from then on; what never began has succeeded in nothing (I8, I14).
func (w *world) inLine(i int, n conductor.Node, s conductor.StepRecord) {
	began := !s.Started.IsZero()
	switch s.State {
	case conductor.StepOffered:
		if f := n.Flow.Wait; began || f.Owner != "bmc" || !f.Deadline.Equal(s.Deadline) {
			w.breaks("I14", "step %s of node %d is in line until %s, began %s; the node waits for %+v", s.ID, i, s.Deadline, s.Started, f)
		}
	case conductor.StepStarted, conductor.StepSucceeded, conductor.StepFailed:
		if !began {
			w.breaks("I8", "step %s of node %d is %s and never began", s.ID, i, s.State)
		}
	}
}

// checkSettled looks at a world at rest: each node is at an end, with a reason if it failed.
func (w *world) checkSettled() {
	for i, r := range w.db.rows {
		failed := false
		for _, f := range state.Flows {
			failed = failed || r.node.State == f.Failed && r.node.State != state.Enroll
		}
		if failed && r.node.LastReason == "" {
			w.breaks("I13", "node %d is %s without a reason", i, r.node.State)
		}
	}
	for _, x := range w.ledger {
		if x.state == "running" && x.boot > 0 && !w.machines[x.node].unfenced {
			w.breaks("F40", "step %s still runs on machine %d at rest", x.id, x.node)
		}
	}
}

// reuse is the operator's way out of any end: verbs until the node is available again (I13).
func (w *world) reuse(i int) {
	for range 8 {
		n := w.db.rows[i].node
		if n.State == state.Available && w.machines[i].boot == nil {
			return
		}
		name := map[state.State]string{
			state.Enroll: "manage", state.Manageable: "provide", state.CleanFail: "manage", state.InspectFail: "manage",
			state.Available: "manage", state.Active: "delete", state.DeployFail: "delete", state.Error: "delete",
			state.Rescue: "unrescue", state.RescueFail: "unrescue", state.UnrescueFail: "delete", state.ServiceFail: "abort", state.AdoptFail: "manage",
		}[n.State]
		if n.Maintenance {
			w.maintain(i)
		}
		if n.Owed.Overdue() { // the doctor's way on: the power off is tried again
			w.askPower(i, 1)
			w.settle("the operator asked for what is owed")
			if o := w.db.rows[i].node.Owed; o != nil {
				w.breaks("I13", "a power off that came about leaves node %d with %s", i, o)
			}
			continue
		}
		if err := w.verb(i, name); err != nil {
			w.breaks("I13", "node %d is %s; %s is refused: %v", i, n.State, name, err)
		}
		w.settle("the operator asked for " + name)
	}
	n := w.db.rows[i].node
	w.breaks("liveness", "node %d does not become available: %s, %s", i, n.State, n.LastError)
}
