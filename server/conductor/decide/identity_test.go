package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func from(uuid, serial string) *conductor.Facts {
	f := capable()
	f.UUID, f.Serial = uuid, serial
	return f
}

// The machine that a flow would boot is compared with the one that was verified, whatever driver says so (F24).
func TestF24_PrepareNoticesAnotherMachine(t *testing.T) {
	for name, c := range map[string]struct {
		was   conductor.Identity
		now   *conductor.Facts
		keeps conductor.Identity
		fails bool
	}{
		"the same":             {conductor.IdentityOf("a1", "S1"), from("A1", "S1"), conductor.IdentityOf("a1", "S1"), false},
		"another":              {conductor.IdentityOf("a1", "S1"), from("b2", "S2"), conductor.IdentityOf("a1", "S1"), true},
		"of before identities": {conductor.Identity{}, from("b2", "S2"), conductor.IdentityOf("b2", "S2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.byHand = true
			l.manageable()
			l.s.Node.Machine = c.was
			l.verb(state.VerbProvide)
			l.ok(conductor.EffectDone{Effect: l.take(conductor.EffectPrepare), Facts: c.now})
			n := l.s.Node
			if n.Machine != c.keeps || c.fails != (n.State == state.CleanFail) || c.fails != (n.LastReason == fault.BMCOtherMachine) {
				t.Errorf("%s (%s), machine %+v", n.State, n.LastError, n.Machine)
			}
			if c.fails && (len(l.effects) > 0 || n.Boot != nil || n.Maintenance) {
				t.Errorf("effects %v, boot %+v, maintenance %t", l.kinds(), n.Boot, n.Maintenance)
			}
			if !c.fails {
				l.take(conductor.EffectBoot)
			}
		})
	}
}

// Confirming a node whose record was in doubt says nothing of its machine; after that it does, but not amid work (F24, I15).
func TestF24_I15_ConfirmingForgetsTheMachine(t *testing.T) {
	confirm := conductor.RecordsConfirmed{Caller: conductor.Caller{Name: "ann"}}
	n := actNode()
	n.Machine, n.Unverified = conductor.IdentityOf("a1", "S1"), &conductor.Unverified{Why: "older"}
	d := decideAct(n, confirm)
	if d.Node.Unverified != nil || d.Node.Machine != n.Machine {
		t.Fatalf("%+v", d.Node)
	}
	n = d.Node
	d = decideAct(n, confirm)
	if d.Refuse != nil || d.Node.Machine != (conductor.Identity{}) || len(d.Audit) != 1 || d.Audit[0].Act != "node.confirm" || len(d.History) != 1 {
		t.Fatalf("%v, %+v, %+v", d.Refuse, d.Node.Machine, d.Audit)
	}
	if d = decideAct(d.Node, confirm); d.Refuse != nil || d.Changed {
		t.Errorf("confirming twice: %v, changed %t", d.Refuse, d.Changed)
	}
	for name, work := range map[string]func(n *conductor.Node){
		"a flow": func(n *conductor.Node) {
			n.State, n.Flow = state.Cleaning, &conductor.Flow{Run: "r", Flow: state.Clean}
		},
		"a power act": func(n *conductor.Node) { n.PowerTarget = conductor.PowerOff },
		"an act":      func(n *conductor.Node) { n.Act = &conductor.Act{Kind: conductor.ActDetach} },
	} {
		busy := n
		work(&busy)
		if d := decideAct(busy, confirm); !fault.Has(d.Refuse, fault.NodeBusy) || d.Node.Machine != n.Machine {
			t.Errorf("%s: %v, machine %+v", name, d.Refuse, d.Node.Machine)
		}
	}
}
