package records

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// rewires are the states in which how a machine is connected may be changed, outside maintenance.
var rewires = []state.State{state.Enroll, state.Inspecting, state.InspectWait, state.Manageable}

// address makes a MAC address canonical.
func address(text string) (string, error) {
	mac, ok := api.MAC(text)
	if !ok {
		return "", fault.New(fault.RequestInvalid, "address %q is not a MAC address", text).
			WithHint("six hex bytes with colons, as 52:54:00:12:34:56")
	}
	return mac, nil
}

// same compares maps as they are stored: none is an empty one.
func same(a, b map[string]any) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// putPort keeps the rules of ports.
func putPort(_ *Shelf, tx conductor.Tx, _ conductor.Caller, before, after conductor.Record) (err error) {
	p := after.(*conductor.Port)
	if p.Address, err = address(p.Address); err != nil {
		return err
	}
	n, err := nodes.Named(tx, p.Node)
	if err != nil {
		return err
	}
	if p.Group != "" {
		g, err := conductor.RecordOf[conductor.Portgroup](tx, p.Group)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.RequestInvalid, "Portgroup %s could not be found on the port's node.", p.Group)
		}
		if err != nil {
			return err
		}
		if err := inGroup(p, g); err != nil {
			return err
		}
		if was, there := before.(*conductor.Port); !there || p.Group != was.Group || p.PhysicalNet != was.PhysicalNet {
			if err := likeMembers(tx, p, g); err != nil {
				return err
			}
		}
	}
	if before == nil {
		return nil
	}
	was := before.(*conductor.Port)
	p.Node, p.InternalInfo = was.Node, was.InternalInfo
	if err := nodes.Locked(n); err != nil {
		return err
	}
	if n.Maintenance {
		return nil
	}
	if p.Address != was.Address && (n.InstanceUUID != "" || n.State == state.Active) {
		return fault.New(fault.NodeInUse, "Cannot update hardware address for port %s as node %s is active or has instance UUID assigned", p.UUID, n.UUID).
			WithHint("bessemer node maintenance set %s first", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
	}
	if (p.Group != was.Group || p.PXE != was.PXE || p.PhysicalNet != was.PhysicalNet || !same(p.Link, was.Link)) && !slices.Contains(rewires, n.State) {
		return fault.New(fault.NodeInUse, "Port %s can not have any connectivity attributes (portgroup_uuid, pxe_enabled, local_link_connection, physical_network) updated in state %s", p.UUID, n.State).
			WithHint("bring the node to enroll or manageable, or: bessemer node maintenance set %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
	}
	return nil
}

// removePort: a card that an instance uses stays.
func removePort(_ *Shelf, tx conductor.Tx, r conductor.Record) error {
	p := r.(*conductor.Port)
	n, err := tx.Node(p.Node)
	if err != nil {
		return err
	}
	if err := nodes.Locked(n); err != nil {
		return err
	}
	if vif := vifOf(*p); vif != "" && !n.Maintenance {
		return fault.New(fault.NodeInUse, "Cannot delete the port %s as it is bound to VIF %s", p.UUID, vif).
			WithHint("bessemer node vif detach %s %s first, or: bessemer node maintenance set %[1]s", cmp.Or(n.Name, string(n.UUID)), vif).At(string(n.UUID), "")
	}
	return nil
}
