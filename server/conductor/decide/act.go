package decide

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// acting refuses what has to wait for an act under way; nil when there is none.
func (d *decider) acting() error {
	if d.n.Act == nil {
		return nil
	}
	return fault.New(fault.NodeBusy, "it has to wait until %s has ended, which began at %s", d.n.Act, d.n.Act.Since.UTC().Format(time.RFC3339)).At(string(d.n.UUID), "")
}

// act takes an operator's act. Not while a flow owns the machine: the drives are the ramdisk's then, and a boot mode
// that changes under it is nobody's wish.
func (d *decider) act(e conductor.ActAsked) {
	if d.Refuse = conductor.Confirmed(*d.n); d.Refuse != nil {
		return
	}
	if d.Refuse = d.acting(); d.Refuse != nil {
		return
	}
	id := string(d.n.UUID)
	if _, busy := state.FlowOf(d.n.State); busy || d.open() != nil {
		d.Refuse = fault.New(fault.NodeBusy, "the node is %s", d.n.State).
			WithHint("wait until that has ended: bessemer node show %s", cmp.Or(d.n.Name, id)).At(id, "")
		return
	}
	if d.n.PowerTarget != "" {
		d.Refuse = fault.New(fault.NodeBusy, "it has to wait until the power act (%s) has ended", d.n.PowerTarget).At(id, "")
		return
	}
	a := e.Ask
	a.Since, a.Actor, a.Request = d.now, e.Caller.Name, e.Caller.Request
	d.n.Act, d.n.LastError = &a, ""
	if !state.IsFailed(d.n.State) {
		d.n.LastReason = ""
	}
	d.note("INFO", "management", 0, "%s asked for by %s", a, cmp.Or(e.Caller.Name, "an operator"))
	d.effect(conductor.Effect{Kind: conductor.EffectAct})
	d.audit("act."+strings.ReplaceAll(string(a.Kind), " ", "_"), map[string]any{"act": a.String()})
}

// actDone takes over what an act came to. What is not read back from the machine here the next look at it brings.
func (d *decider) actDone(e conductor.EffectDone) {
	a := d.n.Act
	if a == nil {
		return
	}
	d.n.Act, d.Changed = nil, true
	who := conductor.Caller{Name: a.Actor, Request: a.Request}
	d.who = &who
	if e.Fault != nil {
		if a.Kind == conductor.ActAttach && e.Fault.Code != fault.Unsupported {
			d.attached(*a) // it may have gone in before the failure
		}
		d.lastError(e.Fault)
		d.note("ERROR", "management", d.now.Sub(a.Since), "%s: %s", a, e.Fault.Error())
		d.about("", e.Fault.Reason)
		return
	}
	switch a.Kind {
	case conductor.ActBootMode:
		d.n.BootMode = a.Mode
	case conductor.ActAttach:
		d.attached(*a)
	case conductor.ActDetach:
		d.n.Media = slices.DeleteFunc(slices.Clone(d.n.Media), func(m conductor.Medium) bool {
			return len(a.Devices) == 0 || slices.Contains(a.Devices, m.Device)
		})
	}
	d.status(e.Status)
	d.note("INFO", "management", d.now.Sub(a.Since), "%s: done", a)
}

// status takes over a look, all but the power; a change of health is a line of history.
func (d *decider) status(s *conductor.Status) {
	if !s.News(*d.n) {
		return
	}
	if s.Health != d.n.Health {
		severity := "INFO"
		if s.Health != "OK" {
			severity = "WARNING"
		}
		d.entry(severity, "the BMC gives the machine's health as %s; it was %s", cmp.Or(s.Health, "unknown"), cmp.Or(d.n.Health, "unknown"))
	}
	d.n.BootMode, d.n.Health, d.Changed = s.BootMode, s.Health, true
	if s.SecureBoot != nil {
		on := *s.SecureBoot
		d.n.SecureBoot = &on
	}
}
