package engine_test

import (
	"context"
	"slices"
	"sync"
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

// damage makes the node's record say that acts are under way that nothing carries out, as a salvaged database may.
func (s *site) damage(change func(*conductor.Node)) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx conductor.Tx) error {
		n, err := tx.NodeByName("n1")
		if err != nil {
			return err
		}
		change(&n)
		return tx.PutNode(&n)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// An act whose effect is lost is given up by the doctor, in the name of who asked: the node can be worked on again, and what
// is known of the machine was read after that (I13, I27).
func TestI13_ALostActIsGivenUp(t *testing.T) {
	for name, lose := range map[string]func(*conductor.Node){
		"power": func(n *conductor.Node) {
			n.PowerTarget, n.Power = conductor.PowerOff, conductor.PowerOn
			n.Leases++
			n.Lease = &conductor.Lease{Number: n.Leases, Holder: conductor.HolderPower}
		},
		"a medium": func(n *conductor.Node) {
			n.Act, n.Power = &conductor.Act{Kind: conductor.ActAttach, Device: "disk", URL: "http://192.0.2.7/drive.img"}, conductor.PowerOn
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.manageable()
				s.damage(lose)
				if err := s.c.Provision(t.Context(), conductor.Caller{Name: "op"}, "n1", conductor.Provision{Verb: state.VerbProvide}); !fault.Has(err, fault.NodeBusy) {
					t.Fatalf("work on a node whose act is lost: %v", err)
				}
				s.fix(doctor.ActGiveUp)
				time.Sleep(time.Minute)
				n := s.node()
				if n.PowerTarget != "" || n.Act != nil || n.Lease != nil || n.LastReason != fault.NodeActLost || n.LastError == "" || n.Power != conductor.PowerOff {
					t.Errorf("after it: target %q, act %v, lease %v, power %q, %s", n.PowerTarget, n.Act, n.Lease, n.Power, n.LastError)
				}
				if in := len(n.Media); in != map[string]int{"a medium": 1}[name] {
					t.Errorf("%d media are kept in mind", in)
				}
				if acts := s.board.did(); len(acts) != 0 {
					t.Errorf("acts upon the machine: %v", acts)
				}
				var audited []string
				for _, a := range s.Audited() {
					if a.Actor == "ann" && a.Request == "req-9" {
						audited = append(audited, a.Act)
					}
				}
				if !slices.Equal(audited, []string{"doctor.fix", "act.give_up"}) {
					t.Errorf("audited: %v", audited)
				}
				s.provision(conductor.Provision{Verb: state.VerbInspect})
			})
		})
	}
}

// A BMC that is away keeps nothing waiting that is asked of the node after a lost act was given up, and power that could not
// be read is unknown, not what it was before.
func TestI15_APowerThatWasReadBeforeALostActCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.damage(func(n *conductor.Node) { n.PowerTarget, n.Power = conductor.PowerOn, conductor.PowerOff })
		s.board.answer(fault.New(fault.BMCUnreachable, "no route"))
		s.fix(doctor.ActGiveUp)
		time.Sleep(time.Second)
		if n := s.node(); n.Power != "" {
			t.Errorf("the power is %q", n.Power)
		}
		if left := s.effects(); len(left) != 0 {
			t.Errorf("what is asked next waits for %+v", left)
		}
		s.board.answer(nil)
		if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if n := s.node(); n.Power != conductor.PowerOn || n.PowerTarget != "" {
			t.Errorf("the power is %q, target %q", n.Power, n.PowerTarget)
		}
	})
}

// An act that is under way is none that is lost: it can't be given up, as it would be carried out after that.
func TestI8_AnActThatIsStoredIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.answer(fault.New(fault.BMCUnreachable, "no route"))
		if err := s.c.SetPower(t.Context(), conductor.Caller{Name: "ann"}, "n1", conductor.PowerRequest{Target: "power on"}); err != nil {
			t.Fatal(err)
		}
		if err := s.c.Treat(t.Context(), conductor.Caller{Name: "ann"}, "n1", doctor.ActGiveUp); !fault.Has(err, fault.StateVerb) {
			t.Errorf("giving it up gives %v", err)
		}
		if n := s.node(); n.PowerTarget != conductor.PowerOn {
			t.Errorf("the target is %q", n.PowerTarget)
		}
	})
}

// Whether an act is lost is asked again in the transaction that gives it up (I11).
func TestI11_AnActThatComesToBeStoredMeanwhileIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.damage(func(n *conductor.Node) { n.PowerTarget = conductor.PowerOn })
		n, once := s.node(), sync.Once{}
		s.fault.set(nil, func(ctx context.Context) (err error) {
			once.Do(func() {
				err = s.store.Update(ctx, func(tx conductor.Tx) error {
					return tx.AddEffect(&conductor.Effect{Node: n.UUID, Kind: conductor.EffectPower, Power: conductor.On, Created: s.now()})
				})
			})
			return err
		}, nil)
		if err := s.c.Treat(t.Context(), conductor.Caller{Name: "ann"}, "n1", doctor.ActGiveUp); !fault.Has(err, fault.NodeBusy) {
			t.Errorf("giving it up gives %v", err)
		}
		if n := s.node(); n.PowerTarget != conductor.PowerOn || n.LastReason == fault.NodeActLost {
			t.Errorf("the target is %q, last error %q", n.PowerTarget, n.LastError)
		}
		s.fault.set(nil, nil, nil)
	})
}

// effects are those that are stored.
func (s *site) effects() (out []conductor.Effect) {
	s.t.Helper()
	if err := s.store.View(s.t.Context(), func(tx conductor.Tx) (err error) { out, err = tx.Effects(); return err }); err != nil {
		s.t.Fatal(err)
	}
	return out
}
