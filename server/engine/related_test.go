package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (s *site) create(n conductor.Node) (conductor.Node, error) {
	n.Driver = "rack"
	return s.c.CreateNode(s.t.Context(), conductor.Caller{Name: "op"}, n, nil)
}

func (s *site) change(ident string, change func(*conductor.Node)) error {
	_, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{Name: "op"}, ident, func(n *conductor.Node, _ map[string]string) error {
		change(n)
		return nil
	})
	return err
}

// A parent is named by name or UUID and kept as UUID; a node is never above itself, and nothing that others are parts of goes.
func TestParents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		top := s.node()
		child, err := s.create(conductor.Node{Name: "dpu", Parent: "n1"})
		if err != nil || child.Parent != top.UUID {
			t.Fatalf("parent is %q: %v", child.Parent, err)
		}
		below, err := s.create(conductor.Node{Name: "port", Parent: child.UUID})
		if err != nil || below.Parent != child.UUID {
			t.Fatalf("parent is %q: %v", below.Parent, err)
		}
		for what, err := range map[string]error{
			"an unknown one": second(s.create(conductor.Node{Name: "x", Parent: "nobody"})),
			"itself":         s.change("n1", func(n *conductor.Node) { n.Parent = "n1" }),
			"its grandchild": s.change("n1", func(n *conductor.Node) { n.Parent = "port" }),
		} {
			if !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s as a parent: %v", what, err)
			}
		}
		deep := below
		for range 8 {
			if deep, err = s.create(conductor.Node{Parent: deep.UUID}); err != nil {
				break
			}
		}
		if !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "more than 8") {
			t.Errorf("a tower of nodes: %v", err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); !fault.Has(err, fault.NodeInUse) || !strings.Contains(err.Error(), "dpu") {
			t.Errorf("a node with a child is deleted: %v", err)
		}
		if err := s.change("dpu", func(n *conductor.Node) { n.Parent = "" }); err != nil {
			t.Error(err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err != nil {
			t.Error(err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestTheInstancesName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if err := s.change("n1", func(n *conductor.Node) { n.InstanceInfo["display_name"] = "web-1" }); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.InstanceName != "web-1" {
			t.Errorf("the name is %q, expected what instance_info shows", n.InstanceName)
		}
		if err := s.change("n1", func(n *conductor.Node) { n.InstanceName = "own" }); err != nil {
			t.Fatal(err)
		}
		if err := s.change("n1", func(n *conductor.Node) { n.InstanceInfo["display_name"] = "web-2" }); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.InstanceName != "own" {
			t.Errorf("the name given is replaced by %q", n.InstanceName)
		}
	})
}

// What a state does not let change is a conflict, and what did not change is not judged again.
func TestWhatAStateLetsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		if err := s.change("n1", func(n *conductor.Node) { n.NetworkData = map[string]any{"links": 1} }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a network that is none: %v", err)
		}
		if err := s.change("n1", func(n *conductor.Node) {
			n.NetworkData = map[string]any{"links": []any{}, "networks": []any{}, "services": []any{}}
		}); err != nil {
			t.Error(err)
		}
		if err := s.change("n1", func(n *conductor.Node) { n.Chassis = "11111111-1111-4111-8111-111111111111" }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("a chassis that is not there: %v", err)
		}
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			n := s.node()
			n.State, n.ResourceClass, n.NetworkData = state.Active, "big", map[string]any{"links": "of an older server"}
			return tx.PutNode(&n)
		}); err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func(*conductor.Node){
			"owner":          func(n *conductor.Node) { n.Owner = "other" },
			"resource class": func(n *conductor.Node) { n.ResourceClass = "gpu" },
			"interfaces":     func(n *conductor.Node) { n.Interfaces = map[string]string{"power": "redfish"} },
		} {
			if err := s.change("n1", change); !fault.Has(err, fault.NodeInUse) {
				t.Errorf("%s of an active node: %v", what, err)
			}
		}
		if err := s.change("n1", func(n *conductor.Node) { n.Description = "unaffected" }); err != nil {
			t.Error(err)
		}
	})
}
