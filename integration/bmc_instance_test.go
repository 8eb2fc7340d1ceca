package integration

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// machineOrders are the orders that the BMC was given for its machine: power, boot device, medium.
func (s *bmcSite) machineOrders() map[string]int {
	out := map[string]int{}
	_, counts := s.machine.Requests()
	for what, n := range counts {
		if !strings.HasPrefix(what, "GET ") && (strings.Contains(what, "/Systems") || strings.Contains(what, "VirtualMedia")) {
			out[what] = n
		}
	}
	return out
}

// TestI01_AdoptionAndServiceOutOfBandBootNothing: by the log of the BMC, neither gives an order for the machine, and it is
// left as it was (rows 43, 66).
func TestI01_AdoptionAndServiceOutOfBandBootNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBMCSite(t, nil, "password")
		s.do(state.VerbManage, state.Manageable)
		if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		s.mu.Lock()
		s.boots = nil
		s.mu.Unlock()
		before := s.machineOrders()
		if len(before) == 0 {
			t.Fatal("the log of the BMC does not tell orders")
		}
		if n := s.do(state.VerbAdopt, state.Active, state.AdoptFail); n.State != state.Active || n.Power != conductor.PowerOn {
			t.Fatalf("%q, power %q: %s", n.State, n.Power, n.LastError)
		}
		err := s.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbService, NoRamdisk: true,
			ServiceSteps: []step.Wanted{{Name: "management.clear_job_queue"}, {Name: "management.reset_bmc"}}})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if n := s.until(state.Active, state.ServiceFail); n.State != state.Active || n.Generation != 0 {
			t.Errorf("%q after %d boots: %s", n.State, n.Generation, n.LastError)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if after := s.machineOrders(); !maps.Equal(before, after) || len(s.boots) > 0 {
			t.Errorf("orders before %v, after %v, boots %v", before, after, s.boots)
		}
	})
}
