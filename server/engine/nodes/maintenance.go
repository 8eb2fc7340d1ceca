package nodes

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// SetMaintenance sets or clears the operator's flag; either way the server's own fault goes.
func (k *Keeper) SetMaintenance(ctx context.Context, who conductor.Caller, ident string, on bool, reason string) error {
	var id conductor.NodeID
	err := k.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		id = n.UUID
		// What the server had set is the operator's from now on: the server does not end it.
		n.Maintenance, n.MaintenanceReason, n.Fault = on, reason, ""
		if !on {
			n.MaintenanceReason = ""
		}
		n.Updated = k.cfg.Now()
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: k.cfg.Now(), Actor: who.Name, Request: who.Request, Node: id, Act: "maintenance", Detail: map[string]any{"on": on, "reason": reason}})
	})
	if err == nil {
		k.cfg.Notify(id)
	}
	return err
}

// Edit changes a node's record by an operator's request that is no PATCH.
func (k *Keeper) Edit(ctx context.Context, who conductor.Caller, ident string, entry conductor.Audit, change func(*conductor.Node) error) error {
	var id conductor.NodeID
	err := k.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		id = n.UUID
		if err := change(&n); err != nil {
			return err
		}
		n.Updated = k.cfg.Now()
		if err := tx.PutNode(&n); err != nil {
			return err
		}
		entry.Time, entry.Actor, entry.Request, entry.Node = n.Updated, who.Name, who.Request, n.UUID
		return tx.AppendAudit(entry)
	})
	if err == nil {
		k.cfg.Notify(id)
	}
	return err
}
