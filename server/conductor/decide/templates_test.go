package decide

import (
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/conductor/plan"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func template(name string, steps ...conductor.RequestedStep) conductor.Template {
	return conductor.Template{Head: conductor.Head{Name: name}, Steps: steps}
}

// The request beats a template, a template beats the flow's own; priority 0 leaves a step out.
func TestTemplatesJoinADeployment(t *testing.T) {
	reset := func(priority int) conductor.RequestedStep {
		return conductor.RequestedStep{Interface: "bios", Step: "factory_reset", Args: map[string]any{}, Priority: priority}
	}
	settings := map[string]any{"settings": []any{map[string]any{"name": "a", "value": "b"}}}
	for name, c := range map[string]struct {
		templates []conductor.Template
		ask       []step.Wanted
		want      []string
		from      defaults.Origin
		wrong     fault.Reason
	}{
		"none":       {nil, nil, []string{"deploy.write_image"}, "", ""},
		"one":        {[]conductor.Template{template("CUSTOM_A", reset(150))}, nil, []string{"bios.factory_reset", "deploy.write_image"}, "template:CUSTOM_A", ""},
		"left out":   {[]conductor.Template{template("CUSTOM_A", reset(0))}, nil, []string{"deploy.write_image"}, "", ""},
		"overridden": {[]conductor.Template{template("CUSTOM_A", reset(150))}, []step.Wanted{{Name: "bios.factory_reset", Priority: 20}}, []string{"bios.factory_reset", "deploy.write_image"}, plan.FromOperator, ""},
		"taken away": {[]conductor.Template{template("CUSTOM_A", reset(150))}, []step.Wanted{{Name: "bios.factory_reset", Priority: 0}}, []string{"deploy.write_image"}, "", ""},
		"two": {[]conductor.Template{template("CUSTOM_A", reset(10)), template("CUSTOM_B", conductor.RequestedStep{Interface: "bios", Step: "apply_configuration", Args: settings, Priority: 20})}, nil,
			[]string{"bios.apply_configuration", "bios.factory_reset", "deploy.write_image"}, "template:CUSTOM_B", ""},
		"contradiction": {[]conductor.Template{template("CUSTOM_A", reset(10)), template("CUSTOM_B", reset(20))}, nil, nil, "", fault.StepArgument},
		"unknown step":  {[]conductor.Template{template("CUSTOM_A", conductor.RequestedStep{Interface: "bios", Step: "nosuch", Priority: 1})}, nil, nil, "", fault.StepUnknown},
		"no image":      {[]conductor.Template{template("CUSTOM_A", conductor.RequestedStep{Interface: "deploy", Step: "write_image", Priority: 0})}, nil, nil, "", fault.StepArgument},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.available()
			l.s.Templates = c.templates
			err := l.do(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: c.ask}})
			if c.wrong != "" {
				if !fault.Has(err, c.wrong) || fault.From(err).Code.Status() != 400 || l.s.Node.State != state.Available {
					t.Errorf("%v, the node is %s", err, l.s.Node.State)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range l.s.Steps {
				got = append(got, r.Step.Name)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the steps are %v, expected %v", got, c.want)
			}
			plan := plan.Build(plan.Input{Node: l.s.Node, Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: c.ask}, Registry: l.s.Registry, Templates: c.templates})
			if c.from != "" && plan.Items[0].Priority.Origin != c.from {
				t.Errorf("the first step's priority is from %q, expected %q", plan.Items[0].Priority.Origin, c.from)
			}
		})
	}
}
