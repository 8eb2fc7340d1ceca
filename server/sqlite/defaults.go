package sqlite

import (
	"database/sql"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (t *tx) Defaults(scopes ...conductor.Scope) ([]conductor.Default, error) {
	const from = "SELECT scope, name, flow, step, key, value FROM default_config "
	if len(scopes) == 0 {
		return t.defaults(from + "ORDER BY scope, name, flow, step, key")
	}
	var out []conductor.Default
	for _, s := range scopes {
		some, err := t.defaults(from+"WHERE scope = ? AND name = ? ORDER BY flow, step, key", text(string(s.Kind)), text(s.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

func (t *tx) defaults(q string, args ...any) ([]conductor.Default, error) {
	var out []conductor.Default
	err := t.rows(q, args, func(scan func(...any) error) error {
		var d conductor.Default
		var kind, flow string
		var value sql.RawBytes
		if err := scan(&kind, &d.Scope.Name, &flow, &d.Step, &d.Key, &value); err != nil {
			return err
		}
		d.Scope.Kind, d.Flow = conductor.ScopeKind(kind), state.Flow(flow)
		if err := decode("default", value, &d.Value); err != nil {
			return err
		}
		out = append(out, d)
		return nil
	})
	return out, err
}

func (t *tx) PutDefault(d conductor.Default) error {
	value, err := encode("default", d.Value)
	if err != nil {
		return err
	}
	var node any
	if d.Scope.Kind == conductor.One {
		node = text(d.Scope.Name)
	}
	_, err = t.exec(`INSERT INTO default_config (scope, name, flow, step, key, value, node) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (scope, name, flow, step, key) DO UPDATE SET value = excluded.value`,
		text(string(d.Scope.Kind)), text(d.Scope.Name), text(string(d.Flow)), text(d.Step), text(d.Key), value, node)
	if dangling(err) {
		return noNode(d.Scope.Name)
	}
	return err
}

func (t *tx) DeleteDefault(d conductor.Default) error {
	_, err := t.exec("DELETE FROM default_config WHERE scope = ? AND name = ? AND flow = ? AND step = ? AND key = ?",
		text(string(d.Scope.Kind)), text(d.Scope.Name), text(string(d.Flow)), text(d.Step), text(d.Key))
	return err
}
