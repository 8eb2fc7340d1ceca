package fit

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Versions are compared number by number; what differs in words can't be compared, and that is told as well.
func TestVersionsAreComparedByNumber(t *testing.T) {
	for _, c := range []struct {
		have, want string
		order      int
		ok         bool
	}{
		{"2.10", "2.9", 1, true}, {"2.9", "2.10", -1, true}, {"2.10", "2.10", 0, true}, {"2.10", "2.010", 0, true}, {"6.10.30.00", "6.10", 1, true}, {"2", "2.1", -1, true},
		{"iLO 5 v2.44", "iLO 5 v2.72", -1, true}, {"iLO 6 v1.10", "ilo 5 V2.72", 1, true}, {"1.2b", "1.2a", 1, true}, {"1.2", "1.2a", -1, true},
		{"99999999999999999999.1", "99999999999999999998.2", 1, true},
		{"iLO 5 v2.44", "2.72", 0, false}, {"U30 2.1", "U32 2.1", -1, true}, {"CDI3A4A", "TEE1A", 0, false}, {"2.x", "2.1", 0, false},
	} {
		if order, ok := compare(c.have, c.want); order != c.order || ok != c.ok {
			t.Errorf("%q and %q: %d %t, expected %d %t", c.have, c.want, order, ok, c.order, c.ok)
		}
	}
}

func TestFirmwareBelowItsMinimumIsDoubted(t *testing.T) {
	facts := conductor.Facts{BIOSVersion: "U30 v2.10", BMCFirmware: "2.44"}
	for name, c := range map[string]struct {
		minimum any
		facts   conductor.Facts
		says    []string
	}{
		"none asked for":      {nil, facts, nil},
		"both new enough":     {map[string]any{"bios": "U30 v2.10", "bmc": "2.9"}, facts, nil},
		"the BMC's is old":    {map[string]any{"bmc": "2.72"}, facts, []string{"bmc 2.44, expected 2.72 or newer"}},
		"both are old":        {map[string]any{"bios": "U30 v2.50", "bmc": "3"}, facts, []string{"bios U30 v2.10, expected U30 v2.50 or newer", "bmc 2.44, expected 3 or newer"}},
		"can't be compared":   {map[string]any{"bios": "2.50"}, facts, []string{`"2.50" can't be compared with`}},
		"not told":            {map[string]any{"bmc": "3"}, conductor.Facts{BIOSVersion: "1"}, nil}, // which has a reason of its own
		"not read":            {map[string]any{"bmc": "3"}, conductor.Facts{BIOSVersion: "1", Unread: []string{conductor.PartManager}}, nil},
		"malformed, from old": {"2.72", facts, nil}, // the record's own check tells
	} {
		var says []string
		for _, d := range Known(conductor.Node{Properties: map[string]any{"minimum_firmware": c.minimum}}, c.facts).Doubts {
			if d.Reason == fault.BMCFirmware {
				says = append(says, d.Message)
			}
		}
		if len(says) != len(c.says) {
			t.Errorf("%s: %q, expected %q", name, says, c.says)
			continue
		}
		for i := range says {
			if !strings.Contains(says[i], c.says[i]) {
				t.Errorf("%s: %q, expected %q", name, says, c.says)
			}
		}
	}
	for name, minimum := range map[string]any{"a text": "2.72", "a number": map[string]any{"bmc": 2.72}, "another part": map[string]any{"nic": "1"}, "empty": map[string]any{"bmc": ""},
		"long": map[string]any{"bmc": strings.Repeat("1.", 200)}} {
		if _, err := MinimumFirmware(map[string]any{"minimum_firmware": minimum}); !fault.Has(err, fault.RequestInvalid) || fault.From(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
