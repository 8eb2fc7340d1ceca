package rest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/mask"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// portgroups is the collection of port groups.
func portgroups() *collection {
	return &collection{
		kind: conductor.KindPortgroup, path: "portgroups", since: 23, named: 23,
		listing: access.PortList, reading: access.PortRead, creating: access.PortCreate, changing: access.PortChange, shape: shape.New(api.Portgroup{}, api.PortgroupFields()),
		fresh:   func() conductor.Record { return &conductor.Portgroup{Mode: "active-backup", Standalone: true} },
		filters: []recordFilter{ofNode("node"), byAddress},
		show: func(c *call, r conductor.Record) any {
			g := r.(*conductor.Portgroup)
			out := api.Portgroup{
				UUID: g.UUID, Name: shape.OrNull(g.Name), Address: shape.OrNull(g.Address), NodeUUID: string(g.Node), Mode: shape.OrNull(g.Mode), Properties: shape.Object(g.Properties),
				StandalonePortsSupported: g.Standalone, PhysicalNetwork: shape.OrNull(g.PhysicalNet), Category: shape.OrNull(g.Category), Extra: shape.Object(g.Extra),
				InternalInfo: shape.Object(g.InternalInfo), Ports: api.LinkPair(c.base, "portgroups/"+g.UUID+"/ports"), Links: api.LinkPair(c.base, "portgroups/"+g.UUID),
			}
			out.CreatedAt, out.UpdatedAt = stamps(&g.Head)
			return out
		},
		prepare: nodeByUUID,
		fields:  portgroupSetters,
	}
}

// nodeByUUID refuses a node_uuid that is none.
func nodeByUUID(_ *call, doc map[string]any) error {
	if of, ok := doc["node_uuid"].(string); ok && !shape.IsUUID(of) {
		return shape.WantUUID("node_uuid", of)
	}
	return nil
}

var portgroupSetters = setters[conductor.Portgroup]{
	"address": func(_ *call, g *conductor.Portgroup, d document, field string) (err error) {
		if g.Address = d.text(field); g.Address != "" {
			g.Address, err = macAddress(g.Address)
		}
		return err
	},
	"node_uuid": nodeTo("portgroup", func(g *conductor.Portgroup) *conductor.NodeID { return &g.Node }),
	"mode": func(_ *call, g *conductor.Portgroup, d document, field string) error {
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
func (c *call) setGroup(f *conductor.RecordFilter, id string) error {
	if _, err := shape.Ident(id); err != nil {
		return err
	}
	g, err := c.api.cfg.Backend.Record(c.r.Context(), conductor.KindPortgroup, id)
	if err != nil {
		return err
	}
	if _, err := c.findNode(string(g.Keys().Node)); fault.Is(err, fault.NotFound) {
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
		kind: conductor.KindChassis, path: "chassis", since: 1,
		listing: access.ChassisRead, reading: access.ChassisRead, creating: access.ChassisChange, changing: access.ChassisChange, shape: shape.New(api.Chassis{}, api.ChassisFields()),
		show: func(c *call, r conductor.Record) any {
			x := r.(*conductor.Chassis)
			path := "chassis/" + x.UUID
			out := api.Chassis{UUID: x.UUID, Description: shape.OrNull(x.Description), Extra: shape.Object(x.Extra), Links: api.LinkPair(c.base, path),
				Nodes: [][]api.Link{api.LinkPair(c.base, path+"/nodes")}}
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
		kind: conductor.KindConnector, path: "volume/connectors", list: "connectors", since: 32,
		listing: access.VolumeList, reading: access.VolumeRead, creating: access.VolumeCreate, changing: access.VolumeChange, shape: shape.New(api.Connector{}, api.ConnectorFields()),
		filters: []recordFilter{ofNode("node")},
		show: func(c *call, r conductor.Record) any {
			x := r.(*conductor.Connector)
			out := api.Connector{UUID: x.UUID, NodeUUID: string(x.Node), Type: x.Type, ConnectorID: x.ID, Extra: shape.Object(x.Extra),
				Links: api.LinkPair(c.base, "volume/connectors/"+x.UUID)}
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
		kind: conductor.KindTarget, path: "volume/targets", list: "targets", since: 32,
		listing: access.VolumeList, reading: access.VolumeRead, creating: access.VolumeCreate, changing: access.VolumeChange, shape: shape.New(api.Target{}, api.TargetFields()),
		filters: []recordFilter{ofNode("node")},
		show: func(c *call, r conductor.Record) any {
			x := r.(*conductor.Target)
			properties, _ := mask.Deep(shape.Object(x.Properties)).(map[string]any)
			out := api.Target{UUID: x.UUID, NodeUUID: string(x.Node), VolumeType: x.Type, VolumeID: x.Volume, BootIndex: x.BootIndex,
				Properties: properties, Extra: shape.Object(x.Extra), Links: api.LinkPair(c.base, "volume/targets/"+x.UUID)}
			out.CreatedAt, out.UpdatedAt = stamps(&x.Head)
			return out
		},
		prepare: nodeByUUID,
		fields: setters[conductor.Target]{
			"node_uuid":   nodeTo("volume target", func(x *conductor.Target) *conductor.NodeID { return &x.Node }),
			"volume_type": textTo(func(x *conductor.Target) *string { return &x.Type }),
			"volume_id":   textTo(func(x *conductor.Target) *string { return &x.Volume }),
			"boot_index": func(_ *call, x *conductor.Target, d document, field string) error {
				x.BootIndex = d.number(field)
				return nil
			},
			"properties": func(_ *call, x *conductor.Target, d document, field string) error {
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
func (a *API) besideRoutes() []route {
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	const node = "/v1/nodes/{node}"
	chassis, groups := a.collection(conductor.KindChassis), a.collection(conductor.KindPortgroup)
	return []route{
		{method: get, path: node + "/allocation", need: access.NodeRead, since: 52, handle: (*call).nodeAllocation},
		{method: del, path: node + "/allocation", need: access.NodeRead, since: 52, handle: (*call).deleteNodeAllocation},
		{method: get, path: node + "/children", need: access.NodeRead, since: 83, handle: (*call).children},
		{method: get, path: node + "/volume", need: access.VolumeRead, since: 32, handle: (*call).nodeVolume},
		{method: get, path: "/v1/volume", need: access.VolumeList, since: 32, handle: (*call).volume},
		{method: get, path: "/v1/chassis/{record}/nodes", need: access.ChassisRead, record: chassis, handle: func(c *call) error { return c.chassisNodes(false) }},
		{method: get, path: "/v1/chassis/{record}/nodes/detail", need: access.ChassisRead, record: chassis, handle: func(c *call) error { return c.chassisNodes(true) }},
		{method: get, path: "/v1/portgroups/{record}/ports", need: access.PortRead, record: groups, since: 24, handle: func(c *call) error { return c.groupPorts(false) }},
		{method: get, path: "/v1/portgroups/{record}/ports/detail", need: access.PortRead, record: groups, since: 24, handle: func(c *call) error { return c.groupPorts(true) }},
		{method: get, path: "/v1/shards", need: access.ShardRead, since: 82, handle: (*call).shards},
		{method: post, path: "/v1/events", need: access.EventsPost, since: 54, body: maxBody, handle: (*call).takeEvents},
	}
}

func (c *call) groupPorts(detail bool) error {
	id, err := c.record()
	if err != nil {
		return err
	}
	return c.listRecords(c.api.collection(conductor.KindPort), detail, func(f *conductor.RecordFilter) error { return c.setGroup(f, id) })
}

func (c *call) chassisNodes(detail bool) error {
	id, err := c.record()
	if err != nil {
		return err
	}
	x, err := c.api.cfg.Backend.Record(c.r.Context(), conductor.KindChassis, id)
	if err != nil {
		return err
	}
	return c.listNodesIn(detail, func(f *conductor.NodeFilter) { f.Chassis = x.Top().UUID })
}

// volume names the two collections below it.
func (c *call) volume() error { return c.json(http.StatusOK, c.volumeLinks("")) }

func (c *call) nodeVolume() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	if _, err := c.api.cfg.Backend.Node(c.r.Context(), id); err != nil {
		return err
	}
	return c.json(http.StatusOK, c.volumeLinks("nodes/"+id+"/"))
}

func (c *call) volumeLinks(below string) map[string]any {
	path := below + "volume/"
	return map[string]any{"connectors": api.LinkPair(c.base, path+"connectors"), "targets": api.LinkPair(c.base, path+"targets"), "links": api.LinkPair(c.base, path)}
}

// children lists the nodes that are parts of a node.
func (c *call) children() error {
	id, err := c.node()
	if err != nil {
		return err
	}
	n, err := c.api.cfg.Backend.Node(c.r.Context(), id)
	if err != nil {
		return err
	}
	parts, err := c.api.cfg.Backend.Nodes(c.r.Context(), conductor.NodeFilter{Parent: n.UUID, Limit: maxPage, VisibleTo: c.visibleTo()})
	if err != nil {
		return err
	}
	ids := []string{}
	for _, p := range parts {
		ids = append(ids, string(p.UUID))
	}
	return c.json(http.StatusOK, map[string]any{"children": ids, "links": api.LinkPair(c.base, "nodes/"+string(n.UUID)+"/children")})
}

// shards lists the parts of the fleet; nodes in none are counted under the name None, as Ironic has it.
func (c *call) shards() error {
	all, err := c.api.cfg.Backend.Shards(c.r.Context())
	if err != nil {
		return err
	}
	list := []map[string]any{}
	for _, s := range all {
		name := s.Name
		if name == "" {
			name = "None"
		}
		list = append(list, map[string]any{"name": name, "count": s.Count})
	}
	return c.json(http.StatusOK, map[string]any{"shards": list})
}

// takeEvents takes what a network service tells of ports. Nothing here waits for it; a malformed one is refused.
func (c *call) takeEvents() error {
	body, err := c.body(false, "events")
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
		if err := shape.WantUUID("port_id", e["port_id"].(string)); err != nil {
			return err
		}
		if _, err := macAddress(e["mac_address"].(string)); err != nil {
			return err
		}
	}
	return c.empty(http.StatusNoContent)
}
