//go:build vm

package crash

import (
	"slices"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// outOfBandMarks are on either side of each act of a step out of band, and of such a step as a whole.
var outOfBandMarks = []string{"step.before", "bios.write.before", "bios.write.after", "bios.reset.before", "bios.reset.after", "bmc.reset.before", "bmc.reset.after",
	"firmware.update.before", "firmware.update.after", "step.after"}

// TestI08_I14_F01_ServerKilledAtEachActOutOfBand: what a kill leaves of a step out of band is interrupted, and a new
// attempt reads, acts and confirms anew.
func TestI08_I14_F01_ServerKilledAtEachActOutOfBand(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes = 3 })
	s.server.kill()
	again := 0 // cut attempts after which another one succeeded
	for _, mark := range outOfBandMarks {
		if err := s.Start(t.Context(), mark+":1"); err != nil {
			t.Fatal(err)
		}
		looks := 0
		until(t, "a server dead at "+mark, func() bool {
			if looks++; looks%100 == 0 { // the nodes go on until one comes by the mark, and of a node's runs the last are kept
				s.check(t, false)
			}
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
				if looks++; looks%100 == 0 { // the other nodes go on meanwhile, and of a node's runs the last are kept
					s.check(t, false)
				}
				all := s.attempts(t)
				if !slices.ContainsFunc(all, func(r conductor.StepRecord) bool { return r.ID == cut.ID && r.State == conductor.StepInterrupted }) {
					return false
				}
				if slices.ContainsFunc(all, func(r conductor.StepRecord) bool {
					return r.Run == cut.Run && r.Order == cut.Order && r.Attempt > cut.Attempt && r.State == conductor.StepSucceeded
				}) {
					again++
					return true
				}
				if mark == "firmware.update.before" && slices.ContainsFunc(all, func(r conductor.StepRecord) bool { // nobody can know that it was not sent
					return r.Run == cut.Run && r.Order == cut.Order && r.Attempt > cut.Attempt && r.Fault != nil && r.Fault.Reason == fault.FirmwareUnknown
				}) {
					return true
				}
				return s.wasAborted(t, cut.Run) // the operator's flows are, now and then
			})
		}
		s.check(t, false)
		s.server.kill()
	}
	s.finish(t, o)
	t.Logf("%d kills, %d of them between, %d deployments", 2*len(outOfBandMarks), len(outOfBandMarks), o.Rounds())
	if again == 0 {
		t.Error("no attempt that a kill had cut off was made again with success")
	}
	for name := range actOf {
		if !slices.ContainsFunc(s.attempts(t), func(r conductor.StepRecord) bool { return r.Step.Name == name && r.State == conductor.StepSucceeded }) {
			t.Errorf("no attempt of %s succeeded", name)
		}
	}
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
