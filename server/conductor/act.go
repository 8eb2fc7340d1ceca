package conductor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// ActKind is an operator's act upon the BMC that is accepted at once and carried out after: power acts have a way of
// their own.
type ActKind string

// The acts. Each is absolute: it says what is to be so, and may be carried out again.
const (
	ActBootMode   ActKind = "boot mode"
	ActSecureBoot ActKind = "secure boot"
	ActAttach     ActKind = "attach media"
	ActDetach     ActKind = "detach media"
)

// Act is one of them. It stands in the node while it is under way, and nothing else begins meanwhile.
type Act struct {
	Kind    ActKind   `json:"kind"`
	Mode    string    `json:"mode,omitempty"`    // boot mode: "uefi" or "bios"
	On      bool      `json:"on,omitempty"`      // secure boot
	Device  string    `json:"device,omitempty"`  // attach: "cdrom", "disk", "floppy"
	URL     string    `json:"url,omitempty"`     // attach
	Devices []string  `json:"devices,omitempty"` // detach; empty is all
	Since   time.Time `json:"since"`
	Actor   string    `json:"actor,omitempty"`
	Request string    `json:"request,omitempty"`
}

// String is the act as history and refusals name it. A medium's address stays out of it: it may open something.
func (a Act) String() string {
	switch a.Kind {
	case ActBootMode:
		return "boot mode " + a.Mode
	case ActSecureBoot:
		return map[bool]string{true: "secure boot on", false: "secure boot off"}[a.On]
	case ActAttach:
		return "a virtual medium into the " + a.Device
	case ActDetach:
		return "virtual media out (" + cmp.Or(strings.Join(a.Devices, ", "), "all") + ")"
	}
	return string(a.Kind)
}

// Medium is a virtual medium that an operator attached. The ramdisk's own leaves it in its drive.
type Medium struct {
	Device string `json:"device"`
	URL    string `json:"url"`
	Left   bool   `json:"left,omitempty"` // the instance that it was there for is gone: it is to be taken out
}

// ActAsked is a caller's act, its form already checked.
type ActAsked struct {
	Caller Caller
	Ask    Act
}

func (ActAsked) event() {}

// acting refuses what has to wait for an act under way; nil when there is none.
func (d *decider) acting() error {
	if d.n.Act == nil {
		return nil
	}
	return fault.New(fault.NodeBusy, "it has to wait until %s has ended, which began at %s", d.n.Act, d.n.Act.Since.UTC().Format(time.RFC3339)).At(string(d.n.UUID), "")
}

// act takes an operator's act. Not while a flow owns the machine: the drives are the ramdisk's then, and a boot mode
// that changes under it is nobody's wish.
func (d *decider) act(e ActAsked) {
	if d.Refuse = Confirmed(*d.n); d.Refuse != nil {
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
	if !failed(d.n.State) {
		d.n.LastReason = ""
	}
	d.note("INFO", "management", 0, "%s asked for by %s", a, cmp.Or(e.Caller.Name, "an operator"))
	d.effect(Effect{Kind: EffectAct})
	d.audit("act."+strings.ReplaceAll(string(a.Kind), " ", "_"), map[string]any{"act": a.String()})
}

// actDone takes over what an act came to. What is not read back from the machine here the next look at it brings.
func (d *decider) actDone(e EffectDone) {
	a := d.n.Act
	if a == nil {
		return
	}
	d.n.Act, d.Changed = nil, true
	who := Caller{Name: a.Actor, Request: a.Request}
	d.who = &who
	if e.Fault != nil {
		if a.Kind == ActAttach && e.Fault.Code != fault.Unsupported {
			d.attached(*a) // it may have gone in before the failure
		}
		d.lastError(e.Fault)
		d.note("ERROR", "management", d.now.Sub(a.Since), "%s: %s", a, e.Fault.Error())
		d.about("", e.Fault.Reason)
		return
	}
	switch a.Kind {
	case ActBootMode:
		d.n.BootMode = a.Mode
	case ActAttach:
		d.attached(*a)
	case ActDetach:
		d.n.Media = slices.DeleteFunc(slices.Clone(d.n.Media), func(m Medium) bool {
			return len(a.Devices) == 0 || slices.Contains(a.Devices, m.Device)
		})
	}
	d.status(e.Status)
	d.note("INFO", "management", d.now.Sub(a.Since), "%s: done", a)
}

// Status is what one look at a machine tells of it.
type Status struct {
	Power      Power  // empty: between two states
	BootMode   string // "uefi", "bios"; empty: the BMC does not say
	SecureBoot *bool  // nil: the BMC does not show it, or not now
	Health     string // "OK", "Warning", "Critical"; empty: the BMC does not say
}

// same tells that a node's record says what the status does, all but the power.
func (s Status) same(n Node) bool {
	return s.BootMode == n.BootMode && s.Health == n.Health &&
		(s.SecureBoot == nil || n.SecureBoot != nil && *s.SecureBoot == *n.SecureBoot)
}

// News tells whether a look brought what the node's record does not say, the power left aside.
func (s *Status) News(n Node) bool { return s != nil && !s.same(n) }

// status takes over a look, all but the power; a change of health is a line of history.
func (d *decider) status(s *Status) {
	if s == nil || s.same(*d.n) {
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

// CheckMediaDevices refuses kinds of drive that there are not.
func CheckMediaDevices(devices ...string) error {
	for _, v := range devices {
		if !slices.Contains(MediaDevices, v) {
			return fault.New(fault.RequestInvalid, "device type %s is not known", fmt.Sprintf("%.60q", v)).WithHint("one of %s", strings.Join(MediaDevices, ", "))
		}
	}
	return nil
}

// MediaDevices are the kinds of virtual drive.
var MediaDevices = []string{"cdrom", "disk", "floppy"}
