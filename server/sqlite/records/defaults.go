package records

import (
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/sqlite/nodes"
	"github.com/bessemer-metal/bessemer/server/sqlite/session"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (t *Tx) Defaults(scopes ...conductor.Scope) ([]conductor.Default, error) {
	const from = "SELECT scope, name, flow, step, key, value FROM default_config "
	if len(scopes) == 0 {
		return t.defaults(from + "ORDER BY scope, name, flow, step, key")
	}
	var out []conductor.Default
	for _, s := range scopes {
		some, err := t.defaults(from+"WHERE scope = ? AND name = ? ORDER BY flow, step, key", session.Text(string(s.Kind)), session.Text(s.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func (t *Tx) defaults(q string, args ...any) ([]conductor.Default, error) {
	var out []conductor.Default
	err := t.Rows(q, args, func(scan func(...any) error) error {
		var d conductor.Default
		var kind, flow string
		var value sql.RawBytes
		if err := scan(&kind, &d.Scope.Name, &flow, &d.Step, &d.Key, &value); err != nil {
			return err
		}
		d.Scope.Kind, d.Flow = conductor.ScopeKind(kind), state.Flow(flow)
		if err := session.Decode("default", value, &d.Value); err != nil {
			return err
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

func (t *Tx) PutDefault(d conductor.Default) error {
	value, err := session.Encode("default", d.Value)
	if err != nil {
		return err
	}
	var node any
	if d.Scope.Kind == conductor.One {
		node = session.Text(d.Scope.Name)
	}
	_, err = t.Exec(`INSERT INTO default_config (scope, name, flow, step, key, value, node) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (scope, name, flow, step, key) DO UPDATE SET value = excluded.value`,
		session.Text(string(d.Scope.Kind)), session.Text(d.Scope.Name), session.Text(string(d.Flow)), session.Text(d.Step), session.Text(d.Key), value, node)
	if session.Dangling(err) {
		return nodes.Missing(d.Scope.Name)
	}
	return err
}

func (t *Tx) DeleteDefault(d conductor.Default) error {
	_, err := t.Exec("DELETE FROM default_config WHERE scope = ? AND name = ? AND flow = ? AND step = ? AND key = ?",
		session.Text(string(d.Scope.Kind)), session.Text(d.Scope.Name), session.Text(string(d.Flow)), session.Text(d.Step), session.Text(d.Key))
	return err
}
