package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var op = conductor.Caller{Name: "op"}

// stand puts a node's record as it is to be found.
func (s *site) stand(ident string, change func(n *conductor.Node)) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName(ident)
		if err != nil {
			return err
		}
		change(&n)
		return tx.PutNode(&n)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) add(r conductor.Record) (conductor.Record, error) {
	return s.c.CreateRecord(s.t.Context(), op, r)
}

func (s *site) must(r conductor.Record) conductor.Record {
	s.t.Helper()
	r, err := s.add(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) amend(r conductor.Record, change func(conductor.Record)) error {
	_, err := s.c.UpdateRecord(s.t.Context(), op, r.Keys().Kind, r.Keys().UUID, func(r conductor.Record) error { change(r); return nil })
	return err
}

func (s *site) remove(r conductor.Record) error {
	return s.c.DeleteRecord(s.t.Context(), op, r.Keys().Kind, r.Keys().UUID)
}

func (s *site) allocation(id string) *conductor.Allocation {
	s.t.Helper()
	r, err := s.c.Record(s.t.Context(), conductor.KindAllocation, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.(*conductor.Allocation)
}

// How a machine is connected changes only before it is in use, or in maintenance; what belongs to the server never.
func TestPortRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		n := s.node()
		p := s.must(&conductor.Port{Node: n.UUID, Address: "52:54:00:AA:00:01", PXE: true}).(*conductor.Port)
		if p.Address != "52:54:00:aa:00:01" || p.Created.IsZero() {
			t.Errorf("port %+v", p)
		}
		wire := func(r conductor.Record) { r.(*conductor.Port).Link = map[string]any{"port_id": "1"} }
		move := func(r conductor.Record) { r.(*conductor.Port).Address = "52:54:00:aa:00:02" }
		tell := func(r conductor.Record) {
			r.(*conductor.Port).Extra = map[string]any{"a": 1}
			r.(*conductor.Port).InternalInfo = map[string]any{"tenant_vif_port_id": "v"}
			r.Top().UUID, r.Top().Created = "x", time.Time{}
		}
		for _, c := range []struct {
			state state.State
			hands bool
			do    func(conductor.Record)
			want  bool
		}{
			{state.Manageable, false, wire, true}, {state.Available, false, wire, false}, {state.Active, false, wire, false},
			{state.Active, true, wire, true}, {state.Available, false, move, true}, {state.Active, false, move, false},
			{state.Active, true, move, true}, {state.Active, false, tell, true}, {state.Deploying, true, tell, false},
		} {
			s.stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = c.state, c.hands })
			if err := s.amend(p, func(r conductor.Record) { r.(*conductor.Port).Link = nil; c.do(r) }); (err == nil) != c.want {
				t.Errorf("%s, maintenance %t: %v", c.state, c.hands, err)
			}
			s.stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = state.Enroll, false })
			if err := s.amend(p, func(r conductor.Record) {
				r.(*conductor.Port).Link, r.(*conductor.Port).Address = nil, "52:54:00:aa:00:01"
			}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.c.Record(t.Context(), conductor.KindPort, strings.ToUpper(p.UUID))
		if err != nil || got.(*conductor.Port).InternalInfo != nil || !got.Top().Created.Equal(p.Created) {
			t.Errorf("port %+v, %v", got, err)
		}
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			p := *got.(*conductor.Port)
			p.InternalInfo = map[string]any{"tenant_vif_port_id": "v"}
			return tx.PutRecord(&p)
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.remove(p); !fault.Is(err, fault.Conflict) {
			t.Errorf("a port with a VIF is deleted: %v", err)
		}
		s.stand("n1", func(n *conductor.Node) { n.Maintenance = true })
		if err := s.remove(p); err != nil {
			t.Error(err)
		}
	})
}

func TestPortgroupRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		n := s.node()
		other, err := s.create(conductor.Node{Name: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		g := s.must(&conductor.Portgroup{Head: conductor.Head{Name: "bond0"}, Node: n.UUID, Standalone: true, PhysicalNet: "lan", Address: "52:54:00:BB:00:01"}).(*conductor.Portgroup)
		alone := s.must(&conductor.Portgroup{Node: n.UUID}).(*conductor.Portgroup)
		p := s.must(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:01", Group: g.UUID, PXE: true, PhysicalNet: "lan"})
		for what, c := range map[string]struct {
			err  error
			want fault.Code
		}{
			"a group of another node":       {second(s.add(&conductor.Port{Node: other.UUID, Address: "52:54:00:aa:00:02", Group: g.UUID, PhysicalNet: "lan"})), fault.Invalid},
			"an unknown group":              {second(s.add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: n.InstanceUUID + "x"})), fault.Invalid},
			"another network":               {second(s.add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: g.UUID, PhysicalNet: "wan"})), fault.Conflict},
			"boot from a port that may not": {second(s.add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: alone.UUID, PXE: true})), fault.Conflict},
			"no standalone ports any more":  {s.amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).Standalone = false }), fault.Conflict},
			"deleted with a port":           {s.remove(g), fault.Invalid},
			"a taken name":                  {second(s.add(&conductor.Portgroup{Head: conductor.Head{Name: "bond0"}, Node: n.UUID})), fault.Conflict},
			"a taken address":               {second(s.add(&conductor.Portgroup{Node: n.UUID, Address: "52:54:00:bb:00:01"})), fault.Conflict},
			"no such node":                  {second(s.add(&conductor.Portgroup{Node: "nobody"})), fault.Invalid},
		} {
			if !fault.Is(c.err, c.want) {
				t.Errorf("%s: %v", what, c.err)
			}
		}
		if err := s.amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).PhysicalNet = "wan" }); err != nil {
			t.Fatal(err)
		}
		if r, err := s.c.Record(t.Context(), conductor.KindPort, p.Top().UUID); err != nil || r.(*conductor.Port).PhysicalNet != "wan" {
			t.Errorf("the port did not follow its group: %+v, %v", r, err)
		}
		if err := s.remove(p); err != nil {
			t.Error(err)
		}
		if err := s.remove(g); err != nil {
			t.Error(err)
		}
	})
}

// How the group of an instance's ports is connected changes when theirs may, and what follows for them is audited.
func TestPortgroupsOfAnInstanceStayAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		n := s.node()
		g := s.must(&conductor.Portgroup{Node: n.UUID, Standalone: true, PhysicalNet: "lan", Address: "52:54:00:bb:00:01", Mode: "active-backup"})
		p := s.must(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:01", Group: g.Top().UUID, PhysicalNet: "lan"})
		changes := map[string]func(*conductor.Portgroup){
			"address":          func(g *conductor.Portgroup) { g.Address = "52:54:00:bb:00:02" },
			"mode":             func(g *conductor.Portgroup) { g.Mode = "802.3ad" },
			"properties":       func(g *conductor.Portgroup) { g.Properties = map[string]any{"miimon": "100"} },
			"physical_network": func(g *conductor.Portgroup) { g.PhysicalNet = "wan" },
			"standalone":       func(g *conductor.Portgroup) { g.Standalone = false },
		}
		for what, change := range changes {
			do := func(r conductor.Record) { change(r.(*conductor.Portgroup)) }
			for _, at := range []state.State{state.Available, state.Active, state.CleanFail} {
				s.stand("n1", func(n *conductor.Node) { n.State = at })
				if err := s.amend(g, do); !fault.Has(err, fault.NodeInUse) {
					t.Errorf("%s in %s: %v", what, at, err)
				}
			}
			if r, err := s.c.Record(t.Context(), conductor.KindPort, p.Top().UUID); err != nil || r.(*conductor.Port).PhysicalNet != "lan" {
				t.Errorf("%s: the port is %+v, %v", what, r, err)
			}
		}
		s.stand("n1", func(n *conductor.Node) { n.State = state.Active })
		if err := s.amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).Extra = map[string]any{"a": 1} }); err != nil {
			t.Errorf("extra, which wires nothing: %v", err)
		}
		s.stand("n1", func(n *conductor.Node) { n.Maintenance = true })
		time.Sleep(time.Minute)
		if err := s.amend(g, func(r conductor.Record) { changes["physical_network"](r.(*conductor.Portgroup)) }); err != nil {
			t.Errorf("in maintenance: %v", err)
		}
		r, err := s.c.Record(t.Context(), conductor.KindPort, p.Top().UUID)
		if err != nil || r.(*conductor.Port).PhysicalNet != "wan" || !r.Top().Updated.Equal(s.now()) {
			t.Errorf("the port did not follow: %+v, %v", r, err)
		}
		if !slices.ContainsFunc(s.audited(), func(a conductor.Audit) bool {
			return a.Act == "port.update" && a.Detail["uuid"] == p.Top().UUID && a.Actor == op.Name && a.Detail["physical_network"] == "wan"
		}) {
			t.Errorf("the port's change is not audited: %+v", s.audited())
		}
		for what, change := range changes {
			s.stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = state.Manageable, false })
			if err := s.amend(g, func(r conductor.Record) { change(r.(*conductor.Portgroup)) }); err != nil {
				t.Errorf("%s in manageable: %v", what, err)
			}
		}
	})
}

func TestChassisAndVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.must(&conductor.Chassis{})
		if err := s.change("n1", func(n *conductor.Node) { n.Chassis = "00000000-0000-4000-8000-00000000ffff" }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("an unknown chassis: %v", err)
		}
		if err := s.change("n1", func(n *conductor.Node) { n.Chassis = c.Top().UUID }); err != nil {
			t.Error(err)
		}
		if err := s.remove(c); !fault.Has(err, fault.ChassisNotEmpty) {
			t.Errorf("a chassis with a node is deleted: %v", err)
		}
		n := s.node()
		target := s.must(&conductor.Target{Node: n.UUID, Type: "iscsi", Volume: "v", BootIndex: 0})
		if _, err := s.add(&conductor.Target{Node: n.UUID, Type: "iscsi", Volume: "w", BootIndex: 0}); !fault.Has(err, fault.RecordExists) {
			t.Errorf("two targets to boot from: %v", err)
		}
		connector := s.must(&conductor.Connector{Node: n.UUID, Type: "iqn", ID: "a"})
		if _, err := s.add(&conductor.Connector{Node: n.UUID, Type: "iqn", ID: "a"}); !fault.Has(err, fault.RecordExists) {
			t.Errorf("two connectors of a name: %v", err)
		}
		for _, r := range []conductor.Record{target, connector} {
			s.stand("n1", func(n *conductor.Node) { n.State, n.Power = state.Active, conductor.PowerOn })
			if err := s.amend(r, func(conductor.Record) {}); !fault.Has(err, fault.VolumeInUse) {
				t.Errorf("changed while the machine is on: %v", err)
			}
			if err := s.remove(r); !fault.Has(err, fault.VolumeInUse) {
				t.Errorf("deleted while the machine is on: %v", err)
			}
			s.stand("n1", func(n *conductor.Node) { n.Power = conductor.PowerOff })
			if err := s.amend(r, func(conductor.Record) {}); err != nil {
				t.Error(err)
			}
			if err := s.remove(r); err != nil {
				t.Error(err)
			}
		}
	})
}

// available puts a node where an allocation finds it.
func available(n *conductor.Node) {
	n.State, n.Power, n.ResourceClass, n.Traits = state.Available, conductor.PowerOff, "gold", []string{"CUSTOM_A", "CUSTOM_B"}
}

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
			s := newSite(t)
			if _, err := s.create(conductor.Node{Name: "n2"}); err != nil {
				t.Fatal(err)
			}
			s.stand("n1", available)
			if c.stand != nil {
				s.stand("n1", c.stand)
			}
			ask := &conductor.Allocation{Class: "gold"}
			if c.ask != nil {
				c.ask(ask)
			}
			traits := slices.Clone(ask.Traits)
			a := s.must(ask).(*conductor.Allocation)
			synctest.Wait()
			got, n := s.allocation(a.UUID), s.node()
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
		s := newSite(t)
		for _, name := range []string{"n2", "n3", "n4"} {
			if _, err := s.create(conductor.Node{Name: name}); err != nil {
				t.Fatal(err)
			}
			s.stand(name, available)
		}
		s.stand("n1", available)
		own := s.must(&conductor.Allocation{Head: conductor.Head{Name: "n3"}, Class: "gold"})
		synctest.Wait()
		n3, err := s.c.Node(t.Context(), "n3")
		if err != nil || s.allocation(own.Top().UUID).Node != n3.UUID {
			t.Errorf("the node of that name was not taken: %v", err)
		}
		var all []string
		for range 4 {
			all = append(all, s.must(&conductor.Allocation{Class: "gold"}).Top().UUID)
		}
		synctest.Wait()
		seen, failed := map[conductor.NodeID]bool{n3.UUID: true}, 0
		for _, id := range all {
			a := s.allocation(id)
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

// What was allocating when the server stopped is settled by the next one.
func TestAllocationSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.stand("n1", available)
		s.stop()
		s.start()
		synctest.Wait() // it has looked for wishes
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			return tx.CreateRecord(&conductor.Allocation{Head: conductor.Head{UUID: "a"}, Class: "gold", State: conductor.Allocating})
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // nobody told the engine
		if a := s.allocation("a"); a.State != conductor.Allocating {
			t.Fatalf("settled by nobody: %+v", a)
		}
		s.stop()
		s.start()
		synctest.Wait()
		if a := s.allocation("a"); a.State != conductor.AllocationOn {
			t.Errorf("after the restart %+v", a)
		}
	})
}

// The store's absence does not lose a wish.
func TestAllocationOutlastsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.stand("n1", available)
		a := &conductor.Allocation{Class: "gold"}
		away := fault.New(fault.StorageUnavailable, "away")
		s.fault.set(func(context.Context) error { return away }, nil, nil)
		if _, err := s.add(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s.fault.set(nil, nil, nil)
		time.Sleep(time.Minute)
		if got := s.allocation(a.UUID); got.State != conductor.AllocationOn {
			t.Errorf("%+v", got)
		}
	})
}

// A wish that can't be carried out, because what would be its instance is another node's, ends in error and stops no
// other; where that is known when it is asked for, it is refused.
func TestI13_AllocationThatCanNotBeStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const taken = "11111111-1111-4111-8111-111111111111"
		s := newSite(t)
		if _, err := s.create(conductor.Node{Name: "n2"}); err != nil {
			t.Fatal(err)
		}
		s.stand("n2", func(n *conductor.Node) { n.InstanceUUID = taken })
		if _, err := s.add(&conductor.Allocation{Head: conductor.Head{UUID: taken}, Class: "gold"}); err == nil || fault.From(err).Code.Status() != 409 {
			t.Errorf("an allocation with an instance's UUID: %v", err)
		}
		s.stand("n1", available)
		if err := s.store.Update(t.Context(), func(tx conductor.Tx) error { // the instance came after the wish
			return tx.CreateRecord(&conductor.Allocation{Head: conductor.Head{UUID: taken}, Class: "gold", State: conductor.Allocating})
		}); err != nil {
			t.Fatal(err)
		}
		a := s.must(&conductor.Allocation{Class: "gold"})
		time.Sleep(time.Minute)
		if got := s.allocation(taken); got.State != conductor.AllocationError || !strings.Contains(got.LastError, "another node") {
			t.Errorf("the wish that can't be: %+v", got)
		}
		if got := s.allocation(a.Top().UUID); got.State != conductor.AllocationOn {
			t.Errorf("the other: %+v", got)
		}
	})
}

// An allocation is freed with its node or by its own deletion, and keeps the instance while one is there.
func TestAllocationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.stand("n1", available)
		a := s.must(&conductor.Allocation{Class: "gold"})
		synctest.Wait()
		id := a.Top().UUID
		if err := s.change("n1", func(n *conductor.Node) { n.InstanceUUID = "" }); !fault.Has(err, fault.NodeInUse) {
			t.Errorf("the instance of an allocation is taken away: %v", err)
		}
		for _, st := range []state.State{state.Active, state.Deploying, state.Deleting} {
			s.stand("n1", func(n *conductor.Node) {
				if n.State = st; st != state.Active {
					n.Target = state.Active
				}
			})
			if err := s.remove(a); !fault.Has(err, fault.NodeInUse) {
				t.Errorf("deleted in %s: %v", st, err)
			}
		}
		s.stand("n1", func(n *conductor.Node) { n.State = state.DeployFail })
		if err := s.remove(a); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Allocation != "" || n.InstanceUUID != "" {
			t.Errorf("the node still belongs to %q, %q", n.InstanceUUID, n.Allocation)
		}
		if _, err := s.c.Record(t.Context(), conductor.KindAllocation, id); !fault.Has(err, fault.AllocationNotFound) {
			t.Errorf("after the deletion: %v", err)
		}
		// Undeploying the node ends it too.
		s.stand("n1", func(n *conductor.Node) { n.State, n.Target = state.Active, "" })
		b := s.must(&conductor.Allocation{Node: s.node().UUID, Traits: []string{"CUSTOM_A"}}).(*conductor.Allocation)
		if got, err := s.c.NodeAllocation(t.Context(), "n1"); err != nil || got.UUID != b.UUID || b.State != conductor.AllocationOn || b.Class != "gold" {
			t.Fatalf("backfilled %+v, %v", got, err)
		}
		if _, err := s.add(&conductor.Allocation{Node: s.node().UUID}); !fault.Is(err, fault.Conflict) {
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

func TestAllocationBackfillRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.stand("n1", available)
		n := s.node()
		_, err := s.add(&conductor.Allocation{Node: n.UUID, Class: "silver", Traits: []string{"CUSTOM_C"}})
		if !fault.Has(err, fault.AllocationFailed) {
			t.Fatal(err)
		}
		for _, part := range []string{`must be in the "active" state`, "Resource class gold does not match", "List of traits CUSTOM_A, CUSTOM_B"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not told: %v", part, err)
			}
		}
		if _, err := s.add(&conductor.Allocation{}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("without a class: %v", err)
		}
		if _, err := s.add(&conductor.Allocation{Class: "gold", Candidates: []conductor.NodeID{"nobody"}}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("an unknown candidate: %v", err)
		}
	})
}

func TestShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for _, shard := range []string{"b", "b", "a"} {
			if _, err := s.create(conductor.Node{Shard: shard}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.c.Shards(t.Context())
		if want := []conductor.Shard{{Name: "b", Count: 2}, {Count: 1}, {Name: "a", Count: 1}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	})
}
