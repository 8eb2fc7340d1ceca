package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// family is a manageable node n1 of fake-hardware with three nodes below it, c1 to c3, and one that is below none. It gives
// the UUIDs of the three.
func family(t *testing.T) (s *site, ids []string) {
	s = withTypes(t, conductor.Node{Driver: "fake-hardware"}, fake.New(fake.Config{Delays: map[string]drivers.Delay{drivers.Power: {Least: 5 * time.Second, Most: 5 * time.Second}}}))
	for _, name := range []string{"c1", "c2", "c3", "other"} {
		n := conductor.Node{Name: name, Driver: "fake-hardware"}
		if name != "other" {
			n.Parent = s.node().UUID
		}
		made, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(made.UUID))
	}
	s.provision(conductor.Provision{Verb: state.VerbManage})
	s.until(state.Manageable)
	return s, ids
}

// powers is the power state of each.
func (s *site) powers(names ...string) (out []string) {
	s.t.Helper()
	for _, name := range names {
		n, err := s.c.Node(s.t.Context(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, string(n.Power))
	}
	return out
}

func below(name string, args step.Args, only ...string) step.Wanted {
	return step.Wanted{Name: name, Args: args, Children: &step.Children{All: len(only) == 0, Only: only}}
}

func TestStepsRunOnChildNodesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ids := family(t)
		clean := func(steps ...step.Wanted) conductor.Provision {
			return conductor.Provision{Verb: state.VerbClean, CleanSteps: steps}
		}
		names := []string{"n1", "c1", "c2", "c3", "other"}
		s.provision(clean(below("power.power_on", nil)))
		s.until(state.Manageable)
		if got := s.powers(names...); !slices.Equal(got, []string{"", "power on", "power on", "power on", ""}) {
			t.Errorf("after power on: %q", got)
		}
		steps, err := s.c.Steps(t.Context(), "n1", "")
		if err != nil || len(steps) != 1 || steps[0].State != conductor.StepSucceeded || fmt.Sprint(steps[0].Result.Data["nodes"]) != fmt.Sprint(ids[:3]) {
			t.Errorf("%+v, %v", steps, err)
		}
		// Of those named only the ones below: the other stands beside.
		s.provision(clean(below("power.power_off", nil, ids[1], ids[3]), below("vendor.wait", step.Args{"seconds": 1.0}), below("power.reboot", nil, ids[2])))
		s.until(state.Manageable)
		if got := s.powers(names...); !slices.Equal(got, []string{"", "power on", "power off", "power on", ""}) {
			t.Errorf("after power off of one: %q", got)
		}
		log, err := s.c.History(t.Context(), "c2", conductor.HistoryFilter{Limit: 100})
		if err != nil || !slices.ContainsFunc(log, func(e conductor.Entry) bool { return e.Event == "power off asked for by op" }) {
			t.Errorf("the history of c2 tells not who asked: %+v, %v", log, err)
		}
	})
}

// What a child's own record forbids is not done there, and what follows neither.
func TestAStepFailsWhereAChildNodeForbidsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := family(t)
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.power_on", nil)}})
		s.until(state.Manageable)
		if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, "c2", func(n *conductor.Node, _ map[string]string) error {
			n.DisablePowerOff = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.power_off", nil), {Name: "power.power_on"}}})
		n := s.until(state.CleanFail)
		if n.LastReason != fault.NodeInUse || !strings.Contains(n.LastError, "child node c2: power off is disabled") || n.Fault != "clean failure" {
			t.Errorf("%s, fault %q", n.LastError, n.Fault)
		}
		if got := s.powers("n1", "c1", "c2", "c3"); !slices.Equal(got, []string{"", "power off", "power on", "power on"}) {
			t.Errorf("powers %q", got)
		}
	})
}

// TestI26_WhatFailedOnAnotherProjectsNodeIsNotToldOnItsParent: the parent's owner reads last_error. Who may see the child finds which
// it was in the result, which the API cuts to what its reader may see.
func TestI26_WhatFailedOnAnotherProjectsNodeIsNotToldOnItsParent(t *testing.T) {
	for name, c := range map[string]struct {
		owner, lessee, childOwner, childLessee string
		told                                   bool
	}{
		"the same owner":                   {"red", "", "red", "blue", true},
		"the same owner and lessee":        {"red", "blue", "red", "blue", true},
		"another owner":                    {"red", "", "blue", "", false},
		"no owner, which is the site's":    {"red", "", "", "", false},
		"a lessee that is not the child's": {"red", "blue", "red", "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, ids := family(t)
			for node, set := range map[string]func(n *conductor.Node){
				"n1": func(n *conductor.Node) { n.Owner, n.Lessee = c.owner, c.lessee },
				"c1": func(n *conductor.Node) { n.Owner, n.Lessee = c.childOwner, c.childLessee },
				"c2": func(n *conductor.Node) { n.Owner, n.Lessee, n.DisablePowerOff = c.childOwner, c.childLessee, true },
			} {
				if _, err := s.c.UpdateNode(t.Context(), conductor.Caller{Name: "op"}, node, func(n *conductor.Node, _ map[string]string) error {
					set(n)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.power_off", nil)}})
			n := s.until(state.CleanFail)
			if told := strings.Contains(n.LastError, "child node c2: power off is disabled"); told != c.told || !told && (strings.Contains(n.LastError, "c2") || !strings.Contains(n.LastError, "another project's")) {
				t.Errorf("%s: %s", name, n.LastError)
			}
			if r := s.last(); n.LastReason != fault.NodeInUse || r.Result == nil || fmt.Sprint(r.Result.Data["nodes"], r.Result.Data["failed"]) != fmt.Sprint(ids[:1], ids[1:2]) {
				t.Errorf("%s: %s, result %+v", name, n.LastReason, r.Result)
			}
		})
	}
}

// What a child is at work with is not cut off by a step of its parent, though an operator may cut it off by name once it is in
// maintenance.
func TestAStepLeavesAChildNodeAtWorkAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := family(t)
		op := conductor.Caller{Name: "op"}
		reach := func(want state.State, p conductor.Provision) {
			t.Helper()
			ch := s.c.Watch(t.Context(), "c2")
			if err := s.c.Provision(t.Context(), op, "c2", p); err != nil {
				t.Fatal(err)
			}
			for {
				<-ch
				if n, err := s.c.Node(t.Context(), "c2"); err != nil || n.State == want {
					return
				}
			}
		}
		reach(state.Manageable, conductor.Provision{Verb: state.VerbManage})
		reach(state.CleanHold, conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{{Name: "deploy.hold"}}})
		if err := s.c.SetMaintenance(t.Context(), op, "c2", true, ""); err != nil {
			t.Fatal(err)
		}
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.power_off", nil)}})
		if n := s.until(state.CleanFail); n.LastReason != fault.NodeBusy || !strings.Contains(n.LastError, "child node c2: ") {
			t.Errorf("%s: %s", n.LastReason, n.LastError)
		}
		if n, err := s.c.Node(t.Context(), "c2"); err != nil || n.State != state.CleanHold {
			t.Errorf("the child is %s, %v", n.State, err)
		}
	})
}

// TestF25_AStepOnChildNodesGoesOnAfterARestart stops the server while a child's machine is switched: that act comes to its end
// before the step's next attempt acts.
func TestF25_AStepOnChildNodesGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ids := family(t)
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.power_on", nil, ids[1], ids[2])}})
		ch := s.c.Watch(t.Context(), "c2")
		for {
			<-ch
			if n, err := s.c.Node(t.Context(), "c2"); err != nil || n.PowerTarget != "" {
				break
			}
		}
		s.stop()
		s.start()
		s.until(state.Manageable)
		if got := s.powers("n1", "c1", "c2", "c3"); !slices.Equal(got, []string{"", "", "power on", "power on"}) {
			t.Errorf("powers %q", got)
		}
	})
}

// A machine that is on fails to restart: that it is on proves nothing.
func TestAStepFailsWithAnActOnAChildNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := family(t)
		if _, err := s.c.CreateNode(t.Context(), conductor.Caller{Name: "op"}, conductor.Node{Name: "real", Driver: "rack", Parent: s.node().UUID}, nil); err != nil {
			t.Fatal(err)
		}
		s.board.power, s.board.stuck = conductor.PowerOn, true
		s.provision(conductor.Provision{Verb: state.VerbClean, CleanSteps: []step.Wanted{below("power.reboot", nil)}})
		if n := s.until(state.CleanFail); n.LastReason != fault.StepFailed || !strings.Contains(n.LastError, "child node real: bmc.power") {
			t.Errorf("%s", n.LastError)
		}
	})
}
