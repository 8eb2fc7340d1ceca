package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// form is what a server does with an end before it looks at what it says.
func form(e Ended) error {
	body, err := json.Marshal(e.Request(1))
	if err != nil {
		return err
	}
	var q api.ResultRequest
	if err := api.Decode(bytes.NewReader(body), api.MaxBody, &q); err != nil {
		return err
	}
	return q.Check()
}

// TestT17_LongTextsOfAStepAreCut: the heartbeats of a running step and its end are taken, whatever it says of itself.
func TestT17_LongTextsOfAStepAreCut(t *testing.T) {
	long := strings.Repeat("x", 127) + "ü\n"
	said := step.Progress{Percent: 42, Item: long, Unit: long, Uncut: long, Devices: []step.DeviceProgress{{Device: long, Percent: 60}}}
	r := one(t, func(ctx context.Context, c step.Call) (step.Result, error) {
		c.Report(said)
		said.Devices[0].Percent = 50
		c.Report(said)
		<-ctx.Done()
		return step.Result{}, ctx.Err()
	}, func(p *process) {
		id, got := p.exec.Running()
		if err := (api.HeartbeatRequest{Seq: 1, Running: id, Progress: got}).Check(); err != nil {
			t.Errorf("the heartbeat: %v", err)
		}
		if got.Item != strings.Repeat("x", 127) || got.Devices[0].Percent != 60 {
			t.Errorf("told %+v", got)
		}
		p.exec.Abort(id)
	})
	if err := form(r.end); err != nil || r.end.Outcome != api.Aborted || r.end.Progress.Percent != 42 {
		t.Errorf("%v: %+v", err, r.end)
	}
}

// TestT17_AResultThatIsTooLargeIsAFailedEnd: it is told, and says what was too large.
func TestT17_AResultThatIsTooLargeIsAFailedEnd(t *testing.T) {
	var deep any = "x"
	for range api.MaxDepth {
		deep = []any{deep}
	}
	for says, x := range map[string]any{
		"more than 4096 elements": make([]int, api.MaxElements+1),
		"deeper than 32 levels":   deep,
		"at most 524288":          strings.Repeat("x", api.MaxResult),
		"unsupported value":       math.NaN(),
	} {
		r := one(t, func(_ context.Context, c step.Call) (step.Result, error) {
			c.Report(step.Progress{Percent: 90})
			return step.Result{Data: map[string]any{"x": x}}, nil
		}, nil)
		if err := form(r.end); err != nil || r.end.Outcome != api.Failed || r.end.Result != nil || r.end.Fault.Reason != string(fault.StepResult) || !strings.Contains(r.end.Fault.Message, says) {
			t.Errorf("%s: %v: %+v, %+v", says, err, r.end, r.end.Fault)
		}
	}
}

// TestT17_AnErrorOfAnyLengthIsTold: of a tool's output, or of what a stopped step left.
func TestT17_AnErrorOfAnyLengthIsTold(t *testing.T) {
	text := strings.Repeat("sector 7 is bad\n", api.MaxBody/10)
	r := one(t, func(context.Context, step.Call) (step.Result, error) { return step.Result{}, errors.New(text) }, nil)
	if err := form(r.end); err != nil || r.end.Outcome != api.Failed || !strings.HasPrefix(r.end.Fault.Message, "sector 7") {
		t.Errorf("%v: outcome %s", err, r.end.Outcome)
	}
	r = one(t, func(ctx context.Context, _ step.Call) (step.Result, error) {
		<-ctx.Done()
		return step.Result{}, &step.Stopped{Left: text, Err: context.Cause(ctx)}
	}, func(p *process) { p.exec.Abort("one") })
	if err := form(r.end); err != nil || r.end.Outcome != api.Aborted {
		t.Errorf("%v: outcome %s", err, r.end.Outcome)
	}
}

// TestI29_AnEndRefusedByItsFormIsToldAgain: without what the step left, and for as long as it takes. It is over when the
// server has taken it, or has said that it does not want it.
func TestI29_AnEndRefusedByItsFormIsToldAgain(t *testing.T) {
	result, progress := &step.Result{Data: map[string]any{"x": 1}}, &step.Progress{Percent: 7}
	why := &api.Fault{Code: "internal", Reason: string(fault.DiskIO), Message: "bad sector"}
	for name, c := range map[string]struct {
		end  Ended
		want Ended
	}{
		"a success": {Ended{ID: "one", Nonce: "mine", Outcome: api.Succeeded, Result: result, Progress: progress}, Ended{Outcome: api.Failed, Fault: &api.Fault{Reason: string(fault.StepResult)}}},
		"a failure": {Ended{ID: "one", Nonce: "mine", Outcome: api.Failed, Fault: why, Progress: progress}, Ended{Outcome: api.Failed, Fault: why}},
		"an abort":  {Ended{ID: "one", Nonce: "mine", Outcome: api.Aborted, Fault: why, Progress: progress}, Ended{Outcome: api.Aborted, Fault: why}},
	} {
		m, err := Memory{}.With(Line{Claim: &ClaimLine{ID: "one", Step: "deploy.work", Nonce: "mine"}})
		if err == nil {
			m, err = m.With(Line{Ended: &c.end})
		}
		if err != nil {
			t.Fatal(err)
		}
		told := after(t, NewCore(m, rules), Booted{})
		unfit := Told{ID: "one", Nonce: "mine", Verdict: Unfit, Why: "the body is not JSON"}
		told, call, ok := did[CallResult](t, told, unfit)
		if got := call.Ended; !ok || got.ID != "one" || got.Nonce != "mine" || got.Outcome != c.want.Outcome || got.Result != nil || got.Progress != nil ||
			got.Fault.Reason != c.want.Fault.Reason || !strings.Contains(got.Fault.Message, c.want.Fault.Message) {
			t.Fatalf("%s: told again %t as %+v, %+v", name, ok, got, got.Fault)
		}
		if c.end.Outcome == api.Succeeded && !strings.Contains(call.Ended.Fault.Message, unfit.Why) {
			t.Errorf("%s: it says %q", name, call.Ended.Fault.Message)
		}
		for range 3 {
			waits, timer, ok := did[SetTimer](t, told, unfit)
			if _, _, over := did[WriteJournal](t, told, unfit); over || !ok {
				t.Fatalf("%s: refused again, and it is forgotten: %t", name, over)
			}
			if told, call, ok = did[CallResult](t, waits, Fired{Timer: timer.Timer}); !ok || call.Ended.Result != nil {
				t.Fatalf("%s: it is not told again: %+v", name, call)
			}
		}
		for _, v := range []Verdict{Yes, No} {
			if _, line, ok := did[WriteJournal](t, told, Told{ID: "one", Nonce: "mine", Verdict: v}); !ok || line.Line.Over != "one" {
				t.Errorf("%s: verdict %d, and it is not over: %+v", name, v, line)
			}
		}
	}
}

// TestI29_WhatARefusalSays: of the form alone it says nothing of the step.
func TestI29_WhatARefusalSays(t *testing.T) {
	for reason, want := range map[fault.Reason]Verdict{
		fault.RequestInvalid: Unfit, fault.RequestTooLarge: Unfit,
		fault.StepNotOffered: No, fault.ChannelStartLost: No, fault.ChannelToken: Unsure, fault.StorageUnavailable: Unsure,
	} {
		if got := VerdictOf(fault.New(reason, "no")); got != want {
			t.Errorf("%s is %d, want %d", reason, got, want)
		}
	}
	asks := phases(t)[asking]
	if c, _, ok := did[WriteJournal](t, asks, Answered{ID: "one", Nonce: "mine", Verdict: Unfit}); !ok || c.phase != closing {
		t.Errorf("a claim refused by its form: phase %d", c.phase)
	}
}
