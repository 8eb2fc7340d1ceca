package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
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

func vendorRoutes() []route {
	const node = "/v1/nodes/{node}"
	rows := []route{
		{method: http.MethodGet, path: node + "/vifs", need: access.NodeRead, since: 28, handle: (*call).vifs},
		{method: http.MethodPost, path: node + "/vifs", need: access.NodeManage, since: 28, body: maxBody, handle: (*call).attachVIF},
		{method: http.MethodDelete, path: node + "/vifs/{vif}", need: access.NodeManage, since: 28, handle: (*call).detachVIF},
		{method: http.MethodGet, path: node + "/vendor_passthru/methods", need: access.NodeVendor, handle: (*call).methods},
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rows = append(rows, route{method: m, path: node + "/vendor_passthru", need: access.NodeVendor, body: maxBody, handle: (*call).pass})
	}
	return rows
}

func (c *call) vifs() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.VIFs(c.r.Context(), id)
	if err != nil {
		return err
	}
	list := []any{}
	for _, v := range all {
		list = append(list, map[string]any{"id": v})
	}
	return c.json(http.StatusOK, map[string]any{"vifs": list})
}

func (c *call) attachVIF() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	body, err := c.body(false) // other keys are the network service's, and are taken
	if err != nil {
		return err
	}
	vif, _ := body["id"].(string)
	if !shape.IsName(vif) {
		return fault.New(fault.RequestInvalid, "id is %s, expected a UUID or a name", shown(body["id"]))
	}
	port := ""
	if c.version >= 67 {
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
	if err := c.api.cfg.Backend.AttachVIF(c.r.Context(), c.who, id, vif, strings.ToLower(port)); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) detachVIF() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	vif, err := shape.Ident(mux.Vars(c.r)["vif"])
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.DetachVIF(c.r.Context(), c.who, id, vif); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) methods() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	all, err := c.api.cfg.Backend.Methods(c.r.Context(), id)
	if err != nil {
		return err
	}
	out := map[string]any{}
	for _, m := range all {
		out[m.Name] = map[string]any{"http_methods": m.HTTP, "async": m.Async, "description": m.Doc, "attach": false, "require_exclusive_lock": m.Exclusive}
	}
	return c.json(http.StatusOK, out)
}

func (c *call) pass() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query("method")
	if err != nil {
		return err
	}
	name := q.Get("method")
	if name == "" {
		return fault.New(fault.RequestInvalid, "the query argument method is required")
	}
	args, err := c.body(true)
	if err != nil {
		return err
	}
	async, answer, err := c.api.cfg.Backend.Pass(c.r.Context(), c.who, id, c.r.Method, name, args)
	if err != nil {
		return err
	}
	if async {
		return c.empty(http.StatusAccepted)
	}
	return c.json(http.StatusOK, answer)
}
