package nodes

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What else is kept of nodes, to be shown.

// Inventory is what the last inspection stored; inventory.not_found before one.
func (k *Keeper) Inventory(ctx context.Context, ident string) (inv conductor.StoredInventory, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		inv, err = tx.Inventory(n.UUID)
		return err
	})
	return inv, err
}

// History lists what happened to a node.
func (k *Keeper) History(ctx context.Context, ident string, f conductor.HistoryFilter) (out []conductor.Entry, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		out, err = tx.History(n.UUID, f)
		return err
	})
	return out, err
}

// NodeAllocation is the allocation that has the node; allocation.not_found without one.
func (k *Keeper) NodeAllocation(ctx context.Context, ident string) (a conductor.Allocation, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		n, err := Find(tx, ident)
		if err != nil {
			return err
		}
		if n.Allocation == "" {
			return fault.New(fault.AllocationNotFound, "Allocation for node %s was not found", ident).At(string(n.UUID), "")
		}
		a, err = conductor.RecordOf[conductor.Allocation](tx, n.Allocation)
		return err
	})
	return a, err
}

// Shards lists the parts of the fleet, the largest first.
func (k *Keeper) Shards(ctx context.Context) (out []conductor.Shard, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Shards(); return err })
	return out, err
}
