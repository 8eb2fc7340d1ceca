package conductor

import (
	"strconv"
)

// What stands beside nodes, ports apart (port.go).

// Portgroup is several ports of a node that act as one.
type Portgroup struct {
	Head
	Node         NodeID         `json:"node_uuid"`
	Address      string         `json:"address,omitempty"` // lower case, colons
	Mode         string         `json:"mode"`
	Properties   map[string]any `json:"properties,omitempty"`
	Standalone   bool           `json:"standalone_ports_supported"` // its ports may be used one by one, as a ramdisk does
	PhysicalNet  string         `json:"physical_network,omitempty"`
	Category     string         `json:"category,omitempty"`
	Extra        map[string]any `json:"extra,omitempty"`
	InternalInfo map[string]any `json:"internal_info,omitempty"`
}

// Keys implements Record.
func (p *Portgroup) Keys() Keys {
	return Keys{Kind: KindPortgroup, UUID: p.UUID, Name: p.Name, Node: p.Node, Mark: p.Address, What: "MAC address " + p.Address}
}

// Allocation is a wish for a node of some class and traits, and the node that was found for it.
type Allocation struct {
	Head
	Class      string         `json:"resource_class,omitempty"`
	Traits     []string       `json:"traits,omitempty"`
	Candidates []NodeID       `json:"candidate_nodes,omitempty"` // none: any node
	Owner      string         `json:"owner,omitempty"`
	Extra      map[string]any `json:"extra,omitempty"`
	State      string         `json:"state"`
	Node       NodeID         `json:"node_uuid,omitempty"`
	LastError  string         `json:"last_error,omitempty"`
}

// The states of an allocation. Only Allocating is left again: the engine sees to it, also after a restart.
const (
	Allocating      = "allocating"
	AllocationOn    = "active"
	AllocationError = "error"
)

// Keys implements Record.
func (a *Allocation) Keys() Keys {
	return Keys{Kind: KindAllocation, UUID: a.UUID, Name: a.Name, Node: a.Node}
}

// OwnedBy is whose it is; nobody else may see it.
func (a *Allocation) OwnedBy() (project string, public bool) { return a.Owner, false }

// Template is steps that a deployment adds when its name is among the traits of the instance.
type Template struct {
	Head
	Steps       []RequestedStep `json:"steps"`
	Description string          `json:"description,omitempty"`
	Extra       map[string]any  `json:"extra,omitempty"`
}

// Keys implements Record.
func (t *Template) Keys() Keys { return Keys{Kind: KindTemplate, UUID: t.UUID, Name: t.Name} }

// RequestedStep is a step of a template or runbook. Priority orders a template's, Order a runbook's.
type RequestedStep struct {
	Interface string         `json:"interface"`
	Step      string         `json:"step"`
	Args      map[string]any `json:"args"`
	Priority  int            `json:"priority"`
	Order     int            `json:"order"`
}

// Runbook is an operator's list of steps for clean or service, kept under a name.
type Runbook struct {
	Head
	Steps     []RequestedStep `json:"steps"`
	NoRamdisk bool            `json:"disable_ramdisk"`
	Public    bool            `json:"public"`
	Owner     string          `json:"owner,omitempty"`
	Extra     map[string]any  `json:"extra,omitempty"`
}

// Keys implements Record.
func (r *Runbook) Keys() Keys { return Keys{Kind: KindRunbook, UUID: r.UUID, Name: r.Name} }

// OwnedBy is whose it is, and whether everybody may see it.
func (r *Runbook) OwnedBy() (project string, public bool) { return r.Owner, r.Public }

// Chassis is what nodes stand in.
type Chassis struct {
	Head
	Description string         `json:"description,omitempty"`
	Extra       map[string]any `json:"extra,omitempty"`
}

// Keys implements Record.
func (c *Chassis) Keys() Keys { return Keys{Kind: KindChassis, UUID: c.UUID} }

// Connector is how a node shows itself to a storage network.
type Connector struct {
	Head
	Node  NodeID         `json:"node_uuid"`
	Type  string         `json:"type"` // "iqn", "wwpn", ...
	ID    string         `json:"connector_id"`
	Extra map[string]any `json:"extra,omitempty"`
}

// Keys implements Record.
func (c *Connector) Keys() Keys {
	return Keys{Kind: KindConnector, UUID: c.UUID, Node: c.Node, Mark: c.Type + " " + c.ID, What: "type " + c.Type + " and connector ID " + c.ID}
}

// Target is a remote volume of a node.
type Target struct {
	Head
	Node       NodeID         `json:"node_uuid"`
	Type       string         `json:"volume_type"` // "iscsi", "fibre_channel", ...
	Volume     string         `json:"volume_id"`
	BootIndex  int            `json:"boot_index"` // 0 is booted from
	Properties map[string]any `json:"properties,omitempty"`
	Extra      map[string]any `json:"extra,omitempty"`
}

// Keys implements Record.
func (t *Target) Keys() Keys {
	index := strconv.Itoa(t.BootIndex)
	return Keys{Kind: KindTarget, UUID: t.UUID, Node: t.Node, Mark: string(t.Node) + " " + index, What: "boot index '" + index + "' for the same node"}
}

// Shard is a part of the fleet, and how many nodes are in it. Name is empty for those in none.
type Shard struct {
	Name  string
	Count int
}
