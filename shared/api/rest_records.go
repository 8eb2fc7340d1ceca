package api

// The tables of what stands beside nodes.

// PortFields is the table of a port.
func PortFields() []Field {
	return []Field{
		{Name: "uuid", Since: 1, Kind: UUID, Create: true, Short: true, Sort: true, Doc: "made by the server unless given"},
		{Name: "address", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "MAC address, unique"},
		{Name: "node_uuid", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Sort: true, Doc: "the node it belongs to"},
		{Name: "name", Since: 88, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "unique"},
		{Name: "pxe_enabled", Since: 19, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether the ramdisk may boot from it; default true"},
		{Name: "local_link_connection", Since: 19, Kind: Map, Create: true, Patch: true, Doc: "the switch port it is plugged into"},
		{Name: "portgroup_uuid", Since: 24, Kind: UUID, Sort: true, Doc: "always null: there are no port groups"},
		{Name: "physical_network", Since: 34, Kind: Text, Create: true, Patch: true, Max: 64, Sort: true, Doc: "name of the network it is plugged into"},
		{Name: "is_smartnic", Since: 53, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether it is a smart NIC"},
		{Name: "extra", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "anything the operator wants to keep"},
		{Name: "internal_info", Since: 18, Kind: Map, Doc: "the server's own notes"},
		{Name: "description", Since: 97, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "for people"},
		{Name: "vendor", Since: 100, Kind: Text, Create: true, Patch: true, Max: 32, Sort: true, Doc: "who made the card"},
		{Name: "category", Since: 101, Kind: Text, Create: true, Patch: true, Max: 80, Sort: true, Doc: "a word of the operator's for the sort of card"},
		{Name: "created_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record was made"},
		{Name: "updated_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record last changed; null until then"},
		{Name: "links", Since: 1, Kind: List, Short: true, Doc: "to itself"},
	}
}
