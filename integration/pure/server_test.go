package pure

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/decide"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// store is what survives the server: committed state only.
type store struct {
	rows    []*row
	effects []conductor.Effect
	effect  int64
	alive   time.Time // the liveness stamp
}

// row is one node with all that belongs to it. What it points to is replaced, never changed.
type row struct {
	node     conductor.Node
	steps    []conductor.StepRecord
	seen     map[uint64]*inventory.Inventory
	accepted *inventory.Inventory
	reasons  []fault.Reason // of the failures in its history
}

// of gives the steps of a run.
func (r *row) of(run string) (out []conductor.StepRecord) {
	for _, s := range r.steps {
		if s.Run == run {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b conductor.StepRecord) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Attempt, b.Attempt))
	})
	return out
}

func (r *row) step(id step.ID) (conductor.StepRecord, bool) {
	i := slices.IndexFunc(r.steps, func(s conductor.StepRecord) bool { return s.ID == id })
	if i < 0 {
		return conductor.StepRecord{}, false
	}
	return r.steps[i], true
}

var errAway = fault.New(fault.StorageUnavailable, "the store is away")

// server is one server process: all of it is lost when it is killed.
type server struct {
	w         *world
	lines     []line // the dispatcher's
	orders    []conductor.Effect
	queues    [][]conductor.Effect
	acts      []*act
	presence  []presence
	last      time.Time // the ticker's
	listening time.Duration
}

// line is what the dispatcher holds for a node.
type line struct {
	generation uint64
	heard      time.Duration
	offer      *api.Command
	sent       bool
	abort      step.ID
}

type presence struct{ generation, seq uint64 }

var timeouts = conductor.DefaultTimeouts()

func registry() *step.Registry {
	reg, err := step.NewRegistry(catalog.With(catalog.Redfish)...)
	if err != nil {
		panic(err)
	}
	return reg
}

var steps = registry()

// apply is the one way a node changes by an event: snapshot, decide, commit, act. The real one is Engine.applyNow.
func (s *server) apply(i int, event func(conductor.Node) (conductor.Event, error), more func(*row)) error {
	w := s.w
	for {
		old := w.db.rows[i]
		e, err := event(old.node)
		if err != nil {
			return err
		}
		snap := conductor.Snapshot{Node: old.node, Registry: steps, Timeouts: timeouts, NewID: w.newID, NewSalt: func() []byte { return []byte(w.newID()) }}
		disks := conductor.LooksAtDisks(old.node, e)
		if disks {
			snap.Accepted = old.accepted
		}
		if old.node.Flow != nil {
			snap.Steps = old.of(old.node.Flow.Run)
		}
		if b := old.node.Boot; disks && b != nil && !b.Redeemed.IsZero() {
			snap.Seen = old.seen[b.Generation]
		}
		if l := s.lines[i]; old.node.Boot != nil && l.generation == old.node.Boot.Generation && l.heard > 0 {
			snap.Heard = w.wall().Add(l.heard - w.mono)
		}
		d := decide.Decide(snap, e, w.wall())
		if d.Refuse != nil && !d.Changed {
			return d.Refuse
		}
		if w.without.actBeforeCommit {
			s.after(i, d)
		}
		switch w.point("commit", i) {
		case storeFails:
			return errAway
		case storeMoves: // another writer is faster: an operator's flag, as SetMaintenance writes it
			moved := *old
			moved.node.Description = w.newID()
			moved.node.Version++
			w.db.rows[i] = &moved
		}
		if d.Node.Version != w.db.rows[i].node.Version && !w.without.compare {
			continue // state.changed_meanwhile: the whole transaction again
		}
		now := &row{node: d.Node, steps: slices.Clone(old.steps), seen: old.seen, accepted: old.accepted, reasons: old.reasons}
		if d.Changed {
			now.node.Version++
		}
		for _, r := range d.Steps {
			if n := slices.IndexFunc(now.steps, func(o conductor.StepRecord) bool { return o.ID == r.ID }); n >= 0 {
				now.steps[n] = r
			} else {
				now.steps = append(now.steps, r)
			}
		}
		for _, h := range d.History {
			if h.Reason != "" {
				now.reasons = append(slices.Clip(now.reasons), h.Reason)
			}
		}
		if more != nil {
			more(now)
		}
		for n := range d.Effects {
			if w.without.fence && d.Effects[n].Kind == conductor.EffectFinish && d.Node.Flow.Phase == conductor.PhaseEnded {
				continue
			}
			w.db.effect++
			d.Effects[n].ID = w.db.effect
			w.db.effects = append(w.db.effects, d.Effects[n])
		}
		was := w.db.rows[i]
		w.db.rows[i] = now
		w.committed(i, was, now, e)
		if d.Changed {
			w.say("commit node %d on %T: %s", i, e, brief(now))
		}
		w.point("committed", i)
		if d.Changed && !w.without.actBeforeCommit {
			s.after(i, d)
		}
		return d.Refuse
	}
}

func (s *server) event(i int, e conductor.Event) error {
	return s.apply(i, func(conductor.Node) (conductor.Event, error) { return e, nil }, nil)
}

// brief is a node in a few words.
func brief(r *row) string {
	out := fmt.Sprintf("%s, boot %d", r.node.State, r.node.Generation)
	if f := r.node.Flow; f != nil {
		out += ", " + string(f.Phase)
		for _, s := range r.of(f.Run) {
			out += fmt.Sprintf(", %s %s %s", s.ID, s.Step.Short(), s.State)
		}
	}
	if r.node.LastReason != "" {
		out += ", " + string(r.node.LastReason)
	}
	return out
}

// after carries a committed decision outside.
func (s *server) after(i int, d conductor.Decision) {
	if b := d.Node.Boot; b == nil || b.Ended || b.Contested {
		s.lines[i] = line{}
	}
	if a := s.acts[i]; a != nil && !conductor.Wanted(d.Node, a.effect) {
		a.recalled = true
	}
	for _, e := range d.Effects {
		if s.w.without.fence && e.ID == 0 && !s.w.without.actBeforeCommit {
			continue
		}
		s.start(i, e)
	}
}

func (s *server) start(i int, e conductor.Effect) {
	if e.Kind == conductor.EffectOffer || e.Kind == conductor.EffectWithdraw {
		s.order(i, e)
		return
	}
	s.queues[i] = append(s.queues[i], e)
}

// order hands a command to the dispatcher or takes it back, in a transaction of its own.
func (s *server) order(i int, e conductor.Effect) {
	if s.w.point("order", i) == storeFails {
		s.orders = append(s.orders, e) // tried again
		return
	}
	r, _ := s.w.db.rows[i].step(e.Step)
	s.w.doneEffect(e.ID)
	s.w.point("ordered", i)
	l := &s.lines[i]
	switch {
	case e.Kind == conductor.EffectWithdraw:
		if l.offer != nil && l.offer.ID == e.Step {
			l.offer = nil
			if !l.sent {
				return
			}
		}
		l.abort = e.Step
	case r.State == conductor.StepOffered && r.Command != nil:
		if r.Generation < l.generation {
			return
		}
		if l.generation != r.Generation {
			*l = line{generation: r.Generation}
		}
		l.offer, l.sent = r.Command, false
	}
}

func (w *world) doneEffect(id int64) {
	w.db.effects = slices.DeleteFunc(w.db.effects, func(e conductor.Effect) bool { return e.ID == id })
}

// startServer starts a process on what the last one committed; the real one is Engine.recover.
func (w *world) startServer() {
	if w.srv != nil {
		return
	}
	n := len(w.machines)
	s := &server{w: w, lines: make([]line, n), queues: make([][]conductor.Effect, n), acts: make([]*act, n), presence: make([]presence, n),
		last: w.wall(), listening: w.mono}
	w.say("the server starts")
	w.srv = s
	w.guard("server", func() {
		effects := slices.Clone(w.db.effects)
		away := w.wall().Sub(w.db.alive)
		for i, r := range w.db.rows {
			if r.node.Flow == nil || r.node.Flow.Phase == conductor.PhaseEnded {
				continue
			}
			e := conductor.ServerRestarted{}
			if (away > 3*time.Second || away < 0) && !w.without.shift {
				e.Away = conductor.ClockShifted{By: away, Since: w.db.alive, At: w.wall()}
			}
			s.insist(i, e, nil)
		}
		for _, e := range effects {
			i := w.index(e.Node)
			if r, _ := w.db.rows[i].step(e.Step); e.Kind != conductor.EffectRunStep || r.State == conductor.StepOffered {
				s.start(i, e)
				continue
			}
			done := func(*row) { w.doneEffect(e.ID) }
			if err := s.insist(i, conductor.StepEnded{ID: e.Step, Outcome: api.Interrupted}, done); err != nil {
				w.doneEffect(e.ID)
			}
		}
		w.db.alive = w.wall()
	})
}

// insist is apply that waits for the store.
func (s *server) insist(i int, e conductor.Event, more func(*row)) error {
	for {
		err := s.apply(i, func(conductor.Node) (conductor.Event, error) { return e, nil }, more)
		if !errors.Is(err, errAway) {
			// An event that changes nothing still does what goes with it.
			return err
		}
	}
}

func (w *world) index(id conductor.NodeID) int {
	return slices.IndexFunc(w.db.rows, func(r *row) bool { return r.node.UUID == id })
}

// tickServer looks at the deadlines, as Engine.watchDeadlines does.
func (w *world) tickServer() {
	if w.srv == nil {
		return
	}
	w.guard("server", func() {
		s := w.srv
		now := w.wall()
		gone := now.Sub(s.last)
		odd := gone > 3*time.Second || gone < 0
		if odd && !w.without.shift {
			for i, r := range w.db.rows {
				if r.node.Flow != nil && r.node.Flow.Phase != conductor.PhaseEnded {
					s.insist(i, conductor.ClockShifted{By: gone, Since: w.db.alive, At: now}, nil) //nolint:errcheck // it refuses nothing
				}
			}
			s.listening = w.mono
		}
		w.db.alive, s.last = now, now
		orders := s.orders
		s.orders = nil
		for _, e := range orders {
			s.order(w.index(e.Node), e)
		}
		for i, r := range w.db.rows {
			f := r.node.Flow
			if f == nil || f.Wait == nil || f.Phase == conductor.PhaseEnded {
				continue
			}
			var e conductor.Event = conductor.DeadlinePassed{}
			if now.Before(f.Wait.Deadline) {
				if f.Phase != conductor.PhaseAgent {
					continue
				}
				heard := w.waits[r.node.UUID].since
				if s.lines[i].generation == r.node.Generation {
					heard = max(heard, s.lines[i].heard)
				}
				heard = max(heard, s.listening)
				if w.mono-heard <= timeouts.Silent {
					continue
				}
				e = conductor.AgentSilent{Since: now.Add(heard - w.mono)}
			}
			s.event(i, e) //nolint:errcheck // a refusal or a store that is away: the next tick looks again
		}
	})
}

// The operator.

var operatorVerbs = []string{"manage", "provide", "clean", "inspect", "deploy", "rebuild", "delete", "out-of-band clean", "long clean", "wrong clean",
	"adopt", "service", "long service", "out-of-band service", "destructive service", "rescue", "unrescue"}

// blink is a service step that the ramdisk offers beside the stock ones.
var blink = step.Step{Name: "vendor.blink", Where: step.InBand, Priority: map[state.Flow]int{state.Service: 0}, Repeat: step.Again, Timeout: 10 * time.Minute}

// offered is what the ramdisk's agent says that it can do.
var offered = append(slices.Clone(catalog.InBand), blink)

func provision(name string) conductor.Provision {
	switch name {
	case "out-of-band clean":
		return conductor.Provision{Verb: "clean", NoRamdisk: true, CleanSteps: []step.Wanted{{Name: "management.clear_job_queue"}, {Name: "management.reset_bmc"}}}
	case "long clean":
		return conductor.Provision{Verb: "clean", CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}, {Name: "deploy.erase_devices_metadata"}, {Name: "management.clear_job_queue"}, {Name: "vendor.wait", Args: step.Args{"seconds": 2.0}}, {Name: "deploy.erase_devices"}}}
	case "wrong clean":
		return conductor.Provision{Verb: "clean", CleanSteps: []step.Wanted{{Name: "deploy.erase_devices_metadata"}, {Name: "nobody.knows_this"}}}
	case "clean":
		return conductor.Provision{Verb: "clean", CleanSteps: []step.Wanted{{Name: "deploy.erase_devices_metadata"}}}
	case "service":
		return conductor.Provision{Verb: "service", ServiceSteps: []step.Wanted{{Name: "vendor.blink"}}}
	case "long service":
		return conductor.Provision{Verb: "service", ServiceSteps: []step.Wanted{{Name: "management.reset_bmc"}, {Name: "vendor.blink"}, {Name: "bios.factory_reset"}, {Name: "vendor.blink"}}}
	case "out-of-band service":
		return conductor.Provision{Verb: "service", NoRamdisk: true, ServiceSteps: []step.Wanted{{Name: "management.reset_bmc"}, {Name: "management.clear_job_queue"}}}
	case "destructive service":
		return conductor.Provision{Verb: "service", ServiceSteps: []step.Wanted{{Name: "vendor.blink"}, {Name: "deploy.erase_devices"}}}
	}
	return conductor.Provision{Verb: verbOf(name)}
}

// askVerb asks for one of the verbs that the node's state allows, most of the time.
func (w *world) askVerb(i, which, how int) {
	if w.srv == nil {
		return
	}
	names := operatorVerbs
	if how%8 != 0 {
		names = nil
		for _, n := range operatorVerbs {
			if possible(w.db.rows[i].node.State, verbOf(n)) {
				names = append(names, n)
			}
		}
		if len(names) == 0 {
			return
		}
	}
	w.verb(i, names[which%len(names)])
}

// verb asks for one verb and gives the refusal; errAway stands for no answer.
func (w *world) verb(i int, name string) error {
	err := error(errAway)
	w.guard("server", func() {
		w.say("operator: %s node %d", name, i)
		err = w.srv.apply(i, func(n conductor.Node) (conductor.Event, error) {
			return conductor.VerbAsked{Caller: conductor.Caller{Name: "op"}, Ask: provision(name)}, nil
		}, func(r *row) { r.node.InstanceInfo = instance() })
	})
	return err
}

func (w *world) askAbort(i int) {
	if w.srv == nil {
		return
	}
	w.guard("server", func() {
		w.say("operator: abort node %d", i)
		s := w.srv
		s.event(i, conductor.VerbAsked{Ask: conductor.Provision{Verb: "abort"}}) //nolint:errcheck // a refusal is an answer
	})
}

func (w *world) askPower(i, how int) {
	if w.srv == nil {
		return
	}
	target := []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"}[how%5]
	w.guard("server", func() {
		w.say("operator: %s node %d", target, i)
		w.srv.event(i, conductor.PowerAsked{Caller: conductor.Caller{Name: "op"}, Ask: conductor.PowerRequest{Target: target}}) //nolint:errcheck // a refusal is an answer
	})
}

// maintain turns the operator's flag; it goes past Decide, as in the engine.
func (w *world) maintain(i int) {
	if w.srv == nil {
		return
	}
	now := *w.db.rows[i]
	now.node.Maintenance, now.node.Version = !now.node.Maintenance, now.node.Version+1
	if !now.node.Maintenance {
		now.node.Fault = ""
	}
	w.say("operator: maintenance of node %d: %v", i, now.node.Maintenance)
	w.db.rows[i] = &now
}

// serve answers one request of an agent; nil: there is none. The real one is server/channel with Engine's agents.go.
func (s *server) serve(p *packet) any {
	w, i := s.w, p.node
	switch q := p.body.(type) {
	case lookup:
		return s.lookup(p, q)
	case heartbeat:
		if err := s.stands(i, p); err != nil {
			return refusal{p.call, err}
		}
		b := w.db.rows[i].node.Boot
		if s.presence[i].generation != b.Generation {
			s.presence[i] = presence{b.Generation, b.SeqSeen}
		}
		if q.seq <= s.presence[i].seq {
			return refusal{p.call, fault.New(fault.ChannelStale, "message %d", q.seq)}
		}
		s.presence[i].seq = q.seq
		if l := &s.lines[i]; l.generation < b.Generation {
			*l = line{generation: b.Generation}
		}
		s.lines[i].heard = w.mono
		if q.steps {
			if w.without.emptyIsCutOff {
				s.emptyCounts(i)
			}
			if err := s.as(p, conductor.AgentReady{Steps: offered}); err != nil {
				return refusal{p.call, err}
			}
		} else if f := w.db.rows[i].node.Flow; f != nil && f.Phase == conductor.PhaseBeat {
			if err := s.as(p, conductor.AgentHeard{}); err != nil {
				return refusal{p.call, err}
			}
		}
		l := &s.lines[i]
		a := orders{call: p.call, abort: l.abort}
		if l.offer != nil && l.abort == "" {
			a.command, l.sent = l.offer, true
		}
		return a
	case start:
		if w.without.commitFirst && s.stands(i, p) == nil {
			w.reply(p, granted{p.call, q.id, q.nonce})
		}
		if err := s.as(p, conductor.StepClaimed{Ask: api.StartRequest{ID: q.id, Nonce: q.nonce}}); err != nil {
			return refusal{p.call, err}
		}
		if l := &s.lines[i]; l.offer != nil && l.offer.ID == q.id {
			l.offer = nil
		}
		return granted{p.call, q.id, q.nonce}
	case result:
		e := conductor.StepEnded{ID: q.end.ID, Nonce: q.end.Nonce, Outcome: q.end.Outcome, Result: q.end.Result}
		if w.without.failureStops && e.Outcome == api.Failed {
			e.Outcome = api.Succeeded
		}
		if w.without.claimant {
			if r, ok := w.db.rows[i].step(e.ID); ok {
				e.Nonce = cmp.Or(r.Nonce, e.Nonce)
			}
		}
		if q.end.Fault != nil {
			e.Fault = fault.New(fault.StepFailed, "%s", q.end.Fault.Message)
		}
		if err := s.as(p, e); err != nil {
			return refusal{p.call, err}
		}
		l := &s.lines[i]
		if l.offer != nil && l.offer.ID == e.ID {
			l.offer = nil
		}
		if l.abort == e.ID {
			l.abort = ""
		}
		return taken{p.call, q.end.ID, q.end.Nonce}
	}
	return nil
}

// stands checks the token, then the session against the node.
func (s *server) stands(i int, p *packet) error {
	if _, ends := p.body.(result); ends && s.w.without.claimant {
		return nil
	}
	t := p.token
	if t == nil || t.node != i || s.w.wall().After(t.expires) || s.w.wall().Before(t.issued.Add(-30*time.Second)) {
		return fault.New(fault.ChannelToken, "no token, or one of another time")
	}
	if s.w.without.session {
		return nil
	}
	return conductor.Stands(s.w.db.rows[i].node, conductor.Session{
		Claims: api.Claims{Node: s.w.db.rows[i].node.UUID, Generation: t.generation, Key: t.key}, Peer: p.peer,
	})
}

// as applies an agent's event, with the session checked again inside the transaction.
func (s *server) as(p *packet, e conductor.Event) error {
	return s.apply(p.node, func(conductor.Node) (conductor.Event, error) {
		err := s.stands(p.node, p)
		if err == nil && !s.w.without.claimant {
			s.w.admitted(p, e)
		}
		return e, err
	}, nil)
}

func (s *server) lookup(p *packet, q lookup) any {
	w, i := s.w, p.node
	var t *token
	err := s.apply(i, func(n conductor.Node) (conductor.Event, error) {
		proven := n.Boot != nil && q.secret == w.secret(n) || w.without.secret
		if a := s.acts[i]; proven && a != nil && a.effect.Kind == conductor.EffectBoot && slices.Contains(a.todo, reachOff) {
			return nil, fault.New(fault.NodeBusy, "the machine is about to lose power")
		}
		if b := n.Boot; b != nil && proven && w.without.emptyIsCutOff {
			b.Key = p.peer.Key // whoever proves the secret is the node
		}
		return conductor.LookedUp{Peer: p.peer, Proven: proven, Ask: api.LookupRequest{Generation: q.generation, BootID: q.boot, Seq: q.seq}}, nil
	}, func(r *row) {
		b := r.node.Boot
		if b == nil || b.Contested || b.Generation != q.generation {
			return
		}
		seen := map[uint64]*inventory.Inventory{}
		for g, inv := range r.seen {
			seen[g] = inv
		}
		seen[b.Generation] = w.machines[i].inventory()
		r.seen = seen
		if r.accepted == nil || r.node.Flow != nil && r.node.Flow.Flow == "inspect" {
			r.accepted = seen[b.Generation]
		}
		t = &token{node: i, generation: b.Generation, key: p.peer.Key, issued: w.wall(), expires: w.wall().Add(api.TokenLife)}
	})
	if err != nil || t == nil {
		return refusal{p.call, cmp.Or(err, error(errAway))}
	}
	w.redeemed(p, t)
	if s.presence[i].generation != t.generation {
		s.presence[i] = presence{t.generation, q.seq}
	}
	return admission{p.call, t}
}

// emptyCounts is the mistake that an agent which runs nothing has finished.
func (s *server) emptyCounts(i int) {
	r := s.w.db.rows[i]
	if r.node.Flow == nil {
		return
	}
	for _, st := range r.of(r.node.Flow.Run) {
		if st.State == conductor.StepStarted && st.Step.Where == step.InBand {
			s.event(i, conductor.StepEnded{ID: st.ID, Nonce: st.Nonce, Outcome: api.Succeeded, Result: evidenceOf(st)}) //nolint:errcheck // the mistake is what is looked at
		}
	}
}
