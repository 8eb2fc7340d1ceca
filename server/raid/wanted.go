package raid

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Disk is a logical disk as an operator wants it.
type Disk struct {
	Level         string // as in raid_level
	Bytes         int64  // Max: all the room that there is
	Name          string // "": whatever the controller calls it
	Controller    string
	DiskType      string // "hdd", "ssd", "" any
	InterfaceType string // "sata", "sas", "" any
	Count         int    // of physical disks; 0: as few as the level allows
	Share         bool
	Root          bool
	Physical      []any // names, or root device hints
}

// Max is the size of a logical disk that takes all the room there is.
const Max int64 = -1

const gib = 1 << 30

// bmcLevels are those that Redfish builds.
var bmcLevels = []string{"0", "1", "5", "6", "1+0", "5+0", "6+0"}

// Disks reads a configuration that Check finds good, in its order.
func Disks(c map[string]any) ([]Disk, error) {
	if err := Check(c); err != nil {
		return nil, err
	}
	list, _ := c["logical_disks"].([]any)
	out := make([]Disk, 0, len(list))
	for _, v := range list {
		m, _ := v.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		d := Disk{
			Level: text("raid_level"), Bytes: Max, Name: text("volume_name"), Controller: text("controller"),
			DiskType: text("disk_type"), InterfaceType: text("interface_type"), Share: m["share_physical_disks"] == true, Root: m["is_root_volume"] == true,
		}
		if gb, ok := m["size_gb"].(float64); ok {
			d.Bytes = int64(gb) * gib
		}
		if n, ok := m["number_of_physical_disks"].(float64); ok {
			d.Count = int(n)
		}
		d.Physical, _ = m["physical_disks"].([]any)
		out = append(out, d)
	}
	return out, nil
}

// ThroughBMC reads a configuration that volumes are built by through a BMC. The fault is request.invalid and names what no
// BMC builds.
func ThroughBMC(c map[string]any) ([]Disk, error) {
	disks, err := Disks(c)
	if err != nil {
		return nil, err
	}
	var names []string
	for i, d := range disks {
		switch {
		case d.Controller == "software":
			return nil, fault.New(fault.RequestInvalid, "target_raid_config: logical_disks[%d] is software RAID, which no BMC builds", i).
				WithHint("set raid_interface agent, which builds it in the ramdisk; or leave controller out")
		case !slices.Contains(bmcLevels, d.Level):
			return nil, wrong("logical_disks[%d].raid_level is %s; through a BMC there are %s", i, quoted(d.Level), strings.Join(bmcLevels, ", "))
		case d.InterfaceType == "scsi":
			return nil, wrong("logical_disks[%d].interface_type is scsi; through a BMC there are sata and sas", i)
		case d.Bytes == Max && len(d.Physical) == 0:
			return nil, wrong("logical_disks[%d].size_gb is MAX without physical_disks: which disks are to be filled must be said", i)
		case d.Bytes == 0:
			return nil, wrong("logical_disks[%d].size_gb is 0, expected at least 1, or MAX", i)
		case d.Count > 0 && len(d.Physical) > 0 && d.Count != len(d.Physical):
			return nil, wrong("logical_disks[%d] names %d physical_disks and has number_of_physical_disks %d", i, len(d.Physical), d.Count)
		case d.Name != "" && slices.Contains(names, d.Name):
			return nil, wrong("volume_name %s is there twice", quoted(d.Name))
		}
		names = append(names, d.Name)
	}
	return disks, nil
}
