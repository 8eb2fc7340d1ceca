package step_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestProgressNeverGoesBack(t *testing.T) {
	last := step.Progress{Percent: 40, Devices: []step.DeviceProgress{{Device: "a", Percent: 70}, {Device: "b", Percent: 10}}}
	got := step.Progress{Percent: 30, Devices: []step.DeviceProgress{{Device: "b", Percent: 20}, {Device: "a", Percent: 5}, {Device: "c", Percent: 1}}}.After(&last)
	if got.Percent != 40 || got.Devices[0].Percent != 20 || got.Devices[1].Percent != 70 || got.Devices[2].Percent != 1 {
		t.Errorf("got %+v", got)
	}
	if last.Devices[0].Percent != 70 {
		t.Error("the report before was changed")
	}
	if first := (step.Progress{Percent: 3}).After(nil); first.Percent != 3 {
		t.Errorf("the first report: %+v", first)
	}
}

func TestProgressThatMakesNoSense(t *testing.T) {
	got := step.Progress{
		Percent: math.NaN(), Rate: math.Inf(1), Done: -1, Total: -1, Left: -time.Second,
		Devices:     []step.DeviceProgress{{Percent: 120, Rate: math.NaN(), Done: -1, Total: -1, Left: -1}},
		Checkpoints: make([]step.Checkpoint, step.MaxCheckpoints+1),
	}.After(nil)
	if _, err := json.Marshal(got); err != nil {
		t.Fatal(err)
	}
	d := got.Devices[0]
	if got.Percent != 0 || got.Rate != 0 || got.Done != 0 || got.Total != 0 || got.Left != 0 || d.Percent != 100 || d.Rate != 0 || d.Done != 0 || d.Total != 0 || d.Left != 0 {
		t.Errorf("got %+v", got)
	}
	if len(got.Checkpoints) != 0 {
		t.Errorf("%d checkpoints", len(got.Checkpoints))
	}
}

func TestProgressOfAnEnd(t *testing.T) {
	p := step.Progress{Percent: 97, Left: time.Minute, Uncut: "x", Checkpoints: []step.Checkpoint{{}}, Devices: []step.DeviceProgress{{Percent: 97, Left: time.Minute}}}
	got := p.Complete()
	if got.Percent != 100 || got.Left != 0 || got.Uncut != "" || got.Checkpoints != nil || got.Devices[0].Percent != 100 || got.Devices[0].Left != 0 {
		t.Errorf("got %+v", got)
	}
	if p.Devices[0].Percent != 97 {
		t.Error("what was reported was changed")
	}
}

func TestProgressIsPaced(t *testing.T) {
	for name, c := range map[string]struct {
		told      step.Progress
		ran, took time.Duration
		rate      float64
		left      time.Duration
	}{
		"by its percentage":                   {step.Progress{Percent: 20}, time.Minute, 0, 20. / 60, 4 * time.Minute},
		"by the last time":                    {step.Progress{Percent: 20}, time.Minute, 3 * time.Minute, 20. / 60, 2 * time.Minute},
		"by the last time, nothing done yet":  {step.Progress{}, time.Minute, 3 * time.Minute, 0, 2 * time.Minute},
		"longer than the last time":           {step.Progress{Percent: 50}, 4 * time.Minute, 3 * time.Minute, 50. / 240, 4 * time.Minute},
		"nothing known":                       {step.Progress{}, time.Minute, 0, 0, 0},
		"all done":                            {step.Progress{Percent: 100}, time.Minute, 3 * time.Minute, 100. / 60, 0},
		"hardly anything done":                {step.Progress{Percent: 1e-300}, time.Minute, 0, 1e-300 / 60, 30 * 24 * time.Hour},
		"no time passed":                      {step.Progress{Percent: 20}, 0, 0, 0, 0},
		"no time passed, but the last time":   {step.Progress{}, 0, time.Minute, 0, time.Minute},
		"a clock that went back":              {step.Progress{Percent: 20}, -time.Minute, 0, 0, 0},
		"what makes no sense":                 {step.Progress{Percent: math.NaN()}, time.Minute, 0, 0, 0},
		"an amount that tells its own rate":   {step.Progress{Percent: 20, Total: 5, Rate: 7, Left: time.Hour}, time.Minute, 0, 7, time.Hour},
		"an amount that does not, as in band": {step.Progress{Percent: 20, Total: 5}, time.Minute, 0, 0, 0},
	} {
		got := c.told.Paced(c.ran, c.took)
		if got.Rate != c.rate || got.Left != c.left {
			t.Errorf("%s: %v a second, %s left; expected %v, %s", name, got.Rate, got.Left, c.rate, c.left)
		}
		if c.told.Total == 0 && (got.Unit != "%" || got.Total != 100) {
			t.Errorf("%s: in %q of %d", name, got.Unit, got.Total)
		}
	}
}
