package conductor

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	verbs := []state.Event{state.VerbManage, state.VerbProvide, state.VerbClean, state.VerbInspect, state.VerbDeploy, state.VerbRebuild, state.VerbDelete, state.VerbAbort, state.VerbUnhold}
	rapid.Check(t, func(rt *rapid.T) {
		l := newLife(t, disk0)
		l.s.Node.DriverInfo = map[string]any{"fast_track": rapid.Bool().Draw(rt, "fast track")}
		l.byHand = true
		executions := map[step.ID]int{}
		var old []Effect
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			l.now = l.now.Add(time.Duration(rapid.IntRange(0, 900).Draw(rt, "seconds")) * time.Second)
			var e Event
			peer := rapid.SampledFrom([]Peer{agentA, agentA, agentA, agentB}).Draw(rt, "peer")
			pick := func() step.ID {
				if len(l.s.Steps) == 0 {
					return "none"
				}
				return rapid.SampledFrom(l.s.Steps).Draw(rt, "step").ID
			}
			nonce := rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "nonce")
			switch rapid.IntRange(0, 11).Draw(rt, "kind") {
			case 0, 1:
				ask := Provision{Verb: rapid.SampledFrom(verbs).Draw(rt, "verb")}
				if ask.Verb == state.VerbClean {
					ask.CleanSteps = []step.Wanted{{Name: rapid.SampledFrom([]string{"management.reset_bmc", "deploy.erase_devices", "nope.nope", "deploy.hold"}).Draw(rt, "want")},
						{Name: rapid.SampledFrom([]string{"deploy.erase_devices", "power.reboot", "deploy.hold", "vendor.wait"}).Draw(rt, "then"), Args: step.Args{}}}
					l.s.Heard = l.now
				}
				e = VerbAsked{Ask: ask}
			case 2, 3:
				if len(l.effects) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(l.effects)-1).Draw(rt, "effect")
				old = append(old, l.effects[i])
				done := EffectDone{Effect: l.effects[i], Facts: rapid.SampledFrom([]*Facts{capable(), capable(), capable(), {}}).Draw(rt, "facts")}
				if rapid.IntRange(0, 4).Draw(rt, "fails") == 0 {
					done.Fault = fault.New(fault.BMCError, "no")
				}
				l.effects = append(l.effects[:i:i], l.effects[i+1:]...)
				e = done
				if done.Effect.Kind == EffectRunStep {
					e = StepEnded{ID: done.Effect.Step, Outcome: rapid.SampledFrom([]api.Outcome{api.Succeeded, api.Failed, api.Interrupted}).Draw(rt, "outcome")}
				}
			case 4:
				if len(old) == 0 {
					continue
				}
				e = EffectDone{Effect: rapid.SampledFrom(old).Draw(rt, "old"), Facts: capable()} // a repeat
			case 5:
				gen := l.s.Node.Generation - uint64(rapid.IntRange(0, 1).Draw(rt, "behind"))
				e = LookedUp{Peer: peer, Proven: rapid.Bool().Draw(rt, "proven"), Ask: api.LookupRequest{Generation: gen}}
			case 6:
				e = AgentReady{Steps: catalog.InBand}
			case 7:
				id := pick()
				was, _ := (&decider{s: l.s}).attempt(id)
				claim := StepClaimed{api.StartRequest{ID: id, Nonce: nonce}}
				if l.do(claim) == nil && was.State == StepOffered {
					executions[id]++
					if l.s.Node.Boot.Ended || l.s.Node.Boot.Contested || !state.Destroys(l.s.Node.State) {
						rt.Fatalf("I1: step %s started in state %s, boot %+v", id, l.s.Node.State, l.s.Node.Boot)
					}
				}
			case 8:
				e = StepEnded{ID: pick(), Nonce: nonce, Outcome: rapid.SampledFrom([]api.Outcome{api.Succeeded, api.Failed, api.Interrupted, api.Aborted}).Draw(rt, "outcome"),
					Result: &step.Result{Data: records(disk0)}}
			case 9:
				e = rapid.SampledFrom([]Event{DeadlinePassed{}, AgentHeard{}, AgentSilent{Since: l.now}, ServerRestarted{}, ClockShifted{By: time.Minute}, MediumFetched{Generation: l.s.Node.Generation}}).Draw(rt, "other")
			case 10:
				e = PowerAsked{Ask: PowerRequest{Target: rapid.SampledFrom([]string{"power on", "power off", "rebooting", "soft power off", "sideways"}).Draw(rt, "power")}}
			case 11:
				l.s.Seen = &inventory.Inventory{Disks: rapid.SampledFrom([][]inventory.Disk{{disk0}, {disk0, disk1}, nil}).Draw(rt, "disks")}
			}
			if e != nil {
				l.do(e) //nolint:errcheck // refusals are part of the game; the invariants are what counts
			}
			if err := sane(l.s); err != nil {
				rt.Fatalf("after %T: %v", e, err)
			}
			for id, n := range executions {
				if n > 1 {
					rt.Fatalf("I8: step %s ran %d times", id, n)
				}
			}
		}
	})
}

// sane checks what must hold of a node at any moment.
func sane(s Snapshot) error {
	n := s.Node
	_, busy := state.FlowOf(n.State)
	open := n.Flow != nil && n.Flow.Phase != PhaseEnded
	if busy != open {
		return fmt.Errorf("state %q, but the flow is open: %v", n.State, open)
	}
	running := 0
	for _, r := range s.Steps {
		if r.State == StepOffered || r.State == StepStarted {
			running++
			if !open {
				return fmt.Errorf("step %s is %s without a flow", r.Step.Name, r.State)
			}
			if r.Deadline.IsZero() {
				return fmt.Errorf("I14: step %s has no deadline", r.Step.Name)
			}
		}
		if r.State == StepStarted && r.Step.Touches != step.Nothing && !state.Destroys(n.State) {
			return fmt.Errorf("I1: %s runs in state %q", r.Step.Name, n.State)
		}
	}
	if running > 1 {
		return fmt.Errorf("%d steps at once", running)
	}
	if n.Boot != nil && n.Boot.Generation != n.Generation {
		return fmt.Errorf("boot %d is not the node's %d", n.Boot.Generation, n.Generation)
	}
	return nil
}
