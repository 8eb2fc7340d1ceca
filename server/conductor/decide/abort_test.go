package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stubborn makes the first step one that can't be stopped.
func (l *life) stubborn() {
	l.s.Steps = slices.Clone(l.s.Steps)
	l.s.Steps[0].Step.Abortable = false
}

// TestF40_AnAbortEndsAListOutOfBand: at once while its next step only stands in line, which is between two; else as soon as
// the step that the BMC does has ended, however it does. The next one never begins.
func TestF40_AnAbortEndsAListOutOfBand(t *testing.T) {
	two := func(t *testing.T) *life {
		l := newLife(t)
		l.inLine = true
		l.cleaning("management.clear_job_queue", "power.power_on")
		l.want(state.CleanWait)
		l.stubborn()
		return l
	}
	ended := func(t *testing.T, l *life, states ...conductor.StepState) {
		t.Helper()
		l.want(state.CleanFail)
		got := []conductor.StepState{}
		for _, r := range l.s.Steps {
			got = append(got, r.State)
		}
		if n := l.s.Node; !slices.Equal(got, states) || n.LastReason != fault.FlowAborted || !strings.Contains(n.LastError, "aborted") || n.Maintenance {
			t.Errorf("steps %v, %s, maintenance %t", got, n.LastError, n.Maintenance)
		}
		if slices.Contains(l.kinds(), conductor.EffectWithdraw) {
			t.Errorf("effects %v", l.kinds())
		}
	}

	l := two(t) // in line
	l.verb(state.VerbAbort)
	ended(t, l, conductor.StepAborted, conductor.StepPlanned)
	if err := l.do(conductor.StepBegan{ID: l.take(conductor.EffectRunStep).Step}); !fault.Has(err, fault.StepNotOffered) {
		t.Errorf("it begins after that: %v", err)
	}

	for _, outcome := range []api.Outcome{api.Succeeded, api.Failed, api.Interrupted} { // begun
		l = two(t)
		id := l.take(conductor.EffectRunStep).Step
		l.ok(conductor.StepBegan{ID: id})
		l.verb(state.VerbAbort)
		l.want(state.CleanWait)
		if w := l.s.Node.Flow.Wait; !l.s.Node.Flow.Aborting || w.Owner != "bmc" || !strings.Contains(w.Evidence, "ends first") || len(l.effects) != 0 {
			t.Errorf("it waits for %+v, effects %v", w, l.kinds())
		}
		l.ok(conductor.StepEnded{ID: id, Outcome: outcome})
		ended(t, l, map[api.Outcome]conductor.StepState{api.Succeeded: conductor.StepSucceeded, api.Failed: conductor.StepFailed, api.Interrupted: conductor.StepInterrupted}[outcome], conductor.StepPlanned)
	}

	l = two(t) // the second in line, then begun: a power act is a step like any other
	l.ok(conductor.StepBegan{ID: l.take(conductor.EffectRunStep).Step})
	l.ok(conductor.StepEnded{ID: l.s.Steps[0].ID, Outcome: api.Succeeded})
	on := l.take(conductor.EffectRunStep).Step
	l.ok(conductor.StepBegan{ID: on})
	l.verb(state.VerbAbort)
	l.want(state.CleanWait)
	l.ok(conductor.StepEnded{ID: on, Outcome: api.Succeeded, Power: conductor.PowerOn})
	ended(t, l, conductor.StepSucceeded, conductor.StepSucceeded)
}

// TestF40_AnAbortOfAServiceOutOfBandLeadsBackToActive, without touching the machine.
func TestF40_AnAbortOfAServiceOutOfBandLeadsBackToActive(t *testing.T) {
	for _, begun := range []bool{false, true} {
		l := newLife(t)
		l.active()
		l.inLine = true
		l.serve("management.reset_bmc", "management.clear_job_queue")
		l.stubborn()
		id := l.take(conductor.EffectRunStep).Step
		if begun {
			l.ok(conductor.StepBegan{ID: id})
		}
		l.verb(state.VerbAbort)
		if begun {
			l.want(state.ServiceWait)
			l.ok(conductor.StepEnded{ID: id, Outcome: api.Succeeded})
		}
		l.want(state.Active)
		l.none()
		if l.s.Node.LastReason != fault.FlowAborted || l.s.Steps[1].State != conductor.StepPlanned {
			t.Errorf("%s; %+v", l.s.Node.LastError, l.s.Steps)
		}
	}
}

// TestF40_WhatTheBMCDoesIsNotCutOffInPassing: neither by a power act nor by a deletion, in the states that allow these while
// the node waits for its ramdisk.
func TestF40_WhatTheBMCDoesIsNotCutOffInPassing(t *testing.T) {
	for _, name := range []string{"bios.factory_reset", "power.power_on"} {
		l := newLife(t)
		l.active()
		l.serve(name)
		l.take(conductor.EffectRunStep)
		l.want(state.ServiceWait)
		for _, target := range []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"} {
			if err := l.do(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: target}}); !fault.Has(err, fault.NodeBusy) {
				t.Errorf("%s under %s: %v", target, name, err)
			}
		}
		if err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDelete}}); !fault.Has(err, fault.NodeBusy) {
			t.Errorf("undeploy under %s: %v", name, err)
		}
		if r := l.running(); r.State != conductor.StepStarted {
			t.Errorf("%+v", r)
		}
	}
}

// TestF40_AStepOutOfBandStopsAtASafePoint: it is told to, and says what it left; what the BMC was told to do already ends first,
// for as long as the step may take.
func TestF40_AStepOutOfBandStopsAtASafePoint(t *testing.T) {
	begun := func() (*life, conductor.StepRecord) {
		l := newLife(t)
		l.cleaning("management.clear_job_queue", "management.reset_bmc")
		id := l.take(conductor.EffectRunStep).Step
		r, _ := (&decider{s: l.s}).attempt(id)
		r.Step.Abortable = true
		l.s.Steps = replace(l.s.Steps, r)
		return l, r
	}
	l, r := begun()
	l.verb(state.VerbAbort)
	w := l.s.Node.Flow.Wait
	if e := l.take(conductor.EffectWithdraw); e.Step != r.ID || w.Owner != "bmc" || w.Reason != fault.StepTimeout || !w.Deadline.Equal(l.now.Add(l.s.Timeouts.Abort)) {
		t.Errorf("%+v, it waits for %+v", e, w)
	}
	l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Aborted, Fault: fault.New(fault.StepAborted, "nothing was changed")})
	l.want(state.CleanFail)
	if !strings.Contains(l.s.Node.LastError, "Step management.clear_job_queue: nothing was changed.") {
		t.Error(l.s.Node.LastError)
	}

	l, r = begun()
	l.verb(state.VerbAbort)
	r, _ = (&decider{s: l.s}).attempt(r.ID)
	r.Progress = &step.Progress{Percent: 20, Uncut: "what the BMC was told"} // it had just been when the abort came
	l.s.Steps = replace(l.s.Steps, r)
	l.now = l.s.Node.Flow.Wait.Deadline
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanWait)
	if w := l.s.Node.Flow.Wait; w.Owner != "bmc" || !w.Deadline.Equal(r.Deadline) {
		t.Errorf("it waits for %+v, the step may take until %s", w, r.Deadline)
	}
	l.now = l.now.Add(time.Minute)
	l.ok(conductor.StepEnded{ID: r.ID, Outcome: api.Succeeded})
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.FlowAborted || l.s.Steps[1].State != conductor.StepPlanned {
		t.Errorf("%s; %+v", l.s.Node.LastError, l.s.Steps)
	}
}

// TestI14_F40_AbortsThatAreRepeatedGiveNoMoreTime: a program that asks again and again would keep the node waiting for ever.
func TestI14_F40_AbortsThatAreRepeatedGiveNoMoreTime(t *testing.T) {
	l, _ := eraseBegun(t)
	l.verb(state.VerbAbort)
	until := l.s.Node.Flow.Wait.Deadline
	for l.now = l.now.Add(time.Minute); l.now.Before(until); l.now = l.now.Add(20 * time.Second) {
		l.verb(state.VerbAbort)
		l.want(state.CleanWait)
	}
	if w := l.s.Node.Flow.Wait; !w.Deadline.Equal(until) || !strings.Contains(w.For, "to stop at a safe point") {
		t.Errorf("it waits for %+v, expected until %s", w, until)
	}
	l.now = until
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanFail)
}
