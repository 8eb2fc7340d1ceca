package plan

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What explain says is what the plan uses.
func TestExplainAgreesWithThePlan(t *testing.T) {
	s := nodetest.Snapshot()
	at := func(kind conductor.ScopeKind, name, key string, v any) conductor.Default {
		return conductor.Default{Scope: conductor.Scope{Kind: kind, Name: name}, Flow: state.Clean, Step: catalog.EraseStep, Key: key, Value: v}
	}
	set := []conductor.Default{
		at(conductor.Fleet, "", "args.method", "overwrite"), at(conductor.Group, "g", "args.method", "auto"),
		at(conductor.Trait, "T", conductor.KeyPriority, 100.0), at(conductor.One, "u", "args.verify", "full"),
	}
	p := Build(Input{Node: s.Node, Ask: conductor.Provision{Verb: state.VerbProvide}, Registry: s.Registry, Defaults: set})
	compared := 0
	for _, e := range defaults.Explain(s.Registry, set) {
		for _, it := range p.Items {
			if it.Step.Name != e.Step || e.Flow != state.Clean {
				continue
			}
			compared++
			value, origin := any(float64(it.Priority.Value)), it.Priority.Origin
			if name, ok := strings.CutPrefix(e.Key, conductor.KeyArgument); ok {
				value, origin = it.Args[name], it.Origins[name]
			}
			if value != e.Value || origin != e.Origin {
				t.Errorf("%s %s: the plan has %v from %s, explained is %v from %s", e.Step, e.Key, value, origin, e.Value, e.Origin)
			}
		}
	}
	if compared != 4 {
		t.Errorf("%d values were compared, want 4", compared)
	}
}
