package sim

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestLastLinesStayWithTheFailure: what the agent logged last stands with the step that failed, bounded, and last_error
// says where the rest is.
func TestLastLinesStayWithTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.work = func(_ context.Context, _ *machine, _ string, c step.Call) error {
			for i := range 400 {
				c.Log.Info("sector", "number", i, "text", strings.Repeat("x", i))
			}
			c.Log.Error("the disk broke")
			<-time.After(time.Minute) // the log is shipped meanwhile
			return fault.New(fault.DiskIO, "write to sda: input/output error")
		}
		s.clean()
		n := s.until(state.CleanFail, state.Available)
		r := s.steps()[0]
		if r.State != conductor.StepFailed || len(r.Log) != 20 {
			t.Fatalf("step %s with %d lines", r.State, len(r.Log))
		}
		all := strings.Join(r.Log, "\n")
		if !strings.Contains(all, `"the disk broke"`) || strings.Contains(all, `"number":100,`) || len(all) > 20*700 {
			t.Errorf("kept are %d bytes: %s", len(all), all)
		}
		if !strings.Contains(n.LastError, "bessemer node logs n1 --boot 1") || n.LastReason != fault.DiskIO {
			t.Errorf("last error %q", n.LastError)
		}
		// A step that ends well needs none.
		s.mu.Lock()
		s.work = nil
		s.mu.Unlock()
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.until(state.Available)
		for _, r := range s.steps() {
			if len(r.Log) != 0 {
				t.Errorf("%s, %s: %q", r.Step.Name, r.State, r.Log)
			}
		}
	})
}

// TestLastLinesOfAMachineThatFellSilent: what it had said until then stands with the attempt that was cut off.
func TestLastLinesOfAMachineThatFellSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		e := &eraser{t: t}
		s.work = func(ctx context.Context, m *machine, name string, c step.Call) error {
			c.Log.Info("erasing now")
			return e.work(ctx, m, name, c)
		}
		s.clean()
		s.await("it is erased", func() bool { return e.at(5) })
		s.reset()
		s.until(state.Available, state.CleanFail)
		if r := s.steps()[1]; r.State != conductor.StepInterrupted || !strings.Contains(strings.Join(r.Log, "\n"), `"erasing now"`) {
			t.Errorf("step %s with %q", r.State, r.Log)
		}
	})
}
