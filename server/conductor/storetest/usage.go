package storetest

import (
	"slices"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// testUsage: each node counts for one project, so that what two of them are told is disjoint (row 69).
func testUsage(t *testing.T, s suite) {
	var nodes []*conductor.Node
	add := func(owner, lessee, class string, st state.State, edit func(*conductor.Node)) {
		n := Node(len(nodes) + 1)
		n.Owner, n.Lessee, n.ResourceClass, n.State = owner, lessee, class, st
		n.InstanceUUID, n.Maintenance, n.Retired = "", false, false
		if edit != nil {
			edit(n)
		}
		nodes = append(nodes, n)
	}
	add("blue", "", "big", state.Available, nil)
	add("blue", "", "big", state.Available, func(n *conductor.Node) { n.InstanceUUID = "i-1" })
	add("blue", "", "big", state.Available, func(n *conductor.Node) { n.Maintenance = true })
	add("blue", "", "big", state.Available, func(n *conductor.Node) { n.Retired = true })
	add("blue", "", "big", state.CleanWait, nil)
	add("blue", "blue", "small", state.ServiceFail, nil)
	add("blue", "red", "big", state.Active, nil)
	add("", "red", "big", state.Available, nil)
	add("", "", "", state.Deleting, nil)
	s.create(nodes...)
	all := []conductor.Usage{
		{Project: "", Class: "", Nodes: 1, Used: 1},
		{Project: "blue", Class: "big", Nodes: 5, Used: 1, Available: 1, Lent: 1}, {Project: "blue", Class: "small", Nodes: 1, Used: 1},
		{Project: "red", Class: "big", Nodes: 2, Used: 1, Available: 1},
	}
	s.view(func(tx conductor.Tx) error {
		sum := 0
		for project, want := range map[string][]conductor.Usage{"": all, "blue": all[1:3], "red": all[3:], "green": nil} {
			got, err := tx.Usage(project)
			if err != nil {
				return err
			}
			if !slices.Equal(got, want) {
				t.Errorf("the usage of %q is %+v, expected %+v", project, got, want)
			}
			if project == "" {
				for _, u := range got {
					sum += u.Nodes
				}
			}
		}
		if sum != len(nodes) {
			t.Errorf("%d nodes are counted, there are %d", sum, len(nodes))
		}
		return nil
	})
}
