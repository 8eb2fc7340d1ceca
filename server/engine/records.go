package engine

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/google/uuid"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The records beside nodes are found, made, changed and deleted in one way; what is particular to a kind is its row in
// kinds.

// rules is what the records of a kind keep to. Each function may be nil, and runs inside the transaction that stores.
type rules struct {
	// put judges a record before it is stored, and may complete it; was is nil when it is new. What follows for other
	// records is audited as the caller's.
	put func(eng *Engine, tx conductor.Tx, who conductor.Caller, was, now conductor.Record) error
	// remove tells whether it may go, and takes along what has to go with it.
	remove func(eng *Engine, tx conductor.Tx, r conductor.Record) error
	// changed is told after the commit, also of a deletion: what else the engine does about it.
	changed func(eng *Engine, r conductor.Record)
}

// kinds is the table of the rules; a kind without a row has none.
var kinds = map[conductor.Kind]rules{
	conductor.KindPort:       {put: putPort, remove: removePort},
	conductor.KindPortgroup:  {put: putPortgroup, remove: removePortgroup},
	conductor.KindAllocation: {put: putAllocation, remove: removeAllocation, changed: allocationChanged},
	conductor.KindChassis:    {remove: removeChassis},
	conductor.KindConnector:  {put: putVolume, remove: removeVolume},
	conductor.KindTarget:     {put: putVolume, remove: removeVolume},
}

// Record finds a record by UUID or name.
func (eng *Engine) Record(ctx context.Context, kind conductor.Kind, ident string) (r conductor.Record, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { r, err = tx.Record(kind, canonical(ident)); return err })
	return r, err
}

// canonical is a UUID in lower case, or the name as it is.
func canonical(ident string) string {
	if uuid.Validate(ident) == nil {
		return strings.ToLower(ident)
	}
	return ident
}

// Records lists records of a kind.
func (eng *Engine) Records(ctx context.Context, kind conductor.Kind, f conductor.RecordFilter) (out []conductor.Record, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Records(kind, f); return err })
	return out, err
}

// CreateRecord stores a new record; the kind's exists fault when something unique about it is taken.
func (eng *Engine) CreateRecord(ctx context.Context, who conductor.Caller, r conductor.Record) (conductor.Record, error) {
	h := r.Top()
	if h.UUID == "" {
		h.UUID = NewID()
	}
	if uuid.Validate(h.UUID) != nil {
		return nil, fault.New(fault.RequestInvalid, "uuid %q is not a UUID", h.UUID)
	}
	h.UUID = strings.ToLower(h.UUID)
	h.Created = eng.cfg.Now()
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		if err := eng.soundRecord(tx, who, nil, r); err != nil {
			return err
		}
		if err := tx.CreateRecord(r); err != nil {
			return err
		}
		return tx.AppendAudit(eng.auditRecord(who, "create", r))
	})
	if err != nil {
		return nil, err
	}
	eng.told(r)
	return r, nil
}

// UpdateRecord changes a record; change edits a copy.
func (eng *Engine) UpdateRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string, change func(conductor.Record) error) (conductor.Record, error) {
	var out conductor.Record
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		was, err := tx.Record(kind, canonical(ident))
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
		h.UUID, h.Created, h.Updated = was.Top().UUID, was.Top().Created, eng.cfg.Now()
		if err := eng.soundRecord(tx, who, was, now); err != nil {
			return err
		}
		if err := tx.PutRecord(now); err != nil {
			return err
		}
		out = now
		return tx.AppendAudit(eng.auditRecord(who, "update", now))
	})
	if err != nil {
		return nil, err
	}
	eng.told(out)
	return out, nil
}

// DeleteRecord removes a record.
func (eng *Engine) DeleteRecord(ctx context.Context, who conductor.Caller, kind conductor.Kind, ident string) error {
	var gone conductor.Record
	err := eng.cfg.Store.Update(ctx, func(tx conductor.Tx) (err error) {
		if gone, err = tx.Record(kind, canonical(ident)); err != nil {
			return err
		}
		return eng.removeRecord(tx, who, gone)
	})
	if err == nil {
		eng.told(gone)
	}
	return err
}

func (eng *Engine) removeRecord(tx conductor.Tx, who conductor.Caller, r conductor.Record) error {
	k := r.Keys()
	if remove := kinds[k.Kind].remove; remove != nil {
		if err := remove(eng, tx, r); err != nil {
			return err
		}
	}
	if err := tx.DeleteRecord(k.Kind, k.UUID); err != nil {
		return err
	}
	return tx.AppendAudit(eng.auditRecord(who, "delete", r))
}

// soundRecord checks what holds for all kinds, then what holds for its own.
func (eng *Engine) soundRecord(tx conductor.Tx, who conductor.Caller, was, now conductor.Record) error {
	k := now.Keys()
	if k.Name != "" && (!isName(k.Name) || uuid.Validate(k.Name) == nil) {
		return fault.New(fault.RequestInvalid, "%q can't be a name", k.Name).WithHint("1 to 255 letters, digits and - . _ ~; not a UUID")
	}
	if put := kinds[k.Kind].put; put != nil {
		return put(eng, tx, who, was, now)
	}
	return nil
}

func (eng *Engine) auditRecord(who conductor.Caller, act string, r conductor.Record) conductor.Audit {
	k := r.Keys()
	detail := map[string]any{"uuid": k.UUID}
	if k.Name != "" {
		detail["name"] = k.Name
	}
	if k.Mark != "" {
		detail["mark"] = k.Mark
	}
	return conductor.Audit{Time: eng.cfg.Now(), Actor: who.Name, Request: who.Request, Node: k.Node, Act: string(k.Kind) + "." + act, Detail: detail}
}

func (eng *Engine) told(r conductor.Record) {
	if changed := kinds[r.Keys().Kind].changed; changed != nil {
		changed(eng, r)
	}
}

func copyRecord(r conductor.Record) (conductor.Record, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := r.Keys().Kind.Empty()
	return out, json.Unmarshal(raw, out)
}

// itsNode is the node that a record names. A node named inside a body and not found makes the request wrong, not its
// path.
func itsNode(tx conductor.Tx, id conductor.NodeID) (conductor.Node, error) {
	n, err := tx.Node(id)
	if fault.Is(err, fault.NotFound) {
		return n, fault.New(fault.RequestInvalid, "Node %s could not be found.", id)
	}
	return n, err
}
