package rest

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// doctor says what is not well with the server and with all nodes.
func (a *API) doctor(c *serve.Call) error {
	nodes, well, err := a.cfg.Backend.DiagnoseAll(c.R.Context())
	if err != nil {
		return err
	}
	answer := api.Doctor{Server: []api.Check{}, Nodes: append([]api.Diagnosis{}, nodes...), Well: well}
	if a.cfg.Checks != nil {
		answer.Server = append(answer.Server, a.cfg.Checks(c.R.Context())...)
	}
	for _, k := range answer.Server {
		if !k.OK {
			answer.Wrong++
		}
	}
	for _, d := range answer.Nodes {
		if d.Verdict == api.VerdictWrong {
			answer.Wrong++
		}
	}
	return c.JSON(http.StatusOK, answer)
}

func (a *API) diagnose(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	d, err := a.cfg.Backend.Diagnose(c.R.Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, d)
}

func (a *API) treat(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false, "act")
	if err != nil {
		return err
	}
	act, ok := body["act"].(string)
	if !ok || act == "" {
		return fault.New(fault.RequestInvalid, "act is missing, expected one of the exits' acts of GET")
	}
	if err := a.cfg.Backend.Treat(c.R.Context(), c.Who, id, act); err != nil {
		return err
	}
	return c.Empty(http.StatusAccepted)
}
