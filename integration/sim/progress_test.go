package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// clocked reports ten times a second the moment at which it does, so that a test can tell how old a report is.
func clocked(d time.Duration) func(context.Context, *machine, string, step.Call) error {
	return func(ctx context.Context, _ *machine, _ string, c step.Call) error {
		for begin := time.Now(); time.Since(begin) < d; {
			p := float64(time.Since(begin)) / float64(d) * 100
			c.Report(step.Progress{Percent: p, Item: time.Now().Format(time.RFC3339Nano), Devices: []step.DeviceProgress{{Device: "a", Percent: p}, {Device: "b", Percent: 100 - p}}})
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
		return nil
	}
}

// running is the record of the step at work.
func (s *site) running() (conductor.StepRecord, bool) {
	s.t.Helper()
	recs, err := s.srv.c.Steps(s.t.Context(), "n1", "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range recs {
		if r.State == conductor.StepStarted {
			return r, true
		}
	}
	return conductor.StepRecord{}, false
}

// age is how old what the server shows of the running step is.
func (s *site) age() (time.Duration, error) {
	r, ok := s.running()
	if !ok || r.Progress == nil {
		return 0, fmt.Errorf("no progress is shown: %+v", r)
	}
	at, err := time.Parse(time.RFC3339Nano, r.Progress.Item)
	return time.Since(at), err
}

// TestProgressIsTwoSecondsOldAtMost: from two seconds after somebody began to look on, what is shown is never older than
// two seconds; afterwards it comes with the heartbeats again. Each disk's percentage only grows, and the end keeps it.
func TestProgressIsTwoSecondsOldAtMost(t *testing.T) {
	for _, who := range []string{"n1", ""} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.work = clocked(20 * time.Minute)
			s.clean()
			s.await("a step runs", func() bool { _, ok := s.running(); return ok })
			<-time.After(3*time.Minute + 17*time.Second)

			ctx, cancel := context.WithCancel(t.Context())
			changed := s.srv.c.Watch(ctx, who)
			<-time.After(2 * time.Second)
			told, least := 0, map[string]float64{}
			for range 1200 {
				synctest.Wait()
				if age, err := s.age(); err != nil || age > 2*time.Second {
					t.Fatalf("watched by %q, what is shown is %s old, %v", who, age, err)
				}
				r, _ := s.running()
				for _, d := range r.Progress.Devices {
					if d.Percent < least[d.Device] {
						t.Fatalf("disk %s went back from %v to %v", d.Device, least[d.Device], d.Percent)
					}
					least[d.Device] = d.Percent
				}
				select {
				case <-changed:
					told++
				default:
				}
				<-time.After(100 * time.Millisecond)
			}
			if told < 100 {
				t.Errorf("in two minutes the watcher was woken %d times", told)
			}
			cancel()
			<-time.After(10 * time.Second)
			before := s.net.Writes()
			<-time.After(5 * time.Minute)
			if n := s.net.Writes() - before; n > 100 {
				t.Errorf("nobody looks on, and there were %d writes in five minutes", n)
			}
			if age, err := s.age(); err != nil || age > time.Minute {
				t.Errorf("with the heartbeat: %s old, %v", age, err)
			}
			s.until(state.Available)
			recs, err := s.srv.c.Steps(t.Context(), "n1", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				if r.Progress == nil || r.Progress.Percent != 100 || len(r.Progress.Devices) != 2 || r.Ended.Sub(r.Started) < 20*time.Minute {
					t.Errorf("kept of %s: %+v, from %s to %s", r.Step.Name, r.Progress, r.Started, r.Ended)
				}
			}
		})
	}
}
