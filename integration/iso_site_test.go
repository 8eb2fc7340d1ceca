package integration

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const liveISO = "http://192.0.2.20/live.iso"

// names gives the node an ISO of the operator's to boot.
func (s *bmcSite) names() {
	s.t.Helper()
	off := false
	_, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.Interfaces, n.InstanceInfo, n.AutomatedClean = map[string]string{"deploy": "ramdisk"}, map[string]any{"boot_iso": liveISO}, &off
		if s.boot != "" {
			n.Interfaces["boot"] = s.boot
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// runs checks that the machine was started from the ISO last, and will be at its next start.
func (s *bmcSite) runs(what string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.machine.State()
	if s.boot != "" {
		if !now.On || now.Medium != "" || now.Override != "Continuous UefiHttp" || len(s.boots) == 0 {
			s.t.Fatalf("%s: the machine is %+v after %d boots", what, now, len(s.boots))
		}
		if last := s.boots[len(s.boots)-1]; last.Source.Target != "UefiHttp" || last.Source.URI != liveISO {
			s.t.Errorf("%s: it booted from %+v", what, last.Source)
		}
		return
	}
	if !now.On || now.Medium != liveISO || now.Override != "Continuous Cd" || len(s.boots) == 0 {
		s.t.Fatalf("%s: the machine is %+v after %d boots", what, now, len(s.boots))
	}
	if last := s.boots[len(s.boots)-1]; last.Source.Target != "Cd" || last.Medium != liveISO {
		s.t.Errorf("%s: it booted from %+v, medium %q", what, last.Source, last.Medium)
	}
}

// everyRequestOfAnISO is everyRequest for the deployment of an ISO and its end: whichever request fails, a node that is
// active has a machine that was started from the ISO.
func everyRequestOfAnISO(t *testing.T, f emulator.Fault) {
	t.Helper()
	everyRequestOfAnISOBy(t, f, "")
}

// everyRequestOfAnISOBy is everyRequestOfAnISO with a boot interface; "" is that of virtual media.
func everyRequestOfAnISOBy(t *testing.T, f emulator.Fault, boot string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.by(boot)
		s.do(state.VerbManage, state.Manageable)
		s.names()
		s.do(state.VerbProvide, state.Available)
		for n := 0; ; n++ {
			if n > 400 {
				t.Fatal("the scenario does not end")
			}
			s.names()
			f.Count, f.Skip = 1, n
			s.inject(f)
			node := s.do(state.VerbDeploy, state.Active, state.DeployFail)
			if node.State == state.DeployFail {
				if node.LastReason == "" || node.LastReason == "internal.error" {
					t.Errorf("request %d: the flow failed without a reason: %s", n, node.LastError)
				}
				s.rest()
				node = s.do(state.VerbDeploy, state.Active, state.DeployFail)
			}
			if node.State != state.Active {
				t.Fatalf("request %d: the second try failed, too: %s", n, node.LastError)
			}
			s.runs(f.Match)
			if n := s.do(state.VerbDelete, state.Available, state.CleanFail); n.State == state.CleanFail {
				s.do(state.VerbManage, state.Manageable)
				s.do(state.VerbProvide, state.Available)
			}
			s.rest()
			if unmet := len(s.machine.Faults()) > 0; s.machine.On() || s.machine.Medium() != "" {
				t.Errorf("request %d: the machine is on: %v, the drive holds %q", n, s.machine.On(), s.machine.Medium())
			} else if o := s.machine.State().Override; boot != "" && o != "Disabled" {
				t.Errorf("request %d: the machine is left to boot %s", n, o)
			} else if unmet {
				t.Logf("%d requests were disturbed", n)
				break
			}
		}
		for _, e := range s.machine.PowerLog() {
			if e.Cause != "redfish On" && e.Cause != "redfish ForceOff" {
				t.Errorf("an order that is not absolute: %s", e.Cause)
			}
		}
	})
}

func TestF21_EveryRequestOfAnISOHangs(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.Delay, Delay: emulator.Duration(3 * time.Minute)})
}

func TestF22_EveryRequestOfAnISOAnswered500(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.Status, Status: 500})
}

func TestF23_EveryOrderOfAnISOIgnored(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.Ignore})
}

func TestF23_EveryReadingOfAnISOSaysOn(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.LiePower, Value: "On"})
}

func TestF24_BMCRestartsAtEveryRequestOfAnISO(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.Restart})
}

func TestF25_EveryOrderOfAnISOHappensAndTimesOut(t *testing.T) {
	everyRequestOfAnISO(t, emulator.Fault{Kind: emulator.CutAfter})
}

// A BMC that takes orders and does nothing, for ever: the node is not active, and the machine off.
func TestF23_NoISOIsActiveUnseen(t *testing.T) {
	for name, match := range map[string]string{"medium": "POST /redfish/v1/Managers", "boot device": "PATCH /redfish/v1/Systems", "power": "POST /redfish/v1/Systems"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBMCSite(t, nil, "password")
				s.do(state.VerbManage, state.Manageable)
				s.names()
				s.do(state.VerbProvide, state.Available)
				s.inject(emulator.Fault{Kind: emulator.Ignore, Match: match})
				n := s.do(state.VerbDeploy, state.DeployFail, state.Active)
				if n.State != state.DeployFail || n.LastReason != fault.BMCError && n.LastReason != fault.BMCPower || s.machine.On() {
					t.Errorf("%s (%s), on: %v", n.State, n.LastError, s.machine.On())
				}
			})
		})
	}
}

// A BMC that has lost the medium while the instance ran: the next start has it again. One that was started anew past the
// server, too, as the boot device is to stay.
func TestF24_AnISOIsBackBeforeEachStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.do(state.VerbManage, state.Manageable)
		s.names()
		s.do(state.VerbProvide, state.Available)
		s.do(state.VerbDeploy, state.Active)
		s.runs("deployed")
		s.mu.Lock()
		s.boots = nil
		s.mu.Unlock()
		if err := s.machine.Reset(t.Context(), "ForceRestart"); err != nil {
			t.Fatal(err)
		}
		s.runs("restarted by hand")
		for _, target := range []string{"rebooting", "soft rebooting", "power off", "power on"} {
			if err := s.machine.Do(func() error { return s.machine.Eject(t.Context()) }); err != nil {
				t.Fatal(err)
			}
			if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: target}); err != nil {
				t.Fatal(err)
			}
			<-time.After(5 * time.Minute)
			synctest.Wait()
			if n := s.node(); n.PowerTarget != "" || n.LastError != "" {
				t.Fatalf("%s: on the way to %q, %s", target, n.PowerTarget, n.LastError)
			}
			if target != "power off" {
				s.runs(target)
			}
		}
		// An operator's own medium finds no place: the one drive is the instance's.
		if err := s.c.Manage(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Act{Kind: conductor.ActAttach, Device: "cdrom", URL: "http://192.0.2.20/other.iso"}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if n := s.node(); n.LastReason != fault.BMCNoMedia || s.machine.Medium() != liveISO {
			t.Errorf("%s; the drive holds %q", n.LastError, s.machine.Medium())
		}
	})
}
