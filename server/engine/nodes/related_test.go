package nodes_test

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

// A parent is named by name or UUID and kept as UUID; a node is never above itself, and nothing that others are parts of goes.
func TestParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		top := s.N1()
		child, err := s.Create(conductor.Node{Name: "dpu", Parent: "n1"})
		if err != nil || child.Parent != top.UUID {
			t.Fatalf("parent is %q: %v", child.Parent, err)
		}
		below, err := s.Create(conductor.Node{Name: "port", Parent: child.UUID})
		if err != nil || below.Parent != child.UUID {
			t.Fatalf("parent is %q: %v", below.Parent, err)
		}
		for what, err := range map[string]error{
			"an unknown one": recordtest.Failed(s.Create(conductor.Node{Name: "x", Parent: "nobody"})),
			"itself":         s.Change("n1", func(n *conductor.Node) { n.Parent = "n1" }),
			"its grandchild": s.Change("n1", func(n *conductor.Node) { n.Parent = "port" }),
		} {
			if !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s as a parent: %v", what, err)
			}
		}
		deep := below
		for range 8 {
			if deep, err = s.Create(conductor.Node{Parent: deep.UUID}); err != nil {
				break
			}
		}
		if !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "more than 8") {
			t.Errorf("a tower of nodes: %v", err)
		}
		if err := s.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Has(err, fault.NodeInUse) || !strings.Contains(err.Error(), "dpu") {
			t.Errorf("a node with a child is deleted: %v", err)
		}
		if err := s.Change("dpu", func(n *conductor.Node) { n.Parent = "" }); err != nil {
			t.Error(err)
		}
		if err := s.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err != nil {
			t.Error(err)
		}
	})
}

func TestTheInstancesName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		if err := s.Change("n1", func(n *conductor.Node) { n.InstanceInfo["display_name"] = "web-1" }); err != nil {
			t.Fatal(err)
		}
		if n := s.N1(); n.InstanceName != "web-1" {
			t.Errorf("the name is %q, expected what instance_info shows", n.InstanceName)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.InstanceName = "own" }); err != nil {
			t.Fatal(err)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.InstanceInfo["display_name"] = "web-2" }); err != nil {
			t.Fatal(err)
		}
		if n := s.N1(); n.InstanceName != "own" {
			t.Errorf("the name given is replaced by %q", n.InstanceName)
		}
	})
}

// What a state does not let change is a conflict, and what did not change is not judged again.
func TestWhatAStateLetsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		if err := s.Change("n1", func(n *conductor.Node) { n.NetworkData = map[string]any{"links": 1} }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a network that is none: %v", err)
		}
		if err := s.Change("n1", func(n *conductor.Node) {
			n.NetworkData = map[string]any{"links": []any{}, "networks": []any{}, "services": []any{}}
		}); err != nil {
			t.Error(err)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Chassis = "11111111-1111-4111-8111-111111111111" }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a chassis that is not there: %v", err)
		}
		if err := s.Store.Update(t.Context(), func(tx conductor.Tx) error {
			n := s.N1()
			n.State, n.ResourceClass, n.NetworkData = state.Active, "big", map[string]any{"links": "of an older server"}
			return tx.PutNode(&n)
		}); err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(*conductor.Node){
			"owner":          func(n *conductor.Node) { n.Owner = "other" },
			"resource class": func(n *conductor.Node) { n.ResourceClass = "gpu" },
			"interfaces":     func(n *conductor.Node) { n.Interfaces = map[string]string{"power": "fake"} },
		} {
			if err := s.Change("n1", change); !fault.Has(err, fault.NodeInUse) {
				t.Errorf("%s of an active node: %v", what, err)
			}
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Description = "unaffected" }); err != nil {
			t.Error(err)
		}
	})
}

func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		for _, shard := range []string{"b", "b", "a"} {
			if _, err := s.Create(conductor.Node{Shard: shard}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Shards(t.Context())
		if want := []conductor.Shard{{Name: "b", Count: 2}, {Count: 1}, {Name: "a", Count: 1}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	})
}
