package engine_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// parted lets the agent fall silent for a while.
func (s *site) parted(d time.Duration) {
	last := s.now()
	s.mail.listen(func() time.Time { return last })
	<-time.After(d)
	synctest.Wait()
}

// wiping brings the node to where an agent erases disks, which may take days.
func (s *site) wiping() (*agent, step.ID) {
	s.t.Helper()
	s.manageable()
	s.provision(conductor.Provision{Verb: state.VerbProvide})
	a := s.agent(<-s.board.booted)
	a.run("deploy.erase_devices_metadata", nil)
	return a, a.claim()
}

// TestI07_AServerThatHearsNothingCutsNoFormat: neither the one that was told of it nor the one that starts after it; and
// when the agent is heard again it all goes on.
func TestI07_AServerThatHearsNothingCutsNoFormat(t *testing.T) {
	formats := step.Progress{Percent: 30, Uncut: "nvme-format-crypto of serial S0"}
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			a, id := s.wiping()
			a.beat(api.HeartbeatRequest{Running: id, Progress: &step.Progress{Percent: 10}})
			offs := s.board.count("ForceOff")
			a.beat(api.HeartbeatRequest{Running: id, Progress: &formats})
			if r, err := s.record(id); err != nil || r.Progress == nil || r.Progress.Uncut != formats.Uncut {
				t.Fatalf("stored is %+v, %v", r.Progress, err)
			}
			if restart {
				s.stop()
				s.start()
			}
			s.parted(20 * time.Minute)
			n := s.node()
			if s.board.count("ForceOff") != offs || n.State != state.CleanWait || !n.Flow.Wait.Silent {
				t.Fatalf("restart %v: %s, waits for %+v", restart, n.State, n.Flow.Wait)
			}
			if s.parted(time.Hour); s.node().Version != n.Version {
				t.Errorf("restart %v: silence that goes on is written down", restart)
			}
			s.mail.listen(nil)
			a.beat(api.HeartbeatRequest{Running: id, Progress: &step.Progress{Percent: 40}})
			if n := s.node(); n.Flow.Wait.Silent {
				t.Errorf("restart %v: heard again, it waits for %+v", restart, n.Flow.Wait)
			}
			s.parted(10 * time.Minute) // the format is over: silence counts again
			<-s.board.booted
			if r, err := s.record(id); err != nil || r.State != conductor.StepInterrupted {
				t.Errorf("restart %v: the attempt is %s, %v", restart, r.State, err)
			}
		})
	}
}

// TestI07_WhatCantBeCutOffIsStoredAtOnce, that it is over within a minute, and neither with each heartbeat.
func TestI07_WhatCantBeCutOffIsStoredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a, id := s.wiping()
		says := func(uncut, stored string) {
			t.Helper()
			a.beat(api.HeartbeatRequest{Running: id, Progress: &step.Progress{Percent: 10, Uncut: uncut}})
			r, err := s.record(id)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Progress; got == nil && stored != "" || got != nil && got.Uncut != stored {
				t.Fatalf("told %q, stored is %+v, expected %q", uncut, got, stored)
			}
		}
		says("", "")
		says("format of S0", "format of S0")
		says("", "format of S0")
		says("format of S1", "format of S0")
		<-time.After(time.Minute)
		says("format of S1", "format of S1")
		<-time.After(time.Minute)
		says("", "")
		says("format of S2", "format of S2")
	})
}

// TestI07_ASecondMachineCutsNoFormat: the claim of another machine that knows the secret takes the first one's token, and not the
// node's power while a drive formats itself. The doctor's own way out does not either.
func TestI07_ASecondMachineCutsNoFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		url := <-s.board.booted
		cfg, err := s.c.Medium(t.Context(), strings.Split(strings.TrimPrefix(url, "http://192.0.2.9:6387/boot/"), "/")[0], netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		a := s.agent(url)
		a.run("deploy.erase_devices_metadata", nil)
		id := a.claim()
		a.beat(api.HeartbeatRequest{Running: id, Progress: &step.Progress{Percent: 30, Uncut: "nvme-format-crypto of serial S0"}})
		offs := s.board.count("ForceOff")
		_, err = s.c.Lookup(t.Context(), conductor.Peer{Key: "another", Addr: netip.MustParseAddr("192.0.2.66")},
			api.LookupRequest{Node: cfg.Node, Generation: cfg.Generation, Secret: cfg.Secret, BootID: "c", Seq: 1}, inventory.Inventory{})
		if !fault.Has(err, fault.NodeContested) {
			t.Fatalf("the second machine: %v", err)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		n := s.node()
		if s.board.count("ForceOff") != offs || n.State != state.CleanWait || !n.Boot.Contested {
			t.Fatalf("after an hour: %s, %d power-offs, %s", n.State, s.board.count("ForceOff")-offs, n.LastError)
		}
		d := s.diagnose()
		if d.Verdict != api.VerdictWrong || d.Problems[0].Reason != string(fault.NodeContested) || d.Fix != nil || d.Wait.Reason != string(fault.NodeContested) {
			t.Errorf("the doctor: %+v, fix %+v", d.Problems, d.Fix)
		}
		r, err := s.record(id)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(r.Deadline.Sub(s.now()) + time.Minute)
		synctest.Wait()
		if n := s.node(); s.board.count("ForceOff") != offs+1 || n.State != state.CleanFail || n.LastReason != fault.NodeContested {
			t.Errorf("after the deadline: %s, %d power-offs, %s", n.State, s.board.count("ForceOff")-offs, n.LastError)
		}
	})
}
