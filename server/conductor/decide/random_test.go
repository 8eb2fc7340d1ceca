package decide

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/fit"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestZ10_AnyOrderOfEventsKeepsTheInvariants throws events at a node in any order, late, repeated and forged ones
// included, and looks at the invariants after each.
func TestZ10_AnyOrderOfEventsKeepsTheInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newStorm(newLife(t, nodetest.Disk0), func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(rt, what) })
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			if err := g.event(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// FuzzZ10_DecideKeepsTheInvariants does the same with bytes: each is one choice.
func FuzzZ10_DecideKeepsTheInvariants(f *testing.F) {
	f.Add([]byte("provide, boot, look up, be ready, claim, end"))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 5, 0, 0, 1, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0})
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 2000 {
			return
		}
		g := newStorm(newLife(t, nodetest.Disk0), func(_ string, n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := choices[0]
			choices = choices[1:]
			return int(c) % n
		})
		for len(choices) > 0 {
			if err := g.event(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// storm makes one event after the other; pick chooses from 0 to n-1.
type storm struct {
	*life
	pick       func(what string, n int) int
	executions map[step.ID]int
	old        []conductor.Effect
	ended      map[step.ID]conductor.StepState
}

func newStorm(l *life, pick func(string, int) int) *storm {
	if pick("deploy interface", 3) == 0 {
		l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"deploy": "ramdisk", "rescue": "agent"})
		l.s.Node.InstanceInfo = map[string]any{"boot_iso": iso}
	}
	l.s.Node.DriverInfo = map[string]any{"fast_track": pick("fast track", 2) == 0}
	if pick("inspect through the BMC", 2) == 1 {
		l.s.Interfaces = nodetest.Implementations("redfish", map[string]string{"inspect": "redfish"})
	}
	l.byHand = true
	return &storm{life: l, pick: pick, executions: map[step.ID]int{}, ended: map[step.ID]conductor.StepState{}}
}

func choose[T any](g *storm, what string, from ...T) T { return from[g.pick(what, len(from))] }

// event applies one event and checks what must hold after it.
func (g *storm) event() error {
	l := g.life
	l.now = l.now.Add(time.Duration(g.pick("quarters of a minute", 64)) * 15 * time.Second)
	peer := choose(g, "peer", agentA, agentA, agentA, agentB)
	someStep := func() step.ID {
		if len(l.s.Steps) == 0 {
			return "none"
		}
		return choose(g, "step", l.s.Steps...).ID
	}
	nonce := choose(g, "nonce", "n1", "n2")
	var e conductor.Event
	switch g.pick("kind", 12) {
	case 0, 1:
		ask := conductor.Provision{Verb: choose(g, "verb", state.VerbManage, state.VerbProvide, state.VerbClean, state.VerbInspect, state.VerbDeploy, state.VerbRebuild, state.VerbDelete, state.VerbAbort, state.VerbUnhold,
			state.VerbAdopt, state.VerbService, state.VerbRescue, state.VerbUnrescue)}
		if ask.Verb == state.VerbService {
			ask.ServiceSteps = []step.Wanted{{Name: choose(g, "want", "management.reset_bmc", "vendor.blink", "deploy.erase_devices", "deploy.hold")},
				{Name: choose(g, "then", "bios.factory_reset", "vendor.blink", "power.reboot", "deploy.hold", "vendor.wait"), Args: step.Args{}}}
		}
		if ask.Verb == state.VerbClean {
			ask.CleanSteps = []step.Wanted{{Name: choose(g, "want", "management.reset_bmc", "deploy.erase_devices", "nope.nope", "deploy.hold")},
				{Name: choose(g, "then", "deploy.erase_devices", "power.reboot", "deploy.hold", "vendor.wait"), Args: step.Args{}}}
			if g.pick("pause", 2) == 0 { // what ends it is the clock, and a disk may be next
				ask.CleanSteps = append(ask.CleanSteps, step.Wanted{Name: "vendor.wait", Args: step.Args{"seconds": 3.0}}, step.Wanted{Name: "deploy.erase_devices_metadata"})
			}
			l.s.Heard = l.now
		}
		e = conductor.VerbAsked{Ask: ask}
	case 2, 3:
		if len(l.effects) == 0 {
			return nil
		}
		i := g.pick("effect", len(l.effects))
		if l.effects[i].Kind == conductor.EffectRunStep {
			e = g.outOfBand(i)
			break
		}
		g.old = append(g.old, l.effects[i])
		done := conductor.EffectDone{Effect: l.effects[i], Facts: choose(g, "facts", capable(), capable(), capable(), &conductor.Facts{})}
		if done.Effect.Kind == conductor.EffectInspect {
			done.Facts, done.Found = nil, choose(g, "found", told(), told(), &conductor.Found{}, nil)
		}
		if g.pick("fails", 5) == 0 {
			done.Fault = fault.New(fault.BMCError, "no")
		}
		l.effects = append(l.effects[:i:i], l.effects[i+1:]...)
		e = done
	case 4:
		if len(g.old) == 0 {
			return nil
		}
		e = conductor.EffectDone{Effect: choose(g, "old", g.old...), Facts: capable()} // a repeat
	case 5:
		gen := l.s.Node.Generation - uint64(g.pick("behind", 2))
		e = conductor.LookedUp{Peer: peer, Proven: g.pick("proven", 2) == 0, Ask: api.LookupRequest{Generation: gen}}
	case 6:
		e = conductor.AgentReady{Steps: append(slices.Clone(catalog.InBand), blink)}
	case 7:
		id := someStep()
		was, _ := (&decider{s: l.s}).attempt(id)
		if l.do(conductor.StepClaimed{Ask: api.StartRequest{ID: id, Nonce: nonce}}) == nil && was.State == conductor.StepOffered {
			g.executions[id]++
			if l.s.Node.Boot.Ended || l.s.Node.Boot.Contested || was.Step.Touches != step.Nothing && !state.Destroys(l.s.Node.State) {
				return fmt.Errorf("I1: step %s started in state %s, boot %+v", id, l.s.Node.State, l.s.Node.Boot)
			}
		}
	case 8:
		e = conductor.StepEnded{ID: someStep(), Nonce: nonce, Outcome: choose(g, "outcome", api.Succeeded, api.Failed, api.Interrupted, api.Aborted),
			Result: &step.Result{Data: records(nodetest.Disk0)}}
	case 9:
		e = choose[conductor.Event](g, "other", conductor.DeadlinePassed{}, conductor.AgentHeard{}, conductor.AgentSilent{Since: l.now}, conductor.ServerRestarted{}, conductor.ClockShifted{By: time.Minute}, conductor.MediumFetched{Generation: l.s.Node.Generation})
	case 10:
		e = conductor.PowerAsked{Ask: conductor.PowerRequest{Target: choose(g, "power", "power on", "power off", "rebooting", "soft power off", "sideways")}}
	case 11:
		l.s.Seen = &inventory.Inventory{Disks: choose(g, "disks", []inventory.Disk{nodetest.Disk0}, []inventory.Disk{nodetest.Disk0, nodetest.Disk1}, nil)}
	}
	if e != nil {
		l.do(e) //nolint:errcheck // refusals are part of the game; the invariants are what counts
	}
	if err := sane(l.s); err != nil {
		return fmt.Errorf("after %T: %w", e, err)
	}
	if n := l.s.Node; n.State == state.Active && fit.BootsISO(l.s.Interfaces) && n.LiveISO != iso {
		return fmt.Errorf("active, and its instance is %q", n.LiveISO)
	}
	for id, n := range g.executions {
		if n > 1 {
			return fmt.Errorf("I8: step %s ran %d times", id, n)
		}
	}
	for _, r := range l.s.Steps {
		if was, ok := g.ended[r.ID]; ok && was != r.State {
			return fmt.Errorf("I10: step %s was %s and is %s", r.ID, was, r.State)
		}
		if r.State != conductor.StepPlanned && r.State != conductor.StepOffered && r.State != conductor.StepStarted {
			g.ended[r.ID] = r.State
		}
	}
	return nil
}

// outOfBand begins the step of the i-th effect, or ends it: also one that has not begun, or a second time.
func (g *storm) outOfBand(i int) conductor.Event {
	l, id := g.life, g.life.effects[i].Step
	if was, _ := (&decider{s: l.s}).attempt(id); g.pick("begins", 2) == 0 {
		if l.do(conductor.StepBegan{ID: id}) == nil && was.State != conductor.StepStarted {
			g.executions[id]++
		}
		return nil
	}
	if g.pick("again", 4) > 0 {
		l.effects = slices.Delete(slices.Clone(l.effects), i, i+1)
	}
	return conductor.StepEnded{ID: id, Outcome: choose(g, "outcome", api.Succeeded, api.Failed, api.Interrupted)}
}

// sane checks what must hold of a node at any moment.
func sane(s conductor.Snapshot) error {
	n := s.Node
	_, busy := state.FlowOf(n.State)
	open := n.Flow != nil && n.Flow.Phase != conductor.PhaseEnded
	if busy != open {
		return fmt.Errorf("state %q, but the flow is open: %v", n.State, open)
	}
	running := 0
	for _, r := range s.Steps {
		if r.State == conductor.StepOffered || r.State == conductor.StepStarted {
			running++
			if !open {
				return fmt.Errorf("step %s is %s without a flow", r.Step.Name, r.State)
			}
			if r.Deadline.IsZero() {
				return fmt.Errorf("I14: step %s has no deadline", r.Step.Name)
			}
		}
		if err := inLine(n, r); err != nil {
			return err
		}
		if r.State == conductor.StepStarted && r.Step.Touches != step.Nothing && !state.Destroys(n.State) {
			return fmt.Errorf("I1: %s runs in state %q", r.Step.Name, n.State)
		}
	}
	if running > 1 {
		return fmt.Errorf("%d steps at once", running)
	}
	if n.State == state.Active && n.Boot != nil && !n.Boot.Ended {
		return fmt.Errorf("I18: the agent of boot %d is still admitted on an active node", n.Boot.Generation)
	}
	if open && n.Flow.Phase == conductor.PhaseRead && n.State != state.Inspecting {
		return fmt.Errorf("the BMC is read in state %q", n.State)
	}
	if n.Boot != nil && n.Boot.Generation != n.Generation {
		return fmt.Errorf("boot %d is not the node's %d", n.Boot.Generation, n.Generation)
	}
	return nil
}

// inLine checks of a step out of band that its own time begins with its turn, and that it succeeds only if that came (I8, I14).
func inLine(n conductor.Node, r conductor.StepRecord) error {
	if r.Step.Where == step.InBand || pauses(r) {
		return nil
	}
	switch w := n.Flow.Wait; {
	case r.State == conductor.StepOffered && (!r.Started.IsZero() || w.Owner != "bmc" || !w.Deadline.Equal(r.Deadline)):
		return fmt.Errorf("I14: step %s is in line since %s, but has begun at %s; the flow waits for %+v, the step until %s", r.Step.Name, r.Offered, r.Started, w, r.Deadline)
	case r.State == conductor.StepStarted && r.Deadline.Sub(r.Started) < r.Step.Timeout:
		return fmt.Errorf("I14: step %s has %s from its beginning, and may take %s", r.Step.Name, r.Deadline.Sub(r.Started), r.Step.Timeout)
	case r.State == conductor.StepSucceeded && r.Started.Before(r.Offered):
		return fmt.Errorf("I8: step %s counts as succeeded and never began", r.Step.Name)
	}
	return nil
}
