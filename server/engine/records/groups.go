package records

import (
	"cmp"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// The rules of port groups, chassis and volume records. Ports and allocations have their own files.

// inGroup checks what a port and its group must agree on.
func inGroup(p *conductor.Port, g conductor.Portgroup) error {
	switch {
	case p.Node != g.Node:
		return fault.New(fault.RequestInvalid, "Portgroup %s could not be found on the port's node.", g.UUID)
	case !g.Standalone && p.PXE:
		return fault.New(fault.NodeInUse, "pxe_enabled of port %s can't be set: portgroup %s doesn't support standalone ports", p.UUID, g.UUID).
			WithHint("set pxe_enabled of the port to false, or standalone_ports_supported of the group to true")
	case g.PhysicalNet != "" && p.PhysicalNet != g.PhysicalNet:
		return fault.New(fault.NodeInUse, "port %s is on physical network %q, its portgroup %s is on %q", p.UUID, p.PhysicalNet, g.UUID, g.PhysicalNet).
			WithHint("all ports of a group are on one network")
	}
	return nil
}

// likeMembers: where a group names no physical network, a port that joins it or changes its own is on that of its members.
func likeMembers(tx conductor.Tx, p *conductor.Port, g conductor.Portgroup) error {
	if g.PhysicalNet != "" {
		return nil
	}
	members, err := membersOf(tx, g.UUID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.UUID != p.UUID && m.PhysicalNet != p.PhysicalNet {
			return fault.New(fault.NodeInUse, "port %s is on physical network %q, the ports of its portgroup %s are on %q", p.UUID, p.PhysicalNet, g.UUID, m.PhysicalNet).
				WithHint("all ports of a group are on one network; set that of the group, and its ports follow")
		}
	}
	return nil
}

// putPortgroup keeps the rules of port groups: how a group is connected changes when it may for its ports. They follow it
// to another physical network.
func putPortgroup(s *Shelf, tx conductor.Tx, who conductor.Caller, before, after conductor.Record) (err error) {
	g := after.(*conductor.Portgroup)
	if g.Address != "" {
		if g.Address, err = address(g.Address); err != nil {
			return err
		}
	}
	n, err := nodes.Named(tx, g.Node)
	if err != nil || before == nil {
		return err
	}
	if err := nodes.Locked(n); err != nil {
		return err
	}
	was := before.(*conductor.Portgroup)
	g.Node, g.InternalInfo = was.Node, was.InternalInfo
	joined := g.Standalone == was.Standalone && g.PhysicalNet == was.PhysicalNet
	if joined && g.Address == was.Address && g.Mode == was.Mode && same(g.Properties, was.Properties) {
		return nil
	}
	if !n.Maintenance && !slices.Contains(rewires, n.State) {
		return fault.New(fault.NodeInUse, "Portgroup %s can not have address, mode, properties, physical_network or standalone_ports_supported updated in state %s", g.UUID, n.State).
			WithHint("bring the node to enroll or manageable, or: bessemer node maintenance set %s", cmp.Or(n.Name, string(n.UUID))).At(string(n.UUID), "")
	}
	if joined {
		return nil
	}
	ports, err := membersOf(tx, g.UUID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.PhysicalNet != g.PhysicalNet && g.PhysicalNet != was.PhysicalNet {
			p.PhysicalNet, p.Updated = g.PhysicalNet, s.cfg.Now()
			if err := tx.PutRecord(&p); err != nil {
				return err
			}
			a := s.auditRecord(who, "update", &p)
			a.Detail["physical_network"] = p.PhysicalNet
			if err := tx.AppendAudit(a); err != nil {
				return err
			}
		}
		if err := inGroup(&p, *g); err != nil {
			return err
		}
	}
	return nil
}

func membersOf(tx conductor.Tx, group string) ([]conductor.Port, error) {
	return conductor.RecordsOf[conductor.Port](tx, conductor.RecordFilter{Is: map[string][]string{"portgroup_uuid": {group}}})
}

func removePortgroup(_ *Shelf, tx conductor.Tx, r conductor.Record) error {
	g := r.(*conductor.Portgroup)
	n, err := tx.Node(g.Node)
	if err != nil {
		return err
	}
	if err := nodes.Locked(n); err != nil {
		return err
	}
	ports, err := membersOf(tx, g.UUID)
	if err == nil && len(ports) > 0 {
		return fault.New(fault.PortgroupNotEmpty, "Cannot complete the requested action because portgroup %s contains ports.", g.UUID)
	}
	return err
}

func removeChassis(_ *Shelf, tx conductor.Tx, r conductor.Record) error {
	in, err := tx.Nodes(conductor.NodeFilter{Chassis: r.Keys().UUID, Limit: 1})
	if err == nil && len(in) > 0 {
		return fault.New(fault.ChassisNotEmpty, "Cannot complete the requested action because chassis %s contains nodes.", r.Keys().UUID)
	}
	return err
}

// putVolume: what an existing record says changes only while the machine is off.
func putVolume(_ *Shelf, tx conductor.Tx, _ conductor.Caller, before, after conductor.Record) error {
	n, err := nodes.Named(tx, after.Keys().Node)
	if err != nil || before == nil {
		return err
	}
	return switchedOff(n, before, "update")
}

// removeVolume: as putVolume, but before a node is in use it is no matter.
func removeVolume(_ *Shelf, tx conductor.Tx, r conductor.Record) error {
	n, err := tx.Node(r.Keys().Node)
	if err != nil || slices.Contains([]state.State{state.Enroll, state.Manageable, state.AdoptFail}, n.State) {
		return err
	}
	return switchedOff(n, r, "deletion")
}

func switchedOff(n conductor.Node, r conductor.Record, act string) error {
	if n.Power == conductor.PowerOff {
		return nil
	}
	what := "volume connector "
	if r.Keys().Kind == conductor.KindTarget {
		what = "volume target "
	}
	return fault.New(fault.VolumeInUse, "The requested action %q can not be performed on node %q while it is in state %q.", what+act, n.UUID, n.Power).At(string(n.UUID), "")
}
