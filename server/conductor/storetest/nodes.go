package storetest

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func testNodeRoundTrip(t *testing.T, s suite) {
	want := Node(1)
	s.create(want)
	if want.Version != 1 {
		t.Errorf("version %d after creation, want 1", want.Version)
	}
	if err := s.Update(t.Context(), func(tx conductor.Tx) error {
		p := port(1)
		return tx.CreateRecord(p)
	}); err != nil {
		t.Fatal(err)
	}
	s.view(func(tx conductor.Tx) error {
		byID, err := tx.Node(want.UUID)
		if err != nil {
			return err
		}
		byName, err := tx.NodeByName(want.Name)
		if err != nil {
			return err
		}
		byAddress, err := tx.NodeByAddress(strings.ToUpper(port(1).Address))
		if err != nil {
			return err
		}
		for _, got := range []conductor.Node{byID, byName, byAddress} {
			s.same(got, want)
			if got.Version != 1 {
				t.Errorf("version %d, want 1", got.Version)
			}
		}
		byID.Extra["rack"] = "changed"
		again, err := tx.Node(want.UUID)
		if err != nil {
			return err
		}
		s.same(again, want) // getters give copies
		for _, err := range []error{
			second(tx.Node(ID(9))), second(tx.NodeByName("nobody")), second(tx.NodeByName("")), second(tx.NodeByAddress("02:00:00:00:00:99")),
		} {
			s.has(err, fault.NodeNotFound)
		}
		return nil
	})
}

func second[T any](_ T, err error) error { return err }

func testNodeUnique(t *testing.T, s suite) {
	first := Node(1)
	first.InstanceUUID = "i-1"
	nameless, nameless2 := Node(2), Node(3)
	nameless.Name, nameless2.Name = "", ""
	s.create(first, nameless, nameless2) // no name and no instance collide with nothing
	for what, change := range map[string]func(*conductor.Node){
		"UUID":     func(n *conductor.Node) { n.UUID = first.UUID },
		"name":     func(n *conductor.Node) { n.Name = first.Name },
		"instance": func(n *conductor.Node) { n.InstanceUUID = first.InstanceUUID },
	} {
		n := Node(4)
		change(n)
		s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.CreateNode(n) }), fault.NodeExists)
		if what == "UUID" {
			continue
		}
		n = Node(2)
		n.Version = 1
		change(n)
		s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutNode(n) }), fault.NodeExists)
		if n.Version != 1 {
			t.Errorf("%s: version raised to %d by a refused put", what, n.Version)
		}
	}
	// A refused creation leaves the rest of its transaction to fn.
	s.update(func(tx conductor.Tx) error {
		s.has(tx.CreateNode(Node(1)), fault.NodeExists)
		return tx.CreateNode(Node(5))
	})
	s.node(ID(5))
}

func testEachNode(t *testing.T, s suite) {
	idle, leased, flow, ended := Node(4), Node(3), Node(2), Node(1)
	for _, n := range []*conductor.Node{idle, leased, flow, ended} {
		n.Lease, n.Flow = nil, nil
	}
	leased.Lease = &conductor.Lease{Number: 1, Holder: conductor.HolderPower}
	flow.Flow = &conductor.Flow{Run: "r"} // of a phase that is not known: work all the more
	ended.Flow = &conductor.Flow{Run: "r", Phase: conductor.PhaseEnded}
	s.create(idle, leased, flow, ended)
	expect := func(want ...any) {
		t.Helper()
		var got []any
		s.view(func(tx conductor.Tx) error {
			return tx.EachNode(func(id conductor.NodeID, open bool) { got = append(got, id, open) })
		})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	expect(idle.UUID, false, leased.UUID, true, flow.UUID, true, ended.UUID, false)
	s.update(func(tx conductor.Tx) error {
		n, err := tx.Node(flow.UUID)
		if err != nil {
			return err
		}
		n.Flow.Phase = conductor.PhaseEnded
		return tx.PutNode(&n)
	})
	expect(idle.UUID, false, leased.UUID, true, flow.UUID, false, ended.UUID, false)
}

func testNodes(t *testing.T, s suite) {
	yes, no, group := true, false, ""
	a, b, c, d := Node(3), Node(1), Node(2), Node(4) // creation order is not the order of the UUIDs
	a.Name, b.Name, c.Name, d.Name = "delta", "alpha", "", "charlie"
	b.State, b.InstanceUUID, b.Group = state.Active, "i-1", "g1"
	c.Driver, c.Maintenance, c.Description, c.Fault = "fake-hardware", true, "100%_sure", "power failure"
	d.Description = ""
	d.Retired, d.ResourceClass, d.Owner = true, "gpu", "Bobby '); DROP TABLE nodes;--"
	a.Lessee, b.Shard, c.Shard, d.Shard, d.Parent, b.Chassis, b.InstanceName = d.Owner, "s1", "s,2", "s3", a.UUID, string(ID(77)), "web-1"
	s.create(a, b, c, d)
	all := []*conductor.Node{a, b, c, d}
	for _, k := range []struct {
		name   string
		filter conductor.NodeFilter
		want   []*conductor.Node
	}{
		{"all, by creation", conductor.NodeFilter{}, all},
		{"descending", conductor.NodeFilter{Descending: true}, []*conductor.Node{d, c, b, a}},
		{"state", conductor.NodeFilter{State: "active"}, []*conductor.Node{b}},
		{"driver", conductor.NodeFilter{Driver: "fake-hardware"}, []*conductor.Node{c}},
		{"class", conductor.NodeFilter{ResourceClass: "gpu"}, []*conductor.Node{d}},
		{"empty group", conductor.NodeFilter{Group: &group}, []*conductor.Node{a, c, d}},
		{"owner", conductor.NodeFilter{Owner: d.Owner}, []*conductor.Node{d}},
		{"instance", conductor.NodeFilter{InstanceUUID: "i-1"}, []*conductor.Node{b}},
		{"fault", conductor.NodeFilter{Fault: "power failure"}, []*conductor.Node{c}},
		{"description, wild cards are letters", conductor.NodeFilter{Description: new("0%_S")}, []*conductor.Node{c}},
		{"description, no match", conductor.NodeFilter{Description: new("%")}, []*conductor.Node{c}},
		{"description, any", conductor.NodeFilter{Description: new("")}, []*conductor.Node{a, b, c}},
		{"associated", conductor.NodeFilter{Associated: &yes}, []*conductor.Node{b}},
		{"not associated", conductor.NodeFilter{Associated: &no}, []*conductor.Node{a, c, d}},
		{"maintenance", conductor.NodeFilter{Maintenance: &yes}, []*conductor.Node{c}},
		{"not retired", conductor.NodeFilter{Retired: &no}, []*conductor.Node{a, b, c}},
		{"lessee", conductor.NodeFilter{Lessee: d.Owner}, []*conductor.Node{a}},
		{"project, as owner or lessee", conductor.NodeFilter{Project: d.Owner}, []*conductor.Node{a, d}},
		{"chassis", conductor.NodeFilter{Chassis: string(ID(77))}, []*conductor.Node{b}},
		{"instance name", conductor.NodeFilter{InstanceName: "web-1"}, []*conductor.Node{b}},
		{"children", conductor.NodeFilter{Parent: a.UUID}, []*conductor.Node{d}},
		{"no children", conductor.NodeFilter{Roots: true}, []*conductor.Node{a, b, c}},
		{"shards", conductor.NodeFilter{Shards: []string{"s1", "s,2"}}, []*conductor.Node{b, c}},
		{"no shard named", conductor.NodeFilter{Shards: []string{}}, nil},
		{"sharded", conductor.NodeFilter{Sharded: &yes}, []*conductor.Node{b, c, d}},
		{"not sharded", conductor.NodeFilter{Sharded: &no}, []*conductor.Node{a}},
		{"by shard", conductor.NodeFilter{SortKey: "shard", Descending: true}, []*conductor.Node{d, b, c, a}},
		{"two at once", conductor.NodeFilter{Retired: &no, Associated: &no}, []*conductor.Node{a, c}},
		{"limit", conductor.NodeFilter{Limit: 2}, []*conductor.Node{a, b}},
		{"next page", conductor.NodeFilter{Limit: 2, After: b.UUID}, []*conductor.Node{c, d}},
		{"page before", conductor.NodeFilter{Descending: true, After: c.UUID}, []*conductor.Node{b, a}},
		{"by name", conductor.NodeFilter{SortKey: "name"}, []*conductor.Node{c, b, d, a}},
		{"by name after a page", conductor.NodeFilter{SortKey: "name", After: b.UUID, Limit: 1}, []*conductor.Node{d}},
		{"by name after a nameless one", conductor.NodeFilter{SortKey: "name", After: c.UUID}, []*conductor.Node{b, d, a}},
		{"by power, all equal: by creation", conductor.NodeFilter{SortKey: "power_state", After: a.UUID}, []*conductor.Node{b, c, d}},
		{"by time", conductor.NodeFilter{SortKey: "created_at", Descending: true}, []*conductor.Node{d, a, c, b}},
		{"nothing", conductor.NodeFilter{State: "active", Driver: "fake-hardware"}, nil},
	} {
		s.view(func(tx conductor.Tx) error {
			got, err := tx.Nodes(k.filter)
			if err != nil {
				return err
			}
			var gotIDs, wantIDs []conductor.NodeID
			for _, n := range got {
				gotIDs = append(gotIDs, n.UUID)
			}
			for _, n := range k.want {
				wantIDs = append(wantIDs, n.UUID)
			}
			if !slices.Equal(gotIDs, wantIDs) {
				t.Errorf("%s: got %v, want %v", k.name, gotIDs, wantIDs)
			}
			return nil
		})
	}
	s.view(func(tx conductor.Tx) error {
		s.has(second(tx.Nodes(conductor.NodeFilter{After: ID(99)})), fault.NodeNotFound)
		s.has(second(tx.Nodes(conductor.NodeFilter{SortKey: "name; DROP TABLE nodes"})), fault.RequestInvalid)
		return nil
	})
}

func testCompareAndSet(t *testing.T, s suite) {
	s.create(Node(1))
	first, late := s.node(ID(1)), s.node(ID(1))
	first.State = state.Verifying
	s.update(func(tx conductor.Tx) error { return tx.PutNode(&first) })
	if first.Version != 2 {
		t.Errorf("version %d after a put, want 2", first.Version)
	}
	late.State = state.Cleaning
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutNode(&late) }), fault.StateConflict)
	if late.Version != 1 {
		t.Errorf("version raised to %d by a refused put", late.Version)
	}
	if n := s.node(ID(1)); n.State != state.Verifying || n.Version != 2 {
		t.Errorf("state %q, version %d: a late put went through", n.State, n.Version)
	}
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.PutNode(Node(9)) }), fault.NodeNotFound)
}

func testConcurrentCompareAndSet(t *testing.T, s suite) {
	const workers, each = 8, 25
	s.create(Node(1))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				for {
					n := s.node(ID(1))
					n.Generation++
					err := s.Update(t.Context(), func(tx conductor.Tx) error { c := n; return tx.PutNode(&c) })
					if err == nil {
						break
					}
					if !fault.Has(err, fault.StateConflict) {
						t.Errorf("put: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := s.node(ID(1)); n.Generation != 3+workers*each || n.Version != 1+workers*each {
		t.Errorf("generation %d, version %d: %d increments were made", n.Generation, n.Version, workers*each)
	}
}

func testDeleteNode(t *testing.T, s suite) {
	s.create(Node(1), Node(2))
	s.update(func(tx conductor.Tx) error {
		for _, err := range []error{
			tx.CreateRecord(port(1)), tx.PutStep(record(1)), tx.PutSecret(ID(1), "f", []byte("v")),
			tx.AppendHistory(entry(1)), tx.PutInventory(stored(1, true)), tx.AddEffect(effect()),
			tx.PutDefault(priority(conductor.One, string(ID(1)), 1)), tx.PutDefault(priority(conductor.One, string(ID(2)), 1)),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.update(func(tx conductor.Tx) error { return tx.DeleteNode(ID(1)) })
	s.has(s.Update(t.Context(), func(tx conductor.Tx) error { return tx.DeleteNode(ID(1)) }), fault.NodeNotFound)
	s.create(Node(1)) // nothing of the old one returns
	s.view(func(tx conductor.Tx) error {
		s.has(second(tx.Record(conductor.KindPort, port(1).UUID)), fault.PortNotFound)
		s.has(second(tx.Step(record(1).ID)), fault.StepNotFound)
		s.has(second(tx.Secret(ID(1), "f")), fault.SecretNotFound)
		s.has(second(tx.Inventory(ID(1))), fault.InventoryNotFound)
		if h, err := tx.History(ID(1), conductor.HistoryFilter{}); err != nil || len(h) != 0 {
			t.Errorf("history %v, %v", h, err)
		}
		if e, err := tx.Effects(); err != nil || len(e) != 0 {
			t.Errorf("effects %v, %v", e, err)
		}
		if d, err := tx.Defaults(); err != nil || len(d) != 1 || d[0].Scope.Name != string(ID(2)) {
			t.Errorf("defaults %v, %v; want those of the other node", d, err)
		}
		return nil
	})
}
