package defaults

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestScopes(t *testing.T) {
	for _, text := range []string{"fleet", "group:rack1", "trait:CUSTOM_A", "node:n1", "group:a:b"} {
		if s, err := conductor.ParseScope(text); err != nil || s.String() != text {
			t.Errorf("%s became %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "rack1", "fleet:all", "group:", "group", "nodes:n1", "trait:a\nb", "group:" + strings.Repeat("x", 256)} {
		if s, err := conductor.ParseScope(text); !fault.Has(err, fault.RequestInvalid) || fault.From(err).Hint == "" {
			t.Errorf("%q became %s, %v", text, s, err)
		}
	}
	n := conductor.Node{UUID: "u", Group: "g", Traits: []string{"CUSTOM_B", "CUSTOM_A"}}
	show := func() string {
		var out []string
		for _, s := range Scopes(n) {
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
	reg := nodetest.Snapshot().Registry
	at := func(kind conductor.ScopeKind, name, key string, v any) conductor.Default {
		return conductor.Default{Scope: conductor.Scope{Kind: kind, Name: name}, Flow: state.Clean, Step: catalog.EraseStep, Key: key, Value: v}
	}
	all := Explain(reg, []conductor.Default{
		at(conductor.Fleet, "", conductor.KeyPriority, 20.0), at(conductor.Fleet, "", "args.method", "overwrite"),
		at(conductor.Trait, "CUSTOM_A", conductor.KeyPriority, 30.0), at(conductor.Trait, "CUSTOM_B", conductor.KeyPriority, 40.0), at(conductor.Trait, "CUSTOM_B", "args.method", "auto"),
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
	e := find(state.Clean, catalog.EraseStep, conductor.KeyPriority)
	if e.Value != 40.0 || e.Origin != "trait:CUSTOM_B" || len(e.Overrides) != 3 || e.Overrides[0] != (Layer{10.0, FromStep}) || !strings.Contains(e.Note, "CUSTOM_A and CUSTOM_B disagree") {
		t.Errorf("%+v", e)
	}
	if e = find(state.Clean, catalog.EraseStep, "args.method"); e.Value != "auto" || len(e.Overrides) != 2 || e.Note != "" {
		t.Errorf("%+v", e)
	}
	if e = find(state.Clean, catalog.EraseStep, "args.verify"); e.Value != "sample" || e.Origin != FromStep || e.Overrides != nil {
		t.Errorf("%+v", e)
	}
	if e = find(state.Deploy, "bios.apply_configuration", "args.settings"); e.Value != nil {
		t.Errorf("%+v", e)
	}
	for _, e := range all {
		if e.Step == catalog.WriteStep && e.Key != conductor.KeyPriority || e.Flow != state.Clean && e.Flow != state.Deploy {
			t.Errorf("%+v can't be set", e)
		}
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
		{state.Clean, catalog.EraseStep, conductor.KeyPriority, 50.0, ""},
		{state.Clean, catalog.EraseStep, "args.method", "overwrite", ""},
		{state.Clean, "deploy.erase_devices_metadata", conductor.KeyPriority, 0.0, ""},
		{state.Deploy, catalog.WriteStep, conductor.KeyPriority, 70.0, ""},
		{state.Clean, catalog.EraseStep, conductor.KeyPriority, 0.0, fault.StepArgument},
		{state.Deploy, catalog.WriteStep, conductor.KeyPriority, 0.0, fault.StepArgument},
		{state.Clean, catalog.EraseStep, conductor.KeyPriority, 1.5, fault.StepArgument},
		{state.Clean, catalog.EraseStep, conductor.KeyPriority, -1.0, fault.StepArgument},
		{state.Clean, catalog.EraseStep, conductor.KeyPriority, "high", fault.StepArgument},
		{state.Clean, catalog.EraseStep, "args.method", "quick", fault.StepArgument},
		{state.Clean, catalog.EraseStep, "args.nosuch", "x", fault.StepArgument},
		{state.Clean, catalog.EraseStep, "args.method", nil, fault.StepArgument},
		{state.Clean, "raid.secret", "args.key", "x", fault.StepArgument},
		{state.Deploy, catalog.WriteStep, "args.url", "http://x", fault.StepArgument},
		{state.Clean, catalog.EraseStep, "arg", 1.0, fault.RequestInvalid},
		{state.Clean, catalog.EraseStep, "args.", 1.0, fault.RequestInvalid},
		{state.Clean, catalog.WriteStep, conductor.KeyPriority, 1.0, fault.StepUnknown},
		{state.Verify, catalog.EraseStep, conductor.KeyPriority, 1.0, fault.StepUnknown},
		{"", catalog.EraseStep, conductor.KeyPriority, 1.0, fault.StepUnknown},
		{state.Clean, "deploy.hold", conductor.KeyPriority, 1.0, fault.StepUnknown},
	} {
		err := Check(conductor.Default{Scope: conductor.Scope{Kind: conductor.Fleet}, Flow: c.flow, Step: c.step, Key: c.key, Value: c.value}, reg)
		if c.want == "" && err != nil || c.want != "" && (!fault.Has(err, c.want) || fault.From(err).Hint == "") {
			t.Errorf("%s %s %s %v: %v, want %q with a hint", c.flow, c.step, c.key, c.value, err, c.want)
		}
	}
}
