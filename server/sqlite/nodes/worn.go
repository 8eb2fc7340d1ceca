package nodes

import (
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Worn is a prepared row that does not fit its node, or that belongs to none.
type Worn struct {
	Node   conductor.NodeID // "" of a row that belongs to none
	Damage string           // in words
	id     int64            // the node's number, as the row has it
}

// RowLost is the Damage of a node without a row.
const RowLost = "it is missing"

// foundWorn has the rows looked at and mended.
func (t *Tx) foundWorn() {
	select {
	case t.Worn <- struct{}{}:
	default: // they will be already, or there is nobody to tell in an Update, which mends what it writes
	}
}

// Discard puts a row out of date, as a write of the node does, so that it is made anew; one that belongs to no node is deleted.
func (t *Tx) Discard(w Worn) error {
	if _, err := t.Exec("UPDATE node_rows SET form = '', parent_node = (SELECT parent FROM nodes WHERE id = node) WHERE node = ? AND node IN (SELECT id FROM nodes)", w.id); err != nil {
		return err
	}
	_, err := t.Exec("DELETE FROM node_rows WHERE node = ? AND node NOT IN (SELECT id FROM nodes)", w.id)
	return err
}

// FindWorn compares each row with its node. One that is out of date is as good as any: it is not shown.
func FindWorn(rows func(q string, each func(scan func(...any) error) error) error) (all []Worn, err error) {
	var w Worn
	var astray, none, current sql.NullBool
	var row sql.RawBytes
	var buffer []byte
	err = rows("SELECT id, uuid, node IS NULL, parent_node IS NOT parent, form LIKE '%"+framing+"', prepared FROM nodes LEFT JOIN node_rows ON node = id ORDER BY id", func(scan func(...any) error) error {
		if err := scan(&w.id, &w.Node, &none, &astray, &current, &row); err != nil {
			return err
		}
		switch p, rest, ok := unframe(string(row), &buffer); {
		case none.Bool:
			w.Damage = RowLost
		case astray.Bool:
			w.Damage = "it names another parent than its node"
		case !current.Bool || ok && rest == "" && p.UUID == string(w.Node):
			return nil
		default:
			w.Damage = "its content does not fit its checksum or its node"
		}
		all = append(all, w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, rows("SELECT node FROM node_rows WHERE node NOT IN (SELECT id FROM nodes)", func(scan func(...any) error) error {
		w := Worn{Damage: "there is no such node"}
		if err := scan(&w.id); err != nil {
			return err
		}
		all = append(all, w)
		return nil
	})
}
