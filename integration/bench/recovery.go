package main

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
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const (
	inFlight  = 20_000
	recovered = 256 // nodes copied in one transaction
)

// measureRecovery kills a server that has one machine at work, gives it thousands of copies of that machine's records,
// and starts it on them: this many agents do not fit into one process, and what they would do is not what is measured.
func measureRecovery(ctx context.Context, r *rack, s *figures.Set) error {
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
	const spare = "spare"
	if _, err := r.api.CreateNode(ctx, map[string]any{"name": spare, "driver": "fake-hardware"}); err != nil {
		return err
	}
	if err := r.kill(); err != nil {
		return err
	}
	if err := copies(ctx, filepath.Join(r.dir, "data"), inFlight); err != nil {
		return err
	}
	began := time.Now()
	answers, err := r.start(ctx)
	if err != nil {
		return err
	}
	// A verb is granted once the server has gone on with all its stored work.
	if err := r.api.Provision(ctx, spare, api.Provision{Target: "manage"}); err != nil {
		return fmt.Errorf("a verb after the restart: %w", err)
	}
	serving := time.Since(began)
	used, err := r.cpu()
	if err != nil {
		return err
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
	add(s, fmt.Sprintf("restart with the records of %d steps in flight: first answer of the API", inFlight), answers.Seconds(), "s", "< 10")
	add(s, "restart with those: all stored work taken up, a verb granted", serving.Seconds(), "s", "< 10")
	add(s, "restart with those: server's CPU until then, each", used.Seconds()*1000/inFlight, "ms", "")
	add(s, "restart with those: memory then", rss, "MB", "")
	return nil
}

// copies gives a database, whose server is gone, n more nodes like its first one.
func copies(ctx context.Context, dir string, n int) (err error) {
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
	var inventory conductor.StoredInventory
	err = store.View(ctx, func(tx conductor.Tx) error {
		all, err := tx.Nodes(conductor.NodeFilter{State: string(state.CleanWait), Limit: 1})
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return errors.New("no node is in clean wait")
		}
		node = all[0]
		if steps, err = tx.Steps(node.UUID, ""); err != nil {
			return err
		}
		inventory, err = tx.Inventory(node.UUID)
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
func another(tx conductor.Tx, node conductor.Node, steps []conductor.StepRecord, inventory conductor.StoredInventory) error {
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
	inventory.Node = node.UUID
	return tx.PutInventory(inventory)
}
