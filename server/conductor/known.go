package conductor

import (
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Known is what a node's BMC said of itself when it was asked last: at verify, and before the first act of a flow. It
// lets a verb that the machine can't carry out be refused at once. An empty list means that the BMC does not say.
type Known struct {
	BootModes    []string      `json:"boot_modes,omitempty"` // "uefi", "bios": what it can be told to boot in
	BootDevices  []string      `json:"boot_devices,omitempty"`
	PowerActs    []PowerAction `json:"power_acts,omitempty"`
	SecureBoot   *bool         `json:"secure_boot,omitempty"` // on or off now; nil: the BMC does not show it
	VirtualMedia bool          `json:"virtual_media"`
	BootURI      *bool         `json:"boot_uri,omitempty"` // it can be given the address of an HTTP boot; nil: it does not say
	Unread       []string      `json:"unread,omitempty"`   // parts that could not be read: nothing follows from them
	BIOSVersion  string        `json:"bios_version,omitempty"`
	BMCModel     string        `json:"bmc_model,omitempty"`
	BMCFirmware  string        `json:"bmc_firmware,omitempty"`
	Doubts       []Doubt       `json:"doubts,omitempty"` // what should be looked after, and keeps nothing from being done
}

// Doubt is something about a BMC that does not stop work but will trouble somebody.
type Doubt struct {
	Reason  fault.Reason `json:"reason"`
	Message string       `json:"message"`
}

// The parts of Facts that may be among Unread.
const (
	PartManager    = "manager"
	PartMedia      = "virtual media"
	PartCards      = "network cards"
	PartSecureBoot = "secure boot"
	PartBIOS       = "BIOS"
	PartBootTrust  = "certificates of HTTPS boot"
)
