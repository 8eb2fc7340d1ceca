package sim

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// How large the simulation of a fleet is. make nightly raises the rounds; a seed that failed is given again by flag.
var (
	fleetNodes  = flag.Int("fleet.nodes", 200, "machines of the simulated fleet, at most 200")
	fleetFaults = flag.Int("fleet.faults", 30, "faults in a round")
	fleetRounds = flag.Int("fleet.rounds", 1, "rounds, each with the next seed")
	fleetSeed   = flag.Uint64("fleet.seed", 1, "seed of the first round")
)

// TestF02_FleetWithRandomFaults cleans a whole fleet on one server with its real store, while the server and agents are
// restarted, the network and machines' power are cut, BMCs stop answering and operators abort, at random. A clean has
// steps of both kinds: one that the server runs through the BMC, and those of the ramdisk; what begins either is in one
// ledger. The invariants are looked at all the time, and at the end: no step id ran twice (I8), successes are those that ran
// (I10), every wait has an owner and a deadline (I13, I14), every node ends where it should or says why not.
func TestF02_FleetWithRandomFaults(t *testing.T) {
	for round := range uint64(*fleetRounds) {
		seed := *fleetSeed + round
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fleetRound(t, seed) })
		})
	}
}

// fleet is one round.
type fleet struct {
	*site
	r   *rand.Rand
	did []string // the faults, for a round that failed
}

func fleetRound(t *testing.T, seed uint64) {
	s := newSites(t, *fleetNodes, slog.LevelWarn, step.Step{
		Name: "management.tidy", Doc: "Tidies up, out of band.", Where: step.OutOfBand, Priority: map[state.Flow]int{state.Clean: 50}, Repeat: step.Again, Timeout: 5 * time.Minute,
	})
	r := rand.New(rand.NewPCG(seed, 2))
	s.work = slow(3 * time.Minute)
	f := &fleet{site: s, r: r}
	defer func() {
		if t.Failed() {
			t.Logf("seed %d, faults: %s", seed, strings.Join(f.did, "; "))
		}
	}()
	f.ask(state.VerbManage)
	f.rest(time.Hour)
	f.ask(state.VerbProvide)
	<-time.After(10 * time.Second) // every BMC is at its step now: what the server began it does not begin again
	f.stop()
	<-time.After(time.Minute)
	f.start()
	for range *fleetFaults {
		<-time.After(time.Duration(r.Int64N(int64(30 * time.Second))))
		f.strike()
		f.look()
	}
	f.rest(6 * time.Hour)
	f.verdict()
}

// ask asks every node for a verb, all at once.
func (f *fleet) ask(v state.Event) {
	var wg sync.WaitGroup
	for _, h := range f.hosts {
		wg.Go(func() {
			if err := f.srv.c.Provision(f.t.Context(), conductor.Caller{Name: "op"}, h.name, conductor.Provision{Verb: v}); err != nil {
				f.t.Errorf("%s %s: %v", v, h.name, err)
			}
		})
	}
	wg.Wait()
}

func (f *fleet) nodes() []conductor.Node {
	f.t.Helper()
	all, err := f.srv.c.Nodes(f.t.Context(), conductor.NodeFilter{})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// working tells whether a flow is under way.
func working(n conductor.Node) bool { return n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded }

// rest waits until no node works, in the bubble's time.
func (f *fleet) rest(limit time.Duration) {
	f.t.Helper()
	for began := time.Now(); time.Since(began) < limit; {
		<-time.After(20 * time.Second)
		if !slices.ContainsFunc(f.look(), working) {
			synctest.Wait()
			return
		}
	}
	for _, n := range f.nodes() {
		if working(n) {
			f.t.Fatalf("after %s node %s still works: %q, %+v, %+v", limit, n.Name, n.State, n.Flow, n.Flow.Wait)
		}
	}
}

// look checks what must hold at any time (I13, I14).
func (f *fleet) look() []conductor.Node {
	f.t.Helper()
	all := f.nodes()
	if len(all) != len(f.hosts) {
		f.t.Fatalf("%d nodes, of %d machines", len(all), len(f.hosts))
	}
	for _, n := range all {
		if !working(n) {
			continue
		}
		// A deadline that has just passed may not have been acted upon yet.
		if w := n.Flow.Wait; w == nil || w.Owner == "" || w.For == "" || w.Deadline.IsZero() || time.Since(w.Deadline) > time.Minute {
			f.t.Fatalf("node %s, %q in phase %s, waits for nobody: %+v", n.Name, n.State, n.Flow.Phase, w)
		}
	}
	return all
}

// strike does one fault, and what belongs to its end.
func (f *fleet) strike() {
	some := func(most int) []*host {
		var out []*host
		for _, i := range f.r.Perm(len(f.hosts))[:1+f.r.IntN(most)] {
			out = append(out, f.hosts[i])
		}
		return out
	}
	away := time.Duration(f.r.Int64N(int64(time.Minute)))
	what := f.r.IntN(6)
	f.did = append(f.did, fmt.Sprintf("%s for %s", []string{"server restarted", "agents restarted", "network down", "power cut", "BMCs deaf", "aborted"}[what], away.Round(time.Second)))
	switch what {
	case 0:
		f.stop()
		<-time.After(away)
		f.start()
	case 1:
		var wg sync.WaitGroup
		for _, h := range some(20) {
			wg.Go(func() { h.process(away) })
		}
		wg.Wait()
	case 2:
		f.net.Down(true)
		<-time.After(away)
		f.net.Down(false)
	case 3:
		for _, h := range some(5) {
			h.off() // and it stays off: nobody but the server turns it on
		}
	case 4:
		for _, h := range some(10) {
			f.mu.Lock()
			h.deaf = time.Now().Add(4 * away)
			f.mu.Unlock()
		}
	case 5:
		for _, h := range some(5) {
			err := f.srv.c.Provision(f.t.Context(), conductor.Caller{Name: "op"}, h.name, conductor.Provision{Verb: state.VerbAbort})
			if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Busy) && !fault.Is(err, fault.Invalid) {
				f.t.Errorf("abort %s: %v", h.name, err)
			}
		}
	}
}

// process restarts the agent process, when one runs.
func (h *host) process(away time.Duration) {
	h.s.mu.Lock()
	var m *machine
	if len(h.agents) > 0 && h.power == conductor.PowerOn {
		m = h.agents[len(h.agents)-1]
	}
	h.s.mu.Unlock()
	if m == nil {
		return
	}
	m.stop()
	<-time.After(away)
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.power == conductor.PowerOn && h.agents[len(h.agents)-1] == m {
		m.start()
	}
}

// verdict checks what must hold at the end.
func (f *fleet) verdict() {
	ran := map[string]int{}
	for _, id := range f.executions() {
		if ran[id]++; ran[id] > 1 {
			f.t.Errorf("I8: step %s was executed twice", id)
		}
	}
	ended := map[state.State]int{}
	known, outOfBand, cut := 0, 0, 0
	for _, n := range f.look() {
		ended[n.State]++
		if n.State != state.Available && (n.State != state.CleanFail || n.LastReason == "" || n.LastError == "") {
			f.t.Errorf("node %s ends %q, reason %q: %q", n.Name, n.State, n.LastReason, n.LastError)
		}
		records, err := f.srv.c.Steps(context.Background(), n.Name, "")
		if err != nil {
			f.t.Fatal(err)
		}
		erased := false
		for _, r := range records {
			known += ran[string(r.ID)]
			if r.Step.Where == step.OutOfBand {
				outOfBand += ran[string(r.ID)]
				if r.State == conductor.StepInterrupted {
					cut++
				}
			}
			switch r.State {
			case conductor.StepSucceeded:
				erased = erased || r.Step.Name == "deploy.erase_devices"
				if ran[string(r.ID)] == 0 {
					f.t.Errorf("I10: step %s of %s succeeded and never ran", r.Step.Name, n.Name)
				}
			case conductor.StepOffered, conductor.StepStarted:
				f.t.Errorf("step %s of %s is still %s", r.Step.Name, n.Name, r.State)
			}
		}
		if n.State == state.Available && !erased {
			f.t.Errorf("I5: %s is available and was not erased", n.Name)
		}
		// Who was powered off by hand while the server did nothing with it is off as well: nothing runs without an owner.
		if h := f.byNode[n.UUID]; h.running() {
			f.t.Errorf("F16: a machine of %s runs after its work ended in %q", n.Name, n.State)
		}
	}
	if known != len(ran) {
		f.t.Errorf("%d steps ran, and the store knows %d of them", len(ran), known)
	}
	if ended[state.Available] == 0 || len(ran)-outOfBand < len(f.hosts) || cut < len(f.hosts) || outOfBand <= cut {
		f.t.Errorf("the round shows nothing: %v, %d steps, %d of them out of band, of which %d were cut off", ended, len(ran), outOfBand, cut)
	}
	f.t.Logf("%v after %s, %d steps ran, %d of them out of band, of which %d were cut off", ended, strings.Join(f.did, "; "), len(ran), outOfBand, cut)
}

func (h *host) running() bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return h.power == conductor.PowerOn
}
