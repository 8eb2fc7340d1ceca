package provision

import (
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// outOfService takes an operator's word that an active machine does not work.
func (a *API) outOfService(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(true, "reason")
	if err != nil {
		return err
	}
	reason, ok := body["reason"].(string)
	if !ok && body["reason"] != nil {
		return fault.New(fault.RequestInvalid, "reason must be a string")
	}
	if err := a.backend.OutOfService(c.R.Context(), c.Who, id, reason); err != nil {
		return err
	}
	return c.Accepted(id)
}

// instanceArguments reads what goes with service and rescue. below is as in provisionArguments; only gives an argument, refused with any other verb.
func (a *API) instanceArguments(c *serve.Call, p *conductor.Provision, n conductor.Node, below access.Right, only func(name string, since api.Version) (any, error)) error {
	password, err := only("rescue_password", 38)
	if err != nil {
		return err
	}
	if p.Verb == state.VerbRescue {
		text, ok := password.(string)
		if !ok && password != nil {
			return fault.New(fault.RequestInvalid, "rescue_password must be a string")
		}
		if strings.TrimSpace(text) == "" {
			return fault.New(fault.RequestInvalid, "A non-empty \"rescue_password\" is required when setting target provision state to rescue")
		}
		p.RescuePassword = text
	}
	list, err := only("service_steps", 87)
	if err != nil || p.Verb != state.VerbService || len(p.ServiceSteps) > 0 { // of a runbook
		return err
	}
	if p.ServiceSteps, err = a.wantedSteps(c, n, "service_steps", list, below); err != nil {
		return err
	}
	if len(p.ServiceSteps) == 0 {
		return fault.New(fault.RequestInvalid, "\"service_steps\" is required when setting target provision state to service").
			WithHint("give a list of objects with interface, step and args; the reference page of the steps names them")
	}
	return nil
}
