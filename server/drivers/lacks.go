package drivers

import (
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	noNetBoot = "this server boots machines from a virtual CD, or by redfish-https, and serves no DHCP or TFTP"
	noImaging = "this server writes an image by the deploy interface direct, boots an ISO by ramdisk, or runs an operator's steps by custom-agent"
	noIPMI    = "this server does not speak IPMI yet"
	noConsole = "this server serves no consoles"
	noVolumes = "this server attaches no volumes"
	noPorts   = "this server leaves switch ports as they are; that is the network interface noop"
)

// lacks is what clients may name, because Ironic has it, and this server can't carry out: by interface and
// implementation, why not. Who builds one takes its row away.
var lacks = map[string]map[string]string{
	Boot: {
		"ipxe": noNetBoot, "pxe": noNetBoot, "http-ipxe": noNetBoot, "http": noNetBoot,
	},
	Deploy: {
		"anaconda": noImaging, "autodetect": noImaging, "bootc": noImaging, "ansible": noImaging,
	},
	Vendor:     {"ipmitool": noIPMI},
	Console:    {"redfish-graphical": noConsole, "ipmitool-socat": noConsole},
	Storage:    {"cinder": noVolumes, "external": noVolumes},
	Network:    {"flat": noPorts, "neutron": noPorts},
	Power:      {"ipmitool": noIPMI},
	Management: {"ipmitool": noIPMI},
}

// Disabled tells whether an implementation stands for the interface not being there.
func Disabled(name string) bool { return strings.HasPrefix(name, "no-") }

// Check tells whether a node's implementation of an interface can be used: nil, or driver.interface_unsupported.
func Check(driver, kind, name string) *fault.Fault {
	if Disabled(name) {
		return fault.New(fault.DriverInterface, "driver %s does not support %s: the node's %s interface is %s", driver, kind, kind, name).
			WithHint("choose another %s_interface: bessemer driver show %s lists them", kind, driver)
	}
	if why := lacks[kind][name]; why != "" {
		return fault.New(fault.DriverInterface, "the %s interface %s can't be used: %s", kind, name, why).
			WithHint("choose another %s_interface: bessemer driver show %s lists them", kind, driver)
	}
	return nil
}

// Why is why no node can use an implementation of an interface; "" when it can be used.
func Why(kind, name string) string {
	if Disabled(name) {
		return "the interface is not there"
	}
	return lacks[kind][name]
}

// Offers tells whether a node of the type with these implementations has the step. Out of band a step is the type's own
// implementation's; in band it needs a deploy interface that boots the ramdisk, and one of RAID the RAID interface agent.
func (t Type) Offers(chosen map[string]string, s step.Step) bool {
	switch s.Where {
	case step.InBand:
		return chosen[Deploy] != Fake && (s.Interface() != RAID || chosen[RAID] == Agent)
	case step.OutOfBand:
		return chosen[s.Interface()] == t.Own
	}
	return true
}
