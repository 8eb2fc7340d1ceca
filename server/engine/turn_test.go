package engine_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// behind brings the node to where a step out of band waits behind a power off that the BMC does not take.
func (s *site) behind(name string) {
	s.t.Helper()
	a, id := s.erasing()
	s.board.answer(fault.New(fault.BMCUnreachable, "no answer"))
	if err := s.c.Result(s.t.Context(), a.sess, api.ResultRequest{ID: id, Nonce: nonce, Outcome: api.Failed}); err != nil {
		s.t.Fatal(err)
	}
	s.until(state.CleanFail)
	if err := s.c.SetMaintenance(s.t.Context(), conductor.Caller{Name: "op"}, "n1", false, ""); err != nil {
		s.t.Fatal(err)
	}
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: name}}})
}

// last is the newest attempt.
func (s *site) last() conductor.StepRecord {
	s.t.Helper()
	all := s.steps()
	return all[len(all)-1]
}

// The time of a step out of band begins when it is taken up, not when it was put in line behind another act (I14); a server
// that is started anew meanwhile goes on with the same attempt, since nothing was asked of the BMC for it (I8, I13).
func TestI08_I13_I14_AStepsTimeBeginsWhenItIsTakenUp(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.behind("management.clear_job_queue")
			time.Sleep(5 * time.Minute)
			if restart {
				s.stop()
				time.Sleep(time.Hour)
				s.start()
			}
			time.Sleep(time.Minute)
			first, w := s.last(), s.node().Flow.Wait
			if first.State != conductor.StepOffered || !first.Started.IsZero() || w.Owner != "bmc" || !strings.Contains(w.For, "the turn of step") {
				t.Fatalf("restart %v: in line: %+v, the node waits for %+v", restart, first, w)
			}
			long := first.Step.Timeout - time.Minute
			s.board.mu.Lock()
			s.board.within = func(func() error) error { time.Sleep(long); return nil }
			s.board.mu.Unlock()
			s.board.answer(nil)
			n := s.until(state.Manageable)
			r := s.last()
			if r.ID != first.ID || r.State != conductor.StepSucceeded || r.Ended.Sub(r.Started).Round(time.Second) != long || n.LastError != "" {
				t.Errorf("restart %v: %+v took %s, expected %s; %s", restart, r, r.Ended.Sub(r.Started), long, n.LastError)
			}
		})
	}
}

// A turn that does not come ends the work with its reason, and the step is never run.
func TestI14_ATurnThatDoesNotComeEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.mu.Lock()
		s.board.health = conductor.Health{Failed: 7, Last: conductor.Exchange{Asked: "GET /redfish/v1", Came: "no route"}, Next: s.now().Add(24 * time.Hour)}
		s.board.mu.Unlock()
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		time.Sleep(time.Minute)
		if w := s.node().Flow.Wait; !strings.Contains(w.Evidence, "did not answer 7 times in a row (GET /redfish/v1: no route)") {
			t.Errorf("it waits for %+v", w)
		}
		n := s.until(state.CleanFail)
		if r := s.last(); n.LastReason != fault.BMCBusy || n.Maintenance || !r.Started.IsZero() || r.State != conductor.StepInterrupted {
			t.Errorf("%s; %+v", n.LastError, r)
		}
		time.Sleep(48 * time.Hour)
		if acts := s.board.did(); len(acts) != 0 {
			t.Errorf("acts upon the machine: %v", acts)
		}
		s.noEffects()
	})
}

// A step does not begin while the server's lease is in doubt, or while requests to its BMC are held back as it did not answer;
// then it has all its time.
func TestI14_I30_AStepBeginsWhenItsBMCMayBeAsked(t *testing.T) {
	for _, longer := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			s.doubt.Store(fault.New(fault.StorageUnavailable, "the lease is in doubt"))
			s.board.mu.Lock()
			s.board.health = conductor.Health{Failed: 7, Last: conductor.Exchange{Asked: "GET /redfish/v1", Came: "no route"}, Next: s.now().Add(10 * time.Minute)}
			s.board.mu.Unlock()
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
			first := 10 * time.Minute
			if longer { // than the breaker
				first = 15 * time.Minute
			}
			for range 2 {
				time.Sleep(first/2 - time.Second)
				if r := s.last(); r.State != conductor.StepOffered {
					t.Fatalf("%+v", r)
				}
				if !longer {
					s.doubt.Store(nil)
				}
			}
			s.doubt.Store(nil)
			s.until(state.Manageable)
			if r := s.last(); r.Started.Sub(r.Offered) < first-2*time.Second || r.Deadline.Sub(r.Started) != r.Step.Timeout {
				t.Errorf("in line from %s, begun at %s, until %s", r.Offered, r.Started, r.Deadline)
			}
		})
	}
}

// The answer to the commit that begins a step is lost: it is not known whether the step has begun, so the attempt counts as cut
// off, and another one runs (I8).
func TestI08_ABeginningOfUnknownFateIsNoExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.hold"}, {Name: "management.clear_job_queue"}}})
		s.until(state.CleanHold)
		runs := 0
		s.board.mu.Lock()
		s.board.within = func(func() error) error { runs++; return nil }
		s.board.mu.Unlock()
		s.fault.lose(func(tx conductor.Tx) bool {
			for _, r := range s.open(tx) {
				if r.Step.Name == "management.clear_job_queue" && r.State == conductor.StepStarted {
					return true
				}
			}
			return false
		})
		s.provision(conductor.Provision{Verb: state.VerbUnhold})
		n := s.until(state.Manageable)
		all := s.steps()
		if len(all) != 3 || all[1].State != conductor.StepInterrupted || all[2].State != conductor.StepSucceeded || runs != 1 {
			t.Errorf("%d runs of %+v; %s", runs, all, n.LastError)
		}
	})
}

// open are the steps at work.
func (s *site) open(tx conductor.Tx) []conductor.StepRecord {
	n, err := tx.NodeByName("n1")
	if err != nil {
		return nil
	}
	all, err := tx.OpenSteps(n.UUID)
	if err != nil {
		return nil
	}
	return all
}

// calledBy fails what is called, however far down, by a method of the engine.
func calledBy(method string, err error) func(context.Context) error {
	return func(context.Context) error {
		at := make([]uintptr, 64)
		for frames := runtime.CallersFrames(at[:runtime.Callers(1, at)]); ; {
			f, more := frames.Next()
			if strings.HasSuffix(f.Function, "(*Engine)."+method) {
				return err
			}
			if !more {
				return nil
			}
		}
	}
}

// once lets through what comes after the first failure.
func once(fail func(context.Context) error) func(context.Context) error {
	failed := false
	return func(ctx context.Context) (err error) {
		if !failed {
			err = fail(ctx)
			failed = err != nil
		}
		return err
	}
}

// A step whose record can't be read when its turn has come takes no server with it: a row may be damaged. It has not begun, so
// its work fails at once, with that, and without blame for the machine.
func TestAStepThatCantBeReadEndsTheWork(t *testing.T) {
	damaged := fault.New(fault.InternalError, "step X: unexpected end of JSON input")
	for name, breaks := range map[string]func(*faulty){
		"when it is taken up": func(f *faulty) { f.set(calledBy("runStep", damaged), nil, nil) },
		"when it is to begin": func(f *faulty) { f.set(nil, once(calledBy("begin", damaged)), nil) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.manageable()
			breaks(s.fault)
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
			asked := time.Now()
			n := s.until(state.CleanFail)
			if acts, r := s.board.did(), s.last(); n.LastReason != fault.InternalError || n.Maintenance || len(acts) != 0 || r.State != conductor.StepInterrupted || !r.Started.IsZero() ||
				!strings.Contains(n.LastError, "management.reset_bmc: the step was not begun, as its record can't be read: step X: unexpected end") {
				t.Errorf("%s: %s, maintenance %t; %+v; acts upon the machine: %v", name, n.LastError, n.Maintenance, r, acts)
			}
			if took := time.Since(asked); took > time.Minute {
				t.Errorf("%s: it took %s", name, took)
			}
			s.noEffects()
		})
	}
}

// The answer to the commit that begins a step is lost, and its work is aborted before the server has found that out: the work
// ends then, and not with the time that a step has to stop in (F40).
func TestF40_I08_AnAbortEndsAStepWhoseBeginningIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.fault.lose(func(tx conductor.Tx) bool {
			for _, r := range s.open(tx) {
				if r.State == conductor.StepStarted {
					// The server thinks it unknown from here on: it pauses before it asks again.
					s.fault.set(nil, calledBy("begin", fault.New(fault.StorageUnavailable, "the store is away")), nil)
					return true
				}
			}
			return false
		})
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}})
		time.Sleep(10 * time.Second)
		asked := time.Now()
		s.provision(conductor.Provision{Verb: state.VerbAbort})
		s.fault.set(nil, nil, nil)
		n := s.until(state.CleanFail)
		if acts, r := s.board.did(), s.last(); n.LastReason != fault.FlowAborted || n.Maintenance || r.State != conductor.StepAborted || len(acts) != 0 || time.Since(asked) > 10*time.Second {
			t.Errorf("after %s: %s, maintenance %t; %+v; acts upon the machine: %v", time.Since(asked), n.LastError, n.Maintenance, r, acts)
		}
		s.noEffects()
	})
}

// noEffects checks that nothing is left to be done.
func (s *site) noEffects() {
	s.t.Helper()
	time.Sleep(time.Minute) // orders that were given are cleared with the next stamp
	err := s.store.View(s.t.Context(), func(tx conductor.Tx) error {
		left, err := tx.Effects()
		if len(left) != 0 {
			s.t.Errorf("effects are left in the store: %+v", left)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
