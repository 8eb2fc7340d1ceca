package engine

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Usage is how much of each resource class a project has and uses; "" is all projects.
func (eng *Engine) Usage(ctx context.Context, project string) (out []conductor.Usage, err error) {
	err = eng.cfg.Store.View(ctx, func(tx conductor.Tx) error { out, err = tx.Usage(project); return err })
	return out, err
}
