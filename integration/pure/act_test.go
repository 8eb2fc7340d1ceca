package pure

import (
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// act is an effect upon a BMC under way: a list of small steps, between any two of which everything may change. The real
// ones are in the engine's acts.go.
type act struct {
	effect   conductor.Effect
	todo     []move
	began    time.Duration
	next     time.Duration // not before
	deadline time.Duration // of the power state that is waited for
	asked    time.Duration
	seen     int
	recalled bool
	power    conductor.Power
	end      *fault.Fault
	ended    bool
}

// move is one small step.
type move string

const (
	reachOff  move = "off"
	reachSoft move = "soft off"
	reachOn   move = "on"
	mediumIn  move = "medium in"
	mediumOut move = "medium out"
	bootCD    move = "boot from the medium"
	bootDisk  move = "boot from disk"
	facts     move = "facts"
	begin     move = "begin"
	oob       move = "run"
	left      move = "left media out"
)

func moves(e conductor.Effect) []move {
	switch e.Kind {
	case conductor.EffectVerify, conductor.EffectPrepare:
		return []move{facts}
	case conductor.EffectDetach:
		return []move{left}
	case conductor.EffectEject:
		return []move{mediumOut}
	case conductor.EffectBoot:
		return []move{reachOff, mediumIn, bootCD, reachOn}
	case conductor.EffectRunStep:
		return []move{begin, oob}
	case conductor.EffectFinish:
		out := []move{reachOff, mediumOut}
		if e.Disk {
			out = append(out, bootDisk)
		}
		if e.Power == conductor.On {
			out = append(out, reachOn)
		}
		return out
	case conductor.EffectPower:
		out := []move{reachOff}
		switch e.Power {
		case conductor.On:
			return []move{reachOn}
		case conductor.GracefulShutdown:
			out = []move{reachSoft}
		}
		if e.Reboot {
			out = append(out, reachOn)
		}
		return out
	}
	return nil
}

// able is what a BMC says that can do all that a flow needs.
func able(p conductor.Power) *conductor.Facts {
	off := false
	return &conductor.Facts{
		Power: p, BootMode: "uefi", BootModes: []string{"uefi", "bios"}, BootDevices: []string{"cdrom", "disk"}, SecureBoot: &off, VirtualMedia: true,
		PowerActs: []conductor.PowerAction{conductor.On, conductor.ForceOff, conductor.GracefulShutdown},
	}
}

// workOn takes the node's worker one small step further.
func (w *world) workOn(i int) {
	if w.srv == nil {
		return
	}
	w.guard("server", func() { w.srv.work(i) })
}

func (s *server) work(i int) {
	w := s.w
	a := s.acts[i]
	if a == nil {
		if len(s.queues[i]) == 0 {
			return
		}
		e := s.queues[i][0]
		s.queues[i] = s.queues[i][1:]
		a = &act{effect: e, todo: moves(e), began: w.mono, next: w.mono}
		if !conductor.Wanted(w.db.rows[i].node, e) {
			a.recalled = true
		}
		w.say("act %s of node %d", e.Kind, i)
		s.acts[i] = a
	}
	w.busy = true
	if a.recalled {
		if w.point("order", i) != storeFails {
			s.acts[i] = nil
			w.doneEffect(a.effect.ID)
		}
		return
	}
	if a.ended {
		s.done(i, a)
		return
	}
	if w.mono < a.next {
		return
	}
	m := w.machines[i]
	w.acting(i, a)
	err := s.step(i, m, a)
	if w.srv != s {
		return
	}
	switch {
	case err == nil:
		if len(a.todo) == 0 {
			a.ended = true
		}
	case fault.Has(err, fault.BMCPower) || !fault.From(err).Code.Retriable() || a.effect.Kind == conductor.EffectRunStep || w.mono-a.began > timeouts.BMC:
		a.end, a.ended = fault.From(err), true
	default:
		// From the start again, as the engine's tries are.
		a.todo, a.next, a.deadline, a.asked, a.seen = moves(a.effect), w.mono+5*time.Second, 0, 0, 0
		s.event(i, conductor.EffectEvidence{Effect: a.effect, Text: "no answer"}) //nolint:errcheck // only words
	}
}

// step does the first of what is left to do; it is taken off the list once done.
func (s *server) step(i int, m *machine, a *act) error {
	w := s.w
	switch mv := a.todo[0]; mv {
	case reachOff, reachSoft, reachOn:
		return s.reach(i, m, a, mv)
	case facts:
		got, err := m.bmcPower(i)
		if err != nil {
			return err
		}
		a.power = got
	case mediumIn:
		n := w.db.rows[i].node
		if err := m.bmcDo(i, func() { m.media = &medium{generation: n.Boot.Generation, secret: w.secret(n)} }); err != nil {
			return err
		}
	case mediumOut:
		if err := m.bmcDo(i, func() { m.media = nil }); err != nil {
			return err
		}
	case bootCD:
		if err := m.bmcDo(i, func() { m.bootOnce = true }); err != nil {
			return err
		}
	case bootDisk:
		if err := m.bmcDo(i, func() { m.bootOnce = false }); err != nil {
			return err
		}
	case begin:
		if w.without.beginning {
			break
		}
		switch err := s.event(i, conductor.StepBegan{ID: a.effect.Step}); {
		case w.srv != s || fault.Has(err, fault.StorageUnavailable):
			return nil // tried again
		case err != nil: // it was taken back
			a.recalled = true
			return nil
		}
	case oob:
		if r, _ := w.db.rows[i].step(a.effect.Step); r.State != conductor.StepStarted || r.Started.IsZero() {
			w.breaks("I8", "the BMC of node %d is asked for step %s, which is %s", i, r.ID, r.State)
		}
		w.begins(&execution{node: i, id: a.effect.Step})
		err := m.bmcDo(i, func() {})
		if err != nil {
			w.ended(a.effect.Step, "failed")
			return err
		}
		w.ended(a.effect.Step, "succeeded")
	}
	a.todo = a.todo[1:]
	return nil
}

// ended writes the end of an out-of-band step into the ledger.
func (w *world) ended(id any, how string) {
	for _, e := range w.ledger {
		if any(e.id) == id {
			e.state = how
		}
	}
}

// reach acts, re-reads and confirms, one reading at a time.
func (s *server) reach(i int, m *machine, a *act, mv move) error {
	w := s.w
	want := conductor.PowerOff
	if mv == reachOn {
		want = conductor.PowerOn
	}
	limit := timeouts.Power
	if mv == reachSoft {
		limit = timeouts.Soft
	}
	if a.deadline == 0 {
		a.deadline = w.mono + limit
	}
	a.next = w.mono + time.Second
	got, err := m.bmcPower(i)
	if err != nil {
		if w.mono > a.deadline {
			a.deadline = 0
			return err
		}
		return nil
	}
	if got == want {
		if a.seen++; a.seen == 2 {
			a.power, a.seen, a.deadline, a.asked, a.todo = want, 0, 0, 0, a.todo[1:]
		}
		return nil
	}
	a.seen = 0
	if w.mono > a.deadline {
		return fault.New(fault.BMCPower, "it should be %s", want)
	}
	if a.asked == 0 || w.mono-a.asked > limit/3 && mv != reachSoft {
		a.asked = w.mono
		// A call that brings no answer is asked again after the next reading.
		m.bmcDo(i, func() { m.setPower(want == conductor.PowerOn) }) //nolint:errcheck // see above
	}
	return nil
}

// done commits the end of an effect together with what follows from it.
func (s *server) done(i int, a *act) {
	w := s.w
	clear := func(*row) { w.doneEffect(a.effect.ID) }
	var e conductor.Event = conductor.EffectDone{Effect: a.effect, Fault: a.end, Power: a.power, Facts: able(a.power)}
	if a.effect.Kind == conductor.EffectRunStep {
		end := conductor.StepEnded{ID: a.effect.Step, Outcome: api.Succeeded}
		if a.end != nil {
			end.Outcome, end.Fault = api.Failed, a.end
		}
		e = end
	}
	if a.end != nil && (a.effect.Kind == conductor.EffectFinish || a.effect.Kind == conductor.EffectPower) {
		w.machines[i].unfenced = true // and said so in the history
	}
	err := s.apply(i, func(conductor.Node) (conductor.Event, error) { return e, nil }, clear)
	if w.srv != s || fault.Has(err, fault.StorageUnavailable) {
		return // tried again
	}
	w.doneEffect(a.effect.ID) // also after a refusal: another run has replaced the effect's
	s.acts[i] = nil
}
