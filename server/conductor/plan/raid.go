package plan

import (
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor/defaults"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/raid"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// FromNode is the origin of what the node's record says.
const FromNode defaults.Origin = "target_raid_config"

// volumes completes the steps that build RAID volumes through the BMC by the configuration that the node has now: what is
// asked for later is not built by a step that stands in line, or is made again. It finds what no BMC can build.
func (b *builder) volumes() {
	for i, it := range b.Items {
		if it.Step.Where != step.OutOfBand || it.Step.Name != catalog.CreateRAID && it.Step.Name != catalog.ApplyRAID || it.Args == nil {
			continue
		}
		config, given := it.Args[catalog.ArgRAID].(map[string]any)
		if !given {
			config = b.in.Node.TargetRAID
			b.Items[i].Args[catalog.ArgRAID], b.Items[i].Origins[catalog.ArgRAID] = config, FromNode
		}
		read := raid.ThroughBMC
		if b.in.Interfaces[drivers.RAID] == drivers.Fake {
			read = raid.Disks
		}
		disks, err := read(config)
		if err != nil {
			b.problem(fault.From(err), it.Step.Name)
			continue
		}
		roots := 0
		for _, d := range disks {
			if d.Root {
				roots++
			}
		}
		root, nonroot := it.Args.Bool("create_root_volume"), it.Args.Bool("create_nonroot_volumes")
		switch {
		case len(disks) == 0:
			b.problem(fault.New(fault.StepArgument, "the node has no target_raid_config, so there is nothing to build").
				WithHint("bessemer node set NODE --target-raid-config FILE first"), it.Step.Name)
		case !(root && roots > 0) && !(nonroot && roots < len(disks)):
			b.problem(fault.New(fault.StepArgument, "of the %d logical disks that are wanted, %d of them the root volume, none is left to build with create_root_volume %t and create_nonroot_volumes %t", len(disks), roots, root, nonroot).
				WithHint("set one of the two to true, or mark the root volume by is_root_volume"), it.Step.Name)
		}
	}
}

// redraws tells whether a step changes which disks there are.
func (b *builder) redraws() bool {
	return slices.ContainsFunc(b.Items, func(it Item) bool { return it.Step.Touches == step.Volumes })
}
