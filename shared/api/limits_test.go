package api

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// taken sends a message through what a server does with it before it looks at what it says.
func taken[Q interface{ Check() error }](t *testing.T, q Q) error {
	t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var back Q
	if err := Decode(bytes.NewReader(body), MaxBody, &back); err != nil {
		return err
	}
	return back.Check()
}

func beat(p step.Progress) HeartbeatRequest {
	return HeartbeatRequest{Seq: 1, Running: "one", Progress: &p}
}

// fill sets every text of v to s, in lists of one element, so that a field that is added later is not forgotten.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), s)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), s)
	}
}

// TestT17_AnyTextOfAProgressIsMadeToFit: a vendor's step says what it likes, and its heartbeats are heard all the same.
func TestT17_AnyTextOfAProgressIsMadeToFit(t *testing.T) {
	for name, s := range map[string]string{
		"fits":               strings.Repeat("x", 128),
		"one too long":       strings.Repeat("x", 129),
		"much too long":      strings.Repeat("<", 5000),
		"between characters": strings.Repeat("x", 127) + "ü",
		"control":            "line one\nline two\x00\x7f",
		"no UTF-8":           strings.Repeat("\xff", 128),
		"all of it":          strings.Repeat("ü\n\xc3", 100),
	} {
		var p step.Progress
		fill(reflect.ValueOf(&p).Elem(), s)
		if fits := taken(t, beat(p)) == nil; fits != (name == "fits") {
			t.Errorf("%s: taken as it is: %t", name, fits)
		}
		before := p.Item
		got := FitProgress(p)
		if err := taken(t, beat(got)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Item != before || p.Devices[0].Device != before {
			t.Errorf("%s: what was reported was changed", name)
		}
		if name == "fits" && !reflect.DeepEqual(got, p) {
			t.Errorf("what fits became %+v", got)
		}
		if !utf8.ValidString(got.Item) || len(got.Item) < 1 || len(got.Item) > 128 {
			t.Errorf("%s: the item is %q", name, got.Item)
		}
	}
	if got := FitProgress(step.Progress{Item: strings.Repeat("x", 127) + "ü", Unit: "a\tb"}); got.Item != strings.Repeat("x", 127) || got.Unit != "a b" {
		t.Errorf("got %q and %q", got.Item, got.Unit)
	}
}

// TestI25_AProgressOfAnySizeIsMadeToFit: so does one with more disks than a message holds, and one that makes no sense.
func TestI25_AProgressOfAnySizeIsMadeToFit(t *testing.T) {
	long := strings.Repeat("<", 128)
	var many, sensible []step.Checkpoint
	for range step.MaxCheckpoints {
		many = append(many, step.Checkpoint{Disk: inventory.DeviceID{Serial: long, WWN: long, Class: inventory.Class(long)}, Method: long})
		sensible = append(sensible, step.Checkpoint{Disk: inventory.DeviceID{Serial: "S0", Size: 9}, Method: "overwrite", Until: 9})
	}
	devices := make([]step.DeviceProgress, 5000)
	for i := range devices {
		devices[i] = step.DeviceProgress{Device: long, Method: long, Stage: long, Verify: long}
	}
	for name, p := range map[string]step.Progress{
		"disks":           {Percent: 4, Devices: devices},
		"both":            {Percent: 4, Devices: devices, Checkpoints: many},
		"checkpoints":     {Percent: 4, Checkpoints: many},
		"beyond its disk": {Percent: 4, Checkpoints: []step.Checkpoint{{Until: 1}, sensible[0]}},
		"no numbers":      {Percent: 4, Rate: math.NaN(), Done: -1, Left: -time.Second, Devices: []step.DeviceProgress{{Rate: math.Inf(1), Total: -1}}},
	} {
		got := FitProgress(p)
		if err := taken(t, beat(got)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got.Percent != 4 || len(p.Devices) > 0 && len(got.Devices) == 0 {
			t.Errorf("%s: %g %%, %d devices are left", name, got.Percent, len(got.Devices))
		}
		if name == "beyond its disk" && !reflect.DeepEqual(got.Checkpoints, sensible[:1]) {
			t.Errorf("the checkpoints left are %+v", got.Checkpoints)
		}
	}
	if got := FitProgress(step.Progress{Checkpoints: sensible}); len(got.Checkpoints) != step.MaxCheckpoints {
		t.Errorf("%d checkpoints are left", len(got.Checkpoints))
	}
}

// TestI25_AResultIsCheckedAsTheServerDoes: what CheckResult lets pass is taken, with the largest progress beside it.
func TestI25_AResultIsCheckedAsTheServerDoes(t *testing.T) {
	deep := func(n int) any {
		var v any = "x"
		for range n {
			v = []any{v}
		}
		return v
	}
	wide := step.Progress{Devices: make([]step.DeviceProgress, 5000), Checkpoints: make([]step.Checkpoint, step.MaxCheckpoints)}
	for i := range wide.Devices {
		wide.Devices[i].Device = strings.Repeat("<", 128)
	}
	wide = FitProgress(wide)
	for name, c := range map[string]struct {
		data map[string]any
		says string // "" when it is taken
	}{
		"nothing":                  {nil, ""},
		"a long list":              {map[string]any{"x": make([]int, MaxElements)}, ""},
		"a longer list":            {map[string]any{"x": make([]int, MaxElements+1)}, "a list or object has more than 4096 elements"},
		"deep":                     {map[string]any{"x": deep(MaxDepth - 3)}, ""},
		"deeper":                   {map[string]any{"x": deep(MaxDepth - 2)}, "nested deeper than 32 levels"},
		"large":                    {map[string]any{"x": strings.Repeat("x", MaxResult-100)}, ""},
		"larger":                   {map[string]any{"x": strings.Repeat("x", MaxResult)}, "bytes, at most 524288 are accepted"},
		"no JSON":                  {map[string]any{"x": math.NaN()}, "unsupported value"},
		"a number nobody can hold": {map[string]any{"x": json.Number("1e999")}, "field"},
	} {
		r := step.Result{Data: c.data}
		err := CheckResult(r)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		end := ResultRequest{Seq: 1, ID: "one", Nonce: "0123456789abcdef", Outcome: Succeeded, Result: &r, Progress: &wide}
		if err := taken(t, end); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
}

// TestI25_AFaultIsMadeToFit: an error may quote megabytes of what a tool printed.
func TestI25_AFaultIsMadeToFit(t *testing.T) {
	for _, s := range []string{"short", strings.Repeat("ü", MaxMessage), strings.Repeat("\xffa", MaxBody)} {
		f := FitFault(Fault{Code: "internal", Reason: string(fault.StepFailed), Message: s, Hint: s})
		end := ResultRequest{Seq: 1, ID: "one", Nonce: "0123456789abcdef", Outcome: Failed, Fault: &f}
		if err := taken(t, end); err != nil {
			t.Error(err)
		}
		if len(f.Message) > MaxMessage || len(f.Hint) > MaxMessage || !utf8.ValidString(f.Message) {
			t.Errorf("%d bytes of message, %d of hint", len(f.Message), len(f.Hint))
		}
		if s == "short" && (f.Message != s || f.Hint != s) || s != "short" && !strings.HasSuffix(f.Message, " ...") {
			t.Errorf("%.20s... became %q", s, f.Message)
		}
	}
}
