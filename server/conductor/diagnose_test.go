package conductor

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// asked are the verbs of the table by the words that an operator types.
var asked = func() map[string]state.Event {
	out := map[string]state.Event{}
	for _, v := range state.Verbs {
		switch v.Event {
		case state.Wait, state.Hold, state.Fail, state.Done:
		default:
			out[v.Event.Command()] = v.Event
		}
	}
	out[state.VerbUnhold.Command()] = state.VerbUnhold // of the shape of every flow, no row of its own
	return out
}()

// Texts name verbs as they are typed, never by the table's word: to delete a node is to forget it.
func TestTextsNameVerbsAsTheyAreTyped(t *testing.T) {
	of, base := regexp.MustCompile(`^possible here: (.*)$`), newLife(t).s
	with := func(change func(*Node), at state.State) Snapshot {
		s := base
		s.Node.State = at
		change(&s.Node)
		return s
	}
	for _, s := range state.All() {
		for word, verb := range asked {
			for _, change := range []func(*Node){func(*Node) {}, func(n *Node) { n.Maintenance = true }, func(n *Node) { n.Protected = true }, func(n *Node) { n.PowerTarget = PowerOn }} {
				d := Decide(with(change, s), VerbAsked{Ask: Provision{Verb: verb}}, time.Now())
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
			if p := Preview(with(func(*Node) {}, s), Provision{Verb: verb}, time.Now(), nil); strings.Contains(p.Blocked, "; delete is") {
				t.Errorf("the plan of %s in %s: %s", word, s, p.Blocked)
			}
		}
	}
}

// In every state each way on that is told is a row of the table of states, none is missing, and the fix never destroys
// data.
func TestI13_EveryStateHasItsLegalExits(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, s := range state.All() {
		n := Node{UUID: "u", Name: "n1", State: s, LastReason: fault.DiskIO, LastError: "disk.io: broken", StateSince: now}
		d := Diagnose(Case{Node: n, Timeouts: DefaultTimeouts()}, now)
		row, busy := state.FlowOf(s)
		told := map[state.Event]bool{}
		for _, e := range d.Exits {
			verb := asked[strings.Fields(e.Command)[2]]
			if to, legal := state.Next(s, verb); !legal || to != e.To || !strings.HasPrefix(e.Command, "bessemer node ") {
				t.Errorf("%s: exit %+v is not of the table", s, e)
			}
			// What needs words of an operator's is none of the doctor's acts.
			if needs := strings.Contains(e.Command, " --"); needs != (e.Act == "") || !needs && e.Act != ActVerb+string(verb) {
				t.Errorf("%s: exit %+v has a wrong act", s, e)
			}
			told[verb] = true
		}
		for _, verb := range asked {
			_, legal := state.Next(s, verb)
			if want := legal && (!busy || s != row.Doing); told[verb] != want {
				t.Errorf("%s: %s is told: %v, want %v", s, verb, told[verb], want)
			}
		}
		if f := d.Fix; f != nil && (f.Destroys || f.Ends) {
			t.Errorf("%s: the fix of a node that does nothing is %+v", s, f)
		}
		if failed(s) != (d.Verdict == api.VerdictWrong) && s != state.Enroll {
			t.Errorf("%s with an error is %s", s, d.Verdict)
		}
	}
}

func TestDiagnoseNamesWhatIsWrong(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	waiting := func() Case {
		return Case{Timeouts: DefaultTimeouts(), Heard: now, Node: Node{UUID: "u", Name: "n1", State: state.CleanWait, Target: state.Available,
			Flow: &Flow{Run: "r", Flow: state.Clean, Phase: PhaseAgent, Wait: &Wait{For: "step deploy.x to end", Owner: "agent", Since: now.Add(-10 * time.Minute), Deadline: now.Add(time.Hour), Reason: fault.StepTimeout}}},
			Open: []StepRecord{{ID: "i", Run: "r", State: StepStarted, Step: step.Step{Name: "deploy.x"}, Deadline: now.Add(time.Hour)}}}
	}
	for name, c := range map[string]struct {
		change func(*Case)
		reason fault.Reason // "" when it only waits
		fix    string
	}{
		"waits":             {func(*Case) {}, "", ""},
		"the deadline":      {func(c *Case) { c.Node.Flow.Wait.Deadline = now.Add(-time.Minute) }, fault.StepTimeout, "verb.abort"},
		"silence":           {func(c *Case) { c.Heard = now.Add(-4 * time.Minute) }, fault.FlowSilent, "verb.abort"},
		"a fresh server":    {func(c *Case) { c.Heard, c.Listening = time.Time{}, now.Add(-time.Minute) }, "", ""},
		"no wait":           {func(c *Case) { c.Node.Flow.Wait = nil }, fault.InternalError, "verb.abort"},
		"a stray step":      {func(c *Case) { c.Open[0].Run = "older" }, fault.InternalError, ""},
		"contested":         {func(c *Case) { c.Node.Boot = &Boot{Contested: true} }, fault.NodeContested, ActPowerOff},
		"a fault":           {func(c *Case) { c.Node.Fault, c.Node.Maintenance = "power failure", true }, fault.NodeMaintenance, ActMaintenance},
		"a slow BMC":        {func(c *Case) { w := c.Node.Flow.Wait; w.Owner, w.Evidence = "bmc", "try 9: busy" }, fault.StepTimeout, ""},
		"a lost power act":  {func(c *Case) { c.Node.PowerTarget = PowerOn }, fault.BMCPower, ""},
		"a power act":       {func(c *Case) { c.Node.PowerTarget, c.Effects = PowerOn, []Effect{{Kind: EffectPower}} }, "", ""},
		"a doubted record":  {func(c *Case) { c.Node.Unverified = &Unverified{Since: now, Why: "older than the mark"} }, fault.NodeUnverified, ""},
		"a dead BMC":        {func(c *Case) { c.BMC = Health{Failed: 3, Last: "timeout", Next: now.Add(time.Minute)} }, fault.BMCUnreachable, ""},
		"one lost request":  {func(c *Case) { c.BMC = Health{Failed: 1, Last: "timeout"} }, "", ""},
		"a doubt":           {func(c *Case) { c.Node.BMC = &Known{Doubts: []Doubt{{fault.BMCClock, "11 minutes fast"}}} }, "", ""},
		"maintenance alone": {func(c *Case) { c.Node.Maintenance = true }, "", ""},
	} {
		f := waiting()
		c.change(&f)
		d := Diagnose(f, now)
		if c.reason == "" {
			if d.Verdict != api.VerdictWaits || len(d.Problems) != 0 || d.Fix != nil {
				t.Errorf("%s: %+v", name, d)
			}
			continue
		}
		if d.Verdict != api.VerdictWrong || d.Problems[0].Reason != string(c.reason) || d.Problems[0].Message == "" || d.Problems[0].Hint == "" {
			t.Errorf("%s: %+v", name, d.Problems)
		}
		if got := d.Fix; (got == nil) != (c.fix == "") || got != nil && got.Act != c.fix {
			t.Errorf("%s: the fix is %+v, want %s", name, got, c.fix)
		}
	}
}

// What holds the node, what troubles its BMC and how a doubted record is confirmed are told; confirming is an operator's
// own act, which --fix never takes (I15).
func TestI15_I16_TheDoctorTellsLeaseDoubtsAndHowToConfirm(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	d := Diagnose(Case{Timeouts: DefaultTimeouts(), Acting: EffectVerify, Node: Node{
		UUID: "u", Name: "n1", State: state.Manageable, Lease: &Lease{Number: 7, Holder: HolderPower, Since: now},
		Unverified: &Unverified{Since: now, Why: "older than the mark"}, BMC: &Known{Doubts: []Doubt{{fault.BMCClock, "11 minutes fast"}}},
	}}, now)
	if want := "power, number 7, since 2030-01-01T12:00:00Z; now: verify"; d.Lease != want {
		t.Errorf("lease %q, want %q", d.Lease, want)
	}
	if len(d.Doubts) != 1 || d.Doubts[0].Reason != string(fault.BMCClock) || d.Doubts[0].Hint == "" {
		t.Errorf("doubts %+v", d.Doubts)
	}
	if d.Exits[0].Act != ActConfirm || d.Exits[0].Command != "bessemer node confirm n1" || d.Fix != nil && d.Fix.Act == ActConfirm {
		t.Errorf("exits %+v, fix %+v", d.Exits, d.Fix)
	}
}

// An operator is told before an abort what it will do (F40).
func TestF40_AnAbortSaysWhatItWillDo(t *testing.T) {
	l := newLife(t)
	l.available()
	say := func(want string) {
		t.Helper()
		if got := AbortOf(l.s.Node, l.s.Steps); !strings.Contains(got, want) {
			t.Errorf("in %s: %q, want %q", l.s.Node.State, got, want)
		}
	}
	say("nothing to abort")
	l.verb(state.VerbDeploy)
	say("refused while the server acts")
	l.boot()
	say("ends at once")
	r := l.running()
	l.ok(StepClaimed{api.StartRequest{ID: r.ID, Nonce: "n"}})
	say("deploy.write_image stops at a safe point within 10s")
	l.verb(state.VerbAbort)
	say("told to stop already")
	r = l.running()
	r.Step.Abortable = false
	l.s.Steps = replace(l.s.Steps, r)
	say("deploy.write_image can't be stopped and ends first, at the latest at 2030-01-0")
}
