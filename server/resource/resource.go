// Package resource is the table of what stands beside nodes in the API: under which nouns the command offers it, where
// it is served, which fields it has and how they are given. It is data; the command makes its verbs from it.
//
// Start at All.
package resource

// Kind is how a field is given on the command line.
type Kind string

// The kinds.
const (
	Text     Kind = "text"
	Number   Kind = "number"
	Flag     Kind = "flag"     // true or false
	List     Kind = "list"     // a flag that may be repeated
	Object   Kind = "object"   // KEY=VALUE, repeated; a slash in KEY leads into an object
	Document Kind = "document" // a YAML or JSON file
)

// Field is a field that can be given.
type Field struct {
	Name    string // on the wire
	Flag    string // "": the name with dashes
	Kind    Kind
	Need    bool   // on create
	Fixed   bool   // can't be changed later
	Change  bool   // can't be given on create
	On, Off string // of a Flag: flags without a value that mean true and false, as Ironic's command has them
	Doc     string
}

// FlagName is the field's flag, without dashes before it.
func (f Field) FlagName() string {
	if f.Flag != "" {
		return f.Flag
	}
	out := []byte(f.Name)
	for i, c := range out {
		if c == '_' {
			out[i] = '-'
		}
	}
	return string(out)
}

// Filter is an argument of the list.
type Filter struct{ Flag, Query, Doc string }

// Resource is a row of the table.
type Resource struct {
	Noun    []string // the words of the command
	Short   string
	Ident   string // what identifies one, for help: "UUID or name"
	Path    []string
	Key     string // the list's name in the answer
	Fields  []Field
	Columns []string // of the list
	Filters []Filter
	// ReadOnly ones can only be listed and shown; Listed ones only be listed, what else they can is not of the table.
	ReadOnly, Listed bool
	Whole            bool // lists show every field, and know no detail
	Unsorted         bool // lists are always whole, in one order
	Example          string
}

var (
	extra = Field{Name: "extra", Kind: Object, Doc: "KEY=VALUE of anything you want to keep"}
	name  = Field{Name: "name", Kind: Text, Doc: "unique name"}
	id    = Field{Name: "uuid", Kind: Text, Fixed: true, Doc: "UUID; made by the server unless given"}
	owner = Field{Name: "owner", Kind: Text, Doc: "project that owns it"}
	about = Field{Name: "description", Kind: Text, Doc: "text for people"}
	node  = Field{Name: "node_uuid", Flag: "node", Kind: Text, Need: true, Fixed: true, Doc: "the machine it belongs to"}
)

func need(f Field) Field { f.Need = true; return f }

// Port is the row of ports, of which the command has some verbs of its own.
var Port = Resource{Noun: []string{"port"}, Short: "Network cards of machines", Ident: "UUID", Path: []string{"ports"}, Key: "ports",
	Columns: []string{"address", "node_uuid", "pxe_enabled", "uuid"},
	Filters: []Filter{{"node", "node", "only those of this machine"}, {"address", "address", "only the one with this MAC address"}, {"port-group", "portgroup", "only those of this port group"}},
	Example: "  bessemer port create --node n1 --address 52:54:00:12:34:56",
	Fields: []Field{need(Field{Name: "address", Kind: Text, Doc: "MAC address"}), {Name: "node_ident", Flag: "node", Kind: Text, Need: true, Fixed: true, Doc: "the machine it belongs to"}, name, id,
		{Name: "pxe_enabled", Kind: Flag, Off: "pxe-disabled", Doc: "whether the ramdisk may boot from it: true unless it is false"}, {Name: "portgroup_uuid", Flag: "port-group", Kind: Text, Doc: "UUID of the port group it is in"},
		{Name: "local_link_connection", Kind: Object, Doc: "KEY=VALUE of the switch port it is plugged into: switch_id, port_id, switch_info"},
		{Name: "physical_network", Kind: Text, Doc: "name of the network it is plugged into"}, {Name: "is_smartnic", Kind: Flag, Doc: "whether it is a smart NIC"}, about, extra}}

// All are the others.
var All = []Resource{
	{Noun: []string{"port", "group"}, Short: "Network cards that work as one", Ident: "UUID or name", Path: []string{"portgroups"}, Key: "portgroups",
		Columns: []string{"name", "address", "node_uuid", "uuid"}, Filters: []Filter{{"node", "node", "only those of this machine"}, {"address", "address", "only the one with this MAC address"}},
		Fields: []Field{node, name, {Name: "address", Kind: Text, Doc: "MAC address"}, {Name: "mode", Kind: Text, Doc: "bonding mode: active-backup, 802.3ad, ..."},
			{Name: "properties", Flag: "property", Kind: Object, Doc: "KEY=VALUE of the bond's options: miimon=100"},
			{Name: "standalone_ports_supported", Kind: Flag, On: "support-standalone-ports", Off: "unsupport-standalone-ports", Doc: "whether its ports work alone, too"}, {Name: "physical_network", Kind: Text, Doc: "name of the network"}, id, extra},
		Example: "  bessemer port group create --node n1 --name bond0 --mode 802.3ad --property miimon=100"},
	{Noun: []string{"allocation"}, Short: "Claims on available machines: the server picks one", Ident: "UUID or name", Path: []string{"allocations"}, Key: "allocations", Whole: true,
		Columns: []string{"name", "state", "resource_class", "node_uuid", "uuid"},
		Filters: []Filter{{"node", "node", "only the one of this machine"}, {"resource-class", "resource_class", "only of this class"}, {"state", "state", "allocating, active or error"}, {"owner", "owner", "only of this owner"}},
		Fields: []Field{name, {Name: "resource_class", Kind: Text, Fixed: true, Doc: "kind of machine that is wanted"},
			{Name: "traits", Flag: "trait", Kind: List, Fixed: true, Doc: "trait the machine must have; may be repeated"},
			{Name: "candidate_nodes", Flag: "candidate-node", Kind: List, Fixed: true, Doc: "one of these machines only; may be repeated"},
			{Name: "node", Kind: Text, Fixed: true, Doc: "record the claim of a machine that is active already"}, {Name: "owner", Kind: Text, Fixed: true, Doc: "project that owns it"}, id, extra},
		Example: "  bessemer allocation create --resource-class big --trait CUSTOM_GPU --name web1"},
	{Noun: []string{"deploy", "template"}, Short: "Further steps of deployments, asked for by a trait of their name", Ident: "UUID or name", Path: []string{"deploy_templates"}, Key: "deploy_templates",
		Columns: []string{"name", "uuid"}, Example: "  bessemer deploy template create --name CUSTOM_RAID1 --steps steps.yaml",
		Fields: []Field{need(name), {Name: "steps", Kind: Document, Need: true, Doc: "YAML or JSON file: a list of interface, step, args and priority"}, about, id, extra}},
	{Noun: []string{"runbook"}, Short: "Lists of clean or service steps, kept under a name", Ident: "UUID or name", Path: []string{"runbooks"}, Key: "runbooks",
		Columns: []string{"name", "owner", "public", "uuid"}, Example: "  bessemer runbook create --name CUSTOM_BIOS --steps steps.yaml\n  bessemer node clean n1 --runbook CUSTOM_BIOS",
		Fields: []Field{need(name), {Name: "steps", Kind: Document, Need: true, Doc: "YAML or JSON file: a list of interface, step, args and order"},
			{Name: "disable_ramdisk", Kind: Flag, Doc: "whether steps that need the ramdisk are refused"}, {Name: "public", Kind: Flag, Change: true, Doc: "whether all projects may use it"}, owner, about, id, extra}},
	{Noun: []string{"chassis"}, Short: "Groups of machines, for people", Ident: "UUID", Path: []string{"chassis"}, Key: "chassis", Columns: []string{"uuid", "description"},
		Fields: []Field{about, id, extra}, Example: "  bessemer chassis create --description \"row 7\""},
	{Noun: []string{"volume", "connector"}, Short: "Names by which machines reach remote volumes", Ident: "UUID", Path: []string{"volume", "connectors"}, Key: "connectors",
		Columns: []string{"uuid", "node_uuid", "type", "connector_id"}, Filters: []Filter{{"node", "node", "only those of this machine"}},
		Fields: []Field{node, {Name: "type", Kind: Text, Need: true, Doc: "iqn, ip, mac, wwnn, wwpn"}, {Name: "connector_id", Kind: Text, Need: true, Doc: "the name itself"}, id, extra}},
	{Noun: []string{"volume", "target"}, Short: "Remote volumes of machines", Ident: "UUID", Path: []string{"volume", "targets"}, Key: "targets",
		Columns: []string{"uuid", "node_uuid", "volume_type", "boot_index", "volume_id"}, Filters: []Filter{{"node", "node", "only those of this machine"}},
		Fields: []Field{node, {Name: "volume_type", Flag: "type", Kind: Text, Need: true, Doc: "iscsi or fibre_channel"}, {Name: "volume_id", Kind: Text, Need: true, Doc: "the volume's id"},
			{Name: "boot_index", Kind: Number, Need: true, Doc: "0 is booted from"}, {Name: "properties", Flag: "property", Kind: Object, Doc: "KEY=VALUE of how to reach it"}, id, extra}},
	{Noun: []string{"driver"}, Short: "Hardware types, and what they can do", Ident: "name", Path: []string{"drivers"}, Key: "drivers", Columns: []string{"name", "hosts"}, ReadOnly: true, Unsorted: true,
		Filters: []Filter{{"type", "type", "dynamic, as all are"}}},
	{Noun: []string{"conductor"}, Short: "The servers that work on machines", Ident: "host name", Path: []string{"conductors"}, Key: "conductors", Columns: []string{"hostname", "conductor_group", "alive"}, ReadOnly: true},
	{Noun: []string{"webhook"}, Short: "Programs that are told of changes as they happen", Ident: "UUID", Path: []string{"webhooks"}, Key: "webhooks", Listed: true,
		Columns: []string{"uuid", "url", "project", "failures", "delivered_at"}, Example: "  bessemer webhook create --url https://hooks.example/changes --secret-file secret"},
	{Noun: []string{"usage"}, Short: "How many machines each project has and uses", Path: []string{"usage"}, Key: "usage", Columns: []string{"project", "resource_class", "nodes", "used", "available", "lent"}, Listed: true},
	{Noun: []string{"shard"}, Short: "Parts of the fleet, for clients that split it", Path: []string{"shards"}, Key: "shards", Columns: []string{"name", "count"}, Listed: true},
}
