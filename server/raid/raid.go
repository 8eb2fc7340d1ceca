// Package raid checks a target RAID configuration: the arrays that an operator wants, in Ironic's form. It builds none
// and knows no controller. Start at Check.
package raid

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

const (
	maxDisks    = 64  // logical disks: more than any controller has
	maxPhysical = 256 // physical disks of one
)

var levels = []string{"JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0"}

// keys of a logical disk, with what checks each.
var keys = map[string]func(v any) string{
	"raid_level":               among(levels...),
	"size_gb":                  size,
	"volume_name":              text,
	"is_root_volume":           flag,
	"share_physical_disks":     flag,
	"disk_type":                among("hdd", "ssd"),
	"interface_type":           among("sata", "scsi", "sas"),
	"number_of_physical_disks": func(v any) string { return number(v, 1) },
	"controller":               text,
	"physical_disks":           physical,
}

// Check is nil for a configuration that could be built, and for the empty one, which takes the target back. The fault is
// request.invalid and names what is wrong (server-api.md §9.5).
func Check(c map[string]any) error {
	if len(c) == 0 {
		return nil
	}
	for k := range c {
		if k != "logical_disks" {
			return wrong("%s is not known; logical_disks is", quoted(k))
		}
	}
	list, ok := c["logical_disks"].([]any)
	switch {
	case !ok || len(list) == 0:
		return wrong("logical_disks must be a list of at least one logical disk")
	case len(list) > maxDisks:
		return wrong("logical_disks has %d entries, at most %d are taken", len(list), maxDisks)
	}
	roots := 0
	for i, v := range list {
		disk, ok := v.(map[string]any)
		if !ok {
			return wrong("logical_disks[%d] must be an object", i)
		}
		if err := check(i, disk); err != nil {
			return err
		}
		if disk["is_root_volume"] == true {
			roots++
		}
	}
	if roots > 1 {
		return wrong("%d logical disks are root volumes; one at most may be", roots)
	}
	return nil
}

func check(i int, disk map[string]any) error {
	for _, need := range []string{"raid_level", "size_gb"} {
		if _, there := disk[need]; !there {
			return wrong("logical_disks[%d].%s is required", i, need)
		}
	}
	names := make([]string, 0, len(disk))
	for k := range disk {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		test, known := keys[k]
		if !known {
			return wrong("logical_disks[%d].%s is not known", i, quoted(k))
		}
		if want := test(disk[k]); want != "" {
			return wrong("logical_disks[%d].%s is %s, expected %s", i, k, quoted(fmt.Sprint(disk[k])), want)
		}
	}
	if _, there := disk["physical_disks"]; there && disk["controller"] == nil {
		return wrong("logical_disks[%d].physical_disks needs controller", i)
	}
	return nil
}

func wrong(format string, args ...any) error {
	return fault.New(fault.RequestInvalid, "target_raid_config: "+format, args...).
		WithHint("bessemer driver raid property list DRIVER describes each key")
}

func quoted(s string) string { return fmt.Sprintf("%.60q", s) }

// The tests give what is expected, or "" when the value is.

func among(words ...string) func(any) string {
	return func(v any) string {
		if s, ok := v.(string); ok && slices.Contains(words, s) {
			return ""
		}
		return "one of " + strings.Join(words, ", ")
	}
}

func text(v any) string {
	if s, ok := v.(string); ok && s != "" && len(s) <= 255 {
		return ""
	}
	return "a text of at most 255 bytes"
}

func flag(v any) string {
	if _, ok := v.(bool); ok {
		return ""
	}
	return "true or false"
}

func number(v any, least int) string {
	if n, ok := v.(float64); ok && n == float64(int64(n)) && n >= float64(least) && n <= 1<<40 {
		return ""
	}
	return fmt.Sprintf("a whole number from %d on", least)
}

func size(v any) string {
	if v == "MAX" || number(v, 0) == "" {
		return ""
	}
	return "a whole number of GiB, or MAX"
}

// physical takes names, or two or more objects of root device hints.
func physical(v any) string {
	const want = "a list of names, or of two or more objects of root device hints"
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxPhysical {
		return want
	}
	hints := 0
	for _, x := range list {
		switch t := x.(type) {
		case string:
			if t == "" {
				return want
			}
		case map[string]any:
			if _, err := inventory.ParseHints(t); err != nil {
				return want
			}
			hints++
		default:
			return want
		}
	}
	if hints > 0 && (hints != len(list) || hints < 2) {
		return want
	}
	return ""
}
