package pure

import (
	"testing"
)

// scripts are what the operator does while nothing else goes wrong than the one fault.
var scripts = map[string][]turn{
	"cleaned and deployed": {ask(0, "provide"), ask(1, "long clean"), wait(75), ask(0, "deploy"), ask(1, "inspect"), wait(55)},
	"aborted and deleted":  {ask(0, "provide"), ask(1, "provide"), wait(26), {Kind: abort, A: 0}, wait(4), {Kind: power, A: 1, B: 1}, wait(30), ask(0, "manage"), wait(10)},
	"out of band":          {ask(0, "out-of-band clean"), ask(1, "clean"), wait(50), {Kind: power, A: 0, B: 2}, wait(20)},
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
