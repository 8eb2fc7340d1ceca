package nodes

import (
	"database/sql"
	"encoding/binary"
	"hash/crc32"
	"math"
	"reflect"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
)

// Prepared rows: what lists of nodes show is made when a node is written, in the same transaction; a list then decodes
// nothing, and most read no node. A trigger puts the row of a node that is written out of date, so that one older than
// its node is never shown, whoever writes. They hold nothing that an answer would not show to an administrator, and
// nothing that can't be made anew: no check at the start reads them. A row that was lost or damaged in the file never hides its
// node: who reads rows counts them and their checksums, reads the nodes instead, and has the rows made anew (worn.go).

// Preparer makes the prepared row of a node.
type Preparer struct {
	form string
	row  func(n *conductor.Node) ([]byte, error)
}

// NewPreparer makes rows of a form with row.
func NewPreparer(form string, row func(n *conductor.Node) ([]byte, error)) *Preparer {
	return &Preparer{form + framing, row}
}

// AllPrepared tells whether every node has its row, of p's form.
func (t *Tx) AllPrepared(p *Preparer) (all bool, err error) {
	return all, t.Row("SELECT NOT EXISTS (SELECT 1 FROM nodes LEFT JOIN node_rows ON node = id WHERE form IS NOT ?)", []any{p.form}, &all)
}

// PrepareNext makes the rows of another form anew, of most nodes at most, which come after a number. It tells how many there were,
// the number of the last, and the nodes that had no row at all.
func (t *Tx) PrepareNext(after int64, most int) (n int, last int64, lost []conductor.NodeID, err error) {
	var found []conductor.Node
	last = after
	err = t.Rows(`SELECT id, version, body, form IS NULL FROM nodes LEFT JOIN node_rows ON node = id
		WHERE id > ? AND form IS NOT ? ORDER BY id LIMIT ?`, []any{after, t.Preparer.form, most}, func(scan func(...any) error) error {
		var x conductor.Node
		var body sql.RawBytes
		var none bool
		if err := scan(&last, &x.Version, &body, &none); err != nil {
			return err
		}
		if err := session.Decode("node", body, &x); err != nil {
			return err
		}
		if found = append(found, x); none {
			lost = append(lost, x.UUID)
		}
		return nil
	})
	for i := range found {
		if err == nil {
			err = t.PutRow(&found[i])
		}
	}
	return len(found), last, lost, err
}

// PutRow prepares the row of a node that was written, if rows are prepared.
func (t *Tx) PutRow(n *conductor.Node) error {
	if t.Preparer == nil {
		return nil
	}
	row, err := t.Preparer.row(n)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO node_rows (node, parent_node, form, prepared) SELECT id, parent, ?, ? FROM nodes WHERE uuid = ?
		ON CONFLICT (node) DO UPDATE SET parent_node = excluded.parent_node, form = excluded.form, prepared = excluded.prepared`,
		t.Preparer.form, framed(string(n.UUID), row), session.Text(string(n.UUID)))
	return err
}

// What is stored of a row is framed: the length of the node's UUID, the UUID, the length of the row, the row, and a checksum of
// both. So many of them can stand one behind the other, and whoever reads them needs nothing of the nodes themselves.

// framing is a part of every form: rows that were framed in another way are of another form.
const framing = "/2"

const sumSize = 4 // bytes of a checksum, big endian

func framed(uuid string, row []byte) []byte {
	b := make([]byte, 0, len(uuid)+len(row)+2*binary.MaxVarintLen64+sumSize)
	for _, part := range []string{session.Text(uuid), string(row)} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// unframe takes the first of the rows; ok false: it is damaged. The buffer is used again from row to row.
func unframe(rows string, buffer *[]byte) (p conductor.PreparedNode, after string, ok bool) {
	all := rows
	for _, part := range []*string{&p.UUID, &p.Row} {
		n, used := binary.Uvarint([]byte(rows[:min(len(rows), binary.MaxVarintLen64)]))
		if used <= 0 || n > uint64(len(rows)-used) {
			return p, "", false
		}
		*part, rows = rows[used:used+int(n)], rows[used+int(n):]
	}
	if len(rows) < sumSize {
		return p, "", false
	}
	b := append((*buffer)[:0], all[:len(all)-len(rows)+sumSize]...)
	*buffer = b
	end := len(b) - sumSize
	return p, rows[sumSize:], crc32.ChecksumIEEE(b[:end]) == binary.BigEndian.Uint32(b[end:])
}

// unframeAll takes rows apart that stand one behind the other; ok false: some are damaged, or they are not n.
func unframeAll(rows string, n int) (out []conductor.PreparedNode, ok bool) {
	out = make([]conductor.PreparedNode, 0, n)
	var buffer []byte
	for rows != "" {
		var p conductor.PreparedNode
		if p, rows, ok = unframe(rows, &buffer); !ok {
			return nil, false
		}
		out = append(out, p)
	}
	return out, len(out) == n
}

// Together is how many rows SQLite hands over as one text: a call for each row costs more than the row.
const Together = 100

// PreparedNodes implements conductor.Tx.
func (t *Tx) PreparedNodes(f conductor.NodeFilter, form string, each func(p conductor.PreparedNode) error) error {
	after, err := t.marker(f)
	if err != nil {
		return err
	}
	byID := !f.Descending && (f.SortKey == "" || f.SortKey == "id")
	if form == "" || !byID {
		_, _, err := t.eachPrepared(f, after, form+framing, each)
		return err
	}
	for left := f.Limit; f.Limit == 0 || left > 0; left -= Together {
		f := f
		f.Limit = Together
		if left > 0 {
			f.Limit = min(left, Together)
		}
		n, last, err := t.preparedTogether(f, after, form+framing, each)
		if err != nil || n < f.Limit {
			return err
		}
		after = last
	}
	return nil
}

// preparedTogether reads the next rows, as many as the filter's limit, and tells how many there were and the number of the last
// node. Rows that are not all there, whole and of the form are read one by one.
func (t *Tx) preparedTogether(f conductor.NodeFilter, after int64, form string, each func(p conductor.PreparedNode) error) (n int, last int64, err error) {
	q, args, plain, err := t.rowQuery(form, f, after)
	if err != nil {
		return 0, 0, err
	}
	var whole int
	var end sql.NullInt64
	var rows sql.NullString
	if err := t.Row("SELECT count(*), count(prepared), max(id), group_concat(prepared, '') FROM ("+q+")", args, &n, &whole, &end, &rows); err != nil {
		return 0, 0, err
	}
	if whole < n { // some are out of date
		return t.eachPrepared(f, after, form, each)
	}
	nodes, ok := unframeAll(rows.String, n)
	if ok && plain {
		upto := end.Int64
		if n < f.Limit {
			upto = math.MaxInt64
		}
		var all, listed int
		if all, listed, err = t.countNodes(f.Roots, after, upto); err != nil {
			return 0, 0, err
		}
		ok = all == n && listed == n
	}
	if !ok {
		t.foundWorn()
		return t.eachPrepared(f, after, form, each)
	}
	for _, p := range nodes {
		if err := each(p); err != nil {
			return 0, 0, err
		}
	}
	return n, end.Int64, nil
}

// countNodes counts the nodes after a number up to another, those without a parent or all, and those of them whose row is in such a list:
// a row that is lost and one of no node would else be as many as the nodes. Two small indexes hold what is asked of the nodes.
func (t *Tx) countNodes(roots bool, after, upto int64) (all, listed int, err error) {
	const (
		without = "SELECT count(*), count(node) FROM nodes INDEXED BY nodes_roots LEFT JOIN node_rows ON node = id AND parent_node = '' WHERE parent = '' AND id > ?1 AND id <= ?2"
		every   = `SELECT sum(a), sum(l) FROM (
			SELECT count(*) AS a, count(node) AS l FROM nodes INDEXED BY nodes_roots LEFT JOIN node_rows ON node = id WHERE parent = '' AND id > ?1 AND id <= ?2
			UNION ALL
			SELECT count(*), count(node) FROM nodes INDEXED BY nodes_parent LEFT JOIN node_rows ON node = id WHERE parent <> '' AND id > ?1 AND id <= ?2)`
	)
	q := without
	if !roots {
		q = every
	}
	return all, listed, t.Row(q, []any{after, upto}, &all, &listed)
}

// rowQuery asks for the number and the row of each node, in order of creation. Most lists are plain and need nothing of the
// nodes: the schema's triggers see to it that each has a row, and an old one no form.
func (t *Tx) rowQuery(form string, f conductor.NodeFilter, after int64) (q string, args []any, plain bool, err error) {
	rest := f
	rest.Roots, rest.After, rest.Limit, rest.SortKey = false, "", 0, ""
	if !reflect.ValueOf(rest).IsZero() {
		q, args, err = t.nodeQuery("SELECT id, "+rowOf, []any{form}, f, after)
		return q, args, false, err
	}
	q = "SELECT node AS id, iif(form = ?, prepared, NULL) AS prepared FROM node_rows WHERE node > ?"
	if f.Roots {
		q += " AND parent_node = ''"
	}
	return q + " ORDER BY node LIMIT ?", []any{form, after, f.Limit}, true, nil
}

const rowOf = "iif(form = ?, prepared, NULL) AS prepared FROM nodes LEFT JOIN node_rows ON node = id"

// eachPrepared reads them one by one: in any order, and with nodes that have no row, or a damaged one.
func (t *Tx) eachPrepared(f conductor.NodeFilter, after int64, form string, each func(p conductor.PreparedNode) error) (n int, last int64, err error) {
	q, args, err := t.nodeQuery("SELECT id, uuid, iif(form = ?, NULL, body), form IS NULL, "+rowOf, []any{form, form}, f, after)
	if err != nil {
		return 0, 0, err
	}
	var nodes []conductor.PreparedNode
	var damaged []int
	var uuid string
	var lost bool
	var row, body sql.RawBytes
	var buffer []byte
	err = t.Rows(q, args, func(scan func(...any) error) error {
		if err := scan(&last, &uuid, &body, &lost, &row); err != nil {
			return err
		}
		if lost {
			t.foundWorn()
		}
		p := conductor.PreparedNode{UUID: uuid}
		if row == nil {
			p.Node = &conductor.Node{}
			if err := session.Decode("node", body, p.Node); err != nil {
				return err
			}
		} else if q, rest, ok := unframe(string(row), &buffer); ok && rest == "" && q.UUID == uuid {
			p = q
		} else {
			t.foundWorn()
			damaged = append(damaged, len(nodes))
		}
		nodes = append(nodes, p)
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for _, i := range damaged {
		n, err := t.Node(conductor.NodeID(nodes[i].UUID))
		if err != nil {
			return 0, 0, err
		}
		nodes[i].Node = &n
	}
	for _, p := range nodes {
		if err := each(p); err != nil {
			return 0, 0, err
		}
	}
	return len(nodes), last, nil
}
