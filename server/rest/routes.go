package rest

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
)

// routes is everything that is served, and the right that each route needs (server/access). A route without one is
// answered with 403 to everybody; TestI26_EveryRouteHasARule says what to add.
func (a *API) routes() []serve.Route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const head, options = http.MethodHead, http.MethodOptions
	const node = "/v1/nodes/{node}"
	rows := []serve.Route{
		{Method: get, Path: "/", Need: access.Open, Handle: a.root},
		{Method: get, Path: "/v1", Need: access.Open, Handle: a.v1},
		// Load balancers ask so whether the server is there.
		{Method: head, Path: "/", Need: access.Open, Handle: a.root},
		{Method: options, Path: "/", Need: access.Open, Handle: a.root},
		{Method: head, Path: "/v1", Need: access.Open, Handle: a.v1},

		{Method: get, Path: "/v1/conductors", Need: access.ServerRead, Since: 49, Query: conductorArguments(), Handle: a.conductors},
		{Method: get, Path: "/v1/conductors/{host}", Need: access.ServerRead, Since: 49, Query: []serve.Argument{serve.FieldsArgument}, Handle: a.showConductor},

		// Beside Ironic's.
		{Method: get, Path: node + "/doctor", Need: access.NodeInside, Handle: a.diagnose},
		{Method: post, Path: node + "/doctor", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.treat},
		{Method: get, Path: "/v1/doctor", Need: access.ServerDoctor, Handle: a.doctor},
	}
	rows = append(rows, ruleRoutes()...)
	rows = append(rows, a.nodes.Routes()...)
	rows = append(rows, a.provision.Routes()...)
	rows = append(rows, a.watch.Routes()...)
	rows = append(rows, a.openAPIRoutes()...)
	rows = append(rows, a.usageRoutes()...)
	rows = append(rows, a.records.Routes()...)
	rows = append(rows, a.driverRoutes()...)
	// First, as they are asked for most often: a request is compared with one route after the other.
	rows = append(a.ramdisk.Routes(), rows...)
	rows = append(rows, a.machine.Routes()...)
	if a.cfg.Images != nil {
		rows = append(rows,
			serve.Route{Method: get, Path: "/v1/images", Need: access.ImageRead, Handle: a.images},
			serve.Route{Method: get, Path: "/v1/images/{image}", Need: access.ImageRead, Handle: a.showImage},
			serve.Route{Method: put, Path: "/v1/images/{image}", Need: access.ImageChange, Body: -1, Handle: a.putImage},
			serve.Route{Method: del, Path: "/v1/images/{image}", Need: access.ImageChange, Handle: a.deleteImage},
		)
	}
	return rows
}
