package conductor

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
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

// LostAct is the act, as a person is told of it, that the record says is under way although none of the node's stored
// effects would carry it out; "" when there is none. Nothing new can begin on such a node.
func LostAct(n Node, effects []Effect) string {
	stored := func(k EffectKind) bool {
		return slices.ContainsFunc(effects, func(e Effect) bool { return e.Node == n.UUID && e.Kind == k })
	}
	switch {
	case n.PowerTarget != "" && !stored(EffectPower):
		return fmt.Sprintf("the power act to %q", n.PowerTarget)
	case n.Act != nil && !stored(EffectAct):
		return n.Act.String()
	}
	return ""
}

// Medium is a virtual medium that an operator attached. The ramdisk's own leaves it in its drive.
type Medium struct {
	Device string `json:"device"`
	URL    string `json:"url"`
	Left   bool   `json:"left,omitempty"` // the instance that it was there for is gone: it is to be taken out
}

// Status is what one look at a machine tells of it.
type Status struct {
	Power      Power  // empty: between two states
	BootMode   string // "uefi", "bios"; empty: the BMC does not say
	SecureBoot *bool  // nil: the BMC does not show it, or not now
	Health     string // "OK", "Warning", "Critical"; empty: the BMC does not say
}

// News tells whether a look brought what the node's record does not say, the power left aside; nil brought none.
func (s *Status) News(n Node) bool {
	return s != nil && (s.BootMode != n.BootMode || s.Health != n.Health ||
		s.SecureBoot != nil && (n.SecureBoot == nil || *s.SecureBoot != *n.SecureBoot))
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

// maxMediumURL bounds the address of a medium, in bytes: BMCs keep it.
const maxMediumURL = 2048

// MediumURL reads an address that a BMC is to be sent to for a medium: of one of the schemes, with a host, and without
// credentials. name is the field's, for the messages. Whether the server lets it go there is another question (T4).
func MediumURL(name, raw string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > maxMediumURL:
		return nil, fault.New(fault.RequestInvalid, "%s can't be parsed, or is longer than %d bytes", name, maxMediumURL)
	case !slices.Contains(schemes, u.Scheme):
		last := len(schemes) - 1
		return nil, fault.New(fault.RequestInvalid, "%s has scheme %.40q, expected %s or %s", name, u.Scheme, strings.Join(schemes[:last], ", "), schemes[last])
	case u.User != nil:
		return nil, fault.New(fault.RequestInvalid, "%s has a user or password in it, which the BMC would show to everybody", name)
	case u.Hostname() == "":
		return nil, fault.New(fault.RequestInvalid, "%s names no host", name)
	}
	return u, nil
}

// MediaDevices are the kinds of virtual drive.
var MediaDevices = []string{"cdrom", "disk", "floppy"}

// Left is the kinds of drive that hold what an instance left, each once.
func Left(n Node) []string {
	var out []string
	for _, m := range n.Media {
		if m.Left && !slices.Contains(out, m.Device) {
			out = append(out, m.Device)
		}
	}
	return out
}
