package decide

import (
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// queued is a clean whose only step, out of band, is in line for the BMC.
func queued(t *testing.T, name string) (*life, conductor.StepRecord) {
	t.Helper()
	l := newLife(t)
	l.inLine = true
	l.cleaning(name)
	r := l.running()
	if r.State != conductor.StepOffered || !r.Offered.Equal(l.now) || !r.Started.IsZero() {
		t.Fatalf("in line: %+v", r)
	}
	return l, r
}

// TestI14_AStepsTimeBeginsWithItsTurn: however long it stood in line for the BMC, which is a wait with an owner and a deadline
// of its own, over a restart of the server too.
func TestI14_AStepsTimeBeginsWithItsTurn(t *testing.T) {
	for _, name := range []string{"bios.factory_reset", "power.power_on"} {
		l, r := queued(t, name)
		w := *l.s.Node.Flow.Wait
		if turn := l.s.Timeouts.Turn(); w.Owner != "bmc" || w.For != "the turn of step "+name+" at the BMC" || w.Reason != fault.BMCBusy || w.Deadline.Sub(w.Since) != turn || !r.Deadline.Equal(w.Deadline) {
			t.Errorf("it waits for %+v until %s", w, r.Deadline)
		}
		l.now = l.now.Add(20 * time.Minute)
		away := l.now
		l.now = l.now.Add(time.Hour)
		before := len(l.effects)
		l.ok(conductor.ServerRestarted{Away: conductor.ClockShifted{By: time.Hour, Since: away, At: l.now}})
		if again := l.running(); !again.Started.IsZero() || again.Deadline.Sub(w.Deadline) != time.Hour || len(l.effects) != before {
			t.Errorf("after a restart: %+v, effects %v", again, l.kinds())
		}
		l.now = l.now.Add(10 * time.Minute)
		l.ok(conductor.StepBegan{ID: l.take(conductor.EffectRunStep).Step})
		if r = l.running(); r.State != conductor.StepStarted || !r.Started.Equal(l.now) || r.Deadline.Sub(l.now) != r.Step.Timeout {
			t.Errorf("begun at %s: %+v", l.now, r)
		}
		if w := l.s.Node.Flow.Wait; !w.Since.Equal(l.now) || w.Deadline.Sub(l.now) != r.Step.Timeout+l.s.Timeouts.Abort || w.Reason != fault.StepTimeout {
			t.Errorf("it waits for %+v", w)
		}
		if a := l.audit[len(l.audit)-1]; a.Act != "step.start" || a.Detail["id"] != r.ID {
			t.Errorf("audited is %+v", a)
		}
		l.now = l.now.Add(time.Minute)
		l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded})
		l.want(state.Manageable)
		i := slices.IndexFunc(l.history, func(h conductor.Entry) bool { return h.Step == name })
		if took := l.s.Steps[0].Ended.Sub(l.s.Steps[0].Started); took != time.Minute || i < 0 || l.history[i].Duration != time.Minute {
			t.Errorf("it took %s, by the history %+v", took, l.history)
		}
	}
}

// TestI08_AStepOutOfBandBeginsOnce: not a second time, not one that is taken back, and none of an agent's.
func TestI08_AStepOutOfBandBeginsOnce(t *testing.T) {
	refused := func(l *life, id conductor.StepRecord) {
		t.Helper()
		if d := Decide(l.s, conductor.StepBegan{ID: id.ID}, l.now); d.Changed || !fault.Has(d.Refuse, fault.StepNotOffered) {
			t.Errorf("changed %t, %v", d.Changed, d.Refuse)
		}
	}
	l, r := queued(t, "bios.factory_reset")
	if d := Decide(l.s, conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded}, l.now); d.Changed || !fault.Has(d.Refuse, fault.StepNotOffered) {
		t.Errorf("the end of what has not begun: changed %t, %v", d.Changed, d.Refuse)
	}
	refused(l, conductor.StepRecord{ID: "nobody"})
	l.ok(conductor.StepBegan{ID: r.ID})
	refused(l, r)
	l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded})
	refused(l, r)

	l = newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	refused(l, l.running())
}

// TestI14_ATurnThatDoesNotComeEndsTheWork: without blame for the machine, to which nothing was done, and for good.
func TestI14_ATurnThatDoesNotComeEndsTheWork(t *testing.T) {
	l, r := queued(t, "bios.factory_reset")
	l.now = l.now.Add(l.s.Timeouts.Turn() - time.Second)
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanWait)
	l.now = l.now.Add(time.Second)
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanFail)
	got := l.s.Steps[0]
	if got.State != conductor.StepInterrupted || !got.Started.IsZero() || l.s.Node.LastReason != fault.BMCBusy || l.s.Node.Maintenance {
		t.Errorf("%+v; %s, maintenance %t", got, l.s.Node.LastError, l.s.Node.Maintenance)
	}
	if slices.Contains(l.kinds(), conductor.EffectWithdraw) {
		t.Error("an agent is told of it")
	}
	if d := Decide(l.s, conductor.StepBegan{ID: r.ID}, l.now); d.Changed || d.Refuse == nil {
		t.Errorf("it begins all the same: %v", d.Refuse)
	}
}

// TestAStepInLineDoesNotBeginWithoutItsHardwareType as nothing new does (docs/adr/0270-a-hardware-type-that-is-gone.md).
func TestAStepInLineDoesNotBeginWithoutItsHardwareType(t *testing.T) {
	l, r := queued(t, "bios.factory_reset")
	l.s.Strange = true
	if err := l.do(conductor.StepBegan{ID: r.ID}); !fault.Has(err, fault.DriverUnknown) {
		t.Error(err)
	}
	l.want(state.CleanFail)
	if !l.s.Steps[0].Started.IsZero() {
		t.Errorf("%+v", l.s.Steps[0])
	}
}

// TestI08_NoAgentClaimsAStepOutOfBand, whatever generation it is of.
func TestI08_NoAgentClaimsAStepOutOfBand(t *testing.T) {
	l := newLife(t)
	l.inLine = true
	l.cleaning("deploy.erase_devices_metadata", "bios.factory_reset")
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	r := l.running()
	r.Generation = l.s.Node.Generation
	l.s.Steps = replace(l.s.Steps, r)
	l.s.Node.Boot.Ended = false
	if err := l.do(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}}); !fault.Has(err, fault.ChannelStartLost) {
		t.Error(err)
	}
}

// TestF23_PowerReadInLineIsWhatAStepLeaves: what an act before it brought while it stood in line is the power before the step,
// and no evidence once it has begun.
func TestF23_PowerReadInLineIsWhatAStepLeaves(t *testing.T) {
	l, r := queued(t, "bios.factory_reset")
	l.s.Node.Power = conductor.PowerOff
	l.ok(conductor.StepBegan{ID: r.ID})
	if r = l.running(); r.Recorded != conductor.PowerOff || l.s.Node.Power != "" {
		t.Errorf("recorded %q, the machine is said to be %q", r.Recorded, l.s.Node.Power)
	}
}

// TestI08_AStepInLineHasNoEnd: only an agent dies between its journal and our answer; a step out of band that has not begun can't
// have been cut off.
func TestI08_AStepInLineHasNoEnd(t *testing.T) {
	why := fault.New(fault.BMCError, "no")
	for _, end := range []conductor.StepEnded{
		{Outcome: api.Interrupted}, {Outcome: api.Succeeded}, {Outcome: api.Failed}, {Outcome: api.Aborted},
		{Outcome: api.Interrupted, Fault: why}, {Outcome: api.Succeeded, Fault: why}, {Outcome: api.Aborted, Fault: why},
	} {
		l, r := queued(t, "bios.factory_reset")
		end.ID = r.ID
		if err := l.do(end); !fault.Has(err, fault.StepNotOffered) {
			t.Errorf("%+v: %v", end, err)
		}
		if r = l.running(); r.State != conductor.StepOffered || r.Attempt != 1 {
			t.Errorf("%+v: %+v", end, r)
		}
	}
}

// TestI08_AStepInLineThatCantBeginFails with its own reason, as long as there is work that it is a part of.
func TestI08_AStepInLineThatCantBeginFails(t *testing.T) {
	l, r := queued(t, "bios.factory_reset")
	end := conductor.StepEnded{ID: r.ID, Outcome: api.Failed, Fault: fault.New(fault.BMCError, "its arguments can't be read")}
	over := l.s
	over.Node.Flow = nil
	if d := Decide(over, end, l.now); d.Changed || !fault.Has(d.Refuse, fault.StepNotOffered) {
		t.Errorf("of no work: changed %t, %v", d.Changed, d.Refuse)
	}
	l.ok(end)
	l.want(state.CleanFail)
	if got := l.s.Steps[0]; !got.Started.IsZero() || l.s.Node.LastReason != fault.BMCError {
		t.Errorf("%+v; %s", got, l.s.Node.LastError)
	}
}

// TestI09_WhenProgressWasTold: an agent's clock is not believed, that of the server's own step is.
func TestI09_WhenProgressWasTold(t *testing.T) {
	for _, told := range []time.Time{{}, time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		l, r := begun(t)
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Failed, Progress: &step.Progress{Percent: 40, Told: told}})
		if got, _ := (&decider{s: l.s}).attempt(r.ID); got.Progress == nil || !got.Progress.Told.Equal(l.now) {
			t.Errorf("in band, told at %s: %+v", told, got.Progress)
		}
		l = newLife(t)
		l.cleaning("bios.factory_reset")
		r = conductor.StepRecord{ID: l.take(conductor.EffectRunStep).Step}
		l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Failed, Progress: &step.Progress{Percent: 40, Told: told}})
		want := told
		if told.IsZero() {
			want = l.now
		}
		if got, _ := (&decider{s: l.s}).attempt(r.ID); got.Progress == nil || !got.Progress.Told.Equal(want) {
			t.Errorf("out of band, told at %s: %+v", told, got.Progress)
		}
	}
}
