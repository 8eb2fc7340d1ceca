package target

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestAddresses(t *testing.T) {
	good := map[string]string{
		"10.0.0.7":                     "https://10.0.0.7:443/redfish/v1/",
		"https://BMC.example:8443":     "https://bmc.example:8443/redfish/v1/",
		"http://10.0.0.7":              "http://10.0.0.7:80/redfish/v1/",
		"fe80::1":                      "https://[fe80::1]:443/redfish/v1/",
		"https://[fe80::1]:8000/":      "https://[fe80::1]:8000/redfish/v1/",
		"https://gw/bmc/7/redfish/v1/": "https://gw:443/bmc/7/redfish/v1/",
	}
	for in, want := range good {
		if u, err := ParseAddress(in); err != nil || u.String() != want {
			t.Errorf("%s gives %v, %v; expected %s", in, u, err, want)
		}
	}
	for _, bad := range []string{"", "https://", "https://u:p@h", "https://h?x=1", "gopher://h", "https://h#f", "http://h:port"} {
		if u, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, u)
		}
	}
}

func TestAddressesOfTheBMC(t *testing.T) {
	show := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	for address, want := range map[string][2]string{
		"192.0.2.7": {"192.0.2.7", ""}, "http://[2001:db8::7]:8000/redfish/v1": {"", "2001:db8::7"}, "bmc.test": {"", ""},
	} {
		tgt, err := Parse(map[string]any{KeyAddress: address, KeyUsername: "u", KeyPassword: "p"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v4, v6 := tgt.Addresses(); show(v4) != want[0] || show(v6) != want[1] {
			t.Errorf("%s: %q, %q", address, show(v4), show(v6))
		}
	}
}

func TestHowLongABMCMayBeAway(t *testing.T) {
	for value, want := range map[any]time.Duration{nil: 15 * time.Minute, 30: 30 * time.Second, 1800.0: 30 * time.Minute, "300": 5 * time.Minute, 3600: time.Hour,
		0: 0, 1.5: 0, -1: 0, 3601: 0, "x": 0, "": 0, "1e3": 0, true: 0} {
		all := map[string]any{KeyAddress: "http://bmc.test", KeyUsername: "u", KeyPassword: "p", KeyAway: value}
		got, err := Parse(all, nil)
		if want == 0 && (!fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), KeyAway)) || want != 0 && (err != nil || got.Away != want) {
			t.Errorf("%v gives %s, %v", value, got.Away, err)
		}
	}
}
