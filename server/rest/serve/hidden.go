package serve

import "strings"

// hiding is where nothing is found before the first version of what is there. Ironic answers with the router's error
// then; its other endpoints are reached in every version, and say themselves that they are too new.
var hiding = []string{
	"/v1/allocations", "/v1/deploy_templates", "/v1/runbooks", "/v1/portgroups/{record}/ports",
	"/v1/nodes/{node}/allocation", "/v1/nodes/{node}/bios", "/v1/nodes/{node}/firmware", "/v1/nodes/{node}/history",
	"/v1/inspection_rules", "/v1/nodes/{node}/inventory", "/v1/nodes/{node}/portgroups", "/v1/nodes/{node}/vifs", "/v1/nodes/{node}/vmedia",
}

// hidden tells whether the route is one of those, or below one.
func (rt Route) hidden() bool {
	for _, path := range hiding {
		if below, ok := strings.CutPrefix(rt.Path, path); ok && (below == "" || below[0] == '/') {
			return true
		}
	}
	return false
}
