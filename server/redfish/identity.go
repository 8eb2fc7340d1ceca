package redfish

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Which machine is meant. driver_info names a path, and a BMC that restarts may show another machine there (F24). So each
// operation looks again which one it is, by what the node's record says since it was verified (conductor.Identity). What
// the driver saw before is no witness: whoever names another path, or verifies anew, means what is there now.

func (m machine) identity() conductor.Identity {
	return conductor.IdentityOf(clean(m.UUID, 64), serial(m.SerialNumber))
}

// serial is a serial number as an inspection has it too, which is compared with it: of what Ironic keeps.
func serial(s string) string { return parts.Words(s, 255) }

// machine finds and reads the system: the one named, or the only one, where that is the machine that is meant; else the
// one of the BMC's systems that is. bmc.other_machine when none is, or several; bmc.busy when the BMC does not say now
// who is at the path. Nobody to compare with is no reason to refuse: the path decides.
func (b *bmc) machine(o *operation) (machine, error) {
	m := machine{}
	place, err := b.place(o)
	if err == nil {
		m, err = readMachine(o, place)
	}
	switch {
	case b.is == conductor.Identity{}:
		return m, err
	case err == nil && b.is.Match(m.identity()) == conductor.SameMachine:
		return m, nil
	case err != nil && statusOf(err) != http.StatusNotFound && !fault.Has(err, fault.DriverInfoMissing):
		return machine{}, err
	}
	found, searchErr := b.search(o)
	switch {
	case searchErr != nil:
		return machine{}, searchErr
	case found.ComputerSystem != nil:
		b.log.Info("the machine has moved to another path", "bmc", b.target.origin, "path", found.ODataID)
		return found, nil
	case err != nil:
		return machine{}, err
	case b.is.Match(m.identity()) == conductor.Untold:
		return machine{}, fault.New(fault.BMCBusy, "the BMC at %s does not tell which machine is at %s: it gives %s, and gave the %s before", b.target.origin, place, m.identity(), b.is).
			WithHint("it may have yet to read it, and tells when the machine is on; if that is all it tells from now on: bessemer node confirm NODE")
	}
	return machine{}, fault.New(fault.BMCOtherMachine, "the BMC at %s shows the machine with %s at %s, expected the one with %s, which it shows nowhere", b.target.origin, m.identity(), place, b.is)
}

// search reads all systems for the one that is meant; none without an error when it is not among them.
func (b *bmc) search(o *operation) (machine, error) {
	root, err := o.root()
	if err != nil {
		return machine{}, err
	}
	all, err := o.members(root.systems)
	if err != nil {
		return machine{}, err
	}
	found := machine{}
	for _, l := range all {
		m, err := readMachine(o, l)
		if err != nil {
			return machine{}, err
		}
		if b.is.Match(m.identity()) != conductor.SameMachine {
			continue
		}
		if found.ComputerSystem != nil {
			return machine{}, fault.New(fault.BMCOtherMachine, "the BMC at %s shows the machine with %s twice, at %s and at %s", b.target.origin, b.is, found.ODataID, l)
		}
		found = m
	}
	return found, nil
}
