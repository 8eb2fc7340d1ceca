package sqlite

import (
	"context"
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Prepared rows: what lists of nodes show is made when a node is written, in the same statement, so that it is never
// older than the node; a list then decodes nothing. They hold nothing that an answer would not show to an administrator.

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
// they hold nobody up. For the journal of changes these nodes are changed, once; no watcher is told. Called again after
// an error it goes on.
func (s *Store) PrepareRows(ctx context.Context) error {
	s.mu.Lock()
	p := s.preparer
	s.mu.Unlock()
	const together = 50
	for after := int64(0); ; {
		n, last := 0, after
		err := s.update(ctx, func(t *tx) error {
			type stale struct {
				id   int64
				body []byte
			}
			var found []stale
			err := t.rows("SELECT id, body FROM nodes WHERE id > ? AND form <> ? ORDER BY id LIMIT ?", []any{after, p.form, together}, func(scan func(...any) error) error {
				var x stale
				err := scan(&x.id, &x.body)
				found = append(found, x)
				return err
			})
			if err != nil {
				return err
			}
			for _, x := range found {
				var node conductor.Node
				if err := decode("node", x.body, &node); err != nil {
					return err
				}
				prepared, err := p.row(&node)
				if err != nil {
					return err
				}
				if _, err := t.exec("UPDATE nodes SET form = ?, prepared = ? WHERE id = ?", p.form, prepared, x.id); err != nil {
					return err
				}
				last = x.id
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

// prepared is the values of a node's last two columns.
func (t *tx) prepared(n *conductor.Node) (form string, row []byte, err error) {
	if t.preparer == nil {
		return "", nil, nil
	}
	row, err = t.preparer.row(n)
	return t.preparer.form, row, err
}

// PreparedNodes implements conductor.Tx.
func (t *tx) PreparedNodes(f conductor.NodeFilter, form string, each func(p conductor.PreparedNode) error) error {
	q, args, err := t.nodeQuery("SELECT uuid, CASE WHEN form = ? THEN prepared END, CASE WHEN form = ? AND prepared IS NOT NULL THEN NULL ELSE body END FROM nodes", []any{form, form}, f)
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
