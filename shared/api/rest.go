package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// The operators' REST API, in Ironic's shapes: this file holds the objects, rest_fields.go what each version shows
// and accepts, rest_version.go how a version is agreed on, rest_patch.go PATCH, rest_fault.go the error body, and
// rest_ours.go what Bessemer adds beside it.

// Time is a moment as Ironic writes it: ISO 8601 with offset, microseconds where known; the zero time is null.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.999999-07:00"

// MarshalJSON writes the time in UTC with a numeric offset.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(timeLayout) + `"`), nil
}

// UnmarshalJSON reads any RFC 3339 time, or null.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		t.Time = time.Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// Link is one of the pair that every object carries.
type Link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
	Type string `json:"type,omitempty"`
}

// LinkPair is the self and bookmark link of a path below /v1 ("nodes/x").
func LinkPair(base, path string) []Link {
	return []Link{{Href: base + "/v1/" + path, Rel: "self"}, {Href: base + "/" + path, Rel: "bookmark"}}
}

// Node is a node as an answer carries it; an answer may leave out any field but links. NodeFields says which version
// has which field, and which ones a caller may set.
type Node struct {
	UUID                 string         `json:"uuid"`
	Name                 *string        `json:"name"`
	Driver               string         `json:"driver"`
	DriverInfo           map[string]any `json:"driver_info"`
	DriverInternalInfo   map[string]any `json:"driver_internal_info"`
	Properties           map[string]any `json:"properties"`
	InstanceInfo         map[string]any `json:"instance_info"`
	InstanceUUID         *string        `json:"instance_uuid"`
	InstanceName         *string        `json:"instance_name"`
	Extra                map[string]any `json:"extra"`
	Description          *string        `json:"description"`
	ResourceClass        *string        `json:"resource_class"`
	ConductorGroup       string         `json:"conductor_group"`
	ChassisUUID          *string        `json:"chassis_uuid"`
	Owner                *string        `json:"owner"`
	Lessee               *string        `json:"lessee"`
	AutomatedClean       *bool          `json:"automated_clean"`
	Protected            bool           `json:"protected"`
	ProtectedReason      *string        `json:"protected_reason"`
	Retired              bool           `json:"retired"`
	RetiredReason        *string        `json:"retired_reason"`
	Maintenance          bool           `json:"maintenance"`
	MaintenanceReason    *string        `json:"maintenance_reason"`
	Fault                *string        `json:"fault"`
	NetworkData          map[string]any `json:"network_data"`
	ConsoleEnabled       bool           `json:"console_enabled"`
	BootMode             *string        `json:"boot_mode"`
	SecureBoot           *bool          `json:"secure_boot"`
	PowerState           *string        `json:"power_state"`
	TargetPowerState     *string        `json:"target_power_state"`
	ProvisionState       *string        `json:"provision_state"`
	TargetProvisionState *string        `json:"target_provision_state"`
	ProvisionUpdatedAt   Time           `json:"provision_updated_at"`
	LastError            *string        `json:"last_error"`
	Reservation          *string        `json:"reservation"`
	CleanStep            map[string]any `json:"clean_step"`
	DeployStep           map[string]any `json:"deploy_step"`
	ServiceStep          map[string]any `json:"service_step"`
	RAIDConfig           map[string]any `json:"raid_config"`
	TargetRAIDConfig     map[string]any `json:"target_raid_config"`
	InspectionStartedAt  Time           `json:"inspection_started_at"`
	InspectionFinishedAt Time           `json:"inspection_finished_at"`
	Traits               []string       `json:"traits"`
	AllocationUUID       *string        `json:"allocation_uuid"`
	Conductor            *string        `json:"conductor"`
	Shard                *string        `json:"shard"`
	ParentNode           *string        `json:"parent_node"`
	DisablePowerOff      *bool          `json:"disable_power_off"`
	Health               *string        `json:"health"`
	NetworkInterface     *string        `json:"network_interface"`
	BootInterface        *string        `json:"boot_interface"`
	ConsoleInterface     *string        `json:"console_interface"`
	DeployInterface      *string        `json:"deploy_interface"`
	InspectInterface     *string        `json:"inspect_interface"`
	ManagementInterface  *string        `json:"management_interface"`
	PowerInterface       *string        `json:"power_interface"`
	RAIDInterface        *string        `json:"raid_interface"`
	VendorInterface      *string        `json:"vendor_interface"`
	StorageInterface     *string        `json:"storage_interface"`
	RescueInterface      *string        `json:"rescue_interface"`
	BIOSInterface        *string        `json:"bios_interface"`
	FirmwareInterface    *string        `json:"firmware_interface"`
	Ports                []Link         `json:"ports"`
	States               []Link         `json:"states"`
	Portgroups           []Link         `json:"portgroups"`
	Volume               []Link         `json:"volume"`
	CreatedAt            Time           `json:"created_at"`
	UpdatedAt            Time           `json:"updated_at"`
	Links                []Link         `json:"links"`
}

// Interfaces are the kinds of driver interface, as in the names of the *_interface fields.
func Interfaces() []string {
	return []string{"bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network", "power",
		"raid", "rescue", "storage", "vendor"}
}

// NodeList is a page of nodes; Next is the URL of the following one.
type NodeList struct {
	Nodes []Node `json:"nodes"`
	Next  string `json:"next,omitempty"`
}

// States is GET /v1/nodes/{node}/states.
type States struct {
	ConsoleEnabled       bool           `json:"console_enabled"`
	LastError            *string        `json:"last_error"`
	PowerState           *string        `json:"power_state"`
	ProvisionState       *string        `json:"provision_state"`
	TargetPowerState     *string        `json:"target_power_state"`
	TargetProvisionState *string        `json:"target_provision_state"`
	ProvisionUpdatedAt   Time           `json:"provision_updated_at"`
	RAIDConfig           map[string]any `json:"raid_config"`
	TargetRAIDConfig     map[string]any `json:"target_raid_config"`
	BootMode             *string        `json:"boot_mode"`
	SecureBoot           *bool          `json:"secure_boot"`
}

// Port is a network card.
type Port struct {
	UUID                string         `json:"uuid"`
	Address             string         `json:"address"`
	NodeUUID            string         `json:"node_uuid"`
	Name                *string        `json:"name"`
	PXEEnabled          bool           `json:"pxe_enabled"`
	LocalLinkConnection map[string]any `json:"local_link_connection"`
	PortgroupUUID       *string        `json:"portgroup_uuid"`
	PhysicalNetwork     *string        `json:"physical_network"`
	IsSmartNIC          bool           `json:"is_smartnic"`
	Extra               map[string]any `json:"extra"`
	InternalInfo        map[string]any `json:"internal_info"`
	Description         *string        `json:"description"`
	Vendor              *string        `json:"vendor"`
	Category            *string        `json:"category"`
	CreatedAt           Time           `json:"created_at"`
	UpdatedAt           Time           `json:"updated_at"`
	Links               []Link         `json:"links"`
}

// PortList is a page of ports.
type PortList struct {
	Ports []Port `json:"ports"`
	Next  string `json:"next,omitempty"`
}

// Driver is a hardware type. A detailed answer also has default_<i>_interface and enabled_<i>_interfaces.
type Driver struct {
	Name       string   `json:"name"`
	Hosts      []string `json:"hosts"`
	Type       string   `json:"type"` // "dynamic"
	Links      []Link   `json:"links"`
	Properties []Link   `json:"properties"`
}

// Conductor is a server process; there is one.
type Conductor struct {
	Hostname       string   `json:"hostname"`
	ConductorGroup string   `json:"conductor_group"`
	Alive          bool     `json:"alive"`
	Drivers        []string `json:"drivers"`
	CreatedAt      Time     `json:"created_at"`
	UpdatedAt      Time     `json:"updated_at"`
	Links          []Link   `json:"links"`
}

// Provision is the body of PUT states/provision. ConfigDrive is a gzipped base64 ISO (string) or an object with
// meta_data, network_data, user_data and vendor_data.
type Provision struct {
	Target         string          `json:"target"`
	ConfigDrive    json.RawMessage `json:"configdrive,omitempty"`
	CleanSteps     []WantedStep    `json:"clean_steps,omitempty"`
	DeploySteps    []WantedStep    `json:"deploy_steps,omitempty"`
	ServiceSteps   []WantedStep    `json:"service_steps,omitempty"`
	RescuePassword string          `json:"rescue_password,omitempty"`
	Runbook        string          `json:"runbook,omitempty"`
	DisableRamdisk *bool           `json:"disable_ramdisk,omitempty"`
}

// WantedStep is an entry of clean_steps, deploy_steps or service_steps. Priority is for deploy only, what is of children for
// the others.
type WantedStep struct {
	Interface  string    `json:"interface"`
	Step       string    `json:"step"`
	Args       step.Args `json:"args"` // never null: deploy_steps need an object
	Priority   *int      `json:"priority,omitempty"`
	OnChildren bool      `json:"execute_on_child_nodes,omitempty"`     // on the nodes below the node instead
	Children   []string  `json:"limit_child_node_execution,omitempty"` // UUIDs: on these alone
}

// PowerTarget is the body of PUT states/power; Timeout in seconds.
type PowerTarget struct {
	Target  string `json:"target"`
	Timeout *int   `json:"timeout,omitempty"`
}

// BootDevice is the body and answer of management/boot_device.
type BootDevice struct {
	BootDevice *string `json:"boot_device"`
	Persistent *bool   `json:"persistent"`
}

// Validation is the answer for one interface of GET validate; Reason only when Result is false.
type Validation struct {
	Result bool   `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// HistoryEntry is one line of a node's history; EventType, Conductor and User only in detail, HistoryMore only where
// more=true asks for it.
type HistoryEntry struct {
	UUID      string `json:"uuid"`
	CreatedAt Time   `json:"created_at"`
	Severity  string `json:"severity"`
	Event     string `json:"event"`
	EventType string `json:"event_type,omitempty"`
	Conductor string `json:"conductor,omitempty"`
	User      string `json:"user,omitempty"`
	Links     []Link `json:"links"`
	*HistoryMore
}

// HistoryMore is what this server knows of an entry beside Ironic's fields.
type HistoryMore struct {
	State    string  `json:"state,omitempty"`
	Target   string  `json:"target_provision_state,omitempty"`
	Duration float64 `json:"duration_seconds"` // of the state left, the step, or the work
	Reason   string  `json:"reason,omitempty"`
	Step     string  `json:"step,omitempty"`
	Run      string  `json:"run,omitempty"`
	Request  string  `json:"request_id,omitempty"`
	Log      string  `json:"log,omitempty"` // path of the agent's log
}

// HistoryList is a page of a node's history, newest first.
type HistoryList struct {
	History []HistoryEntry `json:"history"`
	Next    string         `json:"next,omitempty"`
}

// Bool reads a flag as Ironic does: a JSON boolean, or one of the words 1 t true on y yes, 0 f false off n no in any
// case.
func Bool(v any) (bool, error) {
	switch t := v.(type) {
	case bool:
		return t, nil
	case float64:
		if t == 0 || t == 1 {
			return t == 1, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(t)) {
		case "1", "t", "true", "on", "y", "yes":
			return true, nil
		case "0", "f", "false", "off", "n", "no":
			return false, nil
		}
	}
	return false, fmt.Errorf("%v is not a boolean", v)
}
