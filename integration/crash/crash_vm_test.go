//go:build vm

package crash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
)

var (
	kills = flag.Int("kills", 50, "how many kills at least, over all tests that count them")
	nodes = flag.Int("nodes", 5, "machines of a site")
	seed  = flag.Uint64("seed", 0, "of all that is chosen by chance; 0 takes a new one")
)

// TestMain lets more sites run at once than there are processors: for the most part they wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const workTime = 60 * time.Millisecond // of a step on one disk

// programs builds server and agent with the marks in, once.
var programs = sync.OnceValues(func() (dir string, err error) {
	dir, err = filepath.Abs("../../build/crash")
	if err != nil {
		return "", err
	}
	for name, pkg := range map[string]string{"bessemer": "./server", "crash-agent": "./integration/cmd/crash-agent"} {
		cmd := exec.Command("go", "build", "-trimpath", "-tags", "failpoint", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return dir, nil
})

// site opens a site with operators at work; a failed test leaves its files and says where.
func site(t *testing.T, change func(*Config)) (*Site, *Operators) {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := cmp.Or(*seed, rand.Uint64())
	t.Logf("replay with -run '^%s$' -seed %d", t.Name(), s)
	dir := filepath.Join(bin, "sites", strings.ReplaceAll(t.Name(), "/", "_"))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Dir: dir, Server: filepath.Join(bin, "bessemer"), Agent: filepath.Join(bin, "crash-agent"), Nodes: *nodes, Work: workTime,
		Rand: rand.New(rand.NewPCG(s, 1)),
	}
	if change != nil {
		change(&cfg)
	}
	site, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	o := site.Work(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		o.Stop()
		if err := site.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what the site wrote is in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return site, o
}

// check fails the test at the first broken promise: what comes after it proves nothing.
func (s *Site) check(t *testing.T, atRest bool) {
	t.Helper()
	broken, err := s.Check(t.Context(), atRest)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range broken {
		t.Error(v)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// finish lets the work come to rest and judges all of it: what is stored, then the audit's chain.
func (s *Site) finish(t *testing.T, o *Operators) {
	t.Helper()
	s.Heal()
	s.Tear(0, 0)
	if !s.server.alive() {
		if err := s.Start(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Rest(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	s.check(t, true)
	s.server.kill()
	keys, err := seal.Open(filepath.Join(s.cfg.Dir, "data", "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: s.databaseFile(), Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.VerifyAudit(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// serverMarks are all marks of the server, agentMarks all of the agent.
var serverMarks, agentMarks = func() (server, agent []string) {
	for _, act := range []string{"store.commit.", "order.offer.", "order.withdraw.", "effect.", "step.", "bmc.power.", "bmc.boot.", "bmc.media.",
		"rest.answer.", "medium.answer."} {
		server = append(server, act+"before", act+"after")
	}
	for _, call := range []string{"lookup", "heartbeat", "start", "result", "secret", "log"} {
		server = append(server, "request /v1/agent/"+call, "answer.before /v1/agent/"+call, "answer.after /v1/agent/"+call)
	}
	for _, kind := range []string{"seq", "claim", "end", "over"} {
		agent = append(agent, "journal."+kind+".before", "journal."+kind+".unsynced", "journal."+kind+".after")
	}
	for _, act := range []string{"lookup.", "start.", "run.", "result."} {
		agent = append(agent, act+"before", act+"after")
	}
	return server, agent
}()

// share is how many of the kills asked for are a test's, in hundredths, and at least least.
func share(hundredths, least int) int { return max(least, *kills*hundredths/100) }

// TestI13_I29_F01_ServerKilledAtEachMark arms each mark in turn, in the first round at its first pass, in the second at
// its second and so on, while machines are at work.
func TestI13_I29_F01_ServerKilledAtEachMark(t *testing.T) {
	t.Parallel()
	s, o := site(t, nil)
	s.server.kill()
	killed := 0
	for round := range share(40, 0)/len(serverMarks) + 1 {
		if killed > 0 && killed+len(serverMarks) > share(40, 0) {
			break
		}
		for _, mark := range serverMarks {
			if err := s.Start(t.Context(), fmt.Sprintf("%s:%d", mark, round+1)); err != nil {
				t.Fatal(err)
			}
			// A later pass may be rare; the first one must come, or the mark proves nothing.
			limit := 3 * time.Minute
			if round > 0 {
				limit = 5 * time.Second
			}
			byItself, err := s.Died(limit)
			if err != nil {
				t.Fatal(err)
			}
			if !byItself && round == 0 {
				t.Errorf("no work came by the mark %s", mark)
			}
			killed++
			s.check(t, false)
		}
	}
	s.finish(t, o)
	t.Logf("%d kills, %d deployments", killed, o.Rounds())
	passed, err := s.Passed()
	if err != nil {
		t.Fatal(err)
	}
	for mark := range passed {
		if !slices.Contains(slices.Concat(serverMarks, agentMarks, outOfBandMarks), mark) {
			t.Errorf("the mark %q is not in the list of those at which a crash is tried", mark)
		}
	}
}

// TestI08_I13_F02_ServerKilledAtRandom kills the server after a random time.
func TestI08_I13_F02_ServerKilledAtRandom(t *testing.T) {
	t.Parallel()
	s, o := site(t, nil)
	n := share(30, 15)
	for range n {
		if _, err := s.Died(s.life()); err != nil {
			t.Fatal(err)
		}
		s.check(t, false)
		if err := s.Start(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	s.finish(t, o)
	t.Logf("%d kills, %d deployments", n, o.Rounds())
}

// life is how long a server may live.
func (s *Site) life() time.Duration {
	return 100*time.Millisecond + time.Duration(s.cfg.Rand.Int64N(int64(2400*time.Millisecond)))
}

// TestI08_I13_F03_ServerAndAgentsKilled kills the server and some or all agents while it is away.
func TestI08_I13_F03_ServerAndAgentsKilled(t *testing.T) {
	t.Parallel()
	s, o := site(t, nil)
	n, kills, agents := share(20, 10), 0, 0
	// A busy host may boot no machine in a server's short life: it lives longer until one is at work.
	for ; kills < n || agents == 0 && kills < 10*n; kills++ {
		if _, err := s.Died(s.life() * time.Duration(1+kills/n)); err != nil {
			t.Fatal(err)
		}
		agents += s.KillAgents(1 + s.cfg.Rand.IntN(s.cfg.Nodes))
		s.check(t, false)
		if err := s.Start(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	s.finish(t, o)
	t.Logf("%d kills of the server, %d of agents, %d deployments", kills, agents, o.Rounds())
	if agents == 0 {
		t.Error("no agent was there to be killed")
	}
}

// TestI08_F14_AgentKilledAtEachMark lets agents die at each mark in turn.
func TestI08_F14_AgentKilledAtEachMark(t *testing.T) {
	t.Parallel()
	s, o := site(t, nil)
	n := 0
	for round := range share(10, 0)/len(agentMarks) + 1 {
		for _, mark := range agentMarks {
			if strings.HasPrefix(mark, "journal.seq.") || strings.HasPrefix(mark, "lookup.") {
				s.ArmAgents(mark + ":1") // once in a process, or seldom more
			} else {
				s.ArmAgents(fmt.Sprintf("%s:%d", mark, 1+round%2)) // a boot has two steps at most
			}
			n++
		}
	}
	late := time.After(5*time.Minute + time.Duration(n)*5*time.Second)
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for len(s.AgentsDied()) < n {
		select {
		case <-again.C:
			s.check(t, false)
		case <-late:
			t.Fatalf("agents died at %d of %d marks: %v", len(s.AgentsDied()), n, s.AgentsDied())
		}
	}
	s.finish(t, o)
	t.Logf("%d kills of agents, %d deployments", n, o.Rounds())
}

// TestMutantsAreCaught: agents with a mistake. What the harness does not find in them it would not find in ours.
func TestMutantsAreCaught(t *testing.T) {
	t.Parallel()
	for mutant, want := range map[string]string{"eager": "I8", "again": "I8", "liar": "I10"} {
		t.Run(mutant, func(t *testing.T) {
			t.Parallel()
			s, o := site(t, func(c *Config) { c.Mutant = mutant; c.Nodes = 2 })
			defer o.Stop()
			for range 40 {
				mark := ""
				switch mutant {
				case "eager": // its mistake shows when the claim never reaches the database
					mark = "request /v1/agent/start:1"
				case "again": // its mistake shows when it dies with work done and not told of
					s.ArmAgents("run.after:1")
				}
				s.server.kill()
				if err := s.Start(t.Context(), mark); err != nil {
					t.Fatal(err)
				}
				life := s.life()
				if mark != "" {
					life = time.Minute
				}
				if _, err := s.Died(life); err != nil {
					t.Fatal(err)
				}
				s.KillAgents(2)
				broken, err := s.Check(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				if i := slices.IndexFunc(broken, func(v Violation) bool { return v.Invariant == want }); i >= 0 {
					t.Log("found: ", broken[i])
					return
				}
			}
			t.Error("its mistake was not found")
		})
	}
}

// TestReleaseHasNoMarks: what a mark is made of is not in the programs that are delivered.
func TestReleaseHasNoMarks(t *testing.T) {
	t.Parallel()
	with, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, pkg := range map[string]string{"bessemer": "./server", "bessemer-agent": "./agent"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range append(slices.Concat(serverMarks, agentMarks, outOfBandMarks), "FAILPOINT") {
			word, _, _ = strings.Cut(word, " ") // paths are there by themselves
			if word == "request" {
				continue
			}
			if bytes.Contains(text, []byte(word)) {
				t.Errorf("the release of %s has the words of the mark %q", pkg, word)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(with, "bessemer"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("store.commit.before")) {
		t.Error("the harness's own server has no marks: the search proves nothing")
	}
}
