package decide

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/doctor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// Texts name verbs as they are typed, never by the table's word: to delete a node is to forget it.
func TestTextsNameVerbsAsTheyAreTyped(t *testing.T) {
	of, base, asked := regexp.MustCompile(`^possible here: (.*)$`), nodetest.Snapshot(), nodetest.Verbs()
	with := func(change func(*conductor.Node), at state.State) conductor.Snapshot {
		s := base
		s.Node.State = at
		change(&s.Node)
		return s
	}
	for _, s := range state.All() {
		for word, verb := range asked {
			for _, change := range []func(*conductor.Node){func(*conductor.Node) {}, func(n *conductor.Node) { n.Maintenance = true }, func(n *conductor.Node) { n.Protected = true }, func(n *conductor.Node) { n.PowerTarget = conductor.PowerOn }} {
				d := Decide(with(change, s), conductor.VerbAsked{Ask: conductor.Provision{Verb: verb}}, time.Now())
				if d.Refuse == nil {
					continue
				}
				f := fault.From(d.Refuse)
				if strings.Contains(f.Error(), "delete") || strings.Contains(f.Message, "is not possible in state") && !strings.HasPrefix(f.Message, word+" ") {
					t.Errorf("%s of a node that is %s: %s", word, s, f.Error())
				}
				if m := of.FindStringSubmatch(f.Hint); m != nil {
					for w := range strings.SplitSeq(m[1], ", ") {
						if _, ok := asked[w]; !ok && !strings.HasPrefix(m[1], "nothing, ") {
							t.Errorf("%s of a node that is %s: %q is no verb that can be typed", word, s, w)
						}
					}
				}
			}
			if p := Preview(with(func(*conductor.Node) {}, s), conductor.Provision{Verb: verb}, time.Now(), nil); strings.Contains(p.Blocked, "; delete is") {
				t.Errorf("the plan of %s in %s: %s", word, s, p.Blocked)
			}
		}
	}
}

// An operator is told before an abort what it will do (F40).
func TestF40_AnAbortSaysWhatItWillDo(t *testing.T) {
	l := newLife(t)
	l.available()
	say := func(want string) {
		t.Helper()
		if got := doctor.AbortOf(l.s.Node, l.s.Steps); !strings.Contains(got, want) {
			t.Errorf("in %s: %q, want %q", l.s.Node.State, got, want)
		}
	}
	say("nothing to abort")
	l.verb(state.VerbDeploy)
	say("refused while the server acts")
	l.boot()
	say("ends at once")
	r := l.running()
	l.ok(conductor.StepClaimed{Ask: api.StartRequest{ID: r.ID, Nonce: "n"}})
	say("deploy.write_image stops at a safe point within 10s")
	l.verb(state.VerbAbort)
	say("told to stop already")
	r = l.running()
	r.Step.Abortable = false
	l.s.Steps = replace(l.s.Steps, r)
	say("deploy.write_image can't be stopped and ends first, at the latest at 2030-01-0")
}
