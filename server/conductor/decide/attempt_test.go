package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI10_AnIllegalMoveOfAnAttemptDecidesNothing: should Decide ever ask for one, the whole decision is refused.
func TestI10_AnIllegalMoveOfAnAttemptDecidesNothing(t *testing.T) {
	l := newLife(t)
	d := &decider{s: l.s, now: l.now, Decision: conductor.Decision{Node: clone(l.s.Node)}}
	d.n = &d.Node
	r := conductor.StepRecord{Step: step.Step{Name: "deploy.work"}, State: conductor.StepSucceeded}
	if d.move(&r, conductor.AttemptClaim); !d.illegal || d.Refuse == nil || r.State != conductor.StepSucceeded {
		t.Fatalf("moved to %s: %v", r.State, d.Refuse)
	}
}

// TestF40_APowerActKeepsTheReasonOfAFailure: why a node is in its failed state is not lost by switching it on.
func TestF40_APowerActKeepsTheReasonOfAFailure(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Power: conductor.PowerOn})
	l.verb(state.VerbAbort)
	l.want(state.CleanFail)
	l.ok(conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}})
	if l.s.Node.LastReason != fault.FlowAborted || l.s.Node.LastError != "" {
		t.Fatalf("the reason is %q, last_error %q", l.s.Node.LastReason, l.s.Node.LastError)
	}
}

// TestF28_AShiftedWaitKeepsItsLength: a wait neither ends before it began nor is told to have lasted an hour longer.
func TestF28_AShiftedWaitKeepsItsLength(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, 10 * 365 * 24 * time.Hour} {
		l := newLife(t)
		l.manageable()
		l.verb(state.VerbProvide)
		before := *l.s.Node.Flow.Wait
		l.now = l.now.Add(by)
		l.ok(conductor.ClockShifted{By: by})
		after := l.s.Node.Flow.Wait
		if got, want := after.Deadline.Sub(after.Since), before.Deadline.Sub(before.Since); got != want || !after.Since.Equal(before.Since.Add(by)) {
			t.Errorf("shifted by %s, the wait of %s lasts %s, since %s", by, want, got, after.Since)
		}
	}
}

// TestI14_F28_TheSameTimeIsTakenOutOnce: a server that is stopped between moving the deadlines and its next stamp tells of
// the same time again, of a clock that was set back as well as of time away.
func TestI14_F28_TheSameTimeIsTakenOutOnce(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		l := newLife(t)
		l.manageable()
		l.verb(state.VerbProvide)
		before, stamp := l.s.Node.Flow.Wait.Deadline, l.now
		l.now = l.now.Add(by)
		l.ok(conductor.ClockShifted{By: by, Since: stamp, At: l.now})
		l.now = l.now.Add(5 * time.Second) // killed, and started again
		l.ok(conductor.ClockShifted{By: by + 5*time.Second, Since: stamp, At: l.now})
		if got, want := l.s.Node.Flow.Wait.Deadline.Sub(before), by+5*time.Second; got != want {
			t.Errorf("the deadline moved by %s, the time that did not count is %s", got, want)
		}
	}
}

// TestI10_I12_ARetryStaysWhereItsStepStands: the boot after an interruption lays the plan in order again, but not the
// attempt that the interruption left.
func TestI10_I12_ARetryStaysWhereItsStepStands(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	first := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: first.ID, Nonce: "a"}})
	l.now = l.now.Add(time.Hour)
	l.ok(conductor.AgentSilent{Since: l.now.Add(-time.Hour)})
	l.boot()
	if again := l.running(); again.Attempt != 2 || again.Step.Name != first.Step.Name || again.Order != first.Order {
		t.Fatalf("attempt %d of %s is number %d of the plan, its step is number %d", again.Attempt, again.Step.Name, again.Order, first.Order)
	}
}
