package api

// Kind is the JSON type of a field. All but Flag may be null when they are not required.
type Kind string

// The kinds. Flag is a boolean that is never null; Tristate one that may be.
const (
	Text     Kind = "string"
	UUID     Kind = "uuid"
	Flag     Kind = "boolean"
	Tristate Kind = "boolean or null"
	Integer  Kind = "integer"
	Map      Kind = "object"
	List     Kind = "list"
	Stamp    Kind = "time"
)

// Field is a row of a resource's table: the only list from which a server shows or accepts fields. What is not
// listed is denied (safety.md T16).
type Field struct {
	Name   string
	Since  Version // first version that has it
	Seen   Version // first version that shows it, where that is older; 0: Since
	Kind   Kind
	Create bool // may be given on create
	Patch  bool // may be changed by PATCH
	Need   bool // required on create, can't be removed
	Short  bool // in the list without detail
	Sort   bool // may be a sort_key
	Max    int  // characters of a Text; 0 means 255
	Doc    string
}

// NodeFields is the table of a node.
func NodeFields() []Field {
	rows := []Field{
		{Name: "uuid", Since: 1, Kind: UUID, Create: true, Short: true, Sort: true, Doc: "made by the server unless given"},
		{Name: "name", Since: 5, Kind: Text, Create: true, Patch: true, Short: true, Sort: true, Doc: "unique; letters, digits and - . _ ~"},
		{Name: "driver", Since: 1, Kind: Text, Create: true, Patch: true, Need: true, Sort: true, Doc: "the hardware type"},
		{Name: "driver_info", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "how to reach the BMC; secrets are shown as ******"},
		{Name: "driver_internal_info", Since: 3, Kind: Map, Doc: "what the server keeps of the ramdisk and the flow"},
		{Name: "properties", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "what the machine is: cpu_arch, memory_mb, root_device, ..."},
		{Name: "instance_info", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "what is to be deployed; cleared when it is undeployed"},
		{Name: "instance_uuid", Since: 1, Kind: UUID, Create: true, Patch: true, Short: true, Sort: true, Doc: "unique; cleared when it is undeployed"},
		{Name: "instance_name", Since: 104, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "name of the instance; taken from instance_info.display_name while it is unset, cleared when the node is undeployed"},
		{Name: "extra", Since: 1, Kind: Map, Create: true, Patch: true, Doc: "anything the operator wants to keep"},
		{Name: "description", Since: 51, Kind: Text, Create: true, Patch: true, Sort: true, Max: 4096, Doc: "for people"},
		{Name: "resource_class", Since: 21, Kind: Text, Create: true, Patch: true, Sort: true, Max: 80, Doc: "kind of machine, for schedulers"},
		{Name: "conductor_group", Since: 46, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "lower case, never null"},
		{Name: "chassis_uuid", Since: 1, Kind: UUID, Create: true, Patch: true, Doc: "the chassis it is in"},
		{Name: "owner", Since: 50, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "who owns the machine"},
		{Name: "lessee", Since: 65, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "who uses it"},
		{Name: "automated_clean", Since: 47, Kind: Tristate, Create: true, Patch: true, Sort: true, Doc: "null: as the server is set"},
		{Name: "protected", Since: 48, Kind: Flag, Patch: true, Sort: true, Doc: "refuse undeploy, rebuild and delete"},
		{Name: "protected_reason", Since: 48, Kind: Text, Patch: true, Sort: true, Doc: "only with protected"},
		{Name: "retired", Since: 61, Kind: Flag, Create: true, Patch: true, Sort: true, Doc: "do not make it available again"},
		{Name: "retired_reason", Since: 61, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "only with retired"},
		{Name: "maintenance", Since: 1, Kind: Flag, Create: true, Patch: true, Short: true, Sort: true, Doc: "hands off, says the operator"},
		{Name: "maintenance_reason", Since: 1, Kind: Text, Sort: true, Doc: "set with maintenance"},
		{Name: "fault", Since: 42, Kind: Text, Sort: true, Doc: "why the server set maintenance: power failure, clean failure, rescue abort failure, service failure"},
		{Name: "network_data", Since: 66, Kind: Map, Create: true, Patch: true, Doc: "static network of the ramdisk: links, networks, services"},
		{Name: "console_enabled", Since: 1, Kind: Flag, Create: true, Sort: true, Doc: "set by states/console; given on create it has no effect"},
		{Name: "boot_mode", Since: 75, Kind: Text, Create: true, Sort: true, Doc: "uefi or bios, as the BMC says; given on create it has no effect"},
		{Name: "secure_boot", Since: 75, Kind: Tristate, Create: true, Sort: true, Doc: "as the BMC says; given on create it has no effect"},
		{Name: "power_state", Since: 1, Kind: Text, Short: true, Sort: true, Doc: "power on, power off, error; null when unknown"},
		{Name: "target_power_state", Since: 1, Kind: Text, Sort: true, Doc: "set while a power act runs"},
		{Name: "provision_state", Since: 1, Kind: Text, Short: true, Sort: true, Doc: "where the node is in its life"},
		{Name: "target_provision_state", Since: 1, Kind: Text, Sort: true, Doc: "where its flow leads; null in a stable state"},
		{Name: "provision_updated_at", Since: 1, Kind: Stamp, Sort: true, Doc: "since when it is in that state"},
		{Name: "last_error", Since: 1, Kind: Text, Sort: true, Doc: "the last failure with its cause and what to do"},
		{Name: "reservation", Since: 1, Kind: Text, Sort: true, Doc: "the server's host name while it works on the node"},
		{Name: "clean_step", Since: 7, Kind: Map, Doc: "the clean step in progress"},
		{Name: "deploy_step", Since: 44, Kind: Map, Doc: "the deploy step in progress"},
		{Name: "service_step", Since: 87, Kind: Map, Doc: "the service step in progress"},
		{Name: "raid_config", Since: 12, Kind: Map, Doc: "the arrays that were built"},
		{Name: "target_raid_config", Since: 12, Kind: Map, Doc: "the arrays to build, set by states/raid"},
		{Name: "inspection_started_at", Since: 6, Kind: Stamp, Sort: true, Doc: "start of the last inspection"},
		{Name: "inspection_finished_at", Since: 6, Kind: Stamp, Sort: true, Doc: "end of the last inspection"},
		{Name: "traits", Since: 37, Kind: List, Doc: "set below /traits"},
		{Name: "allocation_uuid", Since: 52, Kind: UUID, Doc: "the allocation that has it"},
		{Name: "conductor", Since: 49, Kind: Text, Doc: "the server's host name"},
		{Name: "shard", Since: 82, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "for clients that split a fleet"},
		{Name: "parent_node", Since: 83, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "the node that this one is a part of; name or UUID in, UUID out"},
		{Name: "disable_power_off", Since: 95, Kind: Tristate, Create: true, Patch: true, Sort: true, Doc: "never power the machine off"},
		{Name: "health", Since: 109, Kind: Text, Sort: true, Doc: "OK, Warning, Critical, as the BMC says"},
		{Name: "network_interface", Since: 20, Kind: Text, Create: true, Patch: true, Sort: true, Doc: "implementation of this interface; null: the driver's default"},
	}
	for _, i := range []struct {
		name  string
		since Version
	}{
		{"boot", 31}, {"console", 31}, {"deploy", 31}, {"inspect", 31}, {"management", 31}, {"power", 31}, {"raid", 31},
		{"vendor", 31}, {"storage", 33}, {"rescue", 38}, {"bios", 40}, {"firmware", 86},
	} {
		rows = append(rows, Field{Name: i.name + "_interface", Since: i.since, Kind: Text, Create: true, Patch: true, Sort: true,
			Doc: "implementation of this interface; null: the driver's default"})
	}
	return append(rows,
		Field{Name: "ports", Since: 1, Kind: List, Doc: "links to the node's ports"},
		Field{Name: "states", Since: 14, Kind: List, Doc: "links to the node's states"},
		Field{Name: "portgroups", Since: 24, Kind: List, Doc: "links to the node's port groups"},
		Field{Name: "volume", Since: 32, Kind: List, Doc: "links to the node's volume records"},
		Field{Name: "created_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record was made"},
		Field{Name: "updated_at", Since: 1, Kind: Stamp, Sort: true, Doc: "when the record last changed; null until then"},
		Field{Name: "links", Since: 1, Kind: List, Short: true, Doc: "to itself"},
	)
}

// Verb is a row of the verbs that PUT states/provision takes.
type Verb struct {
	Target string  // word on the wire
	Since  Version // first version that takes it
	Doc    string
}

// Verbs is the table of the verbs served.
func Verbs() []Verb {
	return []Verb{
		{"manage", 4, "check the BMC and take the node under management"},
		{"provide", 4, "clean the node and make it available"},
		{"inspect", 6, "find out what the machine is"},
		{"clean", 15, "run clean_steps"},
		{"active", 1, "deploy what instance_info names"},
		{"deploy", 73, "the same as active"},
		{"rebuild", 1, "deploy again"},
		{"deleted", 1, "take the instance away and clean the node"},
		{"undeploy", 73, "the same as deleted"},
		{"abort", 13, "end the flow in progress"},
		{"unhold", 85, "go on after a hold step"},
		{"adopt", 17, "take over a machine that runs its instance already, without touching it"},
		{"service", 87, "run service_steps on an active machine"},
		{"rescue", 38, "boot the ramdisk for a person to log in at the console, with rescue_password"},
		{"unrescue", 38, "boot the disk again"},
	}
}
