package engine_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

var noRoute = fault.New(fault.BMCUnreachable, "no route to the BMC")

// jam makes power acts come to nothing although the BMC takes them and answers.
func (b *board) jam(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stuck = on
}

// unfenced is a site whose machine could not be powered off after an eraser had failed on it; every is Config.PowerSync.
func unfenced(t *testing.T, every time.Duration, spoil func(*board)) *site {
	t.Helper()
	s := newSite(t)
	s.stop()
	s.sync = every
	s.start()
	a, id := s.erasing()
	spoil(s.board)
	a.fails(id)
	s.until(state.CleanFail)
	time.Sleep(12 * time.Minute)
	s.board.mu.Lock()
	s.board.acts = nil
	s.board.mu.Unlock()
	return s
}

// fails tells that a step failed.
func (a *agent) fails(id step.ID) {
	a.s.t.Helper()
	err := a.s.c.Result(a.s.t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Failed, Fault: &api.Fault{Reason: string(fault.DiskIO), Message: "broken"}})
	if err != nil {
		a.s.t.Fatal(err)
	}
}

func gone(b *board)   { b.answer(noRoute) }
func jammed(b *board) { b.jam(true) }

// What is owed to a machine is stored, told, tried again when its BMC is back, also over a restart of the server and without
// the periodic looks; until then nothing is begun that could meet what still runs there (I8, I10, I13).
func TestI8_I10_AMachineThatCouldNotBePoweredOffIsStillToBe(t *testing.T) {
	for _, every := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := unfenced(t, every, gone)
			n := s.node()
			if n.Owed == nil || n.Owed.Tries == 0 || n.Owed.Reason != fault.BMCUnreachable || n.Owed.Cause == "" || n.Owed.Since.IsZero() || n.Owed.Since.After(n.Owed.Tried) {
				t.Fatalf("what is owed is %+v", n.Owed)
			}
			if n, err := s.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error { n.Owed = nil; return nil }); err != nil || n.Owed == nil {
				t.Errorf("an operator's change of the record takes it away: %v", err)
			}
			d := s.diagnose()
			if i := slices.IndexFunc(d.Problems, func(p api.Problem) bool { return p.Reason == string(fault.NodeNotOff) }); d.Verdict != api.VerdictWrong || i < 0 || d.Problems[i].Hint == "" {
				t.Errorf("the doctor says %+v", d)
			}
			for _, act := range []string{doctor.ActConfirm, doctor.ActPowerOff} {
				if !slices.ContainsFunc(d.Exits, func(e api.Exit) bool { return e.Act == act }) {
					t.Errorf("%s is no way on: %+v", act, d.Exits)
				}
			}
			s.stop()
			time.Sleep(time.Hour)
			s.start()
			s.refuseUnfenced()
			if n := s.node(); n.Fault != "clean failure" {
				t.Errorf("the fault of the clean became %q", n.Fault)
			}
			s.maintenance(false, "")
			s.provision(conductor.Provision{Verb: state.VerbManage})
			s.refuseUnfenced()
			time.Sleep(time.Hour)
			if acts := s.board.did(); len(acts) != 0 {
				t.Errorf("acts upon a machine whose BMC does not answer: %v", acts)
			}
			s.board.answer(nil)
			time.Sleep(20 * time.Minute)
			if n := s.node(); n.Owed != nil || n.Power != conductor.PowerOff || s.board.state() != conductor.PowerOff || s.board.count("eject") == 0 || n.Maintenance {
				t.Fatalf("after the BMC came back: owed %+v, power %q, acts %v, maintenance %v (%s)", n.Owed, n.Power, s.board.did(), n.Maintenance, n.MaintenanceReason)
			}
			if d := s.diagnose(); d.Verdict != api.VerdictWell {
				t.Errorf("the doctor says %+v", d)
			}
			s.provision(conductor.Provision{Verb: state.VerbProvide})
		})
	}
}

// refuseUnfenced checks that nothing is taken that relies on the machine being off.
func (s *site) refuseUnfenced() {
	s.t.Helper()
	who, ctx := conductor.Caller{Name: "op"}, s.t.Context()
	n := s.node()
	for _, v := range []state.Event{state.VerbProvide, state.VerbClean, state.VerbAdopt} {
		if _, ok := state.Next(n.State, v); !ok || n.Maintenance && v == state.VerbClean {
			continue
		}
		p := conductor.Provision{Verb: v, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}}
		if v != state.VerbClean {
			p.CleanSteps = nil
		}
		if err := s.c.Provision(ctx, who, "n1", p); !fault.Has(err, fault.NodeNotOff) || fault.From(err).Hint == "" {
			s.t.Errorf("%s in %q gives %v", v, n.State, err)
		}
	}
	for _, p := range []string{"power on", "rebooting"} {
		if err := s.c.SetPower(ctx, who, "n1", conductor.PowerRequest{Target: p}); !fault.Has(err, fault.NodeNotOff) {
			s.t.Errorf("%s gives %v", p, err)
		}
	}
	if n.Maintenance || n.State != state.Manageable {
		return // the one is TestF40_I27_..., the other upstream's own refusal
	}
	if err := s.c.DeleteNode(ctx, who, "n1"); !fault.Has(err, fault.NodeNotOff) {
		s.t.Errorf("the deletion gives %v", err)
	}
}

// A BMC that answers and does not do what it is told is told again, ever more seldom (I28).
func TestI16_F25_WhatIsOwedIsTriedEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unfenced(t, time.Minute, jammed)
		before := len(s.Audited())
		time.Sleep(24 * time.Hour)
		n := s.node()
		if n.Owed == nil || n.Owed.Tries < 20 || n.Owed.Tries > 40 || n.Owed.Reason != fault.BMCPower {
			t.Errorf("after a day what is owed is %+v", n.Owed)
		}
		if more := len(s.Audited()) - before; more < 15 || more > 40 {
			t.Errorf("%d entries in the audit", more)
		}
		list, err := s.c.History(t.Context(), "n1", conductor.HistoryFilter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, e := range list {
			if strings.HasPrefix(e.Event, "after the work ended:") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the history tells %d times of the same", told)
		}
		s.board.jam(false)
		time.Sleep(2 * time.Hour)
		if n := s.node(); n.Owed != nil || s.board.state() != conductor.PowerOff {
			t.Errorf("once it does: owed %+v", n.Owed)
		}
	})
}

// A power off that an operator asks for does what is owed at once, the medium with it.
func TestF40_AnOperatorsPowerOffDoesWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unfenced(t, 0, jammed)
		s.board.jam(false)
		if err := s.c.Treat(t.Context(), conductor.Caller{Name: "ann"}, "n1", doctor.ActPowerOff); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if n := s.node(); n.Owed != nil || n.PowerTarget != "" || s.board.state() != conductor.PowerOff || s.board.count("eject") != 1 {
			t.Errorf("owed %+v, acts %v", n.Owed, s.board.did())
		}
	})
}

// An operator's word that the machine is off takes the place of the act; it is in the audit, and --fix never gives it (I15,
// I27).
func TestI15_I27_AnOperatorConfirmsThatTheMachineIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unfenced(t, 0, gone)
		s.maintenance(false, "")
		if d := s.diagnose(); d.Fix == nil || d.Fix.Act != doctor.ActPowerOff || !d.Fix.Ends {
			t.Errorf("the fix is %+v", d.Fix)
		}
		before := len(s.Audited())
		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann", Request: "req-9"}, "n1"); err != nil {
			t.Fatal(err)
		}
		n := s.node()
		all := s.Audited()
		if last := all[len(all)-1]; n.Owed != nil || n.Power != "" || len(all) != before+1 || last.Act != "node.confirm" || last.Actor != "ann" || last.Detail["off"] != true || last.Detail["owed"] == "" {
			t.Errorf("owed %+v, power %q, audit %+v", n.Owed, n.Power, all[before:])
		}
		if (n.Machine == conductor.Identity{}) != (s.board.uuid == "") {
			t.Errorf("the machine's identity became %+v", n.Machine)
		}
		s.board.answer(nil)
		time.Sleep(time.Hour)
		if acts := s.board.did(); len(acts) != 0 {
			t.Errorf("acts upon a machine that an operator has vouched for: %v", acts)
		}
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.provision(conductor.Provision{Verb: state.VerbProvide})
	})
}

// What is owed because another machine is behind the BMC is about that: the word for it forgets which machine it was, and
// the power off is done then (F24).
func TestF24_AReplacedBoardIsPoweredOffOnceItIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.board.uuid = "11111111-2222-4333-8444-555555555555"
		a, id := s.erasing()
		s.board.answer(fault.New(fault.BMCOtherMachine, "another one"))
		a.fails(id)
		s.until(state.CleanFail)
		time.Sleep(12 * time.Minute)
		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Owed == nil || n.Machine != (conductor.Identity{}) {
			t.Errorf("owed %+v, machine %+v", n.Owed, n.Machine)
		}
		s.board.answer(nil)
		time.Sleep(time.Hour)
		if n := s.node(); n.Owed != nil || s.board.state() != conductor.PowerOff {
			t.Errorf("owed %+v", n.Owed)
		}
	})
}

// Work that was begun while the power off was still being tried fails with it: an adoption never takes a machine on which
// an eraser may run (I8, I10).
func TestI8_I10_WorkThatBeganMeanwhileFailsWithThePowerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.erasing()
		s.board.jam(true)
		a.fails(id)
		s.until(state.CleanFail)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.provision(conductor.Provision{Verb: state.VerbAdopt})
		n := s.until(state.AdoptFail)
		if n.LastReason != fault.NodeNotOff || !n.Owed.Overdue() {
			t.Errorf("%s: %s, owed %+v", n.State, n.LastError, n.Owed)
		}
		time.Sleep(time.Hour)
		if n := s.node(); n.State != state.AdoptFail {
			t.Errorf("the node became %s", n.State)
		}
	})
}

// undeployable is a site with an instance whose deployment failed, and whose machine could not be powered off.
func undeployable(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.available()
	s.instance()
	s.provision(conductor.Provision{Verb: state.VerbDeploy})
	a := s.agent(<-s.board.booted)
	id := a.claim()
	s.board.jam(true)
	a.fails(id)
	s.until(state.DeployFail)
	time.Sleep(12 * time.Minute)
	s.board.mu.Lock()
	s.board.acts = nil
	s.board.mu.Unlock()
	return s
}

// An instance is deleted as upstream's clients ask for it. The power off that is owed comes before everything that the clean
// does, and the clean fails with it.
func TestI8_F40_ADeletionBeginsWithWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := undeployable(t)
		if err := s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbDeploy}); !fault.Has(err, fault.NodeNotOff) {
			t.Errorf("another deployment: %v", err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		n := s.until(state.CleanFail)
		if n.LastReason != fault.NodeNotOff || !n.Owed.Overdue() || len(n.InstanceInfo) != 0 {
			t.Errorf("%s: %s, owed %+v", n.State, n.LastError, n.Owed)
		}
		for _, act := range s.board.did() {
			if act != string(conductor.ForceOff) {
				t.Errorf("%q was done to a machine that is not off", act)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := undeployable(t)
		s.board.jam(false)
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		a := s.agent(<-s.board.booted)
		a.run("deploy.erase_devices_metadata", nil)
		a.run("deploy.erase_devices", erased())
		n := s.until(state.Available)
		if n.Owed != nil {
			t.Errorf("owed %+v", n.Owed)
		}
		if acts := s.board.did(); acts[0] != string(conductor.ForceOff) || acts[1] != "eject" {
			t.Errorf("the clean began with %v", acts)
		}
	})
}

// A record is deleted in maintenance, as upstream's clients do it with machines that are broken: nothing can be started,
// claimed or ended on it any more. What was owed goes to the audit (I27).
func TestF40_I27_ARecordIsDeletedInMaintenanceWhateverIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unfenced(t, 0, gone)
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); err != nil {
			t.Fatal(err)
		}
		all := s.Audited()
		if last := all[len(all)-1]; last.Act != "node.delete" || last.Detail["owed"] == nil {
			t.Errorf("audit %+v", last)
		}
		time.Sleep(time.Hour)
	})
}

// Nothing is done to the machine of a record in doubt, whatever it says is owed (I15).
func TestI15_NothingOwedIsDoneToAnUnverifiedMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := unfenced(t, time.Minute, gone)
		s.damage(func(n *conductor.Node) { n.Unverified = &conductor.Unverified{Since: s.now(), Why: "restored"} })
		s.board.answer(nil)
		time.Sleep(2 * time.Hour)
		if acts := s.board.did(); len(acts) != 0 || s.node().Owed == nil {
			t.Errorf("acts %v, owed %+v", acts, s.node().Owed)
		}
		if err := s.c.ConfirmNode(t.Context(), conductor.Caller{Name: "ann"}, "n1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if n := s.node(); n.Owed != nil || s.board.state() != conductor.PowerOff {
			t.Errorf("once it is confirmed: owed %+v", n.Owed)
		}
	})
}
