// Package disks holds what a node's disks are guarded by on the server: which disks a step may touch, what proves that a
// cleaning erased them, and what that a deployment wrote its image (safety.md I4, I5, I6). It is pure. Package decide asks it
// before it offers a step and before it ends a cleaning or a deployment; the agent has guards of its own.
package disks

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Of are the disks that a step may touch which says t of itself (I4): of those that this boot's lookup brought, seen. A disk
// that the last inspection saw, accepted, and that is gone now is a failure (I5), not less work. Either inventory is nil when
// there is none. The faults are disk.none, disk.missing, and those of the hints and lists in the record.
func Of(n conductor.Node, seen, accepted *inventory.Inventory, t step.Touch) ([]inventory.DeviceID, error) {
	if t == step.Nothing {
		return nil, nil
	}
	if seen == nil {
		return nil, fault.New(fault.DiskNone, "the ramdisk brought no inventory")
	}
	if t == step.RootDisk {
		disk, err := Root(n, *seen)
		if err != nil {
			return nil, err
		}
		id, _ := disk.ID()
		return []inventory.DeviceID{id}, nil
	}
	disks, err := inventory.Targets(*seen, n.Properties)
	if err != nil {
		return nil, err
	}
	var out []inventory.DeviceID
	for _, disk := range disks {
		id, _ := disk.ID()
		out = append(out, id)
	}
	if accepted != nil {
		before, err := inventory.Targets(*accepted, n.Properties)
		if err != nil {
			return nil, err
		}
		for _, disk := range before {
			if id, _ := disk.ID(); !slices.Contains(out, id) {
				return nil, fault.New(fault.DiskMissing, "the disk with %s, seen by the last inspection, is not there now", id)
			}
		}
	}
	return out, nil
}

// Erased checks that every disk that a cleaning has to erase has a verified record among the steps of its run (I5). A run that
// erases nothing was audited when it began. The fault is disk.not_erased, or one of those of Of.
func Erased(n conductor.Node, seen, accepted *inventory.Inventory, steps []conductor.StepRecord) error {
	i := slices.IndexFunc(steps, func(r conductor.StepRecord) bool {
		return r.Step.Name == catalog.EraseStep && r.State == conductor.StepSucceeded
	})
	if i < 0 {
		if n.Flow.Excluded {
			return nil
		}
		return fault.New(fault.DiskNotErased, "no step of this cleaning erased the disks")
	}
	want, err := Of(n, seen, accepted, step.AllDisks)
	if err != nil {
		return err
	}
	records, err := erasedBy(steps[i])
	if err != nil {
		return err
	}
	for _, id := range want {
		if !slices.ContainsFunc(records, func(r catalog.Erased) bool { return r.ID == id && r.Whole() }) {
			return fault.New(fault.DiskNotErased, "no verified erase record for the disk with %s", id)
		}
	}
	return nil
}

// erasedBy reads what an erase recorded of each disk.
func erasedBy(r conductor.StepRecord) (records []catalog.Erased, err error) {
	if r.Result == nil {
		return nil, nil
	}
	raw, err := json.Marshal(r.Result.Data["devices"])
	if err == nil {
		err = json.Unmarshal(raw, &records)
	}
	if err != nil {
		return nil, fault.New(fault.DiskNotErased, "the erase step's record can't be read").Because(err)
	}
	return records, nil
}

// Written checks that a deployment that writes an image has the proof that it is on the disk (I6). One whose plan writes none
// does what its operator's steps do. The fault is image.not_proven.
func Written(steps []conductor.StepRecord) error {
	i := -1
	for j, r := range steps { // the last attempt counts: those before were cut off
		if r.Step.Name == catalog.WriteStep {
			i = j
		}
	}
	if i < 0 {
		return nil
	}
	r := steps[i]
	unproven := fault.New(fault.ImageUnproven, "").At("", r.Step.Name)
	var w catalog.Written
	switch {
	case r.State != conductor.StepSucceeded:
		unproven.Message = fmt.Sprintf("the step that writes the image is %s", r.State)
	case r.Result == nil || len(r.Result.Data) == 0:
		unproven.Message = "the step that writes the image left no record of it"
	case r.Command == nil || len(r.Command.Devices) != 1:
		unproven.Message = "the step that writes the image was given no disk"
	default:
		raw, err := json.Marshal(r.Result.Data)
		if err == nil {
			err = json.Unmarshal(raw, &w)
		}
		if err != nil {
			unproven.Message = "the record of the step that writes the image can't be read"
			return unproven.Because(err)
		}
		lacks := w.Lacks(r.Args, r.Command.Devices[0])
		if lacks == "" {
			return nil
		}
		unproven.Message = "the record of the step that writes the image proves nothing: " + lacks
	}
	return unproven
}

// Root selects the disk that gets the image: the root volume of software RAID before instance_info.root_device, and that
// before properties.root_device. While the hints are what they were, it is the disk of the last deployment, unless the node's own
// steps built an array of it since.
func Root(n conductor.Node, inv inventory.Inventory) (inventory.Disk, error) {
	all, volume, err := narrow(n, inv.Disks)
	if err != nil || volume || n.Root == nil || !equal(n.Root.Hints, hints(n)) || builtOn(n, inv.Disks, n.Root.Disk) {
		return anew(n, inv)
	}
	skip, allow, err := lists(n)
	if err != nil {
		return inventory.Disk{}, err
	}
	disk, ok, err := inventory.Again(all, hints(n), skip, n.Root.Disk, allow...)
	if err != nil || ok {
		return disk, err
	}
	return anew(n, inv)
}

// anew selects it without regard to earlier deployments.
func anew(n conductor.Node, inv inventory.Inventory) (inventory.Disk, error) {
	skip, allow, err := lists(n)
	if err != nil {
		return inventory.Disk{}, err
	}
	all, volume, err := narrow(n, inv.Disks)
	if err != nil {
		return inventory.Disk{}, err
	}
	given := hints(n)
	if volume {
		given = hintOf(n)
	}
	return inventory.Root(all, given, skip, allow...)
}

// Kept tells why the root disk is another than the hints alone would choose; "" where it is not, or is none.
func Kept(n conductor.Node, inv inventory.Inventory) string {
	disk, err := Root(n, inv)
	if err != nil {
		return ""
	}
	id, _ := disk.ID()
	instead := "they fit"
	other, err := anew(n, inv)
	otherID, _ := other.ID()
	switch {
	case err != nil:
		instead = fault.From(err).Message
	case otherID == id:
		return ""
	default:
		instead += " " + otherID.String()
	}
	return fmt.Sprintf("the image goes to %s, which the last deployment wrote by the same root device hints; now %s. If another disk is meant, set root_device to its serial or wwn", id, instead)
}

// Chosen is what a node remembers of its root disk when a deployment of these steps has ended well.
func Chosen(n conductor.Node, steps []conductor.StepRecord) *conductor.Root {
	for _, r := range slices.Backward(steps) {
		if r.Step.Name == catalog.WriteStep && r.Command != nil && len(r.Command.Devices) == 1 {
			return &conductor.Root{Disk: r.Command.Devices[0], Hints: maps.Clone(hints(n))}
		}
	}
	return n.Root
}

// hints are the root device hints that hold for a node, nil for none.
func hints(n conductor.Node) map[string]any {
	hints, ok := n.InstanceInfo["root_device"].(map[string]any)
	if !ok {
		hints, _ = n.Properties["root_device"].(map[string]any)
	}
	return hints
}

// equal compares hints as they are kept: numbers may be of another type before that.
func equal(a, b map[string]any) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// lists are what the record says of disks that are left alone, and of classes that are not.
func lists(n conductor.Node) (skip []any, allow []inventory.Class, err error) {
	if skip, err = inventory.List(n.Properties, "skip_block_devices"); err != nil {
		return nil, nil, err
	}
	allow, err = inventory.Allowed(n.Properties)
	return skip, allow, err
}
