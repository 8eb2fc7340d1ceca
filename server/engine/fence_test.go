package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A server that was stopped for longer than its lease acts upon no machine before it knows that nobody took over.
func TestF30_I16_NoMachineIsActedUponWhileTheLeaseIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease ran out"))
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		time.Sleep(time.Minute)
		s.board.mu.Lock()
		acts := len(s.board.acts)
		s.board.mu.Unlock()
		if acts != 0 {
			t.Fatalf("acts upon the machine: %v", s.board.acts)
		}
		if w := s.node().Flow.Wait; w == nil || w.Evidence == "" {
			t.Error("the wait does not say what is in the way")
		}
		s.doubt.Store(nil)
		s.agent(<-s.board.booted).claim() // it goes on by itself
	})
}

// An out-of-band step that becomes due while the lease is in doubt waits for it, as every other act does: the doubt is no
// failure of the step's.
func TestF30_I30_AStepOutOfBandWaitsWhileTheLeaseIsInDoubt(t *testing.T) {
	for _, name := range []string{"management.reset_bmc", "power.power_on"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease ran out"))
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: name}}})
			time.Sleep(time.Minute)
			if n, acts := s.node(), s.board.did(); n.State != state.CleanWait || len(acts) != 0 {
				t.Errorf("%s: state %q (%s), acts %v", name, n.State, n.LastError, acts)
			}
			s.doubt.Store(nil)
			s.until(state.Manageable)
			steps := s.steps()
			if len(steps) != 1 || steps[0].State != conductor.StepSucceeded || s.node().Maintenance {
				t.Errorf("%s: %+v", name, steps)
			}
		})
	}
}

// A step whose acts are refused in the middle of it does no more of them. How far it came is unknown: it is interrupted, and
// done again in a new attempt once the lease holds, without an operator.
func TestF30_I16_AStepStopsActingWhileTheLeaseIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.within = func(held func() error) error {
			for range 5 {
				if err := held(); err != nil {
					return err
				}
				if err := s.board.call("reset"); err != nil {
					return err
				}
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		time.Sleep(15 * time.Second)
		s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease ran out"))
		time.Sleep(time.Minute)
		if acts := s.board.did(); len(acts) != 2 {
			t.Errorf("acts upon the machine: %v", acts)
		}
		s.doubt.Store(nil)
		n := s.until(state.Manageable)
		got := []conductor.StepState{}
		for _, r := range s.steps() {
			got = append(got, r.State)
		}
		if !slices.Equal(got, []conductor.StepState{conductor.StepInterrupted, conductor.StepSucceeded}) || n.Maintenance {
			t.Errorf("the attempts are %v, maintenance %v", got, n.Maintenance)
		}
	})
}
