package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// stepsAtRandom is a registry of random steps for cleaning, the erase step among them.
func stepsAtRandom(rt *rapid.T) *step.Registry {
	steps := []step.Step{{Name: catalog.EraseStep, Where: step.InBand, Priority: map[state.Flow]int{state.Clean: 10}, Timeout: time.Hour}}
	for i := range rapid.IntRange(0, 8).Draw(rt, "steps") {
		steps = append(steps, step.Step{
			Name:     fmt.Sprintf("%s.s%d", rapid.SampledFrom([]string{"bios", "deploy", "vendor", "raid"}).Draw(rt, "interface"), i),
			Where:    rapid.SampledFrom([]step.Where{step.InBand, step.OutOfBand}).Draw(rt, "where"),
			Priority: map[state.Flow]int{state.Clean: rapid.IntRange(0, 4).Draw(rt, "priority")},
			Reboot:   rapid.Bool().Draw(rt, "reboot"), Timeout: time.Hour,
		})
	}
	reg, err := step.NewRegistry(steps...)
	if err != nil {
		rt.Fatal(err)
	}
	return reg
}

// model is the reference for boots: a simulation of the machine step by step.
func model(items []Item, agent bool) (before []bool) {
	ramdisk := agent
	for _, it := range items {
		boot := false
		if it.Step.Where == step.InBand && !ramdisk {
			ramdisk, boot = true, true
		}
		if it.Step.Reboot {
			ramdisk = false
		}
		before = append(before, boot)
	}
	return before
}

func checkBoots(rt *rapid.T, p Plan, agent bool) {
	boots, needs, restarts := 0, false, 0
	for i, boot := range model(p.Items, agent) {
		if p.Items[i].Boots != boot {
			rt.Fatalf("step %d (%s): boots %v, want %v", i, p.Items[i].Step.Name, p.Items[i].Boots, boot)
		}
		if boot {
			boots++
		}
		needs = needs || p.Items[i].Step.Where == step.InBand
		if p.Items[i].Step.Reboot {
			restarts++
		}
	}
	if p.Boots != boots || !needs && boots > 0 || boots > 1+restarts {
		rt.Fatalf("%d boots, the model has %d (ramdisk needed: %v, restarts: %d)", p.Boots, boots, needs, restarts)
	}
}

// An operator's list comes out as it went in: same steps, same order, none lost, whatever is wrong with some of them.
func TestManualPlanAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		reg := stepsAtRandom(rt)
		names := append(reg.Names(state.Clean), "nope.nope", "deploy.hold", "power.reboot", "power.power_off", "power.power_on", "vendor.wait")
		var list []step.Wanted
		var known []string
		unknown, waits := 0, 0
		for range rapid.IntRange(0, 12).Draw(rt, "length") {
			w := step.Wanted{Name: rapid.SampledFrom(names).Draw(rt, "step")}
			list = append(list, w)
			if w.Name == "nope.nope" {
				unknown++
				continue
			}
			if w.Name == "vendor.wait" {
				waits++
			}
			known = append(known, w.Name)
		}
		agent := rapid.Bool().Draw(rt, "agent")
		without := rapid.Bool().Draw(rt, "disable_ramdisk")
		p := Build(Input{Ask: conductor.Provision{Verb: state.VerbClean, CleanSteps: list, NoRamdisk: without}, Registry: reg, Agent: agent})
		var got []string
		for _, it := range p.Items {
			got = append(got, it.Step.Name)
		}
		if !slices.Equal(got, known) {
			rt.Fatalf("got %v, want %v", got, known)
		}
		if without {
			if p.Boots != 0 {
				rt.Fatalf("%d boots with disable_ramdisk", p.Boots)
			}
			return
		}
		if len(p.Problems) < unknown || len(p.Problems) > unknown+waits {
			rt.Fatalf("%d problems of %d unknown steps and %d waits: %v", len(p.Problems), unknown, waits, p.Err())
		}
		checkBoots(rt, p, agent)
	})
}

// An automated plan holds exactly the steps whose last default, or else own, priority is above zero; out of band first,
// then by priority; with one boot unless a step restarts the machine.
func TestAutomatedPlanAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		reg := stepsAtRandom(rt)
		priority := map[string]int{}
		for _, s := range reg.All() {
			priority[s.Name] = s.Priority[state.Clean]
		}
		var defaults []conductor.Default
		for i := range rapid.IntRange(0, 6).Draw(rt, "defaults") {
			d := conductor.Default{Scope: conductor.Scope{Kind: conductor.Trait, Name: fmt.Sprint(i)}, Flow: state.Clean, Key: conductor.KeyPriority,
				Step: rapid.SampledFrom(reg.Names(state.Clean)).Draw(rt, "step"), Value: float64(rapid.IntRange(0, 5).Draw(rt, "value"))}
			if rapid.IntRange(0, 3).Draw(rt, "other flow") == 0 {
				d.Flow = state.Deploy
			} else {
				priority[d.Step] = int(d.Value.(float64))
			}
			defaults = append(defaults, d)
		}
		agent := rapid.Bool().Draw(rt, "agent")
		p := Build(Input{Ask: conductor.Provision{Verb: state.VerbProvide}, Registry: reg, Defaults: defaults, Agent: agent})
		left := map[string]int{}
		for name, n := range priority {
			if n > 0 {
				left[name] = n
			}
		}
		for i, it := range p.Items {
			if left[it.Step.Name] != it.Priority.Value || it.Priority.Value == 0 {
				rt.Fatalf("%s is planned with priority %d, want %d", it.Step.Name, it.Priority.Value, left[it.Step.Name])
			}
			delete(left, it.Step.Name)
			if i == 0 {
				continue
			}
			before := p.Items[i-1]
			switch {
			case before.Step.Where == step.InBand && it.Step.Where == step.OutOfBand:
				rt.Fatalf("%s comes before the out-of-band step %s", before.Step.Name, it.Step.Name)
			case before.Step.Where == it.Step.Where && before.Priority.Value < it.Priority.Value:
				rt.Fatalf("%s (%d) comes before %s (%d)", before.Step.Name, before.Priority.Value, it.Step.Name, it.Priority.Value)
			}
		}
		if len(left) > 0 {
			rt.Fatalf("lost: %v", left)
		}
		if (p.Err() == nil) != (priority[catalog.EraseStep] > 0) {
			rt.Fatalf("erase has priority %d, and the plan says %v", priority[catalog.EraseStep], p.Err())
		}
		checkBoots(rt, p, agent)
	})
}

// A deployment holds the image and each of the operator's steps with a priority once: out of band first, then by priority.
func TestDeployPlanAgainstTheModel(t *testing.T) {
	reg, err := step.NewRegistry(catalog.With(catalog.Redfish)...)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"management.reset_bmc", "management.clear_job_queue", "bios.factory_reset", "deploy.erase_devices_metadata", "deploy.hold", "power.reboot"}
	rapid.Check(t, func(rt *rapid.T) {
		want := map[string]int{catalog.WriteStep: 80}
		var list []step.Wanted
		for _, n := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID).Draw(rt, "steps") {
			w := step.Wanted{Name: n, Priority: rapid.IntRange(0, 100).Draw(rt, "priority")}
			list = append(list, w)
			if w.Priority > 0 {
				want[n] = w.Priority
			}
		}
		p := Build(Input{Node: nodetest.Snapshot().Node, Ask: conductor.Provision{Verb: state.VerbDeploy, DeploySteps: list}, Registry: reg})
		if p.Err() != nil || len(p.Items) != len(want) {
			rt.Fatalf("%d steps, want %d: %v", len(p.Items), len(want), p.Err())
		}
		inBand := false
		last := map[step.Where]int{step.InBand: 1000, step.OutOfBand: 1000}
		for _, it := range p.Items {
			if it.Priority.Value != want[it.Step.Name] {
				rt.Fatalf("%s has priority %d, want %d", it.Step.Name, it.Priority.Value, want[it.Step.Name])
			}
			w := it.Step.Where
			if w == step.Server {
				continue
			}
			if inBand = inBand || w == step.InBand; inBand && w == step.OutOfBand {
				rt.Fatalf("%s comes behind the boot", it.Step.Name)
			}
			if it.Priority.Value > last[w] {
				rt.Fatalf("%s (%d) comes late", it.Step.Name, it.Priority.Value)
			}
			last[w] = it.Priority.Value
		}
		checkBoots(rt, p, false)
	})
}
