package provision

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (a *API) defaults(c *serve.Call) error {
	all, err := a.backend.Defaults(c.R.Context(), c.Arg("scope"))
	if err != nil {
		return err
	}
	out := api.DefaultList{Defaults: []api.Default{}}
	for _, d := range all {
		out.Defaults = append(out.Defaults, api.Default{Scope: d.Scope.String(), Flow: d.Flow, Step: d.Step, Key: d.Key, Value: mask.Deep(d.Value)})
	}
	return c.JSON(http.StatusOK, out)
}

func (a *API) setDefaults(c *serve.Call) error {
	body, err := c.Body(false, "scope", "flow", "step", "priority", "args")
	if err != nil {
		return err
	}
	scope, flow, name, err := whose(func(k string) string { s, _ := body[k].(string); return s })
	if err != nil {
		return err
	}
	values := map[string]any{}
	if v := body["priority"]; v != nil {
		values[conductor.KeyPriority] = v
	}
	args, ok := body["args"].(map[string]any)
	if !ok && body["args"] != nil {
		return fault.New(fault.RequestInvalid, "args must be an object")
	}
	for k, v := range args {
		values[conductor.KeyArgument+k] = v
	}
	if len(values) == 0 {
		return fault.New(fault.RequestInvalid, "neither priority nor args is given")
	}
	if err := a.backend.SetDefaults(c.R.Context(), c.Who, scope, flow, name, values); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) unsetDefaults(c *serve.Call) error {
	scope, flow, name, err := whose(c.Arg)
	if err != nil {
		return err
	}
	var keys []string
	if c.Given("key") {
		keys = []string{c.Arg("key")}
	}
	if err := a.backend.UnsetDefaults(c.R.Context(), c.Who, scope, flow, name, keys); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

// whose reads which step of which flow and scope is meant.
func whose(get func(string) string) (scope string, flow state.Flow, name string, err error) {
	for _, k := range []string{"scope", "flow", "step"} {
		if get(k) == "" {
			return "", "", "", fault.New(fault.RequestInvalid, "%s is required", k)
		}
	}
	return get("scope"), state.Flow(get("flow")), get("step"), nil
}

func (a *API) explainDefaults(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	n, err := a.backend.Node(c.R.Context(), id)
	if err != nil {
		return err
	}
	scopes, values, err := a.backend.ExplainDefaults(c.R.Context(), id)
	if err != nil {
		return err
	}
	out := api.DefaultsOfNode{Node: n.UUID, Name: n.Name, Scopes: []string{}, Values: []api.DefaultOfNode{}}
	for _, s := range scopes {
		out.Scopes = append(out.Scopes, s.String())
	}
	for _, e := range values {
		v := api.DefaultOfNode{Flow: e.Flow, Step: e.Step, Key: e.Key, Value: mask.Deep(e.Value), Origin: string(e.Origin), Overrides: []api.DefaultLayer{}, Note: e.Note}
		for _, l := range e.Overrides {
			v.Overrides = append(v.Overrides, api.DefaultLayer{Value: mask.Deep(l.Value), Origin: string(l.Origin)})
		}
		out.Values = append(out.Values, v)
	}
	return c.JSON(http.StatusOK, out)
}
