package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func (s *site) diagnose() api.Diagnosis {
	s.t.Helper()
	d, err := s.c.Diagnose(s.t.Context(), "n1")
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// fix takes the way out that the doctor names, which must be the one wanted.
func (s *site) fix(act string) {
	s.t.Helper()
	d := s.diagnose()
	if d.Fix == nil || d.Fix.Act != act {
		s.t.Fatalf("the way out is %+v of %+v, want %s", d.Fix, d, act)
	}
	if err := s.c.Treat(s.t.Context(), conductor.Caller{Name: "ann", Request: "req-9"}, "n1", act); err != nil {
		s.t.Fatal(err)
	}
}

// The server is killed in the middle of a clean and the agent is gone when it comes back: the doctor says what the node
// waits for and until when, then that the agent is silent, then what is wrong, and brings it out (row 23 of the
// requirements).
func TestI13_TheDoctorResolvesACleanThatWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		_, id := s.erasing()
		s.stop()
		s.mail.listen(func() time.Time { return time.Time{} }) // the machine lost its power as well
		time.Sleep(time.Hour)
		s.start()
		synctest.Wait()
		d := s.diagnose()
		if d.Verdict != api.VerdictWaits || d.Wait == nil || d.Wait.Owner != "agent" || d.Wait.Reason == "" || !d.Wait.Deadline.After(s.now()) ||
			d.Step == nil || d.Step.State != "started" || d.Step.Abort == "" || len(d.Problems) != 0 {
			t.Fatalf("right after the restart: %+v", d)
		}
		time.Sleep(3 * time.Minute)
		d = s.diagnose()
		if d.Verdict != api.VerdictWrong || d.Problems[0].Reason != string(fault.FlowSilent) || d.Fix == nil || d.Fix.Act != "verb.abort" || !d.Fix.Ends {
			t.Fatalf("while nothing is heard: %+v", d)
		}
		s.until(state.CleanFail)
		s.fix(doctor.ActMaintenance)
		s.fix("verb.manage")
		s.until(state.Manageable)
		time.Sleep(time.Minute)
		if d := s.diagnose(); d.Verdict != api.VerdictWell || len(d.Problems) != 0 {
			t.Errorf("after the fixes: %+v", d)
		}
		if s.board.state() != conductor.PowerOff {
			t.Error("the machine was not fenced")
		}
		rec, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || !slices.ContainsFunc(rec, func(r conductor.StepRecord) bool { return r.ID == id && r.State == conductor.StepInterrupted }) {
			t.Errorf("the step is not told as interrupted: %+v (%v)", rec, err)
		}
		var fixes []string
		for _, a := range s.Audited() {
			if a.Act == "doctor.fix" && a.Actor == "ann" && a.Request == "req-9" {
				fixes = append(fixes, a.Detail["act"].(string))
			}
		}
		if !slices.Equal(fixes, []string{"maintenance.unset", "verb.manage"}) {
			t.Errorf("audited fixes: %v", fixes)
		}
	})
}

// What is no way on is refused with those that are, and changes nothing; an act that destroys is never the fix.
func TestTreatTakesOnlyLegalWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		before := len(s.Audited())
		for _, act := range []string{"verb.abort", "verb.delete", "power.off", "maintenance.unset", "", "verb."} {
			err := s.c.Treat(t.Context(), conductor.Caller{Name: "ann"}, "n1", act)
			if !fault.Has(err, fault.StateVerb) || fault.From(err).Hint == "" {
				t.Errorf("%q gives %v", act, err)
			}
		}
		if n := len(s.Audited()); n != before {
			t.Errorf("%d refused acts are audited as done", n-before)
		}
		list, well, err := s.c.DiagnoseAll(t.Context())
		if err != nil || well != 1 || len(list) != 0 {
			t.Errorf("a node that is well: %v, %d, %v", list, well, err)
		}
		s.board.answer(fault.New(fault.BMCAuth, "401"))
		s.provision(conductor.Provision{Verb: state.VerbInspect})
		s.until(state.InspectFail)
		list, well, err = s.c.DiagnoseAll(t.Context())
		if err != nil || well != 0 || len(list) != 1 || list[0].Problems[0].Reason != string(fault.BMCAuth) || list[0].Fix.Act != "verb.manage" {
			t.Errorf("a node that failed: %+v, %d, %v", list, well, err)
		}
	})
}

// A node whose record is in doubt is confirmed by the way on that the doctor names, in the name of who asked (I15, I27).
func TestI15_TheDoctorsWayOnConfirmsARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		err := s.store.Update(t.Context(), func(tx conductor.Tx) error {
			n, err := tx.NodeByName("n1")
			if err != nil {
				return err
			}
			n.Unverified = &conductor.Unverified{Since: s.now(), Why: "restored"}
			return tx.PutNode(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.Audited())
		if err := s.c.Treat(t.Context(), conductor.Caller{Name: "ann", Request: "req-1"}, "n1", doctor.ActConfirm); err != nil {
			t.Fatal(err)
		}
		if n := s.node(); n.Unverified != nil {
			t.Errorf("still unverified: %+v", n.Unverified)
		}
		for _, a := range s.Audited()[before:] {
			if a.Actor != "ann" || a.Request != "req-1" {
				t.Errorf("audited as %q (%q)", a.Actor, a.Request)
			}
		}
		if len(s.Audited()) < before+2 {
			t.Error("the doctor's act or the confirmation is not audited")
		}
	})
}
