package crash

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// sound is a node in the middle of a clean: its first step has succeeded, its second is at work.
func sound() Evidence {
	command := &api.Command{Devices: []inventory.DeviceID{{Serial: "A"}}}
	record := func(id step.ID, order int, s conductor.StepState) conductor.StepRecord {
		return conductor.StepRecord{ID: id, Node: "n", Run: "r", Order: order, Attempt: 1, State: s, Command: command, Offered: noon, Started: noon,
			Step: step.Step{Name: "deploy.x", Where: step.InBand}}
	}
	line := func(k ledger.Kind, id step.ID) ledger.Line {
		l := ledger.Line{Kind: k, Machine: "m", Step: id}
		switch k {
		case ledger.Begin, ledger.End:
			l.Device = "A"
		case ledger.Told:
			l.Outcome = api.Succeeded
		}
		return l
	}
	lines := []ledger.Line{
		line(ledger.Boot, ""), line(ledger.Started, "1"), line(ledger.Begin, "1"), line(ledger.End, "1"), line(ledger.Told, "1"),
		line(ledger.Started, "2"), line(ledger.Begin, "2"),
	}
	return Evidence{
		Before: lines, After: slices.Clone(lines),
		Promises: Promises{Verbs: []Promise{{"m", "provide", "req-1"}}, Tallies: map[string]int{"m": 3}},
		Stored: Stored{
			Nodes: []conductor.Node{{
				UUID: "n", Name: "m", State: state.CleanWait, Extra: map[string]any{"tally": 3.0},
				Flow: &conductor.Flow{Run: "r", Flow: state.Clean, Phase: conductor.PhaseAgent,
					Wait: &conductor.Wait{For: "the step to end", Owner: "agent", Since: noon, Deadline: noon.Add(time.Hour), Reason: fault.StepTimeout}},
			}},
			Steps:   []conductor.StepRecord{record("1", 0, conductor.StepSucceeded), record("2", 1, conductor.StepStarted)},
			History: []conductor.Entry{{Request: "req-1"}},
		},
	}
}

// gone takes the first step out of the database, which was seen in this state and since when its node has had so many runs.
func gone(e *Evidence, last conductor.StepState, runs int) {
	r := e.Stored.Steps[0]
	r.State = last
	e.Earlier.Steps = map[step.ID]conductor.StepRecord{r.ID: r}
	later := e.Stored.Steps[1]
	e.Stored.Steps = e.Stored.Steps[1:]
	for i := range runs - 1 {
		later.ID, later.Run, later.State, later.Command = step.ID(fmt.Sprint("later ", i)), fmt.Sprint("later ", i), conductor.StepSucceeded, nil
		e.Stored.Steps = append(e.Stored.Steps, later)
	}
}

// forgotten takes the accepted verb out of the history, which has so many lines.
func forgotten(e *Evidence, lines int) {
	e.Earlier.Requests = map[string]conductor.NodeID{"req-1": "n"}
	e.Stored.History = slices.Repeat([]conductor.Entry{{Node: "n", Request: "later"}}, lines)
}

func TestASoundSiteIsPassed(t *testing.T) {
	if broken := Check(sound()); len(broken) > 0 {
		t.Errorf("found %v", broken)
	}
}

// TestI08_I10_I13_I16_I29_EachBrokenPromiseIsFound breaks one promise at a time.
func TestI08_I10_I13_I16_I29_EachBrokenPromiseIsFound(t *testing.T) {
	add := func(e *Evidence, lines ...ledger.Line) {
		e.Before, e.After = append(e.Before, lines...), append(e.After, lines...)
	}
	kill, end2 := ledger.Line{Kind: ledger.Kill, Machine: "m"}, ledger.Line{Kind: ledger.End, Machine: "m", Step: "2", Device: "A"}
	for name, c := range map[string]struct {
		want  string // "": sound
		spoil func(*Evidence)
	}{
		"begun twice": {"I8", func(e *Evidence) {
			add(e, kill, ledger.Line{Kind: ledger.Begin, Machine: "m", Step: "2", Device: "A"})
		}},
		"begun after the end": {"I8", func(e *Evidence) {
			add(e, end2, ledger.Line{Kind: ledger.Begin, Machine: "m", Step: "1", Device: "A"})
		}},
		"begun, only offered": {"I8", func(e *Evidence) {
			e.Stored.Steps[1].State, e.Stored.Steps[1].Started = conductor.StepOffered, time.Time{}
		}},
		"two steps at once":       {"I16", func(e *Evidence) { add(e, ledger.Line{Kind: ledger.Begin, Machine: "m", Step: "2", Device: "B"}) }},
		"ended without a begin":   {"I8", func(e *Evidence) { add(e, ledger.Line{Kind: ledger.End, Machine: "m", Step: "2", Device: "B"}) }},
		"unknown to the database": {"I29", func(e *Evidence) { e.Stored.Steps = e.Stored.Steps[:1] }},
		"pruned after many runs":  {"", func(e *Evidence) { gone(e, conductor.StepSucceeded, conductor.KeptRuns) }},
		"gone after few runs":     {"I29", func(e *Evidence) { gone(e, conductor.StepSucceeded, conductor.KeptRuns-1) }},
		"gone while it was open":  {"I29", func(e *Evidence) { gone(e, conductor.StepStarted, conductor.KeptRuns) }},
		"pruned after many lines": {"", func(e *Evidence) { forgotten(e, conductor.KeptLines) }},
		"gone after few lines":    {"I29", func(e *Evidence) { forgotten(e, conductor.KeptLines-1) }},
		"answered start lost":     {"I29", func(e *Evidence) { e.Stored.Steps[1].Started = time.Time{} }},
		"taken end lost":          {"I29", func(e *Evidence) { e.Stored.Steps[0].State = conductor.StepStarted }},
		"taken success turned":    {"I29", func(e *Evidence) { e.Stored.Steps[0].State = conductor.StepFailed }},
		"success without work":    {"I10", func(e *Evidence) { e.Stored.Steps[1].State = conductor.StepSucceeded }},
		"work without success":    {"I10", func(e *Evidence) { add(e, end2); e.Rest = true }},
		"work cut off by a kill":  {"", func(e *Evidence) { add(e, end2, kill); e.Rest = true }},
		"work cut off by power":   {"I10", func(e *Evidence) { add(e, end2, ledger.Line{Kind: ledger.Off, Machine: "m"}); e.Rest = true }},
		"step overtaken":          {"I10", func(e *Evidence) { e.Stored.Steps[0].State = conductor.StepInterrupted; e.Before = nil }},
		"two steps open":          {"I16", func(e *Evidence) { e.Stored.Steps[0].State = conductor.StepOffered; e.Before = nil }},
		"state unknown":           {"I13", func(e *Evidence) { e.Stored.Nodes[0].State = "lost" }},
		"flow open in a rest":     {"I13", func(e *Evidence) { e.Stored.Nodes[0].State = state.Available }},
		"flow ended in a wait":    {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Phase = conductor.PhaseEnded }},
		"flow of another kind":    {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Flow = state.Deploy }},
		"nobody is waited for":    {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Wait.Owner = "" }},
		"no deadline":             {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Wait.Deadline = time.Time{} }},
		"no wait":                 {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Wait = nil }},
		"act that nobody will do": {"I13", func(e *Evidence) { e.Stored.Nodes[0].Flow.Wait.Owner = "bmc" }},
		"act that is on the list": {"", func(e *Evidence) {
			e.Stored.Nodes[0].Flow.Wait.Owner = "bmc"
			e.Stored.Effects = []conductor.Effect{{Node: "n", Run: "r"}}
		}},
		"accepted verb lost":        {"I29", func(e *Evidence) { e.Stored.History = nil }},
		"confirmed change lost":     {"I29", func(e *Evidence) { e.Stored.Nodes[0].Extra = nil }},
		"later change not yet told": {"", func(e *Evidence) { e.Stored.Nodes[0].Extra["tally"] = 4.0 }},
	} {
		t.Run(name, func(t *testing.T) {
			e := sound()
			c.spoil(&e)
			broken := Check(e)
			if c.want == "" && len(broken) > 0 || c.want != "" && !slices.ContainsFunc(broken, func(v Violation) bool { return v.Invariant == c.want }) {
				t.Errorf("found %v, expected %q", broken, c.want)
			}
		})
	}
}

// TestEveryStateHasAWayOut: the rule by which a stored state is judged holds for the table itself (I13).
func TestEveryStateHasAWayOut(t *testing.T) {
	for _, s := range state.All() {
		if !wayOut(s) {
			t.Errorf("nothing leads out of %q", s)
		}
	}
	if wayOut("lost") {
		t.Error("there is a way out of a state that there is not")
	}
}
