package pure

import (
	"slices"
	"strings"
	"testing"
)

// TestI01_I08_I09_I10_I11_I12_I13_I14_I17_I18_F16_F40_EachRuleIsNeeded takes the rules of safety.md §2 away, one after
// the other, and has the simulation find what breaks: a proof that it can fail, and of what each rule is for. It also
// names which invariant breaks, as another one would mean that the simulation misses what the rule is for.
func TestI01_I08_I09_I10_I11_I12_I13_I14_I17_I18_F16_F40_EachRuleIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name    string
		without rules
		breaks  []string // one of these
		often   []kind
	}{
		{"run only after the answer to start", rules{acknowledgement: true}, []string{"I1"}, nil},
		{"answer to start only after the commit", rules{commitFirst: true}, []string{"I1"}, nil},
		{"remember every id, bind the answer to the process", rules{memory: true, binding: true}, []string{"I8"}, []kind{crashAgent, startAgent, startAgent, attack, attack}},
		{"remember every id", rules{memory: true}, []string{"I13", "liveness", "F40"}, []kind{crashAgent, startAgent}},
		{"a result counts only from its claimant", rules{claimant: true}, []string{"I9", "I10", "I12"}, nil},
		{"a failed step ends the plan", rules{failureStops: true}, []string{"I10"}, nil},
		{"an agent that comes up empty was cut off", rules{emptyIsCutOff: true}, []string{"I12"}, []kind{sick, reboot}},
		{"a commit compares the version", rules{compare: true}, []string{"I11"}, nil},
		{"effects are stored before they are done", rules{actBeforeCommit: true}, []string{"I11"}, nil},
		{"a step out of band begins in a transaction of its own", rules{beginning: true}, []string{"I8"}, nil},
		{"time without the server does not count", rules{shift: true}, []string{"I14"}, nil},
		{"a claim proves the secret of its boot", rules{secret: true}, []string{"I17"}, nil},
		{"a token counts for its boot and key", rules{session: true}, []string{"I18"}, nil},
		{"a failure fences", rules{fence: true}, []string{"F40"}, nil},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			const enough = 2000
			for seed := uint64(1); seed <= enough; seed++ {
				f := try(seed, c.without, c.breaks, c.often...)
				if f == nil {
					continue
				}
				if number, _, _ := strings.Cut(f.rule, ":"); !slices.Contains(c.breaks, number) {
					continue // a rule that is gone breaks more than one thing
				}
				t.Logf("seed %d, %d turns: %s", seed, len(f.turns), f.rule)
				return
			}
			t.Fatalf("in %d runs none of %v broke", enough, c.breaks)
		})
	}
}
