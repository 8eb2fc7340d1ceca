package allocations_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A candidate is available, without instance, known to be on or off, not in maintenance or doubt, of the class, with all
// traits, among those named, of the owner's project.
func TestAllocationMatching(t *testing.T) {
	for name, c := range map[string]struct {
		stand func(n *conductor.Node)
		ask   func(a *conductor.Allocation)
		found bool
		why   string
	}{
		"fits":                  {found: true},
		"in maintenance":        {stand: func(n *conductor.Node) { n.Maintenance = true }, why: "no available nodes match the resource class gold"},
		"power unknown":         {stand: func(n *conductor.Node) { n.Power = "" }, why: "no available nodes"},
		"power in error":        {stand: func(n *conductor.Node) { n.Power = conductor.PowerError }, why: "no available nodes"},
		"has an instance":       {stand: func(n *conductor.Node) { n.InstanceUUID = "i" }, why: "no available nodes"},
		"not available":         {stand: func(n *conductor.Node) { n.State = state.Manageable }, why: "no available nodes"},
		"in doubt":              {stand: func(n *conductor.Node) { n.Unverified = &conductor.Unverified{Why: "restored"} }, why: "no available nodes"},
		"another class":         {ask: func(a *conductor.Allocation) { a.Class = "silver" }, why: "no available nodes match the resource class silver"},
		"a trait":               {ask: func(a *conductor.Allocation) { a.Traits = []string{"CUSTOM_B"} }, found: true},
		"a trait it lacks":      {ask: func(a *conductor.Allocation) { a.Traits = []string{"CUSTOM_B", "CUSTOM_C"} }, why: "no suitable nodes have the requested traits CUSTOM_B, CUSTOM_C"},
		"named":                 {ask: func(a *conductor.Allocation) { a.Candidates = []conductor.NodeID{"n1"} }, found: true},
		"not named":             {ask: func(a *conductor.Allocation) { a.Candidates = []conductor.NodeID{"n2"} }, why: "none of the requested nodes"},
		"its owner":             {stand: func(n *conductor.Node) { n.Owner = "p" }, ask: func(a *conductor.Allocation) { a.Owner = "p" }, found: true},
		"its lessee":            {stand: func(n *conductor.Node) { n.Lessee = "p" }, ask: func(a *conductor.Allocation) { a.Owner = "p" }, found: true},
		"of another's":          {stand: func(n *conductor.Node) { n.Owner = "q" }, ask: func(a *conductor.Allocation) { a.Owner = "p" }, why: "no available nodes"},
		"taken by no owner too": {stand: func(n *conductor.Node) { n.Owner = "q" }, found: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := recordtest.Open(t, time.Now)
			if _, err := s.Create(conductor.Node{Name: "n2"}); err != nil {
				t.Fatal(err)
			}
			s.Stand("n1", recordtest.Available)
			if c.stand != nil {
				s.Stand("n1", c.stand)
			}
			ask := &conductor.Allocation{Class: "gold"}
			if c.ask != nil {
				c.ask(ask)
			}
			traits := slices.Clone(ask.Traits)
			a := s.Must(ask).(*conductor.Allocation)
			synctest.Wait()
			got, n := s.Allocation(a.UUID), s.N1()
			if !c.found {
				if got.State != conductor.AllocationError || got.Node != "" || !strings.HasPrefix(got.LastError, "allocation.failed: Failed to process allocation "+a.UUID) ||
					!strings.Contains(got.LastError, c.why) || n.Allocation != "" {
					t.Errorf("%s: %+v, node %+v", name, got, n)
				}
				return
			}
			given, _ := n.InstanceInfo["traits"].([]any)
			if got.State != conductor.AllocationOn || got.Node != n.UUID || n.InstanceUUID != a.UUID || n.Allocation != a.UUID || len(given) != len(traits) {
				t.Errorf("%s: %+v, node %+v", name, got, n)
			}
		})
	}
}

// A node of the allocation's own name comes first, and no node is given twice.
func TestAllocationsShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		for _, name := range []string{"n2", "n3", "n4"} {
			if _, err := s.Create(conductor.Node{Name: name}); err != nil {
				t.Fatal(err)
			}
			s.Stand(name, recordtest.Available)
		}
		s.Stand("n1", recordtest.Available)
		own := s.Must(&conductor.Allocation{Head: conductor.Head{Name: "n3"}, Class: "gold"})
		synctest.Wait()
		n3, err := s.Node(t.Context(), "n3")
		if err != nil || s.Allocation(own.Top().UUID).Node != n3.UUID {
			t.Errorf("the node of that name was not taken: %v", err)
		}
		var all []string
		for range 4 {
			all = append(all, s.Must(&conductor.Allocation{Class: "gold"}).Top().UUID)
		}
		synctest.Wait()
		seen, failed := map[conductor.NodeID]bool{n3.UUID: true}, 0
		for _, id := range all {
			a := s.Allocation(id)
			if a.State == conductor.AllocationError {
				failed++
				continue
			}
			if seen[a.Node] {
				t.Errorf("node %s is given twice", a.Node)
			}
			seen[a.Node] = true
		}
		if len(seen) != 4 || failed != 1 {
			t.Errorf("%d nodes are given, %d wishes failed; expected 4 and 1", len(seen), failed)
		}
	})
}

// A wish that can't be carried out, because what would be its instance is another node's, ends in error and stops no
// other; where that is known when it is asked for, it is refused.
func TestI13_AllocationThatCanNotBeStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const taken = "11111111-1111-4111-8111-111111111111"
		s := recordtest.Open(t, time.Now)
		if _, err := s.Create(conductor.Node{Name: "n2"}); err != nil {
			t.Fatal(err)
		}
		s.Stand("n2", func(n *conductor.Node) { n.InstanceUUID = taken })
		if _, err := s.Add(&conductor.Allocation{Head: conductor.Head{UUID: taken}, Class: "gold"}); err == nil || fault.From(err).Code.Status() != 409 {
			t.Errorf("an allocation with an instance's UUID: %v", err)
		}
		s.Stand("n1", recordtest.Available)
		if err := s.Store.Update(t.Context(), func(tx conductor.Tx) error { // the instance came after the wish
			return tx.CreateRecord(&conductor.Allocation{Head: conductor.Head{UUID: taken}, Class: "gold", State: conductor.Allocating})
		}); err != nil {
			t.Fatal(err)
		}
		a := s.Must(&conductor.Allocation{Class: "gold"})
		time.Sleep(time.Minute)
		if got := s.Allocation(taken); got.State != conductor.AllocationError || !strings.Contains(got.LastError, "another node") {
			t.Errorf("the wish that can't be: %+v", got)
		}
		if got := s.Allocation(a.Top().UUID); got.State != conductor.AllocationOn {
			t.Errorf("the other: %+v", got)
		}
	})
}

func TestAllocationBackfillRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		s.Stand("n1", recordtest.Available)
		n := s.N1()
		_, err := s.Add(&conductor.Allocation{Node: n.UUID, Class: "silver", Traits: []string{"CUSTOM_C"}})
		if !fault.Has(err, fault.AllocationFailed) {
			t.Fatal(err)
		}
		for _, part := range []string{`must be in the "active" state`, "Resource class gold does not match", "List of traits CUSTOM_A, CUSTOM_B"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not told: %v", part, err)
			}
		}
		if _, err := s.Add(&conductor.Allocation{}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("without a class: %v", err)
		}
		if _, err := s.Add(&conductor.Allocation{Class: "gold", Candidates: []conductor.NodeID{"nobody"}}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("an unknown candidate: %v", err)
		}
	})
}
