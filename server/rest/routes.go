package rest

import "net/http"

// routes is everything that is served.
func (a *API) routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const node = "/v1/nodes/{node}"
	rows := []route{
		{method: get, path: "/", handle: (*call).root},
		{method: get, path: "/v1", handle: (*call).v1},

		{method: get, path: "/v1/nodes", handle: func(c *call) error { return c.listNodes(false) }},
		{method: get, path: "/v1/nodes/detail", handle: func(c *call) error { return c.listNodes(true) }},
		{method: post, path: "/v1/nodes", body: maxBody, handle: (*call).createNode},
		{method: get, path: node, handle: (*call).showNode},
		{method: patch, path: node, body: maxBody, handle: (*call).patchNode},
		{method: del, path: node, handle: (*call).deleteNode},
		{method: get, path: node + "/validate", handle: (*call).validate},
		{method: get, path: node + "/states", handle: (*call).states},
		{method: put, path: node + "/states/power", body: maxBody, handle: (*call).setPower},
		{method: put, path: node + "/states/provision", body: maxProvision, handle: (*call).provision},
		{method: put, path: node + "/maintenance", body: maxBody, handle: (*call).setMaintenance},
		{method: del, path: node + "/maintenance", handle: (*call).unsetMaintenance},
		{method: get, path: node + "/management/boot_device", handle: (*call).bootDevice},
		{method: put, path: node + "/management/boot_device", body: maxBody, handle: (*call).setBootDevice},
		{method: get, path: node + "/management/boot_device/supported", handle: (*call).bootDevices},
		{method: get, path: node + "/traits", since: 37, handle: (*call).traits},
		{method: put, path: node + "/traits", since: 37, body: maxBody, handle: (*call).setTraits},
		{method: del, path: node + "/traits", since: 37, handle: (*call).removeTraits},
		{method: put, path: node + "/traits/{trait}", since: 37, body: maxBody, handle: (*call).addTrait},
		{method: del, path: node + "/traits/{trait}", since: 37, handle: (*call).removeTrait},
		{method: get, path: node + "/inventory", since: 81, handle: (*call).inventory},
		{method: get, path: node + "/history", since: 78, handle: (*call).history},
		{method: get, path: node + "/history/{entry}", since: 78, handle: (*call).historyEntry},
		{method: get, path: "/v1/drivers", handle: (*call).drivers},
		{method: get, path: "/v1/drivers/{driver}", handle: (*call).showDriver},
		{method: get, path: "/v1/drivers/{driver}/properties", handle: (*call).driverProperties},
		{method: get, path: "/v1/conductors", since: 49, handle: (*call).conductors},
		{method: get, path: "/v1/conductors/{host}", since: 49, handle: (*call).showConductor},

		// Beside Ironic's.
		{method: get, path: node + "/steps", handle: (*call).steps},
		{method: get, path: node + "/plan", handle: (*call).plan},
		{method: get, path: node + "/default_config", handle: (*call).explainDefaults},
		{method: get, path: "/v1/default_config", handle: (*call).defaults},
		{method: put, path: "/v1/default_config", body: maxBody, handle: (*call).setDefaults},
		{method: del, path: "/v1/default_config", handle: (*call).unsetDefaults},
		{method: put, path: node + "/confirm", handle: (*call).confirmNode},
		{method: get, path: node + "/logs", handle: (*call).logs},
		{method: get, path: node + "/doctor", handle: (*call).diagnose},
		{method: post, path: node + "/doctor", body: maxBody, handle: (*call).treat},
		{method: get, path: "/v1/doctor", handle: (*call).doctor},
		{method: get, path: "/v1/events", handle: (*call).events},
		{method: get, path: "/v1/drivers/{driver}/steps", handle: (*call).driverSteps},
	}
	rows = append(rows, a.recordRoutes()...)
	rows = append(rows, instanceRoutes()...)
	if a.cfg.Images != nil {
		rows = append(rows,
			route{method: get, path: "/v1/images", handle: (*call).images},
			route{method: get, path: "/v1/images/{image}", handle: (*call).showImage},
			route{method: put, path: "/v1/images/{image}", body: -1, handle: (*call).putImage},
			route{method: del, path: "/v1/images/{image}", handle: (*call).deleteImage},
		)
	}
	return rows
}
