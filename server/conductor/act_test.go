package conductor

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func actNode() Node {
	return Node{UUID: "n", Name: "n1", State: state.Manageable, Power: PowerOff, Health: "OK", BootMode: "uefi"}
}

func decideAct(n Node, e Event) Decision {
	return Decide(Snapshot{Node: n, Timeouts: DefaultTimeouts()}, e, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
}

// While an act is under way it holds the node under a lease, and everything else that acts has to wait (I16).
func TestI16_AnActHoldsTheNode(t *testing.T) {
	ask := ActAsked{Caller: Caller{Name: "op", Request: "req-1"}, Ask: Act{Kind: ActAttach, Device: "cdrom", URL: "http://192.0.2.1/canary"}}
	d := decideAct(actNode(), ask)
	if d.Refuse != nil || d.Node.Act == nil || d.Node.Lease == nil || d.Node.Lease.Holder != HolderAct || len(d.Effects) != 1 ||
		d.Effects[0].Kind != EffectAct || d.Effects[0].Lease != d.Node.Lease.Number || !Wanted(d.Node, d.Effects[0]) || len(d.Audit) != 1 {
		t.Fatalf("decided %+v", d)
	}
	if Synced(d.Node) {
		t.Error("a periodic look may touch the node meanwhile")
	}
	for what, e := range map[string]Event{
		"another act": ask, "a verb": VerbAsked{Ask: Provision{Verb: state.VerbInspect}}, "a power act": PowerAsked{Ask: PowerRequest{Target: "power on"}},
	} {
		if refused := decideAct(d.Node, e); !fault.Has(refused.Refuse, fault.NodeBusy) || refused.Changed {
			t.Errorf("%s is taken meanwhile: %v", what, refused.Refuse)
		}
	}
	done := decideAct(d.Node, EffectDone{Effect: d.Effects[0]})
	if n := done.Node; n.Act != nil || n.Lease != nil || len(n.Media) != 1 || n.Media[0].Device != "cdrom" {
		t.Errorf("after its end: %+v", n)
	}
	failed := decideAct(d.Node, EffectDone{Effect: d.Effects[0], Fault: fault.New(fault.BMCNoMedia, "no drive")})
	if n := failed.Node; n.Act != nil || n.Lease != nil || len(n.Media) != 0 || n.LastReason != fault.BMCNoMedia {
		t.Errorf("after its failure: %+v", n)
	}
	again := decideAct(done.Node, EffectDone{Effect: d.Effects[0]})
	if again.Changed {
		t.Error("an end that is told twice changes something")
	}
}

func TestActsWaitForWorkAndDoubt(t *testing.T) {
	ask := ActAsked{Ask: Act{Kind: ActBootMode, Mode: "bios"}}
	for what, change := range map[string]func(*Node){
		"a flow":      func(n *Node) { n.State = state.CleanWait },
		"open work":   func(n *Node) { n.Flow = &Flow{Phase: PhaseSteps} },
		"a power act": func(n *Node) { n.PowerTarget = PowerOn },
		"doubt":       func(n *Node) { n.Unverified = &Unverified{Why: "older"} },
	} {
		n := actNode()
		change(&n)
		if d := decideAct(n, ask); d.Refuse == nil || d.Changed {
			t.Errorf("an act beside %s is taken", what)
		}
	}
	n := actNode()
	n.Act = &Act{Kind: ActDetach}
	if d := decideAct(n, RecordsDoubted{Why: "older"}); d.Node.Act != nil || Wanted(d.Node, Effect{Kind: EffectAct}) {
		t.Error("an act goes on though the record is doubted (I15)")
	}
}

// A look brings boot mode, secure boot and health; one that tells nothing of secure boot leaves it.
func TestALookBringsMoreThanThePower(t *testing.T) {
	on := true
	n := actNode()
	n.SecureBoot = &on
	look := &Status{Power: PowerOn, BootMode: "bios", Health: "Critical"}
	d := decideAct(n, PowerRead{Version: n.Version, Power: PowerOn, Status: look})
	if got := d.Node; got.Power != PowerOn || got.BootMode != "bios" || got.Health != "Critical" || got.SecureBoot == nil || !*got.SecureBoot || len(d.Effects) != 0 {
		t.Errorf("the node is %+v", got)
	}
	if len(d.History) != 2 || d.History[1].Severity != "WARNING" {
		t.Errorf("history: %+v", d.History)
	}
	if look.News(d.Node) {
		t.Error("the same look is news again")
	}
	if d := decideAct(d.Node, PowerRead{Version: n.Version, Power: PowerOn}); d.Changed {
		t.Error("a look without a status changed the node")
	}
}

func TestMergedPartsKeepTheirTimes(t *testing.T) {
	at, later := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	a, b, c := "1", "2", "3"
	kept, changed := MergeBIOS(nil, []BIOSSetting{{Name: "B", Value: &b}, {Name: "A", Value: &a}, {Name: "A", Value: &c}}, at)
	if !changed || len(kept) != 2 || kept[0].Name != "A" || kept[0].Created != at {
		t.Fatalf("first: %+v", kept)
	}
	if _, changed = MergeBIOS(kept, []BIOSSetting{{Name: "A", Value: &a}, {Name: "B", Value: &b}}, later); changed {
		t.Error("nothing changed, and it is said to have")
	}
	next, changed := MergeBIOS(kept, []BIOSSetting{{Name: "A", Value: &c}}, later)
	if !changed || len(next) != 1 || next[0].Created != at || next[0].Updated != later {
		t.Errorf("then: %+v", next)
	}
	firmware, changed := MergeFirmware(nil, []FirmwareComponent{{Component: "bmc", Current: "1"}}, at)
	if !changed || firmware[0].Initial != "1" || firmware[0].Flashed != "" {
		t.Fatalf("first: %+v", firmware)
	}
	if _, changed = MergeFirmware(firmware, []FirmwareComponent{{Component: "bmc", Current: "1"}}, later); changed {
		t.Error("nothing changed, and it is said to have")
	}
	firmware, changed = MergeFirmware(firmware, []FirmwareComponent{{Component: "bmc", Current: "2"}}, later)
	if f := firmware[0]; !changed || f.Initial != "1" || f.Current != "2" || f.Flashed != "2" || f.Created != at || f.Updated != later {
		t.Errorf("then: %+v", f)
	}
}
