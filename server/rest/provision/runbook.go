package provision

import (
	"slices"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// useRunbook takes the steps of clean or service from a runbook that the caller may see and that the node is approved
// for: it has a trait of the runbook's name.
func (a *API) useRunbook(c *serve.Call, p *conductor.Provision, v any, body map[string]any, n conductor.Node) error {
	text, ok := v.(string)
	if !ok {
		return fault.New(fault.RequestInvalid, "runbook must be the name or UUID of one")
	}
	id, err := shape.Ident(text)
	if err != nil {
		return err
	}
	r, err := a.backend.Record(c.R.Context(), conductor.KindRunbook, id)
	if err != nil {
		return err
	}
	b, ok := r.(*conductor.Runbook)
	if !ok {
		return conductor.KindRunbook.Missing(id)
	}
	verdict := c.Grant.Anywhere(access.RunbookRead)
	if c.Grant.Project != "" {
		project, public := b.OwnedBy()
		verdict = c.Grant.On(access.Object{Owner: project, Public: public}, access.RunbookRead)
	}
	if verdict == access.Hidden {
		c.Denied(access.RunbookRead, b.UUID)
		return conductor.KindRunbook.Missing(id)
	}
	if err := c.Judged(access.RunbookRead, verdict, b.UUID); err != nil {
		return err
	}
	if !slices.Contains(n.Traits, b.Name) {
		return fault.New(fault.RequestInvalid, "This runbook has not been approved for use on this node %s.", n.UUID).
			WithHint("give the node the trait %s", b.Name)
	}
	field := map[state.Event]string{state.VerbClean: "clean_steps", state.VerbService: "service_steps"}[p.Verb]
	if list, _ := body[field].([]any); len(list) > 0 {
		return fault.New(fault.RequestInvalid, "Please provide either %q or a runbook, but not both.", field)
	}
	steps := slices.Clone(b.Steps)
	slices.SortStableFunc(steps, func(x, y conductor.RequestedStep) int { return x.Order - y.Order })
	var wanted []step.Wanted
	for _, s := range steps {
		wanted = append(wanted, step.Wanted{Name: s.Interface + "." + s.Step, Args: s.Args})
	}
	p.NoRamdisk = b.NoRamdisk
	if p.Verb == state.VerbClean {
		p.CleanSteps = wanted
	} else {
		p.ServiceSteps = wanted
	}
	return nil
}
