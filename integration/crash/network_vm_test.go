//go:build vm

package crash

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// until waits for something of the site. The longer it takes, the less often is it looked for: a look may read all that the site
// has written, which would take the processor from the others.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	begun, limit := time.Now(), 5*time.Minute
	for !ok() {
		waited := time.Since(begun)
		if waited > limit {
			t.Fatalf("within %s: not %s", limit, what)
		}
		pause(min(max(waited/20, 20*time.Millisecond), 500*time.Millisecond))
	}
}

// lines is the ledger as it is now.
func (s *Site) lines(t *testing.T) []ledger.Line {
	t.Helper()
	all, err := ledger.Read(s.ledgerFile())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func has(lines []ledger.Line, k ledger.Kind, id step.ID) bool {
	return slices.ContainsFunc(lines, func(l ledger.Line) bool { return l.Kind == k && l.Step == id })
}

// records gives the stored attempts in a state.
func (s *Site) records(t *testing.T, in conductor.StepState) []conductor.StepRecord {
	t.Helper()
	stored, err := ReadDatabase(t.Context(), s.databaseFile())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(stored.Steps, func(r conductor.StepRecord) bool { return r.State != in || r.Command == nil })
}

// stopAt starts the server anew and waits until it stands still at a mark.
func (s *Site) stopAt(t *testing.T, mark string) {
	t.Helper()
	s.server.kill()
	if err := s.Start(t.Context(), mark+":1:stop"); err != nil {
		t.Fatal(err)
	}
	until(t, "the server at "+mark, s.server.stopped)
}

// pause lets the site go on by itself for a while.
func pause(d time.Duration) { <-time.After(d) }

// TestI08_F10_PartedBeforeTheAnswerToStart: the claim is recorded, its answer never arrives. The agent must not run the
// step before it has asked again, and then run it once.
func TestI08_F10_PartedBeforeTheAnswerToStart(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes = 2 })
	s.stopAt(t, "answer.before /v1/agent/start")
	s.Part()
	if err := s.server.resume(); err != nil {
		t.Fatal(err)
	}
	claimed := slices.DeleteFunc(s.records(t, conductor.StepStarted), func(r conductor.StepRecord) bool { return has(s.lines(t), ledger.Started, r.ID) })
	if len(claimed) == 0 {
		t.Fatal("no claim is recorded whose answer is on its way")
	}
	pause(time.Second)
	for _, r := range claimed {
		if has(s.lines(t), ledger.Begin, r.ID) {
			t.Errorf("step %s was begun without the server's answer", r.ID)
		}
	}
	s.check(t, false)
	s.Heal()
	s.finish(t, o)
	for _, r := range claimed {
		if !has(s.lines(t), ledger.Begin, r.ID) && !slices.ContainsFunc(s.records(t, conductor.StepAborted), func(a conductor.StepRecord) bool { return a.ID == r.ID }) {
			t.Errorf("step %s was neither begun after the network was healed nor aborted", r.ID)
		}
	}
}

// TestI08_F10_PartedDuringAStep: the step ends while the server can't be reached; its end arrives afterwards.
func TestI08_F10_PartedDuringAStep(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes, c.Work = 1, time.Second })
	var at step.ID
	until(t, "a step at work", func() bool {
		l := s.lines(t)
		i := slices.IndexFunc(l, func(l ledger.Line) bool { return l.Kind == ledger.Begin })
		if i >= 0 {
			at = l[i].Step
		}
		return i >= 0
	})
	s.Part()
	until(t, "the step's end on its last disk", func() bool {
		n := 0
		for _, l := range s.lines(t) {
			if l.Kind == ledger.End && l.Step == at {
				n++
			}
		}
		return n == 2
	})
	pause(500 * time.Millisecond)
	if open := s.records(t, conductor.StepStarted); len(open) != 1 || open[0].ID != at {
		t.Errorf("while parted the server has %d steps at work, expected %s", len(open), at)
	}
	s.check(t, false)
	s.Heal()
	s.finish(t, o)
	if !slices.ContainsFunc(s.records(t, conductor.StepSucceeded), func(r conductor.StepRecord) bool { return r.ID == at }) {
		t.Errorf("the success of step %s did not arrive after the network was healed", at)
	}
}

// TestI09_F10_PartedBeforeTheAnswerToResult: the end is recorded, the agent does not learn of it and tells it again.
func TestI09_F10_PartedBeforeTheAnswerToResult(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes = 2 })
	s.stopAt(t, "answer.before /v1/agent/result")
	s.Part()
	stored := slices.DeleteFunc(s.records(t, conductor.StepSucceeded), func(r conductor.StepRecord) bool { return has(s.lines(t), ledger.Told, r.ID) })
	if len(stored) == 0 {
		t.Fatal("no success is recorded whose answer is on its way")
	}
	if err := s.server.resume(); err != nil {
		t.Fatal(err)
	}
	pause(time.Second)
	s.check(t, false)
	s.Heal()
	s.finish(t, o)
	again := s.records(t, conductor.StepSucceeded)
	for _, r := range stored {
		if i := slices.IndexFunc(again, func(a conductor.StepRecord) bool { return a.ID == r.ID }); i < 0 || !again[i].Ended.Equal(r.Ended) {
			t.Errorf("the end of step %s, told twice, is not the one recorded first", r.ID)
		}
	}
}

// TestI08_F13_ConnectionsTorn: every connection of an agent breaks after a random number of bytes.
func TestI08_F13_ConnectionsTorn(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes = 3 })
	s.Tear(12_000, s.cfg.Rand.Uint64())
	until(t, "forty torn connections", func() bool { return s.Torn() >= 40 })
	s.check(t, false)
	s.finish(t, o)
	if len(s.records(t, conductor.StepSucceeded)) == 0 {
		t.Error("no step succeeded")
	}
}

// TestI14_F30_ServerSuspended: the server stands still while a step runs. That time does not count against the node.
func TestI14_F30_ServerSuspended(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes, c.Work = 1, 20*time.Second })
	node := func() conductor.Node {
		stored, err := ReadDatabase(t.Context(), s.databaseFile())
		if err != nil || len(stored.Nodes) != 1 {
			t.Fatalf("%d nodes: %v", len(stored.Nodes), err)
		}
		return stored.Nodes[0]
	}
	until(t, "a step at work", func() bool {
		return slices.ContainsFunc(s.lines(t), func(l ledger.Line) bool { return l.Kind == ledger.Begin })
	})
	o.Stop()
	before := node()
	const away = 5 * time.Second
	if err := s.server.suspend(); err != nil {
		t.Fatal(err)
	}
	pause(away)
	if err := s.server.resume(); err != nil {
		t.Fatal(err)
	}
	until(t, "a deadline that has moved", func() bool { return node().Flow.Wait.Deadline.After(before.Flow.Wait.Deadline) })
	after := node()
	if moved := after.Flow.Wait.Deadline.Sub(before.Flow.Wait.Deadline); moved < away-2*time.Second || after.Flow.Wait.For != before.Flow.Wait.For {
		t.Errorf("the deadline moved by %s for %s in which the server stood still: %+v", moved, away, after.Flow.Wait)
	}
	s.check(t, false)
	if _, err := s.ask(t.Context(), http.MethodPut, "/v1/nodes/m001/states/provision", map[string]any{"target": "abort"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "an aborted clean", func() bool { return node().State == state.CleanFail })
	s.check(t, false)
}

// TestF09_SecondServerIsRefused: a second process on the data directory of a running server ends and says why, and the
// first goes on.
func TestF09_SecondServerIsRefused(t *testing.T) {
	t.Parallel()
	s, o := site(t, func(c *Config) { c.Nodes = 1 })
	second := exec.Command(s.cfg.Server, "serve", "--data-dir", filepath.Join(s.cfg.Dir, "data"), "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--boot-listen", "127.0.0.1:0")
	second.Env = []string{"HOME=" + s.cfg.Dir}
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another server") {
		t.Errorf("it ended with %v and said %s", err, out)
	}
	s.finish(t, o)
}
