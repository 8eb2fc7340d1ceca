package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// formats is what a step says while a drive formats itself.
var formats = step.Progress{Percent: 30, Uncut: "nvme-format-crypto of serial S0"}

// formatting is eraseBegun with nothing left to do for the server.
func formatting(t *testing.T) (*life, conductor.StepRecord) {
	t.Helper()
	l, r := eraseBegun(t)
	l.take(conductor.EffectOffer)
	return l, r
}

// unheard tells that the agent has been silent, and what the engine heard of the step before.
func (l *life) unheard(r conductor.StepRecord, told *step.Progress) conductor.Decision {
	l.t.Helper()
	l.now = l.now.Add(6 * time.Minute)
	e := conductor.AgentSilent{Since: l.now.Add(-5 * time.Minute), Step: r.ID, Progress: told}
	before := Decide(l.s, e, l.now)
	l.ok(e)
	return before
}

// powered tells that nothing was done to the machine and that the wait says whom it is for, and until when.
func (l *life) powered(r conductor.StepRecord) {
	l.t.Helper()
	l.want(state.CleanWait)
	if len(l.effects) != 0 {
		l.t.Fatalf("effects %v", l.kinds())
	}
	w := l.s.Node.Flow.Wait
	if !w.Silent || w.Owner != "agent" || w.Reason != fault.FlowSilent || !w.Deadline.Equal(r.Deadline) ||
		!strings.HasPrefix(w.For, "nvme-format-crypto of serial S0 to end, which can't be cut off; the agent was last heard at ") {
		l.t.Errorf("waits for %+v, expected until %s", w, r.Deadline)
	}
}

// TestI07_SilenceCutsNoPowerUnderADrivesOwnFormat: server and agents are parted while a fleet formats its drives.
func TestI07_SilenceCutsNoPowerUnderADrivesOwnFormat(t *testing.T) {
	t.Run("as it is stored, until the step's deadline", func(t *testing.T) {
		l, r := formatting(t)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: formats})
		l.unheard(r, nil) // a server that has been restarted since
		l.powered(r)
		if d := l.unheard(r, nil); d.Changed {
			t.Error("silence that goes on is written down each time")
		}
		l.powered(r)
		l.now = r.Deadline.Add(-time.Second)
		l.ok(conductor.DeadlinePassed{})
		l.powered(r)
		l.now = r.Deadline
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanFail)
		if e := l.take(conductor.EffectFinish); e.Power != conductor.ForceOff || l.s.Node.LastReason != fault.FlowSilent {
			t.Errorf("it ends with %+v, %s", e, l.s.Node.LastError)
		}
	})
	t.Run("as it was told and not stored", func(t *testing.T) {
		l, r := formatting(t)
		l.unheard(r, &formats)
		l.powered(r)
		if got := l.running().Progress; got == nil || got.Uncut != formats.Uncut {
			t.Errorf("stored is %+v", got)
		}
	})
	t.Run("of another attempt it says nothing", func(t *testing.T) {
		l, r := formatting(t)
		l.unheard(conductor.StepRecord{ID: l.s.Steps[0].ID}, &formats)
		if l.take(conductor.EffectBoot); l.s.Steps[1].ID != r.ID || l.s.Steps[1].State != conductor.StepInterrupted {
			t.Errorf("the attempt is %+v", l.s.Steps[1])
		}
	})
	t.Run("it has ended since it was stored", func(t *testing.T) {
		l, r := formatting(t)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: formats})
		l.unheard(r, &step.Progress{Percent: 40})
		l.take(conductor.EffectBoot)
	})
	t.Run("beyond the step's deadline", func(t *testing.T) {
		l, r := formatting(t)
		l.now = r.Deadline
		l.unheard(r, &formats)
		l.take(conductor.EffectBoot)
	})
	t.Run("a step that may not be repeated, in maintenance", func(t *testing.T) {
		l, r := formatting(t)
		l.alter(r.ID, func(n *conductor.Node, r *conductor.StepRecord) { n.Maintenance, r.Step.Repeat = true, step.Never })
		l.unheard(r, &formats)
		l.powered(r)
		// The operator may: nobody else knows better.
		l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}})
		l.want(state.CleanFail)
	})
}

// TestI07_AnAgentThatIsHeardAgain goes on, and its silence counts anew.
func TestI07_AnAgentThatIsHeardAgain(t *testing.T) {
	t.Run("the step ends", func(t *testing.T) {
		l, r := formatting(t)
		l.unheard(r, &formats)
		l.ok(conductor.AgentHeard{})
		if w := l.s.Node.Flow.Wait; w.Silent || w.For != "step deploy.erase_devices to end" || w.Reason != fault.StepTimeout || !w.Deadline.Equal(r.Deadline) || w.Evidence == "" {
			t.Errorf("waits for %+v", w)
		}
		if d := Decide(l.s, conductor.AgentHeard{}, l.now); d.Changed {
			t.Error("each heartbeat is written down")
		}
		l.end(l.running())
		l.want(state.Cleaning)
	})
	t.Run("it falls silent again", func(t *testing.T) {
		l, r := formatting(t)
		l.unheard(r, &formats)
		l.ok(conductor.AgentHeard{})
		l.unheard(r, &step.Progress{Percent: 50})
		l.take(conductor.EffectBoot)
	})
	t.Run("it ends without having been heard", func(t *testing.T) {
		l, r := formatting(t)
		l.unheard(r, &formats)
		l.end(r)
		l.want(state.Cleaning)
	})
	for name, told := range map[string]*step.Progress{"work that is aborted": nil, "work that is aborted, and the format is over": {Percent: 60}} {
		t.Run(name, func(t *testing.T) {
			l, r := formatting(t)
			l.ok(conductor.ProgressTold{ID: r.ID, Progress: formats})
			l.verb(state.VerbAbort)
			l.take(conductor.EffectWithdraw)
			l.unheard(r, nil)
			l.powered(r)
			limit := r.Deadline
			if told != nil {
				l.ok(conductor.ProgressTold{ID: r.ID, Progress: *told})
				limit = l.now.Add(l.s.Timeouts.Abort)
			}
			l.ok(conductor.AgentHeard{})
			if w := l.s.Node.Flow.Wait; w.Silent || !w.Deadline.Equal(limit) || !strings.Contains(w.For, "stop") {
				t.Errorf("waits for %+v, expected until %s", w, limit)
			}
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted})
			l.want(state.CleanFail)
		})
	}
}

// TestI07_AContestedNodeKeepsItsPowerUnderADrivesOwnFormat: whoever knows the boot secret could else have the power cut under it.
// Nothing of the boot is believed meanwhile, and none of it happens again for a claim that is repeated (I17, I18).
func TestI07_AContestedNodeKeepsItsPowerUnderADrivesOwnFormat(t *testing.T) {
	contested := func(t *testing.T) (*life, conductor.StepRecord) {
		l, r := formatting(t)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: formats})
		if err := l.lookup(agentB); !fault.Has(err, fault.NodeContested) {
			t.Fatal(err)
		}
		return l, r
	}
	holds := func(l *life, r conductor.StepRecord) {
		t.Helper()
		l.want(state.CleanWait)
		n := l.s.Node
		if len(l.effects) != 0 || !n.Boot.Contested || n.Boot.Ended || n.LastReason != fault.NodeContested {
			t.Errorf("effects %v, boot %+v, %s", l.kinds(), n.Boot, n.LastError)
		}
		if w := n.Flow.Wait; !w.Silent || w.Reason != fault.NodeContested || !w.Deadline.Equal(r.Deadline) || !strings.HasPrefix(w.For, formats.Uncut+" to end, which can't be cut off") {
			t.Errorf("waits for %+v", w)
		}
	}
	t.Run("until the step's deadline", func(t *testing.T) {
		l, r := contested(t)
		holds(l, r)
		if d := l.unheard(r, nil); d.Changed {
			t.Error("that nothing is heard of a machine that is not believed is written down")
		}
		for _, who := range []conductor.Peer{agentA, agentB} {
			if d := Decide(l.s, conductor.LookedUp{Peer: who, Ask: api.LookupRequest{Generation: l.s.Node.Generation}, Proven: true}, l.now); d.Changed || !fault.Has(d.Refuse, fault.NodeContested) {
				t.Errorf("a claim that is repeated changes %v, %v", d.Changed, d.Refuse)
			}
		}
		for _, e := range []conductor.Event{conductor.AgentHeard{}, conductor.StepEnded{ID: r.ID, Nonce: r.Nonce, Outcome: api.Succeeded}} {
			l.do(e) // refused or of no effect: which of the two machines says it?
			holds(l, r)
		}
		l.now = r.Deadline
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanFail)
		if e := l.take(conductor.EffectFinish); e.Power != conductor.ForceOff || l.s.Node.LastReason != fault.NodeContested || !l.s.Node.Boot.Ended {
			t.Errorf("it ends with %+v, %s", e, l.s.Node.LastError)
		}
	})
	t.Run("but for an operator, who may know better", func(t *testing.T) {
		l, _ := contested(t)
		l.s.Node.Maintenance = true
		l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}})
		l.want(state.CleanFail)
	})
	t.Run("an abort waits as well", func(t *testing.T) {
		l, r := contested(t)
		l.verb(state.VerbAbort)
		l.effects = nil // the order to stop
		l.unheard(r, nil)
		l.want(state.CleanWait)
		l.now = r.Deadline
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanFail)
	})
	t.Run("and what was only in memory of it is written down", func(t *testing.T) {
		l, r := formatting(t)
		l.alter(r.ID, func(_ *conductor.Node, r *conductor.StepRecord) { r.Progress = &formats })
		d := Decide(l.s, conductor.LookedUp{Peer: agentB, Proven: true, Ask: api.LookupRequest{Generation: l.s.Node.Generation, BootID: "b", Seq: 1}}, l.now)
		if !slices.ContainsFunc(d.Steps, func(s conductor.StepRecord) bool {
			return s.ID == r.ID && s.Progress != nil && s.Progress.Uncut == formats.Uncut
		}) {
			t.Errorf("a restart would forget what can't be cut off: %+v", d.Steps)
		}
	})
	t.Run("not once it is over", func(t *testing.T) {
		l, r := formatting(t)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: formats})
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: step.Progress{Percent: 40}})
		if err := l.lookup(agentB); !fault.Has(err, fault.NodeContested) {
			t.Fatal(err)
		}
		l.want(state.CleanFail)
		l.take(conductor.EffectFinish)
	})
}

// TestI07_AContestEndsWithWhatTheBMCDoes: a step out of band ends by itself, and so the wait for it. Nothing follows it on a node
// whose machine is not known: no next step, no new attempt, no boot, and no end that counts (I18, I20).
func TestI07_AContestEndsWithWhatTheBMCDoes(t *testing.T) {
	for _, after := range [][]string{{"management.reset_bmc"}, {"deploy.erase_devices"}, {}} {
		for _, outcome := range []api.Outcome{api.Succeeded, api.Interrupted, api.Failed, api.Aborted} {
			for _, aborted := range []bool{false, true} {
				l := newLife(t)
				l.cleaning(append([]string{"deploy.erase_devices_metadata", "management.clear_job_queue"}, after...)...)
				l.boot()
				l.runStep("deploy.erase_devices_metadata", nil)
				id := l.take(conductor.EffectRunStep).Step
				l.alter(id, func(_ *conductor.Node, r *conductor.StepRecord) {
					r.Step.Repeat, r.Progress = step.Again, &step.Progress{Percent: 20, Uncut: "what the BMC was told to do"}
				})
				if err := l.lookup(agentB); !fault.Has(err, fault.NodeContested) {
					t.Fatal(err)
				}
				l.want(state.CleanWait)
				if aborted {
					l.verb(state.VerbAbort)
				}
				l.effects = nil
				l.ok(conductor.StepEnded{ID: id, Outcome: outcome})
				l.want(state.CleanFail)
				if e := l.take(conductor.EffectFinish); e.Power != conductor.ForceOff || l.s.Node.LastReason != fault.NodeContested || !l.s.Node.Boot.Ended {
					t.Errorf("%v, %s, aborted %t: it ends with %+v, %s", after, outcome, aborted, e, l.s.Node.LastError)
				}
				l.none()
			}
		}
	}
}

// TestI18_AnEarlierContestEndsNoOtherWork: what the BMC does on a node whose boot was contested before, or has ended, goes on.
func TestI18_AnEarlierContestEndsNoOtherWork(t *testing.T) {
	for name, set := range map[string]func(n *conductor.Node){
		"a list that boots nothing": func(n *conductor.Node) { n.Boot = &conductor.Boot{Generation: n.Generation, Contested: true} },
		"a boot that has ended": func(n *conductor.Node) {
			n.Boot, n.Flow.Booted = &conductor.Boot{Generation: n.Generation, Contested: true, Ended: true}, true
		},
	} {
		l := newLife(t)
		l.cleaning("management.clear_job_queue", "management.reset_bmc")
		l.s.Node = clone(l.s.Node)
		set(&l.s.Node)
		l.outOfBand("")
		l.want(state.CleanWait)
		if next := l.running(); next.Step.Name != "management.reset_bmc" {
			t.Errorf("%s: %s follows", name, next.Step.Name)
		}
	}
}

// TestI18_AContestOutlivesAListThroughTheBMC: a node that is contested takes a list of steps out of band, which go to the BMC by the
// BMC's own credentials, and give nothing to either machine. Only a fresh boot settles who it is (safety.md 2.2).
func TestI18_AContestOutlivesAListThroughTheBMC(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.s.Node.Boot = &conductor.Boot{Generation: l.s.Node.Generation, Contested: true, Key: agentA.Key, Redeemed: l.now}
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: nodetest.Wanted("management.reset_bmc", "bios.factory_reset", "power.reboot")}})
	for range 3 {
		l.outOfBand("")
		if b := l.s.Node.Boot; !b.Contested || b.Ended {
			t.Fatalf("the boot is %+v", b)
		}
		for _, who := range []conductor.Peer{agentA, agentB} {
			if err := l.lookup(who); err == nil {
				t.Error("an agent is admitted")
			}
		}
	}
	l.want(state.Manageable)
	l.none()
	l.ok(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: nodetest.Wanted("deploy.erase_devices_metadata")}})
	if b := l.s.Node.Boot; b.Contested || b.Ended || b.Key != "" {
		t.Errorf("a fresh boot is %+v", b)
	}
}
