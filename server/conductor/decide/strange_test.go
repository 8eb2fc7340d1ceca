package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// strangeErasing is a clean whose first step runs, on a server that does not know the node's hardware type any more.
func strangeErasing(t *testing.T) (*life, conductor.StepRecord) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	l.effects, l.s.Registry, l.s.Interfaces, l.s.Strange = nil, nil, nil, true
	l.ok(conductor.ServerRestarted{})
	return l, r
}

// TestI13_I14_ANodeOfAnUnknownTypeHasItsWaysOut: the deadline, an abort, an agent's silence and the step's own end lead to
// the failed state, whatever the server knows of the hardware type; what would go on fails instead.
func TestI13_I14_ANodeOfAnUnknownTypeHasItsWaysOut(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(l *life, r conductor.StepRecord)
		want fault.Reason
	}{
		"deadline": {func(l *life, r conductor.StepRecord) {
			l.now = l.now.Add(r.Step.Timeout + time.Hour)
			l.ok(conductor.DeadlinePassed{})
		}, fault.StepTimeout},
		"silence": {func(l *life, r conductor.StepRecord) {
			l.now = l.now.Add(time.Hour)
			l.ok(conductor.AgentSilent{Since: l.now.Add(-time.Hour)})
		}, fault.DriverUnknown},
		"abort": {func(l *life, r conductor.StepRecord) {
			l.verb(state.VerbAbort)
			l.take(conductor.EffectWithdraw)
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted})
		}, fault.FlowAborted},
		"the step's end": {func(l *life, r conductor.StepRecord) {
			l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded})
			if l.s.Steps[0].State != conductor.StepSucceeded {
				l.t.Errorf("the step that succeeded is %s", l.s.Steps[0].State)
			}
		}, fault.DriverUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			l, r := strangeErasing(t)
			c.end(l, r)
			l.want(state.CleanFail)
			if l.s.Node.LastReason != c.want {
				t.Errorf("%s, want %s", l.s.Node.LastError, c.want)
			}
			for _, e := range l.effects {
				if e.Kind == conductor.EffectOffer || e.Kind == conductor.EffectBoot || e.Kind == conductor.EffectRunStep {
					t.Errorf("effect %s", e.Kind)
				}
			}
			l.s.Node.Maintenance, l.s.Node.Fault = false, ""
			l.verb(state.VerbManage)
			l.want(state.Manageable)
		})
	}
}

// Nothing new begins: an offer is not claimed, a ramdisk that comes up gets nothing, and what is asked for is refused.
func TestANodeOfAnUnknownTypeBeginsNothing(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.s.Registry, l.s.Interfaces, l.s.Strange = nil, nil, true
	r := l.running()
	if err := l.do(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}}); !fault.Has(err, fault.ChannelStartLost) {
		t.Errorf("a claim gives %v", err)
	}
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.DriverUnknown || !strings.Contains(l.s.Node.LastError, "enabled_hardware_types") {
		t.Errorf("%s", l.s.Node.LastError)
	}

	l = newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.s.Registry, l.s.Interfaces, l.s.Strange = nil, nil, true
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	if err := l.lookup(agentA); err != nil {
		t.Fatal(err)
	}
	l.ok(conductor.AgentReady{Steps: catalog.InBand})
	l.want(state.CleanFail)

	for _, e := range []conductor.Event{
		conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbProvide}}, conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}},
		conductor.PowerRead{Power: conductor.PowerOff}, conductor.PowerLost{Tries: 9}, conductor.ActAsked{}, conductor.OutOfService{},
	} {
		before := l.s.Node.Updated
		if err := l.do(e); !fault.Has(err, fault.DriverUnknown) || l.s.Node.Updated != before {
			t.Errorf("%T gives %v", e, err)
		}
	}
}

// TestI14_AFailedWaitTellsWhatWasHeard: heartbeats and progress count, though none of them is written, and a time has its
// date.
func TestI14_AFailedWaitTellsWhatWasHeard(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	l.now = l.now.Add(r.Step.Timeout)
	l.s.Heard = l.now.Add(-time.Second)
	l.s.Steps[0].Progress = &step.Progress{Percent: 40}
	l.ok(conductor.DeadlinePassed{})
	l.want(state.CleanFail)
	want := "last sign: the agent's heartbeat at " + l.s.Heard.UTC().Format(time.RFC3339) + "; the step told of 40 %"
	if !strings.Contains(l.s.Node.LastError, want) {
		t.Errorf("%q lacks %q", l.s.Node.LastError, want)
	}
}
