package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// owing is an idle node whose machine could not be powered off in boot 5.
func owing() conductor.Node {
	n := actNode()
	n.Generation, n.State, n.StateSince = 5, state.CleanFail, time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)
	n.Flow = &conductor.Flow{Run: "r", Flow: state.Clean, Phase: conductor.PhaseEnded}
	n.Owed = &conductor.Owed{Since: n.StateSince, Run: "r", Generation: 5, Tries: 1, Tried: n.StateSince, Reason: fault.BMCUnreachable, Cause: "no route"}
	return n
}

// What is owed is settled by a power off of that boot or a later one that was confirmed, and by nothing else: not by one of an
// older boot whose end comes late, and not by one that failed (I8, I9).
func TestI8_I9_OnlyANewerPowerOffSettlesWhatIsOwed(t *testing.T) {
	no := fault.New(fault.BMCPower, "it stays on")
	for name, c := range map[string]struct {
		done    conductor.EffectDone
		settled bool
		tries   int
	}{
		"done":              {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectFinish, Run: "r", Generation: 5}, Power: conductor.PowerOff}, true, 0},
		"a later boot":      {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectBoot, Run: "s", Generation: 6}, Power: conductor.PowerOn}, true, 0},
		"failed":            {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectFinish, Run: "r", Generation: 5}, Fault: no}, false, 2},
		"a boot failed":     {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectBoot, Run: "s", Generation: 6}, Fault: no}, false, 1},
		"an older boot":     {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectFinish, Run: "q", Generation: 4}, Power: conductor.PowerOff}, false, 1},
		"an older's fault":  {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectFinish, Run: "q", Generation: 4}, Fault: no}, false, 1},
		"the medium is out": {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectEject, Run: "r", Generation: 5}}, false, 1},
		"a look":            {conductor.EffectDone{Effect: conductor.Effect{Kind: conductor.EffectLook, Generation: 5}, Power: conductor.PowerOff}, false, 1},
	} {
		n := decideAct(owing(), c.done).Node
		if (n.Owed == nil) != c.settled || n.Owed != nil && n.Owed.Tries != c.tries {
			t.Errorf("%s: owed %+v", name, n.Owed)
		}
	}
}

// A look at the machine that tells that it is off settles nothing (F23), and is the moment to try again: not before the pause
// is over, and not while somebody else acts upon the node (I16).
func TestF23_I16_ALookIsTheMomentToTryAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*conductor.Node)
		again  bool
	}{
		"due":               {func(*conductor.Node) {}, true},
		"too early":         {func(n *conductor.Node) { n.Owed.Tries, n.Owed.Tried = 6, n.StateSince.Add(40*time.Minute) }, false},
		"the first goes on": {func(n *conductor.Node) { n.Owed.Tries = 0 }, false},
		"the first is lost": {func(n *conductor.Node) { n.Owed.Tries, n.Owed.Since = 0, n.StateSince.Add(-time.Minute) }, true},
		"an operator is at it": {func(n *conductor.Node) {
			n.Lease = &conductor.Lease{Holder: conductor.HolderNow, Since: n.StateSince.Add(time.Hour)}
		}, false},
		"a power act":    {func(n *conductor.Node) { n.PowerTarget = conductor.PowerOff }, false},
		"in doubt":       {func(n *conductor.Node) { n.Unverified = &conductor.Unverified{Why: "older"} }, false},
		"in maintenance": {func(n *conductor.Node) { n.Maintenance, n.Fault = true, faultClean }, true},
	} {
		n := owing()
		c.change(&n)
		d := decideAct(n, conductor.PowerRead{Version: n.Version, Power: conductor.PowerOff})
		if d.Node.Owed == nil {
			t.Errorf("%s: a look settled what is owed", name)
		}
		if tried := len(d.Effects) == 1; tried != c.again || tried && (d.Effects[0].Kind != conductor.EffectFinish || !d.Effects[0].Once || d.Effects[0].Generation != 5 || d.Effects[0].Run != "r") {
			t.Errorf("%s: effects %+v", name, d.Effects)
		}
	}
}

// What is owed while a flow that owes more fails is not forgotten by it, nor is since when.
func TestI13_ANewDebtKeepsTheOldOne(t *testing.T) {
	l := newLife(t)
	l.s.Node = owing()
	l.s.Node.State, l.s.Node.DriverInfo = state.InspectFail, map[string]any{}
	since := l.s.Node.Owed.Since
	l.verb(state.VerbInspect)
	l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectBoot), Fault: fault.New(fault.BMCError, "no")})
	l.want(state.InspectFail)
	if o := l.s.Node.Owed; !o.Overdue() || !o.Since.Equal(since) || o.Generation != l.s.Node.Generation || o.Generation == 5 {
		t.Errorf("owed %+v in boot %d", o, l.s.Node.Generation)
	}
}

// Work that does not begin with the machine's power off is refused, and so is what would switch the machine on (I8).
func TestI8_WhatReliesOnAMachineThatIsOffIsRefused(t *testing.T) {
	for at, verbs := range map[state.State][]state.Event{
		state.Manageable: {state.VerbProvide, state.VerbClean, state.VerbAdopt}, state.DeployFail: {state.VerbDeploy, state.VerbRebuild}, state.ServiceFail: {state.VerbService},
	} {
		for _, v := range verbs {
			n := owing()
			n.State = at
			p := conductor.Provision{Verb: v, CleanSteps: []step.Wanted{{Name: "management.reset_bmc"}}}
			if d := decideAct(n, conductor.VerbAsked{Ask: p}); !fault.Has(d.Refuse, fault.NodeNotOff) || d.Changed {
				t.Errorf("%s in %q: %v", v, at, d.Refuse)
			}
			n.Owed.Tries = 0
			if d := decideAct(n, conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}}); d.Refuse != nil {
				t.Errorf("power on while the first try goes on: %v", d.Refuse)
			}
		}
	}
	for target, taken := range map[string]bool{"power on": false, "rebooting": false, "soft rebooting": false, "power off": true, "soft power off": true} {
		if d := decideAct(owing(), conductor.PowerAsked{Ask: conductor.PowerRequest{Target: target}}); (d.Refuse == nil) != taken || !taken && !fault.Has(d.Refuse, fault.NodeNotOff) {
			t.Errorf("%s: %v", target, d.Refuse)
		}
	}
}

// A record that is doubted has lost the acts that were stored with it: a power off that had yet to be done is one that came to
// nothing, so that nothing is begun before it once the record is confirmed (I8, I15).
func TestI8_I15_ADoubtedRecordStillOwesThePowerOff(t *testing.T) {
	n := owing()
	n.State, n.Owed.Tries, n.Owed.Cause = state.Manageable, 0, ""
	d := decideAct(n, conductor.RecordsDoubted{Why: "older"})
	if o := d.Node.Owed; !o.Overdue() || o.Cause == "" || o.Reason != fault.NodeUnverified || len(d.Effects) != 0 {
		t.Fatalf("owed %+v, effects %+v", o, d.Effects)
	}
	d = decideAct(d.Node, conductor.RecordsConfirmed{})
	if d.Node.Owed == nil || d.Node.Unverified != nil {
		t.Fatalf("after the confirmation: owed %+v, unverified %+v", d.Node.Owed, d.Node.Unverified)
	}
	if d := decideAct(d.Node, conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbProvide}}); !fault.Has(d.Refuse, fault.NodeNotOff) {
		t.Errorf("provide: %v", d.Refuse)
	}
}

// The end of a boot or start that was under way when its work failed says that the machine runs: what is owed since stays owed,
// and a power off that comes to nothing then is not forgotten (F40).
func TestF40_ALateStartDoesNotSettleWhatIsOwed(t *testing.T) {
	for name, begin := range map[string]func(l *life) conductor.Effect{
		"the instance": func(l *life) conductor.Effect { return l.take(conductor.EffectFinish) },
		"the ramdisk": func(l *life) conductor.Effect {
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectFinish), Power: conductor.PowerOn})
			l.verb(state.VerbRescue)
			return l.take(conductor.EffectBoot)
		},
	} {
		l := live(t)
		l.verb(state.VerbDeploy)
		late := begin(l)
		l.now = l.s.Node.Flow.Wait.Deadline.Add(time.Second)
		l.ok(conductor.DeadlinePassed{})
		off := l.take(conductor.EffectFinish)
		l.ok(conductor.EffectDone{Effect: late, Power: conductor.PowerOn})
		if l.s.Node.Owed == nil {
			t.Errorf("%s: that it runs settles that it is to be off", name)
		}
		l.ok(conductor.EffectDone{Effect: off, Fault: fault.New(fault.BMCUnreachable, "no answer")})
		if err := conductor.Fenced(l.s.Node); !fault.Has(err, fault.NodeNotOff) {
			t.Errorf("%s: after a power off that failed: %v", name, err)
		}
	}
}

// The lookup of a later boot's ramdisk proves that the machine was powered off: its medium goes in after that. It often comes
// before the boot's act has ended, which is then called off and tells nothing. What is owed must not outlive it: it would power
// a rescue off, or stand for ever (I13).
func TestI13_ALookupSettlesWhatIsOwed(t *testing.T) {
	for _, tries := range []int{0, 1} {
		l := newLife(t)
		l.s.Node = owing()
		l.s.Node.State, l.s.Node.DriverInfo, l.s.Node.Owed.Tries = state.InspectFail, map[string]any{}, tries
		l.verb(state.VerbInspect)
		e := l.take(conductor.EffectBoot)
		if err := l.lookup(agentA); err != nil {
			t.Fatal(err)
		}
		if conductor.Wanted(l.s.Node, e) {
			t.Fatal("the boot's act is not called off: its end would settle what is owed")
		}
		if o := l.s.Node.Owed; o != nil {
			t.Errorf("owed %+v", o)
		}
	}
}

// Whoever tries what is owed has the try carried out, also when the node's generation has moved on and other work was begun
// since: else it would be tried for ever, and never count (I13).
func TestI13_I15_WhatIsTriedAgainIsWanted(t *testing.T) {
	n := owing()
	n.Flow = &conductor.Flow{Run: "s", Flow: state.Clean, Phase: conductor.PhaseEnded}
	n = decideAct(n, conductor.RecordsDoubted{Why: "older", Floor: conductor.PerEpoch}).Node
	n = decideAct(n, conductor.RecordsConfirmed{}).Node
	n.Owed.Tried = n.StateSince
	d := decideAct(n, conductor.PowerRead{Version: n.Version, Power: conductor.PowerOn})
	if len(d.Effects) != 1 || !conductor.Wanted(d.Node, d.Effects[0]) {
		t.Fatalf("effects %+v of boot %d", d.Effects, d.Node.Generation)
	}
	if n := decideAct(d.Node, conductor.EffectDone{Effect: d.Effects[0], Power: conductor.PowerOff}).Node; n.Owed != nil {
		t.Errorf("owed %+v", n.Owed)
	}
}

// TestI15_I16_AnActiveMachineIsNotSwitchedOffUnasked: a service whose record was doubted leads back to active by abort, with what is
// owed to it; whether its machine runs the instance an operator knows.
func TestI15_I16_AnActiveMachineIsNotSwitchedOffUnasked(t *testing.T) {
	n := owing()
	n.State, n.Owed.Tried = state.Active, n.StateSince
	d := decideAct(n, conductor.PowerRead{Version: n.Version, Power: conductor.PowerOn})
	if len(d.Effects) != 0 || d.Node.Owed == nil {
		t.Fatalf("effects %+v, owed %+v", d.Effects, d.Node.Owed)
	}
	if asked := decideAct(d.Node, conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power off"}}); asked.Refuse != nil {
		t.Error(asked.Refuse)
	}
	if said := decideAct(d.Node, conductor.RecordsConfirmed{}); said.Refuse != nil || said.Node.Owed != nil {
		t.Errorf("confirmed: %v, owed %+v", said.Refuse, said.Node.Owed)
	}
}
