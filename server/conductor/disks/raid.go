package disks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/softraid"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Wanted is what a step that builds arrays in band is to build: the configuration of its arguments or the node's target, without
// the volumes that it is told to leave out. nil for any other step. The fault is request.invalid.
func Wanted(n conductor.Node, s step.Step, args step.Args) (map[string]any, error) {
	target := n.TargetRAID
	switch {
	case s.Where != step.InBand:
		return nil, nil
	case s.Name == catalog.CreateRAID:
	case s.Name == catalog.ApplyRAID:
		target, _ = args[catalog.ArgRAID].(map[string]any)
		if err := raid.Check(target); err != nil {
			return nil, err
		}
	default:
		return nil, nil
	}
	flag := func(name string) bool { return args[name] == nil || args.Bool(name) }
	want, err := raid.Filter(target, flag("create_root_volume"), flag("create_nonroot_volumes"))
	if err != nil {
		return nil, err
	}
	_, err = softraid.Parse(want)
	return want, err
}

// rootVolume is the volume of raid_config that the image goes to; nil when none says so.
func rootVolume(n conductor.Node) map[string]any {
	list, _ := n.RAID["logical_disks"].([]any)
	for _, v := range list {
		if disk, _ := v.(map[string]any); disk["is_root_volume"] == true {
			return disk
		}
	}
	return nil
}

// narrow leaves of the disks what the arrays that were built by software allow the image to go to: the root volume alone, if
// one is, and else no volume that was built to be none. It wins over hints, as Ironic has it.
func narrow(n conductor.Node, all []inventory.Disk) (left []inventory.Disk, root bool, err error) {
	if v := rootVolume(n); v != nil && v["controller"] == softraid.Controller {
		uuid, _ := v["uuid"].(string)
		for _, d := range all {
			if d.Array() && d.Serial == uuid {
				return all, true, nil
			}
		}
		return nil, false, fault.New(fault.DiskHint, "the root volume %v (%s) of raid_config is not among the machine's disks", v["volume_name"], uuid).
			WithHint("build the arrays again: raid.create_configuration; or clear what is recorded: raid.delete_configuration")
	}
	list, _ := n.RAID["logical_disks"].([]any)
	return slices.DeleteFunc(slices.Clone(all), func(d inventory.Disk) bool {
		return d.Array() && slices.ContainsFunc(list, func(v any) bool {
			disk, _ := v.(map[string]any)
			return disk["is_root_volume"] == false && disk["uuid"] == d.Serial
		})
	}), false, nil
}

// builtOn tells whether a step of the node built one of its arrays on the disk.
func builtOn(n conductor.Node, all []inventory.Disk, disk inventory.DeviceID) bool {
	list, _ := n.RAID["logical_disks"].([]any)
	return slices.ContainsFunc(all, func(d inventory.Disk) bool {
		return d.Array() && slices.Contains(d.Members, disk) && slices.ContainsFunc(list, func(v any) bool {
			volume, _ := v.(map[string]any)
			return volume["controller"] == softraid.Controller && volume["uuid"] == d.Serial
		})
	})
}

// hintOf is the hint that only the root volume of raid_config meets.
func hintOf(n conductor.Node) map[string]any {
	return map[string]any{"serial": fmt.Sprint("s== ", rootVolume(n)["uuid"])}
}

// Restacked tells whether other arrays of software RAID were built since the inventory was taken: what it says of the disk
// for the image is out of date.
func Restacked(n conductor.Node, inv inventory.Inventory) bool {
	var recorded, seen []string
	list, _ := n.RAID["logical_disks"].([]any)
	for _, v := range list {
		if disk, _ := v.(map[string]any); disk["controller"] == softraid.Controller {
			uuid, _ := disk["uuid"].(string)
			recorded = append(recorded, uuid)
		}
	}
	for _, d := range inv.Disks {
		if d.Array() && !strings.HasSuffix(d.Name, "/"+softraid.ESP) {
			seen = append(seen, d.Serial)
		}
	}
	slices.Sort(recorded)
	slices.Sort(seen)
	return !slices.Equal(recorded, seen)
}

// Arrays tells whether the node's record has arrays that were built by software.
func Arrays(n conductor.Node) bool {
	list, _ := n.RAID["logical_disks"].([]any)
	return slices.ContainsFunc(list, func(v any) bool { disk, _ := v.(map[string]any); return disk["controller"] == softraid.Controller })
}

// AfterErase is what raid_config tells of once an erase has ended: the arrays whose members it erased whole are gone. A node with
// a target keeps the record, since that is how the next cleaning knows that they are to be built anew. False: nothing changes.
func AfterErase(n conductor.Node, seen *inventory.Inventory, r conductor.StepRecord) (left []any, changed bool) {
	if r.Step.Name != catalog.EraseStep || r.State != conductor.StepSucceeded || len(n.TargetRAID) > 0 || seen == nil {
		return nil, false
	}
	records, err := erasedBy(r)
	if err != nil {
		return nil, false
	}
	list, _ := n.RAID["logical_disks"].([]any)
	left = []any{}
	for _, v := range list {
		volume, _ := v.(map[string]any)
		gone := volume["controller"] == softraid.Controller && slices.ContainsFunc(seen.Disks, func(d inventory.Disk) bool {
			return d.Array() && d.Serial == volume["uuid"] && len(d.Members) > 0 && !slices.ContainsFunc(d.Members, func(id inventory.DeviceID) bool {
				return !slices.ContainsFunc(records, func(e catalog.Erased) bool { return e.ID == id && e.Whole() })
			})
		})
		if !gone {
			left = append(left, v)
		}
	}
	return left, len(left) < len(list)
}
