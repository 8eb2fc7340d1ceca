package sqlite

import (
	"context"
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// worn is a prepared row that does not fit its node, or that belongs to none.
type worn struct {
	id   int64 // the node's number, as the row has it
	node conductor.NodeID
	what string
}

// RowsWorn gets a token when somebody who read prepared rows found that some were lost or damaged: MendRows is to be called.
func (s *Store) RowsWorn() <-chan struct{} { return s.worn }

// foundWorn has the rows looked at and mended.
func (t *tx) foundWorn() {
	select {
	case t.worn <- struct{}{}:
	default: // they will be already, or there is nobody to tell in an Update, which mends what it writes
	}
}

// MendRows looks at all prepared rows and makes those anew that were lost or damaged, each with a line in the log. Nodes are only
// read.
func (s *Store) MendRows(ctx context.Context) error {
	all, err := s.wornRows(ctx)
	if err != nil {
		return err
	}
	err = s.update(ctx, func(t *tx) error {
		for _, w := range all {
			// Out of date, as after a write of the node: PrepareRows makes it anew.
			if _, err := t.exec("UPDATE node_rows SET form = '', parent_node = (SELECT parent FROM nodes WHERE id = node) WHERE node = ? AND node IN (SELECT id FROM nodes)", w.id); err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM node_rows WHERE node = ? AND node NOT IN (SELECT id FROM nodes)", w.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, w := range all {
		if w.what != rowLost { // PrepareRows tells of those
			s.cfg.Log.Warn("the row of a node in lists was damaged; made anew from the node", "node", w.node, "damage", w.what)
		}
	}
	return s.PrepareRows(ctx)
}

// WornRows counts the prepared rows that were lost or damaged, and has them mended if there are any.
func (s *Store) WornRows(ctx context.Context) (int, error) {
	all, err := s.wornRows(ctx)
	if len(all) > 0 {
		select {
		case s.worn <- struct{}{}:
		default:
		}
	}
	return len(all), err
}

func (s *Store) wornRows(ctx context.Context) (all []worn, err error) {
	err = s.view(ctx, func(t *tx) (err error) {
		all, err = findWorn(func(q string, each func(scan func(...any) error) error) error { return t.rows(q, nil, each) })
		return err
	})
	return all, err
}

const rowLost = "it is missing"

// findWorn compares each row with its node. One that is out of date is as good as any: it is not shown.
func findWorn(rows func(q string, each func(scan func(...any) error) error) error) (all []worn, err error) {
	var w worn
	var astray, none, current sql.NullBool
	var row sql.RawBytes
	var buffer []byte
	err = rows("SELECT id, uuid, node IS NULL, parent_node IS NOT parent, form LIKE '%"+framing+"', prepared FROM nodes LEFT JOIN node_rows ON node = id ORDER BY id", func(scan func(...any) error) error {
		if err := scan(&w.id, &w.node, &none, &astray, &current, &row); err != nil {
			return err
		}
		switch p, rest, ok := unframe(string(row), &buffer); {
		case none.Bool:
			w.what = rowLost
		case astray.Bool:
			w.what = "it names another parent than its node"
		case !current.Bool || ok && rest == "" && p.UUID == string(w.node):
			return nil
		default:
			w.what = "its content does not fit its checksum or its node"
		}
		all = append(all, w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, rows("SELECT node FROM node_rows WHERE node NOT IN (SELECT id FROM nodes)", func(scan func(...any) error) error {
		w := worn{what: "there is no such node"}
		if err := scan(&w.id); err != nil {
			return err
		}
		all = append(all, w)
		return nil
	})
}
