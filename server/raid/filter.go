package raid

import "github.com/bessemer-metal/bessemer/shared/fault"

// Filter is a target configuration without the volumes that a step is told not to build: its root volume, or all others.
// The fault is request.invalid when nothing is left to build.
func Filter(target map[string]any, root, others bool) (map[string]any, error) {
	list, _ := target["logical_disks"].([]any)
	if len(list) == 0 {
		return nil, fault.New(fault.RequestInvalid, "the node has no target RAID configuration").
			WithHint("bessemer node set NODE --target-raid-config FILE")
	}
	left := []any{}
	for _, v := range list {
		disk, _ := v.(map[string]any)
		isRoot, _ := disk["is_root_volume"].(bool)
		if isRoot && root || !isRoot && others {
			left = append(left, v)
		}
	}
	if len(left) == 0 {
		return nil, fault.New(fault.RequestInvalid, "nothing of the target RAID configuration is left to build with create_root_volume %v and create_nonroot_volumes %v", root, others)
	}
	out := make(map[string]any, len(target))
	for k, v := range target {
		out[k] = v
	}
	out["logical_disks"] = left
	return out, nil
}
