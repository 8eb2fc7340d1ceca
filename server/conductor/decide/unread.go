package decide

import (
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// unread forgets what was read of the machine before an act, so far as the act may change it. What the record says
// afterwards was read later: it is evidence, and what was there before is not taken for it
// (docs/adr/0260-facts-older-than-an-act.md).
func (d *decider) unread(e conductor.Effect) {
	n := d.n
	switch e.Kind {
	case conductor.EffectPower, conductor.EffectPrepare, conductor.EffectBoot, conductor.EffectFinish:
		n.Power = "" // a flow that boots the machine asks before it does
	case conductor.EffectAct:
		if k := n.Act.Kind; k == conductor.ActBootMode || k == conductor.ActSecureBoot {
			n.BootMode, n.SecureBoot, n.BMC = "", nil, nil
		}
	case conductor.EffectRunStep:
		r, _ := d.attempt(e.Step)
		if r.Children != nil {
			return // it is done to other machines
		}
		if r.Step.Reboot || strings.HasPrefix(r.Step.Name, "power.") {
			n.Power = ""
		}
		if r.Step.Where != step.OutOfBand {
			return
		}
		n.BMC = nil // the step may change what the BMC offers
		if r.Step.Reboot {
			n.BootMode, n.SecureBoot = "", nil
		}
	}
}
