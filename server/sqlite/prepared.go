package sqlite

import (
	"context"
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Prepared rows: what lists of nodes show is made when a node is written, in the same transaction, and names the node's
// version, so that one older than its node is never shown; a list then decodes nothing. They hold nothing that an answer
// would not show to an administrator, and nothing that can't be made anew: no check at the start reads them.

// preparer makes the prepared row of a node.
type preparer struct {
	form string
	row  func(n *conductor.Node) ([]byte, error)
}

// Prepare sets how rows are prepared from now on. It is called once, before anything else uses the store; PrepareRows
// then makes those of another form.
func (s *Store) Prepare(form string, row func(n *conductor.Node) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.preparer = &preparer{form, row}
}

// PrepareRows prepares the rows of another form: those that an older program wrote, or one with other rules of what may
// be shown. Until then lists decode these nodes, so it runs while the store is in use, in transactions so short that
// they hold nobody up. Called again after an error it goes on.
func (s *Store) PrepareRows(ctx context.Context) error {
	s.mu.Lock()
	p := s.preparer
	s.mu.Unlock()
	const together = 50
	for after := int64(0); ; {
		n, last := 0, after
		err := s.update(ctx, func(t *tx) error {
			var found []conductor.Node
			err := t.rows(`SELECT id, version, body FROM nodes LEFT JOIN node_rows ON node = id
				WHERE id > ? AND (form IS NOT ? OR of_version IS NOT version) ORDER BY id LIMIT ?`, []any{after, p.form, together}, func(scan func(...any) error) error {
				var x conductor.Node
				var body sql.RawBytes
				if err := scan(&last, &x.Version, &body); err != nil {
					return err
				}
				if err := decode("node", body, &x); err != nil {
					return err
				}
				found = append(found, x)
				return nil
			})
			if err != nil {
				return err
			}
			for i := range found {
				if err := t.putRow(&found[i]); err != nil {
					return err
				}
			}
			n = len(found)
			return nil
		})
		if err != nil || n < together {
			return err
		}
		after = last
	}
}

// putRow prepares the row of a node that was written, if rows are prepared.
func (t *tx) putRow(n *conductor.Node) error {
	if t.preparer == nil {
		return nil
	}
	row, err := t.preparer.row(n)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO node_rows (node, of_version, form, prepared) SELECT id, version, ?, ? FROM nodes WHERE uuid = ?
		ON CONFLICT (node) DO UPDATE SET of_version = excluded.of_version, form = excluded.form, prepared = excluded.prepared`,
		t.preparer.form, row, text(string(n.UUID)))
	return err
}

// PreparedNodes implements conductor.Tx.
func (t *tx) PreparedNodes(f conductor.NodeFilter, form string, each func(p conductor.PreparedNode) error) error {
	q, args, err := t.nodeQuery(`SELECT uuid, prepared, CASE WHEN prepared IS NULL THEN body END
		FROM nodes LEFT JOIN node_rows ON node = id AND of_version = version AND form = ?`, []any{form}, f)
	if err != nil {
		return err
	}
	var uuid, row, body sql.RawBytes
	return t.rows(q, args, func(scan func(...any) error) error {
		if err := scan(&uuid, &row, &body); err != nil {
			return err
		}
		p := conductor.PreparedNode{UUID: uuid, Row: row}
		if row == nil {
			p.Node = &conductor.Node{}
			if err := decode("node", body, p.Node); err != nil {
				return err
			}
		}
		return each(p)
	})
}
