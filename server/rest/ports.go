package rest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func showPort(p conductor.Port, base string) api.Port {
	out := api.Port{
		UUID: p.UUID, Address: p.Address, NodeUUID: string(p.Node), Name: ptr(p.Name), PXEEnabled: p.PXE,
		LocalLinkConnection: object(p.Link), PhysicalNetwork: ptr(p.PhysicalNet), IsSmartNIC: p.SmartNIC,
		Extra: object(p.Extra), InternalInfo: object(p.InternalInfo), Description: ptr(p.Description),
		CreatedAt: api.Time{Time: p.Created}, Links: api.LinkPair(base, "ports/"+p.UUID),
	}
	if p.Updated.After(p.Created) {
		out.UpdatedAt = api.Time{Time: p.Updated}
	}
	return out
}

func (c *call) listPorts(detail bool) error {
	q, err := c.query(pageArguments("node", "node_uuid", "address")...)
	if err != nil {
		return err
	}
	if q.Has("node") && q.Has("node_uuid") {
		return fault.New(fault.RequestInvalid, "give node or node_uuid, not both")
	}
	if q.Has("node_uuid") {
		if err := wantUUID("node_uuid", q.Get("node_uuid")); err != nil {
			return err
		}
	}
	return c.sendPorts(q, q.Get("node")+q.Get("node_uuid"), detail)
}

func (c *call) nodePorts(detail bool) error {
	id, err := c.node()
	if err != nil {
		return err
	}
	q, err := c.query(pageArguments("address")...)
	if err != nil {
		return err
	}
	return c.sendPorts(q, id, detail)
}

// sendPorts lists the ports of a node, or all.
func (c *call) sendPorts(q url.Values, of string, detail bool) error {
	p, err := c.pageOf(q, c.api.port, detail)
	if err != nil {
		return err
	}
	if p.key != "" || p.down {
		return fault.New(fault.RequestInvalid, "ports are sorted by id, ascending, only")
	}
	filter := conductor.PortFilter{Limit: p.limit, After: p.marker}
	if of != "" {
		if of, err = ident(of); err != nil {
			return err
		}
		n, err := c.api.cfg.Backend.Node(c.r.Context(), of)
		if err != nil {
			return err
		}
		filter.Node = n.UUID
	}
	if q.Has("address") {
		if filter.Address, err = macAddress(q.Get("address")); err != nil {
			return err
		}
	}
	ports, err := c.api.cfg.Backend.Ports(c.r.Context(), filter)
	if err != nil {
		return err
	}
	answer := struct {
		Ports []json.RawMessage `json:"ports"`
		Next  string            `json:"next,omitempty"`
	}{Ports: []json.RawMessage{}}
	for _, x := range ports {
		text, err := c.api.port.encode(showPort(x, c.base), p.sel)
		if err != nil {
			return err
		}
		answer.Ports = append(answer.Ports, text)
	}
	if len(ports) > 0 {
		answer.Next = c.next(p, len(ports), ports[len(ports)-1].UUID)
	}
	return c.json(http.StatusOK, answer)
}

func (c *call) sendPort(status int, p conductor.Port, sel selection) error {
	text, err := c.api.port.encode(showPort(p, c.base), sel)
	if err != nil {
		return err
	}
	return c.json(status, text)
}

// portID is the UUID in the path, or from 1.88 on a name; the conductor knows which.
func (c *call) portID() (string, error) { return ident(mux.Vars(c.r)["port"]) }

func (c *call) showPort() error {
	id, err := c.portID()
	if err != nil {
		return err
	}
	q, err := c.query("fields")
	if err != nil {
		return err
	}
	sel := c.api.port.all(c.version, false)
	if list := q.Get("fields"); list != "" {
		if sel, err = c.api.port.wanted(list, c.version); err != nil {
			return err
		}
	}
	p, err := c.api.cfg.Backend.Port(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.sendPort(http.StatusOK, p, sel)
}

func (c *call) createPort() error {
	doc, err := c.body(false)
	if err != nil {
		return err
	}
	if of, given := doc["node_ident"]; given {
		if _, both := doc["node_uuid"]; both {
			return fault.New(fault.RequestInvalid, "give node_uuid or node_ident, not both")
		}
		if c.version < 94 {
			return fault.New(fault.RequestVersion, "node_ident is there from version 1.94 on, %s was asked for", c.version)
		}
		doc["node_uuid"] = of
		delete(doc, "node_ident")
	} else if of, ok := doc["node_uuid"].(string); ok && !isUUID(of) {
		return wantUUID("node_uuid", of)
	}
	names, err := c.api.port.created(doc, c.version)
	if err != nil {
		return err
	}
	p := conductor.Port{PXE: true}
	if err := c.assignPort(&p, doc, names); err != nil {
		return err
	}
	p, err = c.api.cfg.Backend.CreatePort(c.r.Context(), c.who, p)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", c.base+"/v1/ports/"+p.UUID)
	return c.sendPort(http.StatusCreated, p, c.api.port.all(c.version, false))
}

func (c *call) patchPort() error {
	id, err := c.portID()
	if err != nil {
		return err
	}
	ops, err := c.patch()
	if err != nil {
		return err
	}
	p, err := c.api.cfg.Backend.UpdatePort(c.r.Context(), c.who, id, func(p *conductor.Port) error {
		doc, err := c.api.port.document(showPort(*p, ""))
		if err != nil {
			return err
		}
		doc, touched, err := api.ApplyPatch(doc, ops, c.api.port.fields, c.version)
		if err != nil {
			return err
		}
		if err := c.api.port.check(doc, touched); err != nil {
			return err
		}
		if slices.Contains(touched, "node_uuid") && doc["node_uuid"] != string(p.Node) {
			return fault.New(fault.RequestInvalid, "a port can't be moved to another node").
				WithHint("delete it and create it on the other node")
		}
		return c.assignPort(p, doc, touched)
	})
	if err != nil {
		return err
	}
	return c.sendPort(http.StatusOK, p, c.api.port.all(c.version, false))
}

// assignPort puts the named fields of a checked document into a port. A node named inside a body and not found is 400.
func (c *call) assignPort(p *conductor.Port, doc map[string]any, names []string) error {
	text := func(name string) string { s, _ := doc[name].(string); return s }
	fields := func(name string) map[string]any { m, _ := doc[name].(map[string]any); return m }
	flag := func(name string) bool { b, _ := doc[name].(bool); return b }
	for _, name := range names {
		switch name {
		case "uuid":
			p.UUID = text(name)
		case "address":
			mac, err := macAddress(text(name))
			if err != nil {
				return err
			}
			p.Address = mac
		case "node_uuid":
			if p.Node != "" {
				continue // unchanged: patchPort saw to it
			}
			n, err := c.api.cfg.Backend.Node(c.r.Context(), text(name))
			if err != nil {
				if fault.Is(err, fault.NotFound) {
					return fault.New(fault.RequestInvalid, "there is no node %s", text(name))
				}
				return err
			}
			p.Node = n.UUID
		case "name":
			if s := text(name); s != "" && (!isName(s) || isUUID(s)) {
				return fault.New(fault.RequestInvalid, "%q is no name for a port", s)
			}
			p.Name = text(name)
		case "pxe_enabled":
			p.PXE = flag(name)
		case "local_link_connection":
			if err := checkLink(fields(name)); err != nil {
				return err
			}
			p.Link = fields(name)
		case "physical_network":
			if doc[name] == "" {
				return fault.New(fault.RequestInvalid, "physical_network must not be empty")
			}
			p.PhysicalNet = text(name)
		case "is_smartnic":
			p.SmartNIC = flag(name)
		case "extra":
			p.Extra = fields(name)
		case "description":
			p.Description = text(name)
		default:
			return fault.New(fault.RequestInvalid, "%s can't be set", name)
		}
	}
	return nil
}

func (c *call) deletePort() error {
	id, err := c.portID()
	if err != nil {
		return err
	}
	if err := c.api.cfg.Backend.DeletePort(c.r.Context(), c.who, id); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// macAddress is an Ethernet address in lower case with colons.
func macAddress(s string) (string, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return "", fault.New(fault.RequestInvalid, "Expected a MAC address but received %q.", s)
	}
	return hw.String(), nil
}

// checkLink knows the forms of local_link_connection.
func checkLink(m map[string]any) error {
	if len(m) == 0 {
		return nil
	}
	known := []string{"switch_id", "port_id", "switch_info", "hostname", "network_type"}
	for _, k := range sortedKeys(m) {
		if _, text := m[k].(string); !text || !slices.Contains(known, k) {
			return fault.New(fault.RequestInvalid, "local_link_connection.%s is not known or no string; known are %s", k, strings.Join(known, ", "))
		}
	}
	has := func(k string) bool { _, ok := m[k]; return ok }
	if kind := m["network_type"]; has("network_type") && kind != "managed" && kind != "unmanaged" {
		return fault.New(fault.RequestInvalid, "local_link_connection.network_type is %q, expected managed or unmanaged", kind)
	}
	if has("switch_id") && has("port_id") {
		id, _ := m["switch_id"].(string)
		hw, err := net.ParseMAC(id)
		if err == nil && len(hw) == 6 {
			m["switch_id"] = hw.String()
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
