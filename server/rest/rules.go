package rest

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Inspection rules: there are none, and none can be made (docs/adr/0279). A client that lists them learns that.

// ruleRoutes is their rows of the table of routes.
func ruleRoutes() []serve.Route {
	const since = 96
	const path, one = "/v1/inspection_rules", "/v1/inspection_rules/{rule}"
	rules := shape.New(api.InspectionRule{}, api.InspectionRuleFields())
	list := func(c *serve.Call) error {
		p, err := c.PageOf(rules, false)
		if err != nil {
			return err
		}
		if p.Marker != "" {
			return noRule(p.Marker)
		}
		return c.JSON(http.StatusOK, api.InspectionRuleList{Rules: []api.InspectionRule{}})
	}
	show := func(c *serve.Call) error {
		if _, err := c.FieldsAsked(rules); err != nil {
			return err
		}
		return missingRule(c)
	}
	create := func(c *serve.Call) error {
		doc, err := c.Body(false)
		if err != nil {
			return err
		}
		if _, err := rules.Created(doc, c.Version); err != nil {
			return err
		}
		return fault.New(fault.RulesUnsupported, "this server runs no inspection rules, so it takes none")
	}
	change := func(c *serve.Call) error {
		if _, err := c.Patch(); err != nil {
			return err
		}
		return missingRule(c)
	}
	return []serve.Route{
		{Method: http.MethodGet, Path: path, Need: access.RuleRead, Since: since, Handle: list, Query: append(serve.PageArguments(false), serve.Argument{Name: "phase", Doc: "only those of this phase"})},
		{Method: http.MethodGet, Path: one, Need: access.RuleRead, Since: since, Query: []serve.Argument{serve.FieldsArgument}, Handle: show},
		serve.Route{Method: http.MethodPost, Path: path, Need: access.RuleChange, Since: since, Body: serve.MaxBody, Handle: create}.Absent(since),
		serve.Route{Method: http.MethodPatch, Path: one, Need: access.RuleChange, Since: since, Body: serve.MaxBody, Handle: change}.Absent(since),
		serve.Route{Method: http.MethodDelete, Path: one, Need: access.RuleChange, Since: since, Handle: missingRule}.Absent(since),
	}
}

// missingRule answers for whichever rule the path names.
func missingRule(c *serve.Call) error {
	if err := shape.WantUUID("inspection_rule_uuid", c.Var("rule")); err != nil {
		return err
	}
	return noRule(c.Var("rule"))
}

func noRule(uuid string) error {
	return fault.New(fault.RuleNotFound, "Inspection rule %s could not be found.", uuid)
}
