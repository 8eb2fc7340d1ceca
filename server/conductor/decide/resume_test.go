package decide

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// eraseBegun is a node whose clean is in the middle of erasing.
func eraseBegun(t *testing.T) (*life, conductor.StepRecord) {
	t.Helper()
	l := newLife(t)
	l.manageable()
	l.verb(state.VerbProvide)
	l.boot()
	l.runStep("deploy.erase_devices_metadata", nil)
	return l, l.claim()
}

// claim lets the agent start what is offered.
func (l *life) claim() conductor.StepRecord {
	l.t.Helper()
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	return l.running()
}

func checkpoint(d inventory.Disk, until int64) step.Checkpoint {
	id, _ := d.ID()
	return step.Checkpoint{Disk: id, Method: "overwrite-zeros", Until: until}
}

func (l *life) silence() {
	l.t.Helper()
	l.now = l.now.Add(10 * time.Minute)
	l.ok(conductor.AgentSilent{Since: l.now.Add(-6 * time.Minute)})
}

// TestF15_I12_AResetInTheMiddle: the machine falls silent inside a step that may be repeated. The attempt is
// interrupted, the power goes off and on again, and a new attempt with a new id, in a new generation, is told where the
// old one came to. What the old one's agent says after that changes nothing.
func TestF15_I12_AResetInTheMiddle(t *testing.T) {
	l, first := eraseBegun(t)
	at := checkpoint(nodetest.Disk0, 4<<30)
	gone := checkpoint(nodetest.Disk1, 4<<30) // no disk of this step
	l.ok(conductor.ProgressTold{ID: first.ID, Progress: step.Progress{Percent: 50, Checkpoints: []step.Checkpoint{at, gone}}})
	old := l.s.Node.Generation
	l.silence()
	if r := l.s.Steps[1]; r.ID != first.ID || r.State != conductor.StepInterrupted || r.Fault == nil || r.Fault.Reason != fault.StepInterrupted || r.Ended.IsZero() {
		t.Fatalf("the first attempt: %+v", r)
	}
	l.want(state.Cleaning)
	if l.s.Node.Generation != old+1 {
		t.Fatalf("generation %d after %d", l.s.Node.Generation, old)
	}
	for _, o := range []api.Outcome{api.Succeeded, api.Failed} {
		l.ok(conductor.StepEnded{ID: first.ID, Nonce: "n", Outcome: o}) // acknowledged, without effect
	}
	if err := l.do(conductor.StepClaimed{Ask: api.StartRequest{ID: first.ID, Nonce: "n"}}); !fault.Has(err, fault.ChannelStartLost) {
		t.Fatalf("started again: %v", err)
	}
	l.boot()
	second := l.claim()
	if second.ID == first.ID || second.Attempt != 2 || second.Generation != old+1 {
		t.Fatalf("the second attempt: %+v", second)
	}
	if second.Order != first.Order {
		t.Errorf("the second attempt is number %d of the plan, the first was number %d", second.Order, first.Order) // I10
	}
	if got := second.Command.Resume; !reflect.DeepEqual(got, []step.Checkpoint{at}) {
		t.Errorf("it goes on at %+v, expected %+v", got, at)
	}
	l.end(second)
	l.want(state.Cleaning)
}

// end lets the erase step end well.
func (l *life) end(r conductor.StepRecord) {
	l.t.Helper()
	var e catalog.Erased
	e.ID, _ = nodetest.Disk0.ID()
	e.Method, e.To, e.Verify.Mode = "m", e.ID.Size, "sample"
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Succeeded, Result: &step.Result{Data: map[string]any{"devices": []catalog.Erased{e}}}})
}

// TestI12_OnlyWhatAnAttemptSaidItselfCounts: one that ran and told nothing may have begun anew, so what it was given is
// not handed on; one that never ran hands it on.
func TestI12_OnlyWhatAnAttemptSaidItselfCounts(t *testing.T) {
	for name, ran := range map[string]bool{"it ran": true, "it never ran": false} {
		t.Run(name, func(t *testing.T) {
			l, first := eraseBegun(t)
			at := checkpoint(nodetest.Disk0, 4<<30)
			l.ok(conductor.ProgressTold{ID: first.ID, Progress: step.Progress{Checkpoints: []step.Checkpoint{at}}})
			l.ok(conductor.StepEnded{ID: first.ID, Nonce: "n", Outcome: api.Interrupted}) // the process restarted
			second := l.running()
			if ran {
				second = l.claim()
			}
			l.ok(conductor.StepEnded{ID: second.ID, Nonce: "n", Outcome: api.Interrupted})
			third := l.running()
			if third.Attempt != 3 || (len(third.Command.Resume) == 0) != ran {
				t.Errorf("attempt %d resumes at %+v", third.Attempt, third.Command.Resume)
			}
		})
	}
}

func TestProgressOfAnotherAttemptIsNotKept(t *testing.T) {
	l, r := eraseBegun(t)
	p := step.Progress{Percent: 70, Checkpoints: []step.Checkpoint{checkpoint(nodetest.Disk0, 1<<30)}}
	for _, id := range []step.ID{"", "nobody", l.s.Steps[0].ID} {
		l.ok(conductor.ProgressTold{ID: id, Progress: p})
	}
	l.ok(conductor.ProgressTold{ID: r.ID, Progress: p})
	p.Percent = 60
	l.ok(conductor.ProgressTold{ID: r.ID, Progress: p})
	if r = l.running(); r.Progress.Percent != 70 || l.s.Steps[0].Progress != nil {
		t.Errorf("%+v, and of the step before %+v", r.Progress, l.s.Steps[0].Progress)
	}
	l.end(r)
	l.ok(conductor.ProgressTold{ID: r.ID, Progress: p})
	if r := l.s.Steps[1]; r.Progress.Percent != 100 || len(r.Progress.Checkpoints) != 0 {
		t.Errorf("after its end %+v", r.Progress)
	}
}

// TestF15_NotForEver: a machine that falls silent in every attempt fails its flow after the third.
func TestF15_NotForEver(t *testing.T) {
	l, _ := eraseBegun(t)
	for range 2 {
		l.silence()
		l.want(state.Cleaning)
		l.boot()
		l.claim()
	}
	l.silence()
	l.want(state.CleanFail)
	if l.s.Node.LastReason != fault.FlowSilent || !l.s.Node.Maintenance {
		t.Errorf("%s, maintenance %v", l.s.Node.LastError, l.s.Node.Maintenance)
	}
	l.take(conductor.EffectFinish)
}

// TestF15_NotUnasked: a step that may not be repeated, work that is being aborted and a node in maintenance fail.
func TestF15_NotUnasked(t *testing.T) {
	for name, spoil := range map[string]func(l *life){
		"never": func(l *life) {
			r := l.running()
			r.Step.Repeat = step.Never
			l.s.Steps = replace(l.s.Steps, r)
		},
		"aborting":    func(l *life) { l.verb(state.VerbAbort) },
		"maintenance": func(l *life) { l.s.Node.Maintenance = true },
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := eraseBegun(t)
			spoil(l)
			l.silence()
			l.want(state.CleanFail)
			l.take(conductor.EffectFinish)
		})
	}
}

// TestI07_AbortWaitsForWhatCantBeCutOff: the power is not cut under a drive's own format; the wait says why.
func TestI07_AbortWaitsForWhatCantBeCutOff(t *testing.T) {
	format := step.Progress{Uncut: "nvme-format-crypto of serial S0"}
	t.Run("it is known when the abort is asked for", func(t *testing.T) {
		l, r := eraseBegun(t)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: format})
		l.verb(state.VerbAbort)
		l.take(conductor.EffectWithdraw)
		if w := l.s.Node.Flow.Wait; !strings.HasPrefix(w.For, "nvme-format-crypto of serial S0 to end, which can't be cut off") || !w.Deadline.Equal(r.Deadline) {
			t.Errorf("waits for %+v", w)
		}
		l.now = l.now.Add(time.Hour)
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanWait)
		l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted, Fault: fault.New(fault.StepAborted, "the step was aborted: /dev/nvme0n1: it is erased")})
		l.want(state.CleanFail)
	})
	t.Run("it is known when the wait is over", func(t *testing.T) {
		l, r := eraseBegun(t)
		l.verb(state.VerbAbort)
		l.ok(conductor.ProgressTold{ID: r.ID, Progress: format})
		l.now = l.now.Add(l.s.Timeouts.Abort)
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanWait)
		l.now = r.Deadline // not beyond what the step may take at all
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanFail)
		l.take(conductor.EffectFinish)
	})
	t.Run("a step that only hangs is fenced", func(t *testing.T) {
		l, _ := eraseBegun(t)
		l.verb(state.VerbAbort)
		l.now = l.now.Add(l.s.Timeouts.Abort)
		l.ok(conductor.DeadlinePassed{})
		l.want(state.CleanFail)
		l.take(conductor.EffectFinish)
	})
}

// TestAbortTellsWhatIsLeft: what the agent says of the disks stands in last_error.
func TestAbortTellsWhatIsLeft(t *testing.T) {
	l, r := eraseBegun(t)
	l.verb(state.VerbAbort)
	l.ok(conductor.StepEnded{ID: r.ID, Nonce: "n", Outcome: api.Aborted, Fault: fault.New(fault.StepAborted, "the step was aborted: /dev/nvme0n1 (S0): its first 3.4 GB are zeros")})
	l.want(state.CleanFail)
	want := "flow.aborted: Cleaning was aborted by request. Step deploy.erase_devices: the step was aborted: /dev/nvme0n1 (S0): its first 3.4 GB are zeros."
	if !strings.HasPrefix(l.s.Node.LastError, want) || l.s.Node.LastReason != fault.FlowAborted {
		t.Errorf("last error %q", l.s.Node.LastError)
	}
	if f := l.s.Steps[1].Fault; f == nil || !strings.Contains(f.Message, "3.4 GB") {
		t.Errorf("kept with the step: %+v", f)
	}
}
