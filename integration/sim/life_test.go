package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// slow makes every step last a while, as long as the context lives.
func slow(d time.Duration) func(context.Context, *machine, string, step.Call) error {
	return func(ctx context.Context, _ *machine, _ string, c step.Call) error {
		for i := range 100 {
			c.Report(step.Progress{Percent: float64(i)})
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(d / 100):
			}
		}
		return nil
	}
}

// clean brings the node to the beginning of its automated cleaning.
func (s *site) clean() {
	s.t.Helper()
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	s.provision(conductor.Provision{Verb: state.VerbProvide})
}

// once checks that no step id was executed twice (I8) and that the successes are those executed (I10).
func (s *site) once() {
	s.t.Helper()
	seen := map[string]bool{}
	for _, id := range s.executions() {
		if seen[id] {
			s.t.Errorf("I8: step %s was executed twice", id)
		}
		seen[id] = true
	}
	recs, err := s.srv.c.Steps(s.t.Context(), "n1", "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range recs {
		if r.State == conductor.StepSucceeded && !seen[string(r.ID)] {
			s.t.Errorf("step %s succeeded without having been executed", r.Step.Name)
		}
	}
}

func TestCleanAndDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.work = slow(20 * time.Minute)
		s.clean()
		n := s.until(state.Available, state.CleanFail)
		if n.State != state.Available || len(s.executions()) != 2 {
			t.Fatalf("%q (%s) after %d steps", n.State, n.LastError, len(s.executions()))
		}
		s.once()
		if said := s.said(n.Generation); !strings.Contains(said, "the server admits this machine") || !strings.Contains(said, "step starts") {
			t.Errorf("the agent's log: %s", said)
		}
		var drive []byte
		s.mu.Lock()
		s.work = func(ctx context.Context, _ *machine, name string, c step.Call) (err error) {
			drive, err = c.Secret(ctx, "configdrive")
			return err
		}
		s.mu.Unlock()
		_, err := s.srv.c.UpdateNode(t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
			n.InstanceInfo = map[string]any{"image_source": "http://x/os.raw.zst", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbDeploy, ConfigDrive: &conductor.ConfigDrive{Files: map[string][]byte{}}})
		if n := s.until(state.Active, state.DeployFail); n.State != state.Active {
			t.Fatalf("%q (%s)", n.State, n.LastError)
		}
		if !strings.Contains(string(drive), `"hostname":"n1"`) {
			t.Errorf("config drive %s", drive)
		}
		s.once()
	})
}

// TestF14_AgentRestartsInsideAStep: the attempt is interrupted, a new one with a new id succeeds.
func TestF14_AgentRestartsInsideAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.work = slow(10 * time.Minute)
		s.clean()
		s.await("a step runs", func() bool { return len(s.executions()) == 1 })
		<-time.After(3 * time.Minute)
		s.agent().stop()
		<-time.After(5 * time.Second)
		s.agent().start()
		if n := s.until(state.Available, state.CleanFail); n.State != state.Available || len(s.executions()) != 3 || s.hosts[0].boots != 1 {
			t.Errorf("%q (%s), %d executions, %d boots", n.State, n.LastError, len(s.executions()), s.hosts[0].boots)
		}
		s.once()
	})
}

// TestI13_ServerRestartsInsideAStep: the step goes on, its end is told to the new process.
func TestI13_ServerRestartsInsideAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.work = slow(10 * time.Minute)
		s.clean()
		s.await("a step runs", func() bool { return len(s.executions()) == 1 })
		<-time.After(8 * time.Minute)
		s.stop()
		<-time.After(4 * time.Minute) // the step ends meanwhile
		s.start()
		if n := s.until(state.Available, state.CleanFail); n.State != state.Available || len(s.executions()) != 2 {
			t.Errorf("%q (%s), %d executions", n.State, n.LastError, len(s.executions()))
		}
		s.once()
	})
}

// TestT01_SecondMachineWithTheSecret: the medium's secret leaked, another machine claims the node while the first
// works. The node is contested, the flow fails by name, nothing more runs, both machines say why (I17, I18).
func TestT01_SecondMachineWithTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.work = slow(10 * time.Minute)
		s.clean()
		s.await("a step runs", func() bool { return len(s.executions()) == 1 })
		first := s.agent()
		rogue := &machine{s: s, dir: filepath.Join(s.dir, "rogue"), addr: "192.0.2.66", id: "rogue", boot: first.boot}
		rogue.start()
		defer rogue.stop()
		n := s.until(state.CleanFail, state.Available)
		if n.State != state.CleanFail || n.LastReason != fault.NodeContested {
			t.Errorf("%q, %s: %s", n.State, n.LastReason, n.LastError)
		}
		<-time.After(30 * time.Minute)
		if got := len(s.executions()); got != 1 {
			t.Errorf("%d executions", got)
		}
		if w := rogue.words(); w == "" || strings.HasSuffix(w, "\n") {
			t.Errorf("the second machine's console says %q", w)
		}
	})
}

// TestT02_ClaimsThatAreNotThisBoot: wrong secret, an older boot's medium, another network: never admitted, node unharmed.
func TestT02_ClaimsThatAreNotThisBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.clean()
		s.until(state.Available)
		old := s.agent()
		s.work = slow(10 * time.Minute)
		s.provision(conductor.Provision{Verb: state.VerbManage})
		s.until(state.Manageable)
		s.provision(conductor.Provision{Verb: state.VerbProvide})
		s.await("a step runs", func() bool { return len(s.executions()) == 3 })
		var rogues []*machine
		for i, spoil := range []func(*machine){
			func(m *machine) { m.boot.Secret = strings.Repeat("A", len(m.boot.Secret)) },
			func(m *machine) { m.boot = old.boot },
			func(m *machine) { m.boot.Generation++ },
			func(m *machine) { m.addr = "198.51.100.7" },
		} {
			m := &machine{s: s, dir: filepath.Join(s.dir, fmt.Sprintf("rogue%d", i)), addr: "192.0.2.66", id: "rogue", boot: s.agent().boot}
			spoil(m)
			m.start()
			defer m.stop()
			rogues = append(rogues, m)
		}
		if n := s.until(state.Available, state.CleanFail); n.State != state.Available || n.Boot.Contested {
			t.Errorf("%q (%s)", n.State, n.LastError)
		}
		if len(s.executions()) != 4 {
			t.Errorf("%d executions", len(s.executions()))
		}
		for i, m := range rogues {
			if m.words() == "" {
				t.Errorf("claim %d was admitted", i)
			}
		}
	})
}

// TestF13_CutWrites cuts the connection inside every seventh write of a whole cleaning in turn.
func TestF13_CutWrites(t *testing.T) {
	for n := 1; ; n += 7 {
		writes := 0
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			s.net.CutAt(n)
			s.clean()
			if got := s.until(state.Available, state.CleanFail); got.State != state.Available || len(s.executions()) != 2 {
				t.Errorf("write %d cut: %q (%s), %d executions", n, got.State, got.LastError, len(s.executions()))
			}
			s.once()
			writes = s.net.Writes()
		})
		if writes < n || t.Failed() {
			return
		}
	}
}

// TestF03_RandomCrashes stops and starts server and agent, and cuts the network, at random moments of a cleaning.
// Whatever happens: no id runs twice, and the node ends where it should or says why not.
func TestF03_RandomCrashes(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			s := newSite(t)
			s.work = slow(4 * time.Minute)
			s.clean()
			s.await("the machine is up", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.hosts[0].agents) == 1 })
			var did []string
			for range 6 {
				<-time.After(time.Duration(r.Int64N(int64(2 * time.Minute))))
				what := r.IntN(4)
				did = append(did, []string{"server", "agent", "network", "both"}[what])
				if what == 0 || what == 3 {
					s.stop()
				}
				if what == 1 || what == 3 {
					s.agent().stop()
				}
				if what == 2 {
					s.net.Down(true)
				}
				<-time.After(time.Duration(r.Int64N(int64(time.Minute))))
				if what == 1 || what == 3 {
					s.agent().start()
				}
				if what == 0 || what == 3 {
					s.start()
				}
				s.net.Down(false)
			}
			n := s.until(state.Available, state.CleanFail)
			// A step is tried three times at most: more restarts inside it are told, not repeated.
			if n.State == state.CleanFail && (n.LastReason != fault.StepInterrupted || len(slices.DeleteFunc(slices.Clone(did), func(d string) bool { return d == "server" || d == "network" })) < 3) {
				t.Errorf("seed %d (%v): %s: %s", seed, did, n.LastReason, n.LastError)
			}
			s.once()
		})
	}
}
