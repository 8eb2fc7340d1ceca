package decide

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// hold gives the node's lease to the work that the decision leaves it with, and marks what is set going with its number.
func (d *decider) hold() {
	n := d.n
	holder, run := "", ""
	switch f := d.open(); {
	case f != nil:
		holder, run = string(f.Flow), f.Run
	case n.PowerTarget != "":
		holder = conductor.HolderPower
	case n.Act != nil:
		holder = conductor.HolderAct
	case n.Lease.Short(d.now):
		return
	}
	switch l := n.Lease; {
	case holder == "":
		n.Lease = nil
	case l == nil || l.Holder != holder || l.Run != run:
		n.Leases++
		n.Lease = &conductor.Lease{Number: n.Leases, Holder: holder, Run: run, Since: d.now}
	}
	for i := range d.Effects {
		d.Effects[i].Lease = n.Leases
	}
}

// late tells that an effect was set going under a lease that is not the node's any more. The end of a boot, a power
// act and media taken out are told in any case: a node's acts are done in order, so they say how the machine is now.
func (d *decider) late(e conductor.Effect) bool {
	return e.Lease != 0 && e.Lease < d.n.Leases && e.Kind != conductor.EffectFinish && e.Kind != conductor.EffectPower && e.Kind != conductor.EffectDetach
}

// overtaken tells that an event is the outcome of such an effect.
func (d *decider) overtaken(e conductor.Event) bool {
	switch e := e.(type) {
	case conductor.EffectDone:
		return d.late(e.Effect)
	case conductor.EffectEvidence:
		return d.late(e.Effect)
	}
	return false
}
