package sqlite

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func noPort(ident string) error { return fault.New(fault.PortNotFound, "there is no port %q", ident) }

func (t *tx) port(where, ident string) (conductor.Port, error) {
	var p conductor.Port
	var body []byte
	err := t.row("SELECT body FROM ports WHERE "+where, []any{text(ident)}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return p, noPort(ident)
	}
	if err != nil {
		return p, err
	}
	return p, decode("port "+ident, body, &p)
}

func (t *tx) Port(id string) (conductor.Port, error) { return t.port("uuid = ?", id) }

func (t *tx) PortByAddress(mac string) (conductor.Port, error) {
	return t.port("address = ?", strings.ToLower(mac))
}

// Ports gives ports in order of creation.
func (t *tx) Ports(f conductor.PortFilter) ([]conductor.Port, error) {
	q := "SELECT body FROM ports WHERE true"
	var args []any
	and := func(cond string, a any) { q, args = q+" AND "+cond, append(args, a) }
	if f.Node != "" {
		and("node = ?", text(string(f.Node)))
	}
	if f.Address != "" {
		and("address = ?", text(strings.ToLower(f.Address)))
	}
	if f.After != "" {
		var id int64
		if err := t.row("SELECT id FROM ports WHERE uuid = ?", []any{text(f.After)}, &id); errors.Is(err, sql.ErrNoRows) {
			return nil, noPort(f.After)
		} else if err != nil {
			return nil, err
		}
		and("id > ?", id)
	}
	q += " ORDER BY id"
	if f.Limit > 0 {
		q += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return list[conductor.Port](t, "port", q, args...)
}

func (t *tx) CreatePort(p *conductor.Port) error {
	body, err := encode("port "+p.UUID, p)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO ports (uuid, node, address, body) VALUES (?, ?, ?, ?)",
		text(p.UUID), text(string(p.Node)), text(strings.ToLower(p.Address)), body)
	return collided(p, err)
}

func (t *tx) PutPort(p *conductor.Port) error {
	body, err := encode("port "+p.UUID, p)
	if err != nil {
		return err
	}
	changed, err := t.exec("UPDATE ports SET node = ?, address = ?, body = ? WHERE uuid = ?",
		text(string(p.Node)), text(strings.ToLower(p.Address)), body, text(p.UUID))
	if err == nil && changed == 0 {
		return noPort(p.UUID)
	}
	return collided(p, err)
}

func collided(p *conductor.Port, err error) error {
	switch unique(err) {
	case "ports.uuid":
		return fault.New(fault.PortExists, "a port with UUID %s exists", p.UUID)
	case "ports.address":
		return fault.New(fault.PortExists, "a port with address %s exists", p.Address)
	}
	if dangling(err) {
		return noNode(string(p.Node))
	}
	return err
}

func (t *tx) DeletePort(id string) error {
	changed, err := t.exec("DELETE FROM ports WHERE uuid = ?", text(id))
	if err == nil && changed == 0 {
		err = noPort(id)
	}
	return err
}

// list reads objects from a query of their bodies.
func list[T any](t *tx, what, q string, args ...any) ([]T, error) {
	var out []T
	err := t.rows(q, args, func(scan func(...any) error) error {
		var body sql.RawBytes
		if err := scan(&body); err != nil {
			return err
		}
		var v T
		if err := decode(what, body, &v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}
