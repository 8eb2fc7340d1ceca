package api

// The tables of what stands beside nodes.

// PortFields is the table of a port.
func PortFields() []Field {
	return []Field{
		{Name: "uuid", Since: 1, Kind: UUID, Create: true, Short: true, Sort: true, Doc: "made by the server unless given"},
		{Name: "address", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "MAC address, unique"},
		{Name: "node_uuid", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Doc: "the node it belongs to"},
		{Name: "name", Since: 88, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "unique"},
		{Name: "pxe_enabled", Since: 19, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether the ramdisk may boot from it; default true"},
		{Name: "local_link_connection", Since: 19, Kind: Map, Create: true, Patch: true, Doc: "the switch port it is plugged into"},
		{Name: "portgroup_uuid", Since: 24, Kind: UUID, Create: true, Patch: true, Doc: "the port group of its node that it is in"},
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

// Portgroup is several ports that act as one.
type Portgroup struct {
	UUID                     string         `json:"uuid"`
	Name                     *string        `json:"name"`
	Address                  *string        `json:"address"`
	NodeUUID                 string         `json:"node_uuid"`
	Mode                     *string        `json:"mode"`
	Properties               map[string]any `json:"properties"`
	StandalonePortsSupported bool           `json:"standalone_ports_supported"`
	PhysicalNetwork          *string        `json:"physical_network"`
	Category                 *string        `json:"category"`
	Extra                    map[string]any `json:"extra"`
	InternalInfo             map[string]any `json:"internal_info"`
	Ports                    []Link         `json:"ports"`
	CreatedAt                Time           `json:"created_at"`
	UpdatedAt                Time           `json:"updated_at"`
	Links                    []Link         `json:"links"`
}

// fieldsOf is a table with what all records have at its ends.
func fieldsOf(rows ...Field) []Field {
	all := append([]Field{{Name: "uuid", Since: 1, Kind: UUID, Create: true, Short: true, Sort: true, Doc: "made by the server unless given"}}, rows...)
	return append(all,
		Field{Name: "created_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record was made"},
		Field{Name: "updated_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record last changed; null until then"},
		Field{Name: "links", Since: 1, Kind: List, Short: true, Doc: "to itself"},
	)
}

var extraField = Field{Name: "extra", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "anything the operator wants to keep"}

// PortgroupFields is the table of a port group.
func PortgroupFields() []Field {
	return fieldsOf(
		Field{Name: "name", Since: 1, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "unique"},
		Field{Name: "address", Since: 1, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "MAC address, unique"},
		Field{Name: "node_uuid", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Doc: "the node it belongs to"},
		Field{Name: "mode", Since: 26, Seen: 1, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "how the ports share the work; default active-backup"},
		Field{Name: "properties", Since: 26, Seen: 1, Kind: Map, Create: true, Patch: true, Doc: "of the mode"},
		Field{Name: "standalone_ports_supported", Since: 1, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether a port may be used by itself; default true"},
		Field{Name: "physical_network", Since: 102, Kind: Text, Create: true, Patch: true, Max: 64, Sort: true, Doc: "the network all its ports are plugged into"},
		Field{Name: "category", Since: 103, Kind: Text, Create: true, Patch: true, Max: 80, Sort: true, Doc: "a word of the operator's"},
		extraField,
		Field{Name: "internal_info", Since: 1, Kind: Map, Doc: "the server's own notes"},
		Field{Name: "ports", Since: 1, Kind: List, Doc: "links to its ports"},
	)
}

// Allocation is a wish for a node, and the node found for it.
type Allocation struct {
	UUID           string         `json:"uuid"`
	Name           *string        `json:"name"`
	ResourceClass  *string        `json:"resource_class"`
	Traits         []string       `json:"traits"`
	CandidateNodes []string       `json:"candidate_nodes"`
	Owner          *string        `json:"owner"`
	NodeUUID       *string        `json:"node_uuid"`
	State          string         `json:"state"`
	LastError      *string        `json:"last_error"`
	Extra          map[string]any `json:"extra"`
	CreatedAt      Time           `json:"created_at"`
	UpdatedAt      Time           `json:"updated_at"`
	Links          []Link         `json:"links"`
}

// AllocationFields is the table of an allocation.
func AllocationFields() []Field {
	return fieldsOf(
		Field{Name: "name", Since: 1, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "unique; a node of this name is taken first"},
		Field{Name: "resource_class", Since: 1, Kind: Text, Create: true, Max: 80, Sort: true, Doc: "of the node; required unless node is given"},
		Field{Name: "traits", Since: 1, Kind: List, Create: true, Doc: "that the node must have"},
		Field{Name: "candidate_nodes", Since: 1, Kind: List, Create: true, Doc: "names or UUIDs of the nodes to choose from; none: any"},
		Field{Name: "owner", Since: 60, Kind: Text, Create: true, Sort: true, Doc: "a project; the node must be its own or lent to it"},
		Field{Name: "node_uuid", Since: 1, Kind: UUID, Doc: "the node that was found"},
		Field{Name: "state", Since: 1, Kind: Text, Sort: true, Doc: "allocating, active or error"},
		Field{Name: "last_error", Since: 1, Kind: Text, Sort: true, Doc: "why no node was found"},
		extraField,
	)
}

// TemplateStep is a step of a deploy template.
type TemplateStep struct {
	Interface string         `json:"interface"`
	Step      string         `json:"step"`
	Args      map[string]any `json:"args"`
	Priority  int            `json:"priority"`
}

// Template is a deploy template.
type Template struct {
	UUID        string         `json:"uuid"`
	Name        string         `json:"name"`
	Steps       []TemplateStep `json:"steps"`
	Description *string        `json:"description"`
	Extra       map[string]any `json:"extra"`
	CreatedAt   Time           `json:"created_at"`
	UpdatedAt   Time           `json:"updated_at"`
	Links       []Link         `json:"links"`
}

// TemplateFields is the table of a deploy template.
func TemplateFields() []Field {
	return fieldsOf(
		Field{Name: "name", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "a trait: an instance that has it gets the steps"},
		Field{Name: "steps", Since: 1, Kind: List, Create: true, Patch: true, Need: true, Doc: "each of interface, step, args and priority"},
		Field{Name: "description", Since: 1, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "for people"},
		extraField,
	)
}

// RunbookStep is a step of a runbook.
type RunbookStep struct {
	Interface string         `json:"interface"`
	Step      string         `json:"step"`
	Args      map[string]any `json:"args"`
	Order     int            `json:"order"`
}

// Runbook is a list of steps for clean or service.
type Runbook struct {
	UUID           string         `json:"uuid"`
	Name           string         `json:"name"`
	Steps          []RunbookStep  `json:"steps"`
	DisableRamdisk bool           `json:"disable_ramdisk"`
	Public         bool           `json:"public"`
	Owner          *string        `json:"owner"`
	Extra          map[string]any `json:"extra"`
	CreatedAt      Time           `json:"created_at"`
	UpdatedAt      Time           `json:"updated_at"`
	Links          []Link         `json:"links"`
}

// RunbookFields is the table of a runbook.
func RunbookFields() []Field {
	return fieldsOf(
		Field{Name: "name", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "a trait that a node must have for it"},
		Field{Name: "steps", Since: 1, Kind: List, Create: true, Patch: true, Need: true, Doc: "each of interface, step and order, with args"},
		Field{Name: "disable_ramdisk", Since: 1, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether the steps run without a ramdisk"},
		Field{Name: "public", Since: 1, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether every project may use it; a public one has no owner"},
		Field{Name: "owner", Since: 1, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "the project that it is for"},
		extraField,
	)
}

// Chassis is what nodes stand in. Nodes is Ironic's list in a list.
type Chassis struct {
	UUID        string         `json:"uuid"`
	Description *string        `json:"description"`
	Extra       map[string]any `json:"extra"`
	Nodes       [][]Link       `json:"nodes"`
	CreatedAt   Time           `json:"created_at"`
	UpdatedAt   Time           `json:"updated_at"`
	Links       []Link         `json:"links"`
}

// ChassisFields is the table of a chassis.
func ChassisFields() []Field {
	return fieldsOf(
		Field{Name: "description", Since: 1, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "for people"},
		extraField,
		Field{Name: "nodes", Since: 1, Kind: List, Doc: "links to the nodes in it"},
	)
}

// Connector is a volume connector.
type Connector struct {
	UUID        string         `json:"uuid"`
	NodeUUID    string         `json:"node_uuid"`
	Type        string         `json:"type"`
	ConnectorID string         `json:"connector_id"`
	Extra       map[string]any `json:"extra"`
	CreatedAt   Time           `json:"created_at"`
	UpdatedAt   Time           `json:"updated_at"`
	Links       []Link         `json:"links"`
}

// ConnectorFields is the table of a volume connector.
func ConnectorFields() []Field {
	return fieldsOf(
		Field{Name: "node_uuid", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Doc: "the node it belongs to"},
		Field{Name: "type", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Max: 32, Doc: "iqn, ip, mac, wwnn, wwpn, port or portgroup"},
		Field{Name: "connector_id", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "unique within the type"},
		extraField,
	)
}

// Target is a volume target.
type Target struct {
	UUID       string         `json:"uuid"`
	NodeUUID   string         `json:"node_uuid"`
	VolumeType string         `json:"volume_type"`
	VolumeID   string         `json:"volume_id"`
	BootIndex  int            `json:"boot_index"`
	Properties map[string]any `json:"properties"`
	Extra      map[string]any `json:"extra"`
	CreatedAt  Time           `json:"created_at"`
	UpdatedAt  Time           `json:"updated_at"`
	Links      []Link         `json:"links"`
}

// TargetFields is the table of a volume target.
func TargetFields() []Field {
	return fieldsOf(
		Field{Name: "node_uuid", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Doc: "the node it belongs to"},
		Field{Name: "volume_type", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Max: 64, Doc: "iscsi, fibre_channel, ..."},
		Field{Name: "volume_id", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "the volume, as its storage calls it"},
		Field{Name: "boot_index", Since: 1, Kind: Integer, Create: true, Patch: true, Need: true, Short: true, Sort: true, Doc: "unique for the node; 0 is booted from"},
		Field{Name: "properties", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "how the volume is reached; secrets are refused"},
		extraField,
	)
}

// InspectionRule is what is done when an inspection's data come. This server has none.
type InspectionRule struct {
	UUID        string  `json:"uuid"`
	Description *string `json:"description"`
	Phase       *string `json:"phase"`
	Priority    int     `json:"priority"`
	Sensitive   bool    `json:"sensitive"`
	Conditions  []any   `json:"conditions"`
	Actions     []any   `json:"actions"`
	CreatedAt   Time    `json:"created_at"`
	UpdatedAt   Time    `json:"updated_at"`
	Links       []Link  `json:"links"`
}

// InspectionRuleList is the list of them.
type InspectionRuleList struct {
	Rules []InspectionRule `json:"inspection_rules"`
}

// InspectionRuleFields is the table of an inspection rule.
func InspectionRuleFields() []Field {
	return fieldsOf(
		Field{Name: "description", Since: 1, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "for people"},
		Field{Name: "phase", Since: 1, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "when it is looked at"},
		Field{Name: "priority", Since: 1, Kind: Integer, Create: true, Patch: true, Short: true, Sort: true, Doc: "the highest runs first"},
		Field{Name: "sensitive", Since: 1, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "whether conditions and actions are hidden"},
		Field{Name: "conditions", Since: 1, Kind: List, Create: true, Patch: true, Doc: "when it applies"},
		Field{Name: "actions", Since: 1, Kind: List, Create: true, Patch: true, Need: true, Doc: "what it does"},
	)
}
