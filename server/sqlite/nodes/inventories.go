package nodes

import (
	"database/sql"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// An inventory is the largest thing that a node has, and its disks are all that decisions are made by: they stand in a
// column of their own, before the rest. Rows of older programs have all in the body.

const (
	accepted = "accepted = 1"
	// outOfBand is the number of what a BMC told, which is of no boot. It sorts before those of boots.
	outOfBand = -1
	shown     = "(accepted = 1 OR generation = -1) ORDER BY generation LIMIT 1"
)

func (t *Tx) Inventory(node conductor.NodeID) (conductor.StoredInventory, error) {
	return t.inventory(shown, node)
}

func (t *Tx) HasInventory(node conductor.NodeID) (has bool, err error) {
	err = t.Row("SELECT EXISTS (SELECT 1 FROM inventories WHERE node = ? AND accepted = 1)", []any{session.Text(string(node))}, &has)
	return has, err
}

func (t *Tx) InventoryOf(node conductor.NodeID, generation uint64) (conductor.StoredInventory, error) {
	return t.inventory("generation = ?", node, int64(generation))
}

func (t *Tx) AcceptedDisks(node conductor.NodeID) ([]inventory.Disk, uint64, error) {
	return t.disks(accepted, node)
}

func (t *Tx) DisksOf(node conductor.NodeID, generation uint64) ([]inventory.Disk, error) {
	d, _, err := t.disks("generation = ?", node, int64(generation))
	return d, err
}

func (t *Tx) inventory(which string, node conductor.NodeID, args ...any) (conductor.StoredInventory, error) {
	var i conductor.StoredInventory
	var body, found []byte
	err := t.Row("SELECT body, found FROM inventories WHERE node = ? AND "+which, append([]any{session.Text(string(node))}, args...), &body, &found)
	if errors.Is(err, sql.ErrNoRows) {
		return i, noInventory(node)
	}
	if err != nil {
		return i, err
	}
	err = session.Decode("inventory", body, &i)
	if found != nil {
		i.Inventory = found
	}
	return i, err
}

// disks reads the rest only of a row that has no list of disks.
func (t *Tx) disks(which string, node conductor.NodeID, args ...any) ([]inventory.Disk, uint64, error) {
	var generation int64
	var disks []byte
	all := append([]any{session.Text(string(node))}, args...)
	err := t.Row("SELECT generation, disks FROM inventories WHERE node = ? AND "+which, all, &generation, &disks)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, noInventory(node)
	}
	if err != nil {
		return nil, 0, err
	}
	var found struct {
		Disks []inventory.Disk `json:"disks"`
	}
	if disks != nil {
		err = session.Decode("disks", disks, &found.Disks)
		return found.Disks, uint64(generation), err
	}
	i, err := t.inventory(which, node, args...)
	if err == nil {
		err = session.Decode("inventory", i.Inventory, &found)
	}
	return found.Disks, uint64(generation), err
}

func noInventory(node conductor.NodeID) error {
	return fault.New(fault.InventoryNotFound, "node %s has no such inventory", node)
}

// PutInventory replaces the one of the same generation, an accepted one also the one accepted before. Of the rest the
// store keeps none older than this: at most two remain. One that is there already, byte for byte, is not written again.
// An accepted one whose own boot brings another is kept beside it, as that of boot 0: no ramdisk is booted under that number.
// What a BMC told is kept beside all of them until one is accepted.
func (t *Tx) PutInventory(i conductor.StoredInventory) error {
	node, generation, found := session.Text(string(i.Node)), int64(i.Generation), string(i.Inventory)
	if i.OutOfBand {
		i.Generation, i.Accepted, generation = 0, false, outOfBand
	}
	if !i.Accepted {
		var same bool
		err := t.Row("SELECT EXISTS (SELECT 1 FROM inventories WHERE node = ? AND generation = ? AND found = ?)", []any{node, generation, found}, &same)
		if err != nil || same {
			return err
		}
		if _, err := t.Exec("UPDATE inventories SET generation = 0 WHERE node = ? AND generation = ? AND accepted = 1", node, generation); err != nil {
			return err
		}
	}
	var disks any
	if i.Disks != nil {
		list, err := session.Encode("list of disks", i.Disks)
		if err != nil {
			return err
		}
		disks = list
	}
	i.Inventory = nil // it has a column
	body, err := session.Encode("inventory", i)
	if err != nil {
		return err
	}
	if _, err := t.Exec("DELETE FROM inventories WHERE node = ? AND (generation = ? OR (generation < ? AND generation >= 0 AND accepted = 0) OR ((accepted = 1 OR generation < 0) AND ?))",
		node, generation, generation, i.Accepted); err != nil {
		return err
	}
	_, err = t.Exec("INSERT INTO inventories (node, generation, accepted, body, disks, found) VALUES (?, ?, ?, ?, ?, ?)",
		node, generation, i.Accepted, body, disks, found)
	if session.Dangling(err) {
		return Missing(string(i.Node))
	}
	return err
}
