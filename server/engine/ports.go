package engine

import (
	"context"
	"net"
	"strings"

	"github.com/google/uuid"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Port finds a network card's record by UUID.
func (eng *Engine) Port(ctx context.Context, id string) (p conductor.Port, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { p, err = tx.Port(id); return err })
	return p, err
}

// Ports lists network cards.
func (eng *Engine) Ports(ctx context.Context, f conductor.PortFilter) (out []conductor.Port, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Ports(f); return err })
	return out, err
}

// CreatePort stores a network card; port.exists when the address is taken.
func (eng *Engine) CreatePort(ctx context.Context, who conductor.Caller, p conductor.Port) (conductor.Port, error) {
	if p.UUID == "" {
		p.UUID = NewID()
	}
	if uuid.Validate(p.UUID) != nil {
		return p, fault.New(fault.RequestInvalid, "uuid %q is not a UUID", p.UUID)
	}
	if err := soundPort(&p); err != nil {
		return p, err
	}
	p.Created = eng.cfg.Now()
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		if _, err := tx.Node(p.Node); err != nil {
			if fault.Is(err, fault.NotFound) {
				return fault.New(fault.RequestInvalid, "node %s could not be found", p.Node)
			}
			return err
		}
		if err := tx.CreatePort(&p); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: p.Created, Actor: who.Name, Request: who.Request, Node: p.Node, Act: "port.create", Detail: map[string]any{"address": p.Address}})
	})
	return p, err
}

func soundPort(p *conductor.Port) error {
	hw, err := net.ParseMAC(p.Address)
	if err != nil || len(hw) != 6 {
		return fault.New(fault.RequestInvalid, "address %q is not a MAC address", p.Address).
			WithHint("six hex bytes with colons, as 52:54:00:12:34:56")
	}
	p.Address = strings.ToLower(hw.String())
	return nil
}

// UpdatePort changes a network card's record; change edits a copy.
func (eng *Engine) UpdatePort(ctx context.Context, who conductor.Caller, id string, change func(*conductor.Port) error) (out conductor.Port, err error) {
	err = eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		p, err := tx.Port(id)
		if err != nil {
			return err
		}
		was := p
		if err := change(&p); err != nil {
			return err
		}
		p.UUID, p.Created, p.InternalInfo = was.UUID, was.Created, was.InternalInfo
		if err := soundPort(&p); err != nil {
			return err
		}
		n, err := tx.Node(was.Node)
		if err != nil {
			return err
		}
		if err := mayChange(n); err != nil {
			return err
		}
		if p.Address != was.Address && n.InstanceUUID != "" && !n.Maintenance {
			return fault.New(fault.NodeInUse, "the address of an instance's port changes only in maintenance").At(string(n.UUID), "")
		}
		p.Updated = eng.cfg.Now()
		if err := tx.PutPort(&p); err != nil {
			return err
		}
		out = p
		return tx.AppendAudit(conductor.Audit{Time: p.Updated, Actor: who.Name, Request: who.Request, Node: p.Node, Act: "port.update"})
	})
	return out, err
}

// DeletePort removes a network card's record.
func (eng *Engine) DeletePort(ctx context.Context, who conductor.Caller, id string) error {
	return eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		p, err := tx.Port(id)
		if err != nil {
			return err
		}
		n, err := tx.Node(p.Node)
		if err != nil {
			return err
		}
		if err := mayChange(n); err != nil {
			return err
		}
		if err := tx.DeletePort(id); err != nil {
			return err
		}
		return tx.AppendAudit(conductor.Audit{Time: eng.cfg.Now(), Actor: who.Name, Request: who.Request, Node: p.Node, Act: "port.delete", Detail: map[string]any{"address": p.Address}})
	})
}
