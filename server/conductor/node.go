package conductor

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// NodeID is a node's UUID.
type NodeID = api.NodeID

// Node is one machine as the store keeps it. Secrets are not in it: a secret field of DriverInfo or InstanceInfo holds
// Masked, its value is in the sealed secrets (Tx.Secret). A zero time means unset.
type Node struct {
	UUID    NodeID `json:"uuid"`
	Name    string `json:"name"`
	Version int64  `json:"-"` // compare-and-set: PutNode fails with state.changed_meanwhile on another one (I11)

	Driver        string            `json:"driver"`
	Interfaces    map[string]string `json:"interfaces,omitempty"` // "boot" to "redfish-virtual-media"
	DriverInfo    map[string]any    `json:"driver_info"`
	Properties    map[string]any    `json:"properties"`
	InstanceInfo  map[string]any    `json:"instance_info"`
	InstanceUUID  string            `json:"instance_uuid,omitempty"`
	InstanceName  string            `json:"instance_name,omitempty"`
	Allocation    string            `json:"allocation_uuid,omitempty"`
	Chassis       string            `json:"chassis_uuid,omitempty"`
	Parent        NodeID            `json:"parent_node,omitempty"` // the node that this one is a part of
	RAID          map[string]any    `json:"raid_config,omitempty"` // what was built
	TargetRAID    map[string]any    `json:"target_raid_config,omitempty"`
	Extra         map[string]any    `json:"extra"`
	NetworkData   map[string]any    `json:"network_data,omitempty"`
	Description   string            `json:"description,omitempty"`
	ResourceClass string            `json:"resource_class,omitempty"`
	Group         string            `json:"conductor_group,omitempty"`
	Owner         string            `json:"owner,omitempty"`
	Lessee        string            `json:"lessee,omitempty"`
	// AutomaticLessee says that the server took the lessee from the instance; it goes with it.
	AutomaticLessee bool     `json:"automatic_lessee,omitempty"`
	Shard           string   `json:"shard,omitempty"`
	Traits          []string `json:"traits,omitempty"`

	State       state.State  `json:"provision_state"`
	Target      state.State  `json:"target_provision_state,omitempty"`
	StateSince  time.Time    `json:"provision_updated_at"`
	Power       Power        `json:"power_state,omitempty"`
	PowerTarget Power        `json:"target_power_state,omitempty"`
	LastError   string       `json:"last_error,omitempty"`
	LastReason  fault.Reason `json:"last_reason,omitempty"`
	BootMode    string       `json:"boot_mode,omitempty"`
	SecureBoot  *bool        `json:"secure_boot,omitempty"`
	Health      string       `json:"health,omitempty"`
	Vendor      string       `json:"vendor,omitempty"`
	Model       string       `json:"model,omitempty"`
	Fault       string       `json:"fault,omitempty"` // why the server itself set maintenance: "power failure", "clean failure", "service failure", "rescue abort failure"
	BMC         *Known       `json:"bmc,omitempty"`
	Machine     Identity     `json:"machine,omitzero"` // which one it was when the node was verified (F24)

	Maintenance       bool   `json:"maintenance"`
	MaintenanceReason string `json:"maintenance_reason,omitempty"`
	Protected         bool   `json:"protected"`
	ProtectedReason   string `json:"protected_reason,omitempty"`
	Retired           bool   `json:"retired"`
	RetiredReason     string `json:"retired_reason,omitempty"`
	AutomatedClean    *bool  `json:"automated_clean,omitempty"`
	DisablePowerOff   bool   `json:"disable_power_off,omitempty"`
	Console           bool   `json:"console_enabled,omitempty"`

	Act   *Act     `json:"act,omitempty"`   // an operator's act upon the BMC that is under way
	Media []Medium `json:"media,omitempty"` // virtual media that operators attached
	Root  *Root    `json:"root,omitempty"`  // the disk of the last deployment; nil: none that is known
	// LiveISO is what the instance boots instead of a disk, as it was checked when the instance was made; "" is the disk.
	LiveISO string `json:"live_iso,omitempty"`
	// LiveHTTP says that the machine's firmware loads it over HTTP by itself, instead of from a virtual CD.
	LiveHTTP bool `json:"live_http,omitempty"`

	Flow    *Flow    `json:"flow,omitempty"`    // the work in progress, or the last one's end
	Boot    *Boot    `json:"boot,omitempty"`    // the current boot generation
	Ramdisk *Ramdisk `json:"ramdisk,omitempty"` // of the Ironic profile (package profile); nil: none was looked up
	Lease   *Lease   `json:"lease,omitempty"`   // the work that holds the node; nil: none
	Leases  uint64   `json:"leases,omitempty"`  // how many there were: the last one's number
	Owed    *Owed    `json:"owed,omitempty"`    // to the machine, since work on it failed; nil: nothing
	// Unverified is set while the record may be older than the machine (I15).
	Unverified *Unverified `json:"unverified,omitempty"`
	// Generation only grows; the current Boot has this number.
	Generation uint64 `json:"generation"`
	// DisksChanged says that a step out of band has made or deleted RAID volumes since an inventory was accepted: that one is of
	// disks that are no more. The next boot of the ramdisk brings those that are.
	DisksChanged bool `json:"disks_changed,omitempty"`

	InspectionStarted  time.Time `json:"inspection_started_at"`
	InspectionFinished time.Time `json:"inspection_finished_at"`
	Created            time.Time `json:"created_at"`
	Updated            time.Time `json:"updated_at"`
}

// Root is the disk that a deployment wrote, and the hints that chose it: while they stay the same, it does (docs/adr/0307).
type Root struct {
	Disk  inventory.DeviceID `json:"disk"`
	Hints map[string]any     `json:"hints,omitempty"`
}

// FaultPower is Node.Fault of a node that the server put into maintenance because its BMC does not answer.
const FaultPower = "power failure"

// SecretRescue is the sealed secret that holds the hash of a rescue's password while the rescue is on its way.
const SecretRescue = "rescue_password"

// DriverSecret is the sealed secret's field for a secret of driver_info.
func DriverSecret(key string) string { return "driver_info." + key }

// InstanceSecret is the sealed secret's field for a secret of instance_info. It goes with the instance.
func InstanceSecret(key string) string { return "instance_info." + key }

// Masked stands wherever a secret is stored elsewhere or not shown.
const Masked = api.Masked

// FastTrack is driver_info.fast_track; anything that is no flag is false.
func FastTrack(n Node) bool {
	on, err := api.Bool(n.DriverInfo["fast_track"])
	return err == nil && on
}

// BootsOnce tells that an instance's ISO is booted once, and the machine's own order of devices holds after that, as
// driver_info.force_persistent_boot_device can ask for.
func BootsOnce(n Node) bool {
	v, _ := n.DriverInfo["force_persistent_boot_device"].(string)
	return strings.EqualFold(v, "never")
}

// Power is a power state as Ironic spells it. Empty means unknown.
type Power string

// The power states.
const (
	PowerOn    Power = "power on"
	PowerOff   Power = "power off"
	PowerError Power = "error"
)

// Flow is a node's work in progress. Its steps are StepRecords of the same Run.
type Flow struct {
	Run       string     `json:"run"` // one flow's UUID: the key of its steps, history and logs
	Flow      state.Flow `json:"flow"`
	Manual    bool       `json:"manual,omitempty"` // a manual clean: ends in manageable
	Phase     Phase      `json:"phase"`
	Wait      *Wait      `json:"wait,omitempty"`
	Started   time.Time  `json:"started"`
	Ended     time.Time  `json:"ended,omitzero"`
	NoRamdisk bool       `json:"disable_ramdisk,omitempty"`
	Aborting  bool       `json:"aborting,omitempty"`
	Actor     string     `json:"actor,omitempty"`
	Request   string     `json:"request,omitempty"`   // request id
	TearDown  bool       `json:"tear_down,omitempty"` // ends powered off even if no ramdisk was booted
	Booted    bool       `json:"booted,omitempty"`    // a ramdisk was asked for in this run
	Shifted   *Shift     `json:"shifted,omitempty"`   // the last time that did not count
	Excluded  bool       `json:"excluded,omitempty"`  // an automated clean that erases nothing, by the node's audited exclusion (I5)
	Pretend   bool       `json:"pretend,omitempty"`   // of fake-hardware's fake interfaces: no machine is booted, switched or erased
	Prepared  bool       `json:"prepared,omitempty"`  // the BMC can do what the flow needs: asked once a run, before the first act
}

// Shift is a time that was taken out of a flow's waits: told by a server that went by the stamp Since, at the wall
// clock's time At. It keeps the same time from being taken out twice.
type Shift struct {
	Since time.Time `json:"since"`
	At    time.Time `json:"at"`
}

// Phase is what a flow is doing now; Decide moves it on.
type Phase string

// The phases. Not every flow goes through all of them.
const (
	PhaseVerify  Phase = "verify"  // reading the BMC
	PhasePrepare Phase = "prepare" // reading whether the BMC can do what the flow needs
	PhaseRead    Phase = "read"    // an inspection through the BMC: reading what the machine is made of
	PhaseSteps   Phase = "steps"   // running the next step of the plan
	PhaseBoot    Phase = "boot"    // bringing the ramdisk up: medium, boot device, power
	PhaseLookup  Phase = "lookup"  // powered on; the ramdisk has yet to look itself up
	PhaseAgent   Phase = "agent"   // an agent is there; waiting for its step list
	PhasePause   Phase = "pause"   // a wait step: the deadline ends it
	PhaseBeat    Phase = "beat"    // a wait step: the agent's next heartbeat ends it
	PhaseHold    Phase = "hold"    // a hold step: an operator ends it
	PhaseFinish  Phase = "finish"  // taking the ramdisk down, setting the boot disk, power
	PhaseEnded   Phase = "ended"
)

// Wait says what a flow waits for: shown to operators as it is. Every wait has a deadline (I14).
type Wait struct {
	For      string       `json:"for"`   // "the ramdisk to look itself up"
	Owner    string       `json:"owner"` // who is to act: "bmc", "agent", "server", "operator"
	Since    time.Time    `json:"since"`
	Deadline time.Time    `json:"deadline"`
	Evidence string       `json:"evidence,omitempty"` // the last sign of life, in words
	Seen     time.Time    `json:"seen,omitzero"`      // when it was
	Reason   fault.Reason `json:"reason,omitempty"`   // the fault if the deadline passes
	Silent   bool         `json:"silent,omitempty"`   // the agent is silent, and what it does can't be cut off
}

// Last is the newest sign of life of whoever is waited for, in words, and when it was: what was noted, or if that is newer
// the agent's heartbeat, or what the step at work told out of band (nil: none is). heard is when the agent of the current boot
// was heard last. Both are kept in memory only (I29).
func (w *Wait) Last(heard time.Time, running *StepRecord) (sign string, at time.Time) {
	if r := running; w.Owner == "bmc" && r != nil && r.State == StepStarted && r.Step.Where != step.InBand && r.Progress != nil && r.Progress.Told.After(w.Seen) && r.Progress.Told.After(w.Since) {
		return cmp.Or(r.Progress.Item, "the step's progress"), r.Progress.Told
	}
	if w.Owner == "agent" && heard.After(w.Seen) && heard.After(w.Since) {
		return "the agent's heartbeat", heard
	}
	return w.Evidence, w.Seen
}

// Boot is one boot generation of the ramdisk (safety.md §2.2). The per-boot secret and the medium's token are not in
// it: both are derived from the server's boot key and Salt, and only their hashes are compared.
type Boot struct {
	Generation   uint64      `json:"generation"`
	Salt         []byte      `json:"salt"`
	Opened       time.Time   `json:"opened"`
	Closes       time.Time   `json:"closes"`               // end of the lookup window
	Redeemed     time.Time   `json:"redeemed,omitzero"`    // when the first valid lookup closed it
	HTTP         bool        `json:"http,omitempty"`       // the machine's firmware loads the ramdisk over HTTPS; else it is on a medium
	MediumRead   time.Time   `json:"medium_read,omitzero"` // when the BMC, or the firmware, first fetched it
	Reader       string      `json:"reader,omitempty"`     // the address that the firmware did so from: nobody else gets it any more
	Key          string      `json:"key,omitempty"`        // thumbprint of the client certificate it is bound to
	BootID       string      `json:"boot_id,omitempty"`
	Source       string      `json:"source,omitempty"` // address fixed at lookup
	Level        api.Level   `json:"level"`
	Contested    bool        `json:"contested,omitempty"`
	Ended        bool        `json:"ended,omitempty"` // token withdrawn; nothing of this generation is accepted any more
	Ready        time.Time   `json:"ready,omitzero"`  // when the agent told its steps
	SeqSeen      uint64      `json:"seq_seen"`
	Rebuilt      bool        `json:"rebuilt,omitempty"` // a step of this boot changed the machine's arrays: what its lookup brought is out of date
	Steps        []step.Step `json:"steps,omitempty"`   // what the ramdisk offers, from its first heartbeat
	AgentVersion string      `json:"agent_version,omitempty"`
}

// StepState is where an attempt stands (safety.md §2.7).
type StepState string

// The states of an attempt. Only Started may lead to an outcome other than withdrawal.
const (
	StepPlanned     StepState = "planned"
	StepOffered     StepState = "offered"
	StepStarted     StepState = "started"
	StepSucceeded   StepState = "succeeded"
	StepFailed      StepState = "failed"
	StepInterrupted StepState = "interrupted"
	StepAborted     StepState = "aborted"
)

// StepRecord is one attempt of one step of a run, stored before anything runs.
type StepRecord struct {
	ID      step.ID   `json:"id"`
	Node    NodeID    `json:"node"`
	Run     string    `json:"run"`
	Order   int       `json:"order"`
	Attempt int       `json:"attempt"`
	Step    step.Step `json:"step"`
	Args    step.Args `json:"args,omitempty"`
	// Children is of a step that the server runs on the nodes below this one; nothing is done to this one's machine.
	Children   *step.Children `json:"children,omitempty"`
	Priority   int            `json:"priority,omitempty"` // that it was ordered by; 0 in an operator's list
	State      StepState      `json:"state"`
	Generation uint64         `json:"generation,omitempty"` // the boot it was offered to; 0 out of band
	Nonce      string         `json:"-"`
	Command    *api.Command   `json:"command,omitempty"`
	// Log is the last lines that the agent of its boot had said when it failed or was interrupted, JSON as slog writes it;
	// a long one is cut. Empty out of band.
	Log []string `json:"log,omitempty"`
	// Resume is where the attempt before came to before it was cut off.
	Resume []step.Checkpoint `json:"resume,omitempty"`
	// Power is the machine's before the first attempt, of a step out of band that restarts it: stored before anything is
	// done, so that each attempt leaves the machine with it. Empty when it was not known.
	Power Power `json:"power,omitempty"`
	// Recorded is the power that the node's record told before the first attempt of such a step: what counts when the BMC is
	// between two states.
	Recorded Power `json:"recorded,omitempty"`
	// Noted is what the step has noted before it acted (step.Call), for the attempt after one that was cut off.
	Noted    json.RawMessage `json:"noted,omitempty"`
	Progress *step.Progress  `json:"progress,omitempty"`
	Result   *step.Result    `json:"result,omitempty"`
	Fault    *fault.Fault    `json:"fault,omitempty"`
	Offered  time.Time       `json:"offered,omitzero"`
	Started  time.Time       `json:"started,omitzero"`
	Ended    time.Time       `json:"ended,omitzero"`
	Deadline time.Time       `json:"deadline,omitzero"`
}

// Entry is one line of a node's history: Ironic's, plus request, run, step, reason and where the agent's log of it is.
type Entry struct {
	UUID     string        `json:"uuid"`
	Node     NodeID        `json:"node"`
	Time     time.Time     `json:"created_at"`
	Severity string        `json:"severity"` // "INFO", "WARNING" or "ERROR"
	Type     string        `json:"event_type"`
	Event    string        `json:"event"`
	State    state.State   `json:"state,omitempty"`
	Target   state.State   `json:"target_provision_state,omitempty"`
	Reason   fault.Reason  `json:"reason,omitempty"`
	Run      string        `json:"run,omitempty"`
	Step     string        `json:"step,omitempty"`
	Actor    string        `json:"user,omitempty"`
	Request  string        `json:"request,omitempty"`
	Duration time.Duration `json:"duration,omitempty"`
	Log      string        `json:"log,omitempty"` // the API's path of the agent's log; "" when no agent came up
}

// StoredInventory is the inventory a lookup or inspection left.
type StoredInventory struct {
	Node       NodeID    `json:"node"`
	Generation uint64    `json:"generation"`
	Taken      time.Time `json:"taken"`
	Accepted   bool      `json:"accepted"` // stored by an inspection, not only seen at a lookup
	// OutOfBand says that the machine's BMC told it. It is of no boot, and never accepted: no disk is decided about by it.
	OutOfBand bool            `json:"out_of_band,omitempty"`
	Inventory json.RawMessage `json:"inventory"` // as it came: whoever stores it has decoded it
	// Disks are those of Inventory, for whoever stores it has them: decisions are made by them. They are not read back with it.
	Disks  []inventory.Disk `json:"-"`
	Plugin map[string]any   `json:"plugin_data,omitempty"`
}

// Ramdisk is what the Ironic profile keeps. It ends with the machine's power, and with the work that it was up for.
type Ramdisk struct {
	Token     []byte    `json:"token"` // SHA-256: the token itself is given away once, and kept nowhere
	Source    string    `json:"source"`
	Given     time.Time `json:"given"`
	Contested bool      `json:"contested,omitempty"` // looked up from a second address, too
	URL       string    `json:"url,omitempty"`       // callback_url; nobody is called there
	Version   string    `json:"version,omitempty"`
	CA        []byte    `json:"ca,omitempty"` // SHA-256 of the certificate that it showed
	Status    string    `json:"status,omitempty"`
	Message   string    `json:"message,omitempty"`
}
