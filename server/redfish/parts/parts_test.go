package parts

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// tree is a BMC of texts by path. The bounds of bytes and time are those of who stands behind Service, not of this.
type tree struct {
	objects map[string]string
	sent    []string
}

var errGone = errors.New("404")

func (t *tree) Read(link string, into any) error {
	text, ok := t.objects[link]
	if !ok {
		return errGone
	}
	return json.Unmarshal([]byte(text), into)
}

func (t *tree) Members(link string) (out []string, err error) {
	var page struct {
		Members []struct {
			ID string `json:"@odata.id"`
		}
	}
	err = t.Read(link, &page)
	for _, m := range page.Members {
		out = append(out, m.ID)
	}
	return out, err
}

func (t *tree) Post(link string, body any) ([]byte, string, error) {
	t.sent = append(t.sent, "POST "+link)
	return nil, "/s/1", nil
}

func (t *tree) Patch(link string, body any) error {
	t.sent = append(t.sent, fmt.Sprintf("PATCH %s %v", link, body))
	return nil
}

func (t *tree) Delete(link string) error {
	t.sent = append(t.sent, "DELETE "+link)
	return nil
}

func (t *tree) Missing(err error) bool { return errors.Is(err, errGone) }

func pages(links ...string) string {
	var all []string
	for _, l := range links {
		all = append(all, fmt.Sprintf(`{"@odata.id": %q}`, l))
	}
	return `{"Members": [` + strings.Join(all, ",") + `]}`
}

func TestSettingsAreTexts(t *testing.T) {
	all, registry, err := BIOS(&tree{objects: map[string]string{"/b": `{"AttributeRegistry": "R.v1", "Attributes": {"T": "text", "Y": true, "N": false, "I": 7, "F": 0.5, "Z": null,
		"List": [1], "Object": {}, "": "nameless", "two\nlines": "x", "Line": "a\nb\u0000c"}}`}}, "/b")
	if err != nil || registry != "R.v1" {
		t.Fatalf("registry %q: %v", registry, err)
	}
	got := map[string]string{}
	for _, s := range all {
		got[s.Name] = "null"
		if s.Value != nil {
			got[s.Name] = *s.Value
		}
	}
	want := map[string]string{"T": "text", "Y": "True", "N": "False", "I": "7", "F": "0.5", "Z": "null", "Line": "a b c"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("settings are %v, expected %v", got, want)
	}
}

func TestI25_NoAnswerMakesMoreThanItsBound(t *testing.T) {
	many := make([]string, maxSettings+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"a%d": 1`, i)
	}
	if _, _, err := BIOS(&tree{objects: map[string]string{"/b": `{"Attributes": {` + strings.Join(many, ",") + `}}`}}, "/b"); !fault.Has(err, fault.BMCTooLarge) {
		t.Errorf("too many settings: %v", err)
	}
	long := strings.Repeat("x", maxValue+1)
	all, _, err := BIOS(&tree{objects: map[string]string{"/b": `{"Attributes": {"A": "` + long + `"}}`}}, "/b")
	if err != nil || len(*all[0].Value) != maxValue {
		t.Errorf("a value of %d characters: %v", len(*all[0].Value), err)
	}
}

// F26: an entry of a registry that is nothing of the kind describes nothing, and the others still do.
func TestF26_RegistriesAreReadEntryByEntry(t *testing.T) {
	bmc := &tree{objects: map[string]string{
		"/r": pages("/r/Other.v1", "/r/R.v1"), "/r/R.v1": `{"Location": [{"Language": "de", "Uri": "/r/de"}, {"Language": "en", "Uri": {"@odata.id": "/r/en"}}]}`,
		"/r/en": `{"RegistryEntries": {"Attributes": [7, {"AttributeName": "A", "Type": 3}, {"AttributeName": "B", "Type": "Integer", "LowerBound": -2, "UpperBound": 1.5,
			"MaxLength": 1e300, "ReadOnly": true, "IsSystemUniqueProperty": false}, {"AttributeName": "C", "Value": [{"ValueName": "x"}, {"ValueName": "y\u0007"}]}]}}`,
	}}
	all := []conductor.BIOSSetting{{Name: "A"}, {Name: "B"}, {Name: "C"}}
	if err := Describe(bmc, "/r", "R.v1", all); err != nil {
		t.Fatal(err)
	}
	if a, b, c := all[0], all[1], all[2]; a.Type != "" || b.Type != "Integer" || *b.Lower != -2 || b.Upper != nil || b.Longest != nil || !*b.ReadOnly || *b.Unique ||
		!slices.Equal(c.Allowed, []string{"x", "y"}) {
		t.Errorf("described %+v", all)
	}
	for _, name := range []string{"Missing.v1", ""} {
		if err := Describe(bmc, "/r", name, all); !fault.Has(err, fault.BMCUnsupported) {
			t.Errorf("registry %q: %v", name, err)
		}
	}
}

func TestFirmwareOfOneOfSeveralMachines(t *testing.T) {
	bmc := &tree{objects: map[string]string{
		"/c1": `{"NetworkAdapters": {"@odata.id": "/c1/NetworkAdapters"}}`, "/c1/NetworkAdapters": pages("/c1/NetworkAdapters/1", "/gone"),
		"/c1/NetworkAdapters/1": `{"Id": "1", "Controllers": [{"FirmwarePackageVersion": "22"}, {"FirmwarePackageVersion": "23"}]}`,
		"/u":                    `{"FirmwareInventory": {"@odata.id": "/u/f"}}`, "/u/f": pages("/f/1", "/f/2", "/f/3", "/f/4"),
		"/f/1": `{"Version": "9", "RelatedItem": [{"@odata.id": "/s1/Bios/"}]}`, "/f/2": `{"Version": "8", "RelatedItem": [{"@odata.id": "/s2/Bios"}]}`,
		"/f/3": `{"Version": "7", "RelatedItem": [{"@odata.id": "/c1/NetworkAdapters/2"}, {"@odata.id": "/c2/NetworkAdapters/3"}]}`, "/f/4": `{"Version": 6, "RelatedItem": "none"}`,
	}}
	all, err := Firmware(bmc, Machine{System: "/s1", BIOS: "/s1/Bios", Manager: "/m1", Chassis: []string{"/c1", "/c9"}, BMCVersion: "5"}, "/u")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range all {
		got = append(got, f.Component+" "+f.Current)
	}
	slices.Sort(got)
	if want := []string{"bios 9", "bmc 5", "nic:1 22", "nic:2 7"}; !slices.Equal(got, want) {
		t.Errorf("firmware is %v, expected %v", got, want)
	}
}

func TestF23_ALightThatStaysDarkIsAnError(t *testing.T) {
	bmc := &tree{objects: map[string]string{"/s": `{"Id": "a@b/c", "LocationIndicatorActive": false, "IndicatorLED": "Lit"}`, "/c": `{"Id": "c", "IndicatorLED": "Blinking"}`, "/d": `{"Id": "d"}`}}
	m := Machine{System: "/s", Chassis: []string{"/c", "/d", "/e"}}
	all, err := Lights(bmc, m)
	if err != nil || len(all) != 2 || all[0].Name != "a_b_c" || all[0].State != "off" || all[1].State != "blinking" {
		t.Fatalf("lights are %+v: %v", all, err)
	}
	if err := SetLight(bmc, m, "system", "a_b_c", "on"); !fault.Has(err, fault.BMCError) || len(bmc.sent) != 1 {
		t.Errorf("a BMC that ignores it: %v after %v", err, bmc.sent)
	}
	if err := SetLight(bmc, m, "system", "a_b_c", "blinking"); !fault.Has(err, fault.BMCUnsupported) {
		t.Errorf("a light that can't blink: %v", err)
	}
	if err := SetLight(bmc, m, "chassis", "c", "blinking"); err != nil || len(bmc.sent) != 1 {
		t.Errorf("a light that blinks already: %v after %v", err, bmc.sent)
	}
	if err := SetLight(bmc, m, "chassis", "z", "on"); !fault.Has(err, fault.LightNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}

// An id is compared with what the BMC lists, and is never part of a path.
func TestT12_AnIdIsNoPath(t *testing.T) {
	bmc := &tree{objects: map[string]string{"/e": `{"Subscriptions": {"@odata.id": "/s"}}`, "/s": pages("/s/1"), "/s/1": `{"Id": "1"}`}}
	for _, id := range []string{"", "..", "../s/1", "/s/1", "2"} {
		if err := Unsubscribe(bmc, "/e", id); !fault.Has(err, fault.SubscriptionLost) || len(bmc.sent) > 0 {
			t.Errorf("id %q: %v, sent %v", id, err, bmc.sent)
		}
	}
	if err := Unsubscribe(bmc, "/e", "1"); err != nil || !slices.Equal(bmc.sent, []string{"DELETE /s/1"}) {
		t.Errorf("sent %v: %v", bmc.sent, err)
	}
}

// Z8: whatever objects hold, a reader ends without a crash, and what it gives is fit to be shown.
func FuzzParts(f *testing.F) {
	f.Add(`{"Attributes": {"A": [1], "B": true}, "AttributeRegistry": 3, "RegistryEntries": {"Attributes": [{}]}, "Location": [{"Uri": 1}]}`)
	f.Add(`{"Members": [{"@odata.id": "/x"}], "NetworkAdapters": {"@odata.id": "/x"}, "FirmwareInventory": [], "Controllers": [null], "RelatedItem": [{}], "Version": null, "Id": "\u0000"}`)
	f.Add(`{"IndicatorLED": {}, "LocationIndicatorActive": "on", "Subscriptions": {"@odata.id": "/x"}, "EventTypes": ["a"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		bmc := &tree{objects: map[string]string{"/x": text}}
		all, registry, _ := BIOS(bmc, "/x")
		_ = Describe(bmc, "/x", "x", all)
		_ = Describe(bmc, "/x", registry, all)
		m := Machine{System: "/x", BIOS: "/x", Manager: "/x", Chassis: []string{"/x"}}
		firmware, _ := Firmware(bmc, m, "/x")
		lights, _ := Lights(bmc, m)
		sub, _ := ReadSubscription(bmc, "/x", "x")
		out, err := json.Marshal([]any{all, firmware, lights, sub})
		if err != nil || strings.ContainsAny(string(out), "\x00\n\r") {
			t.Errorf("%q gives %q: %v", text, out, err)
		}
	})
}
