package rest

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// doctor says what is not well with the server and with all nodes.
func (c *call) doctor() error {
	if _, err := c.query(); err != nil {
		return err
	}
	nodes, well, err := c.api.cfg.Backend.DiagnoseAll(c.r.Context())
	if err != nil {
		return err
	}
	answer := api.Doctor{Server: []api.Check{}, Nodes: append([]api.Diagnosis{}, nodes...), Well: well}
	if c.api.cfg.Checks != nil {
		answer.Server = append(answer.Server, c.api.cfg.Checks(c.r.Context())...)
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
	return c.json(http.StatusOK, answer)
}

func (c *call) diagnose() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	if _, err := c.query(); err != nil {
		return err
	}
	d, err := c.api.cfg.Backend.Diagnose(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

func (c *call) treat() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	body, err := c.body(false, "act")
	if err != nil {
		return err
	}
	act, ok := body["act"].(string)
	if !ok || act == "" {
		return fault.New(fault.RequestInvalid, "act is missing, expected one of the exits' acts of GET")
	}
	if err := c.api.cfg.Backend.Treat(c.r.Context(), c.who, id, act); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}
