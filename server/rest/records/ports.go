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
		show:  showPort, prepare: preparePort, fields: portSetters,
		filters: []recordFilter{
			ofNode("node"), ofNode("node_uuid"), byAddress,
			{serve.Argument{Name: "portgroup", Since: 24, Doc: "only those of this port group"}, func(c *serve.Call, f *conductor.RecordFilter, v string) error { return a.setGroup(c, f, v) }},
			{serve.Argument{Name: "shard", Kind: api.List, Since: 82, Doc: "only those of nodes in one of these shards"}, nodeIs("shard")},
			{serve.Argument{Name: "description_contains", Since: 97, Doc: "only those with this in their description"}, func(_ *serve.Call, f *conductor.RecordFilter, v string) error {
				f.Contains = map[string]string{"description": v}
				return nil
			}},
			{serve.Argument{Name: "conductor_groups", Kind: api.List, Since: 99, Doc: "only those of nodes in one of these groups"}, nodeIs("conductor_group")},
		},
		exclusive: []string{"node", "node_uuid", "portgroup", "shard"},
	}
}

// byAddress selects by MAC address; one that is free selects nothing.
var byAddress = recordFilter{serve.Argument{Name: "address", Doc: "only the one with this MAC address"}, func(_ *serve.Call, f *conductor.RecordFilter, v string) (err error) {
	f.Mark, err = macAddress(v)
	return err
}}

// nodeIs selects by a field of the record's node, from a list of values.
func nodeIs(field string) func(*serve.Call, *conductor.RecordFilter, string) error {
	return func(_ *serve.Call, f *conductor.RecordFilter, v string) error {
		if f.NodeIs == nil {
			f.NodeIs = map[string][]string{}
		}
		f.NodeIs[field] = strings.Split(v, ",")
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

// preparePort takes node_ident for node_uuid.
func preparePort(c *serve.Call, _ conductor.Record, doc map[string]any) error {
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
		p.Link = d.object(field)
		return checkLink(c, p.Link)
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

// checkLink knows the forms of local_link_connection.
func checkLink(c *serve.Call, m map[string]any) error {
	if len(m) == 0 {
		return nil
	}
	known := []string{"switch_id", "port_id", "switch_info", "hostname", "network_type"}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if _, text := m[k].(string); !text || !slices.Contains(known, k) {
			return fault.New(fault.RequestInvalid, "local_link_connection.%s is not known or no string; known are %s", k, strings.Join(known, ", "))
		}
	}
	has := func(k string) bool { _, ok := m[k]; return ok }
	if has("network_type") && c.Version < 64 {
		return fault.New(fault.RequestVersion, "local_link_connection.network_type is there from version 1.64 on, %s was asked for", c.Version)
	}
	if kind := m["network_type"]; has("network_type") && kind != "managed" && kind != "unmanaged" {
		return fault.New(fault.RequestInvalid, "local_link_connection.network_type is %q, expected managed or unmanaged", kind)
	}
	if has("switch_id") && has("port_id") {
		id, _ := m["switch_id"].(string)
		if mac, ok := api.MAC(id); ok {
			m["switch_id"] = mac
			return nil
		}
		if isDatapath(id) {
			m["switch_id"] = strings.ToLower(id)
			return nil
		}
		return fault.New(fault.RequestInvalid, "local_link_connection.switch_id is %q, expected a MAC address or an OpenFlow datapath id", id)
	}
	if has("port_id") && has("hostname") || m["network_type"] == "unmanaged" {
		return nil
	}
	return fault.New(fault.RequestInvalid, "local_link_connection needs switch_id and port_id, or port_id and hostname, or network_type unmanaged")
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
