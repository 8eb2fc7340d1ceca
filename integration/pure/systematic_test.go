package pure

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// scripts are what the operator does while nothing else goes wrong than the one fault.
var scripts = map[string][]turn{
	"cleaned and deployed": {ask(0, "provide"), ask(1, "long clean"), wait(75), ask(0, "deploy"), ask(1, "inspect"), wait(55)},
	"aborted and deleted":  {ask(0, "provide"), ask(1, "provide"), wait(26), {Kind: abort, A: 0}, wait(4), {Kind: power, A: 1, B: 1}, wait(30), ask(0, "manage"), wait(10)},
	"served and rescued": {ask(0, "inspect"), ask(1, "inspect"), wait(30), ask(0, "adopt"), ask(1, "adopt"), wait(4), ask(0, "long service"), ask(1, "rescue"), wait(45),
		ask(1, "unrescue"), ask(0, "out-of-band service"), wait(12)},
	"out of band": {ask(0, "out-of-band clean"), ask(1, "clean"), wait(50), {Kind: power, A: 0, B: 2}, wait(20)},
}

func ask(node uint16, name string) turn {
	for i, n := range operatorVerbs {
		if n == name {
			return turn{Kind: verb, A: node, B: uint16(i)}
		}
	}
	panic(name)
}

// wait stands for so many seconds in which everything goes on.
func wait(seconds uint16) turn { return turn{Kind: kinds, A: seconds} }

func played(script []turn) (out []turn) {
	for _, t := range script {
		if t.Kind != kinds {
			out = append(out, t)
			continue
		}
		for range t.A {
			out = append(out, turn{Kind: flow})
		}
	}
	return out
}

// TestI08_I13_F01_F03_F14_F15_F10_F12_F25_OneFaultAtEveryPoint plays each script once for each fault and each point where it
// can strike: every commit, effect, order, act upon a BMC, line of the journal, message and start of a step, in turn. After
// each turn all invariants hold, and in the end all nodes are back in use (F40, I13).
func TestI08_I13_F01_F03_F14_F15_F10_F12_F25_OneFaultAtEveryPoint(t *testing.T) {
	for name, script := range scripts {
		turns := played(script)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			struck := map[malady]int{}
			for m := serverDies; m < maladies; m++ {
				for n := 1; ; n++ {
					w := newWorld(2, rules{})
					hit, last := "", 0
					w.fault = func(k int, at string) malady {
						last = k
						if k != n || !suits(m, at) {
							return none
						}
						hit = at
						return m
					}
					if err := w.play(turns); err != nil {
						again := newWorld(2, rules{})
						again.fault, again.quiet = w.fault, false
						again.play(turns) //nolint:errcheck // it is known; the history is wanted
						t.Fatalf("%s at point %d (%s): %v\n%s", maladyNames[m], n, hit, err, history(again))
					}
					if hit != "" {
						struck[m]++
					}
					if last < n {
						break
					}
				}
				if struck[m] < 10 {
					t.Errorf("%s struck at %d points only", maladyNames[m], struck[m])
				}
			}
			t.Logf("points struck: %v", struck)
		})
	}
}

// TestI28_F21_ADeadBMCDelaysOnlyItsNode cleans two nodes at once; that one's BMC never answers costs the other nothing, and
// the one comes to an end with the reason.
func TestI28_F21_ADeadBMCDelaysOnlyItsNode(t *testing.T) {
	cleaned := func(bmc sickness) time.Duration {
		w := newWorld(2, rules{})
		w.machines[0].sick = bmc
		for i := range w.machines {
			if err := w.verb(i, "provide"); err != nil {
				t.Fatal(err)
			}
		}
		took := time.Duration(0)
		for n := 0; w.db.rows[1].node.State != state.Available; n++ {
			if n > patience {
				t.Fatalf("node 1 is %s", brief(w.db.rows[1]))
			}
			w.goOn()
			w.check()
		}
		took = w.mono
		for range patience {
			w.goOn()
			w.check()
		}
		if r := w.db.rows[0].node; bmc == dead && (r.State != state.CleanFail || r.LastReason != fault.BMCUnreachable) {
			t.Errorf("the node with the dead BMC is %s, %s", r.State, r.LastReason)
		}
		return took
	}
	with, without := cleaned(dead), cleaned(well)
	if with > without+15*time.Second { // the scheduler's own steps are as long as that when nothing is due
		t.Errorf("beside a dead BMC it took %s, else %s", with, without)
	}
}
