package machine

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// PowerTargets are what may be asked of a machine's power.
var PowerTargets = []string{"power on", "power off", "rebooting", "soft power off", "soft rebooting"}

func (a *API) setPower(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false, "target", "timeout")
	if err != nil {
		return err
	}
	p := conductor.PowerRequest{}
	p.Target, _ = body["target"].(string)
	if !slices.Contains(PowerTargets, p.Target) {
		return fault.New(fault.RequestInvalid, "target is %q, expected one of %s", p.Target, strings.Join(PowerTargets, ", "))
	}
	if c.Version < 27 && (strings.HasPrefix(p.Target, "soft") || body["timeout"] != nil) {
		return fault.New(fault.RequestVersion, "soft power acts and timeout are there from version 1.27 on, %s was asked for", c.Version)
	}
	if v := body["timeout"]; v != nil {
		seconds, ok := shape.WholeNumber(v)
		if !ok || seconds < 1 || seconds > 24*3600 {
			return fault.New(fault.RequestInvalid, "timeout must be a whole number of seconds from 1 on, at most a day")
		}
		p.Timeout = seconds
	}
	if err := a.backend.SetPower(c.R.Context(), c.Who, id, p); err != nil {
		return err
	}
	return c.Accepted(id)
}
