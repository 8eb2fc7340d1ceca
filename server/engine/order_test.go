package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A clean has failed while the BMC does not answer, so the power off that ends it is still due when an operator has the machine
// switched on by a step. The acts keep their order, also over a restart that cuts the waiting step off.
func TestI11_I13_ANodesActsKeepTheirOrder(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			a, id := s.erasing()
			s.board.answer(fault.New(fault.BMCUnreachable, "no answer"))
			if err := s.c.Result(t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Failed}); err != nil {
				t.Fatal(err)
			}
			s.until(state.CleanFail)
			if err := s.c.SetMaintenance(t.Context(), conductor.Caller{Name: "op"}, "n1", false, ""); err != nil {
				t.Fatal(err)
			}
			s.provision(conductor.Provision{Verb: state.VerbManage})
			s.until(state.Manageable)
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "power.power_on"}}})
			before := len(s.board.did())
			time.Sleep(time.Minute)
			if restart {
				s.stop()
				s.start()
				time.Sleep(time.Minute)
			}
			s.board.answer(nil)
			n := s.until(state.Manageable)
			acts := s.board.did()[before:]
			if want := []string{"ForceOff", "eject", "On"}; !slices.Equal(acts, want) || n.Power != conductor.PowerOn || s.board.state() != conductor.PowerOn {
				t.Errorf("restart %v: the acts are %v, want %v; the machine is %q, by its record %q", restart, acts, want, s.board.state(), n.Power)
			}
		})
	}
}
