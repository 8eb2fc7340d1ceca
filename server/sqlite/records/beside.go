// Package records is what the store keeps beside nodes: ports and their like in one table (beside.go), secrets, history, audit,
// settings, defaults, webhooks and the journal of changes. It begins and commits no transaction.
//
// Start at Tx.
package records

import (
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Sealer seals what must not be read from a stolen file or backup (safety.md §2.9). Node and field are authenticated
// with the value: what was sealed for one field opens for no other. Open fails for a key it does not have.
type Sealer interface {
	Seal(node, field string, plain []byte) (keyID string, blob []byte, err error)
	Open(node, field, keyID string, blob []byte) ([]byte, error)
}

// Tx is a transaction upon all this.
type Tx struct {
	*session.Tx
	Sealer Sealer
}

// The records that stand beside nodes: one table for all kinds. The columns hold what is unique or followed from a
// node; by anything else a list is filtered and sorted in the body.

// fieldName is a field that a query may name: it becomes part of its text.
var fieldName = regexp.MustCompile(`^[a-z_]+$`)

func (t *Tx) Record(kind conductor.Kind, ident string) (conductor.Record, error) {
	var body []byte
	err := t.Row("SELECT body FROM records WHERE kind = ?1 AND uuid = ?2 UNION ALL SELECT body FROM records WHERE kind = ?1 AND name = ?2 LIMIT 1",
		[]any{string(kind), session.Text(ident)}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, kind.Missing(ident)
	}
	if err != nil {
		return nil, err
	}
	return readRecord(kind, body)
}

func readRecord(kind conductor.Kind, body []byte) (conductor.Record, error) {
	r := kind.Empty()
	if r == nil {
		return nil, fault.New(fault.InternalError, "the store has a record of kind %q, which this program does not know", kind)
	}
	return r, session.Decode(string(kind), body, r)
}

func (t *Tx) Records(kind conductor.Kind, f conductor.RecordFilter) ([]conductor.Record, error) {
	where, args := "kind = ?", []any{string(kind)}
	and := func(cond string, a ...any) { where, args = where+" AND "+cond, append(args, a...) }
	if f.Node != "" {
		and("node = ?", session.Text(string(f.Node)))
	}
	if f.Mark != "" {
		and("mark = ?", session.Text(f.Mark))
	}
	seen, seenBy := visibleRecords(f)
	and(seen, seenBy...)
	for _, name := range slices.Sorted(maps.Keys(f.Is)) {
		in, values, err := among(name, f.Is[name])
		if err != nil {
			return nil, err
		}
		and(in, values...)
	}
	for _, name := range slices.Sorted(maps.Keys(f.NodeIs)) {
		in, values, err := among(name, f.NodeIs[name])
		if err != nil {
			return nil, err
		}
		and("node IN (SELECT uuid FROM nodes WHERE "+in+")", values...)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Contains)) {
		field, err := inBody(name)
		if err != nil {
			return nil, err
		}
		and(field+` LIKE ? ESCAPE '\'`, "%"+nodes.LikeEscaper.Replace(session.Text(f.Contains[name]))+"%")
	}
	key, than, dir := "id", " > ", ""
	if f.Descending {
		than, dir = " < ", " DESC"
	}
	if f.SortKey != "" {
		var err error
		if key, err = inBody(f.SortKey); err != nil {
			return nil, err
		}
	}
	if f.After != "" {
		var id int64
		if err := t.Row("SELECT id FROM records WHERE kind = ? AND uuid = ? AND "+seen, append([]any{string(kind), session.Text(f.After)}, seenBy...), &id); errors.Is(err, sql.ErrNoRows) {
			return nil, kind.Missing(f.After)
		} else if err != nil {
			return nil, err
		}
		if key == "id" { // as with nodes
			and("id"+than+"?", id)
		} else {
			and("("+key+", id)"+than+"(SELECT "+key+", id FROM records WHERE id = ?)", id)
		}
	}
	q := "SELECT body FROM records WHERE " + where + " ORDER BY " + key + dir + ", id" + dir
	if f.Limit > 0 {
		q += " LIMIT ?"
		args = append(args, f.Limit)
	}
	var out []conductor.Record
	err := t.Rows(q, args, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		r, err := readRecord(kind, body)
		out = append(out, r)
		return err
	})
	return out, err
}

// visibleRecords selects what a filter's project may see. A marker is looked for among that too: by where a page after
// a hidden record begins, its caller would learn that it is there and how it sorts.
func visibleRecords(f conductor.RecordFilter) (where string, args []any) {
	switch {
	case f.VisibleTo == "":
		return "TRUE", nil
	case f.Owned:
		return "(coalesce(body ->> '$.owner', '') = ? OR body ->> '$.public' = 1)", []any{session.Text(f.VisibleTo)}
	}
	return "node IN (SELECT uuid FROM nodes WHERE " + nodes.Visible + ")", []any{session.Text(f.VisibleTo), session.Text(f.VisibleTo)}
}

// inBody is the expression of a field. Times are compared as times: as text, a fraction would sort before none.
func inBody(name string) (string, error) {
	switch {
	case !fieldName.MatchString(name):
		return "", fault.New(fault.RequestInvalid, "%q is no field", name)
	case strings.HasSuffix(name, "_at"):
		return "coalesce(julianday(body ->> '$." + name + "'), 0)", nil
	}
	return "coalesce(body ->> '$." + name + "', '')", nil
}

// among is the condition that a field has one of the values. They travel as one JSON text, so that the statement is the
// same for any number of them.
func among(name string, values []string) (string, []any, error) {
	field, err := inBody(name)
	if err != nil {
		return "", nil, err
	}
	list, err := json.Marshal(values)
	return field + " IN (SELECT value FROM json_each(?))", []any{string(list)}, err
}

func (t *Tx) CreateRecord(r conductor.Record) error {
	k := r.Keys()
	body, err := session.Encode(string(k.Kind)+" "+k.UUID, r)
	if err != nil {
		return err
	}
	_, err = t.Exec("INSERT INTO records (kind, uuid, name, node, mark, body) VALUES (?, ?, ?, ?, ?, ?)",
		string(k.Kind), session.Text(k.UUID), session.Null(k.Name), session.Null(string(k.Node)), session.Null(k.Mark), body)
	return collided(k, err)
}

func (t *Tx) PutRecord(r conductor.Record) error {
	k := r.Keys()
	body, err := session.Encode(string(k.Kind)+" "+k.UUID, r)
	if err != nil {
		return err
	}
	changed, err := t.Exec("UPDATE records SET name = ?, node = ?, mark = ?, body = ? WHERE kind = ? AND uuid = ?",
		session.Null(k.Name), session.Null(string(k.Node)), session.Null(k.Mark), body, string(k.Kind), session.Text(k.UUID))
	if err == nil && changed == 0 {
		return k.Kind.Missing(k.UUID)
	}
	return collided(k, err)
}

// collided names what of a record is another one's already.
func collided(k conductor.Keys, err error) error {
	_, column, _ := strings.Cut(session.Unique(err), ", ")
	switch column {
	case "records.uuid":
		return k.Kind.Taken("UUID " + k.UUID)
	case "records.name":
		return k.Kind.Taken("name " + k.Name)
	case "records.mark":
		return k.Kind.Taken(k.What)
	}
	if session.Dangling(err) {
		return nodes.Missing(string(k.Node))
	}
	return err
}

func (t *Tx) DeleteRecord(kind conductor.Kind, uuid string) error {
	changed, err := t.Exec("DELETE FROM records WHERE kind = ? AND uuid = ?", string(kind), session.Text(uuid))
	if err == nil && changed == 0 {
		err = kind.Missing(uuid)
	}
	return err
}

// list reads objects from a query of their bodies.
func list[T any](t *Tx, what, q string, args ...any) ([]T, error) {
	var out []T
	err := t.Rows(q, args, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		var v T
		if err := session.Decode(what, body, &v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}
