package machine

import (
	"context"
	"net/http"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Virtual interfaces, and the calls that a hardware type has of its own.

// Attachments is the part of the Backend behind them.
type Attachments interface {
	VIFs(ctx context.Context, ident string) ([]string, error)
	AttachVIF(ctx context.Context, who conductor.Caller, ident, id, port string) error
	DetachVIF(ctx context.Context, who conductor.Caller, ident, id string) error
	Methods(ctx context.Context, ident string) ([]conductor.Method, error)
	Pass(ctx context.Context, who conductor.Caller, ident, httpMethod, name string, args map[string]any) (async bool, answer any, err error)
}

func (a *API) vendorRoutes() []serve.Route {
	const node = "/v1/nodes/{node}"
	rows := []serve.Route{
		{Method: http.MethodGet, Path: node + "/vifs", Need: access.NodeRead, Since: 28, Handle: a.vifs},
		{Method: http.MethodPost, Path: node + "/vifs", Need: access.NodeManage, Since: 28, Body: serve.MaxBody, Handle: a.attachVIF},
		{Method: http.MethodDelete, Path: node + "/vifs/{vif}", Need: access.NodeManage, Since: 28, Handle: a.detachVIF},
		{Method: http.MethodGet, Path: node + "/vendor_passthru/methods", Need: access.NodeVendor, Handle: a.methods},
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rows = append(rows, serve.Route{Method: m, Path: node + "/vendor_passthru", Need: access.NodeVendor, Query: []serve.Argument{{Name: "method", Doc: "the call"}}, Body: serve.MaxBody,
			Handle: func(c *serve.Call) error { return a.pass(c, c.Arg("method")) }},
			serve.Route{Method: m, Path: node + "/vendor_passthru/{method}", Need: access.NodeVendor, Body: serve.MaxBody,
				Handle: func(c *serve.Call) error { return a.pass(c, c.Var("method")) }})
	}
	return rows
}

func (a *API) vifs(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	all, err := a.backend.VIFs(c.R.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, v := range all {
		list = append(list, map[string]any{"id": v})
	}
	return c.JSON(http.StatusOK, map[string]any{"vifs": list})
}

func (a *API) attachVIF(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false) // other keys are the network service's, and are taken
	if err != nil {
		return err
	}
	vif, _ := body["id"].(string)
	if !shape.IsName(vif) {
		return fault.New(fault.RequestInvalid, "id is %s, expected a UUID or a name", shown(body["id"]))
	}
	port := ""
	if c.Version >= 67 {
		switch {
		case body["port_uuid"] != nil && body["portgroup_uuid"] != nil:
			return fault.New(fault.RequestInvalid, "Cannot specify both port_uuid and portgroup_uuid")
		case body["portgroup_uuid"] != nil:
			return fault.New(fault.RequestInvalid, "portgroup_uuid: a virtual interface goes on a port here, not on a group of ports").WithHint("give port_uuid")
		case body["port_uuid"] != nil:
			if port, _ = body["port_uuid"].(string); !shape.IsUUID(port) {
				return fault.New(fault.RequestInvalid, "port_uuid is %s, expected a UUID", shown(body["port_uuid"]))
			}
		}
	}
	if err := a.backend.AttachVIF(c.R.Context(), c.Who, id, vif, strings.ToLower(port)); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) detachVIF(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	vif, err := shape.Ident(c.Var("vif"))
	if err != nil {
		return err
	}
	if err := a.backend.DetachVIF(c.R.Context(), c.Who, id, vif); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}

func (a *API) methods(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	all, err := a.backend.Methods(c.R.Context(), id)
	if err != nil {
		return err
	}
	out := map[string]any{}
	for _, m := range all {
		out[m.Name] = map[string]any{"http_methods": m.HTTP, "async": m.Async, "description": m.Doc, "attach": false, "require_exclusive_lock": m.Exclusive}
	}
	return c.JSON(http.StatusOK, out)
}

// pass hands a call to the node's driver. Its name is in the query, as in Ironic's documents, or ends the path, which Ironic takes too.
func (a *API) pass(c *serve.Call, name string) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if name == "" {
		return fault.New(fault.RequestInvalid, "the query argument method is required")
	}
	args, err := c.Body(true)
	if err != nil {
		return err
	}
	async, answer, err := a.backend.Pass(c.R.Context(), c.Who, id, c.R.Method, name, args)
	if err != nil {
		return err
	}
	if async {
		return c.Empty(http.StatusAccepted)
	}
	return c.JSON(http.StatusOK, answer)
}
