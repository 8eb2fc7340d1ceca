package records_test

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

// How a machine is connected changes only before it is in use, or in maintenance; what belongs to the server never.
func TestPortRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		n := s.N1()
		p := s.Must(&conductor.Port{Node: n.UUID, Address: "52:54:00:AA:00:01", PXE: true}).(*conductor.Port)
		if p.Address != "52:54:00:aa:00:01" || p.Created.IsZero() {
			t.Errorf("port %+v", p)
		}
		time.Sleep(time.Minute)
		same, err := s.UpdateRecord(t.Context(), recordtest.Op, conductor.KindPort, p.UUID, func(r conductor.Record) error {
			r.(*conductor.Port).Extra = map[string]any{} // as none
			return nil
		})
		if err != nil || !same.Top().Updated.IsZero() {
			t.Errorf("changed to what it is: %+v, %v", same, err)
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
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = c.state, c.hands })
			if err := s.Amend(p, func(r conductor.Record) { r.(*conductor.Port).Link = nil; c.do(r) }); (err == nil) != c.want {
				t.Errorf("%s, maintenance %t: %v", c.state, c.hands, err)
			}
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = state.Enroll, false })
			if err := s.Amend(p, func(r conductor.Record) {
				r.(*conductor.Port).Link, r.(*conductor.Port).Address = nil, "52:54:00:aa:00:01"
			}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Record(t.Context(), conductor.KindPort, strings.ToUpper(p.UUID))
		if err != nil || got.(*conductor.Port).InternalInfo != nil || !got.Top().Created.Equal(p.Created) {
			t.Errorf("port %+v, %v", got, err)
		}
		if err := s.Store.Update(t.Context(), func(tx conductor.Tx) error {
			p := *got.(*conductor.Port)
			p.InternalInfo = map[string]any{"tenant_vif_port_id": "v"}
			return tx.PutRecord(&p)
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove(p); !fault.Is(err, fault.Conflict) {
			t.Errorf("a port with a VIF is deleted: %v", err)
		}
		s.Stand("n1", func(n *conductor.Node) { n.Maintenance = true })
		if err := s.Remove(p); err != nil {
			t.Error(err)
		}
	})
}

func TestPortgroupRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		n := s.N1()
		other, err := s.Create(conductor.Node{Name: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		g := s.Must(&conductor.Portgroup{Head: conductor.Head{Name: "bond0"}, Node: n.UUID, Standalone: true, PhysicalNet: "lan", Address: "52:54:00:BB:00:01"}).(*conductor.Portgroup)
		alone := s.Must(&conductor.Portgroup{Node: n.UUID}).(*conductor.Portgroup)
		p := s.Must(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:01", Group: g.UUID, PXE: true, PhysicalNet: "lan"})
		for what, c := range map[string]struct {
			err  error
			want fault.Code
		}{
			"a group of another node":       {recordtest.Failed(s.Add(&conductor.Port{Node: other.UUID, Address: "52:54:00:aa:00:02", Group: g.UUID, PhysicalNet: "lan"})), fault.Invalid},
			"an unknown group":              {recordtest.Failed(s.Add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: n.InstanceUUID + "x"})), fault.Invalid},
			"another network":               {recordtest.Failed(s.Add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: g.UUID, PhysicalNet: "wan"})), fault.Conflict},
			"boot from a port that may not": {recordtest.Failed(s.Add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:02", Group: alone.UUID, PXE: true})), fault.Conflict},
			"no standalone ports any more":  {s.Amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).Standalone = false }), fault.Conflict},
			"deleted with a port":           {s.Remove(g), fault.Invalid},
			"a taken name":                  {recordtest.Failed(s.Add(&conductor.Portgroup{Head: conductor.Head{Name: "bond0"}, Node: n.UUID})), fault.Conflict},
			"a taken address":               {recordtest.Failed(s.Add(&conductor.Portgroup{Node: n.UUID, Address: "52:54:00:bb:00:01"})), fault.Conflict},
			"a network its members are not on": {func() error {
				s.Must(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:03", Group: alone.UUID, PhysicalNet: "lan"})
				return recordtest.Failed(s.Add(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:04", Group: alone.UUID}))
			}(), fault.Conflict},
			"no such node": {recordtest.Failed(s.Add(&conductor.Portgroup{Node: "nobody"})), fault.Invalid},
		} {
			if !fault.Is(c.err, c.want) {
				t.Errorf("%s: %v", what, c.err)
			}
		}
		if err := s.Amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).PhysicalNet = "wan" }); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Record(t.Context(), conductor.KindPort, p.Top().UUID); err != nil || r.(*conductor.Port).PhysicalNet != "wan" {
			t.Errorf("the port did not follow its group: %+v, %v", r, err)
		}
		if err := s.Remove(p); err != nil {
			t.Error(err)
		}
		if err := s.Remove(g); err != nil {
			t.Error(err)
		}
	})
}

// How the group of an instance's ports is connected changes when theirs may, and what follows for them is audited.
func TestPortgroupsOfAnInstanceStayAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		n := s.N1()
		g := s.Must(&conductor.Portgroup{Node: n.UUID, Standalone: true, PhysicalNet: "lan", Address: "52:54:00:bb:00:01", Mode: "active-backup"})
		p := s.Must(&conductor.Port{Node: n.UUID, Address: "52:54:00:aa:00:01", Group: g.Top().UUID, PhysicalNet: "lan"})
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
				s.Stand("n1", func(n *conductor.Node) { n.State = at })
				if err := s.Amend(g, do); !fault.Has(err, fault.NodeInUse) {
					t.Errorf("%s in %s: %v", what, at, err)
				}
			}
			if r, err := s.Record(t.Context(), conductor.KindPort, p.Top().UUID); err != nil || r.(*conductor.Port).PhysicalNet != "lan" {
				t.Errorf("%s: the port is %+v, %v", what, r, err)
			}
		}
		s.Stand("n1", func(n *conductor.Node) { n.State = state.Active })
		if err := s.Amend(g, func(r conductor.Record) { r.(*conductor.Portgroup).Extra = map[string]any{"a": 1} }); err != nil {
			t.Errorf("extra, which wires nothing: %v", err)
		}
		s.Stand("n1", func(n *conductor.Node) { n.Maintenance = true })
		time.Sleep(time.Minute)
		if err := s.Amend(g, func(r conductor.Record) { changes["physical_network"](r.(*conductor.Portgroup)) }); err != nil {
			t.Errorf("in maintenance: %v", err)
		}
		r, err := s.Record(t.Context(), conductor.KindPort, p.Top().UUID)
		if err != nil || r.(*conductor.Port).PhysicalNet != "wan" || !r.Top().Updated.Equal(time.Now()) {
			t.Errorf("the port did not follow: %+v, %v", r, err)
		}
		if !slices.ContainsFunc(s.Audited(), func(a conductor.Audit) bool {
			return a.Act == "port.update" && a.Detail["uuid"] == p.Top().UUID && a.Actor == recordtest.Op.Name && a.Detail["physical_network"] == "wan"
		}) {
			t.Errorf("the port's change is not audited: %+v", s.Audited())
		}
		for what, change := range changes {
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Maintenance = state.Manageable, false })
			if err := s.Amend(g, func(r conductor.Record) { change(r.(*conductor.Portgroup)) }); err != nil {
				t.Errorf("%s in manageable: %v", what, err)
			}
		}
	})
}

func TestChassisAndVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := recordtest.Open(t, time.Now)
		c := s.Must(&conductor.Chassis{})
		if err := s.Change("n1", func(n *conductor.Node) { n.Chassis = "00000000-0000-4000-8000-00000000ffff" }); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("an unknown chassis: %v", err)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Chassis = c.Top().UUID }); err != nil {
			t.Error(err)
		}
		if err := s.Remove(c); !fault.Has(err, fault.ChassisNotEmpty) {
			t.Errorf("a chassis with a node is deleted: %v", err)
		}
		n := s.N1()
		target := s.Must(&conductor.Target{Node: n.UUID, Type: "iscsi", Volume: "v", BootIndex: 0})
		if _, err := s.Add(&conductor.Target{Node: n.UUID, Type: "iscsi", Volume: "w", BootIndex: 0}); !fault.Has(err, fault.RecordExists) {
			t.Errorf("two targets to boot from: %v", err)
		}
		connector := s.Must(&conductor.Connector{Node: n.UUID, Type: "iqn", ID: "a"})
		if _, err := s.Add(&conductor.Connector{Node: n.UUID, Type: "iqn", ID: "a"}); !fault.Has(err, fault.RecordExists) {
			t.Errorf("two connectors of a name: %v", err)
		}
		for _, r := range []conductor.Record{target, connector} {
			s.Stand("n1", func(n *conductor.Node) { n.State, n.Power = state.Active, conductor.PowerOn })
			if err := s.Amend(r, func(conductor.Record) {}); !fault.Has(err, fault.VolumeInUse) {
				t.Errorf("changed while the machine is on: %v", err)
			}
			if err := s.Remove(r); !fault.Has(err, fault.VolumeInUse) {
				t.Errorf("deleted while the machine is on: %v", err)
			}
			s.Stand("n1", func(n *conductor.Node) { n.Power = conductor.PowerOff })
			if err := s.Amend(r, func(conductor.Record) {}); err != nil {
				t.Error(err)
			}
			if err := s.Remove(r); err != nil {
				t.Error(err)
			}
		}
	})
}
