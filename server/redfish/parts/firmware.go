package parts

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// Machine says where the parts of a machine are, and what its own objects say already.
type Machine struct {
	System, BIOS, Manager string
	Chassis               []string
	BIOSVersion           string
	BMCVersion            string
}

// Component is "bios", "bmc", or "nic:" and the adapter's id.
func component(name, version string) (conductor.FirmwareComponent, bool) {
	name, version = Words(name, maxText), Words(version, maxText)
	return conductor.FirmwareComponent{Component: name, Current: version}, name != "" && version != ""
}

// Firmware lists what is known of the machine's firmware: what system and manager say, the network adapters of its
// chassis, and from the update service's inventory what those leave out.
func Firmware(s Service, m Machine, updates string) ([]conductor.FirmwareComponent, error) {
	out := []conductor.FirmwareComponent{}
	add := func(name, version string) {
		c, ok := component(name, version)
		if ok && !slices.ContainsFunc(out, func(o conductor.FirmwareComponent) bool { return o.Component == c.Component }) {
			out = append(out, c)
		}
	}
	add("bios", m.BIOSVersion)
	add("bmc", m.BMCVersion)
	for _, chassis := range m.Chassis[:min(len(m.Chassis), maxChassis)] {
		if err := cards(s, chassis, add); err != nil && !s.Missing(err) {
			return out, err
		}
	}
	if updates == "" {
		return out, nil
	}
	if err := listed(s, m, updates, add); err != nil && !s.Missing(err) {
		return out, err
	}
	return out, nil
}

// cards reads the network adapters of a chassis.
func cards(s Service, chassis string, add func(name, version string)) error {
	var c struct{ NetworkAdapters link }
	if err := s.Read(chassis, &c); err != nil || c.NetworkAdapters == "" {
		return err
	}
	all, err := s.Members(string(c.NetworkAdapters))
	if err != nil {
		return err
	}
	for _, l := range all[:min(len(all), maxCards)] {
		var a struct {
			ID          string `json:"Id"`
			Controllers []struct{ FirmwarePackageVersion string }
		}
		if err := s.Read(l, &a); err != nil {
			if s.Missing(err) {
				continue
			}
			return err
		}
		for _, controller := range a.Controllers {
			if a.ID != "" {
				add("nic:"+a.ID, controller.FirmwarePackageVersion)
			}
		}
	}
	return nil
}

// listed reads the update service's list. An entry says by the items related to it what it is the firmware of.
func listed(s Service, m Machine, updates string, add func(name, version string)) error {
	var u struct{ FirmwareInventory link }
	if err := s.Read(updates, &u); err != nil || u.FirmwareInventory == "" {
		return err
	}
	all, err := s.Members(string(u.FirmwareInventory))
	if err != nil {
		return err
	}
	for _, l := range all[:min(len(all), maxImages)] {
		var f struct {
			Version     any
			RelatedItem links
		}
		if err := s.Read(l, &f); err != nil {
			if s.Missing(err) {
				continue
			}
			return err
		}
		version, _ := f.Version.(string)
		for _, item := range f.RelatedItem {
			switch to := Place(string(item)); {
			case to == "":
			case to == Place(m.BIOS):
				add("bios", version)
			case to == Place(m.Manager):
				add("bmc", version)
			case strings.HasSuffix(path.Dir(to), "/NetworkAdapters") && ofMachine(m, to):
				add("nic:"+path.Base(to), version)
			}
		}
	}
	return nil
}

// ofMachine tells whether an item is below one of the machine's own objects: a BMC may serve several machines.
func ofMachine(m Machine, item string) bool {
	return slices.ContainsFunc(append([]string{m.System}, m.Chassis...), func(l string) bool {
		p := Place(l)
		return p != "" && strings.HasPrefix(item, p+"/")
	})
}

// Place is the path of a link, without what differs between two ways of writing one.
func Place(l string) string {
	u, err := url.Parse(l)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}
