package plan

import (
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// FromTemplate is the origin of what a deploy template says: the template's name stands behind it.
const FromTemplate = "template:"

// addTemplates puts the steps of the instance's templates before those that the request names; of a step that both
// have, the request's counts. Two templates that name one step contradict each other.
func (b *builder) addTemplates() {
	var added []step.Wanted
	for _, t := range b.in.Templates {
		for _, s := range t.Steps {
			w := step.Wanted{Name: s.Interface + "." + s.Step, Args: s.Args, Priority: s.Priority}
			if slices.ContainsFunc(b.in.Ask.DeploySteps, func(o step.Wanted) bool { return o.Name == w.Name }) {
				continue
			}
			if other, twice := b.template[w.Name]; twice {
				b.problem(fault.New(fault.StepArgument, "the deploy templates %s and %s both name the step", other, t.Name).
					WithHint("give the step in deploy_steps, which counts for more, or take one of the traits out of instance_info.traits"), w.Name)
				continue
			}
			if b.template == nil {
				b.template = map[string]string{}
			}
			b.template[w.Name] = t.Name
			added = append(added, w)
		}
	}
	b.in.Ask.DeploySteps = append(added, b.in.Ask.DeploySteps...)
}

// nameTemplates says of what comes from a template that it does.
func (b *builder) nameTemplates() {
	for i := range b.Items {
		it := &b.Items[i]
		name, ok := b.template[it.Step.Name]
		if !ok {
			continue
		}
		if it.Priority.Origin == FromOperator {
			it.Priority.Origin = defaults.Origin(FromTemplate + name)
		}
		for arg, from := range it.Origins {
			if from == FromOperator {
				it.Origins[arg] = defaults.Origin(FromTemplate + name)
			}
		}
	}
}
