package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// In every state each way on that is told is a row of the table of states, none is missing, and the fix never destroys
// data.
func TestI13_EveryStateHasItsLegalExits(t *testing.T) {
	now, asked := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), nodetest.Verbs()
	for _, s := range state.All() {
		n := conductor.Node{UUID: "u", Name: "n1", State: s, LastReason: fault.DiskIO, LastError: "disk.io: broken", StateSince: now}
		d := Diagnose(Case{Node: n, Timeouts: conductor.DefaultTimeouts()}, now)
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
		if state.IsFailed(s) != (d.Verdict == api.VerdictWrong) && s != state.Enroll {
			t.Errorf("%s with an error is %s", s, d.Verdict)
		}
	}
}

func TestDiagnoseNamesWhatIsWrong(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	waiting := func() Case {
		return Case{Timeouts: conductor.DefaultTimeouts(), Heard: now, Node: conductor.Node{UUID: "u", Name: "n1", State: state.CleanWait, Target: state.Available,
			Flow: &conductor.Flow{Run: "r", Flow: state.Clean, Phase: conductor.PhaseAgent, Wait: &conductor.Wait{For: "step deploy.x to end", Owner: "agent", Since: now.Add(-10 * time.Minute), Deadline: now.Add(time.Hour), Reason: fault.StepTimeout}}},
			Open: []conductor.StepRecord{{ID: "i", Run: "r", State: conductor.StepStarted, Step: step.Step{Name: "deploy.x"}, Deadline: now.Add(time.Hour)}}}
	}
	for name, c := range map[string]struct {
		change func(*Case)
		reason fault.Reason // "" when it only waits
		fix    string
	}{
		"waits":          {func(*Case) {}, "", ""},
		"the deadline":   {func(c *Case) { c.Node.Flow.Wait.Deadline = now.Add(-time.Minute) }, fault.StepTimeout, "verb.abort"},
		"silence":        {func(c *Case) { c.Heard = now.Add(-4 * time.Minute) }, fault.FlowSilent, "verb.abort"},
		"a fresh server": {func(c *Case) { c.Heard, c.Listening = time.Time{}, now.Add(-time.Minute) }, "", ""},
		"no wait":        {func(c *Case) { c.Node.Flow.Wait = nil }, fault.InternalError, "verb.abort"},
		"a stray step":   {func(c *Case) { c.Open[0].Run = "older" }, fault.InternalError, ""},
		"contested":      {func(c *Case) { c.Node.Boot = &conductor.Boot{Contested: true} }, fault.NodeContested, ActPowerOff},
		"contested under a format": {func(c *Case) {
			c.Node.Boot, c.Node.Flow.Wait.Silent, c.Node.Maintenance, c.Heard = &conductor.Boot{Contested: true}, true, true, time.Time{}
		}, fault.NodeContested, ""},
		"silent under a format": {func(c *Case) { c.Node.Flow.Wait.Silent, c.Heard = true, time.Time{} }, fault.FlowSilent, ""},
		"a fault":               {func(c *Case) { c.Node.Fault, c.Node.Maintenance = "power failure", true }, fault.NodeMaintenance, ActMaintenance},
		"a slow BMC":            {func(c *Case) { w := c.Node.Flow.Wait; w.Owner, w.Evidence = "bmc", "try 9: busy" }, fault.StepTimeout, ""},
		"a lost power act":      {func(c *Case) { c.Node.PowerTarget = conductor.PowerOn }, fault.NodeActLost, ActGiveUp},
		"another lost act":      {func(c *Case) { c.Node.Act = &conductor.Act{Kind: conductor.ActBootMode, Mode: "bios"} }, fault.NodeActLost, ActGiveUp},
		"an act": {func(c *Case) {
			c.Node.Act, c.Effects = &conductor.Act{Kind: conductor.ActBootMode, Mode: "bios"}, []conductor.Effect{{Kind: conductor.EffectAct, Node: "u"}}
		}, "", ""},
		"a power act": {func(c *Case) {
			c.Node.PowerTarget, c.Effects = conductor.PowerOn, []conductor.Effect{{Kind: conductor.EffectPower, Node: "u"}}
		}, "", ""},
		"a doubted record": {func(c *Case) { c.Node.Unverified = &conductor.Unverified{Since: now, Why: "older than the mark"} }, fault.NodeUnverified, ""},
		"a dead BMC": {func(c *Case) {
			c.BMC = conductor.Health{Failed: 3, Last: conductor.Exchange{Came: "timeout"}, Next: now.Add(time.Minute)}
		}, fault.BMCUnreachable, ""},
		"a full budget":    {func(c *Case) { c.BMC.Unsent.At = now.Add(-4 * time.Minute) }, fault.BMCUnreachable, ""},
		"a budget of old":  {func(c *Case) { c.BMC.Unsent.At = now.Add(-time.Hour) }, "", ""},
		"one lost request": {func(c *Case) { c.BMC = conductor.Health{Failed: 1, Last: conductor.Exchange{Came: "timeout"}} }, "", ""},
		"a doubt": {func(c *Case) {
			c.Node.BMC = &conductor.Known{Doubts: []conductor.Doubt{{Reason: fault.BMCClock, Message: "11 minutes fast"}}}
		}, "", ""},
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
	d := Diagnose(Case{Timeouts: conductor.DefaultTimeouts(), Acting: conductor.EffectVerify, Node: conductor.Node{
		UUID: "u", Name: "n1", State: state.Manageable, Lease: &conductor.Lease{Number: 7, Holder: conductor.HolderPower, Since: now},
		Unverified: &conductor.Unverified{Since: now, Why: "older than the mark"}, BMC: &conductor.Known{Doubts: []conductor.Doubt{{Reason: fault.BMCClock, Message: "11 minutes fast"}}},
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

// A problem about a BMC says what was asked of it last, when, and what came of it.
func TestProblemsOfABMCHaveEvidence(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	asked := conductor.Exchange{Asked: "GET /redfish/v1/Systems/1", Came: "no answer in time", At: now.Add(-time.Minute)}
	unsent := conductor.Exchange{Asked: "GET /redfish/v1/Systems/2", Came: "not sent in time", At: now.Add(-2 * time.Minute)}
	waiting := func(seen time.Time) *conductor.Flow {
		return &conductor.Flow{Run: "r", Flow: state.Clean, Phase: conductor.PhaseFinish, Wait: &conductor.Wait{For: "it", Owner: "bmc", Since: now.Add(-time.Hour), Deadline: now.Add(time.Hour),
			Evidence: "try 9: busy", Seen: seen}}
	}
	for name, c := range map[string]struct {
		node   conductor.Node
		bmc    conductor.Health
		reason fault.Reason
		want   conductor.Exchange
		text   string
	}{
		"the breaker is open":     {conductor.Node{State: state.Manageable}, conductor.Health{Failed: 4, Last: asked, Next: now.Add(time.Minute)}, fault.BMCUnreachable, asked, asked.String()},
		"the budget is used up":   {conductor.Node{State: state.Manageable}, conductor.Health{Last: asked, Unsent: unsent}, fault.BMCUnreachable, unsent, unsent.String()},
		"the node was marked":     {conductor.Node{State: state.Manageable, Fault: conductor.FaultPower}, conductor.Health{Last: asked}, fault.NodeMaintenance, asked, asked.String()},
		"work failed at it":       {conductor.Node{State: state.CleanFail, LastReason: fault.BMCError, LastError: "it said no"}, conductor.Health{Last: asked}, fault.BMCError, asked, asked.String()},
		"what it said of an act":  {conductor.Node{State: state.Cleaning, Flow: waiting(now)}, conductor.Health{Last: asked}, fault.BMCUnreachable, conductor.Exchange{At: now}, "try 9: busy"},
		"it was asked since then": {conductor.Node{State: state.Cleaning, Flow: waiting(now.Add(-time.Hour))}, conductor.Health{Last: asked}, fault.BMCUnreachable, asked, asked.String()},
		"work failed at a disk":   {conductor.Node{State: state.CleanFail, LastReason: fault.DiskIO, LastError: "broken"}, conductor.Health{Last: asked}, fault.DiskIO, conductor.Exchange{}, ""},
		"nothing was asked yet":   {conductor.Node{State: state.CleanFail, LastReason: fault.BMCError, LastError: "it said no"}, conductor.Health{}, fault.BMCError, conductor.Exchange{}, ""},
	} {
		d := Diagnose(Case{Node: c.node, BMC: c.bmc, Timeouts: conductor.DefaultTimeouts()}, now)
		if len(d.Problems) != 1 || d.Problems[0].Reason != string(c.reason) || d.Problems[0].Evidence != c.text || !d.Problems[0].Seen.Equal(c.want.At) {
			t.Errorf("%s: %+v", name, d.Problems)
		}
	}
}
