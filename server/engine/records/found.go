package records

import (
	"encoding/json"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// KeepFound stores what an inspection through the BMC brought, in the transaction that ends it: the inventory, and a port for
// each card that is enabled and has none yet. A card whose address is another node's gets none, and the history says so.
func KeepFound(tx conductor.Tx, d *conductor.Decision, now time.Time) error {
	n := d.Node
	raw, err := json.Marshal(d.Found.Inventory)
	if err != nil {
		return err
	}
	err = tx.PutInventory(conductor.StoredInventory{
		Node: n.UUID, OutOfBand: true, Taken: now, Inventory: raw, Disks: d.Found.Inventory.Disks,
		Plugin: map[string]any{"inspect_interface": "redfish"},
	})
	if err != nil {
		return err
	}
	for _, mac := range d.Found.Ports {
		other, err := tx.NodeByAddress(mac)
		switch {
		case fault.Is(err, fault.NotFound):
			err = discover(tx, n, mac, now)
		case err == nil && other.UUID != n.UUID:
			err = tx.AppendHistory(conductor.Entry{
				UUID: nodes.NewID(), Node: n.UUID, Time: now, Severity: "WARNING", Type: "inspection", State: n.State, Run: n.Flow.Run,
				Event: "the card " + mac + " has a port on node " + string(other.UUID) + " already; it gets none here", Reason: fault.PortExists,
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// discover makes the port of a card, as Ironic does: the machine may boot from it.
func discover(tx conductor.Tx, n conductor.Node, mac string, now time.Time) error {
	p := &conductor.Port{Head: conductor.Head{UUID: nodes.NewID(), Created: now}, Node: n.UUID, Address: mac, PXE: true}
	if err := tx.CreateRecord(p); err != nil {
		return err
	}
	return tx.AppendAudit(conductor.Audit{
		Time: now, Actor: "server", Request: n.Flow.Request, Node: n.UUID, Act: string(conductor.KindPort) + ".create",
		Detail: map[string]any{"uuid": p.UUID, "mark": mac},
	})
}
