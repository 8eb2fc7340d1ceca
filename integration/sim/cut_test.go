package sim

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// eraser is the machine's disk and who erases it: 1 % after each pace, and flushed then. It keeps where each attempt
// began, and sees to it that two never work at once (F16).
type eraser struct {
	t      *testing.T
	pace   time.Duration // 0 is a minute
	mu     sync.Mutex
	began  []int64
	zeroed int64
	active int
}

func (e *eraser) work(ctx context.Context, _ *machine, name string, c step.Call) error {
	id, _ := disk.ID()
	from := int64(0)
	for _, r := range c.Resume {
		if r.Disk == id && r.Method == "overwrite" {
			from = r.Until
		}
	}
	e.mu.Lock()
	if name == "deploy.erase_devices" || name == "deploy.write_image" {
		e.began = append(e.began, from)
	}
	if from > e.zeroed {
		e.t.Errorf("%s goes on at %d, only %d bytes were erased", name, from, e.zeroed)
	}
	if e.active++; e.active > 1 {
		e.t.Error("two steps work on the disk at once")
	}
	e.mu.Unlock()
	defer func() { e.mu.Lock(); e.active--; e.mu.Unlock() }()
	if name == "deploy.erase_devices_metadata" {
		return nil
	}
	for until := from; until < id.Size; {
		select {
		case <-ctx.Done():
			return &step.Stopped{Left: fmt.Sprintf("its first %d bytes are zeros", until), Err: context.Cause(ctx)}
		case <-time.After(cmp.Or(e.pace, time.Minute)):
		}
		until = min(id.Size, until+id.Size/100)
		e.mu.Lock()
		e.zeroed = until
		e.mu.Unlock()
		p := step.Progress{Percent: float64(until) / float64(id.Size) * 100}
		if name == "deploy.erase_devices" {
			p.Checkpoints = []step.Checkpoint{{Disk: id, Method: "overwrite", Until: until}}
		}
		c.Report(p)
	}
	return nil
}

// starts is where each attempt began, in percent.
func (e *eraser) starts() (out []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.began {
		out = append(out, int(b*100/disk.Size))
	}
	return out
}

func (e *eraser) at(percent int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.zeroed >= disk.Size*percent/100
}

// reset is the machine's reset button, or a power cut: the process ends, tmpfs is gone, and the medium is not in any
// more.
func (s *site) reset() {
	m := s.agent()
	m.stop()
	if err := os.RemoveAll(m.dir); err != nil {
		s.t.Error(err)
	}
}

func (s *site) steps() []conductor.StepRecord {
	s.t.Helper()
	recs, err := s.srv.c.Steps(s.t.Context(), "n1", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return recs
}

// TestF15_EraseGoesOnAfterAReset: the machine is reset at 40 % of its erasing. The attempt is interrupted (I12), the
// machine powered off and the ramdisk booted anew, and a new attempt with a new id goes on at 40 %, also when the server
// restarted meanwhile.
func TestF15_EraseGoesOnAfterAReset(t *testing.T) {
	for _, server := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			e := &eraser{t: t}
			s.work = e.work
			s.clean()
			s.await("40 % erased", func() bool { return e.at(40) })
			<-time.After(70 * time.Second)
			s.reset()
			if server {
				s.stop()
				<-time.After(time.Minute)
				s.start()
			}
			n := s.until(state.Available, state.CleanFail)
			if n.State != state.Available || s.hosts[0].boots != 2 || n.Maintenance {
				t.Fatalf("%q (%s), %d boots", n.State, n.LastError, s.hosts[0].boots)
			}
			if got := e.starts(); len(got) != 2 || got[0] != 0 || got[1] < 38 || got[1] > 42 {
				t.Errorf("server restarted %v: the attempts began at %v %%", server, got)
			}
			recs := s.steps()
			if len(recs) != 3 || recs[1].State != conductor.StepInterrupted || recs[2].State != conductor.StepSucceeded || recs[1].ID == recs[2].ID || recs[2].Attempt != 2 || recs[1].Generation == recs[2].Generation {
				t.Errorf("attempts %+v", recs)
			}
			if p := recs[1].Progress; p == nil || p.Percent < 38 {
				t.Errorf("of the interrupted one is kept %+v", p)
			}
			s.once()
		})
	}
}

// TestF15_WriteBeginsAnewAfterAReset: an image is written from its start again.
func TestF15_WriteBeginsAnewAfterAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.clean()
		s.until(state.Available)
		e := &eraser{t: t}
		s.mu.Lock()
		s.work = e.work
		s.mu.Unlock()
		s.deploy()
		s.await("40 % written", func() bool { return e.at(40) })
		s.reset()
		n := s.until(state.Active, state.DeployFail)
		if got := e.starts(); n.State != state.Active || !slices.Equal(got, []int{0, 0}) {
			t.Fatalf("%q (%s), the attempts began at %v %%", n.State, n.LastError, got)
		}
		if recs := s.steps(); len(recs) != 2 || recs[0].State != conductor.StepInterrupted || recs[1].State != conductor.StepSucceeded {
			t.Errorf("attempts %+v", recs)
		}
		s.once()
	})
}

// deploy begins a deployment.
func (s *site) deploy() {
	s.t.Helper()
	_, err := s.srv.c.UpdateNode(s.t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.InstanceInfo = map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.provision(conductor.Provision{Verb: state.VerbDeploy})
}

// TestAbortStopsWithinTenSeconds: asked for at any moment, through the heartbeat held open the agent is told at once; the
// step stops, and what it left stands in last_error.
func TestAbortStopsWithinTenSeconds(t *testing.T) {
	for _, after := range []time.Duration{0, 17 * time.Second, 54 * time.Second, 55*time.Second + 10*time.Millisecond, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			e := &eraser{t: t}
			s.work = e.work
			s.clean()
			s.await("it is erased", func() bool { return e.at(1) })
			<-time.After(after)
			asked := time.Now()
			s.provision(conductor.Provision{Verb: state.VerbAbort})
			if w := s.node().Flow.Wait; w == nil || !strings.Contains(w.For, "to stop at a safe point") {
				t.Errorf("it waits for %+v", w)
			}
			n := s.until(state.CleanFail, state.Available)
			r := s.steps()[1]
			if took := r.Ended.Sub(asked); n.State != state.CleanFail || r.State != conductor.StepAborted || took > 10*time.Second {
				t.Errorf("after %s: %q (%s), step %s after %s", after, n.State, n.LastError, r.State, took)
			}
			if n.LastReason != fault.FlowAborted || !strings.Contains(n.LastError, "bytes are zeros") || !strings.Contains(r.Fault.Message, "bytes are zeros") {
				t.Errorf("what is left is told as %q", n.LastError)
			}
			s.once()
		})
	}
}

// TestF16_AStepThatHangsWhileTheAgentLives: it ends at its deadline, the machine is powered off, nothing else ran.
func TestF16_AStepThatHangsWhileTheAgentLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		free := make(chan struct{})
		s.work = func(context.Context, *machine, string, step.Call) error { <-free; return nil }
		s.clean()
		s.await("a step runs", func() bool { return len(s.executions()) == 1 })
		began := time.Now()
		n := s.until(state.CleanFail, state.Available)
		if n.State != state.CleanFail || n.LastReason != fault.StepTimeout || time.Since(began) > 35*time.Minute {
			t.Errorf("%q after %s (%s)", n.State, time.Since(began), n.LastError)
		}
		close(free)
		<-time.After(10 * time.Minute)
		if b := n.Boot; !b.Ended || s.hosts[0].power != conductor.PowerOff || len(s.executions()) != 1 {
			t.Errorf("not fenced: boot ended %v, machine %q, %d executions", b.Ended, s.hosts[0].power, len(s.executions()))
		}
		s.once()
	})
}

// TestF16_AStepThatWorksWhileTheAgentIsCutOff: the network is gone, the step goes on. It is given up after the time an
// agent may be silent, and its machine is off before another attempt begins; that one goes on where it was last heard.
func TestF16_AStepThatWorksWhileTheAgentIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		e := &eraser{t: t}
		s.work = e.work
		s.clean()
		s.await("30 % erased", func() bool { return e.at(30) })
		s.net.Down(true)
		s.await("it is booted again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.hosts[0].boots == 2 })
		if !e.at(34) {
			t.Error("it did not go on while it was cut off")
		}
		s.net.Down(false)
		n := s.until(state.Available, state.CleanFail)
		if got := e.starts(); n.State != state.Available || len(got) != 2 || got[1] < 28 || got[1] > 31 {
			t.Errorf("%q (%s), the attempts began at %v %%", n.State, n.LastError, got)
		}
		s.once()
	})
}

// TestF29_AnAgentsClockDecidesNothing: whatever the machine's clock says, and however it runs, the work is done as ever:
// the server's certificate is judged by the time the medium brought, and nothing else by the clock.
func TestF29_AnAgentsClockDecidesNothing(t *testing.T) {
	for name, clock := range map[string]func(began, now time.Time) time.Time{
		"1970": func(began, now time.Time) time.Time { return time.Unix(0, 0).Add(now.Sub(began)) },
		"2099": func(began, now time.Time) time.Time {
			return time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).Add(now.Sub(began))
		},
		"three times fast":  func(began, now time.Time) time.Time { return now.Add(2 * now.Sub(began)) },
		"ten times slow":    func(began, now time.Time) time.Time { return began.Add(now.Sub(began) / 10) },
		"stands":            func(began, _ time.Time) time.Time { return began },
		"goes back":         func(began, now time.Time) time.Time { return began.Add(-now.Sub(began)) },
		"jumps by 20 years": func(began, now time.Time) time.Time { return now.AddDate(20*(now.Minute()%3-1), 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				began := time.Now()
				s.clock = func() time.Time { return clock(began, time.Now()) }
				e := &eraser{t: t, pace: 2 * time.Second}
				s.work = e.work
				s.clean()
				if n := s.until(state.Available, state.CleanFail); n.State != state.Available || time.Since(began) > 5*time.Minute {
					t.Fatalf("%q after %s (%s)", n.State, time.Since(began), n.LastError)
				}
				s.deploy()
				if n := s.until(state.Active, state.DeployFail); n.State != state.Active {
					t.Fatalf("%q (%s)", n.State, n.LastError)
				}
				s.once()
			})
		})
	}
}

// TestCheckpointsAreCheap: where a step could be gone on from is stored once a minute at most, also while somebody looks
// on; progress without a checkpoint is not stored at all while the step runs (L1).
func TestCheckpointsAreCheap(t *testing.T) {
	for name, c := range map[string]struct {
		work        func(context.Context, *machine, string, step.Call) error
		least, most int64
	}{
		"with checkpoints":     {(&eraser{t: t, pace: 10 * time.Second}).work, 8, 11},
		"without a checkpoint": {slow(20 * time.Minute), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.work = c.work
				s.clean()
				s.await("a step works for a while", func() bool { r, ok := s.running(); return ok && r.Progress != nil && r.Progress.Percent > 2 })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s.srv.c.Watch(ctx, "n1")
				before := s.node().Version
				<-time.After(10 * time.Minute)
				if n := s.node().Version - before; n < c.least || n > c.most {
					t.Errorf("in ten minutes the node was stored %d times, expected %d to %d", n, c.least, c.most)
				}
				s.until(state.Available)
			})
		})
	}
}
