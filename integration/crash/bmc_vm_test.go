//go:build vm

package crash

import (
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// outOfBandCut is a step out of band and marks that it comes by.
type outOfBandCut struct {
	step  string
	marks []string
}

// outOfBandCuts have the marks on either side of each act of a step out of band, and of such a step as a whole. There is a site
// for each: what became of an image takes the server minutes to tell, and the others do not wait for that.
var outOfBandCuts = []outOfBandCut{
	{"bios.apply_configuration", []string{"step.before", "bios.write.before", "bios.write.after", "step.after"}},
	{"bios.factory_reset", []string{"bios.reset.before", "bios.reset.after"}},
	{"management.reset_bmc", []string{"bmc.reset.before", "bmc.reset.after"}},
	{updateStep, []string{"firmware.update.before"}},
	{updateStep, []string{"firmware.update.after"}},
}

var outOfBandMarks = func() (all []string) {
	for _, c := range outOfBandCuts {
		all = append(all, c.marks...)
	}
	return all
}()

// TestI08_I14_F01_ServerKilledAtEachActOutOfBand: what a kill leaves of a step out of band is interrupted, and a new
// attempt reads, acts and confirms anew.
func TestI08_I14_F01_ServerKilledAtEachActOutOfBand(t *testing.T) {
	t.Parallel()
	for name := range actOf {
		if !slices.ContainsFunc(outOfBandCuts, func(c outOfBandCut) bool { return c.step == name }) {
			t.Errorf("the server is killed in no attempt of %s", name)
		}
	}
	for _, cut := range outOfBandCuts {
		t.Run(cut.marks[0], func(t *testing.T) {
			t.Parallel()
			s, o := site(t, func(c *Config) { c.Nodes, c.Clean = 2, cut.step })
			s.killOutOfBand(t, cut.step, cut.marks)
			until(t, "an attempt of "+cut.step+" that succeeded", func() bool {
				return slices.ContainsFunc(s.attempts(t), func(r conductor.StepRecord) bool {
					return r.Step.Name == cut.step && r.State == conductor.StepSucceeded
				})
			})
			s.finish(t, o)
			t.Logf("%d kills, %d of them between, %d deployments", 2*len(cut.marks), len(cut.marks), o.Rounds())
		})
	}
}

// killOutOfBand kills the server at each mark in turn, and waits each time for what becomes of the attempts that were cut off.
func (s *Site) killOutOfBand(t *testing.T, name string, marks []string) {
	t.Helper()
	again := 0 // cut attempts after which another one succeeded, or told that nobody can know
	var checked time.Time
	recheck := func() { // the nodes go on meanwhile, and of a node's runs the last are kept
		if time.Since(checked) >= 2*time.Second {
			s.check(t, false)
			checked = time.Now()
		}
	}
	for _, mark := range marks {
		s.server.kill()
		if err := s.Start(t.Context(), mark+":1"); err != nil {
			t.Fatal(err)
		}
		until(t, "a server dead at "+mark, func() bool {
			recheck()
			return !s.server.alive()
		})
		byItself, err := s.Died(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !byItself {
			t.Fatalf("no work came by the mark %s", mark)
		}
		s.check(t, false)
		open := slices.DeleteFunc(s.attempts(t), func(r conductor.StepRecord) bool { return r.State != conductor.StepStarted })
		if len(open) == 0 {
			t.Errorf("the server died at %s, and no step out of band was under way", mark)
		}
		if err := s.Start(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		for _, cut := range open {
			until(t, "a second attempt of "+cut.Step.Name+" that succeeded, nor an abort of its flow", func() bool {
				recheck()
				all := s.attempts(t)
				if !slices.ContainsFunc(all, func(r conductor.StepRecord) bool { return r.ID == cut.ID && r.State == conductor.StepInterrupted }) {
					return false
				}
				if slices.ContainsFunc(all, func(r conductor.StepRecord) bool {
					if r.Run != cut.Run || r.Order != cut.Order || r.Attempt <= cut.Attempt {
						return false
					}
					unknown := r.Fault != nil && r.Fault.Reason == fault.FirmwareUnknown && !s.sent(t, cut) // nobody can know that it was not sent
					return r.State == conductor.StepSucceeded || unknown
				}) {
					again++
					return true
				}
				return s.wasAborted(t, cut.Run) // the operator's flows are, now and then
			})
		}
		s.check(t, false)
	}
	if again == 0 {
		t.Errorf("no attempt of %s that a kill had cut off was made again", name)
	}
}

// sent tells whether the BMC was sent the image of an attempt.
func (s *Site) sent(t *testing.T, r conductor.StepRecord) bool {
	t.Helper()
	return slices.ContainsFunc(s.lines(t), func(l ledger.Line) bool {
		return l.Kind == ledger.Act && l.Name == bmc.ActUpdate && l.Value == settings(r)
	})
}

// attempts are all steps out of band that the database has.
func (s *Site) attempts(t *testing.T) []conductor.StepRecord {
	t.Helper()
	stored, err := ReadDatabase(t.Context(), s.databaseFile())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(stored.Steps, func(r conductor.StepRecord) bool { return r.Step.Where != step.OutOfBand })
}

// wasAborted tells whether a flow ended because its operator asked for that.
func (s *Site) wasAborted(t *testing.T, run string) bool {
	t.Helper()
	stored, err := ReadDatabase(t.Context(), s.databaseFile())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(stored.History, func(h conductor.Entry) bool { return h.Run == run && h.Reason == fault.FlowAborted })
}
