package access

import "slices"

// Right is what a route needs of its caller. Each has a row in Rules.
type Right string

// Open is the right of routes that ask for no credentials: discovery, and what ramdisks call, which prove themselves by
// other means. It is no row of Rules.
const Open Right = "open"

// The rights.
const (
	ServerRead   Right = "server.read"
	ServerDoctor Right = "server.doctor"

	NodeList        Right = "node.list"
	NodeRead        Right = "node.read"
	NodeInside      Right = "node.inside"
	NodeValidate    Right = "node.validate"
	NodeCreate      Right = "node.create"
	NodeDelete      Right = "node.delete"
	NodeChange      Right = "node.change"
	NodePower       Right = "node.power"
	NodeProvision   Right = "node.provision"
	NodeMaintenance Right = "node.maintenance"
	NodeManage      Right = "node.manage"
	NodeTraits      Right = "node.traits"
	NodeVendor      Right = "node.vendor"
	NodeConfirm     Right = "node.confirm"

	PortList   Right = "port.list"
	PortRead   Right = "port.read"
	PortCreate Right = "port.create"
	PortChange Right = "port.change"

	AllocationList   Right = "allocation.list"
	AllocationRead   Right = "allocation.read"
	AllocationCreate Right = "allocation.create"
	AllocationChange Right = "allocation.change"

	RunbookList   Right = "runbook.list"
	RunbookRead   Right = "runbook.read"
	RunbookCreate Right = "runbook.create"
	RunbookChange Right = "runbook.change"

	VolumeList   Right = "volume.list"
	VolumeRead   Right = "volume.read"
	VolumeCreate Right = "volume.create"
	VolumeChange Right = "volume.change"

	TemplateRead   Right = "template.read"
	TemplateChange Right = "template.change"
	ChassisRead    Right = "chassis.read"
	ChassisChange  Right = "chassis.change"
	RuleRead       Right = "rule.read"
	RuleChange     Right = "rule.change"
	ShardRead      Right = "shard.read"

	ImageRead      Right = "image.read"
	ImageChange    Right = "image.change"
	DefaultsRead   Right = "defaults.read"
	DefaultsChange Right = "defaults.change"

	EventsRead    Right = "events.read"
	EventsPost    Right = "events.post"
	WebhookList   Right = "webhook.list"
	WebhookChange Right = "webhook.change"
	UsageRead     Right = "usage.read"
)

// Rule is the least role that a right needs, by how the caller stands to the object; "" is nobody.
type Rule struct {
	Right   Right
	System  Role // of users without a project
	Owner   Role // of users of the project that owns the object
	Lessee  Role // of users of the project that leases it
	Project Role // of users of any project, where no object is touched yet: a list, something new
	Public  Role // of users of other projects, when the object is public
	Doc     string
}

// Rules is the whole of the access policy for routes, after the table of server-api.md §11.
var Rules = []Rule{
	{Right: ServerRead, System: Observer, Project: Observer, Doc: "drivers, conductors, the API's description"},
	{Right: ServerDoctor, System: Observer, Doc: "what is wrong with the server and with all nodes"},

	{Right: NodeList, System: Observer, Project: Observer, Doc: "list nodes; users of a project see their own"},
	{Right: NodeRead, System: Observer, Owner: Observer, Lessee: Observer, Doc: "a node and what belongs to it; lessees see it redacted"},
	{Right: NodeInside, System: Observer, Owner: Observer, Doc: "what the server did to a node: steps, plan, logs, history, inventory, diagnosis"},
	{Right: NodeValidate, System: Observer, Owner: Observer, Lessee: Admin, Doc: "whether the record suffices"},
	{Right: NodeCreate, System: Admin, Project: Admin, Doc: "enroll nodes; those of a project's administrator are the project's"},
	{Right: NodeDelete, System: Admin, Owner: Admin, Doc: "delete nodes"},
	{Right: NodeChange, System: Operator, Owner: Operator, Lessee: Operator, Doc: "PATCH; each field has its own rule"},
	{Right: NodePower, System: Operator, Owner: Operator, Lessee: Operator, Doc: "power acts"},
	{Right: NodeProvision, System: Operator, Owner: Operator, Lessee: Admin, Doc: "verbs"},
	{Right: NodeMaintenance, System: Operator, Owner: Operator, Lessee: Admin, Doc: "set and end maintenance"},
	{Right: NodeManage, System: Operator, Owner: Operator, Doc: "the machine itself: boot device and mode, RAID, virtual media, indicators, networks, first aid"},
	{Right: NodeTraits, System: Operator, Owner: Admin, Doc: "change traits"},
	{Right: NodeVendor, System: Admin, Doc: "vendor calls"},
	{Right: NodeConfirm, System: Operator, Doc: "confirm the record of an unverified node, or that a node's machine is off"},

	{Right: PortList, System: Observer, Project: Observer, Doc: "list ports and port groups; users of a project see those of their nodes"},
	{Right: PortRead, System: Observer, Owner: Observer, Lessee: Observer, Doc: "a port or port group"},
	{Right: PortCreate, System: Operator, Project: Admin, Doc: "make ports and port groups; of nodes on which port.change is granted"},
	{Right: PortChange, System: Operator, Owner: Admin, Doc: "change and delete ports and port groups"},

	{Right: AllocationList, System: Observer, Project: Observer, Doc: "list allocations; users of a project see their own"},
	{Right: AllocationRead, System: Observer, Owner: Observer, Doc: "an allocation"},
	{Right: AllocationCreate, System: Operator, Project: Operator, Doc: "ask for a node; of a project, among its own and leased nodes"},
	{Right: AllocationChange, System: Operator, Owner: Operator, Doc: "change and end allocations"},

	{Right: RunbookList, System: Observer, Project: Observer, Doc: "list runbooks; users of a project see their own and public ones"},
	{Right: RunbookRead, System: Observer, Owner: Observer, Public: Observer, Doc: "a runbook"},
	{Right: RunbookCreate, System: Admin, Project: Operator, Doc: "make runbooks"},
	{Right: RunbookChange, System: Admin, Owner: Operator, Doc: "change and delete runbooks"},

	{Right: VolumeList, System: Observer, Project: Observer, Doc: "list volume connectors and targets; users of a project see those of their nodes"},
	{Right: VolumeRead, System: Observer, Owner: Observer, Lessee: Observer, Doc: "a volume connector or target"},
	{Right: VolumeCreate, System: Operator, Project: Operator, Doc: "make volume connectors and targets; of nodes on which volume.change is granted"},
	{Right: VolumeChange, System: Operator, Owner: Operator, Doc: "change and delete volume connectors and targets"},

	{Right: TemplateRead, System: Observer, Doc: "deploy templates"},
	{Right: TemplateChange, System: Admin, Doc: "make, change and delete deploy templates"},
	{Right: ChassisRead, System: Observer, Doc: "chassis"},
	{Right: ChassisChange, System: Admin, Doc: "make, change and delete chassis"},
	{Right: RuleRead, System: Observer, Doc: "inspection rules"},
	{Right: RuleChange, System: Admin, Doc: "make, change and delete inspection rules"},
	{Right: ShardRead, System: Observer, Doc: "shards"},

	{Right: ImageRead, System: Observer, Project: Observer, Doc: "stored images"},
	{Right: ImageChange, System: Operator, Doc: "publish and delete images"},
	{Right: DefaultsRead, System: Observer, Doc: "default_config"},
	{Right: DefaultsChange, System: Operator, Doc: "change default_config"},

	{Right: EventsRead, System: Observer, Project: Observer, Doc: "the stream of changes; users of a project see those of their nodes"},
	{Right: EventsPost, System: Admin, Doc: "tell of events of the network"},
	{Right: WebhookList, System: Admin, Project: Admin, Doc: "webhooks; users of a project see and make their own"},
	{Right: WebhookChange, System: Admin, Owner: Admin, Doc: "show, change and delete a webhook"},
	{Right: UsageRead, System: Observer, Project: Observer, Doc: "how many nodes are owned and used; users of a project see their own"},
}

// Lookup gives a right's rule. An unknown right has the rule that denies all.
func Lookup(r Right) (Rule, bool) {
	i := slices.IndexFunc(Rules, func(rule Rule) bool { return rule.Right == r })
	if i < 0 {
		return Rule{Right: r}, false
	}
	return Rules[i], true
}

// Field is a row of the table of a node's fields.
type Field struct {
	Name  string
	Shown bool // to lessees
	Rule  Rule // who may set it, on create and by PATCH; the zero rule is for what the server alone sets
}

// Fields is what is released to lessees, and who may set what. A field that is not listed is shown to no lessee and
// set by nobody.
var Fields = func() []Field {
	const shown, redacted = true, false
	field := func(name string, shown bool, system, owner, lessee Role) Field {
		return Field{name, shown, Rule{Right: Right("node.set." + name), System: system, Owner: owner, Lessee: lessee}}
	}
	all := []Field{
		field("driver_info", redacted, Operator, Operator, ""),
		field("driver_internal_info", redacted, "", "", ""),
		field("last_error", redacted, "", "", ""),
		field("reservation", redacted, "", "", ""),

		field("instance_info", shown, Operator, Operator, Admin),
		field("extra", shown, Operator, Operator, Operator),
		field("maintenance", shown, Operator, Operator, Admin),
		field("maintenance_reason", shown, Operator, Operator, Admin),

		field("owner", shown, Admin, "", ""),
		field("lessee", shown, Operator, Admin, ""),
		field("shard", shown, Admin, "", ""),
		field("automated_clean", shown, Admin, "", ""),
		field("chassis_uuid", shown, Operator, "", ""), // chassis are not for users of a project
	}
	for _, name := range []string{"uuid", "name", "driver", "properties", "instance_uuid", "instance_name", "description", "resource_class",
		"conductor_group", "protected", "protected_reason", "retired", "retired_reason", "network_data", "disable_power_off",
		"parent_node", "console_enabled", "boot_mode", "secure_boot", "traits", "bios_interface", "boot_interface", "console_interface", "deploy_interface",
		"firmware_interface", "inspect_interface", "management_interface", "network_interface", "power_interface", "raid_interface",
		"rescue_interface", "storage_interface", "vendor_interface"} {
		all = append(all, field(name, shown, Operator, Operator, ""))
	}
	for _, name := range []string{"fault", "power_state", "target_power_state", "provision_state", "target_provision_state", "provision_updated_at",
		"clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config", "inspection_started_at", "inspection_finished_at",
		"allocation_uuid", "conductor", "health", "ports", "states", "portgroups", "volume", "created_at", "updated_at", "links"} {
		all = append(all, field(name, shown, "", "", ""))
	}
	return all
}()

func lookupField(name string) (Field, bool) {
	i := slices.IndexFunc(Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return Fields[i], true
}
