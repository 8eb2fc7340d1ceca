package nodes

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func (a *API) setMaintenance(c *serve.Call) error {
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
	if err := a.backend.SetMaintenance(c.R.Context(), c.Who, id, true, reason); err != nil {
		return err
	}
	return c.Empty(http.StatusAccepted)
}

func (a *API) unsetMaintenance(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if err := a.backend.SetMaintenance(c.R.Context(), c.Who, id, false, ""); err != nil {
		return err
	}
	return c.Empty(http.StatusAccepted)
}
