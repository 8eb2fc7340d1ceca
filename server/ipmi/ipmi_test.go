package ipmi

import (
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestDriverInfoIsChecked(t *testing.T) {
	d := New(nil)
	good := map[string]any{"ipmi_address": "192.0.2.1", "ipmi_username": "u", "ipmi_password": conductor.Masked, "ipmi_port": 623, "ipmi_priv_level": "OPERATOR", "ipmi_protocol_version": "2.0"}
	if err := d.Validate(good); err != nil {
		t.Errorf("good driver_info: %v", err)
	}
	for _, version := range []any{1.5, 2.0, "1.5"} { // as Ironic, which takes the number, too
		if err := d.Validate(map[string]any{"ipmi_address": "b", "ipmi_protocol_version": version}); err != nil {
			t.Errorf("version %v: %v", version, err)
		}
	}
	for _, c := range []struct {
		info map[string]any
		want fault.Reason
		says string
	}{
		{nil, fault.DriverInfoMissing, "ipmi_address"},
		{map[string]any{"ipmi_address": ""}, fault.DriverInfoMissing, "ipmi_address"},
		{map[string]any{"ipmi_address": 7}, fault.RequestInvalid, "ipmi_address"},
		{map[string]any{"ipmi_address": "-o StrictHostKeyChecking=no"}, fault.RequestInvalid, "ipmi_address"},
		{map[string]any{"ipmi_address": "b", "ipmi_port": "0"}, fault.RequestInvalid, "ipmi_port"},
		{map[string]any{"ipmi_address": "b", "ipmi_port": "70000"}, fault.RequestInvalid, "ipmi_port"},
		{map[string]any{"ipmi_address": "b", "ipmi_priv_level": "GOD"}, fault.RequestInvalid, "ADMINISTRATOR"},
		{map[string]any{"ipmi_address": "b", "ipmi_protocol_version": 1.51}, fault.RequestInvalid, "expected one of 1.5, 2.0"},
		{map[string]any{"ipmi_address": "b", "ipmi_protocol_version": "2"}, fault.RequestInvalid, "expected one of 1.5, 2.0"},
		{map[string]any{"ipmi_address": "b", "ipmi_bridging": "dual"}, fault.DriverInfoMissing, "ipmi_transit_channel"},
		{map[string]any{"ipmi_address": "b", "ipmi_bridging": "single"}, fault.DriverInfoMissing, "ipmi_target_address"},
	} {
		if err := d.Validate(c.info); !fault.Has(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, expected %s naming %s", c.info, err, c.want, c.says)
		}
	}
	if d.Address(good) != "192.0.2.1" || d.Name() != "ipmi" || len(d.Steps()) != 0 {
		t.Error("the type's outside is wrong")
	}
	for _, key := range []string{"ipmi_password", "ipmi_hex_kg_key"} {
		if !slices.Contains(d.SecretKeys(), key) || d.Properties()[key] == "" {
			t.Errorf("%s is not sealed, or not described", key)
		}
	}
}

func TestNothingIsDoneYet(t *testing.T) {
	_, err := New(nil).Open(t.Context(), conductor.Access{Info: map[string]any{"ipmi_address": "192.0.2.1"}})
	if f := fault.From(err); f == nil || f.Reason != fault.DriverInterface || f.Code.Retriable() || !strings.Contains(f.Message, "IPMI") || f.Hint == "" {
		t.Errorf("opening a BMC: %v", err)
	}
	if _, err := New(nil).Open(t.Context(), conductor.Access{}); !fault.Has(err, fault.DriverInfoMissing) {
		t.Errorf("without an address: %v", err)
	}
}
