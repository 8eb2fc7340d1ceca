package decide

import (
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// A doubt ends the work of every flow, whatever it is doing, waiting for or held at; it is never refused, and the machine
// is left as it is (I15).
func TestI15_ADoubtEndsTheWorkOfEveryState(t *testing.T) {
	for _, row := range state.Flows {
		for _, at := range []state.State{row.Doing, row.Waiting, row.Held} {
			if at == "" {
				continue
			}
			n := actNode()
			n.State, n.Flow = at, &conductor.Flow{Run: "r", Flow: row.Flow, Phase: conductor.PhaseSteps, Booted: true}
			d := decideAct(n, conductor.RecordsDoubted{Why: "older", Floor: 7})
			if got := d.Node; d.Refuse != nil || got.State != row.Failed || got.Unverified == nil || got.Generation != 7 || got.LastReason != fault.NodeUnverified || got.Flow.Phase != conductor.PhaseEnded {
				t.Errorf("%s: %s, expected %s; refused %v, %+v", at, got.State, row.Failed, d.Refuse, got.Flow)
			}
			for _, e := range d.Effects {
				if e.Kind != conductor.EffectWithdraw {
					t.Errorf("%s: the machine is acted upon: %+v", at, e)
				}
			}
		}
	}
	n := actNode() // what no server stores, and a damaged record may hold
	n.State, n.Flow = state.Active, &conductor.Flow{Run: "r", Flow: state.Service, Phase: conductor.PhaseSteps}
	if d := decideAct(n, conductor.RecordsDoubted{Why: "older"}); d.Refuse != nil || d.Node.Unverified == nil || !d.Changed {
		t.Errorf("the doubt is refused: %v", d.Refuse)
	}
}
