// Package ipmi is the hardware type "ipmi" as far as this server has it: nodes of it are taken, their driver_info is checked
// and shown, its secrets are sealed, and every act upon one is refused with the reason. It reaches no BMC. Start at Driver.
package ipmi

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

const name = "ipmi"

// Driver is the hardware type. It may be used by many goroutines.
type Driver struct{ interfaces map[string][]string }

var _ conductor.Driver = (*Driver)(nil)

// New makes the driver; interfaces is what is offered of the hardware type (drivers.Settings), nil is all.
func New(interfaces map[string][]string) *Driver {
	if interfaces == nil {
		interfaces = drivers.Offered(name)
	}
	return &Driver{interfaces}
}

// Name is the hardware type's name.
func (d *Driver) Name() string { return name }

// Interfaces lists what is offered, the default first.
func (d *Driver) Interfaces() map[string][]string { return d.interfaces }

const (
	keyAddress  = "ipmi_address"
	keyPassword = "ipmi_password"
	keyKg       = "ipmi_hex_kg_key"
	keyPort     = "ipmi_port"
)

// choices are the keys that take one of a few words.
var choices = map[string][]string{
	"ipmi_priv_level":       {"ADMINISTRATOR", "CALLBACK", "OPERATOR", "USER"},
	"ipmi_bridging":         {"no", "single", "dual"},
	"ipmi_protocol_version": {"1.5", "2.0"},
}

// Properties gives each key of driver_info in one sentence: those that Ironic has.
func (d *Driver) Properties() map[string]string {
	out := map[string]string{
		keyAddress:                  "address or name of the BMC. Required.",
		"ipmi_username":             "user name; none by default.",
		keyPassword:                 "password.",
		keyKg:                       "key for the authentication of IPMI 2.0, in hex.",
		keyPort:                     "UDP port of the BMC. Default 623.",
		"ipmi_transit_channel":      "transit channel; needed if ipmi_bridging is dual.",
		"ipmi_transit_address":      "transit address; needed if ipmi_bridging is dual.",
		"ipmi_target_channel":       "target channel; needed if ipmi_bridging is single or dual.",
		"ipmi_target_address":       "target address; needed if ipmi_bridging is single or dual.",
		"ipmi_local_address":        "local address of bridged requests.",
		"ipmi_force_boot_device":    "true: the boot device is set anew at each power on. Default false.",
		"ipmi_disable_boot_timeout": "true: the BMC's time limit on boot settings is switched off. Default true.",
		"ipmi_cipher_suite":         "number of the cipher suite; 17 is to be preferred.",
	}
	for key, of := range choices {
		out[key] = "one of " + strings.Join(of, ", ") + "."
	}
	return out
}

// SecretKeys lists what is sealed.
func (d *Driver) SecretKeys() []string { return []string{keyPassword, keyKg} }

// Validate checks driver_info: driver.info_missing without an address, request.invalid for what is wrong.
func (d *Driver) Validate(info map[string]any) error {
	var missing, wrong []string
	need := []string{keyAddress}
	switch info["ipmi_bridging"] {
	case "dual":
		need = append(need, "ipmi_transit_channel", "ipmi_transit_address", "ipmi_target_channel", "ipmi_target_address")
	case "single":
		need = append(need, "ipmi_target_channel", "ipmi_target_address")
	}
	for _, key := range need {
		if info[key] == nil || info[key] == "" {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return fault.New(fault.DriverInfoMissing, "driver_info lacks %s", strings.Join(missing, ", "))
	}
	if s, ok := info[keyAddress].(string); !ok || !isHost(s) {
		wrong = append(wrong, fmt.Sprintf("%s is %q, expected an address or a host's name", keyAddress, fmt.Sprint(info[keyAddress])))
	}
	for _, key := range slices.Sorted(maps.Keys(choices)) {
		if v := info[key]; v != nil && !slices.Contains(choices[key], word(v)) {
			wrong = append(wrong, fmt.Sprintf("%s is %.40q, expected one of %s", key, word(v), strings.Join(choices[key], ", ")))
		}
	}
	if v := info[keyPort]; v != nil {
		if n, err := strconv.ParseUint(fmt.Sprint(v), 10, 16); err != nil || n == 0 {
			wrong = append(wrong, fmt.Sprintf("%s is %.40q, expected a number from 1 to 65535", keyPort, fmt.Sprint(v)))
		}
	}
	if len(wrong) > 0 {
		return fault.New(fault.RequestInvalid, "driver_info: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// word is a choice as it is written; JSON does not tell 2 from 2.0.
func word(v any) string {
	if n, ok := v.(float64); ok && n == float64(int64(n)) {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return fmt.Sprint(v)
}

// isHost tells whether s may be an address or a name; nobody is asked.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// Steps is empty.
func (d *Driver) Steps() []step.Step { return nil }

// Address is the BMC's host; "" when there is none.
func (d *Driver) Address(info map[string]any) string {
	s, _ := info[keyAddress].(string)
	return s
}

// Open always fails: request.invalid or driver.info_missing as Validate, else driver.interface_unsupported.
func (d *Driver) Open(_ context.Context, a conductor.Access) (conductor.BMC, error) {
	if err := d.Validate(a.Info); err != nil {
		return nil, err
	}
	return nil, drivers.Check(name, drivers.Power, "ipmitool").
		WithHint("if the BMC speaks Redfish, too, enroll the node with the driver redfish")
}
