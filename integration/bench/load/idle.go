package load

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const (
	idleSettle = 90 * time.Second // after a start: rows for lists are made, and each power state has been read once
	idleRound  = time.Minute      // how often the server reads each power state, by default
)

// measureIdle gives a server thousands of nodes at rest, whose power states it reads in turn, and looks what it costs to
// do nothing else.
func measureIdle(ctx context.Context, r *rack, s *figures.Set, n Scale) error {
	if err := r.kill(); err != nil {
		return err
	}
	r.alone = true // the machines are in the server's memory: nobody has to play them
	if _, err := r.start(ctx); err != nil {
		return err
	}
	const first = "idle-1"
	if _, err := r.api.CreateNode(ctx, map[string]any{"name": first, "driver": "fake-hardware", "automated_clean": false}); err != nil {
		return err
	}
	for _, to := range []struct {
		verb string
		then state.State
	}{{"manage", state.Manageable}, {"provide", state.Available}} {
		if err := r.api.Provision(ctx, first, api.Provision{Target: to.verb}); err != nil {
			return err
		}
		err := until(ctx, time.Minute, func() bool {
			now, err := r.api.Node(ctx, first)
			return err == nil && now.ProvisionState != nil && *now.ProvisionState == string(to.then)
		})
		if err != nil {
			return fmt.Errorf("%s of the node to be copied: %w", to.verb, err)
		}
	}
	spares := []string{"spare-1", "spare-2"}
	for _, name := range spares {
		if _, err := r.api.CreateNode(ctx, map[string]any{"name": name, "driver": "fake-hardware"}); err != nil {
			return err
		}
	}
	if err := r.kill(); err != nil {
		return err
	}
	if err := copies(ctx, filepath.Join(r.dir, "data"), state.Available, n.Idle); err != nil {
		return err
	}
	var got restarted
	for i, name := range spares {
		if i > 0 {
			if err := r.kill(); err != nil {
				return err
			}
		}
		var err error
		if got, err = r.takeUp(ctx, name); err != nil {
			return err
		}
		if err := wait(ctx, idleSettle); err != nil {
			return err
		}
	}
	before, err := r.cpu()
	if err != nil {
		return err
	}
	if err := wait(ctx, idleRound); err != nil {
		return err
	}
	after, err := r.cpu()
	if err != nil {
		return err
	}
	rss, most, err := r.memory()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.api.Nodes(ctx, nil); err != nil {
		return err
	}
	listed := time.Since(began)
	add(s, fmt.Sprintf("%d nodes at rest: first answer of the API", n.Idle), got.answers.Seconds(), "s", "")
	add(s, "nodes at rest: all stored work taken up, a verb granted", got.serving.Seconds(), "s", "< 10")
	add(s, "nodes at rest: server's CPU, the power state of each read once a minute", (after-before).Seconds()*100/idleRound.Seconds(), "% of one processor", "")
	add(s, "nodes at rest: memory", rss, "MB", "")
	add(s, "nodes at rest: memory at most", most, "MB", "")
	add(s, "nodes at rest: list of all in full detail, decoded", listed.Seconds(), "s", "")
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
