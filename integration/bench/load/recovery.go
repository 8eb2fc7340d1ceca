package load

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const recovered = 256 // nodes copied in one transaction

// restarted is what one start on stored work took.
type restarted struct {
	answers, serving time.Duration // until the API's first answer; until all stored work was taken up
	cpu              time.Duration // the server's until then
}

// measureRecovery kills a server that has one machine at work, gives it thousands of copies of that machine's records,
// and starts it on them: this many agents do not fit into one process, and what they would do is not what is measured.
func measureRecovery(ctx context.Context, r *rack, s *figures.Set, n Scale) error {
	f, err := r.fleet(fleet.Options{Nodes: 1, Prefix: "work-", StepTime: forever, Quiet: true})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := up(ctx, f); err != nil {
		return err
	}
	if n := f.Joined(ctx, 1); n < 1 {
		return errors.New("the machine to be copied runs no step")
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
	if err := copies(ctx, filepath.Join(r.dir, "data"), state.CleanWait, n.InFlight); err != nil {
		return err
	}
	var got []restarted
	for _, name := range spares {
		t, err := r.takeUp(ctx, name)
		if err != nil {
			return err
		}
		got = append(got, t)
		if name == spares[0] { // the copies have no rows for lists yet, as after an upgrade
			if err := errors.Join(r.rest(ctx), r.kill()); err != nil {
				return err
			}
		}
	}
	rss, _, err := r.memory()
	if err != nil {
		return err
	}
	states, err := f.States(ctx)
	if err != nil {
		return err
	}
	if n := states[string(state.CleanWait)]; n != 1 {
		return fmt.Errorf("after the restart the machine at work is not: %v", states)
	}
	each := func(t restarted) float64 { return t.cpu.Seconds() * 1000 / float64(n.InFlight) }
	add(s, fmt.Sprintf("restart with the records of %d steps in flight: first answer of the API", n.InFlight), got[1].answers.Seconds(), "s", "≤ 1")
	add(s, "restart with those: all stored work taken up, a verb granted", got[1].serving.Seconds(), "s", "< 10")
	add(s, "restart with those: server's CPU until then, each", each(got[1]), "ms", "")
	add(s, "restart with those: memory then", rss, "MB", "")
	add(s, "restart with those after an upgrade: first answer of the API", got[0].answers.Seconds(), "s", "≤ 1")
	add(s, "restart with those after an upgrade: all stored work taken up, a verb granted", got[0].serving.Seconds(), "s", "")
	add(s, "restart with those after an upgrade: server's CPU until then, each", each(got[0]), "ms", "")
	return nil
}

// takeUp starts the server and waits until it grants a verb on the spare node, which it does once it has gone on with
// all its stored work.
func (r *rack) takeUp(ctx context.Context, spare string) (t restarted, err error) {
	began := time.Now()
	if t.answers, err = r.start(ctx); err != nil {
		return t, err
	}
	if err := r.api.Provision(ctx, spare, api.Provision{Target: "manage"}); err != nil {
		return t, fmt.Errorf("a verb after the restart: %w", err)
	}
	t.serving = time.Since(began)
	t.cpu, err = r.cpu()
	return t, err
}

// rest waits until the server does next to nothing.
func (r *rack) rest(ctx context.Context) error {
	last, err := r.cpu()
	if err != nil {
		return err
	}
	return until(ctx, 5*time.Minute, func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
		now, err := r.cpu()
		used := now - last
		last = now
		return err == nil && used < 100*time.Millisecond
	})
}

// copies gives a database, whose server is gone, n more nodes like its first one in this state.
func copies(ctx context.Context, dir string, in state.State, n int) (err error) {
	keys, err := seal.Open(filepath.Join(dir, "master.key"), false)
	if err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "bessemer.db"), Sealer: keys, Log: quiet, Now: time.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var node conductor.Node
	var steps []conductor.StepRecord
	var inventory *conductor.StoredInventory // nil: the node has none
	err = store.View(ctx, func(tx conductor.Tx) error {
		all, err := tx.Nodes(conductor.NodeFilter{State: string(in), Limit: 1})
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("no node is in %s", in)
		}
		node = all[0]
		if steps, err = tx.Steps(node.UUID, ""); err != nil {
			return err
		}
		found, err := tx.Inventory(node.UUID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		inventory = &found
		return err
	})
	if err != nil {
		return err
	}
	for done := 0; done < n; {
		err := store.Update(ctx, func(tx conductor.Tx) error {
			for range min(recovered, n-done) {
				if err := another(tx, node, steps, inventory); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		done += min(recovered, n-done)
	}
	return nil
}

// another stores one copy under names and ids of its own.
func another(tx conductor.Tx, node conductor.Node, steps []conductor.StepRecord, inventory *conductor.StoredInventory) error {
	node.UUID = conductor.NodeID(uuid.NewString())
	node.Name = "copy-" + string(node.UUID)
	if err := tx.CreateNode(&node); err != nil {
		return err
	}
	for _, r := range steps {
		r.Node, r.ID = node.UUID, step.ID(uuid.NewString())
		if r.Command != nil {
			c := *r.Command
			c.ID = r.ID
			r.Command = &c
		}
		if err := tx.PutStep(&r); err != nil {
			return err
		}
	}
	if inventory == nil {
		return nil
	}
	i := *inventory
	i.Node = node.UUID
	return tx.PutInventory(i)
}
