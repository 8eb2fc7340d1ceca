package conductor

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// What a BMC tells of a machine's parts, kept so that it is shown without asking again; and the powers that not every BMC
// has, as small interfaces: who holds a BMC asks whether it has one.

// BIOSSetting is an attribute of the BIOS. Value nil is null. What the attribute registry says of it is unset where
// there is no registry.
type BIOSSetting struct {
	Name          string    `json:"name"`
	Value         *string   `json:"value"`
	Type          string    `json:"attribute_type,omitempty"` // Enumeration, String, Integer, Boolean, Password
	Allowed       []string  `json:"allowable_values,omitempty"`
	Lower         *int64    `json:"lower_bound,omitempty"`
	Upper         *int64    `json:"upper_bound,omitempty"`
	Shortest      *int64    `json:"min_length,omitempty"`
	Longest       *int64    `json:"max_length,omitempty"`
	ReadOnly      *bool     `json:"read_only,omitempty"`
	ResetRequired *bool     `json:"reset_required,omitempty"`
	Unique        *bool     `json:"unique,omitempty"`
	Created       time.Time `json:"created_at"`
	Updated       time.Time `json:"updated_at,omitzero"`
}

// Shown is the setting as it is kept and shown: of a password it is told only whether there is one (I22).
func (s BIOSSetting) Shown() BIOSSetting {
	if s.Value != nil && *s.Value != "" && (api.SecretName(s.Name) || strings.EqualFold(s.Type, "Password")) {
		masked := Masked
		s.Value = &masked
	}
	return s
}

// BIOSText is a setting's value, as JSON decodes it, in the form that is kept of any BMC: True and False for booleans, nil
// for null. Lists and objects are no settings: ok is false.
func BIOSText(v any) (text *string, ok bool) {
	out := ""
	switch t := v.(type) {
	case nil:
		return nil, true
	case string:
		out = t
	case bool:
		out = map[bool]string{true: "True", false: "False"}[t]
	case float64:
		out = strconv.FormatFloat(t, 'f', -1, 64)
	default:
		return nil, false
	}
	return &out, true
}

// FirmwareComponent is a piece of firmware: "bios", "bmc", "nic:" and the card.
type FirmwareComponent struct {
	Component string    `json:"component"`
	Initial   string    `json:"initial_version"` // when it was read first
	Current   string    `json:"current_version"`
	Flashed   string    `json:"last_version_flashed,omitempty"` // the version of the last change that was seen
	Created   time.Time `json:"created_at"`
	Updated   time.Time `json:"updated_at,omitzero"`
}

// Parts is what one reading of a machine's parts brought. A nil list was not read, and what is kept of it stays.
type Parts struct {
	BIOS     []BIOSSetting
	Firmware []FirmwareComponent
}

// MergeBIOS brings what is kept up to what was read, in order of name, without passwords. Times of what stayed the same stay; changed tells
// whether anything did not.
func MergeBIOS(kept, read []BIOSSetting, now time.Time) (out []BIOSSetting, changed bool) {
	out = slices.Clone(read)
	slices.SortFunc(out, func(a, b BIOSSetting) int { return strings.Compare(a.Name, b.Name) })
	out = slices.CompactFunc(out, func(a, b BIOSSetting) bool { return a.Name == b.Name })
	old := map[string]BIOSSetting{}
	for _, s := range kept {
		old[s.Name] = s
	}
	for i := range out {
		out[i] = out[i].Shown()
		s := &out[i]
		before, there := old[s.Name]
		s.Created = now
		if there {
			s.Created, s.Updated = before.Created, before.Updated
		}
		if !there || !reflect.DeepEqual(*s, before) {
			changed = true
			if there {
				s.Updated = now
			}
		}
	}
	return out, changed || len(out) != len(kept)
}

// MergeFirmware brings what is kept up to what was read, in order of component. A version that changed is what was
// flashed last.
func MergeFirmware(kept, read []FirmwareComponent, now time.Time) (out []FirmwareComponent, changed bool) {
	out = slices.Clone(read)
	slices.SortFunc(out, func(a, b FirmwareComponent) int { return strings.Compare(a.Component, b.Component) })
	out = slices.CompactFunc(out, func(a, b FirmwareComponent) bool { return a.Component == b.Component })
	for i := range out {
		c := &out[i]
		c.Initial, c.Flashed, c.Created, c.Updated = c.Current, "", now, time.Time{}
		at := slices.IndexFunc(kept, func(k FirmwareComponent) bool { return k.Component == c.Component })
		if at < 0 {
			changed = true
			continue
		}
		before := kept[at]
		c.Initial, c.Flashed, c.Created, c.Updated = before.Initial, before.Flashed, before.Created, before.Updated
		if c.Current != before.Current {
			c.Flashed, c.Updated, changed = c.Current, now, true
		}
	}
	return out, changed || len(out) != len(kept)
}

// PartsTx is the part of a transaction that keeps them. Lists are in order of name; none is nil, not a fault.
type PartsTx interface {
	BIOSSettings(node NodeID) ([]BIOSSetting, error)
	PutBIOSSettings(node NodeID, all []BIOSSetting) error // in place of those that are there
	Firmware(node NodeID) ([]FirmwareComponent, error)
	PutFirmware(node NodeID, all []FirmwareComponent) error
}

// Found is what reading a machine through its BMC brought.
type Found struct {
	Inventory inventory.Inventory
	Ports     []string // addresses of the cards that are enabled, lower case, each once: those get ports
}

// Light is an indicator of a machine.
type Light struct {
	Component string // "system", "chassis", "disk", "power", "nic"
	Name      string
	State     string // "on", "off", "blinking", "unknown"
	ReadOnly  bool
	States    []string // what it can be set to
}

// Drive is a virtual drive as its BMC shows it now.
type Drive struct {
	Image    string
	Inserted bool
	Types    []string // Redfish's media types
}

// Method is a call of a hardware type beside what all have.
type Method struct {
	Name      string
	HTTP      []string // methods of HTTP
	Async     bool
	Doc       string
	Exclusive bool // it changes something on the BMC
}

// The powers that a BMC may have beside those of BMC. Acts are absolute, as there; faults are bmc.*.
type (
	// StatusReader tells in one look what Power tells, and more.
	StatusReader interface {
		Status(ctx context.Context) (Status, error)
	}
	// PartsReader reads the parts. What a BMC does not have is an empty list; what can't be read now is nil.
	PartsReader interface {
		Parts(ctx context.Context) (Parts, error)
	}
	// Inspector reads what the machine is made of, and changes nothing. What the BMC does not tell is empty; what it lists
	// and can't show is a problem of the inventory.
	Inspector interface {
		Inspect(ctx context.Context) (Found, error)
	}
	// ModeSetter sets how the machine boots from its next start on.
	ModeSetter interface {
		SetBootMode(ctx context.Context, mode string) error
		SetSecureBoot(ctx context.Context, on bool) error
	}
	// BootDeviceLister tells what the machine can be told to boot from, in Ironic's words.
	BootDeviceLister interface {
		BootDevices(ctx context.Context) ([]string, error)
	}
	// Interrupter makes the machine take a non-maskable interrupt.
	Interrupter interface {
		InjectNMI(ctx context.Context) error
	}
	// Lamps are the machine's indicators.
	Lamps interface {
		Lights(ctx context.Context) ([]Light, error)
		SetLight(ctx context.Context, component, name, state string) error
	}
	// MediaHolder has virtual drives for operators. Attach chooses a drive of the device type; it is the one the ramdisk
	// boots from only where there is no other. Detach empties those of the device types, or all.
	MediaHolder interface {
		Drives(ctx context.Context) ([]Drive, error)
		Attach(ctx context.Context, device, url string) error
		Detach(ctx context.Context, devices []string) error
	}
	// Passer takes calls of its hardware type. Methods asks the BMC nothing. An asynchronous one becomes an act of the node
	// (Deferred), unless that has no kind: it is then passed at once, and its answer is nobody's. The answer of another is
	// JSON, or nil for none.
	Passer interface {
		Methods() []Method
		Deferred(method string, args map[string]any) (Act, error)
		Pass(ctx context.Context, method string, args map[string]any) (any, error)
	}
)

// LookAt reads how a machine is: its power state, and the rest where the BMC tells it in the same look; nil where not.
func LookAt(ctx context.Context, b BMC) (Power, *Status, error) {
	teller, ok := b.(StatusReader)
	if !ok {
		p, err := b.Power(ctx)
		return p, nil, err
	}
	s, err := teller.Status(ctx)
	if err != nil {
		return "", nil, err
	}
	return s.Power, &s, nil
}
