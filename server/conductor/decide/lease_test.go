package decide

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestI16_EachPieceOfWorkHasItsOwnLease(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := conductor.Node{UUID: "n", State: state.Enroll}
	ids := 0
	decide := func(e conductor.Event) conductor.Decision {
		t.Helper()
		d := Decide(conductor.Snapshot{Node: n, Timeouts: conductor.DefaultTimeouts(), NewID: func() string { ids++; return string(rune('a' + ids)) }}, e, now)
		n = d.Node
		return d
	}
	d := decide(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbManage}})
	if n.Lease == nil || n.Lease.Number != 1 || n.Lease.Holder != "verify" || n.Lease.Run != n.Flow.Run || d.Effects[0].Lease != 1 {
		t.Fatalf("a flow began: lease %+v, effects %+v", n.Lease, d.Effects)
	}
	old := d.Effects[0]
	decide(conductor.EffectEvidence{Effect: old, Text: "try 1"})
	if n.Lease.Number != 1 {
		t.Errorf("the same work has lease %d", n.Lease.Number)
	}
	decide(conductor.EffectDone{Effect: old, Fault: fault.New(fault.BMCUnreachable, "away")})
	if n.Lease != nil || n.State != state.Enroll {
		t.Fatalf("the work ended: lease %+v, state %s", n.Lease, n.State)
	}
	decide(conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbManage}})
	if n.Lease.Number != 2 {
		t.Fatalf("the next work has lease %d", n.Lease.Number)
	}
	// The first one's actor comes late: it may change nothing, not even if it claims to be of the run that is open now.
	old.Run = n.Flow.Run
	before := n
	for _, e := range []conductor.Event{conductor.EffectDone{Effect: old, Power: conductor.PowerOff, Facts: &conductor.Facts{Power: conductor.PowerOff}}, conductor.EffectEvidence{Effect: old, Text: "late"}} {
		if d := decide(e); d.Changed || n.Power != before.Power || n.Flow.Wait.Evidence != "" {
			t.Errorf("%T of an older lease changed the node: %+v", e, d)
		}
	}
}

func TestI16_APowerActHoldsTheNode(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := Decide(conductor.Snapshot{Node: conductor.Node{UUID: "n", State: state.Available}, Timeouts: conductor.DefaultTimeouts()}, conductor.PowerAsked{Ask: conductor.PowerRequest{Target: "power on"}}, now)
	if d.Refuse != nil || d.Node.Lease == nil || d.Node.Lease.Holder != conductor.HolderPower {
		t.Fatalf("lease %+v (%v)", d.Node.Lease, d.Refuse)
	}
	n := d.Node
	if err := conductor.HoldBriefly(&n, conductor.HolderBootDevice, now); !fault.Has(err, fault.NodeBusy) {
		t.Errorf("beside a power act: %v", err)
	}
	end := Decide(conductor.Snapshot{Node: d.Node, Timeouts: conductor.DefaultTimeouts()}, conductor.EffectDone{Effect: d.Effects[0], Power: conductor.PowerOn}, now)
	if end.Node.Lease != nil {
		t.Errorf("after it: lease %+v", end.Node.Lease)
	}
}

// Row 119: what a dead holder left is broken by the server that follows, and after 30 s in any case.
func TestI16_TheLeaseOfADeadHolderIsBroken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := conductor.Node{UUID: "n", State: state.Available}
	if err := conductor.HoldBriefly(&n, conductor.HolderBootDevice, now); err != nil {
		t.Fatal(err)
	}
	if d := Decide(conductor.Snapshot{Node: n}, conductor.ServerRestarted{}, now); !d.Changed || d.Node.Lease != nil {
		t.Errorf("after a restart: %+v", d.Node.Lease)
	}
	again := n
	if err := conductor.HoldBriefly(&again, conductor.HolderNow, now.Add(30*time.Second)); !fault.Has(err, fault.NodeBusy) {
		t.Errorf("within 30 s: %v", err)
	}
	if err := conductor.HoldBriefly(&again, conductor.HolderNow, now.Add(31*time.Second)); err != nil || again.Lease.Number != 2 {
		t.Errorf("after 30 s: %v, lease %+v", err, again.Lease)
	}
	// A flow takes it over at once, under the next number.
	d := Decide(conductor.Snapshot{Node: conductor.Node{UUID: "n", State: state.Enroll, Lease: n.Lease, Leases: n.Leases}, Timeouts: conductor.DefaultTimeouts(), NewID: func() string { return "r" }},
		conductor.VerbAsked{Ask: conductor.Provision{Verb: state.VerbManage}}, now)
	if d.Node.Lease == nil || d.Node.Lease.Number != 2 || d.Node.Lease.Holder != "verify" {
		t.Errorf("a flow: %+v", d.Node.Lease)
	}
}
