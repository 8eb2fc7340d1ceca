package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"reflect"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Prepared rows: what lists of nodes show is made when a node is written, in the same transaction; a list then decodes
// nothing, and most read no node. A trigger puts the row of a node that is written out of date, so that one older than
// its node is never shown, whoever writes. They hold nothing that an answer would not show to an administrator, and
// nothing that can't be made anew: no check at the start reads them.

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
	s.preparer = &preparer{form + framing, row}
}

// PrepareRows prepares the rows of another form: those that an older program wrote, or one with other rules of what may
// be shown. Until then lists decode these nodes, so it runs while the store is in use, in transactions so short that
// they hold nobody up. Called again after an error it goes on.
func (s *Store) PrepareRows(ctx context.Context) error {
	s.mu.Lock()
	p := s.preparer
	s.mu.Unlock()
	if done, err := s.allPrepared(ctx, p.form); done || err != nil {
		return err
	}
	const batch = 50
	for after := int64(0); ; {
		n, last := 0, after
		err := s.update(ctx, func(t *tx) error {
			var found []conductor.Node
			err := t.rows(`SELECT id, version, body FROM nodes LEFT JOIN node_rows ON node = id
				WHERE id > ? AND form IS NOT ? ORDER BY id LIMIT ?`, []any{after, p.form, batch}, func(scan func(...any) error) error {
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
		if err != nil || n < batch {
			return err
		}
		after = last
	}
}

// allPrepared tells whether every node has its row. It is asked of a reader: the writer would keep what it read in its cache,
// which is large.
func (s *Store) allPrepared(ctx context.Context, form string) (all bool, err error) {
	err = s.view(ctx, func(t *tx) error {
		return t.row("SELECT (SELECT count(*) FROM nodes) = (SELECT count(*) FROM node_rows WHERE form = ?)", []any{form}, &all)
	})
	return all, err
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
	_, err = t.exec(`INSERT INTO node_rows (node, parent_node, form, prepared) SELECT id, parent, ?, ? FROM nodes WHERE uuid = ?
		ON CONFLICT (node) DO UPDATE SET form = excluded.form, prepared = excluded.prepared`,
		t.preparer.form, framed(string(n.UUID), row), text(string(n.UUID)))
	return err
}

// What is stored of a row is framed: the length of the node's UUID, the UUID, the length of the row, the row. So many of
// them can stand one behind the other, and whoever reads them needs nothing of the nodes themselves.

// framing is a part of every form: rows that were framed in another way are of another form.
const framing = "/1"

func framed(uuid string, row []byte) []byte {
	b := make([]byte, 0, len(uuid)+len(row)+2*binary.MaxVarintLen64)
	for _, part := range []string{text(uuid), string(row)} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}

// unframe takes the first of the rows.
func unframe(rows string) (p conductor.PreparedNode, after string, err error) {
	for _, part := range []*string{&p.UUID, &p.Row} {
		n, used := binary.Uvarint([]byte(rows[:min(len(rows), binary.MaxVarintLen64)]))
		if used <= 0 || n > uint64(len(rows)-used) {
			return p, "", fault.New(fault.InternalError, "the prepared rows of nodes are damaged")
		}
		*part, rows = rows[used:used+int(n)], rows[used+int(n):]
	}
	return p, rows, nil
}

// together is how many rows SQLite hands over as one text: a call for each row costs more than the row.
const together = 100

// PreparedNodes implements conductor.Tx.
func (t *tx) PreparedNodes(f conductor.NodeFilter, form string, each func(p conductor.PreparedNode) error) error {
	after, err := t.marker(f)
	if err != nil {
		return err
	}
	byID := !f.Descending && (f.SortKey == "" || f.SortKey == "id")
	if form == "" || !byID {
		return t.eachPrepared(f, after, form+framing, each)
	}
	form += framing
	for left := f.Limit; f.Limit == 0 || left > 0; left -= together {
		f := f
		f.Limit = together
		if left > 0 {
			f.Limit = min(left, together)
		}
		q, args, err := t.rowQuery(form, f, after)
		if err != nil {
			return err
		}
		var n, whole int
		var last sql.NullInt64
		var rows sql.NullString
		if err := t.row("SELECT count(*), count(prepared), max(id), group_concat(prepared, '') FROM ("+q+")", args, &n, &whole, &last, &rows); err != nil {
			return err
		}
		if whole < n { // some have none, or an old one
			if err := t.eachPrepared(f, after, form, each); err != nil {
				return err
			}
			rows.String = ""
		}
		for rest := rows.String; rest != ""; {
			var p conductor.PreparedNode
			if p, rest, err = unframe(rest); err != nil {
				return err
			}
			if err := each(p); err != nil {
				return err
			}
		}
		if n < f.Limit {
			return nil
		}
		after = last.Int64
	}
	return nil
}

// rowQuery asks for the number and the row of each node, in order of creation. Most lists need nothing of the nodes: the
// schema's triggers see to it that each has a row, and an old one no form.
func (t *tx) rowQuery(form string, f conductor.NodeFilter, after int64) (string, []any, error) {
	plain := f
	plain.Roots, plain.After, plain.Limit, plain.SortKey = false, "", 0, ""
	if !reflect.ValueOf(plain).IsZero() {
		return t.nodeQuery("SELECT id, "+rowOf, []any{form}, f, after)
	}
	q := "SELECT node AS id, iif(form = ?, prepared, NULL) AS prepared FROM node_rows WHERE node > ?"
	if f.Roots {
		q += " AND parent_node = ''"
	}
	return q + " ORDER BY node LIMIT ?", []any{form, after, f.Limit}, nil
}

const rowOf = "iif(form = ?, prepared, NULL) AS prepared FROM nodes LEFT JOIN node_rows ON node = id"

// eachPrepared reads them one by one: in any order, and with nodes that have no row.
func (t *tx) eachPrepared(f conductor.NodeFilter, after int64, form string, each func(p conductor.PreparedNode) error) error {
	q, args, err := t.nodeQuery("SELECT uuid, iif(form = ?, NULL, body), "+rowOf, []any{form, form}, f, after)
	if err != nil {
		return err
	}
	var uuid string
	var row, body sql.RawBytes
	return t.rows(q, args, func(scan func(...any) error) error {
		if err := scan(&uuid, &body, &row); err != nil {
			return err
		}
		p := conductor.PreparedNode{UUID: uuid}
		if row == nil {
			p.Node = &conductor.Node{}
			if err := decode("node", body, p.Node); err != nil {
				return err
			}
		} else if p, _, err = unframe(string(row)); err != nil {
			return err
		}
		return each(p)
	})
}
