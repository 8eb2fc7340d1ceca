package conductor

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestScopes(t *testing.T) {
	for _, text := range []string{"fleet", "group:rack1", "trait:CUSTOM_A", "node:n1", "group:a:b"} {
		if s, err := ParseScope(text); err != nil || s.String() != text {
			t.Errorf("%s became %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "rack1", "fleet:all", "group:", "group", "nodes:n1", "trait:a\nb", "group:" + strings.Repeat("x", 256)} {
		if s, err := ParseScope(text); !fault.Has(err, fault.RequestInvalid) || fault.From(err).Hint == "" {
			t.Errorf("%q became %s, %v", text, s, err)
		}
	}
	n := Node{UUID: "u", Group: "g", Traits: []string{"CUSTOM_B", "CUSTOM_A"}}
	show := func() string {
		var out []string
		for _, s := range NodeScopes(n) {
			out = append(out, s.String())
		}
		return strings.Join(out, " ")
	}
	if got := show(); got != "fleet group:g trait:CUSTOM_A trait:CUSTOM_B node:u" {
		t.Error(got)
	}
	n.Extra, n.Traits = map[string]any{LabelGroup: "label"}, nil
	if got := show(); got != "fleet group:label node:u" {
		t.Error(got)
	}
	n.Extra, n.Group = nil, ""
	if got := show(); got != "fleet node:u" {
		t.Error(got)
	}
}

func TestExplainDefaults(t *testing.T) {
	reg := newLife(t).s.Registry
	at := func(kind ScopeKind, name, key string, v any) Default {
		return Default{Scope{kind, name}, state.Clean, eraseStep, key, v}
	}
	all := ExplainDefaults(reg, []Default{
		at(Fleet, "", KeyPriority, 20.0), at(Fleet, "", "args.method", "overwrite"),
		at(Trait, "CUSTOM_A", KeyPriority, 30.0), at(Trait, "CUSTOM_B", KeyPriority, 40.0), at(Trait, "CUSTOM_B", "args.method", "auto"),
	})
	find := func(f state.Flow, name, key string) Explained {
		for _, e := range all {
			if e.Flow == f && e.Step == name && e.Key == key {
				return e
			}
		}
		t.Fatalf("nothing is said of %s %s %s", f, name, key)
		return Explained{}
	}
	e := find(state.Clean, eraseStep, KeyPriority)
	if e.Value != 40.0 || e.Origin != "trait:CUSTOM_B" || len(e.Overrides) != 3 || e.Overrides[0] != (Layer{10.0, FromStep}) || !strings.Contains(e.Note, "CUSTOM_A and CUSTOM_B disagree") {
		t.Errorf("%+v", e)
	}
	if e = find(state.Clean, eraseStep, "args.method"); e.Value != "auto" || len(e.Overrides) != 2 || e.Note != "" {
		t.Errorf("%+v", e)
	}
	if e = find(state.Clean, eraseStep, "args.verify"); e.Value != "sample" || e.Origin != FromStep || e.Overrides != nil {
		t.Errorf("%+v", e)
	}
	if e = find(state.Deploy, "bios.apply_configuration", "args.settings"); e.Value != nil {
		t.Errorf("%+v", e)
	}
	for _, e := range all {
		if e.Step == writeStep && e.Key != KeyPriority || e.Flow != state.Clean && e.Flow != state.Deploy {
			t.Errorf("%+v can't be set", e)
		}
	}
}

// What explain says is what the plan uses.
func TestExplainAgreesWithThePlan(t *testing.T) {
	l := newLife(t)
	defaults := []Default{
		{Scope{Kind: Fleet}, state.Clean, eraseStep, "args.method", "overwrite"}, {Scope{Group, "g"}, state.Clean, eraseStep, "args.method", "auto"},
		{Scope{Trait, "T"}, state.Clean, eraseStep, KeyPriority, 100.0}, {Scope{One, "u"}, state.Clean, eraseStep, "args.verify", "full"},
	}
	p := BuildPlan(PlanInput{Node: l.s.Node, Ask: Provision{Verb: state.VerbProvide}, Registry: l.s.Registry, Defaults: defaults})
	compared := 0
	for _, e := range ExplainDefaults(l.s.Registry, defaults) {
		for _, it := range p.Items {
			if it.Step.Name != e.Step || e.Flow != state.Clean {
				continue
			}
			compared++
			value, origin := any(float64(it.Priority.Value)), it.Priority.Origin
			if name, ok := strings.CutPrefix(e.Key, KeyArgument); ok {
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

func TestCheckDefault(t *testing.T) {
	reg, err := step.NewRegistry(append([]step.Step{{Name: "raid.secret", Where: step.OutOfBand, Priority: map[state.Flow]int{state.Clean: 0},
		Args: []step.Arg{{Name: "key", Type: step.String, Secret: true}}}}, catalog.InBand...)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flow      state.Flow
		step, key string
		value     any
		want      fault.Reason // "": accepted
	}{
		{state.Clean, eraseStep, KeyPriority, 50.0, ""},
		{state.Clean, eraseStep, "args.method", "overwrite", ""},
		{state.Clean, "deploy.erase_devices_metadata", KeyPriority, 0.0, ""},
		{state.Deploy, writeStep, KeyPriority, 70.0, ""},
		{state.Clean, eraseStep, KeyPriority, 0.0, fault.StepArgument},
		{state.Deploy, writeStep, KeyPriority, 0.0, fault.StepArgument},
		{state.Clean, eraseStep, KeyPriority, 1.5, fault.StepArgument},
		{state.Clean, eraseStep, KeyPriority, -1.0, fault.StepArgument},
		{state.Clean, eraseStep, KeyPriority, "high", fault.StepArgument},
		{state.Clean, eraseStep, "args.method", "quick", fault.StepArgument},
		{state.Clean, eraseStep, "args.nosuch", "x", fault.StepArgument},
		{state.Clean, eraseStep, "args.method", nil, fault.StepArgument},
		{state.Clean, "raid.secret", "args.key", "x", fault.StepArgument},
		{state.Deploy, writeStep, "args.url", "http://x", fault.StepArgument},
		{state.Clean, eraseStep, "arg", 1.0, fault.RequestInvalid},
		{state.Clean, eraseStep, "args.", 1.0, fault.RequestInvalid},
		{state.Clean, writeStep, KeyPriority, 1.0, fault.StepUnknown},
		{state.Verify, eraseStep, KeyPriority, 1.0, fault.StepUnknown},
		{"", eraseStep, KeyPriority, 1.0, fault.StepUnknown},
		{state.Clean, "deploy.hold", KeyPriority, 1.0, fault.StepUnknown},
	} {
		err := CheckDefault(Default{Scope{Kind: Fleet}, c.flow, c.step, c.key, c.value}, reg)
		if c.want == "" && err != nil || c.want != "" && (!fault.Has(err, c.want) || fault.From(err).Hint == "") {
			t.Errorf("%s %s %s %v: %v, want %q with a hint", c.flow, c.step, c.key, c.value, err, c.want)
		}
	}
}
