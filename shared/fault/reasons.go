package fault

// Row gives a reason its code, one sentence for the reference page and the general hint.
type Row struct {
	Reason Reason
	Code   Code
	Doc    string
	Hint   string
}

// Reasons by area. A reason is never renamed or reused: operators' scripts and runbooks name it.
const (
	InternalError Reason = "internal.error"

	RequestInvalid     Reason = "request.invalid"
	RequestTooLarge    Reason = "request.too_large"
	RequestAuth        Reason = "request.unauthenticated"
	RequestForbidden   Reason = "request.forbidden"
	RequestVersion     Reason = "request.version"
	RequestRate        Reason = "request.rate_limited"
	RequestOverload    Reason = "request.overload"
	MethodNotAllowed   Reason = "request.method_not_allowed"
	RequestPath        Reason = "request.path_unknown"
	NodeNotFound       Reason = "node.not_found"
	NodeExists         Reason = "node.exists"
	NodeBusy           Reason = "node.busy"
	NodeMaintenance    Reason = "node.maintenance"
	NodeProtected      Reason = "node.protected"
	NodeRetired        Reason = "node.retired"
	NodeInUse          Reason = "node.in_use"
	NodeContested      Reason = "node.contested"
	NodeUnverified     Reason = "node.unverified"
	NodeOutOfService   Reason = "node.out_of_service"
	NodeActLost        Reason = "node.act_lost"
	NodeNotOff         Reason = "node.not_powered_off"
	PortNotFound       Reason = "port.not_found"
	PortExists         Reason = "port.exists"
	PortgroupNotFound  Reason = "portgroup.not_found"
	PortgroupNotEmpty  Reason = "portgroup.not_empty"
	AllocationNotFound Reason = "allocation.not_found"
	AllocationFailed   Reason = "allocation.failed"
	TemplateNotFound   Reason = "template.not_found"
	RunbookNotFound    Reason = "runbook.not_found"
	RuleNotFound       Reason = "rule.not_found"
	RulesUnsupported   Reason = "rule.unsupported"
	ChassisNotFound    Reason = "chassis.not_found"
	ChassisNotEmpty    Reason = "chassis.not_empty"
	VolumeNotFound     Reason = "volume.not_found"
	VolumeInUse        Reason = "volume.in_use"
	RecordExists       Reason = "record.exists"
	ImageNotFound      Reason = "image.not_found"
	DriverUnknown      Reason = "driver.unknown"
	DriverInfoMissing  Reason = "driver.info_missing"
	DriverInterface    Reason = "driver.interface_unsupported"
	LookupNotFound     Reason = "lookup.not_found"
	StateVerb          Reason = "state.verb_not_possible"
	StateConflict      Reason = "state.changed_meanwhile"
	InventoryNotFound  Reason = "inventory.not_found"
	SecretNotFound     Reason = "secret.not_found"
	EntryNotFound      Reason = "history.not_found"
	StorageUnavailable Reason = "storage.unavailable"
	StorageLost        Reason = "storage.lost_lease"
	ServerUnreachable  Reason = "server.unreachable"
	TraitNotFound      Reason = "trait.not_found"
	DriverNotFound     Reason = "driver.not_found"
	ConductorNotFound  Reason = "conductor.not_found"
	LogNotFound        Reason = "log.not_found"
	DefaultNotFound    Reason = "default.not_found"
	CursorLost         Reason = "changes.cursor_lost"
	WebhookNotFound    Reason = "webhook.not_found"
	WebhookFailed      Reason = "webhook.failed"
	SettingNotFound    Reason = "bios.setting_not_found"
	NoRAID             Reason = "driver.no_raid"
	LightNotFound      Reason = "indicator.not_found"
	NoMethod           Reason = "driver.no_method"
	SubscriptionLost   Reason = "bmc.subscription_not_found"
	VIFAttached        Reason = "vif.attached"
	VIFNotFound        Reason = "vif.not_found"
	VIFNoPort          Reason = "vif.no_port"

	StepUnknown      Reason = "step.unknown"
	StepNotFound     Reason = "step.not_found"
	StepArgument     Reason = "step.argument"
	StepNotOffered   Reason = "step.not_offered"
	StepInterrupted  Reason = "step.interrupted"
	StepTimeout      Reason = "step.timeout"
	StepAborted      Reason = "step.aborted"
	StepFailed       Reason = "step.failed"
	StepPanic        Reason = "step.panic"
	StepResult       Reason = "step.result_too_large"
	StepLevel        Reason = "step.level_too_low"
	StepVersion      Reason = "step.not_in_ramdisk"
	FlowAborted      Reason = "flow.aborted"
	FlowMediaTimeout Reason = "boot.medium_not_read"
	FlowLookup       Reason = "boot.no_lookup"
	BootNotTrusted   Reason = "boot.not_trusted"
	FlowSilent       Reason = "agent.silent"
	FlowListener     Reason = "boot.no_listener"
	BootNoRamdisk    Reason = "boot.no_ramdisk"
	FlowHeld         Reason = "flow.held_too_long"

	BMCUnreachable  Reason = "bmc.unreachable"
	BMCAuth         Reason = "bmc.credentials"
	BMCError        Reason = "bmc.error"
	BMCBusy         Reason = "bmc.busy"
	BMCOrigin       Reason = "bmc.foreign_link"
	BMCTooLarge     Reason = "bmc.answer_too_large"
	BMCCertificate  Reason = "bmc.certificate"
	BMCUnsupported  Reason = "bmc.unsupported"
	BMCPower        Reason = "bmc.power_not_reached"
	BMCTask         Reason = "bmc.task_failed"
	BMCBootMode     Reason = "bmc.boot_mode_unsupported"
	BMCSecureBoot   Reason = "bmc.secure_boot"
	BMCBootDevice   Reason = "bmc.boot_device_unsupported"
	BMCNoMedia      Reason = "bmc.no_virtual_media"
	BMCPowerActs    Reason = "bmc.power_act_unsupported"
	BMCOtherMachine Reason = "bmc.other_machine"
	BMCClock        Reason = "bmc.clock"
	BMCVersion      Reason = "bmc.version_unknown"
	BMCFirmware     Reason = "bmc.firmware_old"
	BMCSessions     Reason = "bmc.no_session"
	BMCUnread       Reason = "bmc.part_unreadable"
	BMCHealth       Reason = "bmc.machine_unwell"
	BMCIncomplete   Reason = "bmc.inventory_incomplete"

	FirmwareUnknown   Reason = "firmware.outcome_unknown"
	FirmwareUnchanged Reason = "firmware.version_unchanged"

	OriginRefused    Reason = "origin.not_allowed"
	ChannelProtocol  Reason = "channel.protocol_version"
	ChannelClaim     Reason = "channel.claim_refused"
	ChannelWindow    Reason = "channel.window_closed"
	ChannelToken     Reason = "channel.token"
	ChannelSource    Reason = "channel.source_refused"
	ChannelStale     Reason = "channel.stale_message"
	ChannelStartLost Reason = "channel.start_refused"

	DiskNone         Reason = "disk.none"
	DiskHint         Reason = "disk.hint_no_match"
	DiskAmbiguous    Reason = "disk.hint_ambiguous"
	DiskChanged      Reason = "disk.identity_changed"
	DiskProtected    Reason = "disk.protected"
	DiskRemote       Reason = "disk.not_local"
	DiskBusy         Reason = "disk.in_use"
	DiskMissing      Reason = "disk.missing"
	DiskIO           Reason = "disk.io"
	DiskNotErased    Reason = "disk.not_erased"
	DiskTooSmall     Reason = "disk.too_small"
	ImageUnreachable Reason = "image.unreachable"
	ImageDigest      Reason = "image.digest_mismatch"
	ImageSize        Reason = "image.size_mismatch"
	ImageCorrupt     Reason = "image.corrupt"
	ImageTruncated   Reason = "image.truncated"
	ImageUnproven    Reason = "image.not_proven"
	ImageFormat      Reason = "image.format"
	ImageReadBack    Reason = "image.read_back"
	ConfigDrive      Reason = "configdrive.invalid"
	BootEntry        Reason = "boot.entry"
)

// Reasons is the table behind New and the reference page, in the order of the page.
var Reasons = []Row{
	{InternalError, Internal, "Something Bessemer did not foresee.", "look in the server's log for this id and report it"},

	{RequestInvalid, Invalid, "The request is malformed or names something unknown.", "compare the request with the reference page of the API"},
	{RequestTooLarge, Invalid, "The request is larger than the server accepts.", "send less, or in pieces"},
	{RequestAuth, Unauthenticated, "The request carries no valid credentials.", "give a user name and password of the server's user file"},
	{RequestForbidden, Forbidden, "The caller may not do this.", "ask an administrator"},
	{RequestVersion, Invalid, "The API version asked for is outside the range served.", "ask for a version inside the range named in the answer's headers"},
	{RequestRate, Unavailable, "Too many requests from one address.", "wait and try again"},
	{RequestOverload, Unavailable, "More machines look themselves up at once than the server takes at a time.", "nothing is to be done: each tries again by itself"},
	{MethodNotAllowed, Invalid, "The method is not served at this path.", "compare the request with the reference page of the API"},
	{RequestPath, NotFound, "Nothing is served at this path in the version asked for.", "compare the path and the version with the reference page of the API"},
	{NodeNotFound, NotFound, "No node has this name or UUID.", "bessemer node list shows the nodes"},
	{NodeExists, Conflict, "A node with this UUID, name or instance exists.", "choose another name, or change the existing node"},
	{NodeBusy, Busy, "Another piece of work holds the node.", "wait until it ends (bessemer node show NODE), or abort it"},
	{NodeMaintenance, Invalid, "The node is in maintenance.", "bessemer node maintenance unset NODE ends it"},
	{NodeProtected, Forbidden, "The node is protected.", "when that is meant to end: bessemer node unset NODE --protected"},
	{NodeRetired, Invalid, "The node is retired.", "when that is meant to end: bessemer node unset NODE --retired"},
	{NodeInUse, Conflict, "The node is in use.", "bring it to enroll, manageable or available, or: bessemer node maintenance set NODE"},
	{NodeContested, Conflict, "Two machines claimed to be this node; nothing secret or destructive is given to either.", "find the second machine, then power the node off with bessemer node power off NODE and repeat the verb"},
	{NodeUnverified, Conflict, "The node's record may be older than the machine.", "see that the machine is what the record says, then: bessemer node confirm NODE"},
	{NodeOutOfService, Conflict, "An operator said that the machine is out of service.", "when it works again: bessemer node abort NODE leads back to active"},
	{NodeActLost, Conflict, "An act upon the machine was begun, but nothing is stored any more that would carry it out.", "bessemer doctor NODE --fix gives it up; look at the machine, then ask for the act again"},
	{NodeNotOff, Conflict, "The machine could not be powered off when work on it had ended; what ran on it may still run.", "mend the BMC: the server tries again as soon as it answers; or see that the machine is off, then: bessemer node confirm NODE"},
	{PortNotFound, NotFound, "No port has this UUID or address.", "bessemer port list shows the ports"},
	{PortExists, Conflict, "A port with this address exists.", "a network card belongs to one node; delete the other port first"},
	{PortgroupNotFound, NotFound, "No port group has this UUID or name.", "bessemer port group list shows them"},
	{PortgroupNotEmpty, Invalid, "The port group has ports.", "delete its ports, or take portgroup_uuid away from them, first"},
	{AllocationNotFound, NotFound, "No allocation has this UUID or name, or the node has none.", "bessemer allocation list shows them"},
	{AllocationFailed, Conflict, "No node fits what an allocation asks for.", "a node fits that is available, known to be on or off, not in maintenance, without instance, of the resource class and with all traits"},
	{TemplateNotFound, NotFound, "No deploy template has this UUID or name.", "bessemer deploy template list shows them"},
	{RunbookNotFound, NotFound, "No runbook has this UUID or name.", "bessemer runbook list shows them"},
	{RuleNotFound, NotFound, "No inspection rule has this UUID: this server keeps none.", "ask for what an inspection found: bessemer node inventory NODE"},
	{RulesUnsupported, Unsupported, "This server runs no inspection rules.", "read what an inspection found with bessemer node inventory NODE, and set the node's fields with bessemer node set"},
	{ChassisNotFound, NotFound, "No chassis has this UUID.", "bessemer chassis list shows them"},
	{ChassisNotEmpty, Invalid, "Nodes are in the chassis.", "take chassis_uuid away from its nodes first"},
	{VolumeNotFound, NotFound, "No volume connector or target has this UUID.", "bessemer volume connector list and bessemer volume target list show them"},
	{VolumeInUse, Invalid, "A volume record changes only while its machine is off.", "power it off first: bessemer node power off NODE"},
	{RecordExists, Conflict, "Something with this UUID, name or other unique field exists.", "choose another one, or change what exists"},
	{ImageNotFound, NotFound, "No stored image has this name.", "bessemer image list shows the images"},
	{DriverUnknown, Invalid, "The hardware type is not known here.", "give one of the hardware types that the server offers: bessemer driver list shows them"},
	{DriverInfoMissing, Invalid, "driver_info lacks something that the hardware type needs.", "set it with bessemer node set NODE --driver-info KEY=VALUE"},
	{LookupNotFound, NotFound, "No node may be looked up by this.", "only nodes of fake-hardware are found here, while a ramdisk is awaited or with driver_info/fast_track"},
	{DriverInterface, Unsupported, "The node's implementation of an interface can't do what is asked.", "choose another implementation: docs/reference/drivers.md lists what works"},
	{StateVerb, Invalid, "The verb is not possible in the node's provision state.", "bessemer node show NODE names the state and what leads out of it"},
	{StateConflict, Busy, "The node changed between reading and writing.", "read it again and repeat"},
	{InventoryNotFound, NotFound, "No inspection has stored an inventory yet.", "bessemer node inspect NODE makes one"},
	{SecretNotFound, NotFound, "The node has no such secret.", "set it with bessemer node set NODE --driver-info KEY=VALUE"},
	{EntryNotFound, NotFound, "The node's history has no such entry.", "bessemer node history NODE shows the entries"},
	{ServerUnreachable, Unavailable, "The server does not answer.", "is it running (bessemer serve), and is the address right? --server URL or BESSEMER_SERVER names it"},
	{TraitNotFound, NotFound, "The node does not have this trait.", "bessemer node show NODE lists the node's traits"},
	{DriverNotFound, NotFound, "No hardware type has this name.", "give one of the hardware types that the server offers: bessemer driver list shows them"},
	{ConductorNotFound, NotFound, "No conductor has this name.", "bessemer conductor list shows the one there is"},
	{LogNotFound, NotFound, "No agent has written a log in this boot of the node yet.", "bessemer node logs -f NODE waits for the first line"},
	{DefaultNotFound, NotFound, "No default of this scope, flow, step and key is set.", "bessemer config list shows those that are"},
	{WebhookNotFound, NotFound, "No webhook has this UUID.", "bessemer webhook list shows those there are"},
	{WebhookFailed, Unavailable, "A webhook's destination did not take a delivery; it is tried again.", "look at the destination: it must answer with 2xx within 15 seconds"},
	{CursorLost, NotFound, "The journal of changes does not reach back to the cursor given.", "begin anew with an empty changed_since, or without a cursor"},
	{SettingNotFound, NotFound, "The machine's BIOS has no such setting, or none were read yet.", "bessemer node bios setting list NODE shows those that are known; bessemer node manage reads them of a node in enroll"},
	{NoRAID, NotFound, "The node's RAID interface builds no arrays.", "choose another raid_interface, if the driver has one"},
	{LightNotFound, NotFound, "The machine has no such indicator.", "bessemer node indicator list NODE lists them"},
	{NoMethod, Invalid, "The node's vendor interface has no such method, or not by this method of HTTP.", "bessemer node passthru list NODE shows them"},
	{SubscriptionLost, NotFound, "The BMC has no such subscription.", "bessemer node passthru call NODE get_all_subscriptions lists them"},
	{VIFAttached, Conflict, "The virtual interface is attached already, or the port has one.", "bessemer node vif list NODE shows those that are attached; detach first"},
	{VIFNotFound, Invalid, "No port of the node has this virtual interface.", "bessemer node vif list NODE shows those that are attached"},
	{VIFNoPort, Invalid, "The node has no free port for another virtual interface.", "detach one, or enroll another port"},
	{StorageUnavailable, Unavailable, "The server's store can't be written; no work is granted until it can.", "look at the server's disk: space, permissions, health"},
	{StorageLost, Unavailable, "Another server owns the database now; this one grants no more work and ends.", "ask the server that runs now; the log of this one says when it lost the database"},

	{StepUnknown, Invalid, "No step of this name is offered for this node.", "bessemer node steps --available NODE lists them"},
	{StepNotFound, NotFound, "No attempt of a step has this id.", "bessemer node show NODE names the steps of its work"},
	{StepArgument, Invalid, "A step's arguments are wrong.", "the reference page of the steps gives each argument's type"},
	{StepNotOffered, Conflict, "The step is not offered to this agent, or no longer.", "nothing to do: the agent drops it"},
	{StepInterrupted, Internal, "The step was cut off by a restart that nobody ordered; how far it came is unknown.", "look at the machine, then repeat the verb"},
	{StepTimeout, Timeout, "The step did not end before its deadline.", "bessemer node logs NODE shows how far it came"},
	{StepAborted, Conflict, "The step was aborted on request.", "repeat the verb when ready"},
	{StepFailed, Internal, "The step failed.", "bessemer node logs NODE shows its last lines"},
	{StepPanic, Internal, "The step's code crashed.", "report it with bessemer node logs NODE"},
	{StepResult, Internal, "The step did its work, but left more than a message can carry.", "report it to who wrote the hardware manager; bessemer node logs NODE shows what the step did"},
	{StepLevel, Forbidden, "The ramdisk's identity is less certain than this step needs.", "boot it by virtual media, or lower the node's minimum level"},
	{StepVersion, Unsupported, "The booted ramdisk does not offer a step of the plan.", "build the ramdisk with the manager that offers it"},
	{FlowAborted, Conflict, "The work was aborted by request.", "repeat the verb when ready"},
	{FlowHeld, Timeout, "A hold step was not released in time.", "repeat the verb when ready; bessemer node unhold NODE releases a hold"},
	{FlowMediaTimeout, Timeout, "The BMC did not read the boot medium, or the machine's firmware did not load the ramdisk.", "check that the BMC reaches the server's boot address"},
	{FlowLookup, Timeout, "The ramdisk was booted but did not report in time.", "look at the machine's console: the ramdisk says there what it lacks"},
	{FlowListener, Unavailable, "One of the server's listeners that machines use is missing, so no ramdisk can be booted.", "the server's log names the port and what to do; free it and start the server again"},
	{BootNoRamdisk, Unavailable, "The server has no ramdisk that the machine could be booted with.", "bessemer ramdisk build --output DIR, with the directory of the server's base_iso"},
	{BootNotTrusted, Invalid, "The machine's firmware does not trust the certificate under which this server serves the ramdisk.", "enrol the server's boot certificate in the machine's firmware, for HTTPS boot"},
	{FlowSilent, Timeout, "The agent stopped reporting.", "look at the machine's console and at the network"},

	{BMCUnreachable, Unavailable, "The BMC does not answer.", "check the address, the cable and that the BMC is up"},
	{BMCAuth, Unauthenticated, "The BMC refuses the credentials; no further try is made, so that the account is not locked.", "correct redfish_username and redfish_password: bessemer node set NODE --driver-info redfish_password=@FILE reads one from a file; then repeat the verb"},
	{BMCError, Internal, "The BMC answered with an error.", "look at the BMC's own log; bessemer bmc repair NODE may help"},
	{BMCBusy, Busy, "The BMC is busy.", "wait, or bessemer bmc repair NODE"},
	{BMCOrigin, Forbidden, "The BMC's answer points to another host; it was not followed.", "check redfish_address and the BMC's firmware"},
	{BMCTooLarge, Invalid, "The BMC's answer is larger than any sane one.", "check redfish_address and the BMC's firmware"},
	{BMCCertificate, Forbidden, "The BMC's certificate is not the one trusted; nothing was sent to it.", "set redfish_verify_ca to the BMC's CA file or to its pin"},
	{BMCUnsupported, Unsupported, "The BMC can't do what is asked.", "choose another boot mode, interface or step"},
	{BMCPower, Timeout, "The machine did not reach the power state asked for.", "look at the machine; bessemer node power NODE shows what the BMC says"},
	{BMCTask, Internal, "A task of the BMC failed.", "look at the BMC's job queue; bessemer bmc repair NODE may help"},
	{BMCBootMode, Unsupported, "The machine can't boot in the mode that is asked for.", "compare boot_mode in the capabilities of properties and instance_info with what the firmware offers"},
	{BMCSecureBoot, Unsupported, "Secure boot is asked for, and the machine does not have it, or has it switched off.", "switch it on in the firmware's setup, or take secure_boot out of the capabilities"},
	{BMCBootDevice, Unsupported, "The BMC can't boot the machine from what the work needs.", "look at the boot settings on the BMC's page; newer firmware of the BMC may help"},
	{BMCNoMedia, Unsupported, "The BMC has no virtual CD drive, from which the ramdisk would boot.", "look whether virtual media are switched on and licensed on the BMC's page"},
	{BMCPowerActs, Unsupported, "The BMC does not offer a power act that the work needs.", "newer firmware of the BMC may help"},
	{BMCOtherMachine, Conflict, "The BMC shows another machine than the node was verified with; nothing was done to it.", "see which machine it is: correct redfish_address or redfish_system_id, or, when the board was replaced, bessemer node confirm NODE"},
	{BMCClock, Invalid, "The BMC's clock is wrong.", "give the BMC a time server, or set the clock: bessemer bmc repair NODE"},
	{BMCVersion, Invalid, "The BMC does not tell the version of its own or of the machine's firmware.", "look at the versions on the BMC's page; newer firmware may help"},
	{BMCFirmware, Invalid, "The firmware of the BMC or of the machine is older than properties.minimum_firmware asks for.", "bring it up to date by the step firmware.update, or on the BMC's page"},
	{BMCSessions, Unavailable, "The BMC gives no session, mostly because others hold all it has.", "end other sessions on the BMC's page, or restart it: bessemer bmc reset NODE"},
	{BMCUnread, Invalid, "A part of the machine that the BMC lists can't be read.", "look at the BMC's own log; bessemer bmc repair NODE may help"},
	{BMCHealth, Invalid, "The BMC says that the machine is not well.", "look at the health page of the BMC before the machine is used"},
	{BMCIncomplete, Unsupported, "The BMC does not tell what an inspection has to find out.", "inspect by the ramdisk: bessemer node set NODE --interface inspect=agent; or set what is missing: bessemer node set NODE --property memory_mb=65536 --property cpu_arch=x86_64"},
	{FirmwareUnknown, Internal, "A firmware image may have reached the BMC, or not; it was not sent a second time.", "compare bessemer node firmware list NODE and the BMC's task list with what was to be installed; then repeat the verb, which sends it anew"},
	{FirmwareUnchanged, Internal, "The BMC took a firmware image, and still tells the version from before.", "look at the BMC's task list and log; if the image has the version that is installed, leave it out"},
	{OriginRefused, Forbidden, "The address is loopback, link-local or one of the server's own networks, and not listed.", "start the server with --allow-origin CIDR if this is wanted"},
	{ChannelProtocol, Unsupported, "Agent and server speak no common version of the channel.", "build the ramdisk with this server's release"},
	{ChannelClaim, Unauthenticated, "The claim to be this node is refused.", "nothing to do here: a ramdisk of this boot proves itself by its medium"},
	{ChannelWindow, Forbidden, "No ramdisk is expected from this node now.", "queue work for the node; the server opens the window when it boots it"},
	{ChannelToken, Unauthenticated, "The token is missing, expired, revoked or of another node, boot or key.", "the agent looks itself up again"},
	{ChannelSource, Forbidden, "The request comes from an address that may not speak for this node.", "list the network with --agent-network CIDR"},
	{ChannelStale, Conflict, "A message older than the last one seen.", "nothing to do: it changes nothing"},
	{ChannelStartLost, Conflict, "The server does not let this attempt start.", "nothing to do: the agent drops it"},

	{DiskNone, Invalid, "The machine has no disk that may be used.", "check the controller's mode and the skip list"},
	{DiskHint, Invalid, "No disk matches the root device hints.", "compare the hints with the disks listed here"},
	{DiskAmbiguous, Invalid, "Which disk is meant is not certain.", "set root_device hints (serial or wwn) that fit exactly one disk"},
	{DiskChanged, Conflict, "The disk is not the one the step was started for; nothing was written.", "inspect the node again and repeat"},
	{DiskProtected, Forbidden, "The disk, or something on it, is protected.", "if it may be destroyed, say so by the override named here"},
	{DiskRemote, Forbidden, "The disk is not provably local to the machine.", "list its class in properties.allow_device_classes if it is"},
	{DiskBusy, Conflict, "The disk is mounted, used or held by something else.", "find out what holds it; the message names it"},
	{DiskMissing, Conflict, "A disk of the accepted inventory is missing.", "inspect the node again by its ramdisk (inspect_interface agent), or skip the disk in skip_block_devices"},
	{DiskIO, Internal, "The disk returned an error.", "replace the disk, or skip it in skip_block_devices"},
	{DiskNotErased, Internal, "Old data was found after erasing.", "do not hand the machine on; erase by another method or replace the disk"},
	{DiskTooSmall, Invalid, "The image does not fit on the disk.", "choose a larger disk by root_device hints, or a smaller image"},
	{ImageUnreachable, Unavailable, "The image can't be fetched.", "check the URL from the provisioning network"},
	{ImageDigest, Invalid, "The image's digest is not the one asked for; the disk was left not bootable.", "compare image_os_hash_value with the file the URL serves"},
	{ImageSize, Invalid, "The image's size is not the one declared.", "publish the image again"},
	{ImageCorrupt, Invalid, "The image can't be decoded.", "publish the image again"},
	{ImageTruncated, Unavailable, "The image server ended the transfer too early.", "check the image server, then repeat the verb"},
	{ImageUnproven, Internal, "The step that writes the image left no proof that it is on the disk.", "the disk may hold anything: repeat the verb, and report it to who wrote the hardware manager"},
	{ImageFormat, Unsupported, "The image's format is not supported.", "use raw, raw compressed with zstd, gzip or xz, or qcow2"},
	{ImageReadBack, Internal, "What was read back from the disk differs from what was written.", "replace the disk"},
	{ConfigDrive, Invalid, "The config drive can't be used.", "give an object with meta_data, network_data, user_data, or an ISO of at most 64 MiB"},
	{BootEntry, Internal, "The firmware's boot entry could not be written or read back.", "check that the machine booted in UEFI mode"},
}

var byReason = func() map[Reason]Row {
	m := make(map[Reason]Row, len(Reasons))
	for _, r := range Reasons {
		m[r.Reason] = r
	}
	return m
}()

// Lookup gives the row of a reason.
func Lookup(r Reason) (Row, bool) { row, ok := byReason[r]; return row, ok }
