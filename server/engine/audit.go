package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Note writes an act into the audit that changes nothing else: a log-in, a refusal.
func (eng *Engine) Note(ctx context.Context, who conductor.Caller, act string, node conductor.NodeID, detail map[string]any) error {
	return eng.cfg.Store.Update(ctx, func(tx conductor.Tx) error {
		return tx.AppendAudit(conductor.Audit{Time: eng.cfg.Now(), Actor: who.Name, Request: who.Request, Node: node, Act: act, Detail: detail})
	})
}
