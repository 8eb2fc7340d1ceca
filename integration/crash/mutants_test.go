package crash

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// cut takes one guard out of the server: in file the text guard, which must be there exactly once, becomes instead.
type cut struct{ file, guard, instead string }

// serverMutant is a server without a guard, and when that shows.
type serverMutant struct {
	cuts  []cut
	agent string // a mistake of the agents', which the guard is for; "": none
	// mark is where the server dies, or the agent when there is one with a mistake.
	mark string
}

var serverMutants = map[string]serverMutant{
	// After a crash a step out of band is begun once more under its old id.
	"goes-on": {
		cuts: []cut{
			{"server/engine/run.go", "if e.Kind != conductor.EffectRunStep || inLine[e.Step] {", "if true {"},
			{"server/engine/turn.go", "eng.notBegun(run, e, err)\n\t\t\t\treturn false", "return true"},
		},
		mark: "bios.write.after:1",
	},
	// An agent that has forgotten what it ran is offered the started step again, and let start it.
	"offers-again": {
		cuts: []cut{
			{"server/conductor/decide/agent.go", "if r.State == conductor.StepOffered {", "if true {"},
			{"server/engine/effects.go", "case r.State == conductor.StepOffered && r.Command != nil:", "case r.Command != nil:"},
			{"server/conductor/decide/agent.go", "case r.State == conductor.StepStarted && same(r.Nonce, e.Ask.Nonce):", "case r.State == conductor.StepStarted:"},
		},
		agent: "forgetful", mark: "run.after:1",
	},
}

// from takes the guard out of the file's text, which is read unless it is given.
func (c cut) from(t *testing.T, root string, text []byte) []byte {
	t.Helper()
	if text == nil {
		var err error
		if text, err = os.ReadFile(filepath.Join(root, c.file)); err != nil {
			t.Fatal(err)
		}
	}
	if n := bytes.Count(text, []byte(c.guard)); n != 1 {
		t.Fatalf("%s has the guard %q %d times, expected once: what is the guard now?", c.file, c.guard, n)
	}
	return bytes.Replace(text, []byte(c.guard), []byte(c.instead), 1)
}

// TestTheGuardsAreThere: who rewrites a guard that the harness takes out is told at once, not by the long tests.
func TestTheGuardsAreThere(t *testing.T) {
	for name, m := range serverMutants {
		if m.mark == "" || len(m.cuts) == 0 {
			t.Errorf("%s: nothing would show", name)
		}
		for _, c := range m.cuts {
			c.from(t, filepath.Join("..", ".."), nil)
		}
	}
}
