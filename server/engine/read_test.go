package engine_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var cardMACs = []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"}

// telling is what a board says that it is made of.
type telling struct {
	tells func(context.Context) error // what comes before each answer
	parts conductor.Found
}

func (b *board) Inspect(ctx context.Context) (conductor.Found, error) {
	b.mu.Lock()
	tells, parts := b.tells, b.parts
	parts.Inventory.SystemVendor.UUID = b.uuid
	b.mu.Unlock()
	if tells != nil {
		if err := tells(ctx); err != nil {
			return conductor.Found{}, err
		}
	}
	return parts, b.call("")
}

// readable is a site in manageable whose node is inspected through its BMC, which tells of one drive and the cards.
func readable(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.board.parts = conductor.Found{Ports: cardMACs, Inventory: inventory.Inventory{
		CPU: inventory.CPU{Architecture: "x86_64", Count: 8}, Memory: inventory.Memory{PhysicalMB: 32768},
		Disks: []inventory.Disk{{Name: "Bay 1", Serial: "S0", Size: 8 << 30, Class: inventory.ClassUnknown}},
	}}
	s.manageable()
	s.byBMC()
	return s
}

func (s *site) inspectBy(name string) {
	s.t.Helper()
	_, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{Name: "op"}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.Interfaces = map[string]string{"inspect": name}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) byBMC() { s.inspectBy("redfish") }

// answers sets what comes before each answer of what the machine is made of.
func (b *board) answers(told func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tells = told
}

// shows tells whether GET inventory gives what the BMC told.
func (s *site) shows(outOfBand bool) {
	s.t.Helper()
	i, err := s.c.Inventory(s.t.Context(), "n1")
	if err != nil || i.OutOfBand != outOfBand || i.Accepted == outOfBand {
		s.t.Errorf("the inventory that is shown: out of band %t, accepted %t, %v", i.OutOfBand, i.Accepted, err)
	}
}

func (s *site) ports() (out []string) {
	s.t.Helper()
	all, err := s.c.Records(s.t.Context(), conductor.KindPort, conductor.RecordFilter{Node: s.node().UUID})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range all {
		p := r.(*conductor.Port)
		out = append(out, p.Address)
		if !p.PXE || p.Created.IsZero() {
			s.t.Errorf("port %+v", p)
		}
	}
	return out
}

// The whole of it: what the BMC told is kept and shown, cards get ports, and the machine is left alone.
func TestInspectionThroughTheBMC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		for name, mac := range map[string]string{"n1": cardMACs[1], "n2": cardMACs[2]} { // an operator made one; another is of another machine
			if name == "n2" {
				if _, err := s.c.CreateNode(t.Context(), conductor.Caller{}, conductor.Node{Name: name, Driver: "rack"}, nil); err != nil {
					t.Fatal(err)
				}
			}
			n, err := s.c.Node(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.c.CreateRecord(t.Context(), conductor.Caller{}, &conductor.Port{Node: n.UUID, Address: mac, PXE: true}); err != nil {
				t.Fatal(err)
			}
		}
		s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease ran out")) // I16: reading is no act
		acts := len(s.board.did())
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		n := s.until(state.Manageable)
		s.doubt.Store(nil)
		if n.LastError != "" || n.InspectionFinished.IsZero() || n.Boot != nil || n.Generation != 0 {
			t.Errorf("%s, boot %+v", n.LastError, n.Boot)
		}
		if done := s.board.did()[acts:]; len(done) > 0 {
			t.Errorf("done to the machine: %v", done)
		}
		stored, err := s.c.Inventory(t.Context(), "n1")
		var inv inventory.Inventory
		if err == nil {
			err = json.Unmarshal(stored.Inventory, &inv)
		}
		if err != nil || len(inv.Disks) != 1 || inv.Disks[0].Name != "Bay 1" || stored.Plugin["inspect_interface"] != "redfish" {
			t.Errorf("%+v, %v", stored, err)
		}
		s.shows(true)
		if got := s.ports(); !slices.Equal(got, []string{cardMACs[1], cardMACs[0]}) {
			t.Errorf("ports %v", got)
		}
		history, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 50})
		if err != nil || !slices.ContainsFunc(history, func(e conductor.Entry) bool {
			return e.Reason == fault.PortExists && strings.Contains(e.Event, cardMACs[2])
		}) {
			t.Errorf("nothing says that another node has the card: %v", err)
		}
		if !slices.ContainsFunc(s.Audited(), func(a conductor.Audit) bool {
			return a.Act == "port.create" && a.Actor == "server" && a.Request == "req-1" && a.Detail["mark"] == cardMACs[0]
		}) {
			t.Error("the port is not audited")
		}
		s.provision(conductor.Provision{Verb: state.VerbInspect}) // again changes nothing
		s.until(state.Manageable)
		if got := s.ports(); len(got) != 2 {
			t.Errorf("ports %v", got)
		}
	})
}

// A server that stops in the middle asks again when it is back, and what it asked before counts for nothing (F1).
func TestF01_AnInspectionThroughTheBMCOutlastsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		s.board.answers(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		synctest.Wait()
		s.stop()
		s.board.answers(nil)
		s.start()
		if n := s.until(state.Manageable); n.Properties["cpu_arch"] != "x86_64" || n.LastError != "" {
			t.Errorf("%v, %s", n.Properties, n.LastError)
		}
		s.shows(true)
	})
}

// A BMC that is busy or away is asked again, and shown meanwhile; in the end the node is inspect failed with the reason. One
// that refuses is not asked again (I14, F21, F22).
func TestF21_F22_InspectionOfADeadBMC(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		once   bool
	}{
		"away": {fault.New(fault.BMCUnreachable, "no answer"), false}, "busy": {fault.New(fault.BMCBusy, "later"), false},
		"credentials": {fault.New(fault.BMCAuth, "wrong password"), true}, "another machine": {fault.New(fault.BMCOtherMachine, "b2"), true},
		"too much": {fault.New(fault.BMCTooLarge, "endless"), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := readable(t)
				asked := 0
				s.board.answers(func(context.Context) error { asked++; return c.answer })
				began := time.Now()
				s.provision(conductor.Provision{Verb: state.VerbInspect})
				synctest.Wait()
				if n := s.node(); !c.once && (n.State != state.Inspecting || !strings.Contains(n.Flow.Wait.Evidence, fault.From(c.answer).Message)) {
					t.Errorf("%s, %+v", n.State, n.Flow.Wait)
				}
				n := s.until(state.InspectFail)
				took, limit := time.Since(began), conductor.DefaultTimeouts().BMC
				if n.LastReason != fault.From(c.answer).Reason || c.once != (asked == 1) || c.once && took > time.Second || !c.once && (took < limit || took > limit+5*time.Minute) {
					t.Errorf("%s after %s and %d tries", n.LastError, took, asked)
				}
				if _, err := s.c.Inventory(t.Context(), "n1"); !fault.Has(err, fault.InventoryNotFound) || len(s.ports()) > 0 || n.Properties["cpu_arch"] != nil {
					t.Errorf("something was kept: %v, %v, %v", err, s.ports(), n.Properties)
				}
				s.board.answers(nil)
				s.provision(conductor.Provision{Verb: state.VerbInspect})
				s.until(state.Manageable)
			})
		})
	}
}

// A BMC that never ends its answer is left at the deadline (I14).
func TestI14_AnInspectionThroughTheBMCHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		ended := make(chan error, 1)
		s.board.answers(func(ctx context.Context) error { <-ctx.Done(); ended <- ctx.Err(); return ctx.Err() })
		began := time.Now()
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		n := s.until(state.InspectFail)
		if took := time.Since(began); n.LastReason != fault.BMCUnreachable || took > 16*time.Minute {
			t.Errorf("%s after %s", n.LastError, took)
		}
		<-ended // what was asked is called off with it
		synctest.Wait()
		if n := s.node(); n.State != state.InspectFail {
			t.Errorf("%s", n.State)
		}
	})
}

// What ends it from outside: the node is cut off, or deleted. Nothing of what the BMC says afterwards is kept.
func TestAnInspectionThroughTheBMCIsCutOff(t *testing.T) {
	for _, gone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := readable(t)
			s.board.answers(func(ctx context.Context) error { <-ctx.Done(); return nil }) // it does not mind the end
			s.provision(conductor.Provision{Verb: state.VerbInspect})
			synctest.Wait()
			if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err == nil {
				t.Error("a node at work is deleted")
			}
			if err := s.c.SetMaintenance(t.Context(), conductor.Caller{Name: "op"}, "n1", true, "broken"); err != nil {
				t.Fatal(err)
			}
			if gone {
				if err := s.c.DeleteNode(t.Context(), conductor.Caller{}, "n1"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := s.c.Node(t.Context(), "n1"); !fault.Is(err, fault.NotFound) {
					t.Errorf("the node: %v", err)
				}
				if all, err := s.c.Records(t.Context(), conductor.KindPort, conductor.RecordFilter{}); err != nil || len(all) > 0 {
					t.Errorf("ports %v, %v", all, err)
				}
				return
			}
			if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: "power off"}); err != nil {
				t.Fatal(err)
			}
			s.until(state.InspectFail)
			synctest.Wait()
			if n := s.node(); n.State != state.InspectFail || len(s.ports()) > 0 || n.Properties["cpu_arch"] != nil {
				t.Errorf("%s, ports %v, properties %v", n.State, s.ports(), n.Properties)
			}
		})
	}
}

// F24: the machine that a BMC tells of is the one that was verified, or nothing of it is kept.
func TestF24_AnInspectionThroughTheBMCIsOfTheNodesMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.named(ourUUID)
		s.manageable()
		s.byBMC()
		s.board.named(otherUUID)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		if n := s.until(state.InspectFail); n.LastReason != fault.BMCOtherMachine || n.Machine != conductor.IdentityOf(ourUUID, "") {
			t.Errorf("%s, machine %+v", n.LastError, n.Machine)
		}
		if _, err := s.c.Inventory(t.Context(), "n1"); !fault.Has(err, fault.InventoryNotFound) {
			t.Errorf("an inventory of another machine: %v", err)
		}
		if s.board.opened() != conductor.IdentityOf(ourUUID, "") {
			t.Errorf("opened for %+v", s.board.opened())
		}
	})
}

// I5: a disk that the accepted inventory has and the machine lacks is missed, whatever the BMC told since; only a ramdisk's
// inspection accepts another inventory.
func TestI05_WhatTheBMCTellsAcceptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		s.inspectBy("agent")
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.looking()(disk, disk2).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.accepts(disk, disk2)
		s.byBMC()
		s.provision(conductor.Provision{Verb: state.VerbInspect}) // tells of one drive, with the serial number of the first
		s.until(state.Manageable)
		s.shows(true)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.looking()(disk).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		if n := s.until(state.CleanFail); n.LastReason != fault.DiskMissing || !strings.Contains(fault.From(fault.New(n.LastReason, "")).Hint, "inspect_interface agent") {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Maintenance, n.Fault = false, "" }); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.inspectBy("agent")
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.looking()(disk).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.accepts(disk) // and what the BMC told is shown no more
	})
}

// I4, I5: after an inspection through the BMC alone, what the first ramdisk brings is accepted, and its disks are the targets;
// that the BMC told of a disk neither adds one nor is one missed.
func TestI04_TargetsAreNotThoseThatTheBMCTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.until(state.Manageable)
		s.shows(true)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.looking()(disk2).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		id, _ := disk2.ID()
		if cmd := <-s.mail.offers; !slices.Equal(cmd.Devices, []inventory.DeviceID{id}) {
			t.Errorf("%s of %v", cmd.Step, cmd.Devices)
		}
		s.accepts(disk2)
	})
}

// I5: what an agent brings that looks itself up again while the BMC is read is one more lookup, and no inspection's word.
func TestI05_AnAgentBesideAnInspectionThroughTheBMCAcceptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readable(t)
		if err := s.Change("n1", func(n *conductor.Node) { n.DriverInfo["fast_track"] = true }); err != nil {
			t.Fatal(err)
		}
		s.inspectBy("agent")
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		look := s.looking()
		look(disk, disk2).beat(api.HeartbeatRequest{Steps: catalog.InBand})
		s.until(state.Manageable)
		s.byBMC()
		free := make(chan struct{})
		s.board.answers(func(context.Context) error { <-free; return nil })
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		synctest.Wait()
		look(disk)
		s.accepts(disk, disk2)
		close(free)
		if n := s.until(state.Manageable); n.Power != conductor.PowerOn || n.Boot.Ended {
			t.Errorf("power %q, boot %+v: the agent was not left alone", n.Power, n.Boot)
		}
		s.shows(true)
	})
}
