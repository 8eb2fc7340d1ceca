// Package softraid is the target RAID configuration of software RAID: the volumes that a ramdisk builds of a machine's
// disks, with the rules that hold before any disk is known. It builds nothing. The server asks it before it boots a
// ramdisk, and the agent before it touches a disk, so that both know the same rules. Start at Parse.
package softraid

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// Controller is what a logical disk names as its controller to be built by software.
const Controller = "software"

// ESP is the name of the array that mirrors the firmware's partition; no volume may have it.
const ESP = "esp"

// maxVolumes and maxMembers bound what is built (safety.md I25).
const (
	maxVolumes = 2
	maxMembers = 64
)

// Volume is one array that is wanted.
type Volume struct {
	Level string            // "0", "1", "1+0", "5", "6"
	Bytes int64             // of each member's part; 0: all that is left of the disk
	Name  string            // "md0" for the first one without a name
	Named bool              // the name was asked for
	Root  *bool             // is_root_volume; nil when it was left out
	Hints []inventory.Hints // one per member; empty: all disks
}

// least is how many members a level needs.
var least = map[string]int{"0": 2, "1": 2, "1+0": 2, "5": 3, "6": 4}

// Least is how many members the volume needs.
func (v Volume) Least() int { return least[v.Level] }

// name is what mdadm and the kernel take for an array's name without doing anything to it.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$`)

// keys of a logical disk that mean something here. The others choose a RAID controller's disks.
var keys = []string{"controller", "is_root_volume", "physical_disks", "raid_level", "size_gb", "volume_name"}

// Parse reads a configuration in Ironic's form, as JSON gives it. Every problem is told in one request.invalid fault. A
// configuration without volumes gives none.
func Parse(config map[string]any) ([]Volume, error) {
	list, ok := config["logical_disks"].([]any)
	if !ok && config["logical_disks"] != nil {
		return nil, wrong("logical_disks must be a list")
	}
	var bad []string
	tell := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	if len(list) > maxVolumes {
		return nil, wrong("there are %d logical disks, at most %d can be built by software", len(list), maxVolumes)
	}
	var out []Volume
	roots, largest := 0, 0
	for i, entry := range list {
		disk, ok := entry.(map[string]any)
		if !ok {
			tell("logical_disks[%d] must be an object", i)
			continue
		}
		v := Volume{Name: fmt.Sprintf("md%d", i)}
		at := func(format string, args ...any) { tell("logical_disks[%d]: "+format, append([]any{i}, args...)...) }
		for _, k := range slices.Sorted(maps.Keys(disk)) {
			if !slices.Contains(keys, k) {
				at("%.60q means nothing in software RAID; the keys are %s", k, strings.Join(keys, ", "))
			}
		}
		if c, _ := disk["controller"].(string); c != Controller {
			at("controller must be %s", Controller)
		}
		v.Level, _ = disk["raid_level"].(string)
		switch {
		case least[v.Level] == 0:
			at("raid_level %.20q can't be built by software; 0, 1, 1+0, 5 and 6 can", fmt.Sprint(disk["raid_level"]))
		case i == 0 && v.Level != "1":
			at("the first logical disk must have raid_level 1, for it is what the machine starts from")
		}
		switch n, isNumber := disk["size_gb"].(float64); {
		case disk["size_gb"] == "MAX":
			largest++
		case isNumber && n == float64(int64(n)) && n >= 1 && n <= 1<<30:
			v.Bytes = int64(n) << 30
		default:
			at("size_gb must be a whole number of GiB from 1 on, or MAX")
		}
		if given, there := disk["volume_name"]; there {
			s, _ := given.(string)
			switch {
			case !name.MatchString(s):
				at("volume_name %.60q must be 1 to 32 letters, digits, dots, dashes or underscores", fmt.Sprint(given))
			case s == ESP:
				at("volume_name %s is that of the mirrored EFI system partition", ESP)
			}
			v.Name, v.Named = s, true
		}
		if given, there := disk["is_root_volume"]; there {
			b, ok := given.(bool)
			if !ok {
				at("is_root_volume must be true or false")
			}
			v.Root = &b
			if b {
				roots++
			}
		}
		if given, there := disk["physical_disks"]; there {
			hints, problem := members(given)
			if problem != "" {
				at("%s", problem)
			} else if n := least[v.Level]; len(hints) < n {
				at("raid_level %s needs %d physical_disks, %d are given", v.Level, n, len(hints))
			}
			v.Hints = hints
		}
		out = append(out, v)
	}
	if len(out) == 2 && out[0].Name == out[1].Name {
		tell("both logical disks have the name %s", out[0].Name)
	}
	if roots > 1 {
		tell("%d logical disks are root volumes; one at most may be", roots)
	}
	if largest > 1 {
		tell("%d logical disks have size_gb MAX; one at most may", largest)
	}
	if len(bad) > 0 {
		return nil, wrong("%s", strings.Join(bad, "; "))
	}
	return out, nil
}

// members reads physical_disks: hints for one disk each.
func members(given any) ([]inventory.Hints, string) {
	list, ok := given.([]any)
	if !ok || len(list) < 2 || len(list) > maxMembers {
		return nil, fmt.Sprintf("physical_disks must be a list of 2 to %d objects of root device hints", maxMembers)
	}
	var out []inventory.Hints
	for j, x := range list {
		m, ok := x.(map[string]any)
		if !ok || len(m) == 0 {
			return nil, fmt.Sprintf("physical_disks[%d] must be an object of root device hints", j)
		}
		h, err := inventory.ParseHints(m)
		if err != nil {
			return nil, fmt.Sprintf("physical_disks[%d]: %s", j, fault.From(err).Message)
		}
		out = append(out, h)
	}
	return out, ""
}

func wrong(format string, args ...any) error {
	return fault.New(fault.RequestInvalid, "the target RAID configuration can't be built by software: "+format, args...).
		WithHint("the how-to page on RAID shows one that can")
}
