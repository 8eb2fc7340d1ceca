package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Changes reads the journal of nodes.
func (eng *Engine) Changes(ctx context.Context, f conductor.ChangeFilter) (out []conductor.Change, pos conductor.Position, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, pos, err = tx.Changes(f); return err })
	return out, pos, err
}
