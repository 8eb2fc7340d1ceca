package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine/recordtest"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A request that comes while a short act is under way waits for its end, as long as Ironic does, and no longer.
func TestRequestsWaitForShortActs(t *testing.T) {
	power := func(target string) func(s *site) error {
		return func(s *site) error {
			return s.c.SetPower(s.t.Context(), recordtest.Op, "n1", conductor.PowerRequest{Target: target})
		}
	}
	manage := func(a conductor.Act) func(s *site) error {
		return func(s *site) error { return s.c.Manage(s.t.Context(), recordtest.Op, "n1", a) }
	}
	attach := manage(conductor.Act{Kind: conductor.ActAttach, Device: "cdrom", URL: "http://192.0.2.1/a.iso"})
	mode := manage(conductor.Act{Kind: conductor.ActBootMode, Mode: "uefi"})
	provide := func(s *site) error {
		return s.c.Provision(s.t.Context(), recordtest.Op, "n1", conductor.Provision{Verb: state.VerbProvide})
	}
	for name, c := range map[string]struct{ first, second func(s *site) error }{
		"power after power":   {power("power on"), power("power off")},
		"medium after power":  {power("power on"), attach},
		"verb after power":    {power("power on"), provide},
		"power after an act":  {mode, power("power on")},
		"medium after an act": {mode, attach},
	} {
		for took, served := range map[time.Duration]bool{time.Second: true, 20 * time.Second: false} {
			synctest.Test(t, func(t *testing.T) {
				d := drivers.Delay{Least: took, Most: took}
				s := withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{Delays: map[string]drivers.Delay{drivers.Power: d, drivers.Management: d}}))
				s.provision(conductor.Provision{Verb: state.VerbManage})
				s.until(state.Manageable)
				if err := c.first(s); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err := c.second(s)
				waited := time.Since(began)
				if served && (err != nil || waited < took) || !served && (!fault.Has(err, fault.NodeBusy) || waited != 3*time.Second) {
					t.Errorf("%s that takes %s: %v after %s", name, took, err, waited)
				}
			})
		}
	}
}

// What a flow holds is refused at once: it may take hours.
func TestRequestsDoNotWaitForFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.erasing()
		began := time.Now()
		err := s.c.Manage(t.Context(), recordtest.Op, "n1", conductor.Act{Kind: conductor.ActDetach})
		if waited := time.Since(began); fault.From(err) == nil || waited != 0 {
			t.Errorf("%v after %s", err, waited)
		}
	})
}
