package records

import (
	"context"
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Virtual interfaces: which of an instance's networks is on which of a node's ports. They are kept where Ironic shows them,
// in a port's internal_info, and nothing is plugged: the switch ports stay as they are.

const vifKey = "tenant_vif_port_id"

func vifOf(p conductor.Port) string { v, _ := p.InternalInfo[vifKey].(string); return v }

// VIFs lists what is attached, in the order of the ports.
func (s *Shelf) VIFs(ctx context.Context, ident string) (out []string, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		ports, err := conductor.RecordsOf[conductor.Port](tx, conductor.RecordFilter{Node: n.UUID})
		for _, p := range ports {
			if v := vifOf(p); v != "" {
				out = append(out, v)
			}
		}
		return err
	})
	return out, err
}

// changeVIFs changes a node's ports in one transaction; change gives the port to store.
func (s *Shelf) changeVIFs(ctx context.Context, who conductor.Caller, ident, act, id string, change func(n conductor.Node, ports []conductor.Port) (conductor.Port, error)) error {
	var node conductor.NodeID
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := nodes.Find(tx, ident)
		if err != nil {
			return err
		}
		node = n.UUID
		ports, err := conductor.RecordsOf[conductor.Port](tx, conductor.RecordFilter{Node: n.UUID})
		if err != nil {
			return err
		}
		p, err := change(n, ports)
		if err != nil {
			return err
		}
		p.Updated = s.cfg.Now()
		if err := tx.PutRecord(&p); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: p.Updated, Actor: who.Name, Request: who.Request, Node: n.UUID, Act: act, Detail: map[string]any{"vif": id, "port": p.UUID}})
	})
	if err == nil {
		s.cfg.Notify(node)
	}
	return err
}

// AttachVIF puts a virtual interface on a port: the one named, else the first that is free, those the ramdisk may boot from
// before the others. vif.attached when it is on one already, or the port named has one; vif.no_port when none is free.
func (s *Shelf) AttachVIF(ctx context.Context, who conductor.Caller, ident, id, port string) error {
	return s.changeVIFs(ctx, who, ident, "vif.attach", id, func(n conductor.Node, ports []conductor.Port) (conductor.Port, error) {
		for _, p := range ports {
			if vifOf(p) == id {
				return p, fault.New(fault.VIFAttached, "Unable to attach VIF because VIF %s is already attached to port %s", id, p.UUID).At(string(n.UUID), "")
			}
		}
		at := slices.IndexFunc(ports, func(p conductor.Port) bool { return p.UUID == port })
		switch {
		case port == "":
			for _, bootable := range []bool{true, false} {
				if at < 0 {
					at = slices.IndexFunc(ports, func(p conductor.Port) bool { return p.PXE == bootable && vifOf(p) == "" })
				}
			}
			if at < 0 {
				return conductor.Port{}, fault.New(fault.VIFNoPort, "node %s has %d ports, and none is free", n.UUID, len(ports)).At(string(n.UUID), "")
			}
		case at < 0:
			return conductor.Port{}, fault.New(fault.VIFNoPort, "the node has no port %s", port).At(string(n.UUID), "")
		case vifOf(ports[at]) != "":
			return conductor.Port{}, fault.New(fault.VIFAttached, "port %s has VIF %s already", port, vifOf(ports[at])).At(string(n.UUID), "")
		}
		p := ports[at]
		p.InternalInfo = maps.Clone(p.InternalInfo)
		if p.InternalInfo == nil {
			p.InternalInfo = map[string]any{}
		}
		p.InternalInfo[vifKey] = id
		return p, nil
	})
}

// DetachVIF takes one off its port; vif.not_found when it is on none.
func (s *Shelf) DetachVIF(ctx context.Context, who conductor.Caller, ident, id string) error {
	return s.changeVIFs(ctx, who, ident, "vif.detach", id, func(n conductor.Node, ports []conductor.Port) (conductor.Port, error) {
		for _, p := range ports {
			if vifOf(p) == id {
				p.InternalInfo = maps.Clone(p.InternalInfo)
				delete(p.InternalInfo, vifKey)
				return p, nil
			}
		}
		return conductor.Port{}, fault.New(fault.VIFNotFound, "Unable to detach VIF %s from node %s because it is not attached to it.", id, n.UUID).At(string(n.UUID), "")
	})
}

// vifKeys are the keys of a port's internal_info that hold what the instance's network is attached to, as Ironic names
// them.
var vifKeys = []string{vifKey, "vif_port_id"}

// Detach takes the instance's network attachments off a node's ports and port groups, in the transaction that ends the instance.
func Detach(tx conductor.Tx, id conductor.NodeID) error {
	ports, err := conductor.RecordsOf[conductor.Port](tx, conductor.RecordFilter{Node: id})
	if err != nil {
		return err
	}
	groups, err := conductor.RecordsOf[conductor.Portgroup](tx, conductor.RecordFilter{Node: id})
	if err != nil {
		return err
	}
	attached := map[conductor.Record]*map[string]any{}
	for i := range ports {
		attached[&ports[i]] = &ports[i].InternalInfo
	}
	for i := range groups {
		attached[&groups[i]] = &groups[i].InternalInfo
	}
	for record, info := range attached {
		kept := maps.Clone(*info)
		for _, k := range vifKeys {
			delete(kept, k)
		}
		if len(kept) == len(*info) {
			continue
		}
		*info = kept
		if err := tx.PutRecord(record); err != nil {
			return err
		}
	}
	return nil
}
