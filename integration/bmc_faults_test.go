package integration

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// everyRequest runs a boot of the ramdisk and its end, with the n-th request of a kind failing, n = 1, 2, … until a run
// meets no fault. After each the scenario can be finished, no order but an absolute one was carried out, and at the end the
// machine is off and its drive empty.
func everyRequest(t *testing.T, f emulator.Fault) {
	t.Helper()
	everyRequestBy(t, f, "")
}

// everyRequestBy is everyRequest with a boot interface; "" is that of virtual media.
func everyRequestBy(t *testing.T, f emulator.Fault, boot string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.by(boot)
		s.do(state.VerbManage, state.Manageable)
		for n := 0; ; n++ {
			if n > 400 {
				t.Fatal("the scenario does not end")
			}
			f.Count, f.Skip = 1, n
			s.inject(f)
			state1 := s.do(state.VerbInspect, state.InspectWait, state.InspectFail)
			if state1.State == state.InspectFail {
				// One fault may cost the flow, with a reason; asked for again it works.
				if state1.LastReason == "" || state1.LastReason == "internal.error" {
					t.Errorf("request %d: the flow failed without a reason: %s", n, state1.LastError)
				}
				s.rest()
				state1 = s.do(state.VerbInspect, state.InspectWait, state.InspectFail)
			}
			if state1.State != state.InspectWait {
				t.Fatalf("request %d: the second try failed, too: %s", n, state1.LastError)
			}
			s.booted(n)
			if err := s.ask(state.VerbAbort); err != nil {
				t.Fatal(err)
			}
			s.until(state.InspectFail)
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

// rest waits until the server has ended what it does to the machine.
func (s *bmcSite) rest() {
	s.t.Helper()
	for range 900 {
		<-time.After(time.Second)
		synctest.Wait()
		if n := s.node(); n.Power == conductor.PowerOff && !s.machine.On() && s.machine.Medium() == "" {
			return
		}
	}
}

// booted checks that the last boot was one from the medium.
func (s *bmcSite) booted(n int) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.machine.On() || len(s.boots) == 0 {
		s.t.Fatalf("request %d: the ramdisk is waited for on a machine that is off", n)
	}
	last := s.boots[len(s.boots)-1]
	if s.boot != "" {
		if last.Source.Target != "UefiHttp" || !strings.HasPrefix(last.Source.URI, "https://192.0.2.1:6388/") || last.Medium != "" {
			s.t.Errorf("request %d: the machine booted from %+v, medium %q", n, last.Source, last.Medium)
		}
		return
	}
	if last.Source.Target != "Cd" || !strings.HasPrefix(last.Medium, "http://192.0.2.1:6387/") {
		s.t.Errorf("request %d: the machine booted from %+v, medium %q", n, last.Source, last.Medium)
	}
}

func TestF21_EveryRequestHangs(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Delay, Delay: emulator.Duration(3 * time.Minute)})
}

func TestF22_EveryRequestAnswered500(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Status, Status: 500})
}

func TestF22_EveryRequestAnswered503(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Status, Status: 503})
}

func TestF22_EveryRequestAnswered401(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Status, Status: 401, Match: "/redfish/v1/Systems"})
}

func TestF22_EveryOrderAnswered409(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Status, Status: 409, Match: "POST /redfish/v1/Systems"})
}

func TestF23_EveryOrderIgnored(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Ignore})
}

func TestF23_EveryReadingSaysOff(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.LiePower, Value: "Off"})
}

func TestF23_EveryReadingSaysOn(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.LiePower, Value: "On"})
}

func TestF24_BMCRestartsAtEveryRequest(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Restart})
}

func TestF25_EveryOrderHappensAndTimesOut(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.CutAfter})
}

func TestF25_EveryOrderHappensTwice(t *testing.T) {
	everyRequest(t, emulator.Fault{Kind: emulator.Twice})
}
