package crash

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	label       = `{"ServerLabel":"m-1"}`
	firmwareURL = "http://127.0.0.1/firmware/bios/m-1"
)

// bySession is a line of the BMC's.
func bySession(name, value, session string) ledger.Line {
	return ledger.Line{Kind: ledger.Act, Machine: "m", Name: name, Value: value, Session: session}
}

// life is a server's beginning, so many minutes after noon, and its session.
func life(minute int) []ledger.Line {
	return []ledger.Line{
		{Kind: ledger.Serve, At: noon.Add(time.Duration(minute) * time.Minute)}, bySession(bmc.ActLogin, "", fmt.Sprint("s", minute)),
	}
}

// soundBMC is the sound node, whose first step is one out of band: cut off in the first life, and repeated by a second
// attempt that succeeded.
func soundBMC(name string) Evidence {
	e := sound()
	attempt := func(id step.ID, minute, n int, s conductor.StepState) conductor.StepRecord {
		at := noon.Add(time.Duration(minute) * time.Minute)
		return conductor.StepRecord{ID: id, Node: "n", Run: "b", Order: 0, Attempt: n, State: s, Started: at.Add(time.Second), Ended: at.Add(30 * time.Second),
			Step: step.Step{Name: name, Where: step.OutOfBand}}
	}
	e.Stored.Steps = append(e.Stored.Steps, attempt("b1", 0, 1, conductor.StepInterrupted), attempt("b2", 10, 2, conductor.StepSucceeded))
	b := e.Stored.Steps[2:]
	b[0].Ended = noon.Add(10 * time.Minute)
	lines := life(0)
	if value := ""; name == "bios.apply_configuration" {
		value = label
		for i := range b {
			b[i].Args = step.Args{"settings": []any{map[string]any{"name": "ServerLabel", "value": "m-1"}}}
		}
		b[1].Result = &step.Result{Data: map[string]any{"changed": []any{"ServerLabel"}}}
		lines = append(append(lines, bySession(actOf[name], value, "s0")), life(10)...)
		lines = append(lines, bySession(actOf[name], value, "s10"), bySession(bmc.ActApplyBIOS, value, ""))
	} else if name == updateStep { // the second attempt finds what the first has sent
		for i := range b {
			b[i].Args = step.Args{"settings": []any{map[string]any{"component": "bios", "url": firmwareURL}}}
		}
		lines = append(append(lines, bySession(actOf[name], firmwareURL, "s0")), life(10)...)
		lines = append(lines, bySession(bmc.ActInstall, "bios m-1", ""))
	} else {
		lines = append(append(lines, bySession(actOf[name], "", "s0")), life(10)...)
		lines = append(lines, bySession(actOf[name], "", "s10"))
	}
	lines = append(lines, bySession(bmc.ActPowerOn, "Cd", ""))
	e.Before, e.After = append(lines, e.Before...), append(slices.Clone(lines), e.After...)
	return e
}

// TestI08_I10_I14_EachBrokenPromiseOutOfBandIsFound breaks one promise about a BMC's acts at a time.
func TestI08_I10_I14_EachBrokenPromiseOutOfBandIsFound(t *testing.T) {
	const apply, reset = "bios.apply_configuration", "management.reset_bmc"
	add := func(e *Evidence, lines ...ledger.Line) {
		e.Before, e.After = append(e.Before, lines...), append(e.After, lines...)
	}
	off := bySession(bmc.ActPowerOff, "", "")
	without := func(e *Evidence, name string) {
		gone := func(l ledger.Line) bool { return l.Name == name }
		e.Before, e.After = slices.DeleteFunc(e.Before, gone), slices.DeleteFunc(e.After, gone)
	}
	for name, c := range map[string]struct {
		step  string
		want  string // "": sound
		spoil func(*Evidence)
	}{
		"a retry writes again":          {apply, "", func(*Evidence) {}},
		"a retry resets again":          {reset, "", func(*Evidence) {}},
		"an image sent by the first":    {updateStep, "", func(*Evidence) {}},
		"an image sent again":           {updateStep, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActUpdate, firmwareURL, "s10")) }},
		"an image sent twice at once":   {updateStep, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActUpdate, firmwareURL, "s0")) }},
		"an image nobody asked for":     {updateStep, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActUpdate, firmwareURL+"2", "s10")) }},
		"success without installation":  {updateStep, "I10", func(e *Evidence) { without(e, bmc.ActInstall) }},
		"settings reset, and again":     {"bios.factory_reset", "", func(*Evidence) {}},
		"an attempt writes twice":       {apply, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActWriteBIOS, label, "s10")) }},
		"an attempt resets twice":       {reset, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActResetBMC, "", "s10")) }},
		"an attempt resets BIOS twice":  {"bios.factory_reset", "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActResetBIOS, "", "s10")) }},
		"a value nobody asked for":      {apply, "I8", func(e *Evidence) { add(e, off, bySession(bmc.ActWriteBIOS, `{"ServerLabel":"x"}`, "s10")) }},
		"the first attempt goes on":     {apply, "I8", func(e *Evidence) { e.Stored.Steps = e.Stored.Steps[:3] }},
		"never recorded as started":     {reset, "I8", func(e *Evidence) { e.Stored.Steps[3].Started = time.Time{} }},
		"success without the act":       {reset, "I10", func(e *Evidence) { without(e, bmc.ActResetBMC) }},
		"success without taking effect": {apply, "I10", func(e *Evidence) { without(e, bmc.ActApplyBIOS) }},
		"as wanted already":             {apply, "", func(e *Evidence) { e.Stored.Steps[3].Result.Data["changed"] = []any{} }},
		"success, first attempt only":   {apply, "I10", func(e *Evidence) { e.After = slices.Delete(e.After, 5, 6) }},
		"a reset while the ramdisk runs": {reset, "I10", func(e *Evidence) {
			add(e, bySession(bmc.ActResetBMC, "", "s10"))
			e.Stored.Steps = append(e.Stored.Steps, e.Stored.Steps[3])
		}},
		"a reset after the ramdisk": {reset, "", func(e *Evidence) {
			add(e, off, bySession(bmc.ActResetBMC, "", "s10"))
			e.Stored.Steps = append(e.Stored.Steps, e.Stored.Steps[3])
		}},
		"power on as often as one likes": {reset, "", func(e *Evidence) { add(e, bySession(bmc.ActPowerOn, "Cd", ""), bySession(bmc.ActPowerOn, "Cd", "")) }},
		"what the dead server had sent": {reset, "I8", func(e *Evidence) { // it counts for that server, which had one attempt
			add(e, off, bySession(bmc.ActResetBMC, "", "s0"))
		}},
		"interrupted by nobody": {reset, "I14", func(e *Evidence) { e.Stored.Steps[2].Ended = noon.Add(time.Minute); atRest(e) }},
		"open at rest": {reset, "I14", func(e *Evidence) {
			e.Stored.Steps[3].State, e.Stored.Steps[3].Ended = conductor.StepStarted, time.Time{}
			atRest(e)
		}},
		"cut off by a kill": {reset, "", atRest},
	} {
		t.Run(name, func(t *testing.T) {
			e := soundBMC(c.step)
			c.spoil(&e)
			broken := Check(e)
			if c.want == "" && len(broken) > 0 || c.want != "" && !slices.ContainsFunc(broken, func(v Violation) bool { return v.Invariant == c.want }) {
				t.Errorf("found %v, expected %q", broken, c.want)
			}
		})
	}
}

// atRest is the evidence when nothing is at work any more.
func atRest(e *Evidence) { e.Rest = true }
