package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func actNode() conductor.Node {
	return conductor.Node{UUID: "n", Name: "n1", State: state.Manageable, Power: conductor.PowerOff, Health: "OK", BootMode: "uefi"}
}

func decideAct(n conductor.Node, e conductor.Event) conductor.Decision {
	return Decide(conductor.Snapshot{Node: n, Timeouts: conductor.DefaultTimeouts()}, e, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
}

// While an act is under way it holds the node under a lease, and everything else that acts has to wait (I16).
func TestI16_AnActHoldsTheNode(t *testing.T) {
	ask := conductor.ActAsked{Caller: conductor.Caller{Name: "op", Request: "req-1"}, Ask: conductor.Act{Kind: conductor.ActAttach, Device: "cdrom", URL: "http://192.0.2.1/canary"}}
	d := decideAct(actNode(), ask)
	if d.Refuse != nil || d.Node.Act == nil || d.Node.Lease == nil || d.Node.Lease.Holder != conductor.HolderAct || len(d.Effects) != 1 ||
		d.Effects[0].Kind != conductor.EffectAct || d.Effects[0].Lease != d.Node.Lease.Number || !conductor.Wanted(d.Node, d.Effects[0]) || len(d.Audit) != 1 {
		t.Fatalf("decided %+v", d)
	}
	if Synced(d.Node) {
		t.Error("a periodic look may touch the node meanwhile")
	}
	for what, e := range map[string]conductor.Event{
		"another act": ask, "a verb": conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbInspect}}, "a power act": conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}},
	} {
		if refused := decideAct(d.Node, e); !fault.Has(refused.Refuse, fault.NodeBusy) || refused.Changed {
			t.Errorf("%s is taken meanwhile: %v", what, refused.Refuse)
		}
	}
	done := decideAct(d.Node, conductor.EffectDone{Effect: d.Effects[0]})
	if n := done.Node; n.Act != nil || n.Lease != nil || len(n.Media) != 1 || n.Media[0].Device != "cdrom" {
		t.Errorf("after its end: %+v", n)
	}
	failed := decideAct(d.Node, conductor.EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCNoMedia, "no drive")})
	if n := failed.Node; n.Act != nil || n.Lease != nil || len(n.Media) != 0 || n.LastReason != fault.BMCNoMedia {
		t.Errorf("after its failure: %+v", n)
	}
	again := decideAct(done.Node, conductor.EffectDone{Effect: d.Effects[0]})
	if again.Changed {
		t.Error("an end that is told twice changes something")
	}
}

func TestActsWaitForWorkAndDoubt(t *testing.T) {
	ask := conductor.ActAsked{Ask: conductor.Act{Kind: conductor.ActBootMode, Mode: "bios"}}
	for what, change := range map[string]func(*conductor.Node){
		"a flow":      func(n *conductor.Node) { n.State = state.CleanWait },
		"open work":   func(n *conductor.Node) { n.Flow = &conductor.Flow{Phase: conductor.PhaseSteps} },
		"a power act": func(n *conductor.Node) { n.PowerTarget = conductor.PowerOn },
		"doubt":       func(n *conductor.Node) { n.Unverified = &conductor.Unverified{Why: "older"} },
	} {
		n := actNode()
		change(&n)
		if d := decideAct(n, ask); d.Refuse == nil || d.Changed {
			t.Errorf("an act beside %s is taken", what)
		}
	}
	n := actNode()
	n.Act = &conductor.Act{Kind: conductor.ActDetach}
	if d := decideAct(n, conductor.RecordsDoubted{Why: "older"}); d.Node.Act != nil || conductor.Wanted(d.Node, conductor.Effect{Kind: conductor.EffectAct}) {
		t.Error("an act goes on though the record is doubted (I15)")
	}
}

// A look brings boot mode, secure boot and health; one that tells nothing of secure boot leaves it.
func TestALookBringsMoreThanThePower(t *testing.T) {
	on := true
	n := actNode()
	n.SecureBoot = &on
	look := &conductor.Status{Power: conductor.PowerOn, BootMode: "bios", Health: "Critical"}
	d := decideAct(n, conductor.PowerRead{Version: n.Version, Power: conductor.PowerOn, Status: look})
	if got := d.Node; got.Power != conductor.PowerOn || got.BootMode != "bios" || got.Health != "Critical" || got.SecureBoot == nil || !*got.SecureBoot || len(d.Effects) != 0 {
		t.Errorf("the node is %+v", got)
	}
	if len(d.History) != 2 || d.History[1].Severity != "WARNING" {
		t.Errorf("history: %+v", d.History)
	}
	if look.News(d.Node) {
		t.Error("the same look is news again")
	}
	if d := decideAct(d.Node, conductor.PowerRead{Version: n.Version, Power: conductor.PowerOn}); d.Changed {
		t.Error("a look without a status changed the node")
	}
}
