package load

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
)

// TestHour runs the hour with few machines, for seconds: nothing is lost, which measureHour itself looks at, and every
// figure is there. How fast it was is not a test's to judge.
func TestHour(t *testing.T) {
	h := Hour{Nodes: 50, Lasting: 3 * time.Second, Log: t.Output()}
	var s figures.Set
	err := onRack(t.Context(), "../../..", func(r *rack) error { return measureHour(t.Context(), r, &s, h) })
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Table())
	}
	got := map[string]float64{}
	for _, f := range s.Rows {
		got[f.What] = f.Value
	}
	for _, what := range []string{"at the end: nodes that failed", "steps that ran twice"} {
		if v, ok := got[what]; !ok || v != 0 {
			t.Errorf("%s: %v, %v", what, v, ok)
		}
	}
	for what, least := range map[string]float64{
		"at the end: machines whose step is in flight":               50,
		"at the end: nodes that the server has in clean wait":        50,
		"steps begun by the machines that are cleaned again":         1,
		"API, a node shown each second: asked":                       1,
		"server's memory at the end":                                 1,
		"server's open files at most":                                40,
		"write-ahead log at most":                                    0.001,
		"heartbeat with a connection of its own: median":             0,
		"held heartbeat, answered after its time: p99":               0,
		"until then: server's CPU for each machine, two steps begun": 0.01,
	} {
		if v, ok := got[what]; !ok || v < least {
			t.Errorf("%s: %v, expected at least %v", what, v, least)
		}
	}
	if t.Failed() {
		t.Log(s.Table())
	}
	if m := hourMethod(h); !strings.Contains(m, "50 machines") {
		t.Error(m)
	}
}

func TestFailedNodes(t *testing.T) {
	if n := failedNodes(map[string]int{"available": 3, "clean wait": 5, "clean failed": 2, "error": 1}); n != 3 {
		t.Error(n)
	}
}
