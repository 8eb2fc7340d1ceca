package records

import (
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func (t *Tx) Secret(node conductor.NodeID, field string) ([]byte, error) {
	var key string
	var sealed []byte
	err := t.Row("SELECT key_id, sealed FROM secrets WHERE node = ? AND field = ?", []any{session.Text(string(node)), session.Text(field)}, &key, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.SecretNotFound, "node %s has no secret %q", node, field)
	}
	if err != nil {
		return nil, err
	}
	return t.Sealer.Open(session.Text(string(node)), session.Text(field), key, sealed)
}

func (t *Tx) PutSecret(node conductor.NodeID, field string, v []byte) error {
	id, name := session.Text(string(node)), session.Text(field)
	if v == nil {
		_, err := t.Exec("DELETE FROM secrets WHERE node = ? AND field = ?", id, name)
		return err
	}
	if _, err := t.Open(true, "SELECT 1"); err != nil {
		return err
	}
	key, sealed, err := t.Sealer.Seal(id, name, v)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO secrets (node, field, key_id, sealed) VALUES (?, ?, ?, ?)
		ON CONFLICT (node, field) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed`, id, name, key, sealed)
	if session.Dangling(err) {
		return nodes.Missing(string(node))
	}
	return err
}

// SecretFields gives the names in their order.
func (t *Tx) SecretFields(node conductor.NodeID) ([]string, error) {
	var out []string
	err := t.Rows("SELECT field FROM secrets WHERE node = ? ORDER BY field", []any{session.Text(string(node))}, func(scan func(...any) error) error {
		var f string
		err := scan(&f)
		out = append(out, f)
		return err
	})
	return out, err
}

func (t *Tx) AppendHistory(e conductor.Entry) error {
	body, err := session.Encode("history entry", e)
	if err != nil {
		return err
	}
	_, err = t.Exec("INSERT INTO history (uuid, node, body) VALUES (?, ?, ?)", session.Text(e.UUID), session.Text(string(e.Node)), body)
	if session.Dangling(err) {
		return nodes.Missing(string(e.Node))
	}
	return err
}

func (t *Tx) History(node conductor.NodeID, f conductor.HistoryFilter) ([]conductor.Entry, error) {
	key, than, dir := "seq", " > ", ""
	if f.Descending {
		than, dir = " < ", " DESC"
	}
	if f.SortKey != "" {
		if !slices.Contains(conductor.HistoryKeys(), f.SortKey) {
			return nil, fault.New(fault.RequestInvalid, "a history can't be sorted by %q", f.SortKey).WithHint("sort by one of %s", strings.Join(conductor.HistoryKeys(), ", "))
		}
		var err error
		if key, err = inBody(f.SortKey); err != nil {
			return nil, err
		}
	}
	q, args := "SELECT body FROM history WHERE node = ?", []any{session.Text(string(node))}
	if f.After != "" {
		var seq int64
		err := t.Row("SELECT seq FROM history WHERE node = ? AND uuid = ?", []any{session.Text(string(node)), session.Text(f.After)}, &seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, fault.New(fault.EntryNotFound, "the history of node %s has no entry %q", node, f.After)
		}
		if err != nil {
			return nil, err
		}
		q, args = q+" AND ("+key+", seq)"+than+"(SELECT "+key+", seq FROM history WHERE seq = ?)", append(args, seq)
	}
	q += " ORDER BY " + key + dir + ", seq" + dir
	if f.Limit > 0 {
		q, args = q+" LIMIT ?", append(args, f.Limit)
	}
	return list[conductor.Entry](t, "history entry", q, args...)
}

func (t *Tx) Setting(key string) (string, error) {
	var v string
	err := t.Row("SELECT value FROM settings WHERE key = ?", []any{key}, &v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

func (t *Tx) PutSetting(key, value string) error {
	_, err := t.Exec("INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}
