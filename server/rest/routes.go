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
	const node = "/v1/nodes/{node}"
	rows := []serve.Route{
		{Method: get, Path: "/", Need: access.Open, Handle: a.root},
		{Method: get, Path: "/v1", Need: access.Open, Handle: a.v1},

		{Method: get, Path: "/v1/nodes", Need: access.NodeList, Handle: func(c *serve.Call) error { return a.listNodes(c, false) }},
		{Method: get, Path: "/v1/nodes/detail", Need: access.NodeList, Handle: func(c *serve.Call) error { return a.listNodes(c, true) }},
		{Method: post, Path: "/v1/nodes", Need: access.NodeCreate, Body: serve.MaxBody, Handle: a.createNode},
		{Method: get, Path: node, Need: access.NodeRead, Handle: a.showNode},
		{Method: patch, Path: node, Need: access.NodeChange, Body: serve.MaxBody, Handle: a.patchNode},
		{Method: del, Path: node, Need: access.NodeDelete, Handle: a.deleteNode},
		{Method: get, Path: node + "/validate", Need: access.NodeValidate, Handle: a.validate},
		{Method: get, Path: node + "/states", Need: access.NodeRead, Handle: a.states},
		{Method: put, Path: node + "/states/power", Need: access.NodePower, Body: serve.MaxBody, Handle: a.setPower},
		{Method: put, Path: node + "/states/provision", Need: access.NodeProvision, Body: serve.MaxProvision, Handle: a.provision},
		{Method: put, Path: node + "/maintenance", Need: access.NodeMaintenance, Body: serve.MaxBody, Handle: a.setMaintenance},
		{Method: del, Path: node + "/maintenance", Need: access.NodeMaintenance, Handle: a.unsetMaintenance},
		{Method: get, Path: node + "/management/boot_device", Need: access.NodeInside, Handle: a.bootDevice},
		{Method: put, Path: node + "/management/boot_device", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.setBootDevice},
		{Method: get, Path: node + "/management/boot_device/supported", Need: access.NodeRead, Handle: a.bootDevices},
		{Method: get, Path: node + "/traits", Need: access.NodeRead, Since: 37, Handle: a.traits},
		{Method: put, Path: node + "/traits", Need: access.NodeTraits, Since: 37, Body: serve.MaxBody, Handle: a.setTraits},
		{Method: del, Path: node + "/traits", Need: access.NodeTraits, Since: 37, Handle: a.removeTraits},
		{Method: put, Path: node + "/traits/{trait}", Need: access.NodeTraits, Since: 37, Body: serve.MaxBody, Handle: a.addTrait},
		{Method: del, Path: node + "/traits/{trait}", Need: access.NodeTraits, Since: 37, Handle: a.removeTrait},
		{Method: get, Path: node + "/inventory", Need: access.NodeInside, Since: 81, Handle: a.inventory},
		{Method: get, Path: node + "/history", Need: access.NodeInside, Since: 78, Handle: a.history},
		{Method: get, Path: node + "/history/{entry}", Need: access.NodeInside, Since: 78, Handle: a.historyEntry},
		{Method: get, Path: "/v1/conductors", Need: access.ServerRead, Since: 49, Handle: a.conductors},
		{Method: get, Path: "/v1/conductors/{host}", Need: access.ServerRead, Since: 49, Handle: a.showConductor},

		// Beside Ironic's.
		{Method: get, Path: node + "/steps", Need: access.NodeInside, Handle: a.steps},
		{Method: get, Path: node + "/plan", Need: access.NodeInside, Handle: a.plan},
		{Method: get, Path: node + "/default_config", Need: access.NodeInside, Handle: a.explainDefaults},
		{Method: get, Path: "/v1/default_config", Need: access.DefaultsRead, Handle: a.defaults},
		{Method: put, Path: "/v1/default_config", Need: access.DefaultsChange, Body: serve.MaxBody, Handle: a.setDefaults},
		{Method: del, Path: "/v1/default_config", Need: access.DefaultsChange, Handle: a.unsetDefaults},
		{Method: put, Path: node + "/confirm", Need: access.NodeConfirm, Handle: a.confirmNode},
		{Method: get, Path: node + "/logs", Need: access.NodeInside, Handle: a.logs},
		{Method: get, Path: node + "/doctor", Need: access.NodeInside, Handle: a.diagnose},
		{Method: post, Path: node + "/doctor", Need: access.NodeManage, Body: serve.MaxBody, Handle: a.treat},
		{Method: get, Path: "/v1/doctor", Need: access.ServerDoctor, Handle: a.doctor},
	}
	rows = append(rows, a.changeRoutes()...)
	rows = append(rows, a.webhookRoutes()...)
	rows = append(rows, a.openAPIRoutes()...)
	rows = append(rows, a.usageRoutes()...)
	rows = append(rows, a.recordRoutes()...)
	rows = append(rows, a.instanceRoutes()...)
	rows = append(rows, a.driverRoutes()...)
	rows = append(rows, a.ramdiskRoutes()...)
	rows = append(rows, a.manageRoutes()...)
	rows = append(rows, a.partsRoutes()...)
	rows = append(rows, a.vendorRoutes()...)
	rows = append(rows, a.besideRoutes()...)
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
