package rest

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/access"
)

// routes is everything that is served, and the right that each route needs (server/access). A route without one is
// answered with 403 to everybody; TestI26_EveryRouteHasARule says what to add.
func (a *API) routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const node = "/v1/nodes/{node}"
	rows := []route{
		{method: get, path: "/", need: access.Open, handle: (*call).root},
		{method: get, path: "/v1", need: access.Open, handle: (*call).v1},

		{method: get, path: "/v1/nodes", need: access.NodeList, handle: func(c *call) error { return c.listNodes(false) }},
		{method: get, path: "/v1/nodes/detail", need: access.NodeList, handle: func(c *call) error { return c.listNodes(true) }},
		{method: post, path: "/v1/nodes", need: access.NodeCreate, body: maxBody, handle: (*call).createNode},
		{method: get, path: node, need: access.NodeRead, handle: (*call).showNode},
		{method: patch, path: node, need: access.NodeChange, body: maxBody, handle: (*call).patchNode},
		{method: del, path: node, need: access.NodeDelete, handle: (*call).deleteNode},
		{method: get, path: node + "/validate", need: access.NodeValidate, handle: (*call).validate},
		{method: get, path: node + "/states", need: access.NodeRead, handle: (*call).states},
		{method: put, path: node + "/states/power", need: access.NodePower, body: maxBody, handle: (*call).setPower},
		{method: put, path: node + "/states/provision", need: access.NodeProvision, body: maxProvision, handle: (*call).provision},
		{method: put, path: node + "/maintenance", need: access.NodeMaintenance, body: maxBody, handle: (*call).setMaintenance},
		{method: del, path: node + "/maintenance", need: access.NodeMaintenance, handle: (*call).unsetMaintenance},
		{method: get, path: node + "/management/boot_device", need: access.NodeInside, handle: (*call).bootDevice},
		{method: put, path: node + "/management/boot_device", need: access.NodeManage, body: maxBody, handle: (*call).setBootDevice},
		{method: get, path: node + "/management/boot_device/supported", need: access.NodeRead, handle: (*call).bootDevices},
		{method: get, path: node + "/traits", need: access.NodeRead, since: 37, handle: (*call).traits},
		{method: put, path: node + "/traits", need: access.NodeTraits, since: 37, body: maxBody, handle: (*call).setTraits},
		{method: del, path: node + "/traits", need: access.NodeTraits, since: 37, handle: (*call).removeTraits},
		{method: put, path: node + "/traits/{trait}", need: access.NodeTraits, since: 37, body: maxBody, handle: (*call).addTrait},
		{method: del, path: node + "/traits/{trait}", need: access.NodeTraits, since: 37, handle: (*call).removeTrait},
		{method: get, path: node + "/inventory", need: access.NodeInside, since: 81, handle: (*call).inventory},
		{method: get, path: node + "/history", need: access.NodeInside, since: 78, handle: (*call).history},
		{method: get, path: node + "/history/{entry}", need: access.NodeInside, since: 78, handle: (*call).historyEntry},
		{method: get, path: "/v1/conductors", need: access.ServerRead, since: 49, handle: (*call).conductors},
		{method: get, path: "/v1/conductors/{host}", need: access.ServerRead, since: 49, handle: (*call).showConductor},

		// Beside Ironic's.
		{method: get, path: node + "/steps", need: access.NodeInside, handle: (*call).steps},
		{method: get, path: node + "/plan", need: access.NodeInside, handle: (*call).plan},
		{method: get, path: node + "/default_config", need: access.NodeInside, handle: (*call).explainDefaults},
		{method: get, path: "/v1/default_config", need: access.DefaultsRead, handle: (*call).defaults},
		{method: put, path: "/v1/default_config", need: access.DefaultsChange, body: maxBody, handle: (*call).setDefaults},
		{method: del, path: "/v1/default_config", need: access.DefaultsChange, handle: (*call).unsetDefaults},
		{method: put, path: node + "/confirm", need: access.NodeConfirm, handle: (*call).confirmNode},
		{method: get, path: node + "/logs", need: access.NodeInside, handle: (*call).logs},
		{method: get, path: node + "/doctor", need: access.NodeInside, handle: (*call).diagnose},
		{method: post, path: node + "/doctor", need: access.NodeManage, body: maxBody, handle: (*call).treat},
		{method: get, path: "/v1/doctor", need: access.ServerDoctor, handle: (*call).doctor},
	}
	rows = append(rows, changeRoutes()...)
	rows = append(rows, webhookRoutes()...)
	rows = append(rows, openAPIRoutes()...)
	rows = append(rows, usageRoutes()...)
	rows = append(rows, a.recordRoutes()...)
	rows = append(rows, instanceRoutes()...)
	rows = append(rows, driverRoutes()...)
	rows = append(rows, ramdiskRoutes()...)
	rows = append(rows, manageRoutes()...)
	rows = append(rows, partsRoutes()...)
	rows = append(rows, vendorRoutes()...)
	rows = append(rows, a.besideRoutes()...)
	if a.cfg.Images != nil {
		rows = append(rows,
			route{method: get, path: "/v1/images", need: access.ImageRead, handle: (*call).images},
			route{method: get, path: "/v1/images/{image}", need: access.ImageRead, handle: (*call).showImage},
			route{method: put, path: "/v1/images/{image}", need: access.ImageChange, body: -1, handle: (*call).putImage},
			route{method: del, path: "/v1/images/{image}", need: access.ImageChange, handle: (*call).deleteImage},
		)
	}
	return rows
}
