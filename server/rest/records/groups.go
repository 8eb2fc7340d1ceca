package records

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// portgroups is the collection of port groups.
func portgroups() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindPortgroup, Named: 23}, path: "portgroups", since: 23,
		listing: access.PortList, reading: access.PortRead, creating: access.PortCreate, changing: access.PortChange, shape: shape.New(api.Portgroup{}, api.PortgroupFields()),
		fresh:   func() conductor.Record { return &conductor.Portgroup{Mode: "active-backup", Standalone: true} },
		filters: []recordFilter{ofNode("node"), byAddress, ofShards(106), ofGroups},
		apart:   []apart{{fault.RequestInvalid, []string{"node", "address", "shard", "conductor_groups"}}},
		show: func(c *serve.Call, r conductor.Record) any {
			g := r.(*conductor.Portgroup)
			out := api.Portgroup{
				UUID: g.UUID, Name: shape.OrNull(g.Name), Address: shape.OrNull(g.Address), NodeUUID: string(g.Node), Mode: shape.OrNull(g.Mode), Properties: shape.Object(g.Properties),
				StandalonePortsSupported: g.Standalone, PhysicalNetwork: shape.OrNull(g.PhysicalNet), Category: shape.OrNull(g.Category), Extra: shape.Object(g.Extra),
				InternalInfo: shape.Object(g.InternalInfo), Ports: api.LinkPair(c.Base, "portgroups/"+g.UUID+"/ports"), Links: api.LinkPair(c.Base, "portgroups/"+g.UUID),
			}
			out.CreatedAt, out.UpdatedAt = stamps(&g.Head)
			return out
		},
		prepare: func(c *serve.Call, r conductor.Record, doc map[string]any) error {
			if v, given := doc["mode"]; given && v == nil { // the default, as none given
				delete(doc, "mode")
			}
			return nodeByUUID(c, r, doc)
		},
		fields: portgroupSetters,
	}
}

// nodeByUUID refuses a node_uuid that is none.
func nodeByUUID(_ *serve.Call, _ conductor.Record, doc map[string]any) error {
	if of, ok := doc["node_uuid"].(string); ok && !shape.IsUUID(of) {
		return shape.WantUUID("node_uuid", of)
	}
	return nil
}

var portgroupSetters = setters[conductor.Portgroup]{
	"address": func(_ *serve.Call, g *conductor.Portgroup, d document, field string) (err error) {
		if g.Address = d.text(field); g.Address != "" {
			g.Address, err = macAddress(g.Address)
		}
		return err
	},
	"node_uuid": nodeTo("portgroup", func(g *conductor.Portgroup) *conductor.NodeID { return &g.Node }),
	"mode": func(_ *serve.Call, g *conductor.Portgroup, d document, field string) error {
		if g.Mode = d.text(field); g.Mode == "" {
			return fault.New(fault.RequestInvalid, "'mode' is a mandatory attribute and can not be removed")
		}
		return nil
	},
	"properties":                 objectTo(func(g *conductor.Portgroup) *map[string]any { return &g.Properties }),
	"standalone_ports_supported": flagTo(func(g *conductor.Portgroup) *bool { return &g.Standalone }),
	"physical_network":           networkTo(func(g *conductor.Portgroup) *string { return &g.PhysicalNet }),
	"category":                   textTo(func(g *conductor.Portgroup) *string { return &g.Category }),
	"extra":                      objectTo(func(g *conductor.Portgroup) *map[string]any { return &g.Extra }),
}

// setGroup selects the ports of a port group.
func (a *API) setGroup(c *serve.Call, f *conductor.RecordFilter, id string) error {
	if _, err := shape.Ident(id); err != nil {
		return err
	}
	g, err := a.backend.Record(c.R.Context(), conductor.KindPortgroup, id)
	if err != nil {
		return err
	}
	if _, err := c.FindNode(string(g.Keys().Node)); fault.Is(err, fault.NotFound) {
		return conductor.KindPortgroup.Missing(id) // the caller may not see it
	} else if err != nil {
		return err
	}
	f.Is = map[string][]string{"portgroup_uuid": {g.Top().UUID}}
	return nil
}

// chassis is the collection of chassis.
func chassis() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindChassis}, path: "chassis", since: 1,
		listing: access.ChassisRead, reading: access.ChassisRead, creating: access.ChassisChange, changing: access.ChassisChange, shape: shape.New(api.Chassis{}, api.ChassisFields()),
		show: func(c *serve.Call, r conductor.Record) any {
			x := r.(*conductor.Chassis)
			path := "chassis/" + x.UUID
			out := api.Chassis{UUID: x.UUID, Description: shape.OrNull(x.Description), Extra: shape.Object(x.Extra), Links: api.LinkPair(c.Base, path),
				Nodes: [][]api.Link{api.LinkPair(c.Base, path+"/nodes")}}
			out.CreatedAt, out.UpdatedAt = stamps(&x.Head)
			return out
		},
		fields: setters[conductor.Chassis]{
			"description": textTo(func(x *conductor.Chassis) *string { return &x.Description }),
			"extra":       objectTo(func(x *conductor.Chassis) *map[string]any { return &x.Extra }),
		},
	}
}

// connectors is the collection of volume connectors.
func connectors() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindConnector}, path: "volume/connectors", list: "connectors", since: 32, details: true,
		listing: access.VolumeList, reading: access.VolumeRead, creating: access.VolumeCreate, changing: access.VolumeChange, shape: shape.New(api.Connector{}, api.ConnectorFields()),
		filters: []recordFilter{ofNode("node")},
		show: func(c *serve.Call, r conductor.Record) any {
			x := r.(*conductor.Connector)
			out := api.Connector{UUID: x.UUID, NodeUUID: string(x.Node), Type: x.Type, ConnectorID: x.ID, Extra: shape.Object(x.Extra),
				Links: api.LinkPair(c.Base, "volume/connectors/"+x.UUID)}
			out.CreatedAt, out.UpdatedAt = stamps(&x.Head)
			return out
		},
		prepare: nodeByUUID,
		fields: setters[conductor.Connector]{
			"node_uuid":    nodeTo("volume connector", func(x *conductor.Connector) *conductor.NodeID { return &x.Node }),
			"type":         textTo(func(x *conductor.Connector) *string { return &x.Type }),
			"connector_id": textTo(func(x *conductor.Connector) *string { return &x.ID }),
			"extra":        objectTo(func(x *conductor.Connector) *map[string]any { return &x.Extra }),
		},
	}
}

// targets is the collection of volume targets.
func targets() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindTarget}, path: "volume/targets", list: "targets", since: 32, details: true,
		listing: access.VolumeList, reading: access.VolumeRead, creating: access.VolumeCreate, changing: access.VolumeChange, shape: shape.New(api.Target{}, api.TargetFields()),
		filters: []recordFilter{ofNode("node")},
		show: func(c *serve.Call, r conductor.Record) any {
			x := r.(*conductor.Target)
			properties, _ := mask.Deep(shape.Object(x.Properties)).(map[string]any)
			out := api.Target{UUID: x.UUID, NodeUUID: string(x.Node), VolumeType: x.Type, VolumeID: x.Volume, BootIndex: x.BootIndex,
				Properties: properties, Extra: shape.Object(x.Extra), Links: api.LinkPair(c.Base, "volume/targets/"+x.UUID)}
			out.CreatedAt, out.UpdatedAt = stamps(&x.Head)
			return out
		},
		prepare: nodeByUUID,
		fields: setters[conductor.Target]{
			"node_uuid":   nodeTo("volume target", func(x *conductor.Target) *conductor.NodeID { return &x.Node }),
			"volume_type": textTo(func(x *conductor.Target) *string { return &x.Type }),
			"volume_id":   textTo(func(x *conductor.Target) *string { return &x.Volume }),
			"boot_index": func(_ *serve.Call, x *conductor.Target, d document, field string) error {
				x.BootIndex = d.number(field)
				return nil
			},
			"properties": func(_ *serve.Call, x *conductor.Target, d document, field string) error {
				if x.Properties = d.object(field); mask.HasSecret(x.Properties) {
					return fault.New(fault.RequestInvalid, "properties would hold a secret, and this server keeps none there")
				}
				return nil
			},
			"extra": objectTo(func(x *conductor.Target) *map[string]any { return &x.Extra }),
		},
	}
}

// besideRoutes is what stands beside nodes and is no collection.
func (a *API) besideRoutes() []serve.Route {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	const node = "/v1/nodes/{node}"
	groups := a.collection(conductor.KindPortgroup)
	return []serve.Route{
		{Method: get, Path: node + "/allocation", Need: access.NodeRead, Since: 52, Query: []serve.Argument{serve.FieldsArgument}, Handle: a.nodeAllocation},
		{Method: del, Path: node + "/allocation", Need: access.NodeRead, Since: 52, Handle: a.deleteNodeAllocation},
		{Method: get, Path: node + "/volume", Need: access.VolumeRead, Since: 32, Handle: a.nodeVolume},
		{Method: get, Path: "/v1/volume", Need: access.VolumeList, Since: 32, Handle: a.volume},
		{Method: get, Path: "/v1/portgroups/{record}/ports", Need: access.PortRead, Record: &groups.Records, Since: 24, Query: belowArguments(a.collection(conductor.KindPort), "portgroup", false), Handle: func(c *serve.Call) error { return a.groupPorts(c, false) }},
		{Method: get, Path: "/v1/portgroups/{record}/ports/detail", Need: access.PortRead, Record: &groups.Records, Since: 24, Query: belowArguments(a.collection(conductor.KindPort), "portgroup", true), Handle: func(c *serve.Call) error { return a.groupPorts(c, true) }},
		{Method: post, Path: "/v1/events", Need: access.EventsPost, Since: 54, Body: serve.MaxBody, Handle: a.takeEvents},
	}
}

func (a *API) groupPorts(c *serve.Call, detail bool) error {
	id, err := c.Record()
	if err != nil {
		return err
	}
	return a.listRecords(c, a.collection(conductor.KindPort), detail, &narrowed{"portgroup", func(f *conductor.RecordFilter) error { return a.setGroup(c, f, id) }})
}

// volume names the two collections below it.
func (a *API) volume(c *serve.Call) error { return c.JSON(http.StatusOK, a.volumeLinks(c, "")) }

func (a *API) nodeVolume(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	if _, err := a.backend.Node(c.R.Context(), id); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.volumeLinks(c, "nodes/"+id+"/"))
}

func (a *API) volumeLinks(c *serve.Call, below string) map[string]any {
	path := below + "volume/"
	return map[string]any{"connectors": api.LinkPair(c.Base, path+"connectors"), "targets": api.LinkPair(c.Base, path+"targets"), "links": api.LinkPair(c.Base, path)}
}

// takeEvents takes what a network service tells of ports. Nothing here waits for it; a malformed one is refused.
func (a *API) takeEvents(c *serve.Call) error {
	body, err := c.Body(false, "events")
	if err != nil {
		return err
	}
	list, ok := body["events"].([]any)
	if !ok || len(list) == 0 {
		return fault.New(fault.RequestInvalid, "events must be a list of at least one event")
	}
	needed := []string{"event", "port_id", "mac_address", "status"}
	known := append(needed, "device_id", "binding:host_id", "binding:vnic_type")
	for _, x := range list {
		e, _ := x.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(e)) {
			if _, text := e[k].(string); !text && e[k] != nil || !slices.Contains(known, k) {
				return fault.New(fault.RequestInvalid, "%s of an event is not known or no string; known are %s", k, strings.Join(known, ", "))
			}
		}
		for _, k := range needed {
			if e[k] == nil {
				return fault.New(fault.RequestInvalid, "an event lacks %s", k)
			}
		}
		switch e["event"] {
		case "network.bind_port", "network.unbind_port", "network.delete_port":
		default:
			return fault.New(fault.RequestInvalid, "%v is no event; events are network.bind_port, network.unbind_port and network.delete_port", e["event"])
		}
		for _, k := range []string{"port_id", "device_id", "binding:host_id"} {
			if id, given := e[k].(string); given {
				if err := shape.WantUUID(k, id); err != nil {
					return err
				}
			}
		}
		if _, err := macAddress(e["mac_address"].(string)); err != nil {
			return err
		}
	}
	return c.Empty(http.StatusNoContent)
}
