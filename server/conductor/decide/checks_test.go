package decide

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Each test here is of one check of Decide, and fails when that check is gone. Some put a node into a state that no
// event leads to: the check is there for the day when a mistake elsewhere does.

// offered is a node whose clean has just offered its first step; begun one where the agent has claimed it by "n".
func offered(t *testing.T) (*life, conductor.StepRecord) {
	t.Helper()
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.take(conductor.EffectOffer)
	return l, l.running()
}

func begun(t *testing.T) (*life, conductor.StepRecord) {
	t.Helper()
	l, _ := offered(t)
	return l, l.claim()
}

// alter changes the step's record and the node.
func (l *life) alter(id step.ID, change func(n *conductor.Node, r *conductor.StepRecord)) {
	l.s.Node, l.s.Steps = clone(l.s.Node), slices.Clone(l.s.Steps)
	for i := range l.s.Steps {
		if l.s.Steps[i].ID == id {
			change(&l.s.Node, &l.s.Steps[i])
			return
		}
	}
	l.t.Fatalf("no step %s", id)
}

func TestI08_AClaimThatDoesNotFitIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(n *conductor.Node, r *conductor.StepRecord)
		ask    func(a *api.StartRequest)
		says   string
	}{
		"an unknown step":          {ask: func(a *api.StartRequest) { a.ID = "nobody" }, says: "no such step is offered"},
		"no work":                  {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Flow = nil }, says: "no such step is offered"},
		"work that has ended":      {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Flow.Phase = conductor.PhaseEnded }, says: "no such step is offered"},
		"a boot that has ended":    {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot.Ended = true }, says: "another boot"},
		"a contested boot":         {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot.Contested = true }, says: "another boot"},
		"no boot":                  {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot = nil }, says: "another boot"},
		"an older boot's step":     {change: func(_ *conductor.Node, r *conductor.StepRecord) { r.Generation-- }, says: "another boot"},
		"a step that is planned":   {change: func(_ *conductor.Node, r *conductor.StepRecord) { r.State = conductor.StepPlanned }, says: "the step is planned"},
		"a step that has ended":    {change: func(_ *conductor.Node, r *conductor.StepRecord) { r.State = conductor.StepInterrupted }, says: "the step is interrupted"},
		"a step started by others": {change: func(_ *conductor.Node, r *conductor.StepRecord) { r.State, r.Nonce = conductor.StepStarted, "theirs" }, says: "the step is started"},
		"work that is aborted":     {change: func(n *conductor.Node, _ *conductor.StepRecord) { n.Flow.Aborting = true }, says: "being aborted"},
	} {
		l, r := offered(t)
		if c.change != nil {
			l.alter(r.ID, c.change)
		}
		ask := api.StartRequest{ID: r.ID, Nonce: "n"}
		if c.ask != nil {
			c.ask(&ask)
		}
		d := Decide(l.s, conductor.StepClaimed{Ask: ask}, l.now)
		if d.Changed || !fault.Has(d.Refuse, fault.ChannelStartLost) || !strings.Contains(d.Refuse.Error(), c.says) {
			t.Errorf("%s: changed %t, %v; want %q", name, d.Changed, d.Refuse, c.says)
		}
	}
	l, r := begun(t)
	if d := Decide(l.s, conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}}, l.now); d.Changed || d.Refuse != nil {
		t.Errorf("the same claim again: changed %t, %v", d.Changed, d.Refuse)
	}
}

func TestI09_AnEndThatDoesNotFitIsRefused(t *testing.T) {
	claimed := func(_ *conductor.Node, r *conductor.StepRecord) {
		r.State, r.Nonce, r.Started = conductor.StepStarted, "n", r.Offered
	}
	ownsOutOfBand := func(_ *conductor.Node, r *conductor.StepRecord) {
		r.Step.Where, r.State, r.Started = step.OutOfBand, conductor.StepStarted, r.Offered
	}
	for name, c := range map[string]struct {
		change []func(n *conductor.Node, r *conductor.StepRecord)
		end    conductor.StepEnded
		says   string // "" when it is acknowledged, without effect
	}{
		"of an unknown step":                    {end: conductor.StepEnded{ID: "nobody", Nonce: "n", Outcome: api.Succeeded}, says: "no such step is running"},
		"of an unknown step, out of band":       {end: conductor.StepEnded{ID: "nobody", Outcome: api.Succeeded}, says: "no such step is running"},
		"without a nonce":                       {change: []func(*conductor.Node, *conductor.StepRecord){claimed}, end: conductor.StepEnded{Outcome: api.Succeeded}, says: "no such step is running"},
		"an agent's, of a step out of band":     {change: []func(*conductor.Node, *conductor.StepRecord){ownsOutOfBand}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "no such step is running"},
		"a success of what was not claimed":     {end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "another claim"},
		"a success by another claim":            {change: []func(*conductor.Node, *conductor.StepRecord){claimed}, end: conductor.StepEnded{Nonce: "m", Outcome: api.Succeeded}, says: "another claim"},
		"an interruption told by another":       {change: []func(*conductor.Node, *conductor.StepRecord){claimed}, end: conductor.StepEnded{Nonce: "m", Outcome: api.Interrupted}, says: "another claim"},
		"of one out of band that has not begun": {change: []func(*conductor.Node, *conductor.StepRecord){ownsOutOfBand, func(_ *conductor.Node, r *conductor.StepRecord) { r.State = conductor.StepOffered }}, end: conductor.StepEnded{Outcome: api.Succeeded}, says: "not begun"},
		"of a boot that has ended":              {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot.Ended = true }}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "another boot"},
		"of a contested boot":                   {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot.Contested = true }}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "another boot"},
		"of no boot":                            {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(n *conductor.Node, _ *conductor.StepRecord) { n.Boot = nil }}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "another boot"},
		"of an older boot":                      {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(_ *conductor.Node, r *conductor.StepRecord) { r.Generation-- }}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}, says: "another boot"},
		"of what has failed already":            {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(_ *conductor.Node, r *conductor.StepRecord) { r.State = conductor.StepFailed }}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Succeeded}},
		"of what has succeeded in an old boot": {change: []func(*conductor.Node, *conductor.StepRecord){claimed, func(n *conductor.Node, r *conductor.StepRecord) {
			r.State, n.Boot.Ended = conductor.StepSucceeded, true
		}}, end: conductor.StepEnded{Nonce: "n", Outcome: api.Failed}},
	} {
		l, r := offered(t)
		for _, change := range c.change {
			l.alter(r.ID, change)
		}
		if c.end.ID == "" {
			c.end.ID = r.ID
		}
		d := Decide(l.s, c.end, l.now)
		if d.Changed || (d.Refuse != nil) != (c.says != "") || c.says != "" && (!fault.Has(d.Refuse, fault.StepNotOffered) || !strings.Contains(d.Refuse.Error(), c.says)) {
			t.Errorf("%s: changed %t, %v; want %q", name, d.Changed, d.Refuse, c.says)
		}
	}
}

// TestI08_AStepOutOfBandEndsWithoutABoot: what the server runs itself asks for no ramdisk.
func TestI08_AStepOutOfBandEndsWithoutABoot(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}}})
	id := l.take(conductor.EffectRunStep).Step
	l.s.Node.BMC = &conductor.Known{}
	l.ok(conductor.StepEnded{ID: id, Outcome: api.Failed, Fault: fault.New(fault.BMCError, "no")})
	if l.want(state.CleanFail); l.s.Node.BMC == nil {
		t.Error("a step that failed made the server forget what the BMC can do")
	}
}

// TestI09_AnEndIsKeptAsItWasTold: outcome, progress and reason, and what follows for the node.
func TestI09_AnEndIsKeptAsItWasTold(t *testing.T) {
	end := func(t *testing.T, e conductor.StepEnded) (*life, conductor.StepRecord) {
		l, r := begun(t)
		l.s.Node.BMC = &conductor.Known{}
		e.ID, e.Nonce = r.ID, "n"
		l.ok(e)
		got, _ := (&decider{s: l.s}).attempt(r.ID)
		if l.s.Node.BMC == nil {
			t.Errorf("%s: an in-band step made the server forget what the BMC can do", e.Outcome)
		}
		return l, got
	}
	line := func(l *life) conductor.Entry {
		i := slices.IndexFunc(l.history, func(e conductor.Entry) bool { return e.Type == "step" })
		return l.history[i]
	}
	t.Run("a success", func(t *testing.T) {
		l, r := end(t, conductor.StepEnded{Outcome: api.Succeeded})
		if r.State != conductor.StepSucceeded || r.Fault != nil || r.Progress != nil || line(l).Severity != "INFO" {
			t.Errorf("%+v, told as %+v", r, line(l))
		}
		if next := l.running(); next.Step.Name != "deploy.erase_devices" {
			t.Errorf("%s follows", next.Step.Name)
		}
	})
	t.Run("a success with progress", func(t *testing.T) {
		if _, r := end(t, conductor.StepEnded{Outcome: api.Succeeded, Progress: &step.Progress{Percent: 90}}); r.Progress == nil || r.Progress.Percent != 100 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a failure that says nothing", func(t *testing.T) {
		l, r := end(t, conductor.StepEnded{Outcome: api.Failed, Progress: &step.Progress{Percent: 40}})
		if r.State != conductor.StepFailed || r.Fault == nil || r.Fault.Reason != fault.StepFailed || r.Progress == nil || r.Progress.Percent != 40 || line(l).Severity != "ERROR" {
			t.Errorf("%+v, told as %+v", r, line(l))
		}
		l.want(state.CleanFail)
	})
	t.Run("a failure that says why", func(t *testing.T) {
		l, r := end(t, conductor.StepEnded{Outcome: api.Failed, Fault: fault.New(fault.DiskIO, "bad sector")})
		if r.Fault == nil || r.Fault.Reason != fault.DiskIO || r.Fault.Step != r.Step.Name || l.s.Node.LastReason != fault.DiskIO {
			t.Errorf("%+v, the node's reason %s", r.Fault, l.s.Node.LastReason)
		}
	})
	t.Run("an interruption", func(t *testing.T) {
		l, r := end(t, conductor.StepEnded{Outcome: api.Interrupted})
		if r.State != conductor.StepInterrupted || r.Fault != nil || line(l).Severity != "ERROR" {
			t.Errorf("%+v, told as %+v", r, line(l))
		}
	})
	t.Run("of aborted work", func(t *testing.T) {
		for _, o := range []api.Outcome{api.Succeeded, api.Failed, api.Interrupted} {
			l, r := begun(t)
			l.verb(state.VerbAbort)
			steps := len(l.s.Steps)
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: o})
			if l.want(state.CleanFail); l.s.Node.LastReason != fault.FlowAborted || len(l.s.Steps) != steps {
				t.Errorf("%s: the node's reason is %s, %d steps", o, l.s.Node.LastReason, len(l.s.Steps))
			}
		}
	})
	t.Run("an abort that nobody asked for", func(t *testing.T) {
		l, r := begun(t)
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted})
		if l.want(state.CleanFail); l.s.Node.LastReason != fault.FlowAborted {
			t.Errorf("the node's reason is %s", l.s.Node.LastReason)
		}
	})
	t.Run("a power act out of band", func(t *testing.T) {
		l := newLife(t)
		l.cleaning("management.reset_bmc", "management.clear_job_queue")
		l.s.Node.BMC, l.s.Node.Power = &conductor.Known{}, conductor.PowerOff
		l.outOfBand(conductor.PowerOn)
		if l.s.Node.Power != conductor.PowerOn || l.s.Node.BMC != nil {
			t.Errorf("power %q, BMC %+v", l.s.Node.Power, l.s.Node.BMC)
		}
		l.outOfBand("")
		if l.s.Node.Power != conductor.PowerOn {
			t.Errorf("a step that says nothing of the power left it %q", l.s.Node.Power)
		}
	})
	t.Run("the end of a step of ended work", func(t *testing.T) {
		l, r := begun(t)
		l.alter(r.ID, func(n *conductor.Node, _ *conductor.StepRecord) { n.Flow.Phase = conductor.PhaseEnded })
		d := Decide(l.s, conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded}, l.now)
		if len(d.Effects) != 0 || len(d.Steps) != 1 || d.Node.State != l.s.Node.State {
			t.Errorf("effects %+v, steps %+v, state %s", d.Effects, d.Steps, d.Node.State)
		}
	})
	t.Run("the end of a step that asks for a boot", func(t *testing.T) {
		for name, c := range map[string]struct {
			always bool
			result *step.Result
			boots  bool
		}{
			"never": {}, "this time": {result: &step.Result{Reboot: true}, boots: true}, "not this time": {result: &step.Result{}}, "always": {always: true, boots: true},
		} {
			l, r := begun(t)
			l.alter(r.ID, func(_ *conductor.Node, r *conductor.StepRecord) { r.Step.Reboot = c.always })
			gen := l.s.Node.Generation
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded, Result: c.result})
			if (l.s.Node.Generation != gen) != c.boots {
				t.Errorf("%s: generation %d after %d", name, l.s.Node.Generation, gen)
			}
		}
	})
	t.Run("a step out of band that asks for a boot", func(t *testing.T) {
		l := newLife(t)
		l.cleaning("management.reset_bmc", "management.clear_job_queue")
		l.ok(conductor.StepEnded{ID: l.take(conductor.EffectRunStep).Step, Outcome: api.Succeeded, Result: &step.Result{Reboot: true}})
		if l.take(conductor.EffectRunStep); l.s.Node.Boot != nil {
			t.Errorf("boot %+v", l.s.Node.Boot)
		}
	})
}

// TestI12_OnlyAStepThatMayBeRepeatedIs, and the operator is told what to do about one that may not.
func TestI12_OnlyAStepThatMayBeRepeatedIs(t *testing.T) {
	for name, c := range map[string]struct {
		repeat  step.Repeat
		attempt int
		again   bool
		hint    bool
	}{
		"the first":          {step.Again, 1, true, false},
		"the last but one":   {step.Again, attempts - 1, true, false},
		"the last":           {step.Again, attempts, false, false},
		"not without asking": {step.Never, 1, false, true},
	} {
		l, r := begun(t)
		l.alter(r.ID, func(_ *conductor.Node, r *conductor.StepRecord) { r.Step.Repeat, r.Attempt = c.repeat, c.attempt })
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Interrupted})
		if c.again {
			if next := l.running(); next.Step.Name != r.Step.Name || next.Attempt != c.attempt+1 || next.ID == r.ID || next.Order != r.Order {
				t.Errorf("%s: %+v follows", name, next)
			}
			continue
		}
		l.want(state.CleanFail)
		if l.s.Node.LastReason != fault.StepInterrupted || strings.Contains(l.s.Node.LastError, "not repeated without being asked") != c.hint {
			t.Errorf("%s: %s", name, l.s.Node.LastError)
		}
	}
}

// TestI08_AnAgentThatIsReadyGetsOneStep: the offer it may not have seen, the step that is due, or none.
func TestI08_AnAgentThatIsReadyGetsOneStep(t *testing.T) {
	ready := conductor.AgentReady{Steps: catalog.InBand}
	offers := func(d conductor.Decision) (out []step.ID) {
		for _, e := range d.Effects {
			if e.Kind == conductor.EffectOffer {
				out = append(out, e.Step)
			}
		}
		return out
	}
	l, r := offered(t)
	if d := Decide(l.s, ready, l.now); !reflect.DeepEqual(offers(d), []step.ID{r.ID}) || len(d.Effects) != 1 || len(d.Steps) != 0 {
		t.Errorf("with an offer open: %+v, %+v", d.Effects, d.Steps)
	}
	l, _ = begun(t)
	if d := Decide(l.s, ready, l.now); len(d.Effects) != 0 || len(d.Steps) != 0 {
		t.Errorf("with a step started: %+v, %+v", d.Effects, d.Steps)
	}
	for name, change := range map[string]func(b *conductor.Boot){
		"ended": func(b *conductor.Boot) { b.Ended = true }, "contested": func(b *conductor.Boot) { b.Contested = true },
	} {
		l, r := offered(t)
		l.alter(r.ID, func(n *conductor.Node, _ *conductor.StepRecord) { change(n.Boot) })
		if d := Decide(l.s, ready, l.now); d.Changed || len(d.Effects) != 0 {
			t.Errorf("in a boot that is %s: %+v", name, d.Effects)
		}
	}
	l = fast(t)
	l.s.Node.Boot.Steps = nil
	if d := Decide(l.s, ready, l.now); len(d.Effects) != 0 || len(d.Node.Boot.Steps) == 0 || !d.Changed {
		t.Errorf("without work: %+v, %d steps", d.Effects, len(d.Node.Boot.Steps))
	}
	l.byHand = true
	l.verb(state.VerbDeploy)
	if d := Decide(l.s, ready, l.now); len(d.Effects) != 0 || d.Node.Flow.Phase != conductor.PhasePrepare {
		t.Errorf("before the BMC was asked: %+v, phase %s", d.Effects, d.Node.Flow.Phase)
	}
	for _, v := range []state.Event{state.VerbInspect, state.VerbProvide} {
		l = newLife(t)
		l.manageable()
		l.verb(v)
		l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
		if err := l.lookup(agentA); err != nil {
			t.Fatal(err)
		}
		if v == state.VerbProvide {
			break
		}
		twice := conductor.AgentReady{Steps: append(slices.Clone(catalog.InBand), catalog.InBand...)}
		if d := Decide(l.s, twice, l.now); d.Node.LastReason != "" || d.Node.Flow.Phase != conductor.PhaseFinish {
			t.Errorf("an inspection, which runs no step: phase %s, %s", d.Node.Flow.Phase, d.Node.LastError)
		}
	}
	if d := Decide(l.s, conductor.AgentReady{}, l.now); len(offers(d)) != 0 || d.Node.LastReason != fault.StepVersion {
		t.Errorf("a ramdisk without the steps: %+v, %s", d.Effects, d.Node.LastError)
	}
}

// TestI08_AttemptsMoveByTheTable: every state with every event.
func TestI08_AttemptsMoveByTheTable(t *testing.T) {
	moves := map[conductor.StepState]map[conductor.AttemptEvent]conductor.StepState{
		conductor.StepPlanned: {conductor.AttemptOffer: conductor.StepOffered, conductor.AttemptRun: conductor.StepStarted},
		conductor.StepOffered: {conductor.AttemptRun: conductor.StepStarted, conductor.AttemptClaim: conductor.StepStarted, conductor.AttemptInterrupt: conductor.StepInterrupted, conductor.AttemptAbort: conductor.StepAborted},
		conductor.StepStarted: {conductor.AttemptSucceed: conductor.StepSucceeded, conductor.AttemptFail: conductor.StepFailed, conductor.AttemptInterrupt: conductor.StepInterrupted, conductor.AttemptAbort: conductor.StepAborted},
		"":                    {}, conductor.StepSucceeded: {}, conductor.StepFailed: {}, conductor.StepInterrupted: {}, conductor.StepAborted: {},
	}
	for from, row := range moves {
		for _, e := range []conductor.AttemptEvent{conductor.AttemptOffer, conductor.AttemptRun, conductor.AttemptClaim, conductor.AttemptSucceed, conductor.AttemptFail, conductor.AttemptInterrupt, conductor.AttemptAbort, "nothing"} {
			want, legal := row[e]
			if !legal {
				want = from
			}
			if to, ok := conductor.NextAttempt(from, e); to != want || ok != legal {
				t.Errorf("%s from %q leads to %q, %t; want %q, %t", e, from, to, ok, want, legal)
			}
		}
	}
}

// at is a decider over a node in the middle of a clean.
func at(t *testing.T, disks ...inventory.Disk) *decider {
	t.Helper()
	l := newLife(t, disks...)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	d := &decider{s: l.s, now: l.now, Decision: conductor.Decision{Node: clone(l.s.Node)}}
	d.s.Steps = slices.Clone(l.s.Steps)
	d.n = &d.Node
	return d
}

// TestI01_I20_WhatWritesIsOfferedToAProvenRamdiskInAStateThatPermitsIt, and what touches no disk to any.
func TestI01_I20_WhatWritesIsOfferedToAProvenRamdiskInAStateThatPermitsIt(t *testing.T) {
	for name, c := range map[string]struct {
		touches step.Touch
		change  func(d *decider)
		want    fault.Reason // "" when it is offered
	}{
		"a clean":                     {step.AllDisks, func(*decider) {}, ""},
		"a level too low":             {step.AllDisks, func(d *decider) { d.n.Boot.Level = api.A0 }, fault.StepLevel},
		"a level too low, no disk":    {step.Nothing, func(d *decider) { d.n.Boot.Level = api.A0 }, ""},
		"an inspection":               {step.AllDisks, func(d *decider) { d.n.State, d.n.Flow.Flow = state.Inspecting, state.Inspect }, fault.StepNotOffered},
		"an inspection, no disk":      {step.Nothing, func(d *decider) { d.n.State, d.n.Flow.Flow = state.Inspecting, state.Inspect }, ""},
		"no inventory":                {step.AllDisks, func(d *decider) { d.s.Seen = nil }, fault.DiskNone},
		"no inventory, no disk":       {step.Nothing, func(d *decider) { d.s.Seen = nil }, ""},
		"the root disk is not chosen": {step.RootDisk, func(d *decider) { d.n.Properties["root_device"] = map[string]any{"serial": "nobody"} }, fault.DiskHint},
	} {
		d := at(t, nodetest.Disk0, nodetest.Disk1)
		r := conductor.StepRecord{ID: "new", Node: d.n.UUID, State: conductor.StepPlanned, Attempt: 1, Step: step.Step{Name: "vendor.work", Where: step.InBand, Touches: c.touches}}
		d.s.Steps = []conductor.StepRecord{r}
		c.change(d)
		d.offer(r)
		offers := slices.ContainsFunc(d.Effects, func(e conductor.Effect) bool { return e.Kind == conductor.EffectOffer && e.Step == "new" })
		if offers != (c.want == "") || c.want != "" && d.n.LastReason != c.want {
			t.Errorf("%s: offered %t, %s; want %q", name, offers, d.n.LastError, c.want)
		}
		if got := d.Steps; offers && (len(got) != 1 || got[0].Command.Destroys != (c.touches != step.Nothing) || (len(got[0].Command.Devices) != 0) != (c.touches != step.Nothing)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestF15_AStepOfRAIDIsToldItsRun, which no other step is, and is not offered without what it is to build.
func TestF15_AStepOfRAIDIsToldItsRun(t *testing.T) {
	for _, c := range []struct {
		name       string
		target     map[string]any
		properties map[string]any
		run        any          // nil when it is told of none
		want       fault.Reason // "" when it is offered
	}{
		{name: "vendor.work", properties: map[string]any{"a": "b"}},
		{name: catalog.DeleteRAID, properties: map[string]any{"a": "b"}, run: "run/3"},
		{name: catalog.DeleteRAID, run: "run/3"},
		{name: catalog.CreateRAID, target: object(t, mirrored), properties: map[string]any{"a": "b"}, run: "run/3"},
		{name: catalog.CreateRAID, properties: map[string]any{"a": "b"}, want: fault.RequestInvalid},
	} {
		d := at(t, nodetest.Disk0, nodetest.Disk1)
		d.n.Properties, d.n.TargetRAID = c.properties, c.target
		r := conductor.StepRecord{
			ID: "new", Node: d.n.UUID, Run: "run", Order: 3, State: conductor.StepPlanned, Attempt: 1,
			Step: step.Step{Name: c.name, Where: step.InBand, Touches: step.AllDisks},
		}
		d.s.Steps = []conductor.StepRecord{r}
		d.offer(r)
		if d.n.LastReason != c.want || (len(d.Effects) > 0 && d.Effects[len(d.Effects)-1].Kind == conductor.EffectOffer) != (c.want == "") {
			t.Errorf("%s: %s, %v", c.name, d.n.LastError, d.Effects)
		}
		if c.want != "" {
			continue
		}
		told := d.Steps[0].Command.Node
		if told[catalog.RunOf] != c.run || told["a"] != c.properties["a"] || (told[catalog.TargetRAID] != nil) != (c.target != nil) || c.properties[catalog.RunOf] != nil {
			t.Errorf("%s is told %v", c.name, told)
		}
	}
}

// TestI17_AContestedRamdiskIsNotUsedAgain: the node was idle when two machines turned out to be it.
func TestI17_AContestedRamdiskIsNotUsedAgain(t *testing.T) {
	l := fast(t)
	gen := l.s.Node.Generation
	if err := l.lookup(agentB); !fault.Has(err, fault.NodeContested) {
		t.Fatal(err)
	}
	l.verb(state.VerbDeploy)
	if l.s.Node.Generation != gen+1 || slices.Contains(l.kinds(), conductor.EffectOffer) {
		t.Errorf("generation %d after %d, %v", l.s.Node.Generation, gen, l.kinds())
	}
}
