package records

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Changes reads the journal of nodes.
func (s *Shelf) Changes(ctx context.Context, f conductor.ChangeFilter) (out []conductor.Change, pos conductor.Position, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, pos, err = tx.Changes(f); return err })
	return out, pos, err
}

// Note writes an act into the audit that changes nothing else: a log-in, a refusal.
func (s *Shelf) Note(ctx context.Context, who conductor.Caller, act string, node conductor.NodeID, detail map[string]any) error {
	return s.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		return tx.AppendAudit(conductor.Audit{Time: s.cfg.Now(), Actor: who.Name, Request: who.Request, Node: node, Act: act, Detail: detail})
	})
}

// Usage is how much of each resource class a project has and uses; "" is all projects.
func (s *Shelf) Usage(ctx context.Context, project string) (out []conductor.Usage, err error) {
	err = s.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Usage(project); return err })
	return out, err
}
