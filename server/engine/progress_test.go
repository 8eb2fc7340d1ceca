package engine_test

import (
	"context"
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

// A step out of band shows what one in band does: how far it is, how fast, what is left, what it is at, and when that was told.
// It never goes back. All of it is kept after the end, and how long it took tells what is left the next time.
func TestProgressOutOfBandIsToldAsInBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.board.mu.Lock()
		s.board.runs = func(ctx context.Context, c step.Call, _ func() error) error {
			for _, percent := range []float64{10, 50, 40, 90} {
				time.Sleep(2 * time.Minute)
				c.Report(step.Progress{Percent: percent, Item: "the BMC's task"})
			}
			time.Sleep(2 * time.Minute)
			return nil
		}
		s.board.mu.Unlock()
		clean := conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}}
		shows := func(percent, rate float64, left time.Duration, told time.Duration) {
			t.Helper()
			r := s.shown()[0]
			p := r.Progress
			if p == nil || p.Percent != percent || p.Done != int64(percent) || p.Total != 100 || p.Unit != "%" || p.Rate != rate || p.Left.Round(time.Second) != left || p.Told.Sub(r.Started) != told {
				t.Errorf("%s after its beginning it shows %+v; expected %v %%, %v a second, %s left, told after %s", s.now().Sub(r.Started), p, percent, rate, left, told)
			}
		}
		s.provision(clean)
		time.Sleep(time.Second)
		shows(0, 0, 0, 0)
		time.Sleep(2 * time.Minute)
		shows(10, 10./120, 18*time.Minute, 2*time.Minute)
		if w := doctor.WaitOf(s.node().Flow.Wait, time.Time{}, s.shown()); w.Evidence != "the BMC's task" || s.now().Sub(w.Seen.Time) != time.Second {
			t.Errorf("the last sign is %q at %s, now %s", w.Evidence, w.Seen, s.now())
		}
		time.Sleep(2 * time.Minute)
		shows(50, 50./240, 4*time.Minute, 4*time.Minute)
		time.Sleep(2 * time.Minute)
		shows(50, 50./360, 6*time.Minute, 6*time.Minute)
		s.until(state.Manageable)
		if r := s.last(); r.Progress == nil || r.Progress.Percent != 100 || r.Progress.Left != 0 || r.Progress.Told.Sub(r.Started) != 8*time.Minute || r.Ended.Sub(r.Started) != 10*time.Minute {
			t.Errorf("after its end: %+v, %s", r.Progress, r.Ended.Sub(r.Started))
		}
		s.provision(clean)
		time.Sleep(2*time.Minute + time.Second)
		shows(10, 10./120, 8*time.Minute, 2*time.Minute)
		s.board.mu.Lock()
		s.board.runs = func(ctx context.Context, c step.Call, _ func() error) error {
			c.Report(step.Progress{Percent: 30, Item: "the BMC's task"})
			return fault.New(fault.BMCTask, "it failed")
		}
		s.board.mu.Unlock()
		s.until(state.Manageable)
		s.provision(clean)
		n := s.until(state.CleanFail)
		if r := s.last(); r.Progress == nil || r.Progress.Percent != 30 || r.Progress.Item != "the BMC's task" || !strings.Contains(n.LastError, "it failed") {
			t.Errorf("after its failure: %+v, %s", r.Progress, n.LastError)
		}
	})
}
