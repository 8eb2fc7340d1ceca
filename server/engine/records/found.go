package records

import (
	"encoding/json"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
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
	has, err := portsOf(tx, n)
	if err != nil {
		return err
	}
	var cards []card
	for _, mac := range d.Found.Ports {
		cards = append(cards, card{mac: mac})
	}
	return connect(tx, n, has, cards, now)
}
