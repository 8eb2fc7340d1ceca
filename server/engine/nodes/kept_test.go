package nodes_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Where the instance may be taken off a node, its allocation goes with it.
func TestTheAllocationGoesWithTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		for _, c := range []struct {
			at          state.State
			maintenance bool
			gone        bool
		}{
			{state.Enroll, false, true}, {state.Inspecting, false, true}, {state.InspectWait, false, true}, {state.Manageable, false, true},
			{state.Available, false, true}, {state.Active, true, true}, {state.CleanWait, true, true},
			{state.Active, false, false}, {state.DeployFail, false, false}, {state.CleanFail, false, false},
		} {
			s.Stand("n1", recordtest.Available)
			a := s.Must(&conductor.Allocation{Class: "gold"})
			synctest.Wait()
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = c.at, c.maintenance })
			err := s.Change("n1", func(n *conductor.Node) { n.InstanceUUID = "" })
			if !c.gone && !fault.Has(err, fault.NodeInUse) || c.gone && err != nil {
				t.Errorf("%s, maintenance %v: %v", c.at, c.maintenance, err)
			}
			_, left := s.Record(t.Context(), conductor.KindAllocation, a.Top().UUID)
			if n := s.N1(); fault.Has(left, fault.AllocationNotFound) != c.gone || (n.Allocation == "") != c.gone {
				t.Errorf("%s, maintenance %v: the node has allocation %q, which is stored: %v", c.at, c.maintenance, n.Allocation, left)
			}
			if !c.gone {
				s.Stand("n1", func(n *conductor.Node) { n.State = state.Available })
				if err := s.Remove(a); err != nil {
					t.Fatal(err)
				}
			}
			s.Stand("n1", func(n *conductor.Node) { n.Maintenance = false })
		}
	})
}

// A node that was given to an owner's allocation stays that owner's.
func TestTheOwnerStaysWithItsAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		for _, owner := range []string{"p1", ""} {
			s.Stand("n1", func(n *conductor.Node) { recordtest.Available(n); n.Owner = "p1" })
			a := s.Must(&conductor.Allocation{Class: "gold", Owner: owner})
			synctest.Wait()
			if s.N1().Allocation == "" {
				t.Fatalf("not given: %+v", s.Allocation(a.Top().UUID))
			}
			err := s.Change("n1", func(n *conductor.Node) { n.Owner = "p2" })
			if kept := owner != ""; kept != fault.Has(err, fault.NodeInUse) || !kept && err != nil {
				t.Errorf("the owner of a node with an allocation of %q: %v", owner, err)
			}
			if err := s.Change("n1", func(n *conductor.Node) { n.Description = "x" }); err != nil {
				t.Error(err)
			}
			if err := s.Remove(a); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What is on the console of one hardware type is not on another's.
func TestTheDriverStaysWhileTheConsoleIsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		s.Stand("n1", func(n *conductor.Node) { n.Driver, n.Console = "gone", true })
		other := func(n *conductor.Node) { n.Driver = "fake-hardware" }
		if err := s.Change("n1", other); !fault.Has(err, fault.NodeInUse) {
			t.Errorf("with the console on: %v", err)
		}
		s.Stand("n1", func(n *conductor.Node) { n.Console = false })
		if err := s.Change("n1", other); err != nil {
			t.Errorf("with the console off: %v", err)
		}
	})
}

// A node's traits change while its flow waits, and not while it works.
func TestTraitsChangeWhileAFlowWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		for _, at := range state.All() {
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Traits = at, []string{"CUSTOM_A"} })
			err := s.ChangeTraits(t.Context(), recordtest.Op, "n1", func(traits []string) ([]string, error) { return append(traits, "CUSTOM_B"), nil })
			f, flow := state.FlowOf(at)
			works := flow && at == f.Doing && at != state.Verifying && at != state.Inspecting
			if works != fault.Has(err, fault.NodeBusy) || !works && (err != nil || len(s.N1().Traits) != 2) {
				t.Errorf("%s: %v, traits %v", at, err, s.N1().Traits)
			}
		}
	})
}
