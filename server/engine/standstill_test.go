package engine_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stopped is what a process that is stopped and goes on later sees of that time: nothing, and then all of it at once, with
// its timers run out.
func (s *site) stopped(until func()) {
	at := s.now()
	s.frozen.Store(&at)
	until()
	s.frozen.Store(nil)
}

// The lease is in doubt and the store takes nothing, for longer than a BMC may be away, while a boot is due: it comes about
// once they are back.
func TestF05_I14_I30_TimeWithoutTheStoreDoesNotCountAgainstABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		away := fault.New(fault.StorageUnavailable, "the disk is full")
		s.doubt.Store(away)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.fault.set(nil, func(context.Context) error { return away }, nil)
		time.Sleep(25 * time.Minute)
		if acts := s.board.did(); len(acts) != 0 {
			t.Errorf("acts upon the machine: %v", acts)
		}
		s.fault.set(nil, nil, nil)
		s.doubt.Store(nil)
		if n := s.until(state.CleanWait); n.LastError != "" {
			t.Error(n.LastError)
		}
	})
}

// The process is stopped in the middle of a power act, until all its timers have run out.
func TestF30_I14_AStandstillDoesNotCountAgainstAPowerAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		looks := 0
		s.board.look = func(ctx context.Context) {
			if _, bounded := ctx.Deadline(); !bounded {
				return // a look at the facts
			}
			if looks++; looks == 1 || looks == 3 { // at going off, at coming on
				s.stopped(func() { <-ctx.Done() })
			}
		}
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		if n := s.until(state.CleanWait); n.LastError != "" {
			t.Error(n.LastError)
		}
		if looks < 4 {
			t.Errorf("only %d looks at the power", looks)
		}
	})
}

// A power state that is not reached is a failure all the same, in time.
func TestI14_APowerActEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.look = func(context.Context) {
			s.board.mu.Lock()
			defer s.board.mu.Unlock()
			s.board.power = conductor.PowerOn
		}
		began := time.Now()
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		n := s.until(state.CleanFail)
		if took := time.Since(began); n.LastReason != fault.BMCPower || took != conductor.DefaultTimeouts().Power {
			t.Errorf("%s after %s", n.LastError, took)
		}
	})
}

// The process is stopped while a step out of band runs, for longer than the step may take: what became of it is unknown, as
// after a restart, and no failure.
func TestF30_I14_AStandstillDoesNotFailAStepOutOfBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		runs := 0
		s.board.within = func(func() error) error {
			if runs++; runs > 1 {
				return nil
			}
			s.stopped(func() { time.Sleep(time.Hour) })
			return fault.New(fault.StepTimeout, "it did not end in time")
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
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
