package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// listed begins a clean of two steps out of band, the first of which does this.
func (s *site) listed(first func(ctx context.Context, held func() error) error) {
	s.t.Helper()
	s.manageable()
	s.board.mu.Lock()
	s.board.runs = func(ctx context.Context, _ step.Call, held func() error) error { return first(ctx, held) }
	s.board.mu.Unlock()
	s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "bios.factory_reset"}, {Name: "management.reset_bmc"}}})
	time.Sleep(time.Minute)
	synctest.Wait()
}

// abortedTo checks how the list was left: the first step in this state, the second never begun.
func (s *site) abortedTo(first conductor.StepState) {
	s.t.Helper()
	n, all := s.until(state.CleanFail), s.steps()
	if n.LastReason != fault.FlowAborted || n.Maintenance || len(all) != 2 || all[0].State != first || all[1].State != conductor.StepPlanned {
		s.t.Errorf("%s, maintenance %t; %+v", n.LastError, n.Maintenance, all)
	}
	time.Sleep(time.Hour)
	if got := s.node().State; got != state.CleanFail || slices.Contains(s.board.did(), "step management.reset_bmc") {
		s.t.Errorf("after an hour it is %s, acts %v", got, s.board.did())
	}
}

// abortOf is what an operator is told that an abort does now.
func (s *site) abortOf() string { return doctor.AbortOf(s.node(), s.shown()) }

func (s *site) shown() []conductor.StepRecord {
	s.t.Helper()
	all, err := s.c.Steps(s.t.Context(), "n1", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// A step that has not told the BMC to change anything stops within seconds, and says that nothing was changed (F40). What it
// wanted to do after that it may not any more.
func TestF40_AStepOutOfBandStopsBeforeItActs(t *testing.T) {
	for name, reads := range map[string]func(ctx context.Context, held func() error) error{
		"that listens":  func(ctx context.Context, _ func() error) error { <-ctx.Done(); return ctx.Err() },
		"that does not": func(_ context.Context, held func() error) error { time.Sleep(69 * time.Second); return held() },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.listed(reads)
			if says := s.abortOf(); !strings.Contains(says, "stops at a safe point within 10s") {
				t.Errorf("%s: an abort is said to do: %s", name, says)
			}
			asked := time.Now()
			s.provision(conductor.Provision{Verb: state.VerbAbort})
			n := s.until(state.CleanFail)
			if took := time.Since(asked); took > 10*time.Second || !strings.Contains(n.LastError, "Step bios.factory_reset: it was stopped before the BMC was told to change anything.") {
				t.Errorf("%s: after %s: %s", name, took, n.LastError)
			}
			s.abortedTo(conductor.StepAborted)
		})
	}
}

// A step whose BMC was told to do something ends first, however long that takes, also over the time that a step has to stop in;
// then the list ends (F40, I7). A server that is started anew meanwhile knows that the list was aborted: no attempt follows.
func TestF40_I07_WhatTheBMCWasToldToDoEndsFirst(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.listed(func(ctx context.Context, held func() error) error {
				if err := held(); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(20 * time.Minute):
					return held()
				}
			})
			if says := s.abortOf(); !strings.Contains(says, "can't be stopped now (what the BMC was told to do)") {
				t.Errorf("an abort is said to do: %s", says)
			}
			s.provision(conductor.Provision{Verb: state.VerbAbort})
			s.provision(conductor.Provision{Verb: state.VerbAbort}) // an operator in doubt
			time.Sleep(10 * time.Minute)
			n, r := s.node(), s.last()
			if w := n.Flow.Wait; n.State != state.CleanWait || w.Owner != "bmc" || !strings.Contains(w.For, "can't be cut off") || s.steps()[0].State != conductor.StepStarted {
				t.Fatalf("%s waits for %+v; %+v", n.State, w, r)
			}
			if restart {
				s.stop()
				s.start()
				s.abortedTo(conductor.StepInterrupted)
				return
			}
			s.abortedTo(conductor.StepSucceeded)
		})
	}
}

// A step whose driver says that nothing is under way at the BMC any more can be stopped again; one that was told to stop before
// ends there, and not after all that it would have done (F40, I7).
func TestF40_I07_AStepStopsWhereNothingIsUnderWay(t *testing.T) {
	const part = 20 * time.Minute
	for name, c := range map[string]struct {
		after time.Duration // of the abort
		ends  time.Duration // of the step, at the latest
		part  string
	}{
		"while the BMC does the first part": {time.Minute, part, "can't be stopped now"},
		"when that has ended":               {part + time.Minute, part + time.Minute, "stops at a safe point"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			var began, ended time.Time
			acts := 0
			s.board.mu.Lock()
			s.board.runs = func(ctx context.Context, c step.Call, held func() error) error {
				began = time.Now()
				defer func() { ended = time.Now() }()
				for range 2 {
					if err := held(); err != nil {
						return err
					}
					acts++
					time.Sleep(part)
					if err := c.Settled(); err != nil {
						return err
					}
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(part):
					}
				}
				return nil
			}
			s.board.mu.Unlock()
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "raid.delete_configuration"}, {Name: "management.reset_bmc"}}})
			time.Sleep(c.after)
			synctest.Wait()
			if says := s.abortOf(); !strings.Contains(says, c.part) {
				t.Errorf("%s: an abort is said to do: %s", name, says)
			}
			s.provision(conductor.Provision{Verb: state.VerbAbort})
			n := s.until(state.CleanFail)
			if acts != 1 || ended.Sub(began) > c.ends || !strings.Contains(n.LastError, "it was stopped where nothing was under way at the BMC; what it had done by then stays") {
				t.Errorf("%s: after %d acts in %s: %s", name, acts, ended.Sub(began), n.LastError)
			}
			s.abortedTo(conductor.StepAborted)
		})
	}
}

// What only stands in line is never begun (F40).
func TestF40_AnAbortTakesAStepOutOfItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.behind("power.power_on")
		before := len(s.board.did())
		time.Sleep(time.Minute)
		if says := s.abortOf(); says != "nothing runs: the work ends at once" {
			t.Errorf("an abort is said to do: %s", says)
		}
		s.provision(conductor.Provision{Verb: state.VerbAbort})
		if n, r := s.node(), s.last(); n.State != state.CleanFail || r.State != conductor.StepAborted || !r.Started.IsZero() {
			t.Errorf("%s; %+v", n.State, r)
		}
		s.board.answer(nil)
		time.Sleep(time.Hour)
		if acts := s.board.did()[before:]; !slices.Equal(acts, []string{"ForceOff", "eject"}) {
			t.Errorf("acts upon the machine: %v", acts)
		}
	})
}
