package records

import (
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/server/rest/shape"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// ports is the collection of network cards.
func (a *API) ports() *collection {
	return &collection{
		Records: serve.Records{Kind: conductor.KindPort, Named: 88}, path: "ports", since: 1,
		listing: access.PortList, reading: access.PortRead, creating: access.PortCreate, changing: access.PortChange, shape: shape.New(api.Port{}, api.PortFields()),
		fresh: func() conductor.Record { return &conductor.Port{PXE: true} },
		show:  showPort, conceal: concealLink, prepare: preparePort, judge: judgePort, fields: portSetters,
		filters: []recordFilter{
			ofNode("node"), ofNode("node_uuid"), byAddress,
			{serve.Argument{Name: "portgroup", Since: 24, Doc: "only those of this port group"}, func(c *serve.Call, f *conductor.RecordFilter, v string) error { return a.setGroup(c, f, v) }},
			ofShards(82),
			{serve.Argument{Name: "description_contains", Since: 97, Doc: "only those with this in their description"}, func(_ *serve.Call, f *conductor.RecordFilter, v string) error {
				f.Contains = map[string]string{"description": v}
				return nil
			}},
			ofGroups,
		},
		apart: []apart{
			{fault.RequestForbidden, []string{"node", "portgroup", "shard"}},
			{fault.RequestForbidden, []string{"node_uuid", "portgroup", "shard"}},
			{fault.RequestInvalid, []string{"conductor_groups", "node"}},
			{fault.RequestInvalid, []string{"conductor_groups", "node_uuid"}},
			{fault.RequestInvalid, []string{"conductor_groups", "portgroup"}},
			{fault.RequestInvalid, []string{"conductor_groups", "address"}},
		},
	}
}

// byAddress selects by MAC address; one that is free selects nothing.
var byAddress = recordFilter{serve.Argument{Name: "address", Doc: "only the one with this MAC address"}, func(_ *serve.Call, f *conductor.RecordFilter, v string) (err error) {
	f.Mark, err = macAddress(v)
	return err
}}

// ofShards selects what belongs to nodes in shards.
func ofShards(since api.Version) recordFilter {
	return recordFilter{serve.Argument{Name: "shard", Kind: api.List, Since: since, Doc: "only those of nodes in one of these shards"}, nodeIs("shard", shape.Shards)}
}

// ofGroups selects what belongs to nodes in conductor groups.
var ofGroups = recordFilter{serve.Argument{Name: "conductor_groups", Kind: api.List, Since: 99, Doc: "only those of nodes in one of these groups"}, nodeIs("conductor_group", shape.Items)}

// nodeIs selects by a field of the record's node, from a list of values.
func nodeIs(field string, values func(list string) []string) func(*serve.Call, *conductor.RecordFilter, string) error {
	return func(_ *serve.Call, f *conductor.RecordFilter, v string) error {
		if f.NodeIs == nil {
			f.NodeIs = map[string][]string{}
		}
		f.NodeIs[field] = values(v)
		return nil
	}
}

func showPort(c *serve.Call, r conductor.Record) any {
	p := r.(*conductor.Port)
	out := api.Port{
		UUID: p.UUID, Address: p.Address, NodeUUID: string(p.Node), Name: shape.OrNull(p.Name), PXEEnabled: p.PXE,
		LocalLinkConnection: shape.Object(p.Link), PortgroupUUID: shape.OrNull(p.Group), PhysicalNetwork: shape.OrNull(p.PhysicalNet), IsSmartNIC: p.SmartNIC,
		Extra: shape.Object(p.Extra), InternalInfo: shape.Object(p.InternalInfo), Description: shape.OrNull(p.Description), Vendor: shape.OrNull(p.Vendor),
		Category: shape.OrNull(p.Category), Links: api.LinkPair(c.Base, "ports/"+p.UUID),
	}
	out.CreatedAt, out.UpdatedAt = stamps(&p.Head)
	return out
}

// preparePort takes node_ident for node_uuid. Null for what is no null by default is as none given.
func preparePort(c *serve.Call, _ conductor.Record, doc map[string]any) error {
	for _, name := range []string{"local_link_connection", "pxe_enabled"} {
		if v, given := doc[name]; given && v == nil {
			delete(doc, name)
		}
	}
	if of, given := doc["node_ident"]; given {
		if _, both := doc["node_uuid"]; both {
			return fault.New(fault.RequestInvalid, "give node_uuid or node_ident, not both")
		}
		if c.Version < 94 {
			return fault.New(fault.RequestVersion, "node_ident is there from version 1.94 on, %s was asked for", c.Version)
		}
		doc["node_uuid"] = of
		delete(doc, "node_ident")
	} else if of, ok := doc["node_uuid"].(string); ok && !shape.IsUUID(of) {
		return shape.WantUUID("node_uuid", of)
	}
	return nil
}

var portSetters = setters[conductor.Port]{
	"address": func(_ *serve.Call, p *conductor.Port, d document, field string) (err error) {
		p.Address, err = macAddress(d.text(field))
		return err
	},
	"node_uuid":   nodeTo("port", func(p *conductor.Port) *conductor.NodeID { return &p.Node }),
	"pxe_enabled": flagTo(func(p *conductor.Port) *bool { return &p.PXE }),
	"local_link_connection": func(c *serve.Call, p *conductor.Port, d document, field string) error {
		was := p.Link
		p.Link = d.object(field)
		return checkLink(c.Version, p.Link, was)
	},
	"portgroup_uuid":   textTo(func(p *conductor.Port) *string { return &p.Group }),
	"physical_network": networkTo(func(p *conductor.Port) *string { return &p.PhysicalNet }),
	"is_smartnic":      flagTo(func(p *conductor.Port) *bool { return &p.SmartNIC }),
	"extra":            objectTo(func(p *conductor.Port) *map[string]any { return &p.Extra }),
	"description":      textTo(func(p *conductor.Port) *string { return &p.Description }),
	"vendor":           textTo(func(p *conductor.Port) *string { return &p.Vendor }),
	"category":         textTo(func(p *conductor.Port) *string { return &p.Category }),
}

// macAddress is an Ethernet address in lower case. It is written with colons: no other form is an address to Ironic's clients.
func macAddress(s string) (string, error) {
	mac, ok := api.MAC(s)
	if !ok || !strings.EqualFold(mac, s) {
		return "", fault.New(fault.RequestInvalid, "Expected a MAC address but received %q.", s).WithHint("write it as 52:54:00:aa:bb:cc")
	}
	return mac, nil
}

// judgePort looks at what fields have to do with each other: the physical network of a port in a group is the group's,
// where that has one (1.102); and a smart NIC is reached by its host's name, so a connection that is given must say so.
func judgePort(c *serve.Call, r conductor.Record, d document, names []string) ([]string, error) {
	p := r.(*conductor.Port)
	if p.Node != "" && c.Version >= 102 && slices.Contains(names, "physical_network") && d.text("portgroup_uuid") != "" {
		return nil, fault.New(fault.RequestInvalid, "physical_network cannot be changed while the port belongs to a portgroup.").
			WithHint("set that of the port group, and its ports follow; or take the port out first")
	}
	smart, link := p.SmartNIC, p.Link
	linked := slices.Contains(names, "local_link_connection")
	if linked {
		link = d.object("local_link_connection")
	}
	judged := linked && (p.Node == "" || len(link) > 0) // that an existing port loses its connection is no matter
	if slices.Contains(names, "is_smartnic") {
		smart = d.flag("is_smartnic")
		judged = judged || len(link) > 0
	}
	if smart && judged && (link["port_id"] == nil || link["hostname"] == nil) {
		return nil, fault.New(fault.RequestInvalid, "Smart NIC port must have port_id and hostname in local_link_connection, %s given", stated(link)).
			WithHint("give both, or leave is_smartnic false")
	}
	return names, nil
}

// stated names the keys of a connection.
func stated(link map[string]any) string {
	if len(link) == 0 {
		return "none is"
	}
	return strings.Join(slices.Sorted(maps.Keys(link)), ", ") + " is"
}

// vtep are the keys of local_link_connection for OVN, which came with 1.90 and went with 1.105.
var vtep = []string{"vtep-logical-switch", "vtep-physical-switch"}

func hasVTEP(v api.Version) bool { return v >= 90 && v < 105 }

// concealLink shows an empty local_link_connection for one with keys that the version does not have.
func concealLink(v api.Version, shown any) any {
	p := shown.(api.Port)
	if !hasVTEP(v) && slices.ContainsFunc(vtep, func(k string) bool { return p.LocalLinkConnection[k] != nil }) {
		p.LocalLinkConnection = map[string]any{}
	}
	return p
}

// links are the forms of local_link_connection: what each needs.
var links = [][]string{{"switch_id", "port_id"}, {"port_id", "hostname"}, {"port_id", vtep[0], vtep[1]}}

// checkLink knows the forms of local_link_connection, and makes switch_id canonical. What a version does not have it may
// keep as it was, but not set.
func checkLink(v api.Version, m, was map[string]any) error {
	if len(m) == 0 {
		return nil
	}
	known := append([]string{"switch_id", "port_id", "switch_info", "hostname", "network_type"}, vtep...)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, text := m[k].(string); !text || !slices.Contains(known, k) {
			return fault.New(fault.RequestInvalid, "local_link_connection.%s is not known or no string; known are %s", k, strings.Join(known, ", "))
		}
		switch {
		case m[k] == was[k]:
		case k == "network_type" && v < 64:
			return fault.New(fault.RequestVersion, "local_link_connection.network_type is there from version 1.64 on, %s was asked for", v)
		case slices.Contains(vtep, k) && !hasVTEP(v):
			return fault.New(fault.RequestVersion, "local_link_connection.%s is there from version 1.90 to 1.104, %s was asked for", k, v)
		}
	}
	has := func(k string) bool { return m[k] != nil }
	kind := m["network_type"]
	switch {
	case has("network_type") && kind != "managed" && kind != "unmanaged":
		return fault.New(fault.RequestInvalid, "local_link_connection.network_type is %q, expected managed or unmanaged", kind)
	case has(vtep[0]) != has(vtep[1]):
		return fault.New(fault.RequestInvalid, "local_link_connection needs both %s, or neither", strings.Join(vtep, " and "))
	case kind != "unmanaged" && !slices.ContainsFunc(links, func(form []string) bool { return !slices.ContainsFunc(form, func(k string) bool { return !has(k) }) }):
		return fault.New(fault.RequestInvalid, "local_link_connection needs switch_id and port_id, or port_id and hostname, or network_type unmanaged")
	}
	if !has("switch_id") {
		return nil
	}
	id, _ := m["switch_id"].(string)
	if _, err := macAddress(id); err != nil && !isDatapath(id) {
		return fault.New(fault.RequestInvalid, "local_link_connection.switch_id is %q, expected a MAC address or an OpenFlow datapath id", id).
			WithHint("write it as 52:54:00:aa:bb:cc, or as 16 hex digits")
	}
	m["switch_id"] = strings.ToLower(id)
	return nil
}

// isDatapath tells an OpenFlow datapath id: 16 hex digits.
func isDatapath(s string) bool {
	if len(s) != 16 {
		return false
	}
	for _, r := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}
