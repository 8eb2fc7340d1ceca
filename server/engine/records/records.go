// Package records keeps what operators keep beside nodes: ports, port groups, chassis, volumes, templates, runbooks and
// allocations, the virtual interfaces on ports, webhooks, default_config; it also reads the journal and writes the audit for them. It
// touches no machine.
//
// Start at Shelf: the records are found, made, changed and deleted in one way; what is particular to a kind is its row in
// kinds.
package records

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/allocations"
	"github.com/bessemer-metal/bessemer/server/engine/machines"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Shelf keeps the records of a store.
type Shelf struct{ cfg Config }

// New makes a shelf.
func New(cfg Config) *Shelf { return &Shelf{cfg} }

// Config is what a shelf is made with. All fields are required.
type Config struct {
	Store       conductor.Store
	Now         func() time.Time
	Notify      func(conductor.NodeID) // the node changed, or something beside it
	Allocations *allocations.Allocator
	Machines    *machines.Machines // whose steps default_config is about
}

// rules is what the records of a kind keep to. Each function may be nil, and runs inside the transaction that stores.
type rules struct {
	// put judges a record before it is stored, and may complete it; was is nil when it is new. What follows for other
	// records is audited as the caller's.
	put func(s *Shelf, tx conductor.Tx, who conductor.Caller, was, now conductor.Record) error
	// remove tells whether it may go, and takes along what has to go with it.
	remove func(s *Shelf, tx conductor.Tx, r conductor.Record) error
	// changed is told after the commit, also of a deletion: what else is done about it.
	changed func(s *Shelf, r conductor.Record)
}

// kinds is the table of the rules; a kind without a row has none.
var kinds = map[conductor.Kind]rules{
	conductor.KindPort:      {put: putPort, remove: removePort},
	conductor.KindPortgroup: {put: putPortgroup, remove: removePortgroup},
	conductor.KindAllocation: {
		put: func(s *Shelf, tx conductor.Tx, _ conductor.Caller, was, now conductor.Record) error {
			return s.cfg.Allocations.Put(tx, was, now)
		},
		remove:  func(s *Shelf, tx conductor.Tx, r conductor.Record) error { return s.cfg.Allocations.Remove(tx, r) },
		changed: func(s *Shelf, r conductor.Record) { s.cfg.Allocations.Changed(r) },
	},
	conductor.KindChassis:   {remove: removeChassis},
	conductor.KindConnector: {put: putVolume, remove: removeVolume},
	conductor.KindTarget:    {put: putVolume, remove: removeVolume},
}

// Record finds a record by UUID or name.
func (s *Shelf) Record(ctx context.Context, kind conductor.Kind, ident string) (r conductor.Record, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { r, err = tx.Record(kind, nodes.Canonical(ident)); return err })
	return r, err
}

// Records lists records of a kind.
func (s *Shelf) Records(ctx context.Context, kind conductor.Kind, f conductor.RecordFilter) (out []conductor.Record, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Records(kind, f); return err })
	return out, err
}

// CreateRecord stores a new record; the kind's exists fault when something unique about it is taken.
func (s *Shelf) CreateRecord(ctx context.Context, who conductor.Caller, r conductor.Record) (conductor.Record, error) {
	h := r.Top()
	if h.UUID == "" {
		h.UUID = nodes.NewID()
	}
	if !nodes.IsUUID(h.UUID) {
		return nil, fault.New(fault.RequestInvalid, "uuid %q is not a UUID", h.UUID)
	}
	h.UUID = strings.ToLower(h.UUID)
	h.Created = s.cfg.Now()
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		if err := s.soundRecord(tx, who, nil, r); err != nil {
			return err
		}
		if err := tx.CreateRecord(r); err != nil {
			return err
		}
		return tx.AppendAudit(s.auditRecord(who, "create", r))
	})
	if err != nil {
		return nil, err
	}
	s.told(r)
	return r, nil
}

// UpdateRecord changes a record; change edits a copy.
func (s *Shelf) UpdateRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string, change func(conductor.Record) error) (conductor.Record, error) {
	var out conductor.Record
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		was, err := tx.Record(kind, nodes.Canonical(ident))
		if err != nil {
			return err
		}
		now, err := copyRecord(was)
		if err != nil {
			return err
		}
		if err := change(now); err != nil {
			return err
		}
		h := now.Top()
		h.UUID, h.Created, h.Updated = was.Top().UUID, was.Top().Created, was.Top().Updated
		if err := s.soundRecord(tx, who, was, now); err != nil {
			return err
		}
		same, err := alike(was, now)
		if err != nil {
			return err
		}
		if !same { // what is as it was is not younger
			h.Updated = s.cfg.Now()
			if err := tx.PutRecord(now); err != nil {
				return err
			}
		}
		out = now
		return tx.AppendAudit(s.auditRecord(who, "update", now))
	})
	if err != nil {
		return nil, err
	}
	s.told(out)
	return out, nil
}

// DeleteRecord removes a record.
func (s *Shelf) DeleteRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string) error {
	var gone conductor.Record
	err := s.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		if gone, err = tx.Record(kind, nodes.Canonical(ident)); err != nil {
			return err
		}
		return s.removeRecord(tx, who, gone)
	})
	if err == nil {
		s.told(gone)
	}
	return err
}

func (s *Shelf) removeRecord(tx conductor.Tx, who conductor.Caller, r conductor.Record) error {
	k := r.Keys()
	if remove := kinds[k.Kind].remove; remove != nil {
		if err := remove(s, tx, r); err != nil {
			return err
		}
	}
	if err := tx.DeleteRecord(k.Kind, k.UUID); err != nil {
		return err
	}
	return tx.AppendAudit(s.auditRecord(who, "delete", r))
}

// soundRecord checks what holds for all kinds, then what holds for its own.
func (s *Shelf) soundRecord(tx conductor.Tx, who conductor.Caller, was, now conductor.Record) error {
	k := now.Keys()
	if k.Name != "" && (!nodes.IsName(k.Name) || nodes.IsUUID(k.Name)) {
		return fault.New(fault.RequestInvalid, "%q can't be a name", k.Name).WithHint("1 to 255 letters, digits and - . _ ~; not a UUID")
	}
	if put := kinds[k.Kind].put; put != nil {
		return put(s, tx, who, was, now)
	}
	return nil
}

func (s *Shelf) auditRecord(who conductor.Caller, act string, r conductor.Record) conductor.Audit {
	k := r.Keys()
	detail := map[string]any{"uuid": k.UUID}
	if k.Name != "" {
		detail["name"] = k.Name
	}
	if k.Mark != "" {
		detail["mark"] = k.Mark
	}
	return conductor.Audit{Time: s.cfg.Now(), Actor: who.Name, Request: who.Request, Node: k.Node, Act: string(k.Kind) + "." + act, Detail: detail}
}

func (s *Shelf) told(r conductor.Record) {
	if changed := kinds[r.Keys().Kind].changed; changed != nil {
		changed(s, r)
	}
}

// alike tells whether two records are stored alike.
func alike(a, b conductor.Record) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	y, err := json.Marshal(b)
	return bytes.Equal(x, y), err
}

func copyRecord(r conductor.Record) (conductor.Record, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := r.Keys().Kind.Empty()
	return out, json.Unmarshal(raw, out)
}
