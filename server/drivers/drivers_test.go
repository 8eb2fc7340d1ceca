package drivers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// What only pretends to erase a disk must never be had by a machine with one (I5).
func TestI05_OnlyFakeHardwarePretends(t *testing.T) {
	for _, d := range drivers.All() {
		for kind, list := range d.Supported {
			if slices.Contains(list, drivers.Fake) != (d.Name == "fake-hardware" && kind != drivers.Network) {
				t.Errorf("%s has the %s interfaces %v", d.Name, kind, list)
			}
		}
	}
	for _, s := range catalog.InBand {
		redfish, _ := drivers.Named("redfish")
		if chosen := drivers.Resolve(drivers.Offered("redfish"), map[string]string{"raid": "agent"}); !redfish.Offers(chosen, s) {
			t.Errorf("a machine with Redfish lacks %s", s.Name)
		}
	}
}

func TestTheTableIsWhole(t *testing.T) {
	if kinds := slices.Clone(drivers.Kinds); !slices.Equal(kinds, api.Interfaces()) {
		t.Errorf("the interfaces are %v, the API has %v", kinds, api.Interfaces())
	}
	for _, d := range drivers.All() {
		offered := drivers.Offered(d.Name)
		for _, kind := range drivers.Kinds {
			if len(offered[kind]) == 0 || len(offered[kind]) != len(d.Supported[kind]) {
				t.Errorf("%s offers the %s interfaces %v of %v", d.Name, kind, offered[kind], d.Supported[kind])
			}
			if def := d.Default[kind]; def != "" && (offered[kind][0] != def || !slices.Contains(d.Supported[kind], def)) {
				t.Errorf("%s has the default %s interface %s, and offers %v", d.Name, kind, def, offered[kind])
			}
			// Who leaves an interface out gets one that works, or one that says it is not there.
			if why := drivers.Why(kind, offered[kind][0]); why != "" && !drivers.Disabled(offered[kind][0]) && d.Name != "ipmi" {
				t.Errorf("%s has the default %s interface %s: %s", d.Name, kind, offered[kind][0], why)
			}
		}
	}
	if drivers.Offered("idrac") != nil {
		t.Error("an unknown type offers something")
	}
}

// The names that the operator of Metal3 creates nodes with.
func TestTheNamesOfMetal3AreTaken(t *testing.T) {
	for driver, want := range map[string]map[string][]string{
		"redfish": {"boot": {"redfish-virtual-media", "redfish-https", "ipxe"}, "firmware": {"redfish"}, "raid": {"redfish", "no-raid", "agent"},
			"inspect": {"agent", "redfish"}, "deploy": {"direct", "ramdisk", "custom-agent"}},
		"ipmi": {"boot": {"ipxe"}, "raid": {"no-raid", "agent"}, "inspect": {"agent"}, "deploy": {"direct", "ramdisk", "custom-agent"}},
	} {
		offered := drivers.Offered(driver)
		for kind, names := range want {
			for _, name := range names {
				if !slices.Contains(offered[kind], name) {
					t.Errorf("%s does not take the %s interface %s", driver, kind, name)
				}
			}
		}
	}
}

func choice(t *testing.T, text string) drivers.Choice {
	t.Helper()
	c, err := drivers.ParseChoice(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSettingsNarrow(t *testing.T) {
	s := drivers.Settings{
		Types:   []string{"redfish"},
		Enabled: []drivers.Choice{choice(t, "deploy=custom-agent"), choice(t, "deploy=direct"), choice(t, "boot=ipxe")},
		Default: []drivers.Choice{choice(t, "deploy=custom-agent"), choice(t, "inspect=fake")},
	}
	all, err := s.Offer()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	got := all["redfish"]
	if !slices.Equal(got["deploy"], []string{"custom-agent", "direct"}) || !slices.Equal(got["boot"], []string{"ipxe"}) {
		t.Errorf("deploy %v, boot %v", got["deploy"], got["boot"])
	}
	if got["inspect"][0] != "agent" || len(got["inspect"]) != 3 {
		t.Errorf("inspect %v, though nothing of it was narrowed", got["inspect"])
	}
	s.Types = nil // fake-hardware and ipmi would be left without a deploy interface of theirs only if they had none of these
	s.Enabled = append(s.Enabled, choice(t, "power=redfish"))
	if _, err := s.Offer(); !fault.Has(err, fault.RequestInvalid) || !strings.Contains(err.Error(), "power") {
		t.Errorf("types without a power interface: %v", err)
	}
	if _, err := (drivers.Settings{Types: []string{"idrac"}}).Offer(); !fault.Has(err, fault.DriverUnknown) {
		t.Errorf("an unknown type: %v", err)
	}
	for _, text := range []string{"", "deploy", "deploy=", "deploy=nosuch", "nosuch=direct", "boot=direct", "=direct"} {
		if c, err := drivers.ParseChoice(text); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%q is read as %v, %v", text, c, err)
		}
	}
}

func TestCheckSaysWhy(t *testing.T) {
	for _, c := range []struct{ kind, name, says string }{
		{"bios", "no-bios", "does not support"}, {"boot", "ipxe", "virtual CD"}, {"power", "ipmitool", "IPMI"}, {"network", "flat", "noop"},
	} {
		f := drivers.Check("redfish", c.kind, c.name)
		if f == nil || f.Reason != fault.DriverInterface || f.Code.Status() != 400 || f.Hint == "" || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s %s: %v", c.kind, c.name, f)
		}
	}
	for kind, name := range map[string]string{"boot": "redfish-virtual-media", "deploy": "direct", "network": "noop", "storage": "noop", "bios": "fake"} {
		if f := drivers.Check("redfish", kind, name); f != nil {
			t.Errorf("%s %s: %v", kind, name, f)
		}
	}
}

// Steps go with the implementation that brings them.
func TestOffers(t *testing.T) {
	fake, _ := drivers.Named("fake-hardware")
	names := func(chosen map[string]string) (out []string) {
		for _, s := range append(slices.Clone(catalog.Fake), catalog.InBand...) {
			if fake.Offers(drivers.Resolve(drivers.Offered(fake.Name), chosen), s) {
				out = append(out, s.Name)
			}
		}
		return out
	}
	pretending, direct := names(nil), names(map[string]string{"deploy": "direct", "bios": "no-bios", "raid": "agent"})
	for _, c := range []struct {
		name               string
		pretending, direct bool
	}{
		{"deploy.deploy", true, false}, {"deploy.write_image", false, true}, {"deploy.erase_devices", false, true},
		{"bios.factory_reset", true, false}, {"vendor.log_passthrough", true, true},
	} {
		if slices.Contains(pretending, c.name) != c.pretending || slices.Contains(direct, c.name) != c.direct {
			t.Errorf("%s: offered with the deploy interface fake: %v, with direct: %v", c.name, !c.pretending, !c.direct)
		}
	}
	inBand := step.Step{Name: "raid.create_configuration", Where: step.InBand}
	for raid, want := range map[string]bool{"no-raid": false, "fake": false, "agent": true} {
		if fake.Offers(map[string]string{"deploy": "direct", "raid": raid}, inBand) != want {
			t.Errorf("software RAID with the RAID interface %s is offered: %v", raid, !want)
		}
	}
	if !fake.Offers(nil, step.Step{Name: "power.reboot", Where: step.Server}) {
		t.Error("a reserved step is not offered")
	}
}

func TestDelays(t *testing.T) {
	got, err := drivers.ParseDelays([]string{"deploy=5-30", "power=0.5"})
	if err != nil || got["deploy"] != (drivers.Delay{Least: 5 * time.Second, Most: 30 * time.Second}) || got["power"].Least != 500*time.Millisecond || got["power"].Most != got["power"].Least {
		t.Fatal(got, err)
	}
	d := got["deploy"]
	last := time.Duration(0)
	for _, u := range []float64{0, 0.25, 0.5, 0.75, 1} {
		x := d.Draw(u)
		if x < d.Least || x > d.Most || x < last {
			t.Errorf("%v gives %s after %s", u, x, last)
		}
		last = x
	}
	if middle := d.Draw(0.5); middle >= (d.Least+d.Most)/2 {
		t.Errorf("half of the delays are below %s, expected more of the short ones", middle)
	}
	if (drivers.Delay{}).Draw(0.9) != 0 {
		t.Error("no delay takes time")
	}
	for _, text := range []string{"", "deploy", "deploy=", "deploy=-1", "deploy=9-5", "deploy=1e9", "nosuch=1", "deploy=NaN", "deploy=1-x", "inspect=5", "rescue=5", "boot=5", "storage=5"} {
		if d, err := drivers.ParseDelays([]string{text}); !fault.Has(err, fault.RequestInvalid) {
			t.Errorf("%q is read as %v, %v", text, d, err)
		}
	}
}
