package machine

import (
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/parts"
	"github.com/bessemer-metal/bessemer/server/redfish/wire"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Which machine is meant. driver_info names a path, and a BMC that restarts may show another machine there (F24). So each
// operation looks again which one it is, by what the node's record says since it was verified (conductor.Identity). What
// the driver saw before is no witness: whoever names another path, or verifies anew, means what is there now.

// Identity is what the system says of who it is.
func (m System) Identity() conductor.Identity {
	return conductor.IdentityOf(wire.Clean(m.UUID, 64), m.Serial())
}

// Serial is the serial number as an inspection has it too, which is compared with it: of what Ironic keeps.
func (m System) Serial() string { return parts.Words(m.SerialNumber, 255) }

// System finds and reads the computer system: the one named, or the only one, where that is the machine that is meant; else the
// one of the BMC's systems that is. bmc.other_machine when none is, or several; bmc.busy when the BMC does not say now
// who is at the path. Nobody to compare with is no reason to refuse: the path decides.
func (b *Machine) System(o *wire.Operation) (System, error) {
	m := System{}
	place, err := b.Place(o)
	if err == nil {
		m, err = ReadSystem(o, place)
	}
	switch {
	case b.is == conductor.Identity{}:
		return m, err
	case err == nil && b.is.Match(m.Identity()) == conductor.SameMachine:
		return m, nil
	case err != nil && wire.StatusOf(err) != http.StatusNotFound && !fault.Has(err, fault.DriverInfoMissing):
		return System{}, err
	}
	found, searchErr := b.search(o)
	switch {
	case searchErr != nil:
		return System{}, searchErr
	case found.ComputerSystem != nil:
		b.Log.Info("the machine has moved to another path", "bmc", b.Target.Origin, "path", found.ODataID)
		return found, nil
	case err != nil:
		return System{}, err
	case b.is.Match(m.Identity()) == conductor.Untold:
		return System{}, fault.New(fault.BMCBusy, "the BMC at %s does not tell which machine is at %s: it gives %s, and gave the %s before", b.Target.Origin, place, m.Identity(), b.is).
			WithHint("it may have yet to read it, and tells when the machine is on; if that is all it tells from now on: bessemer node confirm NODE")
	}
	return System{}, fault.New(fault.BMCOtherMachine, "the BMC at %s shows the machine with %s at %s, expected the one with %s, which it shows nowhere", b.Target.Origin, m.Identity(), place, b.is)
}

// search reads all systems for the one that is meant; none without an error when it is not among them.
func (b *Machine) search(o *wire.Operation) (System, error) {
	root, err := o.Root()
	if err != nil {
		return System{}, err
	}
	all, err := o.Members(root.Systems)
	if err != nil {
		return System{}, err
	}
	found := System{}
	for _, l := range all {
		m, err := ReadSystem(o, l)
		if err != nil {
			return System{}, err
		}
		if b.is.Match(m.Identity()) != conductor.SameMachine {
			continue
		}
		if found.ComputerSystem != nil {
			return System{}, fault.New(fault.BMCOtherMachine, "the BMC at %s shows the machine with %s twice, at %s and at %s", b.Target.Origin, b.is, found.ODataID, l)
		}
		found = m
	}
	return found, nil
}
