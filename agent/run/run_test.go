package run

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}

// one runs a single command to its end and gives the server's record of it.
func one(t *testing.T, work func(context.Context, step.Call) (step.Result, error), meanwhile func(*process)) (r record) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		p := w.boot(0, work)
		defer p.stop()
		p.exec.Command(command("one"))
		synctest.Wait()
		if meanwhile != nil {
			meanwhile(p)
		}
		settle()
		r = w.get("one")
	})
	return r
}

func untilDone(ctx context.Context, _ step.Call) (step.Result, error) {
	<-ctx.Done()
	return step.Result{}, fmt.Errorf("write: %w", ctx.Err())
}

func TestResultIsTold(t *testing.T) {
	r := one(t, func(_ context.Context, c step.Call) (step.Result, error) {
		c.Report(step.Progress{Percent: 42})
		return step.Result{Data: map[string]any{"id": string(c.ID)}}, nil
	}, nil)
	if r.end.Outcome != api.Succeeded || r.end.Result.Data["id"] != "one" || r.end.Progress.Percent != 42 || r.end.Fault != nil {
		t.Errorf("%+v", r.end)
	}
}

func TestFailureIsTold(t *testing.T) {
	for want, err := range map[fault.Reason]error{
		fault.StepFailed: errors.New("the arm fell off"),
		fault.DiskIO:     fmt.Errorf("erase: %w", fault.New(fault.DiskIO, "bad sector")),
	} {
		r := one(t, func(context.Context, step.Call) (step.Result, error) { return step.Result{}, err }, nil)
		if r.end.Outcome != api.Failed || r.end.Fault.Reason != string(want) || r.end.Fault.Message == "" || r.end.Result != nil {
			t.Errorf("%s: %+v", want, r.end)
		}
	}
}

func TestF17_PanicIsTold(t *testing.T) {
	r := one(t, func(context.Context, step.Call) (step.Result, error) { panic("index out of range") }, nil)
	if r.end.Outcome != api.Failed || r.end.Fault.Reason != string(fault.StepPanic) {
		t.Errorf("%+v", r.end)
	}
}

func TestF40_Abort(t *testing.T) {
	var running step.ID
	r := one(t, untilDone, func(p *process) {
		running, _ = p.exec.Running()
		p.exec.Abort("another")
		synctest.Wait()
		if r := p.get("one"); r.state != "started" {
			t.Errorf("the abort of another step ended this one: %+v", r)
		}
		p.exec.Abort("one")
	})
	if running != "one" {
		t.Errorf("running was %q", running)
	}
	if r.end.Outcome != api.Aborted || r.end.Fault.Reason != string(fault.StepAborted) {
		t.Errorf("%+v", r.end)
	}
}

// TestF40_AbortBeforeTheAnswer: the server may have recorded the claim, so its end is told, and nothing runs.
func TestF40_AbortBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		healed := false
		w.lose = func(int) (bool, bool) { return false, !healed }
		w.offer("one")
		p := w.boot(0, well)
		defer p.stop()
		p.exec.Command(command("one"))
		synctest.Wait()
		p.exec.Abort("one")
		synctest.Wait()
		w.mu.Lock()
		healed = true
		w.mu.Unlock()
		settle()
		if r := w.get("one"); r.end.Outcome != api.Aborted || w.runs["one"] != 0 {
			t.Errorf("%+v, ran %d times", r, w.runs["one"])
		}
	})
}

func TestAbortOfWhatSucceedsAnyway(t *testing.T) {
	r := one(t, func(ctx context.Context, _ step.Call) (step.Result, error) {
		<-ctx.Done()
		return step.Result{}, nil
	}, func(p *process) { p.exec.Abort("one") })
	if r.end.Outcome != api.Succeeded {
		t.Errorf("%+v", r.end)
	}
}

func TestAbortKeepsACauseThatTheStepNames(t *testing.T) {
	r := one(t, func(ctx context.Context, _ step.Call) (step.Result, error) {
		<-ctx.Done()
		return step.Result{}, fault.New(fault.DiskIO, "bad sector")
	}, func(p *process) { p.exec.Abort("one") })
	if r.end.Outcome != api.Failed || r.end.Fault.Reason != string(fault.DiskIO) {
		t.Errorf("%+v", r.end)
	}
}

func TestF16_Deadline(t *testing.T) {
	r := one(t, untilDone, func(*process) { <-time.After(time.Hour) })
	if r.end.Outcome != api.Failed || r.end.Fault.Reason != string(fault.StepTimeout) {
		t.Errorf("%+v", r.end)
	}
}

// TestF16_StepThatDoesNotStop is given up and told, the agent lives, and nothing else touches the devices.
func TestF16_StepThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		free := make(chan struct{})
		p := w.boot(0, func(context.Context, step.Call) (step.Result, error) { <-free; return step.Result{}, nil })
		defer p.stop()
		p.exec.Command(command("one"))
		synctest.Wait()
		p.exec.Abort("one")
		<-time.After(2 * time.Minute)
		settle()
		if r := w.get("one"); r.end.Outcome != api.Failed || r.end.Fault.Reason != string(fault.StepTimeout) {
			t.Errorf("%+v", r.end)
		}
		w.offer("two")
		p.exec.Command(command("two"))
		settle()
		if r := w.get("two"); r.end.Outcome != api.Failed || w.runs["two"] != 0 {
			t.Errorf("%+v, ran %d times", r, w.runs["two"])
		}
		close(free)
		settle()
		if r := w.get("one"); r.taken != 1 || r.end.Outcome != api.Failed {
			t.Errorf("its late end was told: %+v", r)
		}
	})
}

// TestF12_Duplicates: commands come again before, while and after the step runs, and long after.
func TestF12_Duplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		p := w.boot(0, func(ctx context.Context, _ step.Call) (step.Result, error) {
			<-time.After(5 * time.Second)
			return step.Result{}, nil
		})
		defer p.stop()
		for range 200 {
			p.exec.Command(command("one"))
			<-time.After(100 * time.Millisecond)
		}
		// Even a server that forgot (a restored backup) does not make it run again.
		w.offer("one")
		p.exec.Command(command("one"))
		settle()
		if w.runs["one"] != 1 || w.get("one").state != "offered" {
			t.Errorf("ran %d times: %+v", w.runs["one"], w.get("one"))
		}
	})
}

// TestI08_NotRunWhenRefused: without the server's word nothing runs.
func TestI08_NotRunWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.boot(0, well)
		defer p.stop()
		p.exec.Command(command("stranger"))
		settle()
		w.offer("one")
		p.exec.Command(command("one"))
		settle()
		if w.runs["stranger"] != 0 || w.runs["one"] != 1 {
			t.Errorf("ran %v", w.runs)
		}
	})
}

// TestI12_ShutDownIsNoEnd: a step cut off by the end of the process is told as interrupted by the next one.
func TestI12_ShutDownIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		p := w.boot(0, untilDone)
		p.exec.Command(command("one"))
		synctest.Wait()
		p.stop()
		if r := w.get("one"); r.state != "started" {
			t.Fatalf("the dying process told %+v", r)
		}
		p = w.boot(0, well)
		defer p.stop()
		settle()
		if r := w.get("one"); r.end.Outcome != api.Interrupted || r.end.Fault.Reason != string(fault.StepInterrupted) {
			t.Errorf("%+v", r.end)
		}
	})
}

// TestRefusalsThatAnOperatorCanLift do not lose a result.
func TestRefusalsThatAnOperatorCanLift(t *testing.T) {
	for reason, want := range map[fault.Reason]bool{
		fault.ChannelToken: false, fault.ChannelSource: false, fault.ChannelWindow: false, fault.NodeContested: false,
		fault.ChannelStale: false, fault.StorageUnavailable: false, fault.InternalError: false, fault.StateConflict: false,
		fault.ChannelStartLost: true, fault.StepNotOffered: true, fault.RequestInvalid: false, fault.StepLevel: true,
	} {
		if got := VerdictOf(fmt.Errorf("result: %w", fault.New(reason, "no"))) == No; got != want {
			t.Errorf("%s: final is %v", reason, got)
		}
	}
	if VerdictOf(errors.New("connection reset")) != Unsure {
		t.Error("a lost connection is taken for an answer")
	}
}

func TestI20_SecretsOutsideTheListAreRefused(t *testing.T) {
	var listed []byte
	var other error
	one(t, func(ctx context.Context, c step.Call) (step.Result, error) {
		var err error
		if listed, err = c.Secret(ctx, "configdrive"); err != nil {
			return step.Result{}, err
		}
		_, other = c.Secret(ctx, "bmc_password")
		return step.Result{}, nil
	}, nil)
	if string(listed) != "configdrive of one" || !fault.Has(other, fault.RequestForbidden) {
		t.Errorf("%q, %v", listed, other)
	}
}

func TestProgressNeverGoesBack(t *testing.T) {
	var p progress
	if p.latest() != nil {
		t.Error("progress before any")
	}
	last := 0.0
	for _, v := range []float64{5, 3, math.NaN(), -1, 50, math.Inf(1), 20} {
		p.report(step.Progress{Percent: v, Rate: v, Devices: []step.DeviceProgress{{Percent: v, Rate: v}}})
		got := p.latest()
		if !(got.Percent >= last && got.Percent <= 100) || !(got.Rate >= 0 && got.Rate < math.MaxFloat64) || !(got.Devices[0].Percent <= 100) {
			t.Errorf("after %v: %+v", v, got)
		}
		last = got.Percent
	}
}

// TestAbortTellsWhatIsLeft: what a step says that it left behind is told with its end.
func TestAbortTellsWhatIsLeft(t *testing.T) {
	r := one(t, func(ctx context.Context, c step.Call) (step.Result, error) {
		c.Report(step.Progress{Percent: 40, Checkpoints: []step.Checkpoint{{Method: "m", Until: 1}}})
		<-ctx.Done()
		return step.Result{}, fmt.Errorf("close: %w", &step.Stopped{Left: "sda: half of it", Err: context.Cause(ctx)})
	}, func(p *process) { p.exec.Abort("one") })
	if r.end.Outcome != api.Aborted || r.end.Fault.Reason != string(fault.StepAborted) || !strings.HasSuffix(r.end.Fault.Message, "aborted: sda: half of it") || r.end.Progress.Percent != 40 {
		t.Errorf("%+v", r.end)
	}
}

// TestStepCantSayThatItWasAborted: only who asked for an abort gets one.
func TestStepCantSayThatItWasAborted(t *testing.T) {
	r := one(t, func(context.Context, step.Call) (step.Result, error) {
		return step.Result{}, fault.New(fault.StepAborted, "so I say")
	}, func(*process) {})
	if r.end.Outcome != api.Failed {
		t.Errorf("%+v", r.end)
	}
}

// TestI07_StepIsNotGivenUpWhileItCantBeCutOff: the grace begins when what can't be cut off has ended.
func TestI07_StepIsNotGivenUpWhileItCantBeCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.offer("one")
		p := w.boot(0, func(ctx context.Context, c step.Call) (step.Result, error) {
			c.Report(step.Progress{Uncut: "a drive's own format"})
			<-time.After(3 * time.Hour)
			return step.Result{}, ctx.Err()
		})
		defer p.stop()
		p.exec.Command(command("one"))
		synctest.Wait()
		p.exec.Abort("one")
		<-time.After(2 * time.Hour)
		synctest.Wait()
		if r := w.get("one"); r.state != "started" {
			t.Fatalf("given up: %+v", r)
		}
		<-time.After(time.Hour + time.Minute)
		settle()
		if r := w.get("one"); r.end.Outcome != api.Aborted {
			t.Errorf("%+v", r)
		}
		w.offer("two")
		p.exec.Command(command("two"))
		<-time.After(3 * time.Hour)
		settle()
		if w.runs["two"] != 1 {
			t.Error("nothing else runs in this boot")
		}
	})
}
