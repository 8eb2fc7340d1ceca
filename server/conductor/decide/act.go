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

// giveUp forgets the act that nothing carries out any more. How far it came is unknown, so what was read before it counts
// no more: the machine is looked at anew.
func (d *decider) giveUp(e conductor.ActGivenUp) {
	n := d.n
	what := conductor.LostAct(*n, nil)
	if what == "" {
		d.Refuse = fault.New(fault.StateVerb, "no act upon the machine is under way").At(string(n.UUID), "")
		return
	}
	if n.Act != nil && n.Act.Kind == conductor.ActAttach {
		d.attached(*n.Act) // it may have gone in
	}
	n.PowerTarget, n.Act, d.Changed = "", nil, true
	n.Power, n.BootMode, n.SecureBoot = "", "", nil
	f := fault.New(fault.NodeActLost, "%s was begun, but nothing was stored any more that would carry it out; %s gave it up", what, cmp.Or(e.Caller.Name, "an operator")).
		WithHint("look at the machine, then ask for the act again").At(string(n.UUID), "")
	if !state.IsFailed(n.State) {
		n.LastReason = f.Reason
	}
	n.LastError = f.Report()
	d.note("ERROR", "management", 0, "%s", f.Error())
	d.about("", f.Reason)
	d.effect(conductor.Effect{Kind: conductor.EffectLook, Once: true})
	d.audit("act.give_up", map[string]any{"act": what})
}

// looked takes over how the machine is.
func (d *decider) looked(e conductor.EffectDone) {
	if e.Fault != nil {
		d.note("WARNING", "management", 0, "how the machine is could not be read: %s", e.Fault.Error())
		d.about("", e.Fault.Reason)
		d.Changed = true
		return
	}
	d.status(e.Status)
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
