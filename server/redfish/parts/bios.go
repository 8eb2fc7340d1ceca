package parts

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// BIOS reads the settings in force, by name, and the name of the registry that describes them ("" when there is none).
// Values are texts, as Ironic has them: True and False for booleans, null for none. Settings that hold lists or objects,
// or whose name is no text that can be shown, are left out.
func BIOS(s Service, place string) (all []conductor.BIOSSetting, registry string, err error) {
	var found struct {
		AttributeRegistry any
		Attributes        map[string]any
	}
	if err := s.Read(place, &found); err != nil {
		return nil, "", err
	}
	if len(found.Attributes) > maxSettings {
		return nil, "", tooMany("BIOS settings", len(found.Attributes), maxSettings)
	}
	all = []conductor.BIOSSetting{}
	for _, name := range slices.Sorted(maps.Keys(found.Attributes)) {
		said := found.Attributes[name]
		if text, is := said.(string); is {
			said = Words(text, maxValue)
		}
		value, ok := conductor.BIOSText(said)
		if !ok || name == "" || name != Words(name, maxText) {
			continue
		}
		all = append(all, conductor.BIOSSetting{Name: name, Value: value})
	}
	registry, _ = found.AttributeRegistry.(string)
	return all, registry, nil
}

// attribute is what a registry says of a setting.
type attribute struct {
	AttributeName string
	Type          string
	Value         []struct{ ValueName string }
	LowerBound    *float64
	UpperBound    *float64
	MinLength     *float64
	MaxLength     *float64
	ReadOnly      *bool
	ResetRequired *bool
	Unique        *bool `json:"IsSystemUniqueProperty"`
}

// Describe completes settings by the registry of a name, looked for in the BMC's list of registries. An entry that can't
// be read describes nothing.
func Describe(s Service, registries, name string, all []conductor.BIOSSetting) error {
	place, err := registryFile(s, registries, name)
	if err != nil {
		return err
	}
	var file struct {
		RegistryEntries struct{ Attributes []json.RawMessage }
	}
	if err := s.Read(place, &file); err != nil {
		return err
	}
	entries := file.RegistryEntries.Attributes
	if len(entries) > maxSettings {
		return tooMany("entries of a registry", len(entries), maxSettings)
	}
	known := map[string]attribute{}
	for _, raw := range entries {
		var a attribute
		if json.Unmarshal(raw, &a) == nil {
			known[a.AttributeName] = a
		}
	}
	for i := range all {
		a, ok := known[all[i].Name]
		if !ok {
			continue
		}
		b := &all[i]
		b.Type, b.ReadOnly, b.ResetRequired, b.Unique = Words(a.Type, maxText), a.ReadOnly, a.ResetRequired, a.Unique
		b.Lower, b.Upper, b.Shortest, b.Longest = whole(a.LowerBound), whole(a.UpperBound), whole(a.MinLength), whole(a.MaxLength)
		for _, v := range a.Value[:min(len(a.Value), maxAllowed)] {
			b.Allowed = append(b.Allowed, Words(v.ValueName, maxText))
		}
	}
	return nil
}

// whole is a bound that is an integer; others are none.
func whole(f *float64) *int64 {
	if f == nil || *f != float64(int64(*f)) || *f > 1<<53 || *f < -(1<<53) {
		return nil
	}
	n := int64(*f)
	return &n
}

// registryFile finds where a registry is: in English, or in whatever language comes first.
func registryFile(s Service, registries, name string) (string, error) {
	none := fault.New(fault.BMCUnsupported, "the BMC names the registry %.100q and does not have it", Words(name, 100))
	if registries == "" {
		return "", none
	}
	all, err := s.Members(registries)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(l string) bool { return path.Base(l) == name })
	if i < 0 { // some leave the version out of the name
		i = slices.IndexFunc(all, func(l string) bool { b := path.Base(l); return b != "" && strings.HasPrefix(name, b+".") })
	}
	if i < 0 {
		return "", none
	}
	var found struct {
		Location []struct {
			Language string
			URI      any `json:"Uri"`
		}
	}
	if err := s.Read(all[i], &found); err != nil {
		return "", err
	}
	place := ""
	for _, l := range found.Location {
		uri := ""
		switch t := l.URI.(type) {
		case string:
			uri = t
		case map[string]any:
			uri, _ = t["@odata.id"].(string)
		}
		if uri != "" && (place == "" || l.Language == "en") {
			place = uri
		}
	}
	if place == "" {
		return "", none
	}
	return place, nil
}
