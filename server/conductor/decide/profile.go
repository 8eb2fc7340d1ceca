package decide

import (
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// forget ends the ramdisk of the Ironic profile: its token is worth nothing from now on (I18).
func (d *decider) forget() {
	if d.n.Ramdisk != nil {
		d.n.Ramdisk, d.Changed = nil, true
	}
}

// inspectionTold ends the inspection. What runs on the machine is powered off with it, unless fast_track keeps it.
func (d *decider) inspectionTold(e conductor.InspectionTold) {
	if r := d.n.Ramdisk; r != nil && (r.Contested || r.Source != e.Source) {
		d.contestRamdisk(e.Source)
		d.Refuse = profile.NotLookedUp()
		return
	}
	if f := d.open(); f == nil || f.Flow != state.Inspect || !profile.Inspects(*d.n, d.s.Interfaces) {
		d.Refuse = profile.NotLookedUp()
		return
	}
	d.seen("a ramdisk told what the machine is")
	d.note("INFO", "inspection", 0, "inspected by a ramdisk of the Ironic profile")
	if !conductor.FastTrack(*d.n) {
		d.finish()
		return
	}
	if d.live() && d.n.Boot.Redeemed.IsZero() {
		d.n.Boot.Ended = true // no ramdisk of the native channel is expected any more
	}
	d.complete()
}

// contestRamdisk marks the ramdisk as told of by a second address, once.
func (d *decider) contestRamdisk(source string) {
	first := d.n.Ramdisk.Source
	if _, changed, err := profile.Admit(d.n, "", source, d.now); err != nil || !changed {
		return
	}
	d.who, d.Changed = &conductor.Caller{Name: "ramdisk"}, true
	d.note("ERROR", "identity", 0, "inspected from a second address, %s: what its ramdisk says counts no more", source)
	d.about("", fault.NodeContested)
	d.audit("lookup.contested", map[string]any{"profile": "ironic", "source": source, "first": first})
}
