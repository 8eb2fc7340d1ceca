// Package inventory is what a machine is made of, in the shape that Ironic's clients read,
// plus what Bessemer needs to name a disk beyond doubt. It holds words only: agent/inventory fills it in.
//
// Start at Inventory; DeviceID is how a disk is named; Root and Targets choose the disks that a step may touch.
package inventory

import (
	"fmt"
	"reflect"
	"slices"
)

// Inventory is a machine at one moment.
type Inventory struct {
	Interfaces   []Interface  `json:"interfaces"`
	Disks        []Disk       `json:"disks"`
	CPU          CPU          `json:"cpu"`
	Memory       Memory       `json:"memory"`
	BMCAddress   *string      `json:"bmc_address"`
	BMCV6Address *string      `json:"bmc_v6address"`
	BMCMAC       string       `json:"bmc_mac,omitempty"`
	SystemVendor SystemVendor `json:"system_vendor"`
	Boot         Boot         `json:"boot"`
	Hostname     string       `json:"hostname"`
	PCIDevices   []PCIDevice  `json:"pci_devices,omitempty"`
	Problems     []string     `json:"problems,omitempty"` // what could not be read, and why
}

// Interface is a network card port.
type Interface struct {
	Name        string  `json:"name"`
	MACAddress  string  `json:"mac_address"` // permanent, lower case with colons
	IPv4Address *string `json:"ipv4_address"`
	IPv6Address *string `json:"ipv6_address"`
	HasCarrier  bool    `json:"has_carrier"`
	LLDP        [][]any `json:"lldp"`
	Vendor      *string `json:"vendor"`  // PCI vendor id, "0x8086"
	Product     *string `json:"product"` // PCI device id
	ClientID    *string `json:"client_id"`
	BIOSDevName *string `json:"biosdevname"`
	SpeedMbps   *int64  `json:"speed_mbps"`
	PCIAddress  *string `json:"pci_address"`
	Driver      *string `json:"driver"`
}

// Disk is a block device that could hold data. Name is the kernel's, valid for this boot only; it is never stored as
// identity (safety.md I4).
type Disk struct {
	Name               string `json:"name"` // "/dev/nvme0n1"
	Model              string `json:"model"`
	Size               int64  `json:"size"` // bytes
	Rotational         bool   `json:"rotational"`
	WWN                string `json:"wwn"`
	Serial             string `json:"serial"`
	Vendor             string `json:"vendor"`
	WWNWithExtension   string `json:"wwn_with_extension"`
	WWNVendorExtension string `json:"wwn_vendor_extension"`
	HCTL               string `json:"hctl"`
	ByPath             string `json:"by_path"`
	LogicalSectors     int64  `json:"logical_sectors"`  // bytes
	PhysicalSectors    int64  `json:"physical_sectors"` // bytes
	Tran               string `json:"tran"`             // "nvme", "sata", "sas", "virtio", "usb", ...
	Class              Class  `json:"class"`
	ReadOnly           bool   `json:"read_only"`
	BootMedium         bool   `json:"boot_medium,omitempty"` // the ramdisk came from it: never a target
	// Members are the disks that an array of software RAID is built of, each once. Only an array that is whole, not
	// running, and made of disks that can be told apart has them: it is written by assembling it.
	Members []DeviceID `json:"members,omitempty"`
	// OtherWWNs are further worldwide names of the disk: a BMC tells several. Hints are met by each of them.
	OtherWWNs []string `json:"-"`
}

// CPU is the processors.
type CPU struct {
	ModelName    string   `json:"model_name"`
	Frequency    string   `json:"frequency"` // MHz
	Count        int      `json:"count"`
	Architecture string   `json:"architecture"`
	Flags        []string `json:"flags"`
	SocketCount  int      `json:"socket_count"`
}

// Memory is RAM: Total in bytes as the kernel sees it, PhysicalMB in MiB as installed.
type Memory struct {
	Total      int64 `json:"total"`
	PhysicalMB int64 `json:"physical_mb"`
}

// SystemVendor is what SMBIOS says of the machine.
type SystemVendor struct {
	ProductName  string   `json:"product_name"`
	SerialNumber string   `json:"serial_number"`
	Manufacturer string   `json:"manufacturer"`
	UUID         string   `json:"uuid,omitempty"`
	Firmware     Firmware `json:"firmware"`
}

// Firmware is the system firmware.
type Firmware struct {
	Vendor    string `json:"vendor"`
	Version   string `json:"version"`
	BuildDate string `json:"build_date"`
}

// Boot is how this boot came about.
type Boot struct {
	CurrentBootMode string  `json:"current_boot_mode"` // "uefi" or "bios"
	PXEInterface    *string `json:"pxe_interface"`
}

// PCIDevice is one PCI function, ids in hex without 0x.
type PCIDevice struct {
	VendorID  string `json:"vendor_id"`
	ProductID string `json:"product_id"`
	Class     string `json:"class"`
	Revision  string `json:"revision"`
	Bus       string `json:"bus"`
}

// Class is the kind of path to a disk. Only those of Local are provably inside the machine (safety.md I1).
type Class string

// The classes.
const (
	NVMePCIe     Class = "nvme-pcie"
	SATA         Class = "sata"
	SAS          Class = "sas"
	VirtIO       Class = "virtio"
	EMMC         Class = "emmc"
	USB          Class = "usb"
	FC           Class = "fc"
	ISCSI        Class = "iscsi"
	NVMeOF       Class = "nvme-of"
	MDRAID       Class = "md"
	ClassUnknown Class = "unknown"
)

// Local tells whether a class is provably local.
func (c Class) Local() bool {
	switch c {
	case NVMePCIe, SATA, SAS, VirtIO, EMMC:
		return true
	}
	return false
}

// Equal compares all that is known of two disks.
func (d Disk) Equal(o Disk) bool {
	same := slices.Equal(d.Members, o.Members)
	d.Members, o.Members = nil, nil
	return same && reflect.DeepEqual(d, o)
}

// Array tells whether the disk is an array of software RAID that its members bring with them.
func (d Disk) Array() bool { return d.Class == MDRAID && len(d.Members) > 0 }

// DeviceID is the stable identity of a disk: WWN (or EUI-64, NGUID) or serial, plus size and class. Two of the same
// identity are an error, never a choice (safety.md I4).
type DeviceID struct {
	WWN    string `json:"wwn,omitempty"`
	Serial string `json:"serial,omitempty"`
	Size   int64  `json:"size"`
	Class  Class  `json:"class"`
}

// ID is the disk's identity; ok is false when it has neither WWN nor serial and so can't be named.
func (d Disk) ID() (DeviceID, bool) {
	return DeviceID{WWN: d.WWN, Serial: d.Serial, Size: d.Size, Class: d.Class}, d.WWN != "" || d.Serial != ""
}

// String is for people and progress: "serial S1 (nvme-pcie, 8.6 GB)".
func (id DeviceID) String() string {
	name := "wwn " + id.WWN
	if id.Serial != "" {
		name = "serial " + id.Serial
	}
	return fmt.Sprintf("%s (%s, %s)", name, id.Class, Bytes(id.Size))
}

// Bytes writes a size for people, in powers of ten: 8.6 GB.
func Bytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n), -1
	for v >= unit && i < 5 {
		v /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGTPE"[i])
}
