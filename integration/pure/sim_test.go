package pure

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/state"
)

var (
	seedFlag = flag.Uint64("seed", 0, "replay this one seed and print its history")
	runsFlag = flag.Int("sim.runs", 1500, "how many seeds TestI08_Simulation plays")
	forFlag  = flag.Duration("sim.for", 0, "play new seeds for this long instead")
)

func instance() map[string]any {
	return map[string]any{"image_source": "http://images/os.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("a", 64)}
}

// newWorld has nodes that were inspected once, and a server.
func newWorld(nodes int, without rules) *world {
	w := &world{without: without, waits: map[conductor.NodeID]waited{}, quiet: true}
	for i := range nodes {
		m := &machine{w: w, i: i, sick: well}
		w.machines = append(w.machines, m)
		w.db.rows = append(w.db.rows, &row{node: conductor.Node{
			UUID: conductor.NodeID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)), Name: fmt.Sprintf("n%d", i), Driver: "redfish", Version: 1,
			State: state.Manageable, InstanceInfo: instance(), Properties: map[string]any{},
		}, accepted: m.inventory()})
	}
	w.db.alive = w.wall()
	w.startServer()
	return w
}

// turnsOf makes the turns of a seed; some kinds may come more often than they do by themselves.
func turnsOf(seed uint64, often ...kind) []turn {
	r := rand.New(rand.NewPCG(seed, 1))
	total, weights := 0, weights
	for _, k := range often {
		weights[k] *= 4
	}
	for _, n := range weights {
		total += n
	}
	var out []turn
	for range 50 + r.IntN(350) {
		at, k := r.IntN(total), kind(0)
		for at >= weights[k] {
			at -= weights[k]
			k++
		}
		out = append(out, turn{k, uint16(r.Uint32()), uint16(r.Uint32()), uint16(r.Uint32())})
	}
	return out
}

// worldOf is the world of a seed: two or three nodes; in one of four the attacker reads media.
func worldOf(seed uint64, without rules) *world {
	w := newWorld(2+int(seed%2), without)
	w.leaked = seed%4 == 3
	return w
}

// failure is a broken rule with its shortest history.
type failure struct {
	seed  uint64
	rule  string
	turns []turn
	trace []string
}

func history(w *world) string { return strings.Join(w.trace, "\n") }

func (f failure) String() string {
	return fmt.Sprintf("seed %d: %s\nthe shortest history that breaks it has %d turns:\n%s\nreplay: go test ./integration/pure -seed %d -v",
		f.seed, f.rule, len(f.turns), strings.Join(f.trace, "\n"), f.seed)
}

// try plays one seed; nil: no rule was broken. A failure is shrunk, if its number is one of those asked for.
func try(seed uint64, without rules, numbers []string, often ...kind) *failure {
	turns := turnsOf(seed, often...)
	err := worldOf(seed, without).play(turns)
	if err == nil {
		return nil
	}
	f := &failure{seed: seed, rule: err.Error(), turns: turns}
	if number := err.(broken).number; numbers == nil || slices.Contains(numbers, number) {
		f.turns = shrink(turns, func(t []turn) bool {
			err := worldOf(seed, without).play(t)
			return err != nil && err.(broken).number == number
		})
	}
	w := worldOf(seed, without)
	w.quiet = false
	if err := w.play(f.turns); err != nil {
		f.rule = err.Error()
	}
	f.trace = w.trace
	return f
}

// shrink takes away whatever is not needed for a list to stay bad: halves first, then ever smaller parts, then what the
// numbers of a turn add.
func shrink(turns []turn, bad func([]turn) bool) []turn {
	for size := len(turns) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(turns); {
			less := slices.Concat(turns[:at], turns[at+size:])
			if bad(less) {
				turns = less
			} else {
				at += size
			}
		}
	}
	for i := range turns {
		for _, calm := range []turn{{Kind: flow}, {Kind: turns[i].Kind}, {Kind: turns[i].Kind, A: turns[i].A}} {
			less := slices.Clone(turns)
			if less[i] == calm {
				break
			}
			if less[i] = calm; bad(less) {
				turns = less
				break
			}
		}
	}
	return turns
}

// TestI08_I09_I10_I11_I12_I13_I14_I16_I17_I18_I20_I28_F10_F11_F12_F25_Simulation plays seeds: random verbs, messages lost,
// late, doubled and reordered, processes killed and machines restarted at any point, BMCs that fail and lie, clocks that
// jump, an attacker. After each turn every invariant holds, and in the end every node is back in use.
func TestI08_I09_I10_I11_I12_I13_I14_I16_I17_I18_I20_I28_F10_F11_F12_F25_Simulation(t *testing.T) {
	if *seedFlag != 0 {
		w := worldOf(*seedFlag, rules{})
		w.quiet = false
		if err := w.play(turnsOf(*seedFlag)); err == nil {
			t.Log(history(w))
			return
		}
		t.Fatal(try(*seedFlag, rules{}, nil))
	}
	began, first, n := time.Now(), uint64(1), *runsFlag
	if *forFlag > 0 {
		first = uint64(began.UnixNano())
	}
	succeeded := 0
	for seed := first; ; seed++ {
		if *forFlag > 0 && time.Since(began) > *forFlag || *forFlag == 0 && seed >= first+uint64(n) {
			break
		}
		w := worldOf(seed, rules{})
		if err := w.play(turnsOf(seed)); err != nil {
			t.Fatal(try(seed, rules{}, nil))
		}
		for _, x := range w.ledger {
			if x.state == "succeeded" {
				succeeded++
			}
		}
	}
	if succeeded < n {
		t.Errorf("only %d steps succeeded in %d runs: the simulation does not get far", succeeded, n)
	}
	t.Logf("%d steps succeeded", succeeded)
}
