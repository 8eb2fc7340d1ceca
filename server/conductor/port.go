package conductor

// Port is a network card known by its address. It goes with its node.
type Port struct {
	Head
	Node         NodeID         `json:"node_uuid"`
	Address      string         `json:"address"` // lower case, colons
	PXE          bool           `json:"pxe_enabled"`
	Link         map[string]any `json:"local_link_connection,omitempty"`
	Group        string         `json:"portgroup_uuid,omitempty"`
	PhysicalNet  string         `json:"physical_network,omitempty"`
	SmartNIC     bool           `json:"is_smartnic"`
	Extra        map[string]any `json:"extra,omitempty"`
	InternalInfo map[string]any `json:"internal_info,omitempty"`
	Description  string         `json:"description,omitempty"`
	Vendor       string         `json:"vendor,omitempty"`
	Category     string         `json:"category,omitempty"`
}

// Keys implements Record.
func (p *Port) Keys() Keys {
	return Keys{Kind: KindPort, UUID: p.UUID, Name: p.Name, Node: p.Node, Mark: p.Address, What: "MAC address " + p.Address}
}
