package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const iso = "http://192.0.2.20/live.iso"

// booting are the acts that start a machine from the ISO of its instance.
var booting = []string{"ForceOff", "eject", "insert", "boot cdrom", "insert", "On", "insert"}

// live is a site whose node is to boot an ISO of the operator's, available. The BMC's log is empty.
func live(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	off := false
	if err := s.Change("n1", func(n *conductor.Node) {
		n.Interfaces, n.InstanceInfo, n.AutomatedClean = map[string]string{"deploy": "ramdisk"}, map[string]any{"boot_iso": iso}, &off
	}); err != nil {
		t.Fatal(err)
	}
	s.manageable()
	s.provision(conductor.Provision{Verb: state.VerbProvide})
	s.until(state.Available)
	s.board.log()
	return s
}

// runs tells what speaks against the machine running the ISO, now and after each start.
func (s *site) runs() {
	s.t.Helper()
	b := s.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.power != conductor.PowerOn || b.media != iso || b.boot != (conductor.BootTarget{Device: "cdrom", Always: true, UEFI: true}) {
		s.t.Errorf("the machine is %q, boots %+v, and has %q in its drive", b.power, b.boot, b.media)
	}
	for len(b.booted) > 0 {
		if medium := <-b.booted; medium != iso {
			s.t.Errorf("it started from %s", medium)
		}
	}
}

func (s *site) powerTo(target string) conductor.Node {
	s.t.Helper()
	if err := s.c.SetPower(s.t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: target}); err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	return s.node()
}

// A machine is active when medium, boot device and power are confirmed, in that order; each start finds the ISO in the drive
// again, whatever the BMC has forgotten (F24); the deletion takes it out.
func TestF24_AnISOStaysForEachStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.canBoot.Store(fault.New(fault.FlowListener, "no listener")) // the server has no part in it
		if v, err := s.c.Validate(t.Context(), "n1"); err != nil || v["boot"] != "" || v["deploy"] != "" {
			t.Errorf("validate says %v, %v", v, err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy, ConfigDrive: &conductor.ConfigDrive{Files: map[string][]byte{}}})
		if n := s.until(state.Active); n.Generation != 0 || n.Power != conductor.PowerOn {
			t.Errorf("%d boots of a ramdisk, power %q", n.Generation, n.Power)
		}
		if got := s.board.log(); !slices.Equal(got, booting) {
			t.Errorf("acts %q, expected %q", got, booting)
		}
		s.runs()
		forget := func() {
			s.board.mu.Lock()
			s.board.media = ""
			s.board.mu.Unlock()
		}
		for target, want := range map[string][]string{"rebooting": {"insert", "ForceOff", "insert", "On"}, "power off": {"ForceOff"}, "power on": {"insert", "On"}} {
			forget()
			n := s.powerTo(target)
			if got := s.board.log(); !slices.Equal(got, want) || n.LastError != "" {
				t.Errorf("%s: acts %q, expected %q (%s)", target, got, want, n.LastError)
			}
			if target != "power off" {
				s.runs()
			}
		}
		// Without the ISO a machine that runs stays as it is.
		s.powerTo("power on")
		s.board.log()
		s.board.mu.Lock()
		s.board.refuse = true
		s.board.mu.Unlock()
		if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: "rebooting"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if n := s.node(); n.LastReason != fault.BMCBusy || n.PowerTarget != "" || len(s.board.log()) != 0 || s.board.state() != conductor.PowerOn {
			t.Errorf("%s, target %q, power %q", n.LastError, n.PowerTarget, s.board.state())
		}
		s.board.mu.Lock()
		s.board.refuse = false
		s.board.mu.Unlock()
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		if n := s.until(state.Available); n.LiveISO != "" || len(n.InstanceInfo) != 0 {
			t.Errorf("%q, %v", n.LiveISO, n.InstanceInfo)
		}
		if got := s.board.log(); !slices.Equal(got, []string{"ForceOff", "eject"}) {
			t.Errorf("the deletion does %q", got)
		}
	})
}

// Metal3 can ask for a machine that boots the ISO once: an installer.
func TestAnISOThatIsBootedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		if err := s.Change("n1", func(n *conductor.Node) { n.DriverInfo["force_persistent_boot_device"] = "Never" }); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		s.board.mu.Lock()
		defer s.board.mu.Unlock()
		if s.board.boot.Device != "" || s.board.media != iso || <-s.board.booted != iso {
			t.Errorf("the next start is from %+v, the drive has %q", s.board.boot, s.board.media)
		}
	})
}

// T4: what a BMC is sent to is judged as an image's address is, also for a machine that is taken over; and what is judged is
// what is booted.
func TestI23_AnISOComesFromWhereTheServerMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.stop()
		var asked []string
		s.check = func(_ context.Context, url string) error {
			asked = append(asked, url)
			if strings.Contains(url, "127.0.0.1") {
				return fault.New(fault.OriginRefused, "loopback")
			}
			// Somebody changes it between the check and the decision.
			return s.Change("n1", func(n *conductor.Node) { n.InstanceInfo["boot_iso"] = "http://127.0.0.1/other.iso" })
		}
		s.start()
		<-s.c.Ready()
		ask := func(v state.Event) error {
			return s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: v})
		}
		if err := ask(state.VerbDeploy); !fault.Has(err, fault.StateConflict) {
			t.Errorf("changed meanwhile: %v", err)
		}
		if err := ask(state.VerbDeploy); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("loopback: %v", err)
		}
		if err := ask(state.VerbManage); err != nil {
			t.Fatal(err)
		}
		if err := ask(state.VerbAdopt); !fault.Has(err, fault.OriginRefused) {
			t.Errorf("adopted: %v", err)
		}
		if n := s.node(); len(asked) != 3 || n.State != state.Manageable || len(s.board.log()) != 0 {
			t.Errorf("asked for %q, the node is %s", asked, n.State)
		}
	})
}

// The server stops in the middle of each act in turn, and goes on after its start: the machine runs the ISO, and has been
// begun anew from off (I13).
func TestF01_I13_TheServerStopsAtEachActOfAnISO(t *testing.T) {
	for n := range len(booting) {
		synctest.Test(t, func(t *testing.T) {
			s := live(t)
			reached, release := make(chan struct{}), make(chan struct{})
			left := n
			s.board.mu.Lock()
			s.board.halt = func() {
				if left--; left == -1 {
					close(reached)
					<-release
				}
			}
			s.board.mu.Unlock()
			s.provision(conductor.Provision{Verb: state.VerbDeploy})
			<-reached
			w := s.node().Flow.Wait
			if w == nil || w.Reason == "" || w.Owner != "bmc" || !w.Deadline.After(time.Now()) {
				t.Errorf("I16: act %d is waited for by %+v", n, w)
			}
			stopped := make(chan struct{})
			go func() { defer close(stopped); s.stop() }()
			synctest.Wait()
			s.board.answer(context.Canceled) // as a BMC's client says when its caller ends
			close(release)
			<-stopped
			s.board.answer(nil)
			if at := s.board.log(); !slices.Equal(at, booting[:n+1]) {
				t.Errorf("stopped in act %d: %q", n, at)
			}
			s.start()
			if n := s.until(state.Active); n.LastError != "" || n.Lease != nil {
				t.Errorf("%s, lease %+v", n.LastError, n.Lease)
			}
			if again := s.board.log(); !slices.Equal(again, booting) {
				t.Errorf("after the stop in act %d: %q", n, again)
			}
			s.runs()
		})
	}
}

// The n-th write of the deployment is refused by the store: whoever asked asks again, and the machine runs the ISO.
func TestF05_I30_EachWriteOfAnISORefusedInTurn(t *testing.T) {
	for n := int64(1); ; n++ {
		hit := false
		synctest.Test(t, func(t *testing.T) {
			s := live(t)
			var writes atomic.Int64
			s.fault.set(nil, func(context.Context) error {
				if writes.Add(1) == n {
					return fault.New(fault.StorageUnavailable, "the disk is full")
				}
				return nil
			}, nil)
			insist(t, func() error {
				return s.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbDeploy})
			})
			s.until(state.Active)
			hit = writes.Load() >= n
			s.fault.set(nil, nil, nil)
			if on := slices.DeleteFunc(s.board.log(), func(act string) bool { return act != "On" }); len(on) != 1 {
				t.Errorf("write %d: %d starts", n, len(on))
			}
			s.runs()
		})
		if !hit || t.Failed() {
			if n < 3 {
				t.Fatalf("a deployment of %d writes: the test looks at another one", n)
			}
			return
		}
	}
}

// A node whose deploy interface becomes ramdisk between the check of an adoption and the decision is not taken over with an
// ISO that nobody checked (T4).
func TestI23_AnAdoptionTakesNoISOThatWasNotChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.stop()
		s.check = func(context.Context, string) error { return fault.New(fault.OriginRefused, "loopback") }
		s.start()
		<-s.c.Ready()
		s.provision(conductor.Provision{Verb: state.VerbManage})
		if err := s.Change("n1", func(n *conductor.Node) { n.Interfaces = nil }); err != nil {
			t.Fatal(err)
		}
		changed := false
		s.fault.set(nil, func(ctx context.Context) error {
			if changed {
				return nil
			}
			changed = true
			return s.store.Update(ctx, func(tx conductor.Tx) error {
				n, err := tx.NodeByName("n1")
				if err != nil {
					return err
				}
				n.Interfaces = map[string]string{"deploy": "ramdisk"}
				return tx.PutNode(&n)
			})
		}, nil)
		err := s.c.Provision(t.Context(), conductor.Caller{}, "n1", conductor.Provision{Verb: state.VerbAdopt})
		if !fault.Has(err, fault.StateConflict) || !changed {
			t.Errorf("adopted: %v", err)
		}
	})
}

// A rescue that failed leaves the machine off, and its next boot device the firmware's. What leads back to active boots the ISO
// again: medium, boot device for good, power.
func TestF16_AFailedRescueLeadsBackToTheISO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		s.runs()
		s.provision(conductor.Provision{Verb: state.VerbRescue, RescuePassword: "a word"})
		if medium := <-s.board.booted; medium == iso {
			t.Errorf("the rescue boots %s", medium)
		}
		if n := s.until(state.RescueFail); n.LiveISO != iso { // nobody looked itself up
			t.Errorf("LiveISO %q", n.LiveISO)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s.board.mu.Lock()
		if s.board.media != "" || s.board.power != conductor.PowerOff || s.board.boot.Always {
			t.Errorf("after the failure: %q in the drive, power %q, boots %+v", s.board.media, s.board.power, s.board.boot)
		}
		s.board.mu.Unlock()
		s.board.log()
		s.provision(conductor.Provision{Verb: state.VerbUnrescue})
		s.until(state.Active)
		if got := s.board.log(); !slices.Equal(got, booting) {
			t.Errorf("acts %q, expected %q", got, booting)
		}
		s.runs()
	})
}

// A node whose deploy interface boots no ISO any more, changed in maintenance, boots its disk, as in Ironic: no power act puts the
// ISO in again, and a rescue leads back to the disk.
func TestADeployInterfaceWithoutAnISOForgetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		s.runs()
		change := func(what string, keeps string, do func(n *conductor.Node)) {
			t.Helper()
			n, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, "n1", func(n *conductor.Node, _ map[string]string) error {
				do(n)
				return nil
			})
			if err != nil || n.LiveISO != keeps {
				t.Errorf("%s: LiveISO %q, expected %q (%v)", what, n.LiveISO, keeps, err)
			}
		}
		change("maintenance", iso, func(n *conductor.Node) { n.Maintenance = true })
		change("another interface", iso, func(n *conductor.Node) { n.Interfaces = map[string]string{"deploy": "ramdisk", "inspect": "agent"} })
		change("the default", "", func(n *conductor.Node) { n.Interfaces = nil })
		change("and back", "", func(n *conductor.Node) { n.Interfaces = map[string]string{"deploy": "ramdisk"} }) // which counts from the next deployment on
		s.board.log()
		s.powerTo("rebooting")
		if got := s.board.log(); !slices.Equal(got, []string{"ForceOff", "On"}) {
			t.Errorf("a reboot does %q", got)
		}
	})
}

// A node that is undeployed in maintenance is torn down as any other: off, and the ISO out. Only the deletion of the record leaves
// a machine as it runs, and its ISO with it.
func TestAnISOThatIsUndeployedInMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := live(t)
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		if err := s.Change("n1", func(n *conductor.Node) { n.Maintenance = true }); err != nil {
			t.Fatal(err)
		}
		s.board.log()
		s.provision(conductor.Provision{Verb: state.VerbDelete})
		if n := s.until(state.Available); n.LiveISO != "" || !n.Maintenance {
			t.Errorf("LiveISO %q, maintenance %v", n.LiveISO, n.Maintenance)
		}
		if got := s.board.log(); !slices.Equal(got, []string{"ForceOff", "eject"}) {
			t.Errorf("the deletion does %q", got)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.Maintenance = false }); err != nil {
			t.Fatal(err)
		}
		if err := s.Change("n1", func(n *conductor.Node) { n.InstanceInfo = map[string]any{"boot_iso": iso} }); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy})
		s.until(state.Active)
		s.board.log()
		if err := s.Change("n1", func(n *conductor.Node) { n.Maintenance = true }); err != nil {
			t.Fatal(err)
		}
		if err := s.c.DeleteNode(t.Context(), conductor.Caller{Name: "op"}, "n1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := s.board.log(); len(got) != 0 || s.board.state() != conductor.PowerOn {
			t.Errorf("the deletion of the record does %q, power %q", got, s.board.state())
		}
	})
}
