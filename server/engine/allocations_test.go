package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// What was allocating when the server stopped is settled by the next one.
func TestAllocationSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Stand("n1", recordtest.Available)
		s.stop()
		s.start()
		synctest.Wait() // it has looked for wishes
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			return tx.CreateRecord(&conductor.Allocation{Head: conductor.Head{UUID: "a"}, Class: "gold", State: conductor.Allocating})
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // nobody told the engine
		if a := s.Allocation("a"); a.State != conductor.Allocating {
			t.Fatalf("settled by nobody: %+v", a)
		}
		s.stop()
		s.start()
		synctest.Wait()
		if a := s.Allocation("a"); a.State != conductor.AllocationOn {
			t.Errorf("after the restart %+v", a)
		}
	})
}

// The store's absence does not lose a wish.
func TestAllocationOutlastsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Stand("n1", recordtest.Available)
		a := &conductor.Allocation{Class: "gold"}
		away := fault.New(fault.StorageUnavailable, "away")
		s.fault.set(func(context.Context) error { return away }, nil, nil)
		if _, err := s.Add(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.fault.set(nil, nil, nil)
		time.Sleep(time.Minute)
		if got := s.Allocation(a.UUID); got.State != conductor.AllocationOn {
			t.Errorf("%+v", got)
		}
	})
}

// An allocation is freed with its node or by its own deletion, and keeps the instance while one is there.
func TestAllocationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.Stand("n1", recordtest.Available)
		a := s.Must(&conductor.Allocation{Class: "gold"})
		synctest.Wait()
		id := a.Top().UUID
		for _, st := range []state.State{state.Active, state.Deploying, state.Deleting} {
			s.Stand("n1", func(n *conductor.Node) {
				if n.State = st; st != state.Active {
					n.Target = state.Active
				}
			})
			if err := s.Remove(a); !fault.Has(err, fault.NodeInUse) {
				t.Errorf("deleted in %s: %v", st, err)
			}
			if err := s.Change("n1", func(n *conductor.Node) { n.InstanceUUID = "" }); err == nil || fault.From(err).Code.Status() != 409 {
				t.Errorf("its instance is taken away in %s: %v", st, err)
			}
		}
		s.Stand("n1", func(n *conductor.Node) { n.State = state.DeployFail })
		if err := s.Remove(a); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Allocation != "" || n.InstanceUUID != "" {
			t.Errorf("the node still belongs to %q, %q", n.InstanceUUID, n.Allocation)
		}
		if _, err := s.c.Record(t.Context(), conductor.KindAllocation, id); !fault.Has(err, fault.AllocationNotFound) {
			t.Errorf("after the deletion: %v", err)
		}
		// Undeploying the node ends it too.
		s.Stand("n1", func(n *conductor.Node) { n.State, n.Target = state.Active, "" })
		b := s.Must(&conductor.Allocation{Node: s.node().UUID, Traits: []string{"CUSTOM_A"}}).(*conductor.Allocation)
		if got, err := s.c.NodeAllocation(t.Context(), "n1"); err != nil || got.UUID != b.UUID || b.State != conductor.AllocationOn || b.Class != "gold" {
			t.Fatalf("backfilled %+v, %v", got, err)
		}
		if _, err := s.Add(&conductor.Allocation{Node: s.node().UUID}); !fault.Is(err, fault.Conflict) {
			t.Errorf("backfilled twice: %v", err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		if n := s.node(); n.Allocation != "" || n.InstanceUUID != "" {
			t.Errorf("after undeploy the node belongs to %q, %q", n.InstanceUUID, n.Allocation)
		}
		if _, err := s.c.NodeAllocation(t.Context(), "n1"); !fault.Has(err, fault.AllocationNotFound) {
			t.Errorf("after undeploy: %v", err)
		}
	})
}
