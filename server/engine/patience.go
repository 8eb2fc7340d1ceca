package engine

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// lockWait is how long a request waits for a short act on its node: as long as Ironic does by default (three tries, a second
// apart).
const lockWait = 3 * time.Second

// patiently asks again what was refused because a power act or another short act is under way on the node, as soon as that has
// ended. A flow is not waited for. Programs send one act after the other and count on that.
func (eng *Engine) patiently(ctx context.Context, id conductor.NodeID, ask func() error) error {
	patience, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	changes := eng.watch(patience, &subscription{quiet: true, ch: make(chan struct{}, 1)}, string(id))
	ended := false
	for {
		err := ask()
		if !fault.Has(err, fault.NodeBusy) || ended {
			return err
		}
		for {
			n, unread := eng.Node(ctx, string(id))
			if unread != nil {
				return err
			}
			if n.Act == nil && n.PowerTarget == "" {
				ended = true // by now: once more, and what else is in the way is told
				break
			}
			if _, open := <-changes; !open {
				return err
			}
		}
	}
}
